"""Reads Parquet files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from ._blocks import block_rows
from ._conform import conform, is_text, refuse_text
from ._request import Request

_BUFFER = 1 << 20  # bytes read at once of each column


def read_parquet(path: Path, request: Request) -> Iterator[pa.Table]:
    """Reads a .parquet file: numbers and dates as float64, the text columns as string.

    Raises:
        InputError: a column has a type that is neither, or stands twice; see `read_table`.
        pyarrow.ArrowException: the file is broken.
    """
    import pyarrow.parquet as pq

    # With pyarrow's own settings a row group is read whole, and the next ones before their time.
    with pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file:
        schema = file.schema_arrow
        text = request.text_among(schema.names)  # refuses bad names before reading
        for field in schema:
            if field.name not in text and is_text(field.type):
                refuse_text(_column(file, field.name), field.name, request.source)
        left = file.metadata.num_rows
        for batch in file.iter_batches(block_rows(len(schema))):
            yield conform(pa.Table.from_batches([batch]), request)
            left -= batch.num_rows
        if left:  # pyarrow takes pages that are not there for the end of the file
            raise EOFError(f"it ends {left} rows too early")


def _column(file: Any, name: str) -> Iterator[Any]:
    for batch in file.iter_batches(columns=[name]):
        yield batch.column(name)
