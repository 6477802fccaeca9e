"""What a compiled program is to compute once, whatever is computed from it.

XLA fuses what it can see through into every kernel that reads it. A generator of random numbers is
then compiled, and runs, as many times as its numbers are read.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

Tree = TypeVar("Tree")


def once(compute: Callable[..., Tree], *words: Any) -> Tree:
    """Returns compute(*words), whose arrays are written to memory before they are read.

    It is a loop of one turn. XLA does not see that it has one, nor, since the words depend on the
    turn, that its body could stand before it.

    Args:
        compute: a pure function.
        *words: trees of whole numbers.

    Example:
        >>> print(once(lambda words: words * 2, jnp.arange(3)))
        [0 2 4]
    """
    if not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(words)):
        return compute(*words)  # of no program: a loop would be compiled anew in every call
    first = jnp.ravel(jax.tree.leaves(words)[0])[0].astype(jnp.uint32)
    turns = jnp.minimum(first | 1, 1).astype(jnp.int32)
    traced_once = jax.jit(compute)  # not for the shapes and for the loop anew

    def body(turn: jax.Array, _: Tree) -> Tree:
        moved = jax.tree.map(lambda word: word + turn.astype(word.dtype), words)  # by 0
        computed: Tree = traced_once(*moved)
        return computed

    shapes = jax.eval_shape(traced_once, *words)
    empty: Tree = jax.tree.map(lambda array: jnp.zeros(array.shape, array.dtype), shapes)
    made: Tree = jax.lax.fori_loop(0, turns, body, empty)
    return made
