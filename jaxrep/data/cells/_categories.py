"""Cells as the codes of their categories."""

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jaxrep.errors import InputError

from .._arrow import codes_of_dictionary, null_of, texts_to_arrow, to_arrow, to_numpy
from .._names import BLANKS
from .._types import decoded, is_bytes_type, is_datetime_type, is_duration_type
from ..schema import CategoricalColumn
from . import _times
from ._keys import INTEGER_LIMIT, keys_of_texts
from ._levels import Levels
from ._missing import Missing, Numbers, trimmed, without_keys
from ._place import Place

_LEVELS: WeakKeyDictionary[CategoricalColumn, Levels] = WeakKeyDictionary()
"""The levels of columns in use, which are looked up in many blocks."""


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
    keys, rows = keys_of(cells, missing)
    codes: Numbers = np.append(_levels_of(column).codes(keys), np.nan)[rows]
    return codes


def _levels_of(column: CategoricalColumn) -> Levels:
    levels = _LEVELS.get(column)
    if levels is None:
        levels = _LEVELS[column] = Levels(column.levels)
    return levels


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


class Keys(NamedTuple):
    """The categories of cells, by their distinct values.

    Attributes:
        keys: the key of each distinct value, null if it is missing; a pyarrow Array of strings.
        rows: the index of each cell among them, `[N]`, −1 if it is null.
    """

    keys: Any
    rows: npt.NDArray[np.int64]


def keys_of(cells: Any, missing: Missing) -> Keys:
    """Returns the categories of cells.

    Args:
        cells: a ChunkedArray of any type.
        missing: which cells mean "missing".

    Example:
        >>> keys, rows = keys_of(pa.chunked_array([["TRUE", " 1.0", None]]), Missing([""], []))
        >>> keys.to_pylist(), rows
        (['true', '1'], array([ 0,  1, -1]))
    """
    cells = decoded(cells)
    if pa.types.is_null(cells.type):
        return Keys(texts_to_arrow([]), np.full(len(cells), -1))
    encoded = cells.combine_chunks().dictionary_encode()
    keys = keys_of_texts(spelled(encoded.dictionary, missing))
    return Keys(without_keys(keys, missing), codes_of_dictionary(encoded))


def spelled(values: Any, missing: Missing) -> Any:
    """Returns distinct values as text, null where it means "missing" as it is written.

    Args:
        values: a pyarrow Array of any type, without nulls or dictionaries.
        missing: which cells mean "missing".

    Example:
        >>> spelled(pa.array([0.5, 3.0, float("nan")]), Missing([], [])).to_pylist()
        ['0.5', '3', None]
    """
    kind = values.type
    if kind == pa.string():
        return trimmed(values, missing)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return values.cast(pa.string())
    if pa.types.is_floating(kind):
        return _spelled_floats(to_numpy(values))
    if is_datetime_type(kind):
        zoned = pa.types.is_timestamp(kind) and kind.tz is not None
        return texts_to_arrow([_times.text_of(*p, zoned=zoned) for p in _times.exact(values)])
    if is_duration_type(kind):
        return _spelled_floats(_times.of_arrow(pa.chunked_array(values)))
    if is_bytes_type(kind):  # not all UTF-8: only looked through for markers
        texts = (value.decode("utf-8", "backslashreplace") for value in values.to_pylist())
        return texts_to_arrow([text.strip(BLANKS) for text in texts])
    write = "{:f}" if pa.types.is_decimal(kind) else "{}"
    return texts_to_arrow([write.format(value) for value in values.to_pylist()])


def _spelled_floats(values: npt.NDArray[np.floating[Any]]) -> Any:
    """Returns floats as the shortest texts that mean them in their own precision."""
    with np.errstate(invalid="ignore"):
        whole = values.astype(np.float64)  # exact, and beyond the range of float16
        is_short = (whole == np.floor(whole)) & (np.abs(whole) < INTEGER_LIMIT)
        texts = to_arrow(np.where(is_short, whole, 0).astype(np.int64)).cast(pa.string())
    if is_short.all():
        return texts
    others = [repr(float(str(value))) for value in values[~is_short]]
    texts = pc.replace_with_mask(texts, to_arrow(~is_short), texts_to_arrow(others))
    return pc.if_else(to_arrow(np.isnan(whole)), null_of(pa.string()), texts)
