"""Outputs of a file against those of JAX: errors, and what they may be.

With r the float64 result and u = 2⁻²⁴, the error is at most 4 · max(JAX's own error, 8u · max|r|),
and at most 10⁴ u · max|r|.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from torch_ref.outputs import OUTPUTS
from torch_ref.scaling import Scaling

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


def gives_rows(name: str) -> bool:
    """Says whether an output such as `reconstruct.0` is of rows."""
    function, _, i = name.partition(".")
    return function in OUTPUTS and OUTPUTS[function].gives[int(i) :][:1] == ("rows",)


def comparable(name: str, output: Tensor, description: Mapping[str, Any]) -> Tensor:
    """Outputs in float64; raw rows in units of each column's scale, numbers of the label's."""
    if not (units := _units(name, description)):
        return output.double()
    scaled: Tensor = Scaling(units)(output.double())
    return scaled


def expected(name: str, output: Tensor, description: Mapping[str, Any]) -> Tensor:
    """What a file expects of an output, as `comparable` gives that; its rows are so already."""
    return output if gives_rows(name) else comparable(name, output, description)


def are_levels(name: str, description: Mapping[str, Any], exact: Tensor) -> Tensor:
    """Says of an output, by column, where it gives levels of categories, which have no rounding.

    There alone an expected output may be NaN, which is right for any answer.
    """
    if not gives_rows(name):
        return torch.zeros(exact.shape[1:], dtype=torch.bool)
    columns = description["schema"]["columns"]
    return torch.tensor([column["kind"] == "category" for column in columns])


def rounding(name: str, description: Mapping[str, Any]) -> Tensor:
    """What float64 itself loses in raw units, by column: a few 2⁻⁵³ · |mean| / scale.

    A column that is constant at 1.7e12 has scale 1: its raw values end at the third decimal. The
    digits of a logarithm end where its mean's or those of 1 do, and between two quantiles those of
    a score where the larger value's do.
    """
    if not (units := _units(name, description)):
        return torch.zeros(())
    shares = [_share(column) for column in units]
    return 4 * 2.0**-53 * torch.tensor(shares, dtype=torch.float64)


def _share(column: Mapping[str, Any]) -> float:
    """Returns the largest change of a feature, relative to that of its number."""
    mean, scale = float(column["mean"]), float(column["scale"])
    scaling = column.get("scaling", {"kind": "standard"})
    if scaling["kind"] == "log1p":
        return (abs(mean) + 1.0) / scale
    if scaling["kind"] not in ("quantile", "spikes"):
        return abs(mean) / scale
    pairs = pairwise(zip(scaling["values"], scaling["scores"], strict=True))
    return float(max(max(abs(x), abs(y)) / (y - x) * (b - a) for (x, a), (y, b) in pairs))


def _units(name: str, description: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Returns each column of an output with its scale, if it has units."""
    function, _, i = name.partition(".")
    gives = OUTPUTS[function].gives[int(i)] if function in OUTPUTS else "embedding"
    columns: list[Mapping[str, Any]] = []
    if gives == "rows":
        columns = description["schema"]["columns"]
    elif gives == "prediction" and description["target"]["kind"] == "numbers":
        columns = [description["target"]]
    return [c if "scale" in c else {"mean": 0.0, "scale": 1.0} for c in columns]


def compare(
    name: str, found: Tensor, jax: Tensor, exact: Tensor, *, levels: Tensor, slack: Tensor
) -> Result:
    """Compares one output, as `comparable` gives it, with JAX's in float32 and in float64.

    Args:
        name: of the output.
        found: what the file gave.
        jax: what JAX gave in float32.
        exact: what JAX gave in float64; NaN where any category is right.
        levels: from `are_levels`; another level than the expected one is an infinite error.
        slack: from `rounding`; taken off the errors.
    """
    if found.shape != exact.shape:
        return Result(name, math.inf, 0.0, 0.0, 0)
    open_choice = torch.isnan(exact)  # a category that was as likely as another
    errors, ours = (torch.where(open_choice, 0.0, (a.double() - exact).abs()) for a in (found, jax))
    errors = torch.where(torch.isnan(errors), math.inf, errors - slack).clamp_min(0)
    errors = torch.where((errors != 0) & levels, math.inf, errors)
    ours = torch.where(levels, 0.0, ours)
    numbers = exact[~(open_choice | levels)]
    size = float(numbers.abs().max()) if numbers.numel() else 0.0
    unit = size if size > 0 else 1.0
    error, jax_error = (float(e.max()) / unit if e.numel() else 0.0 for e in (errors, ours))
    row = int(errors.reshape(len(errors), -1).amax(1).argmax()) if errors.numel() else 0
    # However far JAX's own error is: an expected value that is wrong may not widen the bound.
    bound = min(4 * max(jax_error, 8 * _ROUNDOFF * size / unit), 1e4 * _ROUNDOFF)
    return Result(name, error, jax_error, bound, row)


def table(results: Sequence[Result]) -> str:
    """Returns the results as text."""
    lines = [f"{'function':14} {'error':>9} {'of JAX':>9} {'bound':>9}  row"]
    for r in results:
        mark = "" if r.passed else "  FAILED"
        lines.append(
            f"{r.name:14} {r.error:9.1e} {r.jax_error:9.1e} {r.bound:9.1e} {r.row:4d}{mark}"
        )
    return "\n".join(lines)
