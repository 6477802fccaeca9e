"""A sweep as text: its runs, the best first, and what the seeds of each combination reach."""

import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from rich import box
from rich.console import Console
from rich.table import Table

from jaxrep.runs.grid import as_text
from jaxrep.runs.sweep import SweepResult

MOST_ROWS = 20
_LOSSES = ("validation_loss", "loss")

Row = dict[str, Any]


def render(result: SweepResult, table: pa.Table) -> str:
    """Returns the tables and the figures of a sweep.

    Args:
        result: its figures.
        table: its runs, as `runs.sweep.read_members` reads them.
    """
    rows = _ordered(table.to_pylist(), result.select)
    names = table.column_names
    varied = names[1 : names.index("seed")]
    metrics = [
        result.select,
        *(name for name in _LOSSES if name in names and name != result.select),
    ]
    parts = [
        f"{result.members} runs of {result.method} on {result.rows} rows, the least "
        f"{result.select} first",
        _members(rows, [*varied, "seed"], metrics),
    ]
    if len(rows) > MOST_ROWS:
        parts.append(f"… and {len(rows) - MOST_ROWS} more in {result.out}/sweep.parquet")
    combinations = _combinations(rows, varied)
    if 1 < len(combinations) < len(rows):
        parts.append("\nthe same by combination: mean ± standard deviation over its seeds")
        parts.append(_by_combination(combinations, varied, metrics))
    parts.append(
        f"\n{result.compile_seconds:.2f} s compiling, {result.seconds:.2f} s training "
        f"({result.rows_per_second:,.0f} rows/s)\nbest run, member {result.best['member']}, "
        f"saved in {result.out}"
    )
    return "\n".join(parts)


def _ordered(rows: Iterable[Row], metric: str) -> list[Row]:
    return sorted(rows, key=lambda row: np.inf if row[metric] is None else row[metric])


def _members(rows: Sequence[Row], settings: Sequence[str], metrics: Sequence[str]) -> str:
    lines = []
    for row in rows[:MOST_ROWS]:
        reached = ["diverged" if row["diverged"] else _number(row[name]) for name in metrics]
        lines.append([str(row["member"]), *(as_text(row[name]) for name in settings), *reached])
    return _laid_out(["member", *settings, *metrics], lines)


def _combinations(rows: Sequence[Row], varied: Sequence[str]) -> list[list[Row]]:
    """Returns the runs of each combination, that with the best run first."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in varied), []).append(row)
    return list(groups.values())


def _by_combination(
    combinations: Sequence[Sequence[Row]], varied: Sequence[str], metrics: Sequence[str]
) -> str:
    ordered = sorted(combinations, key=lambda group: _mean(group, metrics[0]))
    lines = [
        [
            *(as_text(group[0][name]) for name in varied),
            *(_spread(group, name) for name in metrics),
            f"{sum(not row['diverged'] for row in group)}/{len(group)}",
        ]
        for group in ordered
    ]
    return _laid_out([*varied, *metrics, "finished"], lines)


def _values(group: Sequence[Row], metric: str) -> list[float]:
    return [row[metric] for row in group if row[metric] is not None]


def _mean(group: Sequence[Row], metric: str) -> float:
    values = _values(group, metric)
    return float(np.mean(values)) if values else np.inf


def _spread(group: Sequence[Row], metric: str) -> str:
    values = _values(group, metric)
    if len(values) < 2:
        return _number(values[0]) if values else "diverged"
    return f"{_number(np.mean(values))} ± {np.std(values, ddof=1):.2g}"


def _number(value: Any) -> str:
    return "not finite" if value is None else f"{value:.5g}"


def _laid_out(names: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    file = io.StringIO()
    Console(file=file, width=1000, color_system=None, highlight=False).print(table)
    return "\n".join(line.rstrip() for line in file.getvalue().rstrip().splitlines())
