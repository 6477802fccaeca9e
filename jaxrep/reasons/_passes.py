"""The programs of `jaxrep.reasons._hidden` for any number of rows, in batches of one size."""

from collections.abc import Iterator, Mapping

import jax
import numpy as np

from jaxrep.batch import Batch, RowSpec, take
from jaxrep.methods import AnyMethod, members_of, split_members
from jaxrep.reasons import _hidden
from jaxrep.reasons._hidden import Arrays, Expected

BATCH = 512


def of_one_member(method: AnyMethod, weights: Mapping[str, np.ndarray]) -> tuple[AnyMethod, Arrays]:
    """Returns the first member of a run and its weights, on the device."""
    own = split_members(weights, method.hyperparameters.members)[0]
    return members_of(method)[0], jax.device_put(own)


def batches(x: Batch) -> Iterator[tuple[slice, Batch]]:
    """Yields where batches of rows stand, and the rows, filled up with the last one."""
    count = len(x.numbers)
    for start in range(0, count, BATCH):
        yield (
            slice(start, min(start + BATCH, count)),
            take(Batch(x.numbers, x.codes), np.minimum(np.arange(start, start + BATCH), count - 1)),
        )


def filled(array: np.ndarray) -> np.ndarray:
    """Returns at most a batch of rows filled up to one with zeros."""
    return np.concatenate([array, np.zeros((BATCH - len(array), *array.shape[1:]), array.dtype)])


def expectations(
    method: AnyMethod, weights: Arrays, x: Batch, columns: np.ndarray, rows: RowSpec
) -> Expected:
    """Returns what is expected of P cells of each row, each hidden alone, arrays `[N, P]`.

    Args:
        method: of one member.
        weights: of its network, on the device.
        x: N rows.
        columns: the cells, `[N, P]`.
        rows: what every row holds.
    """
    parts = []
    for at, batch in batches(x):
        passes = filled(columns[at].astype(np.int32)).T
        made = _hidden.expected(method, weights, batch, passes, rows=rows)
        parts.append(jax.tree.map(lambda a, n=at.stop - at.start: np.asarray(a).T[:n], made))
    joined: Expected = jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)
    return joined
