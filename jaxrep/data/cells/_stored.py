"""Raw values as columns of the types that a table had."""

import contextlib
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .._arrow import null_of, texts_to_arrow, to_arrow
from ..schema import Boolean, CategoricalColumn, Column, Count, Datetime, Duration
from ._missing import Numbers

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def arrow_type(stored: str) -> Any:
    """Returns the Arrow type that a schema names; string if it names none.

    Example:
        >>> arrow_type("timestamp[us, tz=UTC]"), arrow_type("int64"), arrow_type("list<x>")
        (TimestampType(timestamp[us, tz=UTC]), DataType(int64), DataType(string))
    """
    if found := re.fullmatch(r"timestamp\[(s|ms|us|ns), tz=(.+)\]", stored):
        return pa.timestamp(found[1], found[2])
    if found := re.fullmatch(r"decimal(?:32|64|128)\((\d+), (-?\d+)\)", stored):
        return pa.decimal128(min(max(int(found[1]), 1), 38), int(found[2]))
    alias = {"halffloat": "float16", "date32[day]": "date32", "date64[ms]": "date64"}
    try:
        return pa.type_for_alias(alias.get(stored, stored))
    except ValueError:
        return pa.string()


def to_stored(column: Column, values: Numbers) -> Any:
    """Returns raw values as a column of its stored type, null where they are missing.

    Args:
        column: what the column is.
        values: `[N]`; codes for a category.
    """
    kind = arrow_type(column.stored)
    if isinstance(column, CategoricalColumn):
        codes = np.where(values >= 0, values, -1).astype(np.int64)  # NaN is not ≥ 0
        return _of_levels(column, codes, kind)
    missing = np.isnan(values)
    values = np.where(missing, 0.0, values)
    if isinstance(column, Datetime | Duration):
        made = _times(values, kind, is_date=isinstance(column, Datetime))
    elif isinstance(column, Boolean):
        made = to_arrow((values >= 0.5).astype(np.float64))
        made = made.cast(kind if _holds_numbers(kind) else pa.bool_())
    elif isinstance(column, Count):
        made = _numbers(np.maximum(np.rint(values), 0.0), kind)
    else:
        made = _numbers(values, kind)
    return pc.if_else(to_arrow(missing), null_of(made.type), made)


def _holds_numbers(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _numbers(values: Numbers, kind: Any) -> Any:
    if pa.types.is_integer(kind):
        limits = np.iinfo(kind.to_pandas_dtype())
        inside = np.clip(np.rint(values), limits.min, limits.max)
        if kind.bit_width == 64:  # whose largest number no float64 is
            inside = np.minimum(inside, np.nextafter(float(limits.max), 0))
        return to_arrow(inside.astype(kind.to_pandas_dtype()))
    if pa.types.is_decimal(kind):
        try:
            return to_arrow(values).cast(kind)
        except pa.ArrowInvalid:  # more digits than it has room for
            return to_arrow(values)
    if pa.types.is_floating(kind) and kind.bit_width < 64:
        with np.errstate(over="ignore"):
            return to_arrow(values.astype(kind.to_pandas_dtype()))
    return to_arrow(values)


def _times(seconds: Numbers, kind: Any, *, is_date: bool) -> Any:
    if pa.types.is_date(kind):
        days = np.clip(np.rint(seconds / 86_400), -719_162, 2_932_896)  # years 1 to 9999
        return to_arrow(days.astype(np.int32)).cast(pa.date32()).cast(kind)
    if pa.types.is_time(kind):
        seconds = np.clip(seconds, 0, 86_399.999)
    if not hasattr(kind, "unit"):
        kind = pa.timestamp("us") if is_date else pa.duration("us")
    per_second = _PER_SECOND[kind.unit]
    counts = np.clip(np.rint(seconds * per_second), -(2.0**62), 2.0**62).astype(np.int64)
    whole = to_arrow(counts)
    return whole.cast(pa.int32()).cast(kind) if pa.types.is_time32(kind) else whole.cast(kind)


def _of_levels(column: CategoricalColumn, codes: Any, kind: Any) -> Any:
    levels = texts_to_arrow(column.levels)
    if kind != pa.string():
        # Where a level does not fit the column's type, all stay text.
        with contextlib.suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
            levels = levels.cast(kind)
    indices = to_arrow(np.where(codes < 0, 0, codes))
    return levels.take(pc.if_else(to_arrow(codes < 0), null_of(pa.int64()), indices))
