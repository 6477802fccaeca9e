"""The report's parts column by column: reconstruction errors, and samples against data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxrep.batch import take
from jaxrep.data.schema import CategoricalColumn, NumericColumn, Schema
from jaxrep.data.transform import to_values
from jaxrep.evaluation import ColumnErrors, column_errors
from jaxrep.report.content import Drawing, Paragraph, Part, Section, Table
from jaxrep.report.figures import blank, draw
from jaxrep.report.subject import Subject
from jaxrep.report.text import drawable
from jaxrep.runs.outputs import draw_features

MAX_BARS, MAX_PANELS, MAX_LISTED = 24, 12, 60
MAX_LEVELS = 8  # of a category that a panel shows
MAX_COMPARED = 5000  # rows drawn from the prior, and rows of the data beside them
_DATA, _SAMPLES = "#1f77b4", "#ff7f0e"
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
        nats, own = _known(found.nats[i]), _known(found.own[i])
        share = None if own is None else f"{100 * own:.3g} %"
        in_units = (own, "–") if found.kinds[i] == "numeric" else ("–", share)
        rows.append([found.names[i], nats, *in_units])
    if "categorical" not in found.kinds:
        head, rows = head[:-1], [row[:-1] for row in rows]
    return _counted("Error of each column", len(order)), head, rows


def samples(subject: Subject) -> Iterator[Section]:
    """Yields samples of the prior against the data, column by column, where there is a prior."""
    if not subject.can_generate:
        return
    every = -(-subject.count // MAX_COMPARED)
    schema = subject.run.schema
    data = to_values(schema, take(subject.x, slice(None, None, every)))
    made = to_values(schema, draw_features(subject.run, MAX_COMPARED))
    parts: list[Part] = []
    for name, compared in _compared(schema, data, made).items():
        panels = compared[:MAX_PANELS]
        drawn = draw(
            lambda panels=panels: _panels(panels),  # type: ignore[misc]
            f"samples-{name.lower()}",
            f"Histograms of {len(panels)} columns, data and samples over each other.",
        )
        parts += [
            Drawing(
                drawn,
                f"{name}: {len(data):,} rows of the data (blue) and {len(made):,} samples of the "
                f"prior (orange), the {len(panels)} columns that differ most first.",
            ),
            Table(
                _counted(f"Samples and data, {name.lower()}", len(compared)),
                ["column", "distance", *compared[0].head],
                [one.row() for one in compared[:MAX_LISTED]],
            ),
        ]
    parts.append(
        Paragraph(
            "The distance is the largest gap between both cumulative shares (Kolmogorov–Smirnov), "
            "and for categories half the sum of the shares' differences: 0 is alike, 1 is apart. "
            "Cells that are missing in the data do not count. Samples are decoder means and "
            "likeliest levels, without noise of their own: they are often narrower."
        )
    )
    yield Section("samples", "Generated samples", parts)


@dataclass(frozen=True)
class _Numbers:
    """The numbers of a column of the data beside the same column of samples."""

    name: str
    distance: float
    data: np.ndarray
    samples: np.ndarray

    head: ClassVar[Sequence[str]] = ("data: mean", "samples: mean", "data: std", "samples: std")

    @classmethod
    def of(cls, column: NumericColumn, data: np.ndarray, made: np.ndarray) -> "_Numbers":
        there = data[~np.isnan(data)]
        return cls(column.name, _largest_gap(there, made) if len(there) else np.nan, there, made)

    def row(self) -> list[object]:
        found = [
            float(f(values)) if len(values) else None
            for f in (np.mean, np.std)
            for values in (self.data, self.samples)
        ]
        return [self.name, _known(self.distance), *found]

    def draw(self, axes: Axes) -> None:
        low, high = np.percentile(np.concatenate([self.data, self.samples]), [0.5, 99.5])
        bins = np.linspace(low, high if high > low else low + 1, 31).tolist()
        for values, colour in ((self.data, _DATA), (self.samples, _SAMPLES)):
            weights = np.full(len(values), 1 / max(len(values), 1))
            axes.hist(values, bins, color=colour, alpha=0.6, weights=weights)


@dataclass(frozen=True)
class _Levels:
    """The shares of a column's levels in the data beside those in samples."""

    name: str
    distance: float
    levels: tuple[str, ...]
    shares: np.ndarray  # of data and samples, [2, levels]; the first is "other"

    head: ClassVar[Sequence[str]] = ("data: most frequent", "samples: most frequent")

    @classmethod
    def of(cls, column: CategoricalColumn, data: np.ndarray, made: np.ndarray) -> "_Levels":
        levels = ("other", *column.levels)
        counts = [
            np.bincount(codes[~np.isnan(codes)].astype(int) + 1, minlength=len(levels))
            for codes in (data, made)
        ]
        shares = np.array([count / max(count.sum(), 1) for count in counts])
        distance = float(np.abs(shares[0] - shares[1]).sum() / 2) if counts[0].sum() else np.nan
        return cls(column.name, distance, levels, shares)

    def row(self) -> list[object]:
        most = [(int(shares.argmax()), shares.max()) for shares in self.shares]
        return [
            self.name,
            _known(self.distance),
            *(f"{self.levels[i]} ({100 * share:.3g} %)" if share else None for i, share in most),
        ]

    def draw(self, axes: Axes) -> None:
        order = np.argsort(-self.shares.sum(axis=0), kind="stable")[:MAX_LEVELS]
        places = np.arange(len(order))
        for i, colour in enumerate((_DATA, _SAMPLES)):
            axes.bar(places + 0.4 * i - 0.2, self.shares[i, order], 0.4, color=colour)
        labels = [drawable(self.levels[i], 8) for i in order]
        axes.set_xticks(places, labels, rotation=45, ha="right", fontsize=7)


_Comparison = _Numbers | _Levels


def _compared(schema: Schema, data: np.ndarray, made: np.ndarray) -> dict[str, list[_Comparison]]:
    """Returns the columns of each kind that there is, those that differ most first."""
    found: dict[str, list[_Comparison]] = {}
    for i, column in enumerate(schema.columns):
        if isinstance(column, CategoricalColumn):
            levels = _Levels.of(column, data[:, i], made[:, i])
            found.setdefault("Categories", []).append(levels)
        else:
            numbers = _Numbers.of(column, data[:, i], made[:, i])
            found.setdefault("Numbers", []).append(numbers)
    for columns in found.values():
        columns.sort(key=lambda one: -np.nan_to_num(one.distance, nan=-1))
    return dict(sorted(found.items(), reverse=True))


def _known(value: float | np.floating[Any]) -> float | None:
    """Returns a number; None of what no cell says anything of."""
    return None if np.isnan(value) else float(value)


def _largest_gap(one: np.ndarray, two: np.ndarray) -> float:
    """Returns the largest gap between two cumulative distributions."""
    both = np.concatenate([one, two])
    shares = [np.searchsorted(np.sort(v), both, side="right") / len(v) for v in (one, two)]
    return float(np.abs(shares[0] - shares[1]).max())


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


def _panels(compared: Sequence[_Comparison]) -> Figure:
    rows = -(-len(compared) // 2)
    made, axes = blank(1.3 * rows + 0.2, rows, 2)
    for one, panel in zip(compared, axes, strict=False):
        one.draw(panel)
        panel.set_title(drawable(one.name, 24), fontsize=9)
        panel.set_yticks([])
        panel.tick_params(labelsize=7)
    for panel in axes[len(compared) :]:
        panel.set_axis_off()
    return made


def _counted(what: str, count: int) -> str:
    return what if count <= MAX_LISTED else f"{what}, the first {MAX_LISTED} of {count}"
