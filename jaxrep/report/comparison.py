"""`jaxrep compare --out`: one HTML file that shows made rows beside real ones."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxrep import files
from jaxrep.comparison import Comparison, faults, measures
from jaxrep.report.columns import MAX_LISTED, known
from jaxrep.report.content import Page, Paragraph, Section, Table
from jaxrep.report.rendering import render
from jaxrep.report.samples import MAX_COMPARED, parts_of


def write_comparison(found: Comparison, out: Path, *, names: tuple[str, str]) -> None:
    """Writes a comparison as a page.

    Args:
        found: what `compare` has found.
        out: the HTML file.
        names: of the real table and of the made one.
    """
    facts = [(what, shown) for what, shown in measures(found)]
    remark = Paragraph(f"{names[1]} beside {names[0]}")
    page = Page(f"Made rows: {names[1]}", facts, [remark], list(_sections(found)))
    files.write_text(out, render(page))


def _sections(found: Comparison) -> Iterator[Section]:
    real, made = found.cells["real"], found.cells["made"]
    draws = np.random.default_rng(0)
    shown = [cells.drawn(MAX_COMPARED, draws).raw for cells in (real, made)]
    what = f"{len(shown[1]):,} made rows"
    drawings = list(parts_of(real.schema, shown[0], shown[1], what))
    yield Section("pictures", "Column by column", drawings)
    columns = sorted(found.columns, key=lambda column: np.nan_to_num(column.score, nan=2))
    table = Table(
        _first("Columns, the most different first", len(columns)),
        ["column", "kind", "measure", "error", "what stands out"],
        [
            [c.name, c.kind, c.measure, known(1 - c.score), "; ".join(faults(c)) or None]
            for c in columns[:MAX_LISTED]
        ],
    )
    yield Section("columns", "Errors of columns", [table])
    pairs = sorted(found.pairs, key=lambda pair: np.nan_to_num(pair.score, nan=2))
    if pairs:
        table = Table(
            _first("Pairs of columns, the most different first", len(pairs)),
            ["column", "column", "measure", "error"],
            [[*pair.names, pair.measure, known(1 - pair.score)] for pair in pairs[:MAX_LISTED]],
        )
        yield Section("pairs", "Errors of pairs", [table])


def _first(what: str, count: int) -> str:
    return what if count <= MAX_LISTED else f"{what}, the first {MAX_LISTED} of {count:,}"
