"""A network's weights as a flat dictionary, and back.

Names are such as `encoder.0.kernel`; these are the only functions that make and read them.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from jaxrep.networks._fitted import FittedRows, FittedStatistic

Model = TypeVar("Model", bound=nnx.Module)


def get_weights(model: nnx.Module, *kinds: type[nnx.Variable[Any]]) -> dict[str, Array]:
    """Returns a model's variables as a flat dictionary.

    Args:
        model: any module.
        *kinds: the kinds wanted, such as `nnx.Param`; all of them when none is named.

    Returns:
        Arrays by name, such as `encoder.0.kernel`, sorted by name.

    Example:
        >>> from jaxrep.networks import MLP
        >>> list(get_weights(MLP((4, 2), rngs=nnx.Rngs(0))))
        ['0.bias', '0.kernel']
    """
    state = nnx.to_flat_state(nnx.state(model, nnx.Any(*(kinds or (nnx.Variable,)))))
    return dict(sorted((_name(path), variable.get_value()) for path, variable in state))


def get_model_state(model: nnx.Module) -> dict[str, Array]:
    """Returns what a run carries from step to step and does not train.

    That is every variable but parameters, which the optimiser changes, and fitted statistics, which
    are computed after training: what a model changes itself, such as BatchNorm's running mean, and
    what is `Frozen`.

    Args:
        model: any module.

    Returns:
        Arrays by name, sorted by name.

    Raises:
        ValueError: a generator of random numbers is among them; noise is drawn by the method.

    Example:
        >>> from jaxrep.networks import BatchNorm
        >>> list(get_model_state(BatchNorm(3)))
        ['mean', 'var']
    """
    changed = nnx.All(nnx.Variable, nnx.Not(nnx.Any(nnx.Param, FittedStatistic)))
    state = nnx.to_flat_state(nnx.state(model, changed))
    for path, variable in state:
        if isinstance(variable, nnx.RngState):
            raise ValueError(
                f"the network holds a generator of random numbers, {_name(path)}; draw what is "
                "random in the method's `noise`, where it can be repeated"
            )
    return dict(sorted((_name(path), variable.get_value()) for path, variable in state))


def with_weights(model: Model, weights: Mapping[str, Array]) -> Model:
    """Returns a copy of a model that holds the given weights; inverse of `get_weights`.

    Args:
        model: the model to copy; abstract ones (`nnx.eval_shape`) become concrete.
        weights: arrays by name. Variables that are not named keep what they hold.

    Returns:
        A model that shares no variable with the first.

    Raises:
        ValueError: a name that the model does not have, or an array of another shape.

    Example:
        >>> from jaxrep.networks import MLP
        >>> mlp = MLP((4, 2), rngs=nnx.Rngs(0))
        >>> zeroed = with_weights(mlp, {"0.kernel": jnp.zeros((4, 2))})
        >>> bool(jnp.array_equal(zeroed(jnp.ones((1, 4)))[0], mlp.layers[0].bias[...]))
        True
    """
    graph, state = nnx.split(model)
    flat = dict(nnx.to_flat_state(state))
    paths = {_name(path): path for path in flat}
    unknown = [name for name in weights if name not in paths]
    if unknown:
        raise ValueError(f"the model has no weights named {unknown}; it has {list(paths)}")
    for name, array in weights.items():
        variable = flat[paths[name]]
        if array.shape != _shape_like(variable, array.shape):
            raise ValueError(f"{name} has shape {array.shape}; the model's is {variable.shape}")
        flat[paths[name]] = variable.replace(array)
    return nnx.merge(graph, nnx.from_flat_state(list(flat.items())))


def shapes_like(
    model: nnx.Module, found: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a model's variables, with as many `FittedRows` as others have.

    Args:
        model: any module, abstract or not.
        found: the shapes of weights that may be another model's, by name.

    Example:
        >>> from jaxrep.networks import Neighbours
        >>> shapes_like(Neighbours(2), {"bank": (50, 2)}), shapes_like(Neighbours(2), {"bank": ()})
        ({'bank': (50, 2)}, {'bank': (1, 2)})
    """
    state = nnx.to_flat_state(nnx.state(model))
    shapes = {_name(path): (variable, variable.shape) for path, variable in state}
    return {
        name: _shape_like(variable, found.get(name, shape))
        for name, (variable, shape) in sorted(shapes.items())
    }


def _shape_like(variable: nnx.Variable[Any], found: tuple[int, ...]) -> tuple[int, ...]:
    shape: tuple[int, ...] = variable.shape
    if isinstance(variable, FittedRows) and len(found) == len(shape) and found[-2] > 0:
        return (*shape[:-2], found[-2], shape[-1])
    return shape


def compute_in(model: nnx.Module, dtype: DTypeLike) -> None:
    """Lets a model's linear layers compute, and return, in a type that is not their weights' own.

    Args:
        model: changed in place; its weights keep their type.
        dtype: such as `jnp.bfloat16`.

    Example:
        >>> from jaxrep.networks import MLP
        >>> mlp = MLP((4, 2), rngs=nnx.Rngs(0))
        >>> compute_in(mlp, jnp.bfloat16)
        >>> mlp(jnp.ones((1, 4))).dtype, mlp.layers[0].kernel[...].dtype
        (dtype(bfloat16), dtype('float32'))
    """
    for _, module in nnx.iter_modules(model):
        if isinstance(module, nnx.Linear):
            module.dtype = jnp.dtype(dtype)


def _name(path: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in path if part != "layers")
