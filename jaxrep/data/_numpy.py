"""Reads .npy and .npz files, trusting nothing that their headers promise."""

import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numpy.lib import format as npy

from jaxrep.errors import InputError

from ._conform import conform
from ._request import Request, listed

_MOST_BYTES = 16 * 2**30


def read_npy(path: Path, request: Request) -> pa.Table:
    """Reads a .npy file of a 2-D numeric array; the columns are named x0, x1, ….

    Raises:
        InputError: the array is not 2-D and numeric, or the file is broken; see `read_table`.
    """
    with path.open("rb") as stream:
        array = _array(stream, path.stat().st_size, request.source)
    return _table(array, request)


def read_npz(path: Path, request: Request) -> pa.Table:
    """Reads the one array of a .npz file, or the one called X.

    Raises:
        InputError: there are several arrays and none is called X, the array is not 2-D and
            numeric, or the file is broken or too large; see `read_table`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            member = _member(archive, request.source)
            with archive.open(member) as stream:
                array = _array(stream, member.file_size, request.source)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{request.source}: a broken .npz file ({error})") from None
    return _table(array, request)


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


def _array(stream: IO[bytes], size: int, source: str) -> npt.NDArray[Any]:
    shape, dtype = _header(stream, source)
    _check(shape, dtype, source)
    promised, there = shape[0] * shape[1] * dtype.itemsize, size - stream.tell()
    if promised != there or min(shape) < 0:
        raise InputError(
            f"{source}: not a sound .npy array (the header promises {promised} bytes, "
            f"there are {there}); save it again"
        )
    stream.seek(0)
    array: npt.NDArray[Any] = npy.read_array(stream, allow_pickle=False)
    return array


def _header(stream: IO[bytes], source: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        shape, _, dtype = readers[npy.read_magic(stream)](stream)
    except (OSError, zipfile.BadZipFile):
        raise
    except Exception as error:  # numpy evaluates the header as Python, which can raise anything
        raise InputError(f"{source}: not a sound .npy array ({error}); save it again") from None
    return shape, dtype


def _check(shape: tuple[int, ...], dtype: np.dtype[Any], source: str) -> None:
    if dtype.kind not in "biuf":
        raise InputError(f"{source}: the array has dtype {dtype}; it must be numeric")
    if len(shape) != 2:
        advice = "; save x.reshape(-1, 1) for one column" if len(shape) == 1 else ""
        raise InputError(
            f"{source}: the array is {len(shape)}-D with shape {shape}; "
            f"it must be 2-D, (rows, columns){advice}"
        )


def _table(array: npt.NDArray[Any], request: Request) -> pa.Table:
    native = array.dtype.newbyteorder("=")
    kind = np.dtype(np.float64) if native.itemsize > 8 else native
    columns = {f"x{i}": pa.array(array[:, i].astype(kind)) for i in range(array.shape[1])}
    return conform(pa.table(columns), request)
