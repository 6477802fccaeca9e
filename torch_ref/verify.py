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
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torch_ref import archives, graph_files, methods, torchscript
from torch_ref.comparison import (
    Result,
    are_levels,
    comparable,
    compare,
    expected,
    gives_rows,
    rounding,
    table,
)
from torch_ref.description import Contents, FileFormatError, check_outputs, has_gaps
from torch_ref.files import read_safetensors
from torch_ref.golden import read_golden, read_tensors
from torch_ref.outputs import OUTPUTS
from torch_ref.serving import serve


def verify(contents: Contents, against: Mapping[str, Tensor] | None = None) -> list[Result]:
    """Replays rows through every function of a file.

    Args:
        contents: from `read`, which has checked the digests.
        against: rows and outputs in the place of the file's golden ones.

    Returns:
        One result for each output.

    Raises:
        FileFormatError: a function fails, or what is expected of it is missing.
    """
    against = contents.golden if against is None else against
    columns = contents.meta["schema"]["columns"]
    results = []
    for called in (*_functions_of_rows(contents), *_declared(contents, "codes")):
        takes = OUTPUTS[called].takes if called in OUTPUTS else "rows"
        inputs = _given(against, takes)
        for name, output in _outputs(contents, called, inputs).items():
            wanted = _given(against, f"jax.{name}"), _given(against, f"exact.{name}")
            shape = (len(inputs), len(columns)) if gives_rows(name) else wanted[1].shape
            if not output.shape == wanted[0].shape == wanted[1].shape == shape:
                results.append(Result(name, math.inf, 0.0, 0.0, 0))
                continue
            levels = are_levels(name, contents.meta, wanted[1])
            if torch.isnan(wanted[1]).any(dim=0)[~levels].any():
                raise FileFormatError(f"exact.{name} is NaN where a number must be")
            found = comparable(name, output, contents.meta)
            jax, exact = (expected(name, tensor, contents.meta) for tensor in wanted)
            slack = rounding(name, contents.meta)
            results.append(compare(name, found, jax, exact, levels=levels, slack=slack))
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
        served = serve(description, weights)
        return Contents(served, description | {"outputs": [*served.outputs]}, golden)
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
        FileFormatError: a shape or dtype is not what it must be.
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
    for function in _declared(contents, "draws"):
        [drawn] = _outputs(contents, function, 5).values()
        columns = contents.meta["schema"]["columns"]
        may_be_missing = torch.tensor([has_gaps(column) for column in columns])
        if (
            drawn.shape != (5, len(columns))
            or not (torch.isfinite(drawn) | (torch.isnan(drawn) & may_be_missing)).all()
        ):
            raise FileFormatError(f"{function}(5) gave shape {tuple(drawn.shape)}, or no numbers")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: without the program's name; None takes those of the process.

    Returns:
        The exit code: 0 if all holds, 1 if something does not, 2 if a file cannot be read.

    Example:
        >>> main(["no-such-file.pt"])  # prints the reason to stderr
        2
    """
    parser = argparse.ArgumentParser(prog="python -m torch_ref.verify", description=__doc__)
    parser.add_argument("file", type=Path, help="a file that jaxrep exported")
    parser.add_argument(
        "--against", type=Path, help="other rows and outputs, as torch.save has them"
    )
    parser.add_argument(
        "--use",
        type=Path,
        action="append",
        default=[],
        metavar="TWIN.py",
        help="the PyTorch twin of a method that is not installed; safetensors files need it",
    )
    options = parser.parse_args(arguments)
    try:
        for path in options.use:
            methods.use(path)
    except ValueError as error:
        print(textwrap.shorten(str(error), 300), file=sys.stderr)
        return 2
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
    return ("graph",) if contents.is_graph else ("forward", *_declared(contents, "rows"))


def _declared(contents: Contents, takes: str) -> tuple[str, ...]:
    """Functions of a file that take rows, embeddings or a count of draws; a graph has one alone."""
    declared = () if contents.is_graph else check_outputs(contents.meta["outputs"])
    return tuple(name for name in declared if OUTPUTS[name].takes == takes)


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


if __name__ == "__main__":
    sys.exit(main())
