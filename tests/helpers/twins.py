"""Calls a loss of either twin on numpy arrays, for its value and its gradients."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import torch

import jaxrep.losses
import torch_ref.losses
import torch_ref.methods
from jaxrep.methods import AnyMethod

TWINS = ("jax", "torch")
# max|a − b| / max|b| that counts as equal, by dtype; the half types are computed in float32.
TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "bfloat16": 2e-2, "float16": 2e-3}


class Evaluated(NamedTuple):
    value: float
    gradients: list[np.ndarray]


def evaluate(
    twin: str,
    name: str,
    arrays: list[np.ndarray],
    *,
    dtype: str = "float64",
    weights: np.ndarray | None = None,
    **hyperparameters: float,
) -> Evaluated:
    call = {"jax": _evaluate_jax, "torch": _evaluate_torch}[twin]
    return call(name, arrays, dtype, weights, hyperparameters)


def _evaluate_jax(
    name: str,
    arrays: list[np.ndarray],
    dtype: str,
    weights: np.ndarray | None,
    hyperparameters: dict[str, Any],
) -> Evaluated:
    with jax.enable_x64(dtype == "float64"):
        inputs = [jnp.asarray(array, dtype) for array in arrays]
        wide = "float64" if dtype == "float64" else "float32"
        row_weights = None if weights is None else jnp.asarray(weights, wide)
        value, gradients = _value_and_gradients(name)(inputs, row_weights, hyperparameters)
        assert value.dtype == wide
        return Evaluated(float(value), [np.asarray(g, np.float64) for g in gradients])


@functools.cache
def _value_and_gradients(name: str) -> Any:
    def loss(inputs: list[jax.Array], weights: jax.Array | None, settings: dict[str, Any]) -> Any:
        return getattr(jaxrep.losses, name)(*inputs, weights=weights, **settings)

    return jax.jit(jax.value_and_grad(loss))


def _evaluate_torch(
    name: str,
    arrays: list[np.ndarray],
    dtype: str,
    weights: np.ndarray | None,
    hyperparameters: dict[str, Any],
) -> Evaluated:
    kind = getattr(torch, dtype)
    inputs = [torch.tensor(array, dtype=kind, requires_grad=True) for array in arrays]
    wide = torch.float64 if dtype == "float64" else torch.float32
    row_weights = None if weights is None else torch.tensor(weights, dtype=wide)
    loss = getattr(torch_ref.losses, name)(*inputs, weights=row_weights, **hyperparameters)
    assert loss.dtype == wide
    loss.backward()
    return Evaluated(loss.item(), [tensor.grad.double().numpy() for tensor in inputs])


def twin_of(method: AnyMethod) -> torch_ref.methods.AnyMethod:
    """The torch method of the same name and hyperparameters."""
    values = dataclasses.asdict(method.hyperparameters)
    return torch_ref.methods.get(method.name)(**values)


def rounded(array: np.ndarray, dtype: str) -> np.ndarray:
    """The float64 values of an array after rounding to a dtype."""
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    return array.astype(kind).astype(np.float64)


def normwise_error(a: np.ndarray | float, b: np.ndarray | float) -> float:
    """max|a − b| / max|b|."""
    scale = np.max(np.abs(b))
    return float(np.max(np.abs(np.asarray(a) - b)) / (scale if scale > 0 else 1.0))
