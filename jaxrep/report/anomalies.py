"""The report's part on anomalies: all scores, the threshold, the rows beyond it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from jaxrep.batch import take
from jaxrep.networks import LevelScore, Mahalanobis, MeanScore, Neighbours
from jaxrep.report.content import Drawing, Paragraph, Part, Section, Table
from jaxrep.report.figures import blank, draw
from jaxrep.report.subject import Subject
from jaxrep.runs.explaining import as_text, reasons_of

WORST_ROWS = 15
REASONS, _LEAST_SHARE = 3, 0.05  # columns of a row that are named, and of which share at least
_LONG_TAIL = 20  # of the largest score to the median, from which on the axis is logarithmic

_SCORES: dict[type | None, str] = {
    Mahalanobis: "The score is the squared Mahalanobis distance of a row's representation from "
    "those of the training rows, over their size; about 1 is usual.",
    Neighbours: "The score is the distance of a row's representation to the fifth nearest of those "
    "of training rows that the run keeps.",
    LevelScore: "The score is the mean over noise levels of the logarithm of a row's error, "
    "standardised by the training rows, of which 0 is the mean.",
    MeanScore: "The score is the mean of two, standardised by the training rows, of which 0 is the "
    "mean: the logarithm of a row's error over noise levels, and that of the Mahalanobis distance "
    "of its representation.",
}


def anomalies(subject: Subject) -> Iterator[Section]:
    """Yields the histogram of the scores and the rows that have the highest."""
    is_error = subject.has_decoder and subject.scoring is None
    kind = "Reconstruction error" if is_error else "Anomaly score"
    told = _told(subject)
    drawn = draw(lambda: _histogram(subject, kind), "scores", f"Histogram of the scores. {told}")
    parts: list[Part] = [Drawing(drawn, f"{kind} of {len(subject.scores):,} rows. {told}")]
    if not subject.is_drawn:
        parts.append(_worst(subject))
        if subject.run.reasons is not None:
            parts.append(_why(subject))
    if subject.scoring in _SCORES:
        parts.append(Paragraph(_SCORES[subject.scoring]))
    yield Section("anomalies", kind, parts)


def _told(subject: Subject) -> str:
    if subject.threshold is None:
        return "The run was imported and knows no threshold."
    above = int((subject.scores > subject.threshold).sum())
    return (
        f"{above:,} lie above the threshold {subject.threshold:.4g}, which "
        f"{100 * subject.contamination:g} % of the training rows exceeded."
    )


def _histogram(subject: Subject, kind: str) -> Figure:
    made, (axes,) = blank(3.0)
    scores = subject.scores.astype(np.float64)
    low, high = float(scores.min()), float(scores.max())
    if low > 0 and high > _LONG_TAIL * float(np.median(scores)):
        axes.hist(scores, bins=np.geomspace(low, high, 61).tolist(), color="#1f77b4")
        axes.set_xscale("log")
    else:
        axes.hist(scores, bins=60, color="#1f77b4")
    if subject.threshold is not None:
        axes.axvline(subject.threshold, color="#d62728", linestyle="--")
        axes.annotate(
            "threshold",
            (subject.threshold, 1),
            xycoords=("data", "axes fraction"),
            xytext=(4, -10),
            textcoords="offset points",
            color="#d62728",
        )
    axes.set(xlabel=kind.lower(), ylabel="rows")
    return made


def _worst(subject: Subject) -> Table:
    prepared = subject.run.schema
    order = np.argsort(-subject.scores, kind="stable")[:WORST_ROWS]
    passed = [name for name in prepared.ignored if name in subject.table.column_names]
    head = ["row", *reversed(passed), "score"]
    by_column = None
    if subject.has_decoder and subject.run.reasons is None:
        # A density may be above 1: such a cell adds nothing that would make a row strange.
        by_column = np.maximum(subject.terms_in_table_order[order].astype(np.float64), 0)
        head += ["most of it in", "share"]
    rows = []
    for i, number in enumerate(order):
        row: list[Any] = [str(number)]
        row += [subject.table[name][int(number)].as_py() for name in reversed(passed)]
        row.append(float(subject.scores[number]))
        if by_column is not None:
            largest = int(by_column[i].argmax())
            share = by_column[i, largest] / max(by_column[i].sum(), np.finfo(float).tiny)
            row += [prepared.columns[largest].name, f"{100 * share:.0f} %"]
        rows.append(row)
    return Table("The rows with the highest scores, counted from 0", head, rows)


def _why(subject: Subject) -> Table:
    """Returns the columns of the worst rows that fit the others least."""
    order = np.argsort(-subject.scores, kind="stable")[:WORST_ROWS]
    table, x = subject.table.take(pa.array(order)), take(subject.x, order)
    rows = [
        [
            str(order[reason.row]),
            reason.column,
            as_text(reason.value),
            as_text(reason.expected),
            None if reason.probability is None else f"{100 * reason.probability:.0f} %",
            f"{100 * reason.share:.0f} %",
        ]
        for reason in reasons_of(subject.run, table, x, REASONS, "the report")
        if reason.share >= _LEAST_SHARE
    ]
    return Table(
        "Why: columns of these rows that the other columns did not let expect",
        ["row", "column", "value", "expected", "its probability", "share"],
        rows,
    )
