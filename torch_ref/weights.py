"""A module's weights as jaxrep's flat dictionary of numpy arrays, and back.

Names are jaxrep's, such as `encoder.0.kernel`. A linear layer's `weight [out, in]` here is a
`kernel [in, out]` there; this is the only place where one is transposed.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def flat_name(key: str) -> str:
    """Returns the name that jaxrep's flat dictionary has for a parameter or a buffer.

    Args:
        key: its name in the module, as `state_dict` and `named_parameters` have it.

    Example:
        >>> flat_name("encoder.layers.0.weight")
        'encoder.0.kernel'
    """
    name = key.replace("layers.", "")
    return name.removesuffix("weight") + "kernel" if _is_kernel(key) else name


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
    arrays = {}
    for key, tensor in model.state_dict().items():
        array = tensor.detach().cpu().numpy()
        # A transposed view would reach safetensors in the wrong order: copy to C order.
        arrays[flat_name(key)] = np.array(
            array.T if _is_kernel(key) else array, order="C", copy=True
        )
    return dict(sorted(arrays.items()))


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of what `get_weights` would return, of a model on any device.

    Args:
        model: a module of `torch_ref.networks`; on the device `meta` it takes no memory.

    Example:
        >>> shapes(nn.ModuleDict({"encoder": nn.Linear(3, 2, device="meta")}))
        {'encoder.bias': (2,), 'encoder.kernel': (3, 2)}
    """
    state = model.state_dict().items()
    found = {flat_name(k): tuple((t.mT if _is_kernel(k) else t).shape) for k, t in state}
    return dict(sorted(found.items()))


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
            own[key].copy_(tensor)
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
    own = model.state_dict()
    keys = {flat_name(key): key for key in own}
    unknown = [name for name in weights if name not in keys]
    if unknown:
        raise ValueError(f"the model has no weights named {unknown}; it has {sorted(keys)}")
    state = {}
    for name, tensor in weights.items():
        key = keys[name]
        shape = own[key].shape
        expected = tuple(reversed(shape) if _is_kernel(key) else shape)
        if tuple(tensor.shape) != expected:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; the model's is {expected}")
        state[key] = tensor.T if _is_kernel(key) else tensor
    return state


def _is_kernel(key: str) -> bool:
    return key.endswith(".weight")
