"""Writes tables block by block: the whole table, or no file at all."""

import contextlib
import itertools
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numpy.lib import format as npy

from jaxrep import files
from jaxrep.errors import InputError

from ._csv_cells import csv_cells

_Write = Callable[[pa.Table], None]
_Writer = Callable[[IO[bytes], pa.Table], AbstractContextManager[_Write]]


def check_output(path: Path) -> None:
    """Checks that a table could be written to `path`, so that a command can fail before work.

    Args:
        path: the file to be written, which may exist and its folder must; or a stream.

    Raises:
        InputError: the suffix is unknown, `path` is a folder, or its folder is missing or
            cannot be written; an array for a stream.

    Example:
        >>> check_output(Path("z.txt"))
        Traceback (most recent call last):
        ...
        jaxrep.errors.InputError: z.txt: cannot write '.txt'; use .csv, .csv.gz, .csv.bz2, \
.csv.zst, .parquet, .feather, .arrow, .npy, .npz
    """
    _writer(path, spreadsheet_safe=False)
    if files.is_stream(path):
        files.check_stream(path)
    else:
        files.check_writable(path)


def write_table(table: pa.Table, path: Path, *, spreadsheet_safe: bool = False) -> None:
    """Writes a table as .csv, .parquet, .feather, .arrow, .npy or .npz, by the suffix of `path`.

    A CSV may be compressed: .csv.gz, .csv.bz2, .csv.zst. Its numbers have the fewest digits that
    read back as the same value of their type; bools are true and false; dates and times are in
    ISO 8601, timestamps with a time zone in UTC with a Z; durations are `-1 days +23:59:59.5`.
    Text, names of columns included, is written as it is, and bytes too. Parquet, Feather and Arrow
    keep all types. Arrays hold the columns side by side, missing values as NaN; in a .npz the array
    is called X.

    Args:
        table: the table.
        path: the file to write; one that exists is replaced once the new one is whole. `-` is
            standard output. That, named pipes, terminals and open descriptors such as /dev/stdout
            are written as they stand, as CSV unless their suffix says otherwise.
        spreadsheet_safe: whether text in a CSV that a spreadsheet would take for a formula (it
            begins with = + - @, a tab or a carriage return, and is not a number) gets a leading
            apostrophe.

    Raises:
        InputError: as `check_output`; a column of text, or of integers that the array would
            round, in an array; or the writing failed.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "z.csv"
        >>> write_table(pa.table({"z0": pa.array([0.1], pa.float32()), "id": ["=1+1"]}), path)
        >>> print(path.read_text(), end="")
        "z0","id"
        0.1,"=1+1"
    """
    write_blocks([table], path, spreadsheet_safe=spreadsheet_safe)


def write_blocks(
    blocks: Iterable[pa.Table], path: Path, *, spreadsheet_safe: bool = False
) -> tuple[int, int]:
    """Writes a table that comes in blocks, in memory that does not grow with its rows.

    Args:
        blocks: at least one, all with the same columns; one after another they are the table.
        path: the file to write, as for `write_table`. It is replaced once all blocks are written;
            if one cannot be made or written, nothing is left behind and an earlier file stays. A
            stream keeps what was written to it.
        spreadsheet_safe: as for `write_table`.

    Returns:
        The numbers of rows and columns.

    Raises:
        InputError: as `write_table`.
        BrokenPipeError: whoever read the stream has left.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "z.csv"
        >>> write_blocks((pa.table({"z0": [i, 0.5]}) for i in (1.0, 2.0)), path)
        (4, 1)
        >>> path.read_text().split()
        ['"z0"', '1', '0.5', '2', '0.5']
    """
    check_output(path)
    blocks = iter(blocks)
    first = next(blocks)  # before there is a file, since most faults show up here
    rows = 0
    writer = _writer(path, spreadsheet_safe)
    try:
        with _opened(path) as file, writer(file, first) as write:
            for block in itertools.chain([first], blocks):
                write(block)
                rows += block.num_rows
    except _Unwritable as error:
        raise InputError(f"{path}: {error}") from None
    except BrokenPipeError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: the table cannot be written ({error})") from None
    return rows, first.num_columns


class _Unwritable(Exception):
    """What the table holds cannot be written in this format."""


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    # Opened here, since pyarrow takes no name that is not UTF-8.
    if files.is_stream(path):
        with files.open_stream(path) as stream:
            yield stream
    else:
        with files.replacing(path) as temporary, temporary.open("wb") as file:
            yield file


def _writer(path: Path, spreadsheet_safe: bool) -> _Writer:
    writers: dict[str, _Writer] = {
        ".csv": partial(_csv_writer, None, spreadsheet_safe),
        ".csv.gz": partial(_csv_writer, "gzip", spreadsheet_safe),
        ".csv.bz2": partial(_csv_writer, "bz2", spreadsheet_safe),
        ".csv.zst": partial(_csv_writer, "zstd", spreadsheet_safe),
        ".parquet": _parquet_writer,
        ".feather": _arrow_writer,
        ".arrow": _arrow_writer,
        ".npy": _array_writer,
        ".npz": _npz_writer,
    }
    for suffix, writer in writers.items():
        if path.name.lower().endswith(suffix) and path.suffix:  # not a hidden file called .csv
            if suffix in (".npy", ".npz") and files.is_stream(path):
                raise InputError(f"{path}: an array needs a file; give the name of one, or .csv")
            return writer
    if files.is_stream(path):
        return writers[".csv"]
    raise InputError(f"{path}: cannot write {path.suffix!r}; use {', '.join(writers)}")


@contextlib.contextmanager
def _csv_writer(
    compression: str | None, spreadsheet_safe: bool, file: IO[bytes], first: pa.Table
) -> Iterator[_Write]:
    from pyarrow import csv

    def write(block: pa.Table) -> None:
        # Block by block: the text of a gap may give a column another type than it had before.
        cells = csv_cells(block, spreadsheet_safe=spreadsheet_safe)
        csv.write_csv(cells, stream, csv.WriteOptions(include_header=False))

    with contextlib.ExitStack() as stack:
        stream: Any = file
        if compression is not None:
            stream = stack.enter_context(pa.CompressedOutputStream(file, compression))
        header = csv_cells(first.slice(0, 0), spreadsheet_safe=spreadsheet_safe)
        csv.write_csv(header, stream)
        yield write


@contextlib.contextmanager
def _parquet_writer(file: IO[bytes], first: pa.Table) -> Iterator[_Write]:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(file, first.schema) as writer:
        yield writer.write_table


@contextlib.contextmanager
def _arrow_writer(file: IO[bytes], first: pa.Table) -> Iterator[_Write]:
    # Arrow's own file format, which is version 2 of Feather.
    options = pa.ipc.IpcWriteOptions(compression="lz4", unify_dictionaries=True)
    with pa.ipc.new_file(file, first.schema, options=options) as writer:
        yield writer.write_table


@contextlib.contextmanager
def _npz_writer(file: IO[bytes], first: pa.Table) -> Iterator[_Write]:
    # A member's header tells its number of rows and cannot be written after them: the array is made
    # beside the archive, and then copied into it as np.savez would.
    with tempfile.TemporaryFile(dir=os.path.dirname(file.name)) as array:
        with _array_writer(array, first) as write:
            yield write
        array.seek(0)
        with (
            zipfile.ZipFile(file, "w") as archive,
            archive.open("X.npy", "w", force_zip64=True) as member,
        ):
            shutil.copyfileobj(array, member, 1 << 20)


@contextlib.contextmanager
def _array_writer(file: IO[bytes], first: pa.Table) -> Iterator[_Write]:
    dtype, columns = _matrix(first).dtype, first.num_columns
    rows = 0

    def write(block: pa.Table) -> None:
        nonlocal rows
        matrix = _matrix(block)
        if not np.can_cast(matrix.dtype, dtype, "safe"):
            raise _Unwritable(f"later rows are {matrix.dtype} and the first {dtype}")
        _check_exact(block, dtype)
        file.write(np.ascontiguousarray(matrix, dtype).data)
        rows += len(matrix)

    _write_header(file, (0, columns), dtype)
    yield write
    # numpy leaves room in its header for any number of rows, so that it can be written again.
    file.seek(0)
    _write_header(file, (rows, columns), dtype)


def _write_header(file: IO[bytes], shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
    header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(file, header)


def _matrix(table: pa.Table) -> npt.NDArray[Any]:
    for name in table.column_names:
        kind = table.schema.field(name).type
        is_number = np.issubdtype(kind.to_pandas_dtype(), np.number)  # as a duration is, for NumPy
        if pa.types.is_duration(kind) or not (is_number or pa.types.is_boolean(kind)):
            raise _Unwritable(
                f"column {name!r} is {kind} and an array holds numbers only; write .csv or .parquet"
            )
    return np.column_stack([column.to_numpy() for column in table.columns])


def _check_exact(table: pa.Table, dtype: np.dtype[Any]) -> None:
    """Raises an _Unwritable if the array's dtype would round integers, such as long ids."""
    for name in table.column_names:
        if not pa.types.is_integer(table[name].type):
            continue
        try:
            table[name].cast(pa.from_numpy_dtype(dtype))
        except pa.ArrowInvalid:
            raise _Unwritable(
                f"column {name!r} has integers that an array of {dtype} may round; write .csv or "
                ".parquet"
            ) from None
