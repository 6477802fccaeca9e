"""Checks an exported TorchScript file with PyTorch alone: `python -m torch_ref.verify FILE`.

The digests in the file must hold, and every function must give for the golden rows what JAX gave:
with r the float64 result, the error is at most 4 · max(JAX's own error, 8u · max|r|), u = 2⁻²⁴, and
at most 10⁴ u · max|r|. A column of rows is compared in units of its scale, and a category must be
the same; where two were as good as equally likely, the file says so and any is right. Exit code 1
if anything fails.

That a file passes does not make it safe: TorchScript runs code. Load files of people you trust.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torch_ref.files import FileFormatError, read_safetensors
from torch_ref.serving import OF_CODES, OF_ROWS, serve
from torch_ref.torchscript import Contents, unpack

_ROUNDOFF = 2.0**-24


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


def verify(contents: Contents, expected: dict[str, Tensor] | None = None) -> list[Result]:
    """Replays rows through every function of a file.

    Args:
        contents: from `torch_ref.torchscript.unpack`, which has checked the digests.
        expected: rows and outputs in the place of the file's golden ones.

    Returns:
        One result for each output.
    """
    expected = contents.golden if expected is None else expected
    method, module = contents.meta["method"], contents.module
    columns = contents.meta["preprocessing"]["columns"]
    results = []
    for function in (*OF_ROWS[method], *OF_CODES[method]):
        inputs = expected["codes" if function in OF_CODES[method] else "rows"]
        outputs = getattr(module, function)(inputs)
        parts = outputs if isinstance(outputs, tuple) else (outputs,)
        for i, output in enumerate(parts):
            name = f"{function}.{i}"
            found = comparable(function, output, columns)
            wanted = expected[f"jax.{name}"], expected[f"exact.{name}"]
            results.append(compare(name, found, *wanted, slack=rounding(function, columns)))
    return results


def read(path: Path) -> Contents:
    """Reads a file of either kind that jaxrep exports with weights: TorchScript or safetensors.

    Raises:
        FileFormatError: it is neither, or damaged.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    if data[:2] == b"PK" or b"{" not in data[8:16]:
        return unpack(data)
    description, weights = read_safetensors(path)
    return Contents(serve(description, weights), description, {})


def check_sizes(contents: Contents) -> None:
    """Runs every function on no row, one row and float32 rows, and draws samples.

    Raises:
        FileFormatError: a shape or dtype is not what it has to be.
    """
    method, module, rows = contents.meta["method"], contents.module, contents.golden["rows"]
    for function in OF_ROWS[method]:
        single = rows.float()  # what a table holds may be beyond float32
        narrow = single[~torch.isinf(single).any(dim=1)]
        for x in (rows[:0], rows[:1], narrow):
            outputs = getattr(module, function)(x)
            for output in outputs if isinstance(outputs, tuple) else (outputs,):
                if len(output) != len(x):
                    raise FileFormatError(f"{function} gave {len(output)} rows for {len(x)}")
    if method == "vae":
        drawn = module.generate(5)
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
    parser.add_argument("file", type=Path, help="a TorchScript file that jaxrep exported")
    parser.add_argument(
        "--against", type=Path, help="other rows and outputs, as torch.save has them"
    )
    options = parser.parse_args(arguments)
    try:
        contents = read(options.file)
        results = verify(contents) if contents.golden else []
        if options.against:
            others = torch.load(options.against, weights_only=True)
            results += verify(contents, others)
        if contents.golden:
            check_sizes(contents)
    except OSError as error:
        print(f"{options.file}: {error.strerror}", file=sys.stderr)
        return 2
    except (FileFormatError, RuntimeError, KeyError) as error:
        print(f"{options.file}: {error}", file=sys.stderr)
        return 1
    if not results:
        print(f"{options.file}: {contents.meta['method']}, all digests hold; it carries no outputs")
        return 0
    print(table(results))
    failed = [r for r in results if not r.passed]
    print(f"{options.file}: {_summary(contents.meta, failed)}")
    return 1 if failed else 0


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
    if function not in ("reconstruct", "decode"):
        return output.double()
    numeric = [column["kind"] == "numeric" for column in columns]
    mean = [c["mean"] if n else 0.0 for c, n in zip(columns, numeric, strict=True)]
    scale = [c["scale"] if n else 1.0 for c, n in zip(columns, numeric, strict=True)]
    return (output.double() - torch.tensor(mean, dtype=torch.float64)) / torch.tensor(
        scale, dtype=torch.float64
    )


def rounding(function: str, columns: Sequence[dict[str, Any]]) -> Tensor:
    """What float64 itself loses in raw units, by column: a few 2⁻⁵³ · |mean| / scale.

    A column that is constant at 1.7e12 has scale 1: its raw values end at the third decimal.
    """
    if function not in ("reconstruct", "decode"):
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
