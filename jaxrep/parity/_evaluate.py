"""Runs a function in either framework, for its outputs and gradients, as float64 numpy arrays.

Both get the same numbers: inputs are rounded to the dtype first, and the float64 reference is
computed on the rounded ones. A function of several outputs is differentiated through a weighted sum
of them, whose weights (cotangents) are drawn once and are exact in every dtype.
"""

import contextlib
import functools
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from jaxrep.errors import InputError, MissingPackageError

_LIGHT = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}

Inputs = dict[str | int, Any]
Function = Callable[..., Any]


@dataclass(frozen=True)
class Evaluation:
    """What a function gave in one framework, by name such as `value` or `gradient of x`."""

    arrays: dict[str, np.ndarray]
    """Outputs and gradients, floating ones in float64."""

    dtypes: dict[str, str]
    """What they were before."""


@dataclass(frozen=True)
class Failure:
    """A function that gave nothing."""

    message: str
    """Which function raised what, and where."""


def as_inputs(inputs: Mapping[str, Any] | Sequence[Any]) -> Inputs:
    """Returns the inputs by keyword or position, all leaves as numpy arrays.

    Raises:
        InputError: a leaf is not an array of numbers.
    """
    named: Inputs = {}
    named.update(inputs if isinstance(inputs, Mapping) else enumerate(inputs))
    return {name: jax.tree.map(_as_array, tree) for name, tree in named.items()}


def rounded(inputs: Inputs, dtype: str) -> Inputs:
    """Returns the inputs with floating leaves rounded to a dtype, and back in float64."""
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    found: Inputs = jax.tree.map(
        lambda leaf: leaf.astype(kind).astype(np.float64) if _is_float(leaf) else leaf.copy(),
        inputs,
    )
    return found


def differentiable(function: Function, *, jit: bool, light: bool = False) -> Function:
    """Returns a JAX function's `evaluate_jax` form; one compilation serves all calls of a shape."""
    made = functools.partial(_value_and_vjp, function)
    return compiled(made, light=light) if jit else made


def compiled(function: Function, *, light: bool) -> Function:
    """Returns a function compiled by XLA; `light` spares most optimisations of small programs.

    The light kind takes a sixth of the time to compile on the CPU, and rounds a little differently.
    """
    options = _LIGHT if light and jax.default_backend() == "cpu" else None
    result: Function = jax.jit(function, compiler_options=options)
    return result


def evaluate_jax(
    function: Function, inputs: Inputs, dtype: str, wanted: Collection[str | int]
) -> Evaluation | Failure:
    """Runs a JAX function on inputs in a dtype; float64 is on for this call and thread alone.

    Args:
        function: from `differentiable`.
        inputs: as `rounded` returns them.
        dtype: of the floating inputs.
        wanted: the inputs to differentiate by.
    """
    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision("highest"):
        arrays = jax.tree.map(lambda leaf: jnp.asarray(leaf, _jax_dtype(leaf, dtype)), inputs)
        try:
            return _collect(*function(*_split(arrays, wanted)))
        except Exception as error:
            return Failure(explain("jax", error))


def evaluate_torch(
    function: Function, inputs: Inputs, dtype: str, wanted: Collection[str | int]
) -> Evaluation | Failure:
    """Runs a PyTorch function on inputs in a dtype, on the CPU, whatever the caller's grad mode."""
    import torch

    def to_tensor(leaf: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(np.array(leaf))
        return tensor.to(getattr(torch, dtype)) if _is_float(leaf) else tensor

    try:
        with _exact_torch(dtype), torch.inference_mode(False), torch.enable_grad():
            tensors = jax.tree.map(to_tensor, inputs)
            varied, _ = _split(tensors, wanted)
            leaves = [leaf for leaf in jax.tree.leaves(varied) if leaf.is_floating_point()]
            for leaf in leaves:
                leaf.requires_grad_()
            outputs = _as_tensors(call(function, tensors))
            found = iter(_torch_vjp(outputs, leaves))
            by_input = jax.tree.map(
                lambda t: next(found) if t.is_floating_point() else None, varied
            )
            return _collect(outputs, by_input)
    except Exception as error:
        return Failure(explain("torch", error))


def require_torch(purpose: str = "comparing with PyTorch") -> None:
    """Raises an error that says how to install PyTorch where it is missing.

    Args:
        purpose: what needs it.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingPackageError(
            f"{purpose} needs PyTorch: pip install 'jaxrep[torch]'"
        ) from error
    del torch


def call(function: Function, inputs: Inputs) -> Any:
    """Calls a function with inputs by position and keyword."""
    positional = [inputs[i] for i in sorted(name for name in inputs if isinstance(name, int))]
    keywords = {name: tree for name, tree in inputs.items() if isinstance(name, str)}
    return function(*positional, **keywords)


def _value_and_vjp(function: Function, varied: Inputs, held: Inputs) -> tuple[Any, Any]:
    leaves, structure = jax.tree.flatten(varied)
    is_float = [jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves]

    def weighted(floats: list[jax.Array]) -> tuple[list[jax.Array], Any]:
        remaining = iter(floats)
        merged = [next(remaining) if f else leaf for f, leaf in zip(is_float, leaves, strict=True)]
        outputs = call(function, jax.tree.unflatten(structure, merged) | held)
        found = jax.tree.map(jnp.asarray, outputs)
        return [o for o in jax.tree.leaves(found) if jnp.issubdtype(o.dtype, jnp.floating)], found

    floats = [leaf for f, leaf in zip(is_float, leaves, strict=True) if f]
    values, pullback, outputs = jax.vjp(weighted, floats, has_aux=True)
    shapes = [value.shape for value in values]
    slopes = [
        jnp.asarray(c, value.dtype) for c, value in zip(cotangents(shapes), values, strict=True)
    ]
    found = iter(pullback(slopes)[0])
    gradients = jax.tree.unflatten(structure, [next(found) if f else None for f in is_float])
    return outputs, gradients


def _as_tensors(outputs: Any) -> Any:
    """Makes tensors of Python's numbers, as JAX does, and plain tuples of torch's own."""
    import torch

    def of_leaf(leaf: Any) -> Any:
        if isinstance(leaf, tuple):  # torch.return_types, which jax.tree takes for a leaf
            return tuple(leaf)
        is_number = isinstance(leaf, bool | int | float)
        return torch.tensor(leaf) if is_number else leaf

    return jax.tree.map(of_leaf, outputs)


def _torch_vjp(outputs: Any, leaves: list[Any]) -> list[Any]:
    import torch

    values = [o for o in jax.tree.leaves(outputs) if isinstance(o, torch.Tensor)]
    values = [o for o in values if o.is_floating_point()]
    pairs = [
        (value, torch.from_numpy(cotangent).to(value.dtype))
        for value, cotangent in zip(values, cotangents([v.shape for v in values]), strict=True)
        if value.requires_grad
    ]
    if not pairs or not leaves:
        return [torch.zeros_like(leaf) for leaf in leaves]
    sums, weights = zip(*pairs, strict=True)
    found = torch.autograd.grad(sums, leaves, weights, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(leaves, found, strict=True)]


def cotangents(shapes: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Weights of the outputs' elements: 1 for a single number, else eighths, exact in any dtype."""
    if [tuple(shape) for shape in shapes] == [()]:
        return [np.ones(())]
    rng = np.random.default_rng(0)
    return [
        np.asarray(rng.integers(1, 9, shape) * rng.choice([-1.0, 1.0], shape) / 8)
        for shape in map(tuple, shapes)
    ]


def _collect(outputs: Any, gradients: Any) -> Evaluation:
    named = by_path("value", outputs)
    for name, tree in gradients.items():
        named |= by_path(f"gradient of {'input ' * isinstance(name, int)}{name}", tree)
    arrays, dtypes = {}, {}
    for name, leaf in named.items():
        arrays[name], dtypes[name] = _to_numpy(name, leaf)
    return Evaluation(arrays, dtypes)


def by_path(prefix: str, tree: Any) -> dict[str, Any]:
    """Returns a tree's leaves by name: the prefix and the path, such as `value['mu']`."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {prefix + jax.tree_util.keystr(path): leaf for path, leaf in flat}


def _to_numpy(name: str, leaf: Any) -> tuple[np.ndarray, str]:
    if hasattr(leaf, "detach"):
        leaf = leaf.detach().cpu()
        dtype = str(leaf.dtype).removeprefix("torch.")
        return (leaf.double() if leaf.is_floating_point() else leaf).numpy(), dtype
    if not isinstance(leaf, np.ndarray | np.generic | jax.Array | int | float):
        raise TypeError(f"{name} is a {type(leaf).__name__}, not an array")
    array = np.asarray(leaf)
    is_float = jnp.issubdtype(array.dtype, jnp.floating)
    return array.astype(np.float64) if is_float else array, str(array.dtype)


def _split(inputs: Inputs, wanted: Collection[str | int]) -> tuple[Inputs, Inputs]:
    varied = {name: tree for name, tree in inputs.items() if name in wanted}
    return varied, {name: tree for name, tree in inputs.items() if name not in wanted}


def _as_array(leaf: Any) -> np.ndarray:
    if hasattr(leaf, "detach"):
        leaf = leaf.detach().cpu()
        leaf = (leaf.double() if leaf.is_floating_point() else leaf).numpy()
    try:
        array = np.asarray(leaf)
    except TypeError as error:
        raise InputError(f"an input is not an array of numbers: {error}") from error
    array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype == ml_dtypes.bfloat16:
        return array.astype(np.float32)
    if array.dtype.kind not in "fiub":
        raise InputError(f"an input is a {type(leaf).__name__}; inputs are trees of real numbers")
    return array


def _jax_dtype(leaf: np.ndarray, dtype: str) -> Any:
    """JAX has no 64-bit integers without 64-bit floats."""
    return dtype if _is_float(leaf) else jax.dtypes.canonicalize_dtype(leaf.dtype)


def _is_float(leaf: np.ndarray) -> bool:
    return leaf.dtype.kind == "f"


@contextlib.contextmanager
def _exact_torch(dtype: str) -> Iterator[None]:
    """Full matmul precision, and new tensors in the dtype at hand, as JAX makes them."""
    import torch

    before = torch.get_float32_matmul_precision(), torch.get_default_dtype()
    torch.set_float32_matmul_precision("highest")
    torch.set_default_dtype(torch.float64 if dtype == "float64" else torch.float32)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.set_default_dtype(before[1])


def explain(framework: str, error: Exception) -> str:
    """Says in a line what was raised, and where in the caller's code."""
    lines = str(error).strip().splitlines() or [""]
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _is_theirs(f.filename)]
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{framework} raised {type(error).__name__}{place}: {lines[0]}"


def _is_theirs(filename: str) -> bool:
    return "site-packages" not in filename and Path(filename) != Path(__file__)
