"""Rows as the methods see them: what a row holds, and a batch of rows.

A row is what its table holds: numbers, and codes of categories. A part that a table does not have
is None, which costs a compiled program nothing. Shape letters: B batch, D numbers, C codes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:  # tables are read without JAX, which takes a second to import
    from jax import Array

MISSING = -1
"""The code of a missing cell. A missing number is NaN."""

FIRST_SPIKE = 8.0
"""The number that stands for the first of a column's spikes; the next is 1 more, and so on. All
other numbers of such a column are less than 7."""


class RowSpec(NamedTuple):
    """What every row of a table holds.

    Code 0 is "other": a value that training did not know, or a rare one merged with others.
    `MISSING` is not one of a code's values, and occurs only where `gaps` says that cells may be
    missing.

    Example:
        >>> rows = RowSpec(numbers=2, levels=(4,), gaps=(True, False, False))
        >>> rows.codes, rows.columns
        (1, 3)
        >>> rows.number_gaps, rows.code_gaps
        ((True, False), (False,))
        >>> rows.number_likelihoods
        ('squared', 'squared')
        >>> rows.with_gaps().gaps
        (True, True, True)
    """

    numbers: int
    """D, numbers of a row."""

    levels: tuple[int, ...] = ()
    """For each of the C codes, how many values it takes: 0 ("other") included, `MISSING` not."""

    gaps: tuple[bool, ...] = ()
    """For each of the D numbers and then of the C codes, whether a cell may be missing; () where
    none may."""

    likelihoods: tuple[str, ...] = ()
    """The likelihood of each of the D numbers: "squared", "gaussian", "bernoulli" or "poisson"; ()
    where all are squared."""

    spikes: tuple[int, ...] = ()
    """For each of the D numbers, how many values of it are spikes, which many rows share; () where
    none is. Networks see a spike as a level: `jaxrep.row_coding`."""

    @property
    def codes(self) -> int:
        """C, codes of a row."""
        return len(self.levels)

    @property
    def columns(self) -> int:
        """D + C, numbers and codes of a row."""
        return self.numbers + self.codes

    @property
    def number_gaps(self) -> tuple[bool, ...]:
        """For each of the D numbers, whether a cell may be missing."""
        return self.gaps[: self.numbers] if self.gaps else (False,) * self.numbers

    @property
    def code_gaps(self) -> tuple[bool, ...]:
        """For each of the C codes, whether a cell may be missing."""
        return self.gaps[self.numbers :] if self.gaps else (False,) * self.codes

    @property
    def number_likelihoods(self) -> tuple[str, ...]:
        """The likelihood of each of the D numbers."""
        return self.likelihoods or ("squared",) * self.numbers

    def with_gaps(self) -> "RowSpec":
        """Returns the same rows where every cell may be missing."""
        return self._replace(gaps=(True,) * self.columns)


class Batch(NamedTuple):
    """Rows, and how much each counts.

    Example:
        >>> import jax.numpy as jnp
        >>> batch = Batch(jnp.ones((4, 3)))
        >>> len(batch.numbers), batch.weights is None
        (4, True)
    """

    numbers: "Array"
    """Numbers, `[B, D]`; NaN where a cell is missing. `[B, 0]` where the table has none."""

    codes: "Array | None" = None
    """Codes of categories, int32 `[B, C]`; `MISSING` where a cell is missing. None where the table
    has none."""

    targets: "Array | None" = None
    """What is to be predicted, `[B]`: a class's number, int32, or a number, float32; None where
    nothing is."""

    weights: "Array | None" = None
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
        >>> import jax.numpy as jnp
        >>> rows = Batch(jnp.arange(6.0).reshape(3, 2), targets=jnp.array([7, 8, 9]))
        >>> print(take(rows, jnp.array([2, 0])).targets)
        [9 7]
    """
    parts: list[Any] = [None if part is None else part[chosen] for part in rows]
    return Batch(*parts)


def concatenate(batches: Sequence[Batch]) -> Batch:
    """Returns the rows of several batches of NumPy arrays, all with the same parts, as one.

    Example:
        >>> concatenate([Batch(np.ones((2, 3))), Batch(np.zeros((1, 3)))]).numbers.shape
        (3, 3)
    """
    if len(batches) == 1:
        return batches[0]
    parts: list[Any] = [
        None if arrays[0] is None else np.concatenate(arrays)
        for arrays in zip(*batches, strict=True)
    ]
    return Batch(*parts)


def zeros_like(rows: Batch, count: int) -> Batch:
    """Returns `count` rows of zeros with the parts, the shapes and the dtypes of others."""
    import jax
    import jax.numpy as jnp

    zeros: Batch = jax.tree.map(
        lambda array: jnp.zeros((count, *array.shape[1:]), array.dtype), rows
    )
    return zeros


def empty(rows: RowSpec, count: int) -> Batch:
    """Returns memory for rows on the host, uninitialised: a NumPy array of each part.

    Args:
        rows: what every row holds.
        count: number of rows.

    Example:
        >>> buffer = empty(RowSpec(numbers=2, levels=(4,)), 3)
        >>> buffer.numbers.shape, buffer.codes.shape, buffer.codes.dtype
        ((3, 2), (3, 1), dtype('int32'))
    """
    numbers: Any = np.empty((count, rows.numbers), np.float32)
    codes: Any = np.empty((count, rows.codes), np.int32) if rows.codes else None
    return Batch(numbers, codes)
