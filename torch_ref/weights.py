"""A module's weights as jaxrep's flat dictionary of numpy arrays, and back.

Names are jaxrep's, such as `encoder.0.kernel`. A linear layer's `weight [out, in]` here is a
`kernel [in, out]` there; this is the only place where one is transposed. The networks of a
`torch_ref.members.MembersNetwork` are one there, whose arrays have them along a first axis. Rows
that a network keeps of those it was trained on may be any number.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)

_MEMBER = re.compile(r"\Amembers\.[0-9]+\.")  # the beginning of a key of `MembersNetwork`


def flat_name(key: str) -> str:
    """Returns the name that jaxrep's flat dictionary has for a parameter or a buffer.

    Args:
        key: its name in the module, as `state_dict` and `named_parameters` have it.

    Example:
        >>> flat_name("encoder.layers.0.weight")
        'encoder.0.kernel'
    """
    name = key.replace("layers.", "")
    return name.removesuffix("weight") + "kernel" if name.endswith(".weight") else name


def get_weights(model: nn.Module) -> dict[str, np.ndarray]:
    """Returns copies of a module's parameters and buffers by jaxrep's names.

    Args:
        model: a module of `torch_ref.networks`.

    Returns:
        C-contiguous arrays, sorted by name.

    Example:
        >>> layers = nn.ModuleDict({"encoder": nn.Linear(3, 2)})
        >>> {name: array.shape for name, array in get_weights(layers).items()}
        {'encoder.bias': (2,), 'encoder.kernel': (3, 2)}
    """
    state = model.state_dict()
    arrays = {}
    for name, keys in _keys(state).items():
        own = [state[key].detach().cpu().numpy() for key in keys]
        own = [array.T if _is_kernel(name) else array for array in own]
        # A transposed view would reach safetensors in the wrong order: copy to C order.
        found = np.stack(own) if _MEMBER.match(keys[0]) else own[0]
        arrays[name] = np.array(found, order="C", copy=True)
    return dict(sorted(arrays.items()))


def shapes(
    model: nn.Module, found: Mapping[str, tuple[int, ...]] = {}
) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of what `get_weights` would return, of a model on any device.

    Args:
        model: a module of `torch_ref.networks`; on the device `meta` it takes no memory.
        found: the shapes of weights that may be another model's, by name: of rows that the model
            keeps, it has as many as they.

    Example:
        >>> shapes(nn.ModuleDict({"encoder": nn.Linear(3, 2, device="meta")}))
        {'encoder.bias': (2,), 'encoder.kernel': (3, 2)}
    """
    state, rows = model.state_dict(), _fitted_rows(model)
    made = {name: _shape(state, name, keys) for name, keys in sorted(_keys(state).items())}
    return {name: _like(s, found.get(name, s), name in rows) for name, s in made.items()}


def state_shapes(
    model: nn.Module, found: Mapping[str, tuple[int, ...]] = {}
) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a model's parameters and buffers, by its own names for them.

    Args:
        model: as of `shapes`.
        found: as of `shapes`, by the model's names.
    """
    rows = _fitted_rows(model)
    return {
        key: _like(tuple(tensor.shape), found.get(key, ()), _name_of(key) in rows)
        for key, tensor in model.state_dict().items()
    }


def _name_of(key: str) -> str:
    return flat_name(_MEMBER.sub("", key))


def _fitted_rows(model: nn.Module) -> set[str]:
    """Returns the names of the weights that are rows, of which there may be any number."""
    return {
        _name_of(f"{path}.{name}" if path else name)
        for path, module in model.named_modules()
        for name in getattr(module, "fitted_rows", ())
    }


def _like(shape: tuple[int, ...], found: tuple[int, ...], are_rows: bool) -> tuple[int, ...]:
    if are_rows and len(found) == len(shape) and found[-2] > 0:
        return (*shape[:-2], found[-2], shape[-1])
    return shape


def with_weights(model: Module, weights: Mapping[str, np.ndarray]) -> Module:
    """Loads weights by jaxrep's names into a module, in place; inverse of `get_weights`.

    Args:
        model: the module to fill. Parameters and buffers that are not named keep what they hold;
            those that are take the module's dtype.
        weights: arrays by name.

    Returns:
        The module.

    Raises:
        ValueError: a name that the module does not have, or an array of another shape.

    Example:
        >>> layers = nn.ModuleDict({"encoder": nn.Linear(3, 2)})
        >>> zeroed = with_weights(layers, {"encoder.bias": np.zeros(2)})
        >>> print(zeroed["encoder"].bias.detach())
        tensor([0., 0.])
    """
    tensors = {
        name: torch.from_numpy(np.array(array, order="C")) for name, array in weights.items()
    }
    own = model.state_dict()
    with torch.no_grad():
        for key, tensor in _to_state_dict(model, tensors).items():
            if own[key].shape == tensor.shape:
                own[key].copy_(tensor)
            else:  # rows, more or fewer of them; of members in a memory of their own
                path, _, name = key.rpartition(".")
                setattr(model.get_submodule(path), name, tensor.to(own[key], copy=True))
    return model


def apply(
    model: nn.Module, function: Callable[..., Any], weights: Mapping[str, Tensor], *arguments: Any
) -> Any:
    """Calls a function of a module with other weights in the place of its own.

    Gradients flow back to these weights, as through `jaxrep.networks.with_weights`.

    Args:
        model: the module; it is not changed.
        function: called with the module and `arguments`.
        weights: tensors by jaxrep's names, of any floating dtype. Parameters and buffers that are
            not named keep what they hold.
        *arguments: what else the function takes.

    Returns:
        What the function returns.

    Raises:
        ValueError: a name that the module does not have, or a tensor of another shape.

    Example:
        >>> bias = torch.ones(2, requires_grad=True)
        >>> layer = nn.Linear(3, 2)
        >>> apply(layer, nn.Linear.forward, {"bias": bias}, torch.zeros(5, 3)).sum().backward()
        >>> print(bias.grad)
        tensor([5., 5.])
    """
    state = {f"model.{k}": tensor for k, tensor in _to_state_dict(model, weights).items()}
    return torch.func.functional_call(_Call(model, function), state, arguments)


class _Call(nn.Module):
    """A function of a module, as a module of its own."""

    def __init__(self, model: nn.Module, function: Callable[..., Any]):
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, *arguments: Any) -> Any:
        return self.function(self.model, *arguments)


def _to_state_dict(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the weights by the module's own names, kernels transposed, all of them checked."""
    own, rows = model.state_dict(), _fitted_rows(model)
    keys = _keys(own)
    unknown = [name for name in weights if name not in keys]
    if unknown:
        raise ValueError(f"the model has no weights named {unknown}; it has {sorted(keys)}")
    state = {}
    for name, tensor in weights.items():
        expected = _shape(own, name, keys[name])
        if tuple(tensor.shape) != _like(expected, tuple(tensor.shape), name in rows):
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; the model's is {expected}")
        each = tensor.unbind() if _MEMBER.match(keys[name][0]) else (tensor,)
        for key, array in zip(keys[name], each, strict=True):
            state[key] = array.mT if _is_kernel(name) else array
    return state


def _keys(state: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Returns the keys of a state by jaxrep's names: one each, or that of every member in turn."""
    found: dict[str, list[str]] = {}
    for key in state:
        found.setdefault(_name_of(key), []).append(key)
    return found


def _shape(state: Mapping[str, Tensor], name: str, keys: Sequence[str]) -> tuple[int, ...]:
    own = state[keys[0]]
    shape = tuple((own.mT if _is_kernel(name) else own).shape)
    return (len(keys), *shape) if _MEMBER.match(keys[0]) else shape


def _is_kernel(name: str) -> bool:
    return name.endswith(".kernel")
