"""Rows as the methods see them: what a row holds, and a batch of rows.

A row is what its table holds: numbers, and codes of categories. A part that a table does not have
is None, which costs a compiled program nothing. Shape letters: B batch, D numbers, C codes.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


class RowSpec(NamedTuple):
    """What every row of a table holds.

    Example:
        >>> RowSpec(numbers=4).levels
        ()
    """

    numbers: int
    """D, numbers of a row."""

    levels: tuple[int, ...] = ()
    """For each of the C codes, how many values it takes."""


class Batch(NamedTuple):
    """Rows, and how much each counts.

    Example:
        >>> import jax.numpy as jnp
        >>> batch = Batch(jnp.ones((4, 3)))
        >>> len(batch.numbers), batch.weights is None
        (4, True)
    """

    numbers: Array
    """Numbers, `[B, D]`."""

    codes: Array | None = None
    """Codes of categories, int32 `[B, C]`; None where the table has none."""

    targets: Array | None = None
    """What is to be predicted, `[B]`: a class's number, int32, or a number, float32; None where
    nothing is."""

    weights: Array | None = None
    """Row weights `[B]`, at least 0: 1 for rows, 0 for the padding of an epoch's last batch. None
    weighs all rows alike."""


def as_batch(rows: Any) -> Batch:
    """Returns rows as a batch: a matrix of numbers as the numbers of one, a batch as it is.

    Args:
        rows: numbers `[B, D]`, or a `Batch`, whose numbers may be in a store.
    """
    return rows if isinstance(rows, Batch) else Batch(rows)


def take(rows: Batch, chosen: Any) -> Batch:
    """Returns some of the rows, by index, mask or slice: the same of every part that there is.

    Example:
        >>> rows = Batch(jnp.arange(6.0).reshape(3, 2), targets=jnp.array([7, 8, 9]))
        >>> print(take(rows, jnp.array([2, 0])).targets)
        [9 7]
    """
    taken: Batch = jax.tree.map(lambda array: array[chosen], rows)
    return taken


def zeros_like(rows: Batch, count: int) -> Batch:
    """Returns `count` rows of zeros with the parts, the shapes and the dtypes of others."""
    zeros: Batch = jax.tree.map(
        lambda array: jnp.zeros((count, *array.shape[1:]), array.dtype), rows
    )
    return zeros
