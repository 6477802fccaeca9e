"""What is certain about the reason why two layers, or what stands between them, differ."""

import itertools
from collections.abc import Callable, Iterator

import jax.numpy as jnp
import numpy as np

from jaxrep.parity._differences import Place, difference_of, short
from jaxrep.parity._recording import Call

# What torch calls a parameter that flax calls otherwise.
_TORCH_NAMES = {
    "kernel": "weight",
    "scale": "weight",
    "embedding": "weight",
    "mean": "running_mean",
    "var": "running_var",
}


def hints(place: Place, jax_calls: list[Call], tolerance: float) -> Iterator[str]:
    """What is certain about the reason of a difference."""
    if place.pair and place.kind == "output":
        yield from _layer_hints(*place.pair, jax_calls, tolerance)
    elif place.before and place.difference.which is not None:
        yield from _betweenhints(place, place.before, place.difference.which)
    for side, arrays in (("JAX", place.jax), ("torch", place.torch)):
        floats = {a.dtype for a in arrays if jnp.issubdtype(a.dtype, jnp.floating)}
        for dtype in floats - {np.dtype("float64")}:
            yield f"{side} has {dtype} here: something in the model casts to it."


def _layer_hints(
    ours: Call, theirs: Call, jax_calls: list[Call], tolerance: float
) -> Iterator[str]:
    from torch import nn

    found: list[str] = []
    # How other torch layers store a kernel is not certain.
    if "kernel" not in ours.parameters or isinstance(
        theirs.module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
    ):
        found = list(_parameter_hints(ours, theirs, tolerance))
    owners = [c.layer for c in jax_calls if not any(_parameter_hints(c, theirs, tolerance))]
    if found and owners:
        yield f"The torch layer has the parameters of {owners[0]} in JAX: the order differs."
    else:
        yield from found
    epsilon, eps = getattr(ours.module, "epsilon", None), getattr(theirs.module, "eps", None)
    if hasattr(theirs.module, "eps") and epsilon is not None and epsilon != eps:
        yield f"epsilon is {epsilon} in JAX, eps is {eps} in torch."
    elif not found and getattr(ours.module, "use_fast_variance", False):
        yield "use_fast_variance=True, flax's default, loses digits where the mean is large."


def _parameter_hints(ours: Call, theirs: Call, tolerance: float) -> Iterator[str]:
    """Says which parameters of two layers differ, and how."""
    for name, array in ours.parameters.items():
        other = theirs.parameters.get(_TORCH_NAMES.get(name, name))
        axes = tuple(range(array.ndim))
        if name == "kernel" and array.ndim > 1:
            axes = (axes[-1], axes[-2], *axes[:-2])  # torch: out, in, space
        if other is None:
            if name != "bias" or np.any(array):
                yield f"Only the JAX layer has a {name}."
            continue
        found = difference_of(array.transpose(axes), other)
        if found.error <= tolerance:
            continue
        orders = itertools.permutations(axes) if name == "kernel" else ()
        wrong = [o for o in orders if difference_of(array.transpose(o), other).error <= tolerance]
        if wrong and array.ndim == 2:
            yield "The torch weight equals the JAX kernel untransposed; it should be the transpose."
        elif wrong:
            yield f"The torch weight equals kernel.transpose{wrong[0]}; it should be {axes}."
        else:
            by = f"by {short(found.error)}" if found.index else f"({found.text})"
            yield f"The weights differ before any computation: {name} {by}."
    if "bias" not in ours.parameters and np.any(theirs.parameters.get("bias", 0)):
        yield "Only the torch layer has a bias."


def _betweenhints(place: Place, before: tuple[Call, Call], which: int) -> Iterator[str]:
    """Says what each model did with the layer before, where it is one of the usual things."""
    a = place.jax[which]
    b = place.pair[1].inputs[which] if place.pair else place.torch[which]
    ours, theirs = _formula(before[0], a), _formula(before[1], b)
    if ours != theirs:
        layer = place.number - 1 if place.pair else place.number
        names = [formula or "something else" for formula in (ours, theirs)]
        yield (
            f"With x and y the input and output of layer {layer}, JAX continues with {names[0]}, "
            f"torch with {names[1]}."
        )
    elif difference_of(np.sort(a, axis=None), np.sort(b, axis=None)).error <= 1e-9:
        yield "Both have the same numbers in another order or shape: a reshape or a transpose."
    if "gelu" in ours and "gelu" in theirs:
        yield "flax's nnx.gelu has approximate=True by default, torch's GELU is exact by default."


def _formula(before: Call, value: np.ndarray) -> str:
    """What a value is of a layer's input x and output y, such as `relu(y)`; "" if nothing usual."""
    import torch
    from torch.nn import functional

    if not before.outputs or before.outputs[0].dtype != np.float64:
        return ""
    y = torch.from_numpy(before.outputs[0])
    sources = {"y": y}
    if before.inputs and before.inputs[0].shape == y.shape:
        sources["x + y"] = y + torch.from_numpy(before.inputs[0])
    functions: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "{}": lambda v: v,
        "relu({})": functional.relu,
        "gelu({})": functional.gelu,
        "gelu({}, approximate)": lambda v: functional.gelu(v, approximate="tanh"),
        "silu({})": functional.silu,
        "tanh({})": torch.tanh,
        "sigmoid({})": torch.sigmoid,
    }
    for (written, function), name in itertools.product(functions.items(), sources):
        if difference_of(function(sources[name]).numpy().ravel(), value.ravel()).error <= 1e-9:
            return written.format(name)
    return ""
