"""What a network keeps and saves with its weights, and never trains."""

import jax.numpy as jnp
from flax import nnx
from jax import Array

from jaxrep.networks._initial import filled
from jaxrep.networks._weights import get_weights


class Frozen(nnx.Variable[Array]):
    """An array that no step changes: carried, saved and served with the weights.

    It is no `nnx.Param`, and so has no gradient and no state of an optimiser.
    """


def freeze(module: nnx.Module) -> None:
    """Makes every parameter of a module `Frozen`.

    A parameter that two layers share stays shared. What a module changes itself is not frozen, such
    as BatchNorm's running mean.

    Args:
        module: changed in place; names and values stay as they are.

    Raises:
        ValueError: names parameters that are in a plain list or dictionary; `nnx.List` and
            `nnx.Dict` can be frozen.

    Example:
        >>> from jaxrep.networks import MLP, get_model_state, get_weights
        >>> mlp = MLP((4, 2), rngs=nnx.Rngs(0))
        >>> freeze(mlp)
        >>> list(get_weights(mlp, nnx.Param)), list(get_model_state(mlp))
        ([], ['0.bias', '0.kernel'])
    """
    frozen: dict[int, Frozen] = {}
    for _, part in list(nnx.iter_modules(module)):
        for name, value in list(vars(part).items()):
            if isinstance(value, nnx.Param):
                kept = frozen.setdefault(id(value), Frozen(value.get_value()))
                setattr(part, name, kept)
    if left := list(get_weights(module, nnx.Param)):
        raise ValueError(f"{left} are in a plain list or dictionary; use nnx.List or nnx.Dict")


class Standardisation(nnx.Module):
    """Standardises features: (x − mean) / scale.

    Both are `Frozen`, 0 and 1 until `with_weights` sets them, as to statistics of training rows.

    Args:
        features: Z, features of a row.

    Example:
        >>> from jaxrep.networks import with_weights
        >>> statistics = {"mean": jnp.array([1.0, 2.0]), "scale": jnp.array([1.0, 4.0])}
        >>> print(with_weights(Standardisation(2), statistics)(jnp.array([[3.0, 4.0]])))
        [[2.  0.5]]
    """

    def __init__(self, features: int):
        self.mean = Frozen(filled(0, features))
        self.scale = Frozen(filled(1, features))

    def __call__(self, x: Array) -> Array:
        """Maps `[B, Z]` to `[B, Z]`."""
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))  # bfloat16 has too few digits
        return ((wide - self.mean[...][None, :]) / self.scale[...][None, :]).astype(x.dtype)
