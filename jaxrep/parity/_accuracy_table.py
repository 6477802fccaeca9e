"""A report as text."""

import io
import re
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxrep.parity._check import TARGET_RATIO, Accuracy, Check

WIDTH = 140
MOST_FAILURES = 20


def render(
    worst: Sequence[tuple[Check, int]],
    accuracy: Sequence[Accuracy],
    failures: Sequence[Check],
    summary: str,
) -> str:
    """Returns a report's tables: every check at its tightest case, the failing ones last.

    Args:
        worst: the tightest case of each check, and how many cases it has.
        accuracy: how exact both frameworks are, by check and dtype.
        failures: the checks that failed.
        summary: the last line.
    """
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, highlight=False)
    console.print(_checks(worst))
    if single := [row for row in accuracy if row.dtype == "float32"]:
        console.print(_accuracy(single))
    for check in failures[:MOST_FAILURES]:
        where = ", ".join(filter(None, [check.dtype, check.case]))
        console.print(Text(f"FAILED {check.check}{check.array} ({where}): {check.message}"))
    if len(failures) > MOST_FAILURES:
        console.print(f"… and {len(failures) - MOST_FAILURES} more")
    console.print(Text(summary))
    file = console.file
    assert isinstance(file, io.StringIO)
    return "\n".join(line.rstrip() for line in file.getvalue().strip().splitlines())


def _checks(worst: Sequence[tuple[Check, int]]) -> Table:
    table = Table(title="Errors, relative to the largest element, at the tightest case", box=None)
    for name in ("check", "dtype"):
        table.add_column(name)
    for name in ("cases", "jax", "torch", "between", "bound", "margin", "worst at"):
        table.add_column(name, justify="right")
    for check, cases in worst:
        table.add_row(
            Text(check.check),
            check.dtype,
            str(cases),
            *map(_error, (check.jax_error, check.torch_error, check.difference, check.bound)),
            _margin(check),
            _place(check),
        )
    return table


def _accuracy(rows: Sequence[Accuracy]) -> Table:
    table = Table(title="float32 errors against float64, geometric means over cases", box=None)
    table.add_column("check")
    for name in ("jax", "torch", "jax / torch"):
        table.add_column(name, justify="right")
    for row in rows:
        mark = "" if row.ratio <= TARGET_RATIO else f" > {TARGET_RATIO}"
        errors = _error(row.jax_error), _error(row.torch_error)
        table.add_row(Text(row.check), *errors, f"{row.ratio:.2f}{mark}")
    return table


def _error(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}" if value else "0"


def _place(check: Check) -> str:
    """The worst element, such as `encoder.0.kernel[3, 7]`."""
    array = ".".join(re.findall(r"[^\[\]']+", check.array))
    return array + ("" if check.index is None else str(list(check.index)))


def _margin(check: Check) -> str:
    if not check.passed:
        return "FAILED"
    return "∞" if check.margin is None else f"{check.margin:.1f}"
