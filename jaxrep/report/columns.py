"""The report's part on the error of each column."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxrep.evaluation import ColumnErrors, column_errors
from jaxrep.report.content import Drawing, Part, Section, Table
from jaxrep.report.figures import blank, draw
from jaxrep.report.subject import Subject
from jaxrep.report.text import drawable

MAX_BARS, MAX_LISTED = 24, 60
_DATA = "#1f77b4"
_OF_KIND = {"numeric": "Numbers", "categorical": "Categories"}


def errors(subject: Subject) -> Iterator[Section]:
    """Yields the error of each column; nothing for a method without a decoder."""
    if not subject.has_decoder:
        return
    found = column_errors(subject.run.schema, subject.x, subject.x_hat, subject.terms)
    # The most nats first; last what has no cells.
    order = np.argsort(np.nan_to_num(-found.nats, nan=np.inf), kind="stable")
    of_kind = {
        title: [i for i in order if found.kinds[i] == kind] for kind, title in _OF_KIND.items()
    }
    worst = {
        title: [(found.names[i], float(found.nats[i])) for i in places[:MAX_BARS]]
        for title, places in of_kind.items()
        if places
    }
    told = "; ".join(
        f"of {title.lower()} the largest is that of {bars[0][0]}, {bars[0][1]:.3g}"
        for title, bars in worst.items()
    )
    parts: list[Part] = [
        Drawing(
            draw(lambda: _bars(worst), "errors", f"Bars of the error of columns in nats: {told}."),
            "What a column's cells add to a row's score, −log p in nats, mean over the rows where "
            "it is not missing. 0 is perfect. Of a number with a squared likelihood it is the "
            "squared error of the scaled number: 1 is what the mean alone would reach on the "
            "training rows.",
        ),
        Table(*_errors_table(found, order)),
    ]
    yield Section("columns", "Error by column", parts)


def _errors_table(
    found: ColumnErrors, order: Sequence[Any] | np.ndarray
) -> tuple[str, list[str], list[list[Any]]]:
    """Returns the caption, the headings and the rows of a table of errors."""
    head = ["column", "nats", "in its own units", "wrong category"]
    rows: list[list[Any]] = []
    for i in order[:MAX_LISTED]:
        nats, own = known(found.nats[i]), known(found.own[i])
        share = None if own is None else f"{100 * own:.3g} %"
        in_units = (own, "–") if found.kinds[i] == "numeric" else ("–", share)
        rows.append([found.names[i], nats, *in_units])
    if "categorical" not in found.kinds:
        head, rows = head[:-1], [row[:-1] for row in rows]
    return _counted("Error of each column", len(order)), head, rows


def _bars(worst: dict[str, list[tuple[str, float]]]) -> Figure:
    lengths = [len(bars) for bars in worst.values()]
    heights = [0.8 + 0.22 * length for length in lengths]
    made, panels = blank(sum(heights), len(worst), height_ratios=heights)
    for (title, bars), axes in zip(worst.items(), panels, strict=True):
        places = np.arange(len(bars))
        axes.barh(places, [value for _, value in bars], color=_DATA)
        axes.set_yticks(places, [drawable(name, 28) for name, _ in bars], fontsize=8)
        axes.set_ylim(len(bars) - 0.4, -0.6)
        axes.set(xlabel="nats")
        if len(worst) > 1:
            axes.set_title(title.lower(), fontsize=9)
    return made


def known(value: float | np.floating[Any]) -> float | None:
    """Returns a number; None of what no cell says anything of."""
    return None if np.isnan(value) else float(value)


def _counted(what: str, count: int) -> str:
    return what if count <= MAX_LISTED else f"{what}, the first {MAX_LISTED} of {count}"
