"""The scores that a run keeps: its training rows' at some shares, its calibration rows' all."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from jaxrep.batch import Batch, RowSpec, empty
from jaxrep.conformal import sorted_scores
from jaxrep.errors import DivergedError
from jaxrep.inference import map_rows
from jaxrep.methods import AnyMethod
from jaxrep.training import RowStore
from jaxrep.training.row_store import numbers_of

# Shares of the training rows at which their scores are kept: even, and ever finer at the top.
SCORE_LEVELS = np.concatenate([np.linspace(0, 0.999, 1000), 1 - np.geomspace(1e-3, 1e-7, 401), [1]])

_ROWS_AT_ONCE = 1 << 16
_BITS = 20  # of a score that its bucket keeps: sign, exponent and 11 of 23 bits of the fraction


def score_quantiles(
    method: AnyMethod,
    weights: Mapping[str, np.ndarray],
    x: Batch,
    rows: RowSpec,
    note: Callable[[str], None],
) -> dict[str, list[float]]:
    """Returns the scores of training rows at `SCORE_LEVELS`.

    Those of rows in memory are exact. Rows that are streamed are counted in buckets, in memory that
    they do not grow: their scores are off by a share of at most 2⁻¹², and the ends are exact.

    Args:
        method: the trained method.
        weights: of its network, by name.
        x: the training rows as features, NumPy arrays or a store in the place of their numbers.
        rows: what every row holds.
        note: called with a warning if all scores are the same.

    Raises:
        DivergedError: a score is infinite or NaN.
    """
    store = numbers_of(x)
    if isinstance(store, RowStore):
        blocks = _finite(map_rows(method, "score", weights, b, rows) for b in _blocks(store))
        quantiles = streamed_quantiles(blocks, SCORE_LEVELS)
    else:
        (scores,) = _finite([map_rows(method, "score", weights, x, rows)])
        quantiles = np.quantile(scores.astype(np.float64), SCORE_LEVELS)
    if quantiles[0] == quantiles[-1]:
        note(
            "warning: every row has the same score, so the model tells none apart (its ReLUs may "
            "give 0 for every row); train with another --seed or a larger --latent-dim"
        )
    return {"levels": SCORE_LEVELS.tolist(), "scores": quantiles.tolist()}


def calibration_scores(
    method: AnyMethod, weights: Mapping[str, np.ndarray], x: Batch, rows: RowSpec
) -> list[float]:
    """Returns the scores of calibration rows in ascending order, as `jaxrep.conformal` takes them.

    Args:
        method: the trained method.
        weights: of its network, by name.
        x: the calibration rows as features, NumPy arrays.
        rows: what every row holds.
    """
    scores: list[float] = sorted_scores(map_rows(method, "score", weights, x, rows)).tolist()
    return scores


def _finite(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    for scores in blocks:
        if not np.isfinite(scores).all():
            raise DivergedError(
                "the score of a training row is not finite: the weights are too large for it; a "
                "smaller learning rate may help"
            )
        yield scores


def streamed_quantiles(blocks: Iterator[np.ndarray], levels: np.ndarray) -> np.ndarray:
    """Returns quantiles of float32 values that come in blocks, to a share of 2⁻¹².

    Example:
        >>> values = np.arange(1, 1001, dtype=np.float32)
        >>> blocks = iter([values[::2], values[1::2]])
        >>> streamed_quantiles(blocks, np.array([0.0, 0.5, 1.0])).round(1)
        array([   1. ,  500.1, 1000. ])
    """
    counts = np.zeros(1 << _BITS, np.int64)
    low, high = np.inf, -np.inf
    for block in blocks:
        low, high = min(low, float(block.min())), max(high, float(block.max()))
        counts += np.bincount(_ordered(block) >> (32 - _BITS), minlength=1 << _BITS)
    places = levels * (counts.sum() - 1)
    buckets = np.searchsorted(np.cumsum(counts), np.floor(places), side="right")
    quantiles: np.ndarray = np.clip(_middle(buckets), low, high).astype(np.float64)
    return quantiles


def _blocks(store: RowStore) -> Iterator[Batch]:
    for start in range(0, store.rows, _ROWS_AT_ONCE):
        block = empty(store.spec, min(_ROWS_AT_ONCE, store.rows - start))
        store.read_into(start, block)
        yield block


def _ordered(values: np.ndarray) -> np.ndarray:
    """Returns whole numbers in the order of float32 values."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    ordered: np.ndarray = np.where(bits >> 31, ~bits, bits | 0x80000000)
    return ordered


def _middle(buckets: np.ndarray) -> np.ndarray:
    """Returns the value in the middle of each bucket."""
    ordered = (buckets.astype(np.uint32) << (32 - _BITS)) | (1 << (31 - _BITS))
    bits = np.where(ordered >> 31, ordered & 0x7FFFFFFF, ~ordered).astype(np.uint32)
    return bits.view(np.float32)
