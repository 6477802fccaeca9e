"""What a cell means: its number, or the key of its category, whatever the type that it comes in.

Text is first trimmed of blanks. A number, a truth or a time has one value in every spelling and in
every type of Arrow's; a category has one key, so that True, TRUE and a boolean are one level, and
so are 1, 1.0 and "1".
"""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jaxrep.errors import InputError

from .._arrow import as_array, texts_to_arrow, to_numpy
from .._messages import cell, shortened
from .._names import BLANKS
from ..schema import (
    Boolean,
    CategoricalColumn,
    Column,
    Datetime,
    Duration,
    Number,
    NumericColumn,
)
from . import _times

Numbers = npt.NDArray[np.float64]

PLAIN = r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$"
"""A number as programs write it."""

CODE = r"^[+-]?0[0-9xX]|^\+[0-9]{6}"
"""How a number begins that is a code: a zip code, a telephone number."""

_KEY_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d*)?(?:[eE][+-]?\d+)?", re.ASCII)
_ANY_NUMBER = re.compile(PLAIN, re.ASCII)
_ISO = re.compile(_times.ISO, re.ASCII)
_TRUE, _FALSE = ("true", "t", "yes", "y", "1", "1.0"), ("false", "f", "no", "n", "0", "0.0")
_LONGEST_WHOLE = 2.0**63


class Missing:
    """Which cells mean "missing", besides null and NaN.

    Args:
        words: the cells of text that do.
        marks: those of them that the user named; a number equal to one means it as well.

    Example:
        >>> marked = Missing(["", "?", "-999"], ["?", "-999"])
        >>> marked.is_word("?"), marked.is_key("-999"), marked.values
        (True, True, array([-999.]))
    """

    def __init__(self, words: Iterable[str], marks: Iterable[str]):
        marks = [mark.strip(BLANKS) for mark in marks]
        self._words = {word.strip(BLANKS) for word in words} | set(marks)
        self._keys = {key_of_text(mark) for mark in marks}
        self.arrow = texts_to_arrow(sorted(self._words))
        self.values = np.array([float(mark) for mark in marks if _ANY_NUMBER.fullmatch(mark)])
        words = self._words.difference(marks)
        self.has_number_words = any(_ANY_NUMBER.fullmatch(word) for word in words)
        """Whether there are words that are numbers, and mean "missing" only as they are written."""
        self.marks = tuple(marks)

    def is_word(self, text: str) -> bool:
        """Says whether a trimmed text means "missing"."""
        return text in self._words

    def is_key(self, key: str) -> bool:
        """Says whether a category's key is that of a mark."""
        return key in self._keys


@dataclass(frozen=True)
class Place:
    """Where cells come from, for messages."""

    source: str
    before: int = 0
    """How many rows of the source stand before them."""

    rows: npt.NDArray[np.int64] | None = None
    """The row of each in the source, where they do not follow one another."""

    def fault(self, column: str, row: int, what: str, advice: str) -> InputError:
        """Returns the error for a cell; `row` counts from 0 among these cells."""
        row = self.before + row if self.rows is None else int(self.rows[row])
        return InputError(f"{cell(self.source, column, row)}: {what}; {advice}")


def decoded(cells: Any) -> Any:
    """Returns a ChunkedArray without dictionaries, its text as `string`.

    Bytes are text too, unless one of them is no UTF-8.
    """
    kind = cells.type
    if pa.types.is_dictionary(kind):
        return decoded(cells.cast(kind.value_type))
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return cells.cast(pa.string())
    if is_bytes_type(kind):
        try:
            return cells.cast(pa.string())
        except pa.ArrowInvalid:  # not UTF-8
            return cells
    if isinstance(kind, pa.BaseExtensionType):
        return decoded(pa.chunked_array([c.storage for c in cells.chunks], kind.storage_type))
    return cells


def is_bytes_type(kind: Any) -> bool:
    """Says whether an Arrow type is of bytes."""
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def is_number_type(kind: Any) -> bool:
    """Says whether an Arrow type is of numbers."""
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def is_time_type(kind: Any) -> bool:
    """Says whether an Arrow type is of points in time."""
    return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def is_span_type(kind: Any) -> bool:
    """Says whether an Arrow type is of spans of time, or of times of the day."""
    return bool(pa.types.is_duration(kind) or pa.types.is_time(kind))


def trimmed(cells: Any, missing: Missing) -> Any:
    """Returns text without blanks around it, null where it means "missing"."""
    cells = pc.utf8_trim(cells, characters=BLANKS)
    is_missing = pc.is_in(cells, value_set=missing.arrow)
    if not pc.any(is_missing).as_py():
        return cells  # spares the copy
    return pc.if_else(is_missing, pa.scalar(None, pa.string()), cells)


def numbers_of(column: NumericColumn, cells: Any, missing: Missing, place: Place) -> Numbers:
    """Returns the cells of a column as numbers, `[N]`, NaN where they are missing.

    Args:
        column: what the column is.
        cells: a ChunkedArray of any type.
        missing: which cells mean "missing".
        place: where they come from.

    Raises:
        InputError: a cell is no such number; the message names it.

    Example:
        >>> member = Boolean("member", mean=0.5, scale=0.5, fill=None)
        >>> texts = pa.chunked_array([["True", "no", " NA"]])
        >>> numbers_of(member, texts, Missing(["NA"], []), Place("people.csv"))
        array([ 1.,  0., nan])
    """
    cells = decoded(cells)
    if cells.null_count == len(cells):
        return np.full(len(cells), np.nan)
    if cells.type == pa.string():
        return _of_text(column, cells, missing, place)
    if isinstance(column, Datetime) and is_time_type(cells.type):
        zoned = pa.types.is_timestamp(cells.type) and cells.type.tz is not None
        values = _times.of_arrow(cells)
        _check_zones(column, np.where(np.isnan(values), column.zoned, zoned), place)
        return values
    if isinstance(column, Duration) and is_span_type(cells.type):
        return _times.of_arrow(cells)
    is_number = is_number_type(cells.type) or pa.types.is_boolean(cells.type)
    if not is_number or not isinstance(column, Number | Boolean):
        if is_number and _are_missing(cells, missing):  # pandas has NaN for all that is missing
            return np.full(len(cells), np.nan)
        raise InputError(
            f"{place.source}: column {column.name!r} is {cells.type} and was of the kind "
            f"{column.kind} when the model was fitted; {_expected(column)}"
        )
    return _of_numbers(column, cells, missing, place)


def _expected(column: Column) -> str:
    if isinstance(column, Datetime | Duration):
        return "numbers say no unit: give dates, times, or text that says them"
    return "convert the column, or fit the model to this table"


def _of_numbers(column: Column, cells: Any, missing: Missing, place: Place) -> Numbers:
    return _checked(column, typed_numbers(cells, missing), place)


def typed_numbers(cells: Any, missing: Missing) -> Numbers:
    """Returns numbers or booleans of Arrow's, NaN where they are missing or equal to a mark.

    Args:
        cells: a ChunkedArray of numbers or booleans; the latter are equal to no mark.
        missing: which cells mean "missing".
    """
    is_boolean = pa.types.is_boolean(cells.type)
    if pa.types.is_decimal(cells.type):
        cells = cells.cast(pa.string())  # whose conversion to float64 rounds once
    values = as_array(cells.cast(pa.float64(), safe=False))  # beyond 2⁵³ rounded, not refused
    return values if is_boolean else unmarked(values, missing)


def unmarked(values: Numbers, missing: Missing) -> Numbers:
    """Returns numbers, NaN where they are equal to a mark."""
    if not len(missing.values):
        return values
    return np.where(np.isin(values, missing.values), np.nan, values)


def _are_missing(cells: Any, missing: Missing) -> bool:
    return bool(np.isnan(typed_numbers(cells, missing)).all())


def _checked(column: Column, values: Numbers, place: Place) -> Numbers:
    if (bad := np.isinf(values)).any():
        raise place.fault(
            column.name,
            int(np.flatnonzero(bad)[0]),
            "the value is infinite ('inf', or beyond what a float64 holds)",
            "correct it or remove the row",
        )
    if isinstance(column, Boolean) and (bad := ~np.isin(values, (0, 1)) & ~np.isnan(values)).any():
        row = int(np.flatnonzero(bad)[0])
        raise place.fault(
            column.name, row, f"{values[row]:g} is neither true nor false", _advice(column)
        )
    return values + 0.0 if isinstance(column, Boolean) else values  # false is no −0


def _of_text(column: NumericColumn, cells: Any, missing: Missing, place: Place) -> Numbers:
    if isinstance(column, Number):
        is_plain = _is_plain(column) and not missing.has_number_words
        values = _plain_numbers(cells) if is_plain else None
        if values is None:
            values = _written_numbers(column, cells, missing, place)
        return _checked(column, unmarked(values, missing), place)
    cells = without_marks(trimmed(cells, missing), missing)
    if isinstance(column, Boolean):
        values = _by_unique(cells, lambda texts: np.array([_truth(t) for t in texts.to_pylist()]))
    elif isinstance(column, Duration):
        values = _by_unique(cells, _times.spans_of_text)
    else:
        assert isinstance(column, Datetime)
        values, zoned = _dates(column, cells)
        _check_zones(column, np.where(np.isnan(values), column.zoned, zoned), place)
    bad = np.flatnonzero(np.isnan(values) & to_numpy(cells.is_valid()))
    if len(bad):
        raise not_of_kind(column, cells[int(bad[0])].as_py(), int(bad[0]), len(bad), place)
    return values


def without_marks(cells: Any, missing: Missing) -> Any:
    """Returns trimmed text, null where it is a number that is equal to a mark.

    Args:
        cells: an Array or ChunkedArray of strings.
        missing: which cells mean "missing".
    """
    if not len(missing.values):
        return cells
    none = pa.scalar(None, pa.string())
    numbers = pc.if_else(pc.match_substring_regex(cells, PLAIN), cells, none)
    marks = pa.array(missing.values)
    is_marked = pc.is_in(numbers.cast(pa.float64()), value_set=marks, skip_nulls=True)
    return pc.if_else(is_marked, none, cells)


def _is_plain(column: Number) -> bool:
    return column.decimal == "." and not column.thousands


def _plain_numbers(cells: Any) -> Numbers | None:
    """Returns text as numbers where all of it is, without blanks; None where some is not."""
    try:
        values = as_array(cells.cast(pa.float64()))
    except pa.ArrowInvalid:
        return None
    written = int(np.isnan(values).sum()) == cells.null_count  # "nan" is a number for Arrow
    return values if written and not np.isinf(values).any() else None


def number_pattern(decimal: str, thousands: str) -> str:
    """Returns the regular expression of numbers as they are written with these marks.

    Example:
        >>> bool(re.match(number_pattern(",", "."), "1.234,5"))
        True
    """
    mark = re.escape(decimal)
    plain = rf"(?:\d+(?:{mark}\d*)?|{mark}\d+)(?:[eE][+-]?\d+)?"
    if not thousands:
        return rf"^[+-]?{plain}$"
    between = "[ \u00a0\u202f]" if thousands == " " else re.escape(thousands)
    return rf"^[+-]?(?:\d{{1,3}}(?:{between}\d{{3}})+(?:{mark}\d*)?|{plain})$"


def unformatted(cells: Any, decimal: str, thousands: str) -> Any:
    """Returns numbers written with these marks as programs write them."""
    if thousands:
        between = "[ \u00a0\u202f]" if thousands == " " else re.escape(thousands)
        cells = pc.replace_substring_regex(cells, between, "")
    return pc.replace_substring(cells, ",", ".") if decimal == "," else cells


def _written_numbers(column: Number, cells: Any, missing: Missing, place: Place) -> Numbers:
    cells = trimmed(cells, missing)
    fits = pc.match_substring_regex(cells, number_pattern(column.decimal, column.thousands))
    bad = pc.index(fits, False).as_py()
    if bad >= 0:
        count = len(cells) - cells.null_count - pc.sum(fits).as_py()
        raise not_of_kind(column, cells[bad].as_py(), bad, count, place)
    cells = unformatted(cells, column.decimal, column.thousands)
    return as_array(cells.cast(pa.float64()))


def not_of_kind(column: Column, value: str, row: int, count: int, place: Place) -> InputError:
    """Returns the error for text that is not of a column's kind, the first of so many."""
    kinds = {"number": "a number", "count": "a number", "boolean": "true or false"}
    kinds |= {"datetime": "a date", "duration": "a span of time"}
    what = f"{shortened(value)} is not {kinds[column.kind]}"
    if isinstance(column, Number) and not _is_plain(column):
        what += f" with {column.decimal!r} as decimal mark"
    if isinstance(column, Datetime) and column.format is not None:
        what += f" of the form {column.format}"
    if count > 1:
        what += f", nor are {count - 1} more cells"
    return place.fault(column.name, row, what, _advice(column))


def _advice(column: Column) -> str:
    return (
        "correct it; if it stands for a missing value, name it with --na-values; if the column is "
        f"of categories, say so with --column '{column.name}=category'"
    )


def _dates(column: Datetime, cells: Any) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    encoded = cells.combine_chunks().dictionary_encode()
    seconds, zoned = _times.dates_of_text(encoded.dictionary, column.format)
    rows = _codes(encoded)
    return np.append(seconds, np.nan)[rows], np.append(zoned, column.zoned)[rows]


def _check_zones(column: Datetime, zoned: npt.NDArray[np.bool_], place: Place) -> None:
    if (bad := zoned != column.zoned).any():
        row = int(np.flatnonzero(bad)[0])
        there = "says no zone, and those that the model was fitted to do"
        if not column.zoned:
            there = "says a zone, and those that the model was fitted to do not"
        raise place.fault(column.name, row, f"the time {there}", "convert the column")


def _truth(text: str) -> float:
    word = text.lower()
    return 1.0 if word in _TRUE else 0.0 if word in _FALSE else np.nan


def _by_unique(cells: Any, function: Callable[[Any], Numbers]) -> Numbers:
    """Returns a function of texts, computed for each different one; NaN where they are missing."""
    encoded = cells.combine_chunks().dictionary_encode()
    return np.append(function(encoded.dictionary), np.nan)[_codes(encoded)]


def _codes(encoded: Any) -> npt.NDArray[np.int64]:
    """Returns the index of each cell in the dictionary, −1 where it is null."""
    codes: npt.NDArray[np.int64] = to_numpy(encoded.indices).astype(np.int64)
    if encoded.indices.null_count:
        codes[to_numpy(encoded.indices.is_null())] = -1
    return codes


def keys_of(cells: Any, missing: Missing) -> tuple[list[str | None], list[str], Any]:
    """Returns the categories of cells.

    Args:
        cells: a ChunkedArray of any type.
        missing: which cells mean "missing".

    Returns:
        The key of each different value, None where it means "missing"; how each is spelled; and
        the index of each cell among them, `[N]`, −1 where it is null.

    Example:
        >>> keys_of(pa.chunked_array([["TRUE", " 1.0", None]]), Missing([""], []))
        (['true', '1'], ['TRUE', '1.0'], array([ 0,  1, -1]))
    """
    cells = decoded(cells)
    if pa.types.is_null(cells.type):
        return [], [], np.full(len(cells), -1)
    encoded = cells.combine_chunks().dictionary_encode()
    spelled = _spellings(encoded.dictionary)
    is_text, are_floats = cells.type == pa.string(), pa.types.is_floating(cells.type)
    keys: list[str | None] = []
    for i, text in enumerate(spelled):
        text = spelled[i] = text.strip(BLANKS)
        is_missing = (are_floats and text == "nan") or (is_text and missing.is_word(text))
        key = None if is_missing else key_of_text(text)
        keys.append(None if key is None or missing.is_key(key) else key)
    return keys, spelled, _codes(encoded)


def _spellings(values: Any) -> list[str]:
    """Returns how different values of any type are written, one for each."""
    kind = values.type
    if kind == pa.string():
        return list(values.to_pylist())
    if pa.types.is_boolean(kind):
        return ["true" if value else "false" for value in values.to_pylist()]
    if pa.types.is_floating(kind):
        return [_shortest(value) for value in to_numpy(values)]
    if is_time_type(kind):
        zoned = pa.types.is_timestamp(kind) and kind.tz is not None
        return [_times.text_of(*pair, zoned=zoned) for pair in _times.exact(values)]
    if is_span_type(kind):
        return [_shortest(np.float64(value)) for value in _times.of_arrow(pa.chunked_array(values))]
    if is_bytes_type(kind):  # not all of them UTF-8: looked through for marks alone
        return [value.decode("utf-8", "backslashreplace") for value in values.to_pylist()]
    if pa.types.is_decimal(kind):
        return [format(value, "f") for value in values.to_pylist()]
    return [str(value) for value in values.to_pylist()]


def _shortest(value: Any) -> str:
    """Returns a float as the shortest text that means it in its own precision."""
    number = float(value)  # exact, and beyond the range of float16
    if number.is_integer() and abs(number) < _LONGEST_WHOLE:
        return str(int(number))
    return repr(float(str(value)))


def key_of_text(text: str) -> str:
    """Returns the key of the category that a trimmed text says.

    Example:
        >>> [key_of_text(text) for text in ("TRUE", "1.0", "007", "2024-01-01 00:00:00", "a")]
        ['true', '1', '007', '2024-01-01', 'a']
    """
    if not text or text[0].isalpha():
        lower = text.lower()
        return lower if lower in ("true", "false") else text
    if _KEY_NUMBER.fullmatch(text):
        return _key_of_number(text)
    if _ISO.fullmatch(text):
        return _times.key_of_date(text)
    return text


def _key_of_number(text: str) -> str:
    if text.lstrip("-").isdecimal():
        return "0" if text == "-0" else text
    value = float(text)
    if value == int(value) if abs(value) < _LONGEST_WHOLE else False:
        return str(int(value))
    return repr(value)


def not_categories(name: str, kind: Any, place: Place) -> InputError:
    """Returns the error for spans of time where categories are to be."""
    return InputError(
        f"{place.source}: column {name!r} is {kind}, and a span of time is no category: it is "
        "written in many ways; convert the column to text"
    )


class Levels:
    """The levels of a category, found by the keys of cells.

    Args:
        levels: as they are spelled.

    Example:
        >>> zips = Levels(["01067", "10115"])
        >>> zips.code("01067"), zips.code("1067"), zips.code("20095")
        (0, 0, -1)
    """

    def __init__(self, levels: Collection[str]):
        self._codes = {key_of_text(level): i for i, level in enumerate(levels)}
        self._by_value: dict[Decimal, int] = {}
        for i, level in enumerate(levels):
            value = _exact_value(level)
            if value is not None:  # levels of one value cannot be told apart by it
                self._by_value[value] = -1 if value in self._by_value else i

    def code(self, key: str) -> int:
        """Returns the code of a key, −1 where it is of no level."""
        code = self._codes.get(key)
        if code is not None:
            return code
        value = _exact_value(key) if self._by_value else None
        return -1 if value is None else self._by_value.get(value, -1)


def _exact_value(text: str) -> Decimal | None:
    """Returns the value of a number as it is written: long ones are not rounded to each other."""
    try:
        return Decimal(text) if _ANY_NUMBER.fullmatch(text) else None
    except InvalidOperation:  # an exponent of nineteen digits
        return None


def codes_of(column: CategoricalColumn, cells: Any, missing: Missing, place: Place) -> Numbers:
    """Returns the cells of a column as codes, `[N]`: −1 of no level, NaN where they are missing.

    Args:
        column: what the column is.
        cells: a ChunkedArray of any type.
        missing: which cells mean "missing".
        place: where they come from.

    Raises:
        InputError: they are spans of time, which are no categories, or bytes that are no text.

    Example:
        >>> sex = CategoricalColumn("sex", ("f", "m"), has_gaps=False)
        >>> texts = pa.chunked_array([["m ", "x", None]])
        >>> codes_of(sex, texts, Missing([], []), Place("people.csv"))
        array([ 1., -1., nan])
    """
    if is_span_type(cells.type) and cells.null_count < len(cells):
        raise not_categories(column.name, cells.type, place)
    cells = decoded(cells)
    if is_bytes_type(cells.type):
        raise _not_text(column, cells, place)
    keys, _, rows = keys_of(cells, missing)
    levels = Levels(column.levels)
    codes = np.array(
        [*(np.nan if key is None else float(levels.code(key)) for key in keys), np.nan]
    )
    found: Numbers = codes[rows]
    return found


def _not_text(column: CategoricalColumn, cells: Any, place: Place) -> InputError:
    """Returns the error for the first cell whose bytes are no text."""
    for row, value in enumerate(cells.to_pylist()):
        try:
            (value or b"").decode()
        except UnicodeDecodeError:
            what = f"{value[:50]!r} is not text in UTF-8"
            advice = "correct it, or leave the cell empty if the value is not known"
            return place.fault(column.name, row, what, advice)
    raise AssertionError
