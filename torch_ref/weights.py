"""A module's weights as jaxrep's flat dictionary of numpy arrays, and back.

Names are jaxrep's, such as `encoder.0.kernel`. A linear layer's `weight [out, in]` here is a
`kernel [in, out]` there; this is the only place where one is transposed.
"""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def get_weights(model: nn.Module) -> dict[str, np.ndarray]:
    """Returns copies of a module's parameters and buffers by jaxrep's names.

    Args:
        model: a module of `torch_ref.models`.

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
        arrays[_name(key)] = np.array(array.T if _is_kernel(key) else array, order="C", copy=True)
    return dict(sorted(arrays.items()))


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
    state = model.state_dict()
    keys = {_name(key): key for key in state}
    unknown = [name for name in weights if name not in keys]
    if unknown:
        raise ValueError(f"the model has no weights named {unknown}; it has {sorted(keys)}")
    for name, array in weights.items():
        key = keys[name]
        shape = tuple(state[key].shape)
        expected = shape[::-1] if _is_kernel(key) else shape
        if tuple(array.shape) != expected:
            raise ValueError(f"{name} has shape {array.shape}; the model's is {expected}")
        copied = np.array(array.T if _is_kernel(key) else array, order="C", copy=True)
        with torch.no_grad():
            state[key].copy_(torch.from_numpy(copied))
    return model


def _is_kernel(key: str) -> bool:
    return key.endswith(".weight")


def _name(key: str) -> str:
    name = key.replace("layers.", "")
    return name.removesuffix("weight") + "kernel" if _is_kernel(key) else name
