"""What the cells of a table become in a CSV."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .._arrow import null_of, to_arrow
from .._types import is_text_type
from ..frames._objects import chunks

_FORMULA = r"^[=+\-@\t\r]"
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_DAY = 24 * 60 * 60


def csv_cells(table: pa.Table, *, spreadsheet_safe: bool) -> pa.Table:
    """Returns a table whose columns pyarrow writes to a CSV as `write_table` promises.

    Example:
        >>> day = pa.array([86_400], pa.duration("s"))
        >>> csv_cells(pa.table({"a": day}), spreadsheet_safe=False)["a"].to_pylist()
        ['1 days 00:00:00']
    """
    alone = table.num_columns == 1
    columns = [_column(column, alone, spreadsheet_safe) for column in table.columns]
    names = table.column_names
    if spreadsheet_safe:
        names = _neutralised(pa.array(names, pa.string())).to_pylist()
    return pa.table(columns, names=names)


def _column(column: Any, alone: bool, spreadsheet_safe: bool) -> Any:
    kind = column.type
    if is_text_type(kind):
        # Written as "", which is read as missing again; a bare empty line would be no row.
        text = pc.fill_null(column.cast(pa.string()), "")
        return _neutralised(text) if spreadsheet_safe else text
    if pa.types.is_dictionary(kind):
        return _column(column.cast(kind.value_type), alone, spreadsheet_safe)
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        # In UTC, with a Z: where clocks change, readers refuse a column of several offsets.
        column = column.cast(pa.timestamp(kind.unit, "UTC"))
    if pa.types.is_duration(kind):
        column = pa.chunked_array([_durations(chunk) for chunk in chunks(column)], pa.string())
    if alone and pa.types.is_floating(kind):
        return pc.fill_null(column, float("nan"))  # likewise
    if alone and column.null_count:
        return pc.fill_null(column.cast(pa.string()), "")  # likewise
    return column


def _durations(column: Any) -> Any:
    """Returns durations as pandas writes them: days, which alone can be negative, and a time."""
    digits = {"s": 0, "ms": 3, "us": 6, "ns": 9}[column.type.unit]
    counts = np.asarray(pc.fill_null(column.cast(pa.int64()), 0).to_numpy(zero_copy_only=False))
    seconds, fraction = np.divmod(counts, 10**digits)
    days, seconds = np.divmod(seconds, _DAY)
    parts = [
        to_arrow(days).cast(pa.string()),
        pc.if_else(to_arrow(days < 0), " days +", " days "),
        _padded(seconds // 3600, 2),
        ":",
        _padded(seconds // 60 % 60, 2),
        ":",
        _padded(seconds % 60, 2),
    ]
    if fraction.any():
        parts += [".", _padded(fraction, digits)]
    text = pc.binary_join_element_wise(*parts, "")
    return pc.if_else(pc.is_valid(column), text, null_of(pa.string()))


def _padded(numbers: Any, width: int) -> Any:
    return pc.utf8_lpad(to_arrow(numbers).cast(pa.string()), width, "0")


def _neutralised(text: Any) -> Any:
    risky = pc.and_not(
        pc.match_substring_regex(text, _FORMULA), pc.match_substring_regex(text, _NUMBER)
    )
    return pc.if_else(risky, pc.binary_join_element_wise("'", text, ""), text)
