"""What reasons need to know of the training rows: how far cells lie from what is expected of them.

Fitted once, when training is over, by hiding each number of up to 500 training rows in turn.
"""

from collections.abc import Mapping

import numpy as np
from scipy.special import gammaln

from jaxrep.batch import Batch, RowSpec, take
from jaxrep.dispatch import computing
from jaxrep.methods import AnyMethod
from jaxrep.reasons._passes import expectations, of_one_member

ROWS = 500
"""Training rows that are looked at."""

PREDICTIONS = 64
"""Quantiles of the predictions for them that are kept of each number."""

_DEGREES = (1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)  # of freedom, of which the likeliest are taken
_LEAST_SCALE = 0.01  # of the residuals, as a share of the column's own
_TURNS = 15  # of the EM algorithm for a scale


def shapes(rows: RowSpec) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the statistics of rows, by name.

    `df` and `scale` are those of Student's t for the residuals of each number, `predictions`
    quantiles of what is expected of it, and `shares` the frequencies of the values of each code,
    one code after the other.
    """
    numbers = rows.numbers
    of_numbers = {"df": (numbers,), "scale": (numbers,), "predictions": (numbers, PREDICTIONS)}
    of_codes = {"shares": (sum(rows.levels),)}
    return (of_numbers if numbers else {}) | (of_codes if rows.codes else {})


@computing()
def fit(
    method: AnyMethod, weights: Mapping[str, np.ndarray], x: Batch, rows: RowSpec
) -> dict[str, np.ndarray]:
    """Returns the statistics of training rows.

    Args:
        method: the trained method.
        weights: of its network, by name.
        x: training rows, all or evenly spaced ones, NumPy arrays.
        rows: what every row holds.

    Returns:
        float32 arrays of `shapes`.
    """
    found: dict[str, np.ndarray] = {}
    if rows.numbers:
        count = len(x.numbers)
        some = take(x, np.unique(np.linspace(0, count - 1, ROWS).astype(int)))
        columns = np.repeat(np.arange(rows.numbers)[:, None], len(some.numbers), axis=1)
        lone, own = of_one_member(method, weights)
        made = expectations(lone, own, some, columns.T, rows).number.astype(np.float64)
        residuals = np.asarray(some.numbers) - made
        fitted = [_fit_t(residuals[:, j]) for j in range(rows.numbers)]
        places = (np.arange(PREDICTIONS) + 0.5) / PREDICTIONS
        found["df"], found["scale"] = np.array(fitted).T
        found["predictions"] = np.quantile(made, places, axis=0).T
    if rows.codes:
        codes = np.asarray(x.codes)
        counts = [
            np.bincount(codes[codes[:, c] >= 0, c], minlength=levels) + 0.5
            for c, levels in enumerate(rows.levels)
        ]
        found["shares"] = np.concatenate([each / each.sum() for each in counts])
    return {name: np.ascontiguousarray(array, np.float32) for name, array in found.items()}


def _fit_t(residuals: np.ndarray) -> tuple[float, float]:
    """Returns degrees of freedom and scale of Student's t by maximum likelihood.

    References:
        Lange, Little and Taylor, Robust Statistical Modeling Using the t Distribution, 1989.

    Example:
        >>> draws = np.random.default_rng(0).standard_t(3, 5000)
        >>> df, scale = _fit_t(2 * draws)
        >>> df, round(scale, 1)
        (3.0, 2.0)
    """
    square = residuals[np.isfinite(residuals)].astype(np.float64) ** 2
    if not len(square):
        return _DEGREES[-1], 1.0
    fitted = [(df, *_scale_of(square, df)) for df in _DEGREES]
    df, scale, _ = max(fitted, key=lambda each: each[2])
    return df, scale


def _scale_of(square: np.ndarray, df: float) -> tuple[float, float]:
    """Returns the scale for squares of residuals, and the mean log-likelihood under it."""
    variance = max(float(np.median(square)), _LEAST_SCALE**2)
    for _ in range(_TURNS):
        weights = (df + 1) / (df + square / variance)
        variance = max(float(np.mean(weights * square)), _LEAST_SCALE**2)
    constant = gammaln((df + 1) / 2) - gammaln(df / 2) - 0.5 * np.log(df * np.pi * variance)
    logs = constant - (df + 1) / 2 * np.log1p(square / variance / df)
    return variance**0.5, float(np.mean(logs))
