"""Reads .npy and .npz files piece by piece, trusting nothing that their headers promise."""

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numpy.lib import format as npy

from jaxrep.errors import InputError

from ._arrow import to_arrow
from ._blocks import block_rows
from ._conform import conform
from ._request import Request, check_count, listed

_MOST_BYTES = 16 * 2**30
_PIECE = 1 << 20  # bytes of an array read at once: its columns are then picked out in cache


def read_npy(path: Path, request: Request) -> Iterator[pa.Table]:
    """Reads a .npy file of a 2-D numeric array; the columns are named x0, x1, ….

    Raises:
        InputError: the array is not 2-D and numeric, or the file is broken; see `read_table`.
    """
    with path.open("rb") as stream:
        yield from _pieces(stream, path.stat().st_size, request)


def read_npz(path: Path, request: Request) -> Iterator[pa.Table]:
    """Reads the one array of a .npz file, or the one called X.

    Raises:
        InputError: there are several arrays and none is called X, the array is not 2-D and
            numeric, or the file is broken or too large; see `read_table`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            member = _member(archive, request.source)
            with archive.open(member) as stream:
                yield from _pieces(stream, member.file_size, request)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{request.source}: a broken .npz file ({error})") from None


def _member(archive: zipfile.ZipFile, source: str) -> zipfile.ZipInfo:
    members = archive.infolist()
    size = sum(member.file_size for member in members)
    if size > _MOST_BYTES:
        raise InputError(
            f"{source}: the arrays would take {size / 2**30:.1f} GiB of memory, "
            f"more than {_MOST_BYTES / 2**30:.0f}; save the one to be read as .npy"
        )
    arrays = {member.filename.removesuffix(".npy"): member for member in members}
    if not arrays:
        raise InputError(f"{source}: there is no array in the file")
    if len(arrays) > 1 and "X" not in arrays:
        raise InputError(
            f"{source}: several arrays, and none is called X: {listed(arrays)}; "
            "call the one to be read X, or save it alone"
        )
    return arrays["X"] if "X" in arrays else next(iter(arrays.values()))


def _pieces(stream: IO[bytes], size: int, request: Request) -> Iterator[pa.Table]:
    shape, fortran_order, dtype = _header(stream, request.source)
    _check(shape, dtype, request.source)
    promised, there = shape[0] * shape[1] * dtype.itemsize, size - stream.tell()
    if promised != there or min(shape) < 0:
        raise InputError(
            f"{request.source}: not a sound .npy array (the header promises {promised} bytes, "
            f"there are {there}); save it again"
        )
    read = _by_columns if fortran_order else _by_rows
    for array in read(stream, (shape[0], shape[1]), dtype):
        yield _table(array, request)


def _by_rows(
    stream: IO[bytes], shape: tuple[int, int], dtype: np.dtype[Any]
) -> Iterator[npt.NDArray[Any]]:
    """Yields some rows at a time, all in the same memory, of an array in C order."""
    rows, columns = shape
    buffer = np.empty((_piece_rows(shape, dtype), columns), dtype)
    for start in range(0, rows, len(buffer)):
        piece = buffer[: rows - start]
        _read_into(stream, piece)
        yield piece


def _by_columns(
    stream: IO[bytes], shape: tuple[int, int], dtype: np.dtype[Any]
) -> Iterator[npt.NDArray[Any]]:
    """Yields some rows at a time, all in the same memory, of an array in Fortran's order."""
    if isinstance(stream, zipfile.ZipExtFile):  # going back in an archive is slow: unpack it
        with tempfile.TemporaryFile() as unpacked:
            shutil.copyfileobj(stream, unpacked)
            unpacked.seek(0)
            yield from _by_columns(cast(IO[bytes], unpacked), shape, dtype)
        return
    rows, columns = shape
    first = stream.tell()
    buffer = np.empty((columns, block_rows(columns)), dtype)
    for start in range(0, rows, buffer.shape[1]):
        piece = buffer[:, : rows - start]
        for i, column in enumerate(piece):
            stream.seek(first + (i * rows + start) * dtype.itemsize)
            _read_into(stream, column)
        yield piece.T


def _piece_rows(shape: tuple[int, int], dtype: np.dtype[Any]) -> int:
    wanted = _PIECE // max(shape[1] * dtype.itemsize, 1)
    return max(min(wanted, shape[0]), 1)


def _read_into(stream: IO[bytes], piece: npt.NDArray[Any]) -> None:
    left = piece.reshape(-1).view(np.uint8).data
    while left:
        count = stream.readinto(left)  # type: ignore[attr-defined]
        if not count:
            raise EOFError("it ends too early")
        left = left[count:]


def _header(stream: IO[bytes], source: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        shape, fortran_order, dtype = readers[npy.read_magic(stream)](stream)
    except (OSError, zipfile.BadZipFile):
        raise
    except Exception as error:  # numpy evaluates the header as Python, which can raise anything
        raise InputError(f"{source}: not a sound .npy array ({error}); save it again") from None
    return shape, fortran_order, dtype


def _check(shape: tuple[int, ...], dtype: np.dtype[Any], source: str) -> None:
    if dtype.kind not in "biuf":
        raise InputError(f"{source}: the array has dtype {dtype}; it must be numeric")
    if len(shape) != 2:
        advice = "; save x.reshape(-1, 1) for one column" if len(shape) == 1 else ""
        raise InputError(
            f"{source}: the array is {len(shape)}-D with shape {shape}; "
            f"it must be 2-D, (rows, columns){advice}"
        )
    if 0 in shape:  # no bytes to compare with, however large the other number is
        raise InputError(f"{source}: the table has no rows")
    check_count(shape[1], source)


def _table(array: npt.NDArray[Any], request: Request) -> pa.Table:
    names = [f"x{i}" for i in range(array.shape[1])]
    text = request.text_among(names)
    native = array.dtype.newbyteorder("=")
    written = np.dtype(np.float64) if native.itemsize > 8 else native  # 1 is "1", 1.5 is "1.5"
    columns = {}
    with np.errstate(over="ignore"):  # what float64 cannot hold is refused as infinite
        for name, values in zip(names, array.T, strict=True):
            columns[name] = to_arrow(values.astype(written if name in text else np.float64))
    return conform(pa.table(columns), request)
