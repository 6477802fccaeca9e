"""Reads .npy arrays some rows at a time, trusting nothing that their headers promise."""

import shutil
import zipfile
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from jaxrep.errors import InputError

from .._names import check_count


class Array:
    """A .npy array in a stream, of which rows are taken one after another.

    Attributes:
        shape: as the header says, and as there are bytes for.
        dtype: never one of objects, if `check_bytes` has been called.
    """

    def __init__(self, stream: IO[bytes], size: int, source: str):
        self._stream, self._size, self._source = stream, size, source
        self.shape, self._is_fortran, self.dtype = _header(stream, source)
        self._first = stream.tell()
        self._row = 0

    def check_matrix(self) -> None:
        """Raises an InputError if this is not a matrix of numbers, or has no rows."""
        if self.dtype.kind not in "biuf":
            raise InputError(
                f"{self._source}: the array has dtype {self.dtype}; it must be numeric"
            )
        if len(self.shape) != 2:
            advice = "; save x.reshape(-1, 1) for one column" if len(self.shape) == 1 else ""
            raise InputError(
                f"{self._source}: the array is {len(self.shape)}-D with shape {self.shape}; "
                f"it must be 2-D, (rows, columns){advice}"
            )
        if 0 in self.shape:  # no bytes to compare with, however large the other number is
            raise InputError(f"{self._source}: the table has no rows")
        check_count(self.shape[1], self._source)

    def check_bytes(self) -> None:
        """Raises an InputError if the header promises more or fewer bytes than there are."""
        promised = self.dtype.itemsize
        for length in self.shape:  # as Python's integers, which do not overflow
            promised *= length
        there = self._size - self._first
        if self.dtype.hasobject or promised != there or min(self.shape, default=0) < 0:
            raise InputError(
                f"{self._source}: not a sound .npy array (the header promises {promised} bytes, "
                f"there are {there}); save it again"
            )

    def take(self, rows: int) -> npt.NDArray[Any]:
        """Returns the next rows in memory of their own; fewer at the end.

        Raises:
            EOFError: they are not there.
        """
        rows = min(rows, self.shape[0] - self._row)
        if len(self.shape) == 2 and self._is_fortran:
            piece = self._by_columns(rows)
        else:
            piece = np.empty((rows, *self.shape[1:]), self.dtype)
            _read_into(self._stream, piece)
        self._row += rows
        return piece

    def unpack(self, into: IO[bytes]) -> None:
        """Copies the array's bytes out of an archive, in which going back is slow."""
        shutil.copyfileobj(self._stream, into)
        self._stream, self._first = into, 0

    def _by_columns(self, rows: int) -> npt.NDArray[Any]:
        piece = np.empty((self.shape[1], rows), self.dtype)
        for i, column in enumerate(piece):
            start = i * self.shape[0] + self._row
            self._stream.seek(self._first + start * self.dtype.itemsize)
            _read_into(self._stream, column)
        return piece.T

    @property
    def is_fortran(self) -> bool:
        """Whether the array is stored column by column."""
        return self._is_fortran


def _header(stream: IO[bytes], source: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        shape, fortran_order, dtype = readers[npy.read_magic(stream)](stream)
    except (OSError, zipfile.BadZipFile):
        raise
    except Exception as error:  # numpy evaluates the header as Python, which can raise anything
        raise InputError(f"{source}: not a sound .npy array ({error}); save it again") from None
    return shape, fortran_order, dtype


def _read_into(stream: IO[bytes], piece: npt.NDArray[Any]) -> None:
    left = piece.reshape(-1).view(np.uint8).data
    while left:
        count = stream.readinto(left)  # type: ignore[attr-defined]
        if not count:
            raise EOFError("it ends too early")
        left = left[count:]
