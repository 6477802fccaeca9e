"""Rows as the methods see them: what a row holds, and a batch of rows.

As in `jaxrep.batch`: a part that a table does not have is None, a missing number is NaN, and a
missing code is `MISSING`. TorchScript compiles functions that take a `Batch` where all four parts
are given. Shape letters: B batch, D numbers, C codes.
"""

from typing import NamedTuple

from torch import Tensor

MISSING = -1
"""The code of a missing cell."""

FIRST_SPIKE = 8.0
"""The number that stands for the first of a column's spikes; the next is 1 more, and so on."""


class RowSpec(NamedTuple):
    """What every row of a table holds.

    Example:
        >>> rows = RowSpec(numbers=2, levels=(3,), gaps=(False, True, True))
        >>> rows.codes, rows.columns, rows.number_gaps, rows.code_gaps
        (1, 3, (False, True), (True,))
    """

    numbers: int
    """D, numbers of a row."""

    levels: tuple[int, ...] = ()
    """For each of the C codes, how many values it takes: 0, which stands for all values that are
    no level of their own, and one for every level. `MISSING` is not among them."""

    gaps: tuple[bool, ...] = ()
    """For each of the D numbers, then of the C codes, whether it may be missing; empty where none
    may."""

    likelihoods: tuple[str, ...] = ()
    """For each of the D numbers, the name of its likelihood, out of `torch_ref.likelihoods`; empty
    where all have `squared`."""

    spikes: tuple[int, ...] = ()
    """For each of the D numbers, how many values of it are spikes, which networks see as levels:
    `torch_ref.row_coding`; empty where none is."""

    @property
    def codes(self) -> int:
        """C, codes of a row."""
        return len(self.levels)

    @property
    def columns(self) -> int:
        """D + C."""
        return self.numbers + len(self.levels)

    @property
    def number_gaps(self) -> tuple[bool, ...]:
        """For each of the D numbers, whether it may be missing."""
        return self.gaps[: self.numbers] or (False,) * self.numbers

    @property
    def code_gaps(self) -> tuple[bool, ...]:
        """For each of the C codes, whether it may be missing."""
        return self.gaps[self.numbers :] or (False,) * self.codes

    @property
    def number_likelihoods(self) -> tuple[str, ...]:
        """For each of the D numbers, the name of its likelihood."""
        return self.likelihoods or ("squared",) * self.numbers

    def with_gaps(self) -> "RowSpec":
        """Returns the same rows, of which every cell may be missing."""
        return self._replace(gaps=(True,) * self.columns)


class Batch(NamedTuple):
    """Rows, and how much each counts.

    Example:
        >>> import torch
        >>> batch = Batch(torch.ones(4, 3))
        >>> len(batch.numbers), batch.weights is None
        (4, True)
    """

    numbers: Tensor
    """Numbers, `[B, D]`, scaled; NaN where they are missing. A table without numbers has D = 0."""

    codes: Tensor | None = None
    """Codes of categories, int32 `[B, C]`; None where the table has none."""

    targets: Tensor | None = None
    """What is to be predicted, `[B]`: a class's number, int32, or a number, float32; None where
    nothing is."""

    weights: Tensor | None = None
    """Row weights `[B]`, at least 0: 1 for rows, 0 for the padding of an epoch's last batch. None
    weighs all rows alike."""


def as_batch(rows: Tensor | Batch) -> Batch:
    """Returns rows as a batch: a matrix of numbers as the numbers of one, a batch as it is.

    Args:
        rows: numbers `[B, D]`, or a `Batch`.
    """
    return rows if isinstance(rows, Batch) else Batch(rows)


def take(rows: Batch, chosen: Tensor | slice) -> Batch:
    """Returns some of the rows, by index, mask or slice: the same of every part that there is.

    Example:
        >>> import torch
        >>> rows = Batch(torch.arange(6.0).reshape(3, 2), targets=torch.tensor([7, 8, 9]))
        >>> print(take(rows, torch.tensor([2, 0])).targets)
        tensor([9, 7])
    """
    return Batch(*(None if part is None else part[chosen] for part in rows))  # type: ignore[arg-type]
