"""The first line of a CSV: the delimiter, the names of the columns, and whether it has them."""

import codecs
import csv
import io
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxrep.errors import InputError

from .._messages import joined
from .._names import BLANKS, check_count, check_names
from ._files import TableFile

_DELIMITERS = ",;\t|"
_QUOTED = re.compile(rf'(?:\A|(?<=[{re.escape(_DELIMITERS)}\r\n]))"[^"]*+(?:""[^"]*+)*+("?)')
_LINE_END = re.compile(r"[\r\n]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NUMBER_WITH_COMMA = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"\d{1,18}", re.ASCII)
_MISSING = frozenset(
    {"", "?", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND"}
    | {"1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"}
)
_YEARS = range(1000, 3000)
_PREFIX = 1 << 16
_LONGEST = 1 << 25
_SAMPLE_ROWS, _SAMPLE_CELLS = 100, 1 << 20


@dataclass(frozen=True)
class Header:
    """How a CSV is to be read, from its beginning."""

    names: tuple[str, ...]
    """Of all columns; "" for a first one without a name."""

    delimiter: str
    lines: int
    """1 if the first line names the columns, 0 if it is data."""

    has_rows: bool
    notes: tuple[str, ...]


def read_header(file: TableFile) -> Header:
    """Finds out a CSV's delimiter and its columns' names.

    Raises:
        InputError: the first line is empty, too long, or no names of columns.
        UnicodeDecodeError: the beginning is not UTF-8.
    """
    text, end, is_whole = _beginning(file)
    record, rest = text[:end], text[end:]
    if not record.strip("\r\n"):
        raise InputError(f"{file.source}: the first line is empty; it must name the columns")
    delimiter = _delimiter(record, rest[: _record_end(rest, _first_row(rest))])
    cells = _cells(record, delimiter)
    check_count(len(cells), file.source)
    rows = _rows(rest, delimiter, is_whole)
    first = [cell.strip(BLANKS) for cell, _ in cells]
    notes = [] if delimiter == "," or len(cells) == 1 else [f"the delimiter is {delimiter!r}"]
    is_data = _is_data(first, [row for row in rows if len(row) == len(first)], delimiter, notes)
    if is_data:
        names = tuple(f"x{i}" for i in range(len(cells)))
        notes.append(f"no header line: {_named(names)}")
    else:
        names = _names(cells, file.source)
    has_rows = is_data or bool(rest.strip("\r\n"))
    return Header(names, delimiter, int(not is_data), has_rows, tuple(notes))


def _beginning(file: TableFile) -> tuple[str, int, bool]:
    """Returns the first rows, where the first ends, and whether these are the whole file."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    text, size = "", _PREFIX
    with file.open() as stream:
        while True:
            part = stream.read(size)
            text += decoder.decode(part, final=not part)
            end = _record_end(text, 0)
            if not part:
                break
            if end is not None and _has_second(text, end):
                return text, end, False
            if len(text) >= _LONGEST:
                if end is not None:
                    return text, end, False
                raise InputError(
                    f"{file.source}: the first line is too long for names of columns; "
                    "perhaps a quote in it is not closed"
                )
            size = len(text)
    if end is None and _is_unclosed(text):
        raise InputError(f"{file.source}: a quote in the first line is not closed; close it")
    return text, len(text) if end is None else end, True


def _has_second(text: str, end: int) -> bool:
    is_long = len(text) - end >= _PREFIX // 2
    return is_long and _record_end(text, _first_row(text, end)) is not None


def _first_row(text: str, end: int = 0) -> int:
    """Returns where the first row begins that is not empty, behind the end of a row."""
    found = re.compile(r"[^\r\n]").search(text, end)
    return found.start() if found else len(text)


def _record_end(text: str, start: int) -> int | None:
    """Returns where the row that begins at `start` ends: at the first line end outside quotes."""
    at = start
    for quoted in _QUOTED.finditer(text, start):
        if found := _LINE_END.search(text, at, quoted.start()):
            return found.start()
        if not quoted[1]:
            return None
        at = quoted.end()
    found = _LINE_END.search(text, at)
    return found.start() if found else None


def _is_unclosed(text: str) -> bool:
    return any(not quoted[1] for quoted in _QUOTED.finditer(text))


def _delimiter(record: str, second: str) -> str:
    """Returns the most frequent delimiter of the first row, the comma where none is.

    In a title above the table a mark may stand that is not the delimiter of the rows below.
    """
    first, second = _QUOTED.sub("", record), _QUOTED.sub("", second)
    below = [mark for mark in _DELIMITERS if mark in second]
    for mark in {";", "\t"}.intersection(first, below):
        if all(_NUMBER_WITH_COMMA.fullmatch(cell.strip(BLANKS)) for cell in first.split(mark)):
            return mark  # the commas are decimal ones
    return max(below or _DELIMITERS, key=first.count)


def _cells(record: str, delimiter: str) -> list[tuple[str, bool]]:
    """Returns the cells of a row, each with whether it is in quotes."""
    other = f"[^{re.escape(delimiter)}]*"
    pattern = re.compile(rf'(?:"([^"]*(?:""[^"]*)*)"{other}|({other}))(?:{re.escape(delimiter)}|$)')
    cells, at = [], 0
    while at <= len(record):
        found = pattern.match(record, at)
        if found is None:  # a quote within a quoted cell: of no importance to names
            break
        is_quoted = found[2] is None
        cells.append((found[1].replace('""', '"') if is_quoted else found[2], is_quoted))
        if found.end() == len(record) and not found[0].endswith(delimiter):
            break
        at = found.end()
    return cells


def _rows(rest: str, delimiter: str, is_whole: bool) -> list[list[str]]:
    """Returns the first rows of data, for a look at them."""
    rows: list[list[str]] = []
    cells = 0
    reader = csv.reader(io.StringIO(rest, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            if row:
                rows.append([cell.strip(BLANKS) for cell in row])
                cells += len(row)
            if len(rows) > _SAMPLE_ROWS or cells > _SAMPLE_CELLS:
                return rows
    except csv.Error:
        return rows
    return rows if is_whole else rows[:-1]  # the last one may be cut


def _is_data(
    first: Sequence[str], rows: Sequence[Sequence[str]], delimiter: str, notes: list[str]
) -> bool:
    """Says whether the first line is a row of numbers as those that follow, and no names."""
    number: Any = _NUMBER if delimiter == "," else _NUMBER_WITH_COMMA
    numbers = [cell for cell in first if number.fullmatch(cell)]
    if not numbers or not rows:
        return False
    agrees = False
    for cell, *column in zip(first, *rows, strict=True):
        values = [value for value in column if value not in _MISSING]
        if not values or not all(map(number.fullmatch, values)):
            continue
        if number.fullmatch(cell):
            agrees = True
        elif cell not in _MISSING:
            return False
    if agrees and _are_names(numbers):
        notes.append(
            f"the first line is read as names of columns, {joined(numbers)} too; if it is data, "
            "add a header line"
        )
        return False
    return agrees


def _are_names(numbers: Sequence[str]) -> bool:
    """Says whether numbers head the columns of a pivot table: years, or others that count up."""
    if not all(map(_WHOLE.fullmatch, numbers)):
        return False
    values = [int(number) for number in numbers]
    if len(values) == 1:
        return values[0] in _YEARS
    return all(a < b for a, b in itertools.pairwise(values))


def _names(cells: Sequence[tuple[str, bool]], source: str) -> tuple[str, ...]:
    """Returns the names, trimmed if that leaves them all different and none empty."""
    written = [cell for cell, _ in cells]
    trimmed = [cell if is_quoted else cell.strip(BLANKS) for cell, is_quoted in cells]
    has_index = not trimmed[0] and len(cells) > 1
    checked = trimmed[has_index:]
    names = trimmed if all(checked) and len(set(checked)) == len(checked) else written
    check_names(["\0", *names[1:]] if has_index else names, source)
    return ("", *names[1:]) if has_index else tuple(names)


def _named(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"the column is named {names[0]}"
    return f"the columns are named {names[0]} to {names[-1]}"
