"""Turns columns of any type into those a table has here: float64 and string, or typed labels."""

from collections.abc import Collection, Iterable
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jaxrep.errors import InputError

from ._arrow import texts_to_arrow, to_arrow
from ._request import Request, infinite, not_a_number


def conform(table: pa.Table, request: Request) -> pa.Table:
    """Returns the table with every column as float64 or, where the request says so, otherwise."""
    text = request.text_among(table.column_names)
    columns = {}
    for name in table.column_names:
        column = table[name]
        if name in request.kept_columns:
            columns[name] = _as_stored(column, name, request.source)
        elif name in request.typed_columns:
            columns[name] = as_typed(column, name, request.source)
        elif name in text:
            columns[name] = _as_text(column, name, request.source)
        else:
            columns[name] = as_numbers(column, name, request.source)
    return pa.table(columns)


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
    if is_text(kind):
        refuse_text(column.chunks, name, source)
    if pa.types.is_date(kind):
        return _seconds(column.cast(pa.timestamp("ms")))
    if pa.types.is_timestamp(kind):
        return _seconds(column)
    if not _is_number(kind) and not pa.types.is_null(kind):
        raise _unreadable_type(kind, name, source)
    return column.cast(pa.float64(), safe=False)  # int64 beyond 2⁵³ is rounded, not refused


def as_typed(column: Any, name: str, source: str) -> Any:
    """Returns a column as string, bool, int64 or float64, whichever its values are.

    Integers keep all their digits, decimals become float64, points in time seconds since 1970-01-01
    UTC; dictionaries are decoded; empty text is null, as it is in a file.

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
    kind = column.type
    if pa.types.is_dictionary(kind):
        return as_typed(column.cast(kind.value_type), name, source)
    if is_text(kind) or pa.types.is_null(kind):
        return _without(column.cast(pa.string()), texts_to_arrow([""]))
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


def is_text(kind: Any) -> bool:
    """Returns whether an Arrow type is strings, or a dictionary of strings."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def mark_missing(table: pa.Table, request: Request) -> pa.Table:
    """Returns the table with `na_values`, and empty text, as null.

    In numeric columns the entries of `na_values` are compared as numbers, so that `-999` is
    missing in a Parquet file too, and when a CSV says `-999.0`. Kept columns stay as they are.
    """
    words = sorted({"", *request.na_values})
    columns = {}
    for name in table.column_names:
        column = table[name]
        if name in request.kept_columns:
            pass
        elif column.type == pa.string():
            column = _without(column, texts_to_arrow(words))
        else:
            column = without_numbers(column, request.na_values)
        columns[name] = column
    return pa.table(columns)


def without_empty(table: pa.Table, names: Collection[str]) -> pa.Table:
    """Returns the table with empty text in some of its columns as null."""
    for i, name in enumerate(table.column_names):
        if name in names:
            table = table.set_column(i, name, _without(table[name], texts_to_arrow([""])))
    return table


def without_numbers(column: Any, na_values: Collection[str]) -> Any:
    """Returns a column of numbers with those null that one of `na_values` says."""
    numbers = _numbers_among(na_values)
    return _without(column, to_arrow(np.array(numbers))) if numbers else column


def refuse_infinite(table: pa.Table, source: str, before: int = 0) -> None:
    """Raises an InputError that names column and row of the first infinite number.

    Args:
        table: rows of the source.
        source: where they come from, for messages.
        before: how many rows of the source stand before them.
    """
    for name in table.column_names:
        column = table[name]
        if column.type == pa.float64() and pc.any(pc.is_inf(column)).as_py():
            row = int(np.flatnonzero(np.isinf(column.to_numpy()))[0]) + 1
            raise infinite(source, name, before + row)


def refuse_text(chunks: Iterable[Any], name: str, source: str) -> NoReturn:
    """Raises the InputError for a column of text where numbers are due, with its first value.

    Args:
        chunks: the column's pyarrow Arrays from its first row on.
        name: the column's name.
        source: where the table comes from.
    """
    before = 0
    for chunk in chunks:
        cells = chunk.cast(pa.string())
        row = pc.index(pc.is_valid(cells), True).as_py()
        if row >= 0:
            raise not_a_number(source, name, before + row + 1, cells[row].as_py())
        before += len(cells)
    raise InputError(
        f"{source}: column {name!r} is text without a single value; "
        "leave it out, or name it with --categorical, --label or --id-column"
    )


def _without(column: Any, values: Any) -> Any:
    found = pc.is_in(column.cast(values.type, safe=False), value_set=values)
    if not pc.any(found).as_py():
        return column  # spares the copy
    return pc.if_else(found, pa.scalar(None, column.type), column)


def _numbers_among(words: Collection[str]) -> list[float]:
    numbers = []
    for word in sorted(words):
        try:
            numbers.append(float(word))
        except ValueError:
            continue
    return numbers


def _as_text(column: Any, name: str, source: str) -> Any:
    _check_cells(column.type, name, source)
    return column.cast(pa.string())


def _as_stored(column: Any, name: str, source: str) -> Any:
    """Returns a column with the type that it has: text as string, dictionaries decoded."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _as_stored(column.cast(kind.value_type), name, source)
    _check_cells(kind, name, source)
    return column.cast(pa.string()) if is_text(kind) or pa.types.is_null(kind) else column


def _check_cells(kind: Any, name: str, source: str) -> None:
    known = is_text(kind) or _is_number(kind) or pa.types.is_temporal(kind)
    if not known and not pa.types.is_null(kind):
        raise _unreadable_type(kind, name, source)


def _is_number(kind: Any) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    )


def _seconds(column: Any) -> Any:
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[column.type.unit]
    counts = column.cast(pa.int64()).cast(pa.float64(), safe=False)
    return pc.divide(counts, float(per_second))


def _unreadable_type(kind: Any, name: str, source: str) -> InputError:
    return InputError(
        f"{source}: column {name!r} has the type {kind}; jaxrep reads numbers, dates and text: "
        "convert or remove the column"
    )
