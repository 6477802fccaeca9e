"""The label column of a table: its cells, their type, and the checks on them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jaxrep.errors import InputError

from .._arrow import all_match, as_array, null_of, to_arrow, to_float64, to_numpy
from .._messages import joined, nearest, shortened
from .._types import decoded, is_datetime_type, is_duration_type, is_number_type
from ..cells import PLAIN, Missing, _times, keys_of, trimmed
from ..schema import MISSING

Label = str | bool | int | float

_DEFAULT = Missing(MISSING, [])

# Leading zeros and a plus belong to codes: zip codes, telephone numbers.
_INTEGER = r"^(?:0|-?[1-9][0-9]*)$"
_NUMBER = r"^-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"


def labels_of(table: pa.Table, name: str, source: str, marks: Sequence[str] = ()) -> Any:
    """Returns the label column of a table as string, bool, int64 or float64.

    Text whose cells are all numbers, without leading zeros, is numbers.

    Args:
        table: with the label's column, of any type.
        name: the label column's name.
        source: where the table comes from, for messages.
        marks: missing-value markers that the user set.

    Returns:
        A pyarrow ChunkedArray, in which missing labels are null or NaN.

    Raises:
        InputError: there is no such column, or it holds neither numbers nor text.

    Example:
        >>> labels_of(pa.table({"y": ["3", " 1", "NA"]}), "y", "example").to_pylist()
        [3, 1, None]
    """
    check_label(name, table.column_names, source)
    column = as_typed(table[name], name, source)
    missing = Missing(["", *marks], marks)
    if column.type == pa.string():
        column = infer_type(trimmed(column, missing))
    if column.type in (pa.int64(), pa.float64()) and len(missing.values):
        is_mark = pc.is_in(to_float64(column), to_arrow(missing.values))
        column = pc.if_else(is_mark, null_of(column.type), column)
    return column


def label_texts(
    table: pa.Table, name: str, source: str, marks: Sequence[str] = ()
) -> list[str | None]:
    """Returns the labels of a block of a table as text, each as the key of its category.

    Args:
        table: with the label's column, of any type.
        name: the label column's name.
        source: where the table comes from, for messages.
        marks: missing-value markers that the user set.

    Raises:
        InputError: there is no such column.

    Example:
        >>> label_texts(pa.table({"y": ["True", " a", ""]}), "y", "example")
        ['true', 'a', None]
    """
    check_label(name, table.column_names, source)
    keys, rows = keys_of(table[name], Missing(["", *marks], marks))
    texts = [*keys.to_pylist(), None]
    return [texts[row] for row in rows]


def check_label(name: str, names: Sequence[str], source: str) -> None:
    """Raises an InputError if the label is not among the names of a table's columns."""
    if name not in names:
        raise InputError(
            f"{source}: no column {name!r} (asked for by --label){nearest(name, list(names))}"
        )


def labelled(values: Any) -> npt.NDArray[np.bool_]:
    """Returns which rows have a label, `[N]`.

    Args:
        values: an Arrow column or an array, `[N]`.

    Example:
        >>> labelled(np.array(["a", None, "b"], object))
        array([ True, False,  True])
    """
    column = as_column(values, "values", "values")
    present = pc.invert(pc.is_null(column, nan_is_null=True))
    return to_numpy(present)


def as_column(values: Any, name: str, source: str) -> Any:
    """Returns an Arrow column or an array as a ChunkedArray of a few types; see `as_typed`."""
    if not isinstance(values, pa.ChunkedArray | pa.Array):
        values = _array_to_arrow(np.asarray(values), name, source)
    chunks = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])
    return as_typed(chunks, name, source)


def _array_to_arrow(array: npt.NDArray[Any], name: str, source: str) -> Any:
    where = place(source, name)
    if array.ndim != 1:
        raise InputError(f"{where}: an array of shape {array.shape}; it must be one value per row")
    if array.dtype.kind in "biuf" and array.dtype.itemsize <= 8:
        return to_arrow(array.astype(array.dtype.newbyteorder("=")))
    cells = array.tolist() if array.dtype.kind in "OUT" else array
    try:
        # Only objects of pandas come here with its missing values, so pandas is imported already.
        return pa.array(cells, from_pandas=True)
    except (pa.ArrowException, UnicodeError, OverflowError) as error:
        raise InputError(
            f"{where}: values that are neither all numbers nor all text ({error}); make them one "
            "or the other"
        ) from None


def count_labelled(column: Any, name: str, source: str, *, skip_missing: bool) -> int:
    """Returns the number of rows with a label; refuses missing ones, and fewer than 2 rows."""
    if not skip_missing:
        _refuse_missing(column, name, source)
    rows = int(labelled(column).sum())
    if rows < 2:
        raise InputError(
            f"{place(source, name)}: {rows} row{'s' * (rows != 1)} with a label; at least 2 are "
            "needed"
        )
    return rows


def present_labels(values: Any, name: str, source: str) -> Any:
    """Returns labels as a column; refuses missing ones."""
    column = as_column(values, name, source)
    _refuse_missing(column, name, source)
    return column


def _refuse_missing(column: Any, name: str, source: str) -> None:
    missing = np.flatnonzero(~labelled(column))
    if len(missing):
        rows = joined([str(row) for row in missing])
        raise InputError(
            f"{place(source, name)}: missing in {len(missing)} of {len(column)} rows (row"
            f"{'s' * (len(missing) > 1)} {rows}, from 0); fill them in, or leave those rows out"
        )


def number_column(values: Any, name: str, source: str) -> Any:
    """Returns a column or an array as a ChunkedArray of float64; text is read as numbers.

    Raises:
        InputError: a cell of text is not a number.
    """
    column = as_column(values, name, source)
    if column.type != pa.string():
        return as_numbers(column, name, source)
    cells = _present(column)
    row = pc.index(pc.match_substring_regex(cells, PLAIN), False).as_py()
    if row >= 0:
        raise InputError(
            f"{place(source, name)}: {quoted(column[row].as_py())} (row {row}, from 0) is not a "
            "number; correct the cell, or fine-tune a classifier on this column"
        )
    return cells.cast(pa.float64())


def finite_numbers(column: Any, name: str, source: str) -> npt.NDArray[np.float64]:
    """Returns a column of float64 as NumPy has it, `[N]`, NaN where it is missing.

    Raises:
        InputError: a number is infinite.
    """
    numbers = as_array(column)
    if (bad := np.isinf(numbers)).any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{place(source, name)}: the value of row {row} (from 0) is infinite ('inf', or "
            "beyond what a float64 holds); correct it or remove the row"
        )
    return numbers


def place(source: str, name: str) -> str:
    """Begins the message about a label column."""
    return f"{source}: label {name!r}"


def quoted(value: Label) -> str:
    """Returns a label as a message quotes it."""
    return shortened(value) if isinstance(value, str) else repr(value)


def as_numbers(column: Any, name: str, source: str) -> Any:
    """Returns a column as float64; points in time become seconds since 1970-01-01 UTC.

    Args:
        column: a pyarrow ChunkedArray.
        name: the column's name, for messages.
        source: where the table comes from, for messages.

    Raises:
        InputError: the column holds text, or something that is neither numbers nor text.
    """
    kind = column.type
    if is_datetime_type(kind) or is_duration_type(kind):
        return pa.chunked_array([to_arrow(_times.of_arrow(column))])
    if not (is_number_type(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)):
        raise InputError(
            f"{place(source, name)}: has the type {kind}, and must be numbers, dates or text; "
            "convert the column"
        )
    return to_float64(column)


def as_typed(column: Any, name: str, source: str) -> Any:
    """Returns a column as string, bool, int64 or float64, whichever its values are.

    Integers keep all their digits, decimals become float64, points in time seconds since 1970-01-01
    UTC; dictionaries are decoded; empty text is null, as in a file.

    Args:
        column: a pyarrow ChunkedArray.
        name: the column's name, for messages.
        source: where the table comes from, for messages.

    Raises:
        InputError: the column holds none of these, or an integer beyond int64.

    Example:
        >>> as_typed(pa.chunked_array([["a", "", "a"]]).dictionary_encode(), "y", "t").to_pylist()
        ['a', None, 'a']
    """
    column = decoded(column)
    kind = column.type
    if kind == pa.string() or pa.types.is_null(kind):
        column = column.cast(pa.string())
        empty = pc.equal(column, "")
        return pc.if_else(empty, null_of(pa.string()), column)
    if pa.types.is_boolean(kind):
        return column
    if not pa.types.is_integer(kind):
        return as_numbers(column, name, source)
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        raise InputError(
            f"{source}: column {name!r} has integers beyond int64; convert the column to text"
        ) from None


def infer_type(column: Any) -> Any:
    """Returns a column of text as int64 or float64 if all its cells are numbers, else as it is.

    Cells such as NA, which mean "missing" in a column of numbers, do so if all others are numbers.
    Numbers with leading zeros or a plus sign stay text: they are codes more often than quantities.

    Args:
        column: a pyarrow ChunkedArray of strings; one of another type is returned as it is.

    Example:
        >>> infer_type(pa.chunked_array([["3", "NA", "-1"]])).to_pylist()
        [3, None, -1]
        >>> infer_type(pa.chunked_array([["01067", "10115"]])).to_pylist()
        ['01067', '10115']
    """
    if column.type != pa.string():
        return column
    cells = _present(column)
    if all_match(cells, _INTEGER):
        kind = pa.int64()
    elif all_match(cells, _NUMBER):
        kind = pa.float64()
    else:
        return column
    try:
        return cells.cast(kind)
    except pa.ArrowInvalid:  # more digits than an int64 has
        return column


def _present(column: Any) -> Any:
    """Returns the cells stripped of whitespace, null where they are a missing-value marker."""
    return trimmed(column, _DEFAULT)
