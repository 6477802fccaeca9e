"""The report's part on samples: rows that a model made beside the data, column by column."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxrep.batch import take
from jaxrep.comparison import ks_complement, tv_complement
from jaxrep.data.schema import CategoricalColumn, NumericColumn, Schema
from jaxrep.data.transform import to_values
from jaxrep.report.columns import MAX_LISTED, known
from jaxrep.report.content import Drawing, Paragraph, Part, Section, Table
from jaxrep.report.figures import blank, draw
from jaxrep.report.subject import Subject
from jaxrep.report.text import drawable
from jaxrep.runs.generating import draw_features

MAX_PANELS = 12
MAX_LEVELS = 8  # of a category that a panel shows
MAX_COMPARED = 5000  # rows drawn from the prior, and rows of the data beside them
_DATA, _SAMPLES = "#1f77b4", "#ff7f0e"


def samples(subject: Subject) -> Iterator[Section]:
    """Yields samples of the prior against the data, column by column, where there is a prior."""
    if not subject.can_generate:
        return
    every = -(-subject.count // MAX_COMPARED)
    schema = subject.run.schema
    data = to_values(schema, take(subject.x, slice(None, None, every)))
    made = to_values(schema, draw_features(subject.run, MAX_COMPARED), is_drawn=True)
    of_samples = f"{len(made):,} samples of the prior"
    parts: list[Part] = list(parts_of(schema, data, made, of_samples))
    parts.append(
        Paragraph(
            "The distance is the largest gap between both cumulative shares (Kolmogorov–Smirnov), "
            "and for categories half the sum of the shares' differences: 0 is alike, 1 is apart. "
            "Cells that are missing in the data do not count. Samples are drawn from the prior and "
            "from the columns' likelihoods, as `jaxrep generate` draws them."
        )
    )
    yield Section("samples", "Generated samples", parts)


def parts_of(schema: Schema, data: np.ndarray, made: np.ndarray, what: str) -> Iterator[Part]:
    """Yields a drawing and a table of the numbers, and of the categories.

    Args:
        schema: what the columns are.
        data: raw rows, `[N, columns]`.
        made: raw rows, `[M, columns]`.
        what: what the latter are, and how many.
    """
    for name, found in _compared(schema, data, made).items():
        panels = found[:MAX_PANELS]
        drawn = draw(
            lambda panels=panels: _panels(panels),  # type: ignore[misc]
            f"samples-{name.lower()}",
            f"Histograms of {len(panels)} columns, data and samples over each other.",
        )
        yield Drawing(
            drawn,
            f"{name}: {len(data):,} rows of the data (blue) and {what} (orange), the "
            f"{len(panels)} columns that differ most first.",
        )
        listed = f", the first {MAX_LISTED} of {len(found)}" if len(found) > MAX_LISTED else ""
        yield Table(
            f"Samples and data, {name.lower()}{listed}",
            ["column", "distance", *found[0].head],
            [one.row() for one in found[:MAX_LISTED]],
        )


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
        new = made[~np.isnan(made)]
        return cls(column.name, 1 - ks_complement(there, new), there, new)

    def row(self) -> list[object]:
        found = [
            float(f(values)) if len(values) else None
            for f in (np.mean, np.std)
            for values in (self.data, self.samples)
        ]
        return [self.name, known(self.distance), *found]

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
        return cls(column.name, 1 - tv_complement(data, made), levels, shares)

    def row(self) -> list[object]:
        most = [(int(shares.argmax()), shares.max()) for shares in self.shares]
        return [
            self.name,
            known(self.distance),
            *(f"{self.levels[i]} ({100 * share:.3g} %)" if share else None for i, share in most),
        ]

    def draw(self, axes: Axes) -> None:
        order = np.argsort(-self.shares.sum(axis=0), kind="stable")[:MAX_LEVELS]
        places = np.arange(len(order))
        for i, colour in enumerate((_DATA, _SAMPLES)):
            axes.bar(places + 0.4 * i - 0.2, self.shares[i, order], 0.4, color=colour)
        labels = [drawable(self.levels[i], 8) for i in order]
        axes.set_xticks(places, labels, rotation=45, ha="right", fontsize=7)


_Panel = _Numbers | _Levels


def _compared(schema: Schema, data: np.ndarray, made: np.ndarray) -> dict[str, list[_Panel]]:
    """Returns the columns of each kind that there is, those that differ most first."""
    found: dict[str, list[_Panel]] = {}
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


def _panels(compared: Sequence[_Panel]) -> Figure:
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
