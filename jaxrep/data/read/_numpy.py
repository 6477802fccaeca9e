"""Reads .npy and .npz files piece by piece; nothing is ever unpickled."""

import contextlib
import tempfile
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jaxrep.errors import InputError

from .._arrow import texts_to_arrow, to_arrow
from .._blocks import block_rows
from .._messages import cell, listed
from .._names import check_names, selected
from ._files import TableFile
from ._npy import Array

_MOST_BYTES = 16 * 2**30
_PIECE = 1 << 20  # bytes of an array read at once: its columns are then picked out in cache


def read_npy(
    file: TableFile, columns: Collection[str] | None, note: Callable[[str], None]
) -> Iterator[pa.Table]:
    """Reads a .npy file of a 2-D numeric array; the columns are named x0, x1, ….

    Raises:
        InputError: the array is not 2-D and numeric, or the file is broken.
    """
    with file.path.open("rb") as stream:
        matrix = Array(stream, file.path.stat().st_size, file.source)
        matrix.check_matrix()
        matrix.check_bytes()
        yield from _pieces(matrix, {}, columns, file.source)


def read_npz(
    file: TableFile, columns: Collection[str] | None, note: Callable[[str], None]
) -> Iterator[pa.Table]:
    """Reads the matrix of a .npz file, and arrays of as many numbers or texts as it has rows.

    Raises:
        InputError: no array is X or the only 2-D numeric one, an array is broken, or all are too
            large.
    """
    try:
        with zipfile.ZipFile(file.path) as archive, contextlib.ExitStack() as stack:
            arrays = _arrays(archive, stack, file.source)
            name = _matrix(arrays, file.source)
            matrix = arrays.pop(name)
            labels = {key: a for key, a in arrays.items() if _is_column(a, matrix)}
            for label in labels.values():
                label.check_bytes()
            members = {m.filename.removesuffix(".npy") for m in archive.infolist()}
            if others := sorted(members - {name, *labels}):
                which = "array {} is" if len(others) == 1 else "arrays {} are"
                note(f"the {which.format(listed(others))} not read")
            matrix.check_matrix()
            matrix.check_bytes()
            if matrix.is_fortran:
                matrix.unpack(cast(IO[bytes], stack.enter_context(tempfile.TemporaryFile())))
            yield from _pieces(matrix, labels, columns, file.source)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{file.source}: a broken .npz file ({error})") from None


def _arrays(archive: zipfile.ZipFile, stack: contextlib.ExitStack, source: str) -> dict[str, Array]:
    members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
    size = sum(member.file_size for member in members)
    if size > _MOST_BYTES:
        raise InputError(
            f"{source}: the arrays would take {size / 2**30:.1f} GiB of memory, "
            f"more than {_MOST_BYTES / 2**30:.0f}; save the one to be read as .npy"
        )
    if not members:
        raise InputError(f"{source}: there is no array in the file")
    arrays = {}
    for member in members:
        name = member.filename.removesuffix(".npy")
        stream = stack.enter_context(archive.open(member))
        arrays[name] = Array(stream, member.file_size, source)
    return arrays


def _matrix(arrays: Mapping[str, Array], source: str) -> str:
    """Returns the name of the array that is the table."""
    if "X" in arrays or len(arrays) == 1:
        return "X" if "X" in arrays else next(iter(arrays))
    found = [key for key, a in arrays.items() if len(a.shape) == 2 and a.dtype.kind in "biuf"]
    if len(found) == 1:
        return found[0]
    count = "several 2-D arrays" if found else "no 2-D array of numbers"
    raise InputError(
        f"{source}: {count}, and none is called X: {listed(found or arrays)}; "
        "call the one to be read X, or save it alone"
    )


def _is_column(array: Array, matrix: Array) -> bool:
    return array.shape == matrix.shape[:1] and array.dtype.kind in "biufUS"


def _pieces(
    matrix: Array, labels: Mapping[str, Array], columns: Collection[str] | None, source: str
) -> Iterator[pa.Table]:
    rows, width = matrix.shape
    names = [f"x{i}" for i in range(width)] + list(labels)
    check_names(names, source)
    wanted = selected(names, columns, source)
    size = _PIECE // max(width * matrix.dtype.itemsize, 1)
    step = block_rows(width) if matrix.is_fortran else max(size, 1)
    for start in range(0, rows, step):
        piece = np.ascontiguousarray(matrix.take(step).T)  # the columns' bytes side by side
        found = {name: array.take(step) for name, array in labels.items()}
        yield pa.table(
            {
                name: _text(found[name], name, start, source)
                if name in found and found[name].dtype.kind in "US"
                else _numbers(found[name] if name in found else piece[int(name[1:])])
                for name in wanted
            }
        )


def _numbers(values: npt.NDArray[Any]) -> Any:
    """Returns numbers with their own type, in the order of bytes and the sizes that Arrow has."""
    native = values.dtype.newbyteorder("=")
    wanted = np.dtype(np.float64) if native.itemsize > 8 else native
    with np.errstate(over="ignore"):  # what float64 cannot hold becomes infinite
        return to_arrow(values.astype(wanted, copy=False))


def _text(values: npt.NDArray[Any], name: str, before: int, source: str) -> Any:
    texts: list[Any] = values.tolist()
    try:
        if values.dtype.kind == "S":
            return texts_to_arrow([text.decode() for text in texts])
        return texts_to_arrow(texts)
    except UnicodeError as error:
        raise InputError(
            f"{cell(source, name, before)} or a later one: a text is not Unicode ({error})"
        ) from None
