"""Reads Parquet files, and folders of them."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from jaxrep.errors import InputError

from ._blocks import block_rows
from ._conform import conform, is_text, refuse_text
from ._request import Request, listed

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
        if not schema.names:  # no pages, then, to tell whether there are as many rows as it says
            raise InputError(f"{request.source}: the table has no columns")
        text = request.text_among(schema.names)  # refuses bad names before reading
        for field in schema:
            if field.name not in text and is_text(field.type):
                refuse_text(_column(file, field.name), field.name, request.source)
        left = file.metadata.num_rows
        for batch in file.iter_batches(block_rows(len(schema))):
            yield conform(pa.Table.from_batches([_valid(batch)]), request)
            left -= batch.num_rows
        if left:  # pyarrow takes pages that are not there for the end of the file
            raise EOFError(f"it ends {left} rows too early")


def read_parquet_folder(path: Path, request: Request) -> Iterator[pa.Table]:
    """Reads the .parquet files of a folder one after another, sorted by name.

    Raises:
        InputError: the columns of a file are not those of the first, or as `read_parquet`; the
            message names the file.
    """
    found = parquet_files(path)
    _check_schemas(found, request.source)
    for file in found:
        try:
            yield from read_parquet(file, dataclasses.replace(request, source=str(file)))
        except (pa.ArrowException, OSError, EOFError) as error:
            raise _broken(file, error) from None


def parquet_files(path: Path) -> list[Path]:
    """Returns the .parquet files of a folder, sorted by name; hidden ones are none of them."""
    return sorted(
        file
        for file in path.iterdir()
        if file.suffix.lower() == ".parquet" and file.is_file() and file.name[0] not in "._"
    )


def _check_schemas(found: list[Path], source: str) -> None:
    first: pa.Schema | None = None
    for file in found:
        schema = _schema_of(file)
        first = first or schema
        if not schema.equals(first):
            raise InputError(
                f"{source}: {file.name} has other columns than {found[0].name} "
                f"({_difference(schema, first)}); all files of a folder must agree"
            )


def _schema_of(file: Path) -> pa.Schema:
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise _broken(file, error) from None


def _difference(schema: pa.Schema, first: pa.Schema) -> str:
    if absent := [name for name in first.names if name not in schema.names]:
        return f"missing columns {listed(absent)}"
    if extra := [name for name in schema.names if name not in first.names]:
        return f"extra columns {listed(extra)}"
    for field in first:
        if schema.field(field.name).type != field.type:
            return f"{field.name!r} is {schema.field(field.name).type}, not {field.type}"
    return "in another order"


def _broken(file: Path, error: Exception) -> InputError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return InputError(f"{file}: the file is broken or cannot be read ({reason})")


def _column(file: Any, name: str) -> Iterator[Any]:
    for batch in file.iter_batches(columns=[name]):
        yield _valid(batch).column(name)


def _valid(batch: Any) -> Any:
    """Returns the batch, or raises a pyarrow.ArrowInvalid for text that is not UTF-8."""
    for column in batch.columns:
        if is_text(column.type):
            column.validate(full=True)
    return batch
