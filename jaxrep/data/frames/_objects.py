"""Columns of any origin as Arrow columns of plain types: no dictionaries, one type of text."""

import datetime
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jaxrep.errors import InputError

from .._messages import cell, shortened
from .._types import is_text_type

# The first that fits names a cell's family: a timedelta64 is an integer for NumPy too, a bool for
# Python, a datetime a date.
_FAMILIES: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("datetime64", (np.datetime64,)),
    ("timedelta64", (np.timedelta64,)),
    ("boolean", (bool, np.bool_)),
    ("integer", (int, np.integer)),
    ("float", (float, np.floating)),
    ("text", (str,)),
    ("bytes", (bytes,)),
    ("decimal", (Decimal,)),
    ("datetime", (datetime.datetime,)),
    ("date", (datetime.date,)),
    ("time", (datetime.time,)),
    ("timedelta", (datetime.timedelta,)),
    ("complex", (complex, np.complexfloating)),
    ("nested", (list, tuple, dict, set, frozenset, np.ndarray)),
)

# pyarrow would take more together, and lose the time of day of datetimes among dates.
_TOGETHER = ({"integer", "float"}, {"integer", "decimal"})


def from_cells(values: Sequence[Any], name: str, source: str) -> Any:
    """Returns Python objects as an Arrow column.

    Objects of one kind get its type, integers among floats or decimals that of the others. In any
    other mixture each becomes text: a str as it is, numbers in their shortest digits, True and
    False, dates and times as ISO 8601. None, NaN, NaT and pandas' NA are null.

    Args:
        values: the cells.
        name: the column's name, for messages.
        source: where the table comes from, for messages.

    Raises:
        InputError: a cell is a complex number, a list or another container, text that is not
            Unicode, or an object without a text of its own.

    Example:
        >>> from_cells([1, None, True], "a", "X").to_pylist()
        ['1', None, 'True']
    """
    kinds = {kind: _family(kind) for kind in set(map(type, values))}
    unsure = {kind for kind, family in kinds.items() if family not in ("text", "boolean")}
    if unsure:
        values = [None if type(v) in unsure and _is_missing(v) else v for v in values]
        kinds = {kind: kinds[kind] for kind in set(map(type, values)) - {type(None)}}
    families = set(kinds.values())
    for refused, what in (("complex", "a complex number"), ("nested", "not a single value")):
        if refused in families:
            row = next(i for i, v in enumerate(values) if kinds.get(type(v)) == refused)
            raise _unreadable(source, name, row, values[row], what)
    if families != {"other"} and (len(families) <= 1 or families in _TOGETHER):
        try:
            return _of_one_type(values, families)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            pass  # integers beyond int64 or infinite decimals, which become text
    return _texts(values, name, source)


def plain(column: Any, name: str, source: str) -> Any:
    """Returns an Arrow column with dictionaries decoded, text as string, bytes as binary.

    Args:
        column: a pyarrow Array or ChunkedArray.
        name: the column's name, for messages.
        source: where the table comes from, for messages.

    Raises:
        InputError: the column holds lists, structs or maps, or a type that nothing here reads.

    Example:
        >>> plain(pa.array(["a", "b", "a"]).dictionary_encode(), "t", "X").type
        DataType(string)
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        # The levels first: not all types can be decoded. An array for the type where no chunk is.
        empty = plain(pa.array([], kind.value_type), name, source)
        levels = [(plain(c.dictionary, name, source), c.indices) for c in chunks(column)]
        decoded = [array for text, codes in levels for array in chunks(pc.take(text, codes))]
        return pa.chunked_array(decoded, empty.type)
    if pa.types.is_run_end_encoded(kind):
        decoded = [pc.run_end_decode(chunk) for chunk in chunks(column)]
        return plain(pa.chunked_array(decoded, kind.value_type), name, source)
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name in ("arrow.bool8", "arrow.json"):
            storage = pa.chunked_array([c.storage for c in chunks(column)], kind.storage_type)
            is_bool = kind.extension_name == "arrow.bool8"
            return plain(storage.cast(pa.bool_()) if is_bool else storage, name, source)
        if kind.extension_name == "arrow.uuid":
            return from_cells(column.to_pylist(), name, source)
    if is_text_type(kind) and kind != pa.string():
        return _cast(column, pa.string(), name, source)
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return _cast(column, pa.binary(), name, source)
    if not (pa.types.is_primitive(kind) or _is_plain(kind)) or pa.types.is_interval(kind):
        raise InputError(
            f"{source}: column {name!r} has the type {kind}; jaxrep reads numbers, dates, times "
            "and text: convert or remove the column"
        )
    return column


def _is_plain(kind: Any) -> bool:
    tests: tuple[Callable[[Any], Any], ...] = (
        is_text_type,
        pa.types.is_binary,
        pa.types.is_fixed_size_binary,
        pa.types.is_decimal,
        pa.types.is_null,
    )
    return any(test(kind) for test in tests)


def chunks(column: Any) -> list[Any]:
    """Returns the arrays of a ChunkedArray, or the array alone."""
    return column.chunks if isinstance(column, pa.ChunkedArray) else [column]


def _cast(column: Any, kind: Any, name: str, source: str) -> Any:
    """Casts text or bytes, in chunks where one array of strings cannot hold them (2 GiB)."""
    waiting, done = list(reversed(chunks(column))), []
    while waiting:
        chunk = waiting.pop()
        try:
            done.append(chunk.cast(kind))
        except pa.ArrowInvalid as error:
            if len(chunk) < 2:
                raise InputError(f"{source}: column {name!r}: {error}") from None
            half = len(chunk) // 2
            waiting += [chunk.slice(half), chunk.slice(0, half)]
    return pa.chunked_array(done, kind)


def _family(kind: type) -> str:
    return next((name for name, kinds in _FAMILIES if issubclass(kind, kinds)), "other")


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, Decimal):
        return value.is_nan()
    numbers = (float, np.floating, np.datetime64, np.timedelta64)
    return isinstance(value, numbers) and bool(value != value)


def _of_one_type(values: Sequence[Any], families: set[str]) -> Any:
    if families & {"datetime64", "timedelta64"}:
        kind = next(iter(families))
        filled = [getattr(np, kind)("NaT") if v is None else v for v in values]
        return from_numpy_times(np.array(filled))
    if families == {"datetime"}:
        there = [v for v in values if v is not None]
        if len({v.tzinfo is None for v in there}) > 1:
            raise ValueError  # as points in time they cannot be compared
        if len({v.utcoffset() for v in there}) > 1 and len({v.tzinfo for v in there}) > 1:
            values = [v if v is None else v.astimezone(datetime.UTC) for v in values]
        kind = pa.infer_type(values)
        if any(getattr(v, "nanosecond", 0) for v in there):  # pandas' own, cut off otherwise
            return pa.array(values, pa.timestamp("ns", kind.tz))
    if families == {"timedelta"} and any(getattr(v, "nanoseconds", 0) for v in values):
        return pa.array(values, pa.duration("ns"))
    if families == {"float"}:
        values = [float(v) if isinstance(v, np.longdouble) else v for v in values]
    return pa.array(values)


def from_numpy_times(values: Any) -> Any:
    """Returns datetime64 or timedelta64 in the nearest unit that Arrow has.

    Example:
        >>> from_numpy_times(np.array(["2024-05", "NaT"], "datetime64[M]")).to_pylist()
        [datetime.date(2024, 5, 1), None]
    """
    unit = np.datetime_data(values.dtype)[0]
    if values.dtype.kind == "M":
        arrow = {"Y": "D", "M": "D", "W": "D", "h": "s", "m": "s", "generic": "s"}.get(unit, unit)
    else:  # a timedelta64 in months or years has no length, and NumPy refuses it
        arrow = {"W": "s", "D": "s", "h": "s", "m": "s", "generic": "s"}.get(unit, unit)
    return pa.array(values.astype(f"{values.dtype.kind}8[{arrow}]"))


def _texts(values: Sequence[Any], name: str, source: str) -> Any:
    texts: list[str | None] = []
    for row, value in enumerate(values):
        try:
            text = None if value is None else _text(value)
            if text is not None:
                text.encode()
        except UnicodeError:
            raise _unreadable(source, name, row, value, "not Unicode text") from None
        except TypeError:
            raise _unreadable(source, name, row, value, "no value that is known") from None
        texts.append(text)
    return pa.array(texts, pa.string())


def _text(value: Any) -> str:
    if isinstance(value, str):
        return str.__str__(value)  # of an enumeration's member its value
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, datetime.timedelta) and type(value).__name__ != "Timedelta":
        clock = (datetime.datetime.min + (value - datetime.timedelta(value.days))).time()
        return f"{value.days} days {'+' if value.days < 0 else ''}{clock.isoformat()}"
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    kind: Any = type(value)
    is_address = kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__
    if is_address or hasattr(kind, "__iter__"):
        raise TypeError
    return str(value)


def _unreadable(source: str, name: str, row: int, value: Any, what: str) -> InputError:
    return InputError(
        f"{cell(source, name, row)}: {shortened(str(value))} is {what}; "
        "convert or remove the column"
    )
