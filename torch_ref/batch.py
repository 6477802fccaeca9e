"""Rows as the methods see them: what a row holds, and a batch of rows.

As in `jaxrep.batch`: a part that a table does not have is None. TorchScript compiles functions that
take a `Batch` where all four parts are given. Shape letters: B batch, D numbers, C codes.
"""

from typing import NamedTuple

from torch import Tensor


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
        >>> import torch
        >>> batch = Batch(torch.ones(4, 3))
        >>> len(batch.numbers), batch.weights is None
        (4, True)
    """

    numbers: Tensor
    """Numbers, `[B, D]`."""

    codes: Tensor | None = None
    """Codes of categories, int32 `[B, C]`; None where the table has none."""

    targets: Tensor | None = None
    """What is to be predicted, `[B]`: a class's number, int32, or a number, float32; None where
    nothing is."""

    weights: Tensor | None = None
    """Row weights `[B]`, at least 0: 1 for rows, 0 for the padding of an epoch's last batch. None
    weighs all rows alike."""
