"""The files that rows lie in: one of numbers, and one of codes where there are codes."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxrep.batch import Batch, RowSpec

NUMBERS, CODES = "numbers.f32", "codes.i32"


@dataclass(frozen=True)
class Part:
    """A file that holds some columns of all rows, one row after the other.

    Example:
        >>> [(part.name, part.row_bytes) for part in parts_of(RowSpec(numbers=3, levels=(5,)))]
        [('numbers.f32', 12), ('codes.i32', 4)]
    """

    name: str
    """The file's name."""

    dtype: str
    """Of its values, little-endian."""

    columns: int
    """Values of a row."""

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return self.columns * np.dtype(self.dtype).itemsize


def parts_of(rows: RowSpec) -> list[Part]:
    """Returns the files that such rows lie in."""
    parts = [Part(NUMBERS, "<f4", rows.numbers)]
    return [*parts, Part(CODES, "<i4", rows.codes)] if rows.codes else parts


def arrays_of(rows: Batch) -> list[Any]:
    """Returns the arrays that rows consist of, in the order of `parts_of`."""
    return [rows.numbers] if rows.codes is None else [rows.numbers, rows.codes]


def bytes_of(rows: Batch) -> list[memoryview]:
    """Returns what the files hold of rows, in the order of `parts_of`."""
    wanted = zip(arrays_of(rows), ("<f4", "<i4"), strict=False)
    arrays = [np.ascontiguousarray(array, dtype) for array, dtype in wanted]
    return [array.reshape(-1).view(np.uint8).data for array in arrays]


def chunk_digest(data: Iterable[bytes | memoryview]) -> str:
    """Returns the SHA-256 of a chunk's bytes in all files, one file after the other."""
    digest = hashlib.sha256()
    for part in data:
        digest.update(part)
    return digest.hexdigest()
