"""Checks an exported file with PyTorch alone: `python -m torch_ref.verify FILE`.

It takes all formats; for ONNX it needs onnx and onnxruntime, for safetensors safetensors. The
digests in the file must hold, and every function must give for the golden rows what JAX gave:
with r the float64 result, the error is at most 4 · max(JAX's own error, 8u · max|r|), u = 2⁻²⁴, and
at most 10⁴ u · max|r|. A column of rows is compared in units of its scale, and a category must be
the same; where two were as good as equally likely, the file says so and any is right. Exit code 1
if anything fails.

That a file passes does not make it safe: TorchScript and pt2 run code. Load files of people you
trust.
"""

import argparse
import math
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torch_ref import archives, graph_files, torchscript
from torch_ref.description import Contents, FileFormatError, read_golden, read_tensors
from torch_ref.files import read_safetensors
from torch_ref.serving import OF_CODES, OF_ROWS, serve

_ROUNDOFF = 2.0**-24
_OF_COLUMNS = ("reconstruct", "decode")  # they give raw rows


@dataclass(frozen=True)
class Result:
    """How one output of one function compares. Errors are relative to the largest element."""

    name: str
    """The function, and which of several outputs."""

    error: float
    """The file's error against float64; infinite where NaN or shapes differ."""

    jax_error: float
    """JAX's own."""

    bound: float
    """What the file's may be."""

    row: int
    """The row with the largest error."""

    @property
    def passed(self) -> bool:
        """Whether the error is within the bound."""
        return self.error <= self.bound


def verify(contents: Contents, expected: Mapping[str, Tensor] | None = None) -> list[Result]:
    """Replays rows through every function of a file.

    Args:
        contents: from `read`, which has checked the digests.
        expected: rows and outputs in the place of the file's golden ones.

    Returns:
        One result for each output.

    Raises:
        FileFormatError: a function fails, or what is expected of it is missing.
    """
    expected = contents.golden if expected is None else expected
    method, columns = contents.meta["method"], contents.meta["preprocessing"]["columns"]
    results = []
    for called in _functions_of_rows(contents) + (() if contents.is_graph else OF_CODES[method]):
        inputs = _given(expected, "codes" if called in OF_CODES[method] else "rows")
        for name, output in _outputs(contents, called, inputs).items():
            wanted = _given(expected, f"jax.{name}"), _given(expected, f"exact.{name}")
            function = name.partition(".")[0]
            shape = (len(inputs), len(columns)) if function in _OF_COLUMNS else wanted[1].shape
            if not output.shape == wanted[0].shape == wanted[1].shape == shape:
                results.append(Result(name, math.inf, 0.0, 0.0, 0))
                continue
            if torch.isnan(wanted[1]).any(dim=0)[~_may_be_open(function, columns, wanted[1])].any():
                raise FileFormatError(f"exact.{name} is NaN where there has to be a number")
            found = comparable(function, output, columns)
            results.append(compare(name, found, *wanted, slack=rounding(function, columns)))
    return results


def read(path: Path) -> Contents:
    """Reads a file of any format that jaxrep exports.

    Raises:
        FileFormatError: it is none, or damaged.
        OSError: it cannot be read.
        ImportError: a package that the format needs is not installed.
    """
    data = path.read_bytes()
    if data[8:9] == b"{":  # after its length, the header of a safetensors file
        description, weights = read_safetensors(path)
        golden = read_golden(description.get("golden", {}))
        if not golden and "run" in description:  # only what torch_ref wrote has none
            raise FileFormatError("golden rows are missing: the file has been stripped")
        return Contents(serve(description, weights), description, golden)
    if data[:2] != b"PK" and graph_files.is_onnx(data):
        return graph_files.unpack_onnx(data)
    if graph_files.is_pt2(archives.read_members(data)):
        return graph_files.unpack_pt2(data)
    return torchscript.unpack(data)


def read_expected(path: Path) -> dict[str, Tensor]:
    """Reads rows and outputs by name from a file that torch.save wrote.

    Raises:
        FileFormatError: it is no such file.
        OSError: it cannot be read.
    """
    return read_tensors(path.read_bytes())


def check_sizes(contents: Contents) -> None:
    """Runs every function on no row, one row and float32 rows, and draws samples.

    Raises:
        FileFormatError: a shape or dtype is not what it has to be.
    """
    rows = contents.golden["rows"]
    batches = [rows[:0], rows[:1]]
    if not contents.is_graph:  # a graph takes float64 alone
        single = rows.float()  # what a table holds may be beyond float32
        batches.append(single[~torch.isinf(single).any(dim=1)])
    for function in _functions_of_rows(contents):
        for x in batches:
            for name, output in _outputs(contents, function, x).items():
                if len(output) != len(x):
                    raise FileFormatError(f"{name} gave {len(output)} rows for {len(x)}")
    if contents.meta["method"] == "vae" and not contents.is_graph:
        [drawn] = _outputs(contents, "generate", 5).values()
        if (
            drawn.shape != (5, len(contents.meta["preprocessing"]["columns"]))
            or not torch.isfinite(drawn).all()
        ):
            raise FileFormatError(f"generate(5) gave shape {tuple(drawn.shape)}, or no numbers")


def table(results: Sequence[Result]) -> str:
    """Returns the results as text."""
    lines = [f"{'function':14} {'error':>9} {'of JAX':>9} {'bound':>9}  row"]
    for r in results:
        mark = "" if r.passed else "  FAILED"
        lines.append(
            f"{r.name:14} {r.error:9.1e} {r.jax_error:9.1e} {r.bound:9.1e} {r.row:4d}{mark}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: without the program's name; None takes those of the process.

    Returns:
        The exit code: 0 if all holds, 1 if something does not, 2 if the file cannot be read.

    Example:
        >>> main(["no-such-file.pt"])  # prints the reason to stderr
        2
    """
    parser = argparse.ArgumentParser(prog="python -m torch_ref.verify", description=__doc__)
    parser.add_argument("file", type=Path, help="a file that jaxrep exported")
    parser.add_argument(
        "--against", type=Path, help="other rows and outputs, as torch.save has them"
    )
    options = parser.parse_args(arguments)
    path = options.file  # the one to blame
    try:
        contents = read(path)
        results = verify(contents) if contents.golden else []
        if contents.golden:
            check_sizes(contents)
        if options.against:
            path = options.against
            results += verify(contents, read_expected(path))
    except OSError as error:
        return _fail(path, error.strerror, 2)
    except ImportError as error:
        return _fail(path, f"needs {error.name}, which is not installed", 2)
    except FileFormatError as error:
        return _fail(path, error, 1)
    if not results:
        print(f"{options.file}: {contents.meta['method']}, all digests hold; it carries no outputs")
        return 0
    print(table(results))
    failed = [r for r in results if not r.passed]
    print(f"{options.file}: {_summary(contents.meta, failed)}")
    return 1 if failed else 0


def _fail(path: Path, reason: object, code: int) -> int:
    print(f"{path}: {textwrap.shorten(str(reason), 300)}", file=sys.stderr)  # on one line
    return code


def _functions_of_rows(contents: Contents) -> tuple[str, ...]:
    return ("graph",) if contents.is_graph else OF_ROWS[contents.meta["method"]]


def _outputs(contents: Contents, function: str, x: Tensor | int) -> dict[str, Tensor]:
    """What a function gives, by the names of its outputs; `graph` is all that a graph has."""
    try:
        if contents.is_graph:
            outputs = contents.module(x)
        else:
            found = getattr(contents.module, function)(x)
            parts = found if isinstance(found, tuple) else (found,)
            outputs = {f"{function}.{i}": part for i, part in enumerate(parts)}
    except Exception as error:  # TorchScript and onnxruntime have errors of their own
        reason = (str(error).strip().splitlines() or ["no reason given"])[-1]
        raise FileFormatError(f"{function} cannot be computed: {reason}") from error
    return {name: _given(outputs, name, may_be_empty=True) for name in outputs}


def _given(tensors: Mapping[str, Any], name: str, *, may_be_empty: bool = False) -> Tensor:
    tensor = tensors.get(name)
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        raise FileFormatError(f"{name} is missing, or no tensor of numbers")
    if tensor.dim() == 0 or (tensor.numel() == 0 and not may_be_empty):
        raise FileFormatError(f"{name} holds no rows")
    return tensor


def _summary(meta: dict[str, Any], failed: Sequence[Result]) -> str:
    if not failed:
        return f"{meta['method']}, all digests hold and all functions give what JAX gave"
    worst = max(failed, key=lambda r: r.error / r.bound if r.bound else math.inf)
    return (
        f"FAILED: {worst.name} is {worst.error:.1e} off at row {worst.row}, "
        f"{worst.bound:.1e} is allowed"
    )


def comparable(function: str, output: Tensor, columns: Sequence[dict[str, Any]]) -> Tensor:
    """Outputs in float64; raw rows in units of each column's scale."""
    if function not in _OF_COLUMNS:
        return output.double()
    numeric = [column["kind"] == "numeric" for column in columns]
    mean = [c["mean"] if n else 0.0 for c, n in zip(columns, numeric, strict=True)]
    scale = [c["scale"] if n else 1.0 for c, n in zip(columns, numeric, strict=True)]
    return (output.double() - torch.tensor(mean, dtype=torch.float64)) / torch.tensor(
        scale, dtype=torch.float64
    )


def _may_be_open(function: str, columns: Sequence[dict[str, Any]], exact: Tensor) -> Tensor:
    """Says where expected outputs may be NaN, which is right for any answer: in categories."""
    if function not in _OF_COLUMNS:
        return torch.zeros(exact.shape[1:], dtype=torch.bool)
    return torch.tensor([column["kind"] == "categorical" for column in columns])


def rounding(function: str, columns: Sequence[dict[str, Any]]) -> Tensor:
    """What float64 itself loses in raw units, by column: a few 2⁻⁵³ · |mean| / scale.

    A column that is constant at 1.7e12 has scale 1: its raw values end at the third decimal.
    """
    if function not in _OF_COLUMNS:
        return torch.zeros(())
    shares = [abs(c["mean"]) / c["scale"] if c["kind"] == "numeric" else 0.0 for c in columns]
    return 4 * 2.0**-53 * torch.tensor(shares, dtype=torch.float64)


def compare(name: str, found: Tensor, jax: Tensor, exact: Tensor, *, slack: Tensor) -> Result:
    """Compares one output, as `comparable` gives it, with JAX's in float32 and in float64.

    Args:
        name: of the output.
        found: what the file gave.
        jax: what JAX gave in float32.
        exact: what JAX gave in float64; NaN where any category is right.
        slack: from `rounding`; taken off the errors.
    """
    if found.shape != exact.shape:
        return Result(name, math.inf, 0.0, 0.0, 0)
    open_choice = torch.isnan(exact)  # a category that was as likely as another
    errors, ours = (torch.where(open_choice, 0.0, (a.double() - exact).abs()) for a in (found, jax))
    errors = torch.where(torch.isnan(errors), math.inf, errors - slack).clamp_min(0)
    size = float(exact[~open_choice].abs().max()) if (~open_choice).any() else 0.0
    unit = size if size > 0 else 1.0
    error, jax_error = (float(e.max()) / unit if e.numel() else 0.0 for e in (errors, ours))
    row = int(errors.reshape(len(errors), -1).amax(1).argmax()) if errors.numel() else 0
    # However far JAX's own error is: an expected value that is wrong may not widen the bound.
    bound = min(4 * max(jax_error, 8 * _ROUNDOFF * size / unit), 1e4 * _ROUNDOFF)
    return Result(name, error, jax_error, bound, row)


if __name__ == "__main__":
    sys.exit(main())
