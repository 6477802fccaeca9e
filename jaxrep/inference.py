"""A network's outputs for any number of rows, in batches of one size.

Every batch of a network has the same shape: one compiled program serves all calls, and a row gets
the same result whatever rows come with it.
"""

import functools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax import Array

from jaxrep.batch import MISSING, Batch, RowSpec, as_batch
from jaxrep.dispatch import computing
from jaxrep.methods._method import AnyMethod, abstract_network
from jaxrep.networks import Network, with_weights
from jaxrep.outputs import OUTPUTS, Takes

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
    x: np.ndarray | Batch,
    rows: RowSpec,
    *,
    part: int = 0,
    given: Takes | None = None,
    also: tuple[np.ndarray, ...] = (),
) -> Any:
    """Computes one of the outputs that a method's network declares.

    Args:
        method: whose network.
        output: the output's name, of `jaxrep.outputs.OUTPUTS`; or of another method of the network
            that gives an array.
        weights: all weights of the network, by name.
        x: what the output takes: rows, of which those of numbers alone may be a matrix `[N, D]`, or
            embeddings or draws `[N, Z]`; NumPy arrays.
        rows: what every row of the network's table holds.
        part: which of the output's arrays comes back, of those that it gives.
        given: what another method takes; rows, if it is not said.
        also: what it takes besides, the same for all rows.

    Returns:
        One result for each row, a NumPy array; of outputs that give rows, a batch of them.

    Raises:
        ForkedProcessError: JAX ran in the parent of this process, before it was forked.

    Example:
        >>> from flax import nnx
        >>> from jaxrep.methods import VAE, VAEHyperparameters
        >>> from jaxrep.networks import get_weights
        >>> method, rows = VAE(VAEHyperparameters(latent_dim=8)), RowSpec(3)
        >>> weights = get_weights(method.init(rows, nnx.Rngs(0)))
        >>> map_rows(method, "embed", weights, np.ones((5, 3), np.float32), rows).shape
        (5, 8)
    """
    weights = dict(weights)
    size = _batch_rows(weights, method.hyperparameters.members)
    kind = given or takes(output)
    inputs = as_batch(x) if kind == "rows" else x
    inputs = Batch(inputs.numbers, inputs.codes) if isinstance(inputs, Batch) else inputs
    count = len(jax.tree.leaves(inputs)[0])
    if count > size:
        weights = jax.device_put(weights)  # once, not with every batch
    results = (
        _apply(method, weights, batch, also, output=output, rows=rows, part=part)
        for batch in _batches(inputs, count, size)
    )
    made: Any = None
    for i, result in enumerate(_ahead(results, _AHEAD)):
        if made is None:
            made = jax.tree.map(lambda a: np.empty((count, *a.shape[1:]), a.dtype), result)

        def write(whole: np.ndarray, found: Array, i: int = i) -> None:
            block = whole[i * size : (i + 1) * size]
            block[:] = np.asarray(found)[: len(block)]

        jax.tree.map(write, made, result)
    return made


def map_errors(
    method: AnyMethod, weights: Mapping[str, np.ndarray], x: Batch, rows: RowSpec
) -> np.ndarray:
    """Computes how badly rows are reconstructed, whatever the method's anomaly score is.

    Args:
        method: whose network declares `score_by_column`.
        weights: all weights of the network, by name.
        x: rows, NumPy arrays.
        rows: what every row of the network's table holds.

    Returns:
        The mean of the terms over a row's observed cells, float64 `[N]`.
    """
    return mean_over_cells(map_rows(method, "score_by_column", weights, x, rows), x)


def mean_over_cells(terms: np.ndarray, x: Batch) -> np.ndarray:
    """Returns the mean of terms over the observed cells of rows, float64 `[N]`; 0 without any.

    Args:
        terms: of each cell, `[N, D + C]`.
        x: the rows, NumPy arrays.

    Example:
        >>> x = Batch(np.array([[1.0, np.nan]]), np.array([[2]]))
        >>> mean_over_cells(np.array([[1.0, 9.0, 2.0]]), x)
        array([1.5])
    """
    is_observed = ~np.isnan(np.asarray(x.numbers))
    if x.codes is not None:
        is_observed = np.hstack([is_observed, np.asarray(x.codes) != MISSING])
    observed = np.maximum(is_observed.sum(axis=1), 1)
    found: np.ndarray = np.where(is_observed, terms, 0).sum(axis=1, dtype=np.float64) / observed
    return found


def _batch_rows(weights: Mapping[str, np.ndarray | Array], members: int) -> int:
    """Returns the rows of a batch: a power of two that follows from the model's widths alone."""
    widest = members * max(size for array in weights.values() for size in array.shape)
    rows = 1 << max(_BATCH_VALUES // widest, 1).bit_length() - 1
    return min(max(rows, _LEAST_ROWS), _MOST_ROWS)


def _batches(rows: Any, count: int, size: int) -> Iterator[Any]:
    """Yields at least one batch, of exactly `size` rows; the last is filled up with zeros."""

    def cut(array: np.ndarray, start: int) -> np.ndarray:
        batch = array[start : start + size]
        if len(batch) == size:
            return batch
        padded = np.zeros((size, *array.shape[1:]), array.dtype)
        padded[: len(batch)] = batch
        return padded

    for start in range(0, max(count, 1), size):
        yield jax.tree.map(functools.partial(cut, start=start), rows)


def _ahead(results: Iterable[Any], count: int) -> Iterator[Any]:
    """Yields the results with `count` of them dispatched ahead, so that the device never waits."""
    waiting: deque[Any] = deque()
    for result in results:
        waiting.append(result)
        if len(waiting) > count:
            yield waiting.popleft()
    yield from waiting


@functools.partial(jax.jit, static_argnames=("output", "rows", "part"))
def _apply(
    method: AnyMethod,
    weights: dict[str, Array],
    x: Any,
    also: tuple[Array, ...],
    *,
    output: str,
    rows: RowSpec,
    part: int,
) -> Any:
    network = with_weights(abstract_network(method, rows), weights)
    with method.matmul_precision():
        found = getattr(network, output)(x, *also)
    is_one = output not in OUTPUTS or len(OUTPUTS[output].gives) == 1
    return found if is_one else found[part]


def apply_output(network: Network, output: str, x: Any) -> Any:
    """Returns an output of a network, for rows, embeddings or draws as it takes them.

    Args:
        network: with its weights.
        output: of those that it declares.
        x: rows, a batch or a matrix of numbers `[B, D]`; or embeddings or draws `[B, Z]`.
    """
    given = as_batch(x) if takes(output) == "rows" else x
    return getattr(network, output)(given)


def takes(output: str) -> Takes:
    """Returns what an output takes; other methods of a network take rows."""
    return OUTPUTS[output].takes if output in OUTPUTS else "rows"
