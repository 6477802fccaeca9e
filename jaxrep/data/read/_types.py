"""Columns with the types that their file gives them, encodings undone."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .._types import is_text_type


def plain_type(kind: Any) -> Any:
    """Returns the type of the values: without dictionary or run-length encoding, text as string.

    Example:
        >>> plain_type(pa.dictionary(pa.int8(), pa.large_string()))
        DataType(string)
    """
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    return pa.string() if is_text_type(kind) else kind


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Returns the names with their plain types, without metadata."""
    return pa.schema([(field.name, plain_type(field.type)) for field in schema])


def plain(batch: Any) -> pa.Table:
    """Returns a record batch as a table of plain types.

    Raises:
        pyarrow.ArrowInvalid: text that is not UTF-8.
    """
    columns = [_plain_column(column) for column in batch.columns]
    return pa.Table.from_arrays(columns, names=batch.schema.names)


def _plain_column(column: Any) -> Any:
    if pa.types.is_run_end_encoded(column.type):
        column = pc.run_end_decode(column)
    if is_text_type(plain_type(column.type)):
        column.validate(full=True)
    target = plain_type(column.type)
    return column if column.type == target else column.cast(target)
