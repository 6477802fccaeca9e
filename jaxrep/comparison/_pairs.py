"""Pairs of columns: correlations of numbers, joint shares of levels."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from ._cells import Cells, Numbers, is_discrete

BINS = 10
"""Parts with equally many real rows that a number is cut into beside a category."""


@dataclass(frozen=True)
class PairScore:
    """How the dependence of two columns differs in made rows."""

    names: tuple[str, str]
    """Of the columns."""

    measure: str
    """`CorrelationSimilarity` of two numbers, `ContingencySimilarity` of any other pair."""

    score: float
    """1 where both are alike; NaN where a number is constant in one of the tables."""


def correlation_similarity(real: Numbers, made: Numbers) -> float:
    """1 − |ρ_real − ρ_made| / 2, of Pearson's correlations.

    Args:
        real: two numbers a row, `[N, 2]`; rows where either is missing are left out.
        made: the same, `[M, 2]`.

    Returns:
        From 0 to 1; NaN where a correlation is not defined.

    References:
        sdmetrics' CorrelationSimilarity.

    Example:
        >>> rows = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
        >>> correlation_similarity(rows, rows), correlation_similarity(rows, rows * [1, -1])
        (1.0, 0.0)
    """
    return 1 - abs(_correlation(real) - _correlation(made)) / 2


def _correlation(pairs: Numbers) -> float:
    x, y = pairs[~np.isnan(pairs).any(axis=1)].T
    if len(x) < 2 or not np.ptp(x) or not np.ptp(y):
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    x, y = x / np.abs(x).max(), y / np.abs(y).max()  # squares of large numbers stay finite
    return float((x @ y) / np.sqrt((x @ x) * (y @ y)))


def contingency_similarity(real: Numbers, made: Numbers) -> float:
    """1 − ½ Σ |p_real(a, b) − p_made(a, b)| over all pairs of levels.

    Args:
        real: two codes of levels a row, `[N, 2]`; a missing one, NaN, is a level.
        made: the same, `[M, 2]`.

    Returns:
        From 0 to 1.

    References:
        sdmetrics' ContingencySimilarity.

    Example:
        >>> rows = np.array([[0.0, 0.0], [1.0, 1.0]])
        >>> contingency_similarity(rows, np.array([[0.0, 0.0], [1.0, np.nan]]))
        0.5
    """
    both = np.concatenate([real, made])
    codes = [np.unique(column, return_inverse=True)[1] for column in both.T]
    joint = codes[0] * (codes[1].max() + 1) + codes[1]
    joint = np.unique(joint, return_inverse=True)[1]
    most = int(joint.max()) + 1
    shares = [
        np.bincount(part, minlength=most) / len(part)
        for part in (joint[: len(real)], joint[len(real) :])
    ]
    return float(1 - 0.5 * np.abs(shares[0] - shares[1]).sum())


def score_pairs(real: Cells, made: Cells) -> list[PairScore]:
    """Returns how each pair of columns differs; a number beside a category is cut in ten.

    The parts have equally many real rows, as far as equal numbers let them.
    """
    return list(_pairs(real, made))


def _pairs(real: Cells, made: Cells) -> Iterator[PairScore]:
    columns = real.schema.columns
    cut: dict[int, tuple[Numbers, Numbers]] = {}

    def levels(i: int) -> tuple[Numbers, Numbers]:
        if i not in cut:
            ours, theirs = real.raw[:, i], made.raw[:, i]
            inner = np.unique(np.nanquantile(ours, np.linspace(0, 1, BINS + 1)))[1:-1]
            is_number = not is_discrete(columns[i])
            cut[i] = (_cut(ours, inner), _cut(theirs, inner)) if is_number else (ours, theirs)
        return cut[i]

    for a, b in combinations(range(len(columns)), 2):
        names = columns[a].name, columns[b].name
        if not is_discrete(columns[a]) and not is_discrete(columns[b]):
            score = correlation_similarity(real.raw[:, [a, b]], made.raw[:, [a, b]])
            yield PairScore(names, "CorrelationSimilarity", score)
            continue
        ours, theirs = (np.stack(pair, axis=1) for pair in zip(levels(a), levels(b), strict=True))
        yield PairScore(names, "ContingencySimilarity", contingency_similarity(ours, theirs))


def _cut(values: Numbers, inner: npt.NDArray[np.float64]) -> Numbers:
    """Returns how many of the limits lie below each number."""
    return np.where(np.isnan(values), np.nan, np.searchsorted(inner, values, side="left"))
