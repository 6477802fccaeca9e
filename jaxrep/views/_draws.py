"""What random numbers are drawn from, and noise that is made of them later."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import Array

from jaxrep.batch import Batch

Noise = dict[str, Any]


class Draws(NamedTuple):
    """What a method draws its noise from."""

    key: Array
    """A key of `jax.random`, used for one batch alone."""

    background: Batch
    """R training rows, for views that take values from other rows; and padding after them."""

    rows: int | Array | None = None
    """R; None where there is no padding."""


@jax.tree_util.register_pytree_node_class
class Deferred:
    """Random bits, and the function that makes noise of them.

    Training draws for several steps ahead and keeps what it drew. Noise that is returned as
    `Deferred` is kept as its bits, each drawn once, and made by `resolve` in the step that uses it:
    XLA would otherwise draw the bits again for each array that is computed from them.

    Args:
        make: a pure function of the arrays that returns noise by name; it compares equal to
            itself, as functions at module level and frozen dataclasses do.
        *arrays: what `make` takes.

    Example:
        >>> import jax.numpy as jnp
        >>> noise = {"first": Deferred(jnp.sign, jnp.array([-2.0])), "second": jnp.ones(1)}
        >>> print(resolve(noise)["first"])
        [-1.]
    """

    def __init__(self, make: Callable[..., Any], *arrays: Any):
        self.make, self.arrays = make, arrays

    def tree_flatten(self) -> tuple[tuple[Any, ...], Callable[..., Any]]:
        """Returns the arrays, and the function as structure."""
        return self.arrays, self.make

    @classmethod
    def tree_unflatten(cls, make: Callable[..., Any], arrays: tuple[Any, ...]) -> "Deferred":
        """Puts arrays in the place of others."""
        return cls(make, *arrays)


def resolve(noise: Any) -> Any:
    """Returns noise with everything that was deferred made; nothing is random in it.

    Args:
        noise: a tree of arrays and `Deferred`.
    """

    def made(leaf: Any) -> Any:
        return leaf.make(*leaf.arrays) if isinstance(leaf, Deferred) else leaf

    return jax.tree.map(made, noise, is_leaf=lambda leaf: isinstance(leaf, Deferred))
