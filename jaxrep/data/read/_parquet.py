"""Reads Parquet files."""

import os
from collections.abc import Callable, Collection, Iterator
from typing import Any

import pyarrow as pa

from .._blocks import block_rows
from .._names import selected
from ._files import TableFile
from ._pandas_index import note_index, table_columns
from ._types import plain, plain_schema

_BUFFER = 1 << 20  # bytes read at once of each column


def parquet_schema(file: TableFile) -> pa.Schema:
    """Returns the columns of a Parquet file with their plain types.

    Raises:
        InputError: there are no columns, or names are missing or stand twice.
        pyarrow.ArrowException: the file is broken.
    """
    import pyarrow.parquet as pq

    with pa.OSFile(os.fsencode(file.path)) as stream:
        schema = pq.read_schema(stream)
    names = table_columns(schema, file.source)
    return plain_schema(pa.schema([schema.field(name) for name in names]))


def read_parquet(
    file: TableFile, columns: Collection[str] | None, note: Callable[[str], None]
) -> Iterator[pa.Table]:
    """Reads a Parquet file piece by piece.

    Raises:
        InputError: as `parquet_schema`.
        pyarrow.ArrowException: the file is broken.
        EOFError: rows are missing.
    """
    import pyarrow.parquet as pq

    # With pyarrow's own settings a row group is read whole, and the next ones before their time.
    with (
        pa.OSFile(os.fsencode(file.path)) as stream,
        pq.ParquetFile(stream, buffer_size=_BUFFER, pre_buffer=False) as parquet,
    ):
        schema = parquet.schema_arrow
        names = selected(table_columns(schema, file.source), columns, file.source)
        note_index(schema, note)
        left = parquet.metadata.num_rows
        asked: Any = None if names == schema.names else names
        for batch in parquet.iter_batches(block_rows(len(names)), columns=asked):
            yield plain(batch.select(names))  # a dot in a name selects more than the column
            left -= batch.num_rows
        if left:  # pyarrow takes pages that are not there for the end of the file
            raise EOFError(f"it ends {left} rows too early")
