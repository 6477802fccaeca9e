"""A method's functions over any number of rows, in batches of one size.

Every batch of a model has the same shape: one compiled program serves all calls, and a row gets the
same result whatever rows come with it.
"""

import functools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import jax
import numpy as np
from jax import Array

from jaxrep.methods import Method, abstract_model
from jaxrep.models import with_weights

# The values in a batch of the widest layer: few enough to stay in cache, enough to outweigh a
# dispatch. Beyond the most rows a batch is hardly faster, and dearer for a caller with one row.
_BATCH_VALUES = 1 << 20
_LEAST_ROWS, _MOST_ROWS = 128, 4096
_AHEAD = 4  # batches dispatched before the first is waited for

Function = Literal["embed", "reconstruct", "decode", "score"]


def map_rows(
    method: Method[Any, Any],
    function: Function,
    weights: Mapping[str, np.ndarray | Array],
    rows: np.ndarray,
    *,
    input_dim: int,
) -> np.ndarray:
    """Applies one of a method's functions to rows.

    Args:
        method: whose function.
        function: its name.
        weights: all weights of the method's model, by name.
        rows: `[rows, D]`, or codes `[rows, Z]` for `decode`.
        input_dim: D, features of a row.

    Returns:
        One result a row.

    Example:
        >>> from flax import nnx
        >>> from jaxrep.hyperparameters import VAEHyperparameters
        >>> from jaxrep.methods import VAE
        >>> from jaxrep.models import get_weights
        >>> method = VAE(VAEHyperparameters())
        >>> weights = get_weights(method.init_model(3, nnx.Rngs(0)))
        >>> map_rows(method, "embed", weights, np.ones((5, 3), np.float32), input_dim=3).shape
        (5, 8)
    """
    weights = dict(weights)
    size = _batch_rows(weights)
    if len(rows) > size:
        weights = jax.device_put(weights)  # once, not with every batch
    results = (
        _apply(method, weights, batch, function=function, input_dim=input_dim)
        for batch in _batches(rows, size)
    )
    made: np.ndarray | None = None
    for i, result in enumerate(_ahead(results, _AHEAD)):
        if made is None:
            made = np.empty((len(rows), *result.shape[1:]), result.dtype)
        block = made[i * size : (i + 1) * size]
        block[:] = np.asarray(result)[: len(block)]
    assert made is not None
    return made


def _batch_rows(weights: Mapping[str, np.ndarray | Array]) -> int:
    """Returns the rows of a batch: a power of two that follows from the model's widths alone."""
    widest = max(size for array in weights.values() for size in array.shape)
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


@functools.partial(jax.jit, static_argnames=("function", "input_dim"))
def _apply(
    method: Method[Any, Any],
    weights: dict[str, Array],
    rows: Array,
    *,
    function: Function,
    input_dim: int,
) -> Array:
    model = with_weights(abstract_model(method, input_dim), weights)
    with method.matmul_precision():
        result: Array = getattr(method, function)(model, rows)
    return result
