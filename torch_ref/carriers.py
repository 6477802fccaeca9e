"""Columns and cells of whatever holds a table: as plain Python values, exact to the last bit.

pandas, polars and Arrow are known by what their objects offer, and are never imported. What their
own way to Python's values would lose is kept: nanoseconds, and that a number is a float32.
"""

import datetime
from collections.abc import Iterable, Mapping, Set
from decimal import Decimal
from typing import Any

import numpy as np

from torch_ref.times import Duration, Instant, instant_of

Cell = None | str | bool | int | float | np.floating[Any] | Decimal | Instant | Duration
"""What `plain` makes of a cell; None is a missing one, and a float is never NaN."""


class UnreadableCellError(ValueError):
    """A cell means nothing here; the message says why, and not where the cell is."""


_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9, "ps": 10**12, "fs": 10**15}
_PER_SECOND["as"] = 10**18
_SECONDS = {"m": 60, "h": 3600, "D": 86400, "W": 604800}
_MICROSECOND = datetime.timedelta(microseconds=1)
_EPOCH = datetime.date(1970, 1, 1)


def column_names(table: Any) -> list[Any]:
    """Returns the names of a table's columns, in its order.

    Args:
        table: a mapping, a pandas or polars frame, an Arrow table, or a structured array.

    Raises:
        TypeError: it is none of these.

    Example:
        >>> column_names({"age": [31], "city": ["Rome"]})
        ['age', 'city']
        >>> column_names(np.zeros(3, dtype=[("age", "i4")]))
        ['age']
    """
    if isinstance(table, Mapping):
        return list(table)
    structured = getattr(getattr(table, "dtype", None), "names", None)
    # Arrow's `columns` are the columns themselves, those of a frame their names.
    names = structured or getattr(table, "column_names", None)
    names = getattr(table, "columns", None) if names is None else names
    if names is None or not hasattr(table, "__getitem__"):
        raise TypeError(f"{type(table).__name__} has no columns by name")
    return list(names)


def column_cells(column: Any) -> list[Any]:
    """Returns the cells of a column, each as `plain` takes it, with nothing lost.

    Args:
        column: a list or another iterable with an order, a one-dimensional array, a pandas or
            polars series, or an Arrow array.

    Raises:
        TypeError: it holds no cells in an order.

    Example:
        >>> column_cells(np.array([0.5, 0.25], np.float32))
        [np.float32(0.5), np.float32(0.25)]
    """
    if isinstance(column, str | bytes | bytearray | Mapping | Set):
        raise TypeError(f"{type(column).__name__} is not a sequence of cells")
    if not isinstance(column, Iterable) or getattr(column, "ndim", 1) != 1:
        raise TypeError(f"{type(column).__name__} is not a sequence of cells")
    if hasattr(column, "to_pylist"):
        return _arrow_cells(column)
    if hasattr(column, "to_physical"):
        return _polars_cells(column)
    if hasattr(column, "array") and hasattr(column, "to_numpy"):
        return _pandas_cells(column.array)
    return list(column)


def plain(cell: Any) -> Cell:
    """Returns a cell as one of the few types that its meaning depends on.

    Raises:
        UnreadableCellError: it is of another type, or bytes that are not UTF-8.

    Example:
        >>> plain(np.datetime64("1970-01-02", "D"))
        Instant(ticks=86400, per_second=1, zoned=False)
        >>> plain(b"Rome"), plain(np.int8(3)), plain(float("nan"))
        ('Rome', 3, None)
    """
    match cell:
        case None:
            return None
        case str():
            return str.__str__(cell)  # also of an enumeration
        case bool() | np.bool_():
            return bool(cell)
        case np.timedelta64():  # before integers, which numpy takes it for
            return _numpy_span(cell)
        case np.datetime64():
            return _numpy_instant(cell, zoned=False)
        case int() | np.integer():
            return int(cell)
        case float():
            return None if cell != cell else float(cell)
        case np.floating():
            return None if np.isnan(cell) else cell
        case Decimal():
            return None if cell.is_nan() else cell
        case bytes() | bytearray():
            return _decoded(bytes(cell))
        case Instant() | Duration():
            return cell
    return _temporal(cell)


def _temporal(cell: Any) -> Cell:
    """A cell of the types of datetime and pandas."""
    if hasattr(cell, "to_datetime64"):  # pandas' Timestamp and NaT
        return _numpy_instant(cell.to_datetime64(), zoned=cell.tzinfo is not None)
    if hasattr(cell, "to_timedelta64"):
        return _numpy_span(cell.to_timedelta64())
    match cell:
        case datetime.datetime():
            return instant_of(cell)
        case datetime.date():
            days = cell.toordinal() - _EPOCH.toordinal()
            return Instant(days * 86400, 1, zoned=False)
        case datetime.timedelta():
            return Duration(cell // _MICROSECOND, 10**6)
        case datetime.time(tzinfo=None):
            seconds = (cell.hour * 60 + cell.minute) * 60 + cell.second
            return Duration(seconds * 10**6 + cell.microsecond, 10**6)
    if cell is np.ma.masked or type(cell).__name__ == "NAType":  # pandas.NA
        return None
    raise UnreadableCellError(f"a cell of type {type(cell).__name__} cannot be read")


def _decoded(cell: bytes) -> str:
    try:
        return cell.decode("utf-8")
    except UnicodeDecodeError:
        raise UnreadableCellError(f"{cell!r:.40} is not text in UTF-8") from None


def _numpy_instant(cell: np.datetime64, *, zoned: bool) -> Cell:
    if np.isnat(cell):
        return None
    if np.datetime_data(cell.dtype)[0] in ("Y", "M"):
        cell = cell.astype("datetime64[D]")
    return Instant(*_numpy_count(cell), zoned)


def _numpy_span(cell: np.timedelta64) -> Cell:
    return None if np.isnat(cell) else Duration(*_numpy_count(cell))


def _numpy_count(cell: np.datetime64 | np.timedelta64) -> tuple[int, int]:
    unit, step = np.datetime_data(cell.dtype)
    count = int(cell.astype(np.int64)) * step
    if unit in _SECONDS:
        return count * _SECONDS[unit], 1
    if unit not in _PER_SECOND:
        raise UnreadableCellError(f"{cell!r} has no fixed length in seconds")
    return count, _PER_SECOND[unit]


def _counted(kind: str, counts: Iterable[int | None], unit: str | None, zoned: bool) -> list[Cell]:
    """Cells of a temporal column whose counts are given as whole numbers."""
    if kind == "date":
        counts, unit = (None if n is None else n * 86400 for n in counts), "s"
    per_second = _PER_SECOND[unit or "ms"]
    if kind in ("date", "timestamp"):
        return [None if n is None else Instant(n, per_second, zoned) for n in counts]
    return [None if n is None else Duration(n, per_second) for n in counts]


def _arrow_cells(column: Any) -> list[Any]:
    kind = str(column.type)
    if kind.startswith("dictionary"):
        return _arrow_cells(column.cast(column.type.value_type))
    if kind in ("float", "halffloat"):
        return _floats(column.to_pylist(), np.float32 if kind == "float" else np.float16)
    if kind == "date32[day]":
        return _counted("date", column.cast("int32").to_pylist(), None, zoned=False)
    if kind == "date64[ms]":
        return _counted("timestamp", column.cast("int64").to_pylist(), "ms", zoned=False)
    if kind.startswith("time32"):
        return _counted("time", column.cast("int32").to_pylist(), column.type.unit, zoned=False)
    if kind.startswith(("timestamp[", "time64[", "duration[")):
        zoned = getattr(column.type, "tz", None) is not None
        counts = column.cast("int64").to_pylist()
        return _counted(kind.partition("[")[0], counts, column.type.unit, zoned)
    cells: list[Any] = column.to_pylist()
    return cells


def _polars_cells(column: Any) -> list[Any]:
    kind = type(column.dtype).__name__ if hasattr(column.dtype, "time_unit") else str(column.dtype)
    if kind in ("Float32", "Float16"):
        return _floats(column.to_list(), getattr(np, kind.lower()))
    if kind in ("Date", "Time", "Datetime", "Duration"):
        unit = getattr(column.dtype, "time_unit", "ns")
        zoned = getattr(column.dtype, "time_zone", None) is not None
        name = "timestamp" if kind == "Datetime" else kind.lower()
        return _counted(name, column.to_physical().to_list(), unit, zoned)
    cells: list[Any] = column.to_list()
    return cells


def _pandas_cells(array: Any) -> list[Any]:
    if hasattr(array, "categories") and hasattr(array, "codes"):
        categories = column_cells(array.categories)
        return [None if code < 0 else categories[code] for code in array.codes.tolist()]
    if hasattr(array.dtype, "pyarrow_dtype"):
        return _arrow_cells(array.__arrow_array__())
    # Of what is numpy's within, its own cells: those that pandas makes of dates take their time.
    return list(np.asarray(array) if isinstance(array.dtype, np.dtype) else array)


def _floats(cells: list[float | None], dtype: type[np.floating[Any]]) -> list[Any]:
    return [None if cell is None else dtype(cell) for cell in cells]
