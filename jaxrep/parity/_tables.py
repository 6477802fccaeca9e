"""A report as text."""

import io
import re

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxrep.parity._report import TARGET_RATIO, Check, Report

WIDTH = 140
MOST_FAILURES = 20


def render(report: Report) -> str:
    """Returns a report's tables: every check at its tightest case, the failing ones last."""
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, highlight=False)
    console.print(_checks(report))
    if any(row.dtype == "float32" for row in report.accuracy()):
        console.print(_accuracy(report))
    for check in report.failures[:MOST_FAILURES]:
        where = ", ".join(filter(None, [check.dtype, check.case]))
        console.print(Text(f"FAILED {check.check}{check.array} ({where}): {check.message}"))
    if len(report.failures) > MOST_FAILURES:
        console.print(f"… and {len(report.failures) - MOST_FAILURES} more")
    console.print(Text(_summary(report)))
    file = console.file
    assert isinstance(file, io.StringIO)
    return "\n".join(line.rstrip() for line in file.getvalue().strip().splitlines())


def _checks(report: Report) -> Table:
    table = Table(title="Errors, relative to the largest element, at the tightest case", box=None)
    for name in ("check", "dtype"):
        table.add_column(name)
    for name in ("cases", "jax", "torch", "between", "bound", "margin", "worst at"):
        table.add_column(name, justify="right")
    for check, cases in report.worst():
        table.add_row(
            Text(check.check),
            check.dtype,
            str(cases),
            *map(_error, (check.jax_error, check.torch_error, check.difference, check.bound)),
            _margin(check),
            _place(check),
        )
    return table


def _accuracy(report: Report) -> Table:
    table = Table(title="float32 errors against float64, geometric means over cases", box=None)
    table.add_column("check")
    for name in ("jax", "torch", "jax / torch"):
        table.add_column(name, justify="right")
    for row in (row for row in report.accuracy() if row.dtype == "float32"):
        mark = "" if row.ratio <= TARGET_RATIO else f" > {TARGET_RATIO}"
        errors = _error(row.jax_error), _error(row.torch_error)
        table.add_row(Text(row.check), *errors, f"{row.ratio:.2f}{mark}")
    return table


def _summary(report: Report) -> str:
    if not report.checks:
        return "nothing was compared"
    failed = len(report.failures)
    outcome = (
        f"{failed} of {len(report.checks)} comparisons FAILED"
        if failed
        else (f"all {len(report.checks)} comparisons passed")
    )
    ratio = report.ratio()
    exactness = "" if ratio is None else f"; float32 errors, jax / torch: {ratio:.2f}"
    return f"{outcome}{exactness}; {report.seconds:.1f} s"


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
