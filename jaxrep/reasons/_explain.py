"""Which cells of a row do not fit the others."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from jaxrep.batch import Batch, RowSpec
from jaxrep.dispatch import computing
from jaxrep.methods import AnyMethod
from jaxrep.reasons import _hidden
from jaxrep.reasons._hidden import Arrays
from jaxrep.reasons._passes import BATCH, batches, expectations, of_one_member

CANDIDATES, PARTNERS = 5, 8
"""How many cells of a row may be the culprit, and how many may be excused by it."""

_RARITY, _EXCUSED = 0.5, 0.5  # weights of the two corrections; see `explain`


class Reasons(NamedTuple):
    """Why rows do not fit, K cells of each."""

    shares: np.ndarray
    """Of all columns, `[N, n]`, numbers first; they sum to 1. 0 where a cell is missing."""

    columns: np.ndarray
    """The columns of the largest shares, largest first, `[N, K]`."""

    number: np.ndarray
    """What the other cells let expect there, of a number on the column's scale, `[N, K]`."""

    code: np.ndarray
    """Of a code, the likeliest, `[N, K]`."""

    probability: np.ndarray
    """Its probability, `[N, K]`."""


@computing()
def explain(
    method: AnyMethod,
    weights: Mapping[str, np.ndarray],
    statistics: Mapping[str, np.ndarray],
    x: Batch,
    rows: RowSpec,
    count: int,
) -> Reasons:
    """Returns which cells of rows do not fit the others, and what these let expect.

    For a cell x_j, hidden and predicted from the others, a_j = log p(x_j | the others), and c_j the
    logarithm of how common its value is in the column. Its misfit is f_j = c_j/2 − a_j: a wrong
    cell that was drawn from its column has the posterior odds exp(c_j − a_j), a value that the
    column has never had needs no draw, and half of c_j stands between them. A wrong cell spoils
    what is expected of others, too. So of the 5 largest misfits each is hidden beside each of the
    8 largest, and half of what these gain is added:

        S_j = f_j + ½ Σ_i [log p(x_i | all but i, j) − a_i].

    Shares are the softmax of S over a row's observed cells; no other cell comes before the 5.

    Args:
        method: the trained method; of several members the first one's network is asked.
        weights: of its network, by name.
        statistics: from `fit`.
        x: rows, NumPy arrays.
        rows: what every row holds.
        count: K, at most the number of columns.
    """
    lone, own = of_one_member(method, weights)
    known = jax.device_put(dict(statistics))
    total = rows.columns
    scores = np.empty((len(x.numbers), total))
    for at, batch in batches(x):
        found = _scores(lone, own, known, batch, rows)
        scores[at] = found[: at.stop - at.start]
    shares = _softmax(scores)
    columns = np.argsort(-shares, axis=1, kind="stable")[:, :count]
    made = expectations(lone, own, x, columns, rows)
    number, code, probability = (np.asarray(part) for part in made)
    return Reasons(shares, columns, number, code, probability)


def _scores(
    method: AnyMethod, weights: Arrays, statistics: Arrays, batch: Batch, rows: RowSpec
) -> np.ndarray:
    """Returns S of the cells of a batch, `[B, n]`; −∞ where one is missing."""

    def look(columns: np.ndarray) -> np.ndarray:
        passes = columns.astype(np.int32)
        found = _hidden.log_p(method, weights, statistics, batch, passes, rows=rows)
        return np.asarray(found, np.float64)

    total, every = rows.columns, np.arange(BATCH)
    alone = look(np.broadcast_to(np.arange(total)[:, None, None], (total, BATCH, 1)))
    a = alone[:, :, 0].T  # (B, n)
    common = np.asarray(_hidden.log_share(statistics, batch, rows=rows), np.float64)
    is_there = ~np.isnan(np.asarray(batch.numbers))
    if batch.codes is not None:
        is_there = np.concatenate([is_there, np.asarray(batch.codes) >= 0], axis=1)
    misfit = np.where(is_there, _RARITY * common - a, -np.inf)
    first = np.argsort(-misfit, axis=1, kind="stable")[:, : min(PARTNERS, total)]
    candidates = min(CANDIDATES, total)
    pairs = [(i, k) for i in range(candidates) for k in range(i + 1, first.shape[1])]
    gained = np.zeros_like(misfit)
    if pairs:
        together = np.moveaxis(first[:, np.array(pairs)], 1, 0)  # (P, B, 2)
        found = look(together)
        for (_, k), cells, log_p in zip(pairs, together, found, strict=True):
            of_i, of_k = cells.T
            both = is_there[every, of_i] & is_there[every, of_k]
            gained[every, of_i] += np.where(both, log_p[:, 1] - a[every, of_k], 0)
            if k < candidates:
                gained[every, of_k] += np.where(both, log_p[:, 0] - a[every, of_i], 0)
    is_candidate = np.zeros_like(is_there)
    np.put_along_axis(is_candidate, first[:, :candidates], True, axis=1)
    is_candidate &= is_there
    refined = misfit + _EXCUSED * gained
    least = np.where(is_candidate, refined, np.inf).min(axis=1, keepdims=True)
    return np.where(is_candidate, refined, np.minimum(misfit, least))


def _softmax(scores: np.ndarray) -> np.ndarray:
    """Returns shares that sum to 1; of a row without observed cells all alike."""
    is_empty = np.isneginf(scores).all(axis=1, keepdims=True)
    scores = np.where(is_empty, 0, scores)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares
