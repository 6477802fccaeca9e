"""Reads Parquet files."""

from pathlib import Path

import pyarrow as pa

from ._conform import conform
from ._request import Request


def read_parquet(path: Path, request: Request) -> pa.Table:
    """Reads a .parquet file: numbers and dates as float64, the text columns as string.

    Raises:
        InputError: a column has a type that is neither, or stands twice; see `read_table`.
        pyarrow.ArrowException: the file is broken.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        request.text_among(file.schema_arrow.names)  # refuses bad names before reading
        return conform(file.read(), request)
