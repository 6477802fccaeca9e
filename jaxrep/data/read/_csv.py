"""Reads CSV as text with pyarrow, and finds out what is wrong with a file that pyarrow refuses."""

import codecs
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv as pacsv

from jaxrep.errors import InputError

from .._arrow import to_arrow
from .._names import check_names, selected
from ._csv_header import Header, read_header
from ._files import TableFile

_BLOCK = 1 << 20
_LARGE_BLOCK = 1 << 26  # for files with rows longer than a block
_TAIL = 1 << 16
_UNNAMED = "unnamed_0"
DELIMITER = b"delimiter"
"""The delimiter's key in the metadata of a table: what a comma in a number means depends on it."""


def csv_schema(file: TableFile) -> pa.Schema:
    """Returns the columns of a CSV, all of them text.

    Raises:
        InputError: the first line is empty, or names of columns are missing or stand twice.
    """
    return pa.schema([(name, pa.string()) for name in _Reading(file).names])


def read_csv(
    file: TableFile, columns: Collection[str] | None, note: Callable[[str], None]
) -> Iterator[pa.Table]:
    """Reads a CSV piece by piece, every cell as it is written.

    Raises:
        InputError: as `csv_schema`, or a row that cannot be read.
    """
    reading = _Reading(file)
    for remark in reading.notes:
        note(remark)
    return reading.pieces(selected(reading.names, columns, file.source))


class _Reading:
    """One CSV file, how pyarrow is to read it, and the search for a fault in it."""

    def __init__(self, file: TableFile):
        self.file = file
        self.source = file.source
        try:
            self.header: Header = read_header(file)
        except UnicodeDecodeError:
            raise _encoding_fault(file) or AssertionError from None
        names = self.header.names
        # A block must hold at least one whole row, and wide tables have long ones.
        self.block_size = max(_BLOCK, 256 * len(names), 4 * sum(map(len, names)))
        self.notes = list(self.header.notes)
        self.names = self._names()

    def _names(self) -> list[str]:
        """Returns the names of the columns, without an index that pandas has written."""
        first, *others = self.header.names
        if first:
            return [first, *others]
        if self._counts_up():
            self.notes.append("the first column, 0, 1, 2, … without a name, is not read")
            return others
        self.notes.append(f"the first column has no name; it is called {_UNNAMED}")
        check_names([_UNNAMED, *others], self.source)
        return [_UNNAMED, *others]

    def _counts_up(self) -> bool:
        """Says whether the first column counts from 0 on in the first piece."""
        try:
            batch = next(self._batches([""], self.block_size), None)
        except pa.ArrowInvalid:
            return False  # the reading will find the fault
        if batch is None or not batch.num_rows:
            return False
        counted = to_arrow(np.arange(batch.num_rows)).cast(pa.string())
        return bool(batch.column(0).equals(counted))

    def pieces(self, names: list[str]) -> Iterator[pa.Table]:
        """Yields the columns `names` in pieces of a block of bytes, read by all threads."""
        if not self.header.has_rows:
            return
        last = self.header.names[-1]  # a quote that is not closed ends there
        included = ["" if name == _UNNAMED and not self._has_unnamed() else name for name in names]
        wanted = included if last in included else [*included, last]
        rows, cell = 0, ""
        for batch in self._all_batches(wanted):
            table = pa.Table.from_batches([batch]).select(included).rename_columns(names)
            table = table.replace_schema_metadata({DELIMITER: self.header.delimiter})
            rows += batch.num_rows
            if batch.num_rows:
                cell = batch.column(wanted.index(last))[-1].as_py()
            yield table
        if _ends_in_quotes(self.file, cell, self.header.delimiter):
            raise InputError(
                f"{self.source}: row {rows - 1} (from 0): a quote is not closed before the end of "
                "the file; close it, or write quotes within a cell twice"
            )

    def _has_unnamed(self) -> bool:
        return _UNNAMED in self.header.names

    def _all_batches(self, names: list[str]) -> Iterator[Any]:
        """Yields the record batches, in larger blocks from the first row that is too long on."""
        rows = 0
        for block_size in (self.block_size, max(_LARGE_BLOCK, self.block_size)):
            before = rows
            try:
                for batch in self._batches(names, block_size):
                    known = min(before, batch.num_rows)
                    before -= known
                    rows += batch.num_rows - known
                    yield batch.slice(known)
                return
            except pa.ArrowInvalid as error:
                if "straddling" not in str(error) or block_size >= _LARGE_BLOCK:
                    raise self._fault(error, rows) from None

    def _batches(self, names: list[str], block_size: int, on_ragged: Any = None) -> Iterator[Any]:
        # No stream of Python's: a thread that read from one while Python ends, after a fault in the
        # table say, would abort the process.
        with self.file.open() as stream:
            yield from pacsv.open_csv(
                stream,
                read_options=pacsv.ReadOptions(
                    block_size=block_size,
                    column_names=list(self.header.names),
                    skip_rows_after_names=self.header.lines,
                    use_threads=on_ragged is None,  # pyarrow counts rows only without threads
                ),
                parse_options=pacsv.ParseOptions(
                    delimiter=self.header.delimiter,
                    newlines_in_values=True,
                    # In a table of one column an empty line is an empty cell.
                    ignore_empty_lines=len(self.header.names) > 1,
                    invalid_row_handler=on_ragged,
                ),
                convert_options=pacsv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()),
                    include_columns=names,
                    null_values=[],
                ),
            )

    def _fault(self, error: Exception, rows: int) -> InputError:
        """Returns the error that says where the file is wrong, found by reading it again."""
        return (
            _encoding_fault(self.file)
            or self._ragged_row()
            or InputError(
                f"{self.source}: row {rows} (from 0) or one soon after: not readable as CSV, "
                f"perhaps since a quote is not closed ({str(error).splitlines()[0]})"
            )
        )

    def _ragged_row(self) -> InputError | None:
        ragged: list[Any] = []

        def keep(row: Any) -> str:
            ragged.append(row)
            return "error"

        try:
            for _ in self._batches([self.header.names[0]], self.block_size, keep):
                pass
        except pa.ArrowInvalid:
            pass
        if not ragged:
            return None
        row, mark = ragged[0], {",": "comma", "\t": "tab"}
        delimiter = mark.get(self.header.delimiter, repr(self.header.delimiter))
        there = "in the header" if self.header.lines else "in the first row"
        number = row.number - self.header.lines - 1
        title = "" if number > 0 else "; if the first line is a title, remove it"
        if number == 0 and row.actual_columns == row.expected_columns + 1:
            title = (
                "; if the first column has R's row names, write the table with row.names = FALSE"
            )
        return InputError(
            f"{self.source}: row {number} (from 0): cells: {row.actual_columns}, but columns "
            f"{there}: {row.expected_columns}; correct the row, or put quotes around a cell with a "
            f"{delimiter} in it{title}"
        )


def _ends_in_quotes(file: TableFile, cell: str, delimiter: str) -> bool:
    """Says whether a file whose last cell this is ends within quotes: pyarrow takes it.

    A packed file is read again for this, and only if the cell has swallowed the end of a line.
    """
    has_line_end = "\n" in cell or "\r" in cell
    if file.compression and not has_line_end:
        return False
    end, raw = _end(file), b'"' + cell.replace('"', '""').encode()
    if len(raw) >= len(end):
        return has_line_end and raw.endswith(end)
    if not end.endswith(raw):
        return False
    before = end[: -len(raw)][-1:]
    return before in (delimiter.encode(), b"\n", b"\r")


def _end(file: TableFile) -> bytes:
    """Returns the last bytes of a file, decompressed."""
    with file.open() as stream:
        if not file.compression:
            stream.seek(max(stream.size() - _TAIL, 0))
            return bytes(stream.read())
        end = b""
        while part := stream.read(_BLOCK):
            end = (end + part)[-_TAIL:]
        return end


def _encoding_fault(file: TableFile) -> InputError | None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    with file.open() as stream:  # not by lines, which are of any length and number
        while True:
            part = stream.read(_BLOCK)
            try:
                decoder.decode(part, final=not part)
            except UnicodeDecodeError as error:
                line += error.object.count(b"\n", 0, error.start)
                return InputError(
                    f"{file.source}: line {line} is not UTF-8 (byte "
                    f"0x{error.object[error.start]:02x}); save the file as UTF-8"
                )
            if not part:
                return None
            line += part.count(b"\n")
