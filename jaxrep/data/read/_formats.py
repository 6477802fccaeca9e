"""The reader of each format, with one message for files that are broken."""

import zlib
from collections.abc import Callable, Collection, Iterator

import pyarrow as pa

from jaxrep.errors import InputError

from ._arrow_files import arrow_schema, read_arrow
from ._csv import csv_schema, read_csv
from ._files import TableFile
from ._numpy import read_npy, read_npz
from ._parquet import parquet_schema, read_parquet

_Reader = Callable[[TableFile, Collection[str] | None, Callable[[str], None]], Iterator[pa.Table]]
_READERS: dict[str, _Reader] = {
    "CSV": read_csv,
    "Parquet": read_parquet,
    "Arrow": read_arrow,
    "npy": read_npy,
    "npz": read_npz,
}
SCHEMAS: dict[str, Callable[[TableFile], pa.Schema]] = {
    "CSV": csv_schema,
    "Parquet": parquet_schema,
    "Arrow": arrow_schema,
}
"""How to read the columns of the formats of which a folder may be."""

_FAULTS = (pa.ArrowException, OSError, EOFError, zlib.error, UnicodeError)


def pieces(
    file: TableFile, columns: Collection[str] | None, note: Callable[[str], None]
) -> Iterator[pa.Table]:
    """Reads a file's table in pieces of any length.

    Raises:
        InputError: the file is broken, or as its format's reader.
    """
    try:
        yield from _READERS[file.format](file, columns, note)
    except _FAULTS as error:
        raise _broken(file, error) from None


def schema(file: TableFile) -> pa.Schema:
    """Returns the columns of a file of one of the formats in `SCHEMAS`, with their plain types.

    Raises:
        InputError: the file is broken, or as its format's reader.
    """
    try:
        return SCHEMAS[file.format](file)
    except _FAULTS as error:
        raise _broken(file, error) from None


def _broken(file: TableFile, error: Exception) -> InputError:
    if isinstance(error, UnicodeError):
        return InputError(f"{file.source}: a column's name or a text is not UTF-8 ({error})")
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return InputError(f"{file.source}: the file is broken or cannot be read ({reason})")
