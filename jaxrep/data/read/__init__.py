"""Reads tables from files, as they are: text as it is written, other values with their types."""

import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pyarrow as pa

from jaxrep import files
from jaxrep.errors import InputError

from .. import datasets
from .._blocks import in_blocks
from .._names import selected
from ..store._signed import is_prepared
from . import _formats
from ._csv import DELIMITER as DELIMITER
from ._files import STANDARD_INPUT as STANDARD_INPUT
from ._files import find_file
from ._folder import folder_parts, read_folder


def read_blocks(
    source: str,
    *,
    rows: int | None = None,
    columns: Collection[str] | None = None,
    note: Callable[[str], None] = lambda message: None,
) -> Iterator[pa.Table]:
    r"""Reads a table of any length block by block, in memory that does not grow with its rows.

    A column of a CSV is text, every cell exactly as it is written, an empty one ""; quotes around
    cells are removed. The delimiter is the most frequent of comma, semicolon, tab and | in the
    first line. If that line is a row of numbers as those below, the columns are named x0, x1, ….
    Other formats give their own types, dictionaries decoded. Of a .npz the array X is read, or the
    only 2-D one, and beside it the arrays that hold one number or text per row.

    Args:
        source: a path of a CSV (also compressed: .gz, .zst, .bz2), Parquet, Feather, Arrow, .npy or
            .npz file, a folder of files that are read one after another, "-" for standard input, a
            pipe, or a name of `jaxrep.data.NAMES`.
        rows: the rows of every block but the last; by default at most 131,072, fewer where the
            table is wide.
        columns: the only columns to read; those that are not there are ignored. By default all.
        note: hears remarks on how the table was read, each once.

    Yields:
        The blocks in the order of the file, at least one, their columns in its order too.

    Raises:
        InputError: there is no such table, it has no rows, it is broken, or none of `columns` is
            there; once the reading has come to what is wrong. The message says where.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "people.csv"
        >>> _ = path.write_text("age;job\n39;\n 41; clerk\n52;x\n")
        >>> [block.to_pydict() for block in read_blocks(str(path), rows=2, note=print)]
        the delimiter is ';'
        [{'age': ['39', ' 41'], 'job': ['', ' clerk']}, {'age': ['52'], 'job': ['x']}]
    """
    if rows is not None and rows < 1:
        raise ValueError(f"rows is {rows}; a block has at least 1")
    is_empty = True
    for block in in_blocks(_pieces(source, columns, _once(note)), rows):
        is_empty = False
        yield block
    if is_empty:
        raise InputError(f"{source}: the table has no rows")


def read_table(source: str, *, note: Callable[[str], None] = lambda message: None) -> pa.Table:
    """Reads a table whole.

    Args:
        source: as for `read_blocks`, and so the next.
        note: hears remarks on how the table was read.

    Returns:
        The table; its columns are those of `read_blocks`.

    Raises:
        InputError: as `read_blocks`.

    Example:
        >>> read_table("iris").schema.field("target").type
        DataType(string)
    """
    return pa.concat_tables(read_blocks(source, note=note))


class Reading:
    """A table that is read from its beginning each time that it is called.

    Args:
        source: as for `read_blocks`.
        note: hears remarks on how the table was read, of the first time alone.

    Example:
        >>> iris = Reading("iris")
        >>> [sum(block.num_rows for block in iris()) for _ in range(2)]
        [150, 150]
    """

    def __init__(self, source: str, note: Callable[[str], None] = lambda message: None):
        self._source, self._note = source, note

    def __call__(self) -> Iterator[pa.Table]:
        """Begins to read the table."""
        note, self._note = self._note, lambda message: None
        return read_blocks(self._source, note=note)


def digests(source: str) -> dict[str, str]:
    """Returns the SHA-256 of the files that a table is read from, by name; none of a named set.

    The files of a folder are named from the folder on, with slashes.

    Raises:
        InputError: there is no such table, or a file cannot be read.

    Example:
        >>> digests("iris")
        {}
    """
    if source in datasets.NAMES:
        return {}
    if _is_folder(source):
        parts = folder_parts(source, lambda message: None)
        found = {part.path.as_posix(): part.file.path for part in parts}
    else:
        found = {Path(source).name: find_file(source).path}
    try:
        return {_encodable(name): files.sha256(path) for name, path in found.items()}
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror})") from None


def _pieces(
    source: str, columns: Collection[str] | None, note: Callable[[str], None]
) -> Iterator[pa.Table]:
    if source in datasets.NAMES:
        table = datasets.load(source)
        return iter([table.select(selected(table.column_names, columns, source))])
    if _is_folder(source):
        return read_folder(source, columns, note)
    return _formats.pieces(find_file(source), columns, note)


def _is_folder(source: str) -> bool:
    """Says whether a source is a folder that may hold a table's files."""
    if "\0" in source or not os.path.isdir(source):
        return False
    if is_prepared(Path(source)):
        raise InputError(
            f"{source}: a folder that `jaxrep prepare` made, of features and no table; give the "
            "table that it was made from (only training reads such folders)"
        )
    return True


def _once(note: Callable[[str], None]) -> Callable[[str], None]:
    """Returns a `note` that passes on only what is new: the files of a folder are much alike."""
    heard = set()

    def pass_on(message: str) -> None:
        if message not in heard:
            heard.add(message)
            note(message)

    return pass_on


def _encodable(name: str) -> str:
    r"""Returns a name as JSON can hold it, bytes that are not UTF-8 as \udcff."""
    return name.encode("utf-8", "backslashreplace").decode()
