"""The label column of a table: found, typed, and what is missing or infinite in it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jaxrep.errors import InputError

from ._arrow import to_arrow
from ._conform import as_numbers, as_typed
from ._features import as_array
from ._infer import first_text, parse_numbers
from ._request import joined, nearest, shortened

Label = str | bool | int | float


def labels_of(table: pa.Table, name: str, source: str) -> Any:
    """Returns the label column of a table as string, bool, int64 or float64.

    Args:
        table: read with the label among `read_table`'s `typed_columns`, or from elsewhere.
        name: the label column's name.
        source: where the table comes from, for messages.

    Returns:
        A pyarrow ChunkedArray, in which missing labels are null or NaN.

    Raises:
        InputError: there is no such column, or it holds neither numbers nor text.

    Example:
        >>> labels_of(pa.table({"a": [1.0], "y": ["x"]}), "z", "example")
        Traceback (most recent call last):
        ...
        jaxrep.errors.InputError: example: no column 'z' (asked for by --label). The columns are \
'a', 'y'
    """
    check_label(name, table.column_names, source)
    return as_typed(table[name], name, source)


def check_label(name: str, names: Sequence[str], source: str) -> None:
    """Raises an InputError if the label is not among the names of a table's columns."""
    if name not in names:
        raise InputError(f"{source}: no column {name!r} {nearest(name, names)}")


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
    return concatenated(present.cast(pa.uint8()), np.bool_)


def as_column(values: Any, name: str, source: str) -> Any:
    """Returns an Arrow column or an array as a ChunkedArray of a few types; see `as_typed`."""
    if not isinstance(values, pa.ChunkedArray | pa.Array):
        values = _array_to_arrow(np.asarray(values), name, source)
    chunks = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])
    return as_typed(chunks, name, source)


def _array_to_arrow(array: npt.NDArray[Any], name: str, source: str) -> Any:
    where = place(source, name)
    if array.ndim != 1:
        raise InputError(f"{where}: an array of shape {array.shape}; it must be one value a row")
    if array.dtype.kind in "biuf" and array.dtype.itemsize <= 8:
        return to_arrow(array.astype(array.dtype.newbyteorder("=")))
    cells = array.tolist() if array.dtype.kind in "OUT" else array
    try:
        # Here pandas' own marks of what is missing come, so that it is imported already.
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
    missing = np.flatnonzero(~labelled(column)) + 1
    if len(missing):
        rows = joined([str(row) for row in missing])
        raise InputError(
            f"{place(source, name)}: missing in {len(missing)} of {len(column)} rows (data row"
            f"{'s' * (len(missing) > 1)} {rows}); fill them in, or leave those rows out"
        )


def number_column(values: Any, name: str, source: str) -> Any:
    """Returns a column or an array as a ChunkedArray of float64; text is read as numbers.

    Raises:
        InputError: a cell of text is not a number.
    """
    column = as_column(values, name, source)
    if column.type != pa.string():
        return as_numbers(column, name, source)
    if (row := first_text(column)) is not None:
        raise InputError(
            f"{place(source, name)}: {quoted(column[row].as_py())} (data row {row + 1}) is not a "
            "number; correct the cell, or fine-tune a classifier on this column"
        )
    return parse_numbers(column)


def finite_numbers(column: Any, name: str, source: str) -> npt.NDArray[np.float64]:
    """Returns a column of float64 as NumPy has it, `[N]`, NaN where it is missing.

    Raises:
        InputError: a number is infinite.
    """
    numbers = as_array(column)
    if (bad := np.isinf(numbers)).any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{place(source, name)}: the value of data row {row + 1} is infinite ('inf', or "
            "beyond what a float64 holds); correct it or remove the row"
        )
    return numbers


def concatenated(column: Any, dtype: Any) -> npt.NDArray[Any]:
    """Returns a ChunkedArray of integers without nulls; its own `to_numpy` would import pandas."""
    chunks = [np.from_dlpack(chunk) for chunk in column.chunks if len(chunk)]
    return np.concatenate([np.empty(0, dtype), *(chunk.astype(dtype) for chunk in chunks)])


def place(source: str, name: str) -> str:
    """Begins the message about a label column."""
    return f"{source}: label {name!r}"


def quoted(value: Label) -> str:
    """Returns a label as a message quotes it."""
    return shortened(value) if isinstance(value, str) else repr(value)
