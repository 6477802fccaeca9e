"""Names the first place where an NNX module and a torch module part on the same inputs.

Both run in float64, so that a difference is a fault and not rounding. The layers with parameters or
state are compared pairwise in the order of their calls.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from flax import nnx

from jaxrep.errors import InputError
from jaxrep.parity._differences import Difference, Place, compare, short
from jaxrep.parity._evaluate import require_torch
from jaxrep.parity._reasons import hints
from jaxrep.parity._recording import Call, Recording, record_jax, record_torch, to_numpy

if TYPE_CHECKING:
    import torch

_CHANNELS_FIRST = ("Conv", "BatchNorm", "GroupNorm", "InstanceNorm")  # in torch


@dataclass(frozen=True)
class LayerComparison:
    """One layer of each model, paired by the order of their calls.

    Attributes:
        jax_layer: path and type, such as `layers.1 (Linear)`; None where JAX called fewer layers.
        torch_layer: the same in torch.
        input_error: max|a − b| / max|b| of the inputs, a from JAX and b from torch; infinite where
            shapes differ or NaN and infinities are in different places; None without a partner.
        output_error: the same of the outputs.
    """

    jax_layer: str | None
    torch_layer: str | None
    input_error: float | None
    output_error: float | None


@dataclass(frozen=True)
class Located:
    """Where two models part. Printed, it is a table of the layers and the finding.

    Attributes:
        place: such as `output of layer 2`, counting calls from 1, or `final output`; None if the
            models nowhere part.
        jax_layer: path and type of the layer there; None at the final output.
        torch_layer: the same in torch.
        error: max|a − b| / max|b| there, as in `LayerComparison`; if none part, the largest found.
        index: where in the array the difference is largest; None where shapes differ.
        jax_value: JAX's value there.
        torch_value: torch's value there.
        hint: what is certain about the reason; may be empty.
        message: the finding in sentences, with the hint.
        layers: all layers, in call order.
        output_error: the error of what the models return.
    """

    place: str | None
    jax_layer: str | None
    torch_layer: str | None
    error: float
    index: tuple[int, ...] | None
    jax_value: float | None
    torch_value: float | None
    hint: str
    message: str
    layers: tuple[LayerComparison, ...]
    output_error: float

    @property
    def differs(self) -> bool:
        """Whether the models part."""
        return self.place is not None

    def __str__(self) -> str:
        """The table of layers and the message."""
        rows = [("", "JAX", "torch", "input", "output")]
        for k, pair in enumerate(self.layers, 1):
            errors = short(pair.input_error), short(pair.output_error)
            rows.append((str(k), pair.jax_layer or "-", pair.torch_layer or "-", *errors))
        rows.append(("", "final output", "final output", "", short(self.output_error)))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
        return "\n".join([*lines, "", self.message])


def locate(
    jax_model: nnx.Module,
    torch_model: "torch.nn.Module",
    *inputs: Any,
    tolerance: float = 1e-12,
) -> Located:
    """Finds the first place where an NNX module and a torch module part.

    Copies of both run on the same inputs, in eval mode and float64, and the inputs and outputs of
    every leaf layer are recorded. The layers that own parameters or state are paired in the order
    of their calls. Of each pair the inputs are compared first and the outputs next; at the end,
    what the models return. An input that differs after outputs that agree says that what stands
    between two layers differs. Arrays a and b part where max|a − b| > tolerance · max|b|, where
    their shapes differ, or where NaN or infinities are in different places.

    Convolutions and their norms are compared with channels last, as flax has them. A module that
    holds parameters beside child modules, such as `torch.nn.MultiheadAttention`, is not a leaf:
    what it computes itself counts as standing between layers.

    Args:
        jax_model: any NNX module. It is not changed.
        torch_model: any torch module. It is not changed.
        *inputs: positional arguments of both: arrays of numpy, JAX or torch. Integers stay so.
        tolerance: the largest error that counts as agreement.

    Returns:
        The first place, both values there, and the errors of all layers.

    Raises:
        InputError: not modules of the two frameworks, a model that calls no layer with parameters,
            a model that raises (the message says which, and where in it), or a bad tolerance.
        MissingPackageError: PyTorch is not installed.

    Example:
        >>> import jax.numpy as jnp, torch
        >>> jax_model = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
        >>> torch_model = torch.nn.Linear(2, 2, bias=False)
        >>> kernel = np.array([[1.0, 2.0], [3.0, 4.0]])
        >>> jax_model.kernel[...] = jnp.asarray(kernel)
        >>> with torch.no_grad():
        ...     _ = torch_model.weight.copy_(torch.tensor(kernel))
        >>> located = locate(jax_model, torch_model, np.eye(2))
        >>> located.place, located.index, located.jax_value, located.torch_value
        ('output of layer 1', (0, 1), 2.0, 3.0)
        >>> print(located.hint)
        The torch weight equals the JAX kernel untransposed; it should be the transpose.
    """
    require_torch()
    _check(jax_model, torch_model, tolerance)
    arrays = jax.tree.map(to_numpy, inputs)
    runs = record_jax(jax_model, arrays), record_torch(torch_model, arrays)
    calls = [[call for call in run.calls if call.parameters] for run in runs]
    places = list(_places(calls, runs, tolerance))
    first = next((place for place in places if place.difference.error > tolerance), None)
    counts = ""
    if len(calls[0]) != len(calls[1]):
        counts = (
            f"JAX called {len(calls[0])} layers with parameters, torch {len(calls[1])}: paired in "
            "call order, layers may stand beside others than their like."
        )
    difference, hint = Difference(max(place.difference.error for place in places)), ""
    finding = f"Nothing parts: the largest error is {short(difference.error)}."
    if first:
        difference, hint = first.difference, " ".join(hints(first, calls[0], tolerance))
        finding = f"They differ at the {first.name}: {difference.text}. {_reason(first)}"
    ours, theirs = first.pair if first and first.pair else (None, None)
    return Located(
        place=first.name if first else None,
        jax_layer=ours.layer if ours else None,
        torch_layer=theirs.layer if theirs else None,
        error=difference.error,
        index=difference.index,
        jax_value=difference.values[0],
        torch_value=difference.values[1],
        hint=hint,
        message=" ".join(filter(None, [finding, hint, counts])),
        layers=tuple(_compared_layers(calls, places)),
        output_error=places[-1].difference.error,
    )


def _check(jax_model: object, torch_model: object, tolerance: float) -> None:
    import torch

    for model, kind in ((jax_model, nnx.Module), (torch_model, torch.nn.Module)):
        if not isinstance(model, kind):
            found = f"{type(model).__module__}.{type(model).__qualname__}"
            wanted = "first a flax.nnx.Module" if kind is nnx.Module else "second a torch.nn.Module"
            raise InputError(f"locate takes {wanted}; it was given a {found}")
    if not 0 <= tolerance < np.inf:
        raise InputError(f"tolerance must be finite and at least 0; it is {tolerance}")


def _places(
    calls: list[list[Call]], runs: tuple[Recording, Recording], tolerance: float
) -> Iterator[Place]:
    """All comparisons, in the order of the computation."""
    pairs = list(zip(calls[0], calls[1], strict=False))
    for k, (ours, theirs) in enumerate(pairs, 1):
        before = pairs[k - 2] if k > 1 else None
        for kind in ("inputs", "outputs"):
            a, b = getattr(ours, kind), _channels_last(getattr(theirs, kind), ours, theirs)
            found = compare(a, b, tolerance)
            yield Place(kind[:-1], k, (ours, theirs), before, a, b, found)
    a, b = (list(run.outputs.values()) for run in runs)
    found = compare(a, b, tolerance)
    key = "" if found.which is None else list(runs[0].outputs)[found.which]
    yield Place("output", len(pairs), None, pairs[-1], a, b, found, key)


def _channels_last(arrays: list[np.ndarray], ours: Call, theirs: Call) -> list[np.ndarray]:
    names = type(ours.module).__name__, type(theirs.module).__name__
    if not all(name.startswith(_CHANNELS_FIRST) for name in names):
        return arrays
    return [np.moveaxis(array, 1, -1) if array.ndim > 2 else array for array in arrays]


def _compared_layers(calls: list[list[Call]], places: list[Place]) -> Iterator[LayerComparison]:
    errors = iter([place.difference.error for place in places if place.pair])
    for ours, theirs in itertools.zip_longest(*calls):
        yield LayerComparison(
            jax_layer=ours.layer if ours else None,
            torch_layer=theirs.layer if theirs else None,
            input_error=next(errors, None),
            output_error=next(errors, None),
        )


def _reason(place: Place) -> str:
    if place.pair is None:
        return (
            f"All up to the output of layer {place.number} agrees, so what comes after it differs."
        )
    names = f"{place.pair[0].layer} in JAX, {place.pair[1].layer} in torch"
    if place.kind == "output":
        return f"The inputs of this layer ({names}) agree, so the layer itself differs."
    if place.before is None:
        return f"It is the first layer ({names}), so what is done before it differs."
    return (
        f"The outputs of layer {place.number - 1} agree, so what stands between it and this layer "
        f"({names}) differs: an activation, a reshape or a skip connection."
    )
