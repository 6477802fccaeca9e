"""The report's parts column by column: reconstruction errors, and samples against data."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxrep.data.schema import Column, NumericColumn, Schema
from jaxrep.data.transform import to_values
from jaxrep.evaluation import column_errors
from jaxrep.report.content import Drawing, Paragraph, Part, Section, Table
from jaxrep.report.figures import blank, draw
from jaxrep.report.subject import Subject
from jaxrep.report.text import drawable
from jaxrep.runs.outputs import draw_features

MAX_BARS, MAX_PANELS, MAX_LISTED = 24, 12, 60
MAX_COMPARED = 5000  # rows drawn from the prior, and rows of the data beside them
_DATA, _SAMPLES = "#1f77b4", "#ff7f0e"


def errors(subject: Subject) -> Iterator[Section]:
    """Yields the error of each column; nothing for a method without a decoder."""
    if not subject.has_decoder:
        return
    found = column_errors(subject.run.schema, subject.x, subject.x_hat)
    order = np.argsort(-found.standardised, kind="stable")
    worst = [(found.names[i], float(found.standardised[i])) for i in order[:MAX_BARS]]
    drawn = draw(
        lambda: _bars(worst),
        "errors",
        f"Bars of the error of {len(worst)} columns; the largest, of {worst[0][0]}, is "
        f"{worst[0][1]:.3g}.",
    )
    rows = [
        [
            found.names[i],
            float(found.standardised[i]),
            *(
                ("–", f"{100 * found.own[i]:.3g} %")
                if found.kinds[i] == "categorical"
                else (float(found.own[i]), "–")
            ),
        ]
        for i in order[:MAX_LISTED]
    ]
    head = ["column", "standardised", "in its own units", "wrong category"]
    if "categorical" not in found.kinds:
        head, rows = head[:-1], [row[:-1] for row in rows]
    parts: list[Part] = [
        Drawing(
            drawn,
            "Root of the mean squared error in standardised units: 1 is what the mean alone would "
            "reach in a numeric column of the training rows, 0 is perfect.",
        ),
        Table(_counted("Error of each column", len(order)), head, rows),
    ]
    yield Section("columns", "Error by column", parts)


def samples(subject: Subject) -> Iterator[Section]:
    """Yields samples of the prior against the data, column by column, where there is a prior."""
    if not subject.can_generate:
        return
    every = -(-len(subject.x) // MAX_COMPARED)
    schema = subject.run.schema
    data = to_values(schema, subject.x[::every])
    made = to_values(schema, draw_features(subject.run, MAX_COMPARED))
    compared = [
        _Comparison.of(column, data[:, i], made[:, i]) for i, column in enumerate(schema.columns)
    ]
    compared.sort(key=lambda one: -one.distance)
    panels = compared[:MAX_PANELS]
    drawn = draw(
        lambda: _panels(panels),
        "samples",
        f"Histograms of {len(panels)} columns, data and samples over each other.",
    )
    head = ["column", "distance", "data: mean", "samples: mean", "data: std", "samples: std"]
    rows = [one.row() for one in compared[:MAX_LISTED]]
    parts: list[Part] = [
        Drawing(
            drawn,
            f"{len(data):,} rows of the data (blue) and {len(made):,} samples of the prior "
            f"(orange), the {len(panels)} columns that differ most first.",
        ),
        Table(_counted("Samples and data", len(compared)), head, rows),
        Paragraph(
            "The distance is the largest gap between both cumulative shares (Kolmogorov–Smirnov), "
            "and for categories half the sum of the shares' differences: 0 is alike, 1 is apart. "
            "Samples are decoder means, without noise of their own: they are often narrower."
        ),
    ]
    yield Section("samples", "Generated samples", parts)


def error_by_column(prepared: Schema, x: np.ndarray, x_hat: np.ndarray) -> np.ndarray:
    """Returns the squared error of each row in each column, `[rows, columns]`.

    A categorical column's error is the sum over its features.

    Example:
        >>> from jaxrep.data.schema import CategoricalColumn
        >>> people = Schema((CategoricalColumn("sex", ("Female", "Male"), has_gaps=False),))
        >>> error_by_column(people, np.array([[1.0, 0.0, 0.0]]), np.array([[0.0, 1.0, 0.0]]))
        array([[2.]])
    """
    squares = (x_hat.astype(np.float64) - x) ** 2
    starts = np.cumsum([0, *(column.width for column in prepared.columns)])[:-1]
    summed: np.ndarray = np.add.reduceat(squares, starts, axis=1)
    return summed


@dataclass(frozen=True)
class _Comparison:
    """A column of the data beside the same column of samples."""

    name: str
    distance: float
    data: np.ndarray
    samples: np.ndarray

    @classmethod
    def of(cls, column: Column, data: np.ndarray, made: np.ndarray) -> "_Comparison":
        if isinstance(column, NumericColumn):
            return cls(column.name, _largest_gap(data, made), data, made)
        names = np.array([*column.levels, "missing"])
        texts = [names[np.nan_to_num(codes, nan=-1).astype(int)] for codes in (data, made)]
        shares = _shares(*texts)[1]
        return cls(column.name, float(np.abs(shares[0] - shares[1]).sum() / 2), *texts)

    @property
    def is_numeric(self) -> bool:
        return self.data.dtype.kind == "f"

    def row(self) -> list[object]:
        if not self.is_numeric:
            return [self.name, self.distance, "–", "–", "–", "–"]
        means = [float(self.data.mean()), float(self.samples.mean())]
        return [self.name, self.distance, *means, float(self.data.std()), float(self.samples.std())]

    def draw(self, axes: Axes) -> None:
        if self.is_numeric:
            low, high = np.percentile(np.concatenate([self.data, self.samples]), [0.5, 99.5])
            bins = np.linspace(low, high if high > low else low + 1, 31).tolist()
            for values, colour in ((self.data, _DATA), (self.samples, _SAMPLES)):
                weights = np.full(len(values), 1 / len(values))
                axes.hist(values, bins, color=colour, alpha=0.6, weights=weights)
        else:
            categories, shares = _shares(self.data, self.samples)
            order = np.argsort(-shares.sum(axis=0))[:8]
            places = np.arange(len(order))
            for i, colour in enumerate((_DATA, _SAMPLES)):
                axes.bar(places + 0.4 * i - 0.2, shares[i, order], 0.4, color=colour)
            labels = [drawable(categories[i], 8) for i in order]
            axes.set_xticks(places, labels, rotation=45, ha="right", fontsize=7)
        axes.set_title(drawable(self.name, 24), fontsize=9)
        axes.set_yticks([])
        axes.tick_params(labelsize=7)


def _largest_gap(one: np.ndarray, two: np.ndarray) -> float:
    """Returns the largest gap between two cumulative distributions."""
    both = np.concatenate([one, two])
    shares = [np.searchsorted(np.sort(v), both, side="right") / len(v) for v in (one, two)]
    return float(np.abs(shares[0] - shares[1]).max())


def _shares(one: np.ndarray, two: np.ndarray) -> tuple[list[str], np.ndarray]:
    categories = sorted({*one.tolist(), *two.tolist()})
    shares = [[float((values == c).mean()) for c in categories] for values in (one, two)]
    return categories, np.array(shares)


def _bars(worst: list[tuple[str, float]]) -> Figure:
    made, (axes,) = blank(0.8 + 0.22 * len(worst))
    places = np.arange(len(worst))
    axes.barh(places, [value for _, value in worst], color=_DATA)
    axes.set_yticks(places, [drawable(name, 28) for name, _ in worst], fontsize=8)
    axes.set_ylim(len(worst) - 0.4, -0.6)
    axes.set(xlabel="root mean squared error, standardised")
    return made


def _panels(compared: list[_Comparison]) -> Figure:
    rows = -(-len(compared) // 2)
    made, axes = blank(1.3 * rows + 0.2, rows, 2)
    for one, panel in zip(compared, axes, strict=False):
        one.draw(panel)
    for panel in axes[len(compared) :]:
        panel.set_axis_off()
    return made


def _counted(what: str, count: int) -> str:
    return what if count <= MAX_LISTED else f"{what}, the first {MAX_LISTED} of {count}"
