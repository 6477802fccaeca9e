"""Reads Arrow files and streams, Feather among them."""

import contextlib
import os
from collections.abc import Callable, Collection, Iterator
from typing import Any

import pyarrow as pa

from jaxrep.errors import InputError

from .._blocks import block_rows
from .._names import selected
from ._files import TableFile
from ._pandas_index import note_index, table_columns
from ._types import plain, plain_schema

_END = b"\xff\xff\xff\xff\0\0\0\0"


def arrow_schema(file: TableFile) -> pa.Schema:
    """Returns the columns of an Arrow file or stream with their plain types.

    Raises:
        InputError: there are no columns, or names are missing or stand twice.
        pyarrow.ArrowException: the file is broken.
    """
    with pa.memory_map(os.fsencode(file.path)) as stored:
        schema = _opened(stored, file).schema
        names = table_columns(schema, file.source)
        return plain_schema(pa.schema([schema.field(name) for name in names]))


def read_arrow(
    file: TableFile, columns: Collection[str] | None, note: Callable[[str], None]
) -> Iterator[pa.Table]:
    """Reads an Arrow file or stream, one record batch after another.

    Raises:
        InputError: as `arrow_schema`.
        pyarrow.ArrowException: the file is broken.
    """
    # Mapped, since a file is often one record batch, which would be read whole.
    with pa.memory_map(os.fsencode(file.path)) as stored:
        reader = _opened(stored, file)
        schema = reader.schema
        names = selected(table_columns(schema, file.source), columns, file.source)
        note_index(schema, note)
        for batch in _batches(reader):
            # pyarrow's own selection of fields copies them out of the mapped memory.
            batch = batch.select(names)
            batch.validate(full=True)
            size = block_rows(len(names))
            for start in range(0, batch.num_rows, size):
                yield plain(batch.slice(start, size))
        if isinstance(reader, pa.ipc.RecordBatchStreamReader) and not _has_end(stored):
            note("the Arrow stream has no end mark; it may be cut off")


def _opened(stored: Any, file: TableFile) -> Any:
    start = stored.read(8)
    stored.seek(0)
    if start.startswith(b"ARROW1"):
        return pa.ipc.open_file(stored)
    if start.startswith(b"FEA1"):
        raise InputError(f"{file.source}: Feather version 1, which is not read; write it anew")
    return pa.ipc.open_stream(stored)


def _batches(reader: Any) -> Iterator[Any]:
    if isinstance(reader, pa.ipc.RecordBatchFileReader):
        for i in range(reader.num_record_batches):
            yield reader.get_batch(i)
        return
    with contextlib.suppress(StopIteration):
        while True:
            yield reader.read_next_batch()


def _has_end(stored: Any) -> bool:
    stored.seek(max(stored.size() - len(_END), 0))
    return bool(stored.read(len(_END)) == _END)
