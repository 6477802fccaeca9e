"""Families of Arrow types, and columns without encodings."""

from typing import Any

import pyarrow as pa


def is_text_type(kind: Any) -> bool:
    """Says whether an Arrow type is of strings."""
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def is_bytes_type(kind: Any) -> bool:
    """Says whether an Arrow type is of bytes."""
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def is_number_type(kind: Any) -> bool:
    """Says whether an Arrow type is of numbers."""
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def is_datetime_type(kind: Any) -> bool:
    """Says whether an Arrow type is of dates or timestamps."""
    return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def is_duration_type(kind: Any) -> bool:
    """Says whether an Arrow type is of durations, or of times of day."""
    return bool(pa.types.is_duration(kind) or pa.types.is_time(kind))


def decoded(cells: Any) -> Any:
    """Returns a ChunkedArray without dictionaries, text as `string`, and bytes if all are UTF-8."""
    kind = cells.type
    if pa.types.is_dictionary(kind):
        return decoded(cells.cast(kind.value_type))
    if kind != pa.string() and is_text_type(kind):
        return cells.cast(pa.string())
    if is_bytes_type(kind):
        try:
            return cells.cast(pa.string())
        except pa.ArrowInvalid:  # not UTF-8
            return cells
    if isinstance(kind, pa.BaseExtensionType):
        return decoded(pa.chunked_array([c.storage for c in cells.chunks], kind.storage_type))
    return cells
