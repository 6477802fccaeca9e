"""Cells as the codes of their categories."""

from collections.abc import Collection
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import pyarrow as pa

from jaxrep.errors import InputError

from .._arrow import codes_of_dictionary, to_numpy
from .._names import BLANKS
from .._types import decoded, is_bytes_type, is_datetime_type, is_duration_type
from ..schema import CategoricalColumn
from . import _times
from ._keys import ANY_NUMBER, is_short_integer, key_of_text
from ._missing import Missing, Numbers
from ._place import Place


def codes_of(column: CategoricalColumn, cells: Any, missing: Missing, place: Place) -> Numbers:
    """Returns the cells of a column as codes, `[N]`: −1 if unknown, NaN if missing.

    Args:
        column: what the column is.
        cells: a ChunkedArray of any type.
        missing: which cells mean "missing".
        place: where they come from.

    Raises:
        InputError: they are durations, which cannot be categories, or bytes that are not text.

    Example:
        >>> sex = CategoricalColumn("sex", ("f", "m"), has_gaps=False)
        >>> texts = pa.chunked_array([["m ", "x", None]])
        >>> codes_of(sex, texts, Missing([], []), Place("people.csv"))
        array([ 1., -1., nan])
    """
    if is_duration_type(cells.type) and cells.null_count < len(cells):
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
    """Returns the error for the first cell whose bytes are not text."""
    values = cells.to_pylist()
    row = next(i for i, value in enumerate(values) if value is not None and not _is_text(value))
    return place.fault(
        column.name,
        row,
        f"{values[row][:50]!r} is not text in UTF-8",
        "correct it, or leave the cell empty if the value is not known",
    )


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def not_categories(name: str, kind: Any, place: Place) -> InputError:
    """Returns the error for durations in a column of categories."""
    return InputError(
        f"{place.source}: column {name!r} is {kind}, and durations cannot be categories, since one "
        "duration can be written in many ways; convert the column to text"
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
            if value is not None:  # levels of equal value cannot be distinguished by it
                self._by_value[value] = -1 if value in self._by_value else i

    def code(self, key: str) -> int:
        """Returns the code of a key, −1 if no level has it."""
        code = self._codes.get(key)
        if code is not None:
            return code
        value = _exact_value(key) if self._by_value else None
        return -1 if value is None else self._by_value.get(value, -1)


def _exact_value(text: str) -> Decimal | None:
    """Returns the value of a number as it is written: long ones are not rounded to each other."""
    try:
        return Decimal(text) if ANY_NUMBER.fullmatch(text) else None
    except InvalidOperation:  # an exponent of nineteen digits
        return None


def keys_of(cells: Any, missing: Missing) -> tuple[list[str | None], list[str], Any]:
    """Returns the categories of cells.

    Args:
        cells: a ChunkedArray of any type.
        missing: which cells mean "missing".

    Returns:
        The key of each distinct value, None if it is missing; its spelling; and the index of each
        cell among them, `[N]`, −1 if it is null.

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
        is_missing = (are_floats and text == "nan") or (is_text and missing.is_text(text))
        key = None if is_missing else key_of_text(text)
        keys.append(None if key is None or missing.is_key(key) else key)
    return keys, spelled, codes_of_dictionary(encoded)


def _spellings(values: Any) -> list[str]:
    """Returns the spelling of each of some distinct values of any type."""
    kind = values.type
    if kind == pa.string():
        return list(values.to_pylist())
    if pa.types.is_boolean(kind):
        return ["true" if value else "false" for value in values.to_pylist()]
    if pa.types.is_floating(kind):
        return [_shortest(value) for value in to_numpy(values)]
    if is_datetime_type(kind):
        zoned = pa.types.is_timestamp(kind) and kind.tz is not None
        return [_times.text_of(*pair, zoned=zoned) for pair in _times.exact(values)]
    if is_duration_type(kind):
        return [_shortest(np.float64(value)) for value in _times.of_arrow(pa.chunked_array(values))]
    if is_bytes_type(kind):  # not all UTF-8: only looked through for markers
        return [value.decode("utf-8", "backslashreplace") for value in values.to_pylist()]
    if pa.types.is_decimal(kind):
        return [format(value, "f") for value in values.to_pylist()]
    return [str(value) for value in values.to_pylist()]


def _shortest(value: Any) -> str:
    """Returns a float as the shortest text that means it in its own precision."""
    number = float(value)  # exact, and beyond the range of float16
    return str(int(number)) if is_short_integer(number) else repr(float(str(value)))
