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
    """By the floating arrays, in their order."""


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
        inputs = [jnp.asarray(array, kind_of(array, dtype)) for array in arrays]
        wide = "float64" if dtype == "float64" else "float32"
        row_weights = None if weights is None else jnp.asarray(weights, wide)
        value, gradients = _value_and_gradients(name)(inputs, row_weights, hyperparameters)
        assert value.dtype == wide
        floating = [g for g, array in zip(gradients, arrays, strict=True) if is_floating(array)]
        return Evaluated(float(value), [np.asarray(g, np.float64) for g in floating])


@functools.cache
def _value_and_gradients(name: str) -> Any:
    def loss(inputs: list[jax.Array], weights: jax.Array | None, settings: dict[str, Any]) -> Any:
        return getattr(jaxrep.losses, name)(*inputs, weights=weights, **settings)

    return jax.jit(jax.value_and_grad(loss, allow_int=True))


def _evaluate_torch(
    name: str,
    arrays: list[np.ndarray],
    dtype: str,
    weights: np.ndarray | None,
    hyperparameters: dict[str, Any],
) -> Evaluated:
    inputs = [
        torch.tensor(
            array, dtype=getattr(torch, kind_of(array, dtype)), requires_grad=is_floating(array)
        )
        for array in arrays
    ]
    wide = torch.float64 if dtype == "float64" else torch.float32
    row_weights = None if weights is None else torch.tensor(weights, dtype=wide)
    loss = getattr(torch_ref.losses, name)(*inputs, weights=row_weights, **hyperparameters)
    assert loss.dtype == wide
    loss.backward()
    floating = [tensor for tensor in inputs if tensor.requires_grad]
    return Evaluated(loss.item(), [tensor.grad.double().numpy() for tensor in floating])


def is_floating(array: np.ndarray) -> bool:
    return array.dtype.kind == "f"


def kind_of(array: np.ndarray, dtype: str) -> str:
    """The dtype of an input where floating ones have the given one; whole numbers keep theirs."""
    return dtype if is_floating(array) else str(array.dtype)


def twin_of(method: AnyMethod) -> torch_ref.methods.AnyMethod:
    """The torch method of the same name and hyperparameters."""
    values = dataclasses.asdict(method.hyperparameters)
    return torch_ref.methods.get(method.name)(**values)


def rounded(array: np.ndarray, dtype: str) -> np.ndarray:
    """The float64 values of an array after rounding to a dtype; whole numbers stay as they are."""
    if not is_floating(array):
        return array
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    return array.astype(kind).astype(np.float64)


def normwise_error(a: np.ndarray | float, b: np.ndarray | float) -> float:
    """max|a − b| / max|b|."""
    scale = np.max(np.abs(b))
    return float(np.max(np.abs(np.asarray(a) - b)) / (scale if scale > 0 else 1.0))
