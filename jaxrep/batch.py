"""Rows as the methods see them: what a row holds, and a batch of rows.

A row is what its table holds: numbers, and codes of categories. A part that a table does not have
is None, which costs a compiled program nothing. Shape letters: B batch, D numbers, C codes,
T targets.
"""

from typing import NamedTuple

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
    """What is to be predicted, `[B, T]`; None where nothing is."""

    weights: Array | None = None
    """Row weights `[B]`, at least 0: 1 for rows, 0 for the padding of an epoch's last batch. None
    weighs all rows alike."""
