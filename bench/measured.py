"""Samples, and all that is computed from them: the only place that knows a median.

An entry of the suite measures *series*: samples of one quantity, taken in turn with those of the
other sides, so that a slow minute of the machine meets all of them. What a table, a comparison or a
page says is computed from the samples when it is said.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class Series:
    """Samples of one quantity.

    Example:
        >>> series = Series("vae", "jaxrep", "rows/s", [3.0, 1.0, 2.0, 5.0])
        >>> series.minimum, series.median, series.iqr, series.higher_is_better
        (1.0, 2.5, 1.75, True)
    """

    case: str
    """What is measured, such as a method: the row of a table."""

    side: str
    """Of whom, or with what: the column."""

    unit: str
    """Of the samples; more is better where it is something a second."""

    samples: list[float]
    """In the order of the rounds."""

    @property
    def minimum(self) -> float:
        """The smallest sample."""
        return min(self.samples)

    @property
    def median(self) -> float:
        """The middle one."""
        return float(np.median(self.samples))

    @property
    def iqr(self) -> float:
        """Distance of the third quartile from the first."""
        low, high = np.percentile(self.samples, [25, 75])
        return float(high - low)

    @property
    def higher_is_better(self) -> bool:
        """Whether the unit is a rate."""
        return self.unit.endswith("/s")


@dataclass(frozen=True)
class Measured:
    """What an entry of the suite has measured."""

    series: list[Series]
    """All samples."""

    facts: dict[str, Any] = field(default_factory=dict)
    """What was counted rather than timed, and the sizes that were measured."""

    def find(self, case: str, side: str, unit: str | None = None) -> Series | None:
        """Returns a series, or None where a short run left it out.

        Args:
            case: of the series.
            side: of the series.
            unit: of the series, where an entry measures one side of a case in several.
        """
        found = (s for s in self.series if (s.case, s.side) == (case, side))
        return next((s for s in found if unit in (None, s.unit)), None)

    def ratio(self, over: tuple[str, str], under: tuple[str, str]) -> float:
        """Returns the ratio of two series' medians; NaN where one of them was left out."""
        one, other = self.find(*over), self.find(*under)
        return one.median / other.median if one and other else math.nan

    def to_json(self) -> dict[str, Any]:
        """Returns plain dicts, lists, strings and numbers."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Measured":
        """Returns what `to_json` described; other keys, of the record around it, are skipped."""
        return cls([Series(**series) for series in data["series"]], dict(data["facts"]))


@dataclass(frozen=True)
class Figure:
    """A number computed from series, and what it must be.

    Example:
        >>> Figure("speed", 4.2, "×", 4.0).verdict, Figure("share", 0.12, "%", 0.1, "most").verdict
        ('met', 'missed')
    """

    name: str
    """What it says; names the reason of a missed target as well."""

    value: float
    """The number; NaN where it was not measured. Shares are fractions of 1."""

    unit: Literal["×", "%", ""]
    """A ratio, a share, or a count."""

    target: float | None = None
    """Bound on the value, if it has one."""

    bound: Literal["least", "most"] = "least"
    """On which side of the target the value must be."""

    @property
    def verdict(self) -> str:
        """`met`, `missed`, or nothing where there is no target or no value."""
        if self.target is None or math.isnan(self.value):
            return ""
        met = self.value >= self.target if self.bound == "least" else self.value <= self.target
        return "met" if met else "missed"

    @property
    def text(self) -> str:
        """The value with its unit."""
        return "not measured" if math.isnan(self.value) else self._format(self.value)

    @property
    def target_text(self) -> str:
        """The target with its bound, or nothing."""
        if self.target is None:
            return ""
        return f"at {self.bound} {self._format(self.target)}"

    def _format(self, value: float) -> str:
        if self.unit == "%":
            return f"{100 * value:.1f} %"
        return f"{value:.2f} ×" if self.unit == "×" else f"{value:g}"


def interleave(rounds: int, sides: Mapping[Any, Callable[[int], float]]) -> dict[Any, list[float]]:
    """Calls every side once a round, in turn.

    Args:
        rounds: how often.
        sides: by any name, a function that takes the round's number and returns a sample.

    Returns:
        The samples of every side, by its name.

    Example:
        >>> interleave(2, {"a": lambda i: i + 0.5, "b": lambda i: -i})
        {'a': [0.5, 1.5], 'b': [0, -1]}
    """
    samples: dict[Any, list[float]] = {side: [] for side in sides}
    for i in range(rounds):
        for side, measure in sides.items():
            samples[side].append(measure(i))
    return samples


def collect(unit: str, samples: Mapping[tuple[str, str], Sequence[float]]) -> list[Series]:
    """Returns the samples by (case, side) as series of one unit."""
    return [Series(case, side, unit, list(values)) for (case, side), values in samples.items()]
