"""A method's functions over any number of rows, in batches of one size.

Every batch has the same shape: one compiled program serves all calls, and a row gets the same
result whatever rows come with it.
"""

import functools
from collections.abc import Mapping
from typing import Any, Literal

import jax
import numpy as np
from jax import Array

from jaxrep.methods import Method, abstract_model
from jaxrep.models import with_weights

BATCH_ROWS = 1024

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
    results = []
    for start in range(0, max(len(rows), 1), BATCH_ROWS):
        batch = rows[start : start + BATCH_ROWS]
        padded = np.zeros((BATCH_ROWS, rows.shape[1]), rows.dtype)
        padded[: len(batch)] = batch
        result = _apply(method, weights, padded, function=function, input_dim=input_dim)
        results.append(np.asarray(result)[: len(batch)])
    return np.concatenate(results)


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
    result: Array = getattr(method, function)(model, rows)
    return result
