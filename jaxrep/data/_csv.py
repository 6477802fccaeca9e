"""Reads CSV with pyarrow, and finds out what was wrong with a file that pyarrow refuses."""

import codecs
import csv
import gzip
import io
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as pacsv

from jaxrep.errors import InputError

from ._conform import without_empty
from ._request import MISSING, Request, check_count, not_a_number

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|[+-]?inf", re.IGNORECASE)
_BLOCK = 1 << 20
_LONGEST_HEADER = 1 << 25


def read_csv(path: Path, request: Request) -> Iterator[pa.Table]:
    """Reads a .csv or .csv.gz file whose first line names the columns, piece by piece.

    Raises:
        InputError: no header, no rows, or a row or cell that cannot be read; see `read_table`.
    """
    names = _header(path, request.source)
    reading = _Reading(path, request, names)
    try:
        yield from reading.pieces()
    except pa.ArrowInvalid as error:
        raise reading.fault(error) from None


def _header(path: Path, source: str) -> list[str]:
    try:
        with io.TextIOWrapper(_opened(path), encoding="utf-8-sig", newline="") as text:
            names = next(csv.reader(_short_lines(text, source)), None)
            has_rows = any(part.strip("\r\n") for part in iter(lambda: text.read(_BLOCK), ""))
    except UnicodeDecodeError:
        raise _encoding_fault(path, source) or AssertionError from None
    except csv.Error as error:
        raise InputError(f"{source}: the header cannot be read ({error})") from None
    if not names:
        raise InputError(f"{source}: the first line is empty; it must name the columns")
    _check_header(names, source)
    if not has_rows:
        raise InputError(f"{source}: the file has a header but no rows")
    return names


def _short_lines(text: io.TextIOBase, source: str) -> Iterator[str]:
    """Yields lines, but none that is longer than a header can be: it may never end."""
    while line := text.readline(_LONGEST_HEADER):
        if len(line) == _LONGEST_HEADER:
            raise InputError(f"{source}: the first line is too long for names of columns")
        check_count(line.count(",") + 1, source)
        yield line


def _check_header(names: list[str], source: str) -> None:
    if all(_NUMBER.fullmatch(name.strip()) for name in names):
        raise InputError(
            f"{source}: the file has no header line (its first line is numbers, "
            f"{','.join(names[:5])}…); add one that names the columns"
        )
    if len(names) == 1 and (";" in names[0] or "\t" in names[0]):
        raise InputError(
            f"{source}: the header {names[0][:60]!r} has no comma in it; "
            "save the table with commas between the cells"
        )


class _Reading:
    """One CSV file, how pyarrow is to read it, and the search for a fault in it."""

    def __init__(self, path: Path, request: Request, names: list[str]):
        text = request.text_among(names)
        self.path = path
        self.source = request.source
        self.kept = request.kept_columns
        self.numeric = [name for name in names if name not in text]
        self.types = {name: pa.string() if name in text else pa.float64() for name in names}
        # pyarrow allows blanks around a number, so one is allowed around a missing value too.
        words = {*MISSING, *request.na_values}
        self.missing = sorted(
            {a + word + b for word in words for a in ("", " ") for b in ("", " ")}
        )
        # A block must hold at least one whole row, and wide tables have long ones.
        self.block_size = max(_BLOCK, 256 * len(names), 4 * sum(map(len, names)))

    def pieces(self) -> Iterator[pa.Table]:
        """Yields the table in pieces of a block of bytes, read by all threads."""
        with _stream(self.path) as stream:
            for batch in pacsv.open_csv(stream, **self._options(self.types)):
                yield without_empty(pa.Table.from_batches([batch]), self.kept)

    def fault(self, error: Exception) -> InputError:
        """Returns the error that says where the file is wrong, found by reading it again."""
        return (
            _encoding_fault(self.path, self.source)
            or self._ragged_row()
            or self._bad_cell()
            or InputError(
                f"{self.source}: not readable as CSV, perhaps since a quote is not closed "
                f"({str(error).splitlines()[0]})"
            )
        )

    def _options(self, types: dict[str, Any], on_ragged: Any = None) -> dict[str, Any]:
        return {
            # pyarrow counts rows only when it reads without threads.
            "read_options": pacsv.ReadOptions(
                block_size=self.block_size, use_threads=on_ragged is None
            ),
            # In a table of one column an empty line is an empty cell.
            "parse_options": pacsv.ParseOptions(
                newlines_in_values=True,
                ignore_empty_lines=len(self.types) > 1,
                invalid_row_handler=on_ragged,
            ),
            "convert_options": pacsv.ConvertOptions(
                column_types=types, include_columns=list(types), null_values=self.missing
            ),
        }

    def _ragged_row(self) -> InputError | None:
        ragged: list[Any] = []

        def note(row: Any) -> str:
            ragged.append(row)
            return "error"

        deque(self._text_batches(list(self.types), note), maxlen=0)
        if not ragged:
            return None
        row = ragged[0]
        return InputError(
            f"{self.source}: data row {row.number - 1}: cells: {row.actual_columns}, but columns "
            f"in the header: {row.expected_columns}; correct the row, or put quotes around a cell "
            "with a comma in it"
        )

    def _bad_cell(self) -> InputError | None:
        before = 0
        for batch in self._text_batches(self.numeric):
            found = [(self._first_bad(batch[name]), name) for name in self.numeric]
            index, name = min(found, key=lambda pair: pair[0])
            if index < batch.num_rows:
                value = batch[name][index].as_py()
                return not_a_number(self.source, name, before + index + 1, value)
            before += batch.num_rows
        return None

    def _text_batches(self, names: list[str], on_ragged: Any = None) -> Iterator[Any]:
        options = self._options(dict.fromkeys(names, pa.string()), on_ragged)
        try:
            with _stream(self.path) as stream:
                yield from pacsv.open_csv(stream, **options)
        except pa.ArrowInvalid:
            return  # the file has another fault than the one looked for

    def _first_bad(self, cells: Any) -> int:
        """Returns the index of the first cell that is neither a number nor missing."""
        missing = pc.is_in(cells, value_set=pa.array(self.missing))
        trimmed = pc.ascii_trim(cells, characters=" \t")
        cells = pc.if_else(missing, pa.scalar(None, pa.string()), trimmed)
        if _castable(cells):
            return len(cells)
        good, bad = 0, len(cells)
        while bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if _castable(cells[good:middle]) else (good, middle)
        return good


def _castable(cells: Any) -> bool:
    try:
        cells.cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _encoding_fault(path: Path, source: str) -> InputError | None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    number = 1
    with _opened(path) as stream:  # not by lines, which are of any length and number
        while part := stream.read(_BLOCK):
            if fault := _decoding_fault(decoder, part, number, source):
                return fault
            number += part.count(b"\n")
    return _decoding_fault(decoder, b"", number, source)


def _decoding_fault(
    decoder: codecs.IncrementalDecoder, part: bytes, line: int, source: str
) -> InputError | None:
    """Decodes the bytes after the last, or the end where there are none; they begin in `line`."""
    try:
        decoder.decode(part, final=not part)
    except UnicodeDecodeError as error:
        line += error.object.count(b"\n", 0, error.start)
        return InputError(
            f"{source}: line {line} is not UTF-8 (byte 0x{error.object[error.start]:02x}); "
            "save the file as UTF-8"
        )
    return None


def _opened(path: Path) -> BinaryIO:
    """Opens a file for Python's own reading of its bytes, decompressing .gz."""
    return cast(BinaryIO, gzip.GzipFile(path)) if _is_gzip(path) else path.open("rb")


def _stream(path: Path) -> Any:
    """Opens a file for pyarrow's reading, decompressing .gz."""
    return pa.input_stream(str(path), compression="gzip" if _is_gzip(path) else None)


def _is_gzip(path: Path) -> bool:
    return path.name.lower().endswith(".gz")
