"""Numbers of a column as features, and back, by the column's scaling."""

import sys

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from jaxrep.batch import FIRST_SPIKE

from ..cells import Numbers
from ..schema import Log1p, NumericColumn, Quantile, Spikes

_LARGEST_LOG = float(np.log(sys.float_info.max))


def scaled(column: NumericColumn, values: npt.ArrayLike) -> Numbers:
    """Returns numbers x as features (t(x) − mean) / scale, in float64.

    t is the identity, sign(x) · log(1 + |x|), or the interpolation between a column's quantiles and
    their normal scores, which stays at its ends outside the range of the training rows. A spike is
    the feature of its place.

    Args:
        column: what `fit` found.
        values: in the column's units, of any shape; NaN stays NaN.

    Example:
        >>> from jaxrep.data.schema import Log1p, Number, Quantile
        >>> scaled(Number("age", 40.0, 10.0, None), [30.0, 45.0]).tolist()
        [-1.0, 0.5]
        >>> scaled(Number("sum", 0.0, 1.0, None, scaling=Log1p()), [0.0, -np.expm1(2)]).tolist()
        [0.0, -2.0]
        >>> scores = Quantile((0.0, 10.0, 30.0), (-1.0, 0.0, 1.0))
        >>> scaled(Number("sum", 0.0, 1.0, None, scaling=scores), [5.0, 20.0, 99.0]).tolist()
        [-0.5, 0.5, 1.0]
        >>> hours = Spikes((10.0, 50.0), (-1.0, 1.0), (38.0, 40.0))
        >>> scaled(Number("hours", 0.0, 1.0, None, scaling=hours), [30.0, 40.0]).tolist()
        [0.0, 9.0]
    """
    given: Numbers = np.asarray(values, np.float64)
    x = given
    if isinstance(column.scaling, Log1p):
        x = signed_log1p(x)
    elif isinstance(column.scaling, Quantile | Spikes):
        x = _interpolated(x, column.scaling.values, column.scaling.scores)
    if isinstance(column.scaling, Spikes):
        for place, spike in enumerate(column.scaling.spikes):
            x = np.where(given == spike, FIRST_SPIKE + place, x)
    with np.errstate(over="ignore"):
        standardised: Numbers = x - column.mean
        standardised /= column.scale
    return standardised


def unscaled(column: NumericColumn, features: npt.ArrayLike) -> Numbers:
    """Returns features as numbers in a column's units, in float64: the inverse of `scaled`.

    Under the scalings `quantile` and `spikes` they are within the range of the training rows.

    Args:
        column: what `fit` found.
        features: of any shape and precision; NaN stays NaN.

    Example:
        >>> from jaxrep.data.schema import Number, Quantile
        >>> scores = Quantile((0.0, 10.0, 30.0), (-1.0, 0.0, 1.0))
        >>> unscaled(Number("sum", 0.0, 1.0, None, scaling=scores), [-0.5, 0.0, 7.0]).tolist()
        [5.0, 10.0, 30.0]
    """
    x: Numbers = np.asarray(features, np.float64) * column.scale + column.mean
    if isinstance(column.scaling, Log1p):
        x = np.copysign(np.expm1(np.minimum(np.abs(x), _LARGEST_LOG)), x)
    elif isinstance(column.scaling, Quantile):
        x = _interpolated(x, column.scaling.scores, column.scaling.values)
    elif isinstance(column.scaling, Spikes):
        others = _interpolated(x, column.scaling.scores, column.scaling.values)
        x = _with_spikes(x, others, column.scaling)
    return x


def drawn(column: NumericColumn, features: npt.ArrayLike) -> Numbers:
    """Returns drawn features as numbers in a column's units, in float64.

    Where all values of the training rows are known, a normal score becomes the value within whose
    ranks it lies, so that normal draws have the values in the training rows' shares; elsewhere it
    is `unscaled`.

    Args:
        column: what `fit` found.
        features: of any shape and precision; NaN stays NaN.

    Example:
        >>> from jaxrep.data.schema import Number, Quantile
        >>> thirds = Quantile((1.0, 5.0, 6.0), (-0.967, 0.0, 0.967), is_complete=True)
        >>> drawn(Number("sum", 0.0, 1.0, None, scaling=thirds), [-0.5, -0.4, 0.4, 0.5]).tolist()
        [1.0, 5.0, 5.0, 6.0]
    """
    scaling = column.scaling
    if not isinstance(scaling, Quantile | Spikes) or not scaling.is_complete:
        return unscaled(column, features)
    x: Numbers = np.asarray(features, np.float64)
    at = np.searchsorted(limits_of(scaling), x, side="left")
    made = np.where(np.isnan(x), np.nan, np.array(scaling.values)[at])
    return _with_spikes(x, made, scaling) if isinstance(scaling, Spikes) else made


def among_others(column: NumericColumn, features: Numbers) -> Numbers:
    """Returns features of which a spike has the score that it would have among the other numbers.

    Args:
        column: what `fit` found.
        features: of any shape.
    """
    if not isinstance(column.scaling, Spikes):
        return features
    spikes = _interpolated(
        np.array(column.scaling.spikes), column.scaling.values, column.scaling.scores
    )
    places = np.floor(np.nan_to_num(features) - FIRST_SPIKE + 0.5).clip(0, len(spikes) - 1)
    return np.where(features >= FIRST_SPIKE - 0.5, spikes[places.astype(np.int64)], features)


def limits_of(scaling: Quantile | Spikes) -> Numbers:
    """Returns the normal scores between neighbouring values, one fewer than there are values.

    The score of a value is that of the middle of its ranks: of a share p after a share F below it,
    the quantile of F + p/2. So F + p follows from one value to the next.

    Args:
        scaling: whose values are all that there are.
    """
    below, limits = 0.0, []
    for middle in ndtr(scaling.scores[:-1]):
        below = float(np.clip(2 * middle - below, below, 1))
        limits.append(below)
    return np.asarray(ndtri(limits), np.float64)


def _with_spikes(x: Numbers, others: Numbers, scaling: Spikes) -> Numbers:
    spikes = np.array(scaling.spikes)
    places = np.floor(np.nan_to_num(x) - FIRST_SPIKE + 0.5).clip(0, len(spikes) - 1)
    return np.where(x >= FIRST_SPIKE - 0.5, spikes[places.astype(np.int64)], others)


def signed_log1p(values: Numbers) -> Numbers:
    """Returns sign(x) · log(1 + |x|), which is about x near 0 and logarithmic in both tails.

    Example:
        >>> signed_log1p(np.array([0.0, np.e - 1, 1 - np.e**2])).round(12).tolist()
        [0.0, 1.0, -2.0]
    """
    return np.copysign(np.log1p(np.abs(values)), values)


def _interpolated(x: Numbers, places: tuple[float, ...], heights: tuple[float, ...]) -> Numbers:
    """Returns what is linear between heights at ascending places, and constant beyond the ends.

    At a place it is its height, to the bit. Unlike `np.interp`, it is finite where the difference
    of two places or heights is not.
    """
    knots, levels = np.array(places), np.array(heights)
    x = np.clip(x, knots[0], knots[-1])
    i = np.minimum(np.searchsorted(knots, x, side="right") - 1, len(knots) - 2)
    start, stop = knots[i], knots[i + 1]
    with np.errstate(over="ignore"):
        unit = np.where(np.isinf(stop - start), 0.5, 1.0)  # halves of numbers as large are exact
    share = (x * unit - start * unit) / (stop * unit - start * unit)
    between: Numbers = levels[i] * (1 - share) + levels[i + 1] * share
    return np.clip(between, levels[0], levels[-1])
