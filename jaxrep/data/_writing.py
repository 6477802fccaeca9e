"""Writes tables, block by block, whole or not at all."""

import contextlib
import itertools
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
import pyarrow.compute as pc
from numpy.lib import format as npy

from jaxrep import files
from jaxrep.errors import InputError

from ._conform import is_text

_Write = Callable[[pa.Table], None]
_Writer = Callable[[Path, pa.Table], AbstractContextManager[_Write]]

_FORMULA = r"^[=+\-@\t\r]"
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"


def check_output(path: Path) -> None:
    """Checks that a table could be written to `path`, so that a command can fail before work.

    Args:
        path: the file to be written; it may exist, its folder must.

    Raises:
        InputError: the suffix is unknown, `path` is a folder, or its folder is missing or
            cannot be written.

    Example:
        >>> check_output(Path("z.txt"))
        Traceback (most recent call last):
        ...
        jaxrep.errors.InputError: z.txt: cannot write '.txt'; use .csv, .csv.gz, .parquet, \
.feather, .npy, .npz
    """
    _writer(path, spreadsheet_safe=False)
    files.check_writable(path)


def write_table(table: pa.Table, path: Path, *, spreadsheet_safe: bool = False) -> None:
    """Writes a table as .csv, .csv.gz, .parquet, .feather, .npy or .npz, by the suffix of `path`.

    Numbers keep their precision: in CSV each is written with the fewest digits that read back
    as the same value of its type, bools as 0 and 1. Text, names of columns included, is written
    as it is. Arrays hold the columns side by side, missing values as NaN; in a .npz the array is
    called X.

    Args:
        table: the table.
        path: the file to write; one that exists is replaced once the new one is whole.
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
            if one cannot be made or written, nothing is left behind and an earlier file stays.
        spreadsheet_safe: as for `write_table`.

    Returns:
        The numbers of rows and columns.

    Raises:
        InputError: as `write_table`.

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
        with files.replacing(path) as temporary, writer(temporary, first) as write:
            for block in itertools.chain([first], blocks):
                write(block)
                rows += block.num_rows
    except _Unwritable as error:
        raise InputError(f"{path}: {error}") from None
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: the table cannot be written ({error})") from None
    return rows, first.num_columns


class _Unwritable(Exception):
    """What the table holds cannot be written in this format."""


def _writer(path: Path, spreadsheet_safe: bool) -> _Writer:
    writers: dict[str, _Writer] = {
        ".csv": partial(_csv_writer, None, spreadsheet_safe),
        ".csv.gz": partial(_csv_writer, "gzip", spreadsheet_safe),
        ".parquet": _parquet_writer,
        ".feather": _feather_writer,
        ".npy": _npy_writer,
        ".npz": _npz_writer,
    }
    for suffix, writer in writers.items():
        if path.name.lower().endswith(suffix) and path.suffix:  # not a hidden file called .csv
            return writer
    raise InputError(f"{path}: cannot write {path.suffix!r}; use {', '.join(writers)}")


@contextlib.contextmanager
def _csv_writer(
    compression: str | None, spreadsheet_safe: bool, path: Path, first: pa.Table
) -> Iterator[_Write]:
    from pyarrow import csv

    prepare = partial(_csv_table, spreadsheet_safe=spreadsheet_safe)
    with (
        pa.output_stream(str(path), compression=compression) as stream,
        csv.CSVWriter(stream, prepare(first).schema) as writer,
    ):
        yield lambda block: writer.write_table(prepare(block))


def _csv_table(table: pa.Table, *, spreadsheet_safe: bool) -> pa.Table:
    columns = [_csv_column(column, table.num_columns) for column in table.columns]
    names = pa.array(table.column_names, pa.string())
    if spreadsheet_safe:
        columns = [_neutralised(c) if c.type == pa.string() else c for c in columns]
        names = _neutralised(names)
    return pa.table(columns, names=names.to_pylist())


def _csv_column(column: Any, columns: int) -> Any:
    if is_text(column.type):
        # Written as "", which is read as missing again; a bare empty line would be no row.
        return pc.fill_null(column.cast(pa.string()), "")
    if columns == 1 and pa.types.is_floating(column.type):
        return pc.fill_null(column, float("nan"))  # likewise
    return column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column


def _neutralised(text: Any) -> Any:
    risky = pc.and_not(
        pc.match_substring_regex(text, _FORMULA), pc.match_substring_regex(text, _NUMBER)
    )
    return pc.if_else(risky, pc.binary_join_element_wise("'", text, ""), text)


@contextlib.contextmanager
def _parquet_writer(path: Path, first: pa.Table) -> Iterator[_Write]:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, first.schema) as writer:
        yield writer.write_table


@contextlib.contextmanager
def _feather_writer(path: Path, first: pa.Table) -> Iterator[_Write]:
    # Version 2 of Feather, which is Arrow's own file format.
    options = pa.ipc.IpcWriteOptions(compression="lz4", unify_dictionaries=True)
    with pa.ipc.new_file(str(path), first.schema, options=options) as writer:
        yield writer.write_table


@contextlib.contextmanager
def _npy_writer(path: Path, first: pa.Table) -> Iterator[_Write]:
    with path.open("wb") as file, _array_writer(file, first) as write:
        yield write


@contextlib.contextmanager
def _npz_writer(path: Path, first: pa.Table) -> Iterator[_Write]:
    # A member's header tells its number of rows and cannot be written after them: the array is made
    # beside the archive, and then copied into it as np.savez would.
    with tempfile.TemporaryFile(dir=path.parent) as array:
        with _array_writer(array, first) as write:
            yield write
        array.seek(0)
        with (
            zipfile.ZipFile(path, "w") as archive,
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
