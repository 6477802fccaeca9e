"""A network's outputs for any number of rows, in batches of one size.

Every batch of a network has the same shape: one compiled program serves all calls, and a row gets
the same result whatever rows come with it.
"""

import functools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping

import jax
import numpy as np
from jax import Array

from jaxrep.batch import Batch, RowSpec
from jaxrep.dispatch import computing
from jaxrep.methods._method import AnyMethod, abstract_network
from jaxrep.networks import Network, with_weights
from jaxrep.outputs import OUTPUTS

# The values in a batch of the widest layer: few enough to stay in cache, enough to outweigh a
# dispatch. Beyond the most rows a batch is hardly faster, and dearer for a caller with one row.
_BATCH_VALUES = 1 << 20
_LEAST_ROWS, _MOST_ROWS = 128, 4096
_AHEAD = 4  # batches dispatched before the first is waited for


@computing()
def map_rows(
    method: AnyMethod,
    output: str,
    weights: Mapping[str, np.ndarray | Array],
    x: np.ndarray,
    rows: RowSpec,
    *,
    part: int = 0,
) -> np.ndarray:
    """Computes one of the outputs that a method's network declares.

    Args:
        method: whose network.
        output: the output's name, of `jaxrep.outputs.OUTPUTS`.
        weights: all weights of the network, by name.
        x: what the output takes: rows `[N, D]`, or embeddings or draws `[N, Z]`.
        rows: what every row of the network's table holds.
        part: which of the output's arrays comes back, of those that it gives.

    Returns:
        One result for each row.

    Raises:
        ForkedProcessError: JAX ran in the parent of this process, before it was forked.

    Example:
        >>> from flax import nnx
        >>> from jaxrep.methods import VAE, VAEHyperparameters
        >>> from jaxrep.networks import get_weights
        >>> method, rows = VAE(VAEHyperparameters()), RowSpec(3)
        >>> weights = get_weights(method.init(rows, nnx.Rngs(0)))
        >>> map_rows(method, "embed", weights, np.ones((5, 3), np.float32), rows).shape
        (5, 8)
    """
    weights = dict(weights)
    size = _batch_rows(weights, method.hyperparameters.members)
    if len(x) > size:
        weights = jax.device_put(weights)  # once, not with every batch
    results = (
        _apply(method, weights, batch, output=output, rows=rows, part=part)
        for batch in _batches(x, size)
    )
    made: np.ndarray | None = None
    for i, result in enumerate(_ahead(results, _AHEAD)):
        if made is None:
            made = np.empty((len(x), *result.shape[1:]), result.dtype)
        block = made[i * size : (i + 1) * size]
        block[:] = np.asarray(result)[: len(block)]
    assert made is not None
    return made


def _batch_rows(weights: Mapping[str, np.ndarray | Array], members: int) -> int:
    """Returns the rows of a batch: a power of two that follows from the model's widths alone."""
    widest = members * max(size for array in weights.values() for size in array.shape)
    rows = 1 << max(_BATCH_VALUES // widest, 1).bit_length() - 1
    return min(max(rows, _LEAST_ROWS), _MOST_ROWS)


def _batches(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Yields at least one batch, of exactly `size` rows; the last is filled up with zeros."""
    for start in range(0, max(len(rows), 1), size):
        batch = rows[start : start + size]
        if len(batch) < size:
            padded = np.zeros((size, *rows.shape[1:]), rows.dtype)
            padded[: len(batch)] = batch
            batch = padded
        yield batch


def _ahead(results: Iterable[Array], count: int) -> Iterator[Array]:
    """Yields the results with `count` of them dispatched ahead, so that the device never waits."""
    waiting: deque[Array] = deque()
    for result in results:
        waiting.append(result)
        if len(waiting) > count:
            yield waiting.popleft()
    yield from waiting


@functools.partial(jax.jit, static_argnames=("output", "rows", "part"))
def _apply(
    method: AnyMethod,
    weights: dict[str, Array],
    x: Array,
    *,
    output: str,
    rows: RowSpec,
    part: int,
) -> Array:
    network = with_weights(abstract_network(method, rows), weights)
    with method.matmul_precision():
        found = apply_output(network, output, x)
    return found[part] if isinstance(found, tuple) else found


def apply_output(network: Network, output: str, x: Array) -> Array | tuple[Array, ...]:
    """Returns an output of a network, for rows, embeddings or draws as it takes them.

    Args:
        network: with its weights.
        output: of those that it declares.
        x: rows `[B, D]`, or embeddings or draws `[B, Z]`.
    """
    given = Batch(x) if OUTPUTS[output].takes == "rows" else x
    found: Array | tuple[Array, ...] = getattr(network, output)(given)
    return found
