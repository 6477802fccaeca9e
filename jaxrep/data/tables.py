"""Tables in and out of files; in memory a table is a `pyarrow.Table`."""

import dataclasses
import difflib
import os
import stat
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pyarrow as pa

from jaxrep import files
from jaxrep.errors import InputError

from . import datasets
from ._blocks import in_blocks
from ._conform import conform, mark_missing, refuse_infinite
from ._csv import read_csv
from ._infer import infer_type as infer_type
from ._numpy import read_npy, read_npz
from ._parquet import parquet_files, read_parquet, read_parquet_folder
from ._request import Request
from ._signed import is_prepared
from ._writing import check_output as check_output
from ._writing import write_blocks as write_blocks
from ._writing import write_table as write_table

_READERS: dict[str, Callable[[Path, Request], Iterator[pa.Table]]] = {
    ".csv": read_csv,
    ".csv.gz": read_csv,
    ".parquet": read_parquet,
    ".npy": read_npy,
    ".npz": read_npz,
}


def read_table(
    source: str,
    *,
    text_columns: Collection[str] = (),
    numeric_columns: Collection[str] | None = None,
    typed_columns: Collection[str] = (),
    kept_columns: Collection[str] = (),
    na_values: Collection[str] = (),
) -> pa.Table:
    r"""Reads a table from a file, or a named set.

    Every column is float64, or string where it is a text column; a typed column is what its
    values are: string, bool, int64 or float64; a kept column is what it is in the file. Missing
    cells are null (NaN where a .npy says so). In a CSV the empty cell, NA, N/A, NaN, nan, null and
    NULL are missing numbers; in text only the empty cell is missing. Parquet: integers, floats,
    bools and decimals become float64, dates and timestamps float64 seconds since 1970-01-01 UTC (a
    timestamp in nanoseconds keeps about 0.2 µs). Arrays: the columns are named x0, x1, …; of a .npz
    the only array is read, or the one called X. Nothing is ever unpickled.

    Args:
        source: a path that ends in .csv, .csv.gz, .parquet, .npy or .npz, a folder of .parquet
            files, which are read one after another in the order of their names, or a name of
            `jaxrep.data.NAMES`.
        text_columns: the columns to read as text, exactly as they are written.
        numeric_columns: if given, the only columns to read as numbers: all others are text,
            and none need be there. For tables that a fitted preprocessing is applied to,
            since `apply` says which columns are missing or too many.
        typed_columns: the columns, labels for one, to read as what they are. A column of a CSV is
            numbers if all its cells are, written without leading zeros, and text otherwise.
            Infinite numbers are not refused in them.
        kept_columns: the columns, ids for one, to pass through: text exactly as it is written in a
            CSV, and else the type of the file, with dictionaries decoded. No value but the empty
            cell of a CSV is missing in them, whatever `na_values` says, and none is refused.
        na_values: further cells that mean "missing", in text as they are written, in numeric
            columns also by their value.

    Returns:
        The table, its rows and columns in the order of the file; at least one row.

    Raises:
        InputError: the file is missing, unreadable, of an unknown kind, broken or empty, a name
            in `text_columns` is not a column, a cell of a numeric column is text or infinite.
            The message says where.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "people.csv"
        >>> _ = path.write_text("age,job\n39,clerk\n?,\n")
        >>> read_table(str(path), text_columns=["job"], na_values=["?"]).to_pylist()
        [{'age': 39.0, 'job': 'clerk'}, {'age': None, 'job': None}]
    """
    table = pa.concat_tables(
        _pieces(source, text_columns, numeric_columns, typed_columns, kept_columns, na_values)
    )
    for name in () if has_types(source) else set(typed_columns) & set(table.column_names):
        column = infer_type(table[name], na_values)
        table = table.set_column(table.column_names.index(name), name, column)
    return table


def read_blocks(
    source: str,
    *,
    text_columns: Collection[str] = (),
    numeric_columns: Collection[str] | None = None,
    typed_columns: Collection[str] = (),
    kept_columns: Collection[str] = (),
    na_values: Collection[str] = (),
    rows: int | None = None,
) -> Iterator[pa.Table]:
    r"""Reads a table of any length block by block, in memory that does not grow with its rows.

    The blocks one after another are the table that `read_table` reads, but for the typed columns
    of a CSV, which are text: what they are shows when all blocks have been seen (`infer_type`).

    Args:
        source: as for `read_table`, and so the next five.
        text_columns: the columns to read as text.
        numeric_columns: if given, the only columns to read as numbers.
        typed_columns: the columns to read as what their values are.
        kept_columns: the columns to pass through as they are.
        na_values: further cells that mean "missing".
        rows: the rows of every block but the last; by default at most 131,072, fewer where the
            table is wide.

    Yields:
        The blocks, in the order of the file; at least one.

    Raises:
        InputError: as `read_table`, once the reading has come to what is wrong.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "people.csv"
        >>> _ = path.write_text("age\n39\n41\n52\n")
        >>> [block["age"].to_pylist() for block in read_blocks(str(path), rows=2)]
        [[39.0, 41.0], [52.0]]
    """
    if rows is not None and rows < 1:
        raise ValueError(f"rows is {rows}; a block has at least 1")
    yield from in_blocks(
        _pieces(source, text_columns, numeric_columns, typed_columns, kept_columns, na_values),
        rows,
    )


def has_types(source: str) -> bool:
    """Says whether a table's columns have types in its file; those of a CSV are text.

    The label of a named set is text too.

    Example:
        >>> has_types("people.parquet"), has_types("people.csv.gz"), has_types("iris")
        (True, False, False)
    """
    return source not in datasets.NAMES and not source.lower().endswith((".csv", ".csv.gz"))


def digests(source: str) -> dict[str, str]:
    """Returns the SHA-256 of the files that a table is read from, by name; none of a named set.

    Raises:
        InputError: there is no such table, or a file cannot be read.

    Example:
        >>> digests("iris")
        {}
    """
    if source in datasets.NAMES:
        return {}
    _reader(source)
    path = Path(source) if os.path.isdir(source) else _readable(source)
    found = parquet_files(path) if path.is_dir() else [path]
    try:
        return {file.name: files.sha256(file) for file in found}
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror})") from None


def _pieces(
    source: str,
    text_columns: Collection[str],
    numeric_columns: Collection[str] | None,
    typed_columns: Collection[str],
    kept_columns: Collection[str],
    na_values: Collection[str],
) -> Iterator[pa.Table]:
    """Yields a table in pieces of any length, as its reader comes by them."""
    request = Request(
        source,
        frozenset(text_columns),
        None if numeric_columns is None else frozenset(numeric_columns),
        frozenset(na_values),
        frozenset(typed_columns),
        frozenset(kept_columns),
    )
    rows = 0
    for piece in _named(request) if source in datasets.NAMES else _file(request):
        marked = mark_missing(piece, request)
        spared = request.typed_columns | request.kept_columns
        found = marked.select([name for name in marked.column_names if name not in spared])
        refuse_infinite(found, source, before=rows)
        rows += piece.num_rows
        yield marked
    if not rows:
        raise InputError(f"{source}: the table has no rows")


def _named(request: Request) -> Iterator[pa.Table]:
    label = datasets.LABELS[request.source]
    text = request.text_columns | {label}
    table = datasets.load(request.source)
    yield conform(table, dataclasses.replace(request, text_columns=text))


def _file(request: Request) -> Iterator[pa.Table]:
    source = request.source
    reader = _reader(source)
    path = Path(source) if reader is read_parquet_folder else _readable(source)
    try:
        yield from reader(path, request)
    except UnicodeDecodeError as error:
        raise InputError(f"{source}: a column's name or a text is not UTF-8 ({error})") from None
    except (pa.ArrowException, OSError, EOFError, zlib.error) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{source}: the file is broken or cannot be read ({reason})") from None


def _reader(source: str) -> Callable[[Path, Request], Iterator[pa.Table]]:
    if os.path.isdir(source):
        return _folder_reader(source)
    for suffix, reader in _READERS.items():
        if source.lower().endswith(suffix):
            return reader
    raise InputError(
        f"{source}: neither a file of a known kind ({', '.join(_READERS)}) "
        f"nor a named set ({', '.join(datasets.NAMES)}){_nearest(source)}"
    )


def _folder_reader(source: str) -> Callable[[Path, Request], Iterator[pa.Table]]:
    if is_prepared(Path(source)):
        raise InputError(
            f"{source}: a folder that `jaxrep prepare` made, of features and no table; give the "
            "table that it was made from (only training reads such folders)"
        )
    try:
        if parquet_files(Path(source)):
            return read_parquet_folder
    except OSError as error:
        raise InputError(f"{source}: the folder cannot be read ({error.strerror})") from None
    raise InputError(f"{source}: a folder, and there is no .parquet file in it")


def _nearest(source: str) -> str:
    name = source.lower()
    near = difflib.get_close_matches(name, datasets.NAMES, n=1) or difflib.get_close_matches(
        Path(name).suffix, _READERS, n=1
    )
    return f"; did you mean {near[0]}?" if near else ""


def _readable(source: str) -> Path:
    path = Path(source)
    if "\0" in source:
        raise InputError(f"{source!r}: a path cannot contain a zero byte")
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise InputError(f"{source}: not a regular file")
        path.open("rb").close()
    except FileNotFoundError:
        raise InputError(f"{source}: no such file") from None
    except OSError as error:
        raise InputError(f"{source}: the file cannot be opened ({error.strerror})") from None
    if not status.st_size:
        raise InputError(f"{source}: the file is empty")
    return path
