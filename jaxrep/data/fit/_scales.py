"""Scales for long tails: what they need of the training rows, block by block."""

import sys
from typing import Protocol, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from ..columns import Scale
from ..schema import MOST_QUANTILES, MOST_SPIKES, Log1p, NumericColumn, Quantile, Robust, Spikes
from ..transform import signed_log1p
from ._kinds import is_one_value
from ._ranks import Ranks
from ._statistics import Moments

_Values = npt.NDArray[np.float64]
_Counts = npt.NDArray[np.int64]
_Column = TypeVar("_Column", bound=NumericColumn)

NORMAL_IQR = 1.349
"""The interquartile range of the standard normal distribution."""

SPIKE_SHARE = 0.05
"""Share of the values above which one is a spike."""


class Shown(Protocol):
    """What is shown a column's values, in blocks, until it has found what it is looking for."""

    @property
    def found(self) -> bool:
        """Whether enough has been shown."""

    def add(self, values: _Values) -> None:
        """Adds a block of finite values to the showing."""

    def end_showing(self) -> None:
        """Ends a showing of all values."""


class ScaleFit(Shown, Protocol):
    """What finds the scale of a column."""

    def scale(self, column: _Column, missing: int) -> _Column:
        """Returns a standardised column on its scale.

        Args:
            column: with the mean and deviation of the training rows.
            missing: the number of their cells that are missing, which count as the column's `fill`
                in means and deviations, if it has one.
        """


def make_scale_fit(scale: Scale, bits: int) -> ScaleFit | None:
    """Returns what finds a scale; None for the standard one, which moments are enough for.

    Args:
        scale: its name.
        bits: as of `Ranks`.

    Example:
        >>> from jaxrep.data.schema import Number
        >>> robust = make_scale_fit("robust", 16)
        >>> robust.add(np.array([1.0, 2.0, 3.0, 4.0, 1000.0])), robust.end_showing()
        (None, None)
        >>> scaled = robust.scale(Number("sum", 202.0, 399.0, None), 0)
        >>> scaled.mean, round(scaled.scale * 1.349, 9)
        (3.0, 2.0)
    """
    match scale:
        case "robust":
            return _RobustFit(bits)
        case "log1p":
            return _Log1pFit()
        case "quantile":
            return _QuantileFit(bits)
        case "spikes":
            return _SpikesFit(bits)
        case _:
            return None


class _RobustFit(Ranks):
    """Median and interquartile range, of which linear ones between two ranks are meant."""

    def __init__(self, bits: int):
        super().__init__(self._ranks_around, bits)

    @staticmethod
    def _ranks_around(count: int) -> npt.NDArray[np.int64]:
        quarters = np.arange(1, 4) * (count - 1)  # in quarters of a rank
        return np.stack([quarters // 4, -(-quarters // 4)], axis=1).reshape(-1)

    def scale(self, column: _Column, missing: int) -> _Column:
        share = np.arange(1, 4) * (self.count - 1) % 4 / 4
        low, high = self.values[::2], self.values[1::2]
        first, median, third = (low * (1 - share) + high * share).tolist()
        deviation = min(third / NORMAL_IQR - first / NORMAL_IQR, sys.float_info.max)
        if not deviation > 0:
            return _but_standard(column, "robust", "its interquartile range is 0")
        return _replaced(column, mean=median, scale=deviation, scaling=Robust())


class _Log1pFit:
    """Mean and deviation of sign(x) · log(1 + |x|)."""

    def __init__(self) -> None:
        self.found = False
        self._moments = Moments()

    def add(self, values: _Values) -> None:
        self._moments.add(signed_log1p(values))

    def end_showing(self) -> None:
        self.found = True

    def scale(self, column: _Column, missing: int) -> _Column:
        if missing and column.fill is not None:
            self._moments.repeat(float(signed_log1p(np.array(column.fill))), missing)
        mean, deviation = self._moments.mean, self._moments.deviation
        if is_one_value(mean, deviation):
            return _but_standard(column, "log1p", "the logarithms of its values are all equal")
        return _replaced(column, mean=mean, scale=deviation, scaling=Log1p())


class _QuantileFit(Ranks):
    """Quantiles of evenly spaced ranks, or all distinct values where they are few."""

    def __init__(self, bits: int):
        super().__init__(self._ranks_even, bits)

    @staticmethod
    def _ranks_even(count: int) -> npt.NDArray[np.int64]:
        if count <= MOST_QUANTILES:
            return np.arange(count)
        return np.arange(MOST_QUANTILES) * (count - 1) // (MOST_QUANTILES - 1)

    def scale(self, column: _Column, missing: int) -> _Column:
        values, below, equal, is_complete = self._known()
        scores = ndtri((below + equal / 2) / self.count)
        kept = Quantile(tuple(values.tolist()), tuple(scores.tolist()), is_complete)
        return _replaced(column, mean=0.0, scale=1.0, scaling=kept)

    def _known(self) -> tuple[_Values, _Counts, _Counts, bool]:
        """Returns values, how many are below and equal to each, and whether these are all."""
        if self.distinct is not None and len(self.distinct[0]) <= MOST_QUANTILES:
            values, equal = self.distinct
            return values, np.cumsum(equal) - equal, equal, True
        values, first = np.unique(self.values, return_index=True)
        return values, self.below[first], self.equal[first], False


class _SpikesFit(_QuantileFit):
    """The same of the values that few rows share; those that many share are spikes."""

    def scale(self, column: _Column, missing: int) -> _Column:
        values, below, equal, is_complete = self._known()
        is_spike = equal > SPIKE_SHARE * self.count
        if not is_spike.any():
            return super().scale(column, missing)
        spikes, shared = values[is_spike], equal[is_spike]
        if len(spikes) > MOST_SPIKES:
            raise AssertionError(f"{len(spikes)} values of more than a {MOST_SPIKES}th each")
        # Among the others alone.
        lower = np.concatenate([[0], np.cumsum(shared)])[np.searchsorted(spikes, values)]
        below, equal, values = (below - lower)[~is_spike], equal[~is_spike], values[~is_spike]
        rest = self.count - int(shared.sum())
        if len(values) < 2:  # there are no ranks; what is no spike is hardly ever drawn
            ends = sorted({*values.tolist(), *spikes[[0, -1]].tolist()})
            ends = (
                [ends[0], ends[-1]] if len(ends) > 1 else [ends[0], np.nextafter(ends[0], np.inf)]
            )
            kept = Spikes((ends[0], ends[1]), (-1.0, 1.0), tuple(spikes.tolist()))
        else:
            scores = ndtri((below + equal / 2) / rest)
            kept = Spikes(
                tuple(values.tolist()),
                tuple(scores.tolist()),
                tuple(spikes.tolist()),
                is_complete,
            )
        return _replaced(column, mean=0.0, scale=1.0, scaling=kept)


def _replaced(
    column: _Column, *, mean: float, scale: float, scaling: Robust | Log1p | Quantile | Spikes
) -> _Column:
    return msgspec.structs.replace(column, mean=mean, scale=scale, scaling=scaling)


def _but_standard(column: _Column, asked: str, why: str) -> _Column:
    return msgspec.structs.replace(column, why=f"{column.why}; standard, not {asked}: {why}")
