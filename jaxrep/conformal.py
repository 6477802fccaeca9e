"""p-values of anomaly scores, by the scores of rows that nothing was fitted to.

The p-value of a row of score s among n calibration rows is

    p = (1 + #{calibration scores ≥ s}) / (n + 1),

a whole number of steps of 1 / (n + 1), which is called its rank here. If the row is drawn as the
calibration rows were, P(p ≤ α) ≤ α, over draws of the row and of the calibration rows together, and
P(p ≤ α) = ⌊α (n + 1)⌋ / (n + 1) where no two scores are equal. Equal scores only raise p: a
calibration score that ties with the row's counts as above it. Scores are compared as float32; an
infinite one counts as the largest finite number.

The procedure of Benjamini and Hochberg holds the false discovery rate on such p-values, though
all of them hang on the same calibration rows.

References:
    Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005.
    Bates, Candès, Lei, Romano and Sesia, Testing for outliers with conformal p-values, Annals of
    Statistics 51, 2023: the false discovery rate in Theorem 2.
    Benjamini and Hochberg, Controlling the false discovery rate, JRSS B 57, 1995.
"""

import numpy as np
import numpy.typing as npt

from jaxrep.errors import InputError
from jaxrep.hyperparameters import CALIBRATION

_LARGEST = float(np.finfo(np.float32).max)


def sorted_scores(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Returns calibration scores in ascending order, as all functions here take them.

    Args:
        scores: anomaly scores, higher is more anomalous, `[n]`; NaN counts as infinite.

    Example:
        >>> sorted_scores(np.float32([2, np.inf, 1])).tolist()
        [1.0, 2.0, 3.4028234663852886e+38]
    """
    finite = np.nan_to_num(np.asarray(scores, np.float32), nan=_LARGEST, posinf=_LARGEST)
    return np.sort(finite)


def ranks(
    scores: npt.NDArray[np.floating], calibration: npt.NDArray[np.float32]
) -> npt.NDArray[np.int64]:
    """Returns 1 + #{calibration scores ≥ s}, from 1, of the strangest rows, to n + 1.

    Args:
        scores: anomaly scores s, `[N]`.
        calibration: scores in ascending order, `[n]`.

    Example:
        >>> ranks(np.float32([0, 2, 9]), np.float32([1, 2, 3])).tolist()
        [4, 3, 1]
    """
    below = np.searchsorted(calibration, np.minimum(scores, _LARGEST), side="left")
    found: npt.NDArray[np.int64] = 1 + len(calibration) - below
    return found


def p_values(
    scores: npt.NDArray[np.floating], calibration: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Returns the split-conformal p-values of rows, `[N]`; arguments as of `ranks`.

    Example:
        >>> p_values(np.float32([0, 2, 9]), np.float32([1, 2, 3])).tolist()
        [1.0, 0.75, 0.25]
    """
    return ranks(scores, calibration) / (len(calibration) + 1)


def check_level(name: str, level: float, rows: int) -> None:
    """Refuses a level at which no p-value could ever lie.

    Args:
        name: what the level is called where it is given.
        level: α, or the false discovery rate.
        rows: calibration rows, n.

    Raises:
        InputError: the level is not between 0 and 1, or n < 1/level − 1.

    Example:
        >>> check_level("--alpha", 0.001, 500)
        Traceback (most recent call last):
        ...
        jaxrep.errors.InputError: --alpha is 0.001, and with 500 calibration rows the least \
p-value is 1/501; give a larger one, or train with 999 calibration rows or more
    """
    if not 0 < level < 1:
        raise InputError(f"{name} is {level}; it must be above 0 and below 1")
    if 1 / (rows + 1) > level:
        needed = int(np.ceil(1 / level - 1))
        more = f", or train with {needed:,} calibration rows or more"
        raise InputError(
            f"{name} is {level}, and with {rows:,} calibration rows the least p-value is "
            f"1/{rows + 1}; give a larger one{more if needed <= CALIBRATION[1] else ''}"
        )


def rank_at(alpha: float, rows: int) -> int:
    """Returns the largest rank whose p-value is at most α; 0 if there is none.

    Args:
        alpha: the level.
        rows: calibration rows, n.

    Example:
        >>> rank_at(0.29, 99), rank_at(0.001, 99)
        (29, 0)
    """
    # Not ⌊α (n + 1)⌋, whose product may round below a whole number: 0.29 · 100.
    return int(np.searchsorted(np.arange(1, rows + 2) / (rows + 1), alpha, side="right"))


def discovery_rank(counts: npt.NDArray[np.int64], fdr: float) -> int:
    """Returns the largest rank that Benjamini and Hochberg's procedure rejects; 0 if there is none.

    Of m rows, those of rank ≤ j are rejected for the largest j with j / (n + 1) ≤ fdr · R_j / m,
    where R_j ≥ 1 of them have such a rank.

    Args:
        counts: how many rows have each rank, from 1 on, `[n + 1]`.
        fdr: the false discovery rate.

    Example:
        >>> discovery_rank(np.array([10, 0, 1, 9]), 0.8)  # 1/4 ≤ 0.8 · 10/20, 3/4 > 0.8 · 11/20
        1
    """
    rejected, total = np.cumsum(counts), int(np.sum(counts))
    steps = np.arange(1, len(counts) + 1)
    with np.errstate(divide="ignore"):
        adjusted = (steps * total) / (len(counts) * rejected)  # exact but for the division
    found = np.flatnonzero((rejected > 0) & (adjusted <= fdr))
    return int(found[-1]) + 1 if len(found) else 0


def limit_of(rank: int, calibration: npt.NDArray[np.float32]) -> float:
    """Returns the score above which rows have at most a rank; infinite if none has.

    Args:
        rank: from 0 to n + 1, which all rows have at most.
        calibration: scores in ascending order, `[n]`.

    Example:
        >>> calibration = np.float32([1, 2, 2, 3])
        >>> limit_of(2, calibration), ranks(np.float32([2, 2.5]), calibration).tolist()
        (2.0, [4, 2])
    """
    if rank == 0:
        return float("inf")
    if rank > len(calibration):
        return float("-inf")
    limit = float(calibration[len(calibration) - rank])
    return float("inf") if limit >= _LARGEST else limit
