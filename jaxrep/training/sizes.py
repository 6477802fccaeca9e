"""Sizes that programs are compiled for: few, so that tables of other lengths share a program.

Rows are padded up to such a size, and how many there are is a number that a program takes.
"""

from typing import NamedTuple

import jax
from jax import Array

from jaxrep.batch import Batch

_LEAST_ROWS = 4096
_LEAST_BYTES = 64 << 20  # of rows so wide that fewer than `_LEAST_ROWS` are as much
_LEAST_BATCH = 128


class Padded(NamedTuple):
    """Rows, and padding after them."""

    rows: Batch
    """All of them, `[size, ...]`."""

    present: int | Array
    """How many are no padding."""


def whole(rows: Batch) -> Padded:
    """Returns rows without padding."""
    return Padded(rows, len(rows.numbers))


def padded(count: int, least: int) -> int:
    """Returns the size for as many: at least `least`; of more, at most an eighth is padding.

    Example:
        >>> [padded(count, 128) for count in (5, 128, 129, 200, 1000)]
        [128, 128, 144, 208, 1024]
    """
    if count <= least:
        return least
    step = 1 << max(count.bit_length() - 4, 0)
    return -(-count // step) * step


def padded_rows(count: int, row_bytes: int) -> int:
    """Returns the size for as many rows: 4,096, or less where rows are wide; or `padded`.

    Example:
        >>> padded_rows(150, 16), padded_rows(150, 1 << 20), padded_rows(70_000, 16)
        (4096, 160, 73728)
    """
    fitting = max(_LEAST_BYTES // max(row_bytes, 1), 1)
    return padded(count, min(_LEAST_ROWS, 1 << fitting.bit_length() - 1))


def row_bytes(rows: Batch) -> int:
    """Returns the bytes of a row, of all its parts."""
    return sum(array.nbytes // max(len(array), 1) for array in jax.tree.leaves(rows))


def program_batch_size(batch_size: int, rows: int) -> int:
    """Returns the rows of a program's batches, where the batches hold `batch_size`, or all rows.

    Example:
        >>> program_batch_size(1024, 5000), program_batch_size(1024, 150)
        (1024, 160)
    """
    return min(batch_size, padded(rows, _LEAST_BATCH))
