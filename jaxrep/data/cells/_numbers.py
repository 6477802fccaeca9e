"""Cells as float64: numbers, booleans, dates and durations."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jaxrep.errors import InputError

from .._arrow import as_array, codes_of_dictionary, to_float64, to_numpy
from .._messages import shortened
from .._types import decoded, is_datetime_type, is_duration_type, is_number_type
from ..schema import Boolean, Column, Datetime, Duration, Number, NumericColumn
from . import _times
from ._missing import Missing, Numbers, trimmed, unmarked, without_marks
from ._place import Place

_TRUE, _FALSE = ("true", "t", "yes", "y", "1", "1.0"), ("false", "f", "no", "n", "0", "0.0")


def numbers_of(column: NumericColumn, cells: Any, missing: Missing, place: Place) -> Numbers:
    """Returns the cells of a column as numbers, `[N]`, NaN where they are missing.

    A number in a column of booleans that is neither 0 nor 1 stays what it is: what training rows
    never had is a reason to look at a row, not to refuse its table.

    Args:
        column: what the column is.
        cells: a ChunkedArray of any type.
        missing: which cells mean "missing".
        place: where they come from.

    Raises:
        InputError: a cell cannot be read as the column's kind; the message names it.

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
    if isinstance(column, Datetime) and is_datetime_type(cells.type):
        zoned = pa.types.is_timestamp(cells.type) and cells.type.tz is not None
        values = _times.of_arrow(cells)
        _check_zones(column, np.where(np.isnan(values), column.zoned, zoned), place)
        return values
    if isinstance(column, Duration) and is_duration_type(cells.type):
        return _times.of_arrow(cells)
    is_number = is_number_type(cells.type) or pa.types.is_boolean(cells.type)
    if not is_number or not isinstance(column, Number | Boolean):
        if is_number and _are_missing(cells, missing):  # pandas has NaN for all that is missing
            return np.full(len(cells), np.nan)
        raise InputError(
            f"{place.source}: column {column.name!r} is {cells.type}, but was {column.kind} when "
            f"the model was fitted; {_expected(column)}"
        )
    return _of_numbers(column, cells, missing, place)


def _expected(column: Column) -> str:
    if isinstance(column, Datetime | Duration):
        return "numbers have no unit of time; convert the column to dates, times or text"
    return "convert the column, or fit the model to this table"


def _of_numbers(column: Column, cells: Any, missing: Missing, place: Place) -> Numbers:
    return _checked(column, typed_numbers(cells, missing), place)


def typed_numbers(cells: Any, missing: Missing) -> Numbers:
    """Returns Arrow numbers or booleans as float64, NaN where they are missing.

    Args:
        cells: a ChunkedArray of numbers or booleans; the latter equal no marker.
        missing: which cells mean "missing".
    """
    values = as_array(to_float64(cells))
    return values if pa.types.is_boolean(cells.type) else unmarked(values, missing)


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
    return values + 0.0 if isinstance(column, Boolean) else values  # false is no −0


def is_neither(values: Numbers) -> npt.NDArray[np.bool_]:
    """Says which numbers are neither 0 nor 1, `[N]`; a missing one is not among them."""
    return ~np.isin(values, (0, 1)) & ~np.isnan(values)


def check_booleans(column: Boolean, values: Numbers, place: Place) -> None:
    """Raises an InputError if a number is neither true nor false, in a table to be fitted to."""
    if (bad := is_neither(values)).any():
        row = int(np.flatnonzero(bad)[0])
        raise place.fault(
            column.name, row, f"{values[row]:g} is neither true nor false", _advice(column)
        )


def _of_text(column: NumericColumn, cells: Any, missing: Missing, place: Place) -> Numbers:
    if isinstance(column, Number):
        is_plain = _is_plain(column) and not missing.has_number_texts
        values = _plain_numbers(cells) if is_plain else None
        if values is None:
            values = _written_numbers(column, cells, missing, place)
        return _checked(column, unmarked(values, missing), place)
    cells = without_marks(trimmed(cells, missing), missing)
    if isinstance(column, Boolean):
        values = _by_unique(cells, lambda texts: np.array([_boolean(t) for t in texts.to_pylist()]))
        values = _checked(column, values, place)
    elif isinstance(column, Duration):
        values = _by_unique(cells, _times.durations_of_text)
    else:
        assert isinstance(column, Datetime)
        values, zoned = _dates(column, cells)
        _check_zones(column, np.where(np.isnan(values), column.zoned, zoned), place)
    bad = np.flatnonzero(np.isnan(values) & to_numpy(cells.is_valid()))
    if len(bad):
        raise not_of_kind(column, cells[int(bad[0])].as_py(), int(bad[0]), len(bad), place)
    return values


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
    """Returns the regular expression of numbers with a decimal mark and thousands separator.

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


_PLAIN = number_pattern(".", "")


def unformatted(cells: Any, decimal: str, thousands: str) -> Any:
    """Returns text of numbers with a decimal point and without thousands separators."""
    if thousands:
        between = "[ \u00a0\u202f]" if thousands == " " else re.escape(thousands)
        cells = pc.replace_substring_regex(cells, between, "")
    return pc.replace_substring(cells, ",", ".") if decimal == "," else cells


def _written_numbers(column: Number, cells: Any, missing: Missing, place: Place) -> Numbers:
    cells = trimmed(cells, missing)
    fits = pc.match_substring_regex(cells, number_pattern(column.decimal, column.thousands))
    if not pc.all(fits, min_count=0).as_py():
        bad = pc.index(fits, False).as_py()
        count = len(cells) - cells.null_count - pc.sum(fits).as_py()
        raise not_of_kind(column, cells[bad].as_py(), bad, count, place)
    cells = unformatted(cells, column.decimal, column.thousands)
    return as_array(cells.cast(pa.float64()))


def not_of_kind(column: Column, value: str, row: int, count: int, place: Place) -> InputError:
    """Returns the error for text that is not of a column's kind, the first of `count` cells."""
    kinds = {"number": "a number", "count": "a number", "boolean": "true or false"}
    kinds |= {"datetime": "a date", "duration": "a duration"}
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
        "correct it; if it marks a missing value, add it to --na-values; if the column is "
        f"categorical, use --column '{column.name}=category'"
    )


def _dates(column: Datetime, cells: Any) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    encoded = cells.combine_chunks().dictionary_encode()
    seconds, zoned = _times.dates_of_text(encoded.dictionary, column.format)
    rows = codes_of_dictionary(encoded)
    return np.append(seconds, np.nan)[rows], np.append(zoned, column.zoned)[rows]


def _check_zones(column: Datetime, zoned: npt.NDArray[np.bool_], place: Place) -> None:
    if (bad := zoned != column.zoned).any():
        row = int(np.flatnonzero(bad)[0])
        there = "has no time zone, but the training data had one"
        if not column.zoned:
            there = "has a time zone, but the training data had none"
        raise place.fault(column.name, row, f"the time {there}", "convert the column")


def _boolean(text: str) -> float:
    lower = text.lower()
    if lower in _TRUE or lower in _FALSE:
        return float(lower in _TRUE)
    return float(text) if re.match(_PLAIN, text, re.ASCII) else np.nan


def _by_unique(cells: Any, function: Callable[[Any], Numbers]) -> Numbers:
    """Returns a function of texts, computed once for each distinct one; NaN where missing."""
    encoded = cells.combine_chunks().dictionary_encode()
    return np.append(function(encoded.dictionary), np.nan)[codes_of_dictionary(encoded)]
