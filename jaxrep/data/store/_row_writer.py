"""Writes the rows of a prepared folder, and continues where it was interrupted."""

import contextlib
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from jaxrep import files
from jaxrep.batch import Batch
from jaxrep.errors import InputError

from .. import read
from ..transform import Counts, apply_blocks, to_raw
from . import _signed
from ._parts import bytes_of, chunk_digest
from ._plan import Plan, check_space

_LABEL_ROWS = 1 << 17  # written at once


def write_rows(
    out: Path, plan: Plan, begin: Callable[[], Iterable[pa.Table]], note: Callable[[str], None]
) -> None:
    """Writes the rows that are not there yet, then the manifest.

    Args:
        out: the folder, begun.
        plan: what it is to hold.
        begin: begins to read the whole table.
        note: takes what the user should know.

    Raises:
        InputError: the table has changed since its first pass, or the disk is too small.
    """
    source = plan.asked.source
    with contextlib.ExitStack() as stack:
        rows = [stack.enter_context((out / part.name).open("a+b")) for part in plan.parts]
        journal = stack.enter_context((out / _signed.JOURNAL).open("a+"))
        wholes = [hashlib.sha256() for _ in rows]
        chunks = _kept_chunks(rows, journal, plan, wholes)
        if done := len(chunks) * plan.chunk_rows:
            note(f"{out}: continuing after row {min(done, plan.rows):,} of {plan.rows:,}")
        check_space(out, plan, sum(file.tell() for file in rows))
        count, cells = len(chunks) * plan.chunk_rows, Counts()
        with _writing_labels(out / _signed.LABELS, plan.schema.label, begin()) as blocks:
            for x in _features(plan, blocks, len(chunks), source, cells):
                chunks.append(_append(rows, journal, x, wholes))
                count += len(x.numbers)
        if min(count, plan.rows) != plan.rows or read.digests(source) != plan.asked.files:
            raise InputError(f"{source}: the table changed while it was read; prepare it again")
        for file in rows:
            os.fsync(file.fileno())
    labels = None
    if plan.schema.label is not None:
        files.flush_to_disk(out / _signed.LABELS)
        labels = files.sha256(out / _signed.LABELS)
    numbers, *codes = [whole.hexdigest() for whole in wholes]
    spec = plan.schema.row_spec()
    cells = cells.without_merged(plan.schema)  # which is fitted to this very table
    manifest = _signed.Manifest(
        asked=plan.asked,
        rows=plan.rows,
        numbers=spec.numbers,
        codes=spec.codes,
        chunk_rows=plan.chunk_rows,
        sha256=_signed.Digests(plan.schema_sha256, numbers, next(iter(codes), None), labels),
        chunks=chunks,
        cells=cells.to_json(),
    )
    for sentence in cells.sentences(source):
        note(f"warning: {sentence}")
    _signed.write(out / _signed.MANIFEST, manifest)
    for name in (_signed.UNFINISHED, _signed.JOURNAL):
        (out / name).unlink()


def _kept_chunks(
    rows: Sequence[IO[bytes]], journal: IO[str], plan: Plan, wholes: Sequence[Any]
) -> list[str]:
    """Returns the digests of the chunks that are there and whole, and cuts off what follows."""
    journal.seek(0)
    for file in rows:
        file.seek(0)
    kept: list[str] = []
    for line in journal.read().splitlines()[: plan.chunks]:
        count = plan.rows_of(len(kept))
        parts = zip(rows, plan.parts, strict=True)
        data = [file.read(count * part.row_bytes) for file, part in parts]
        if chunk_digest(data) != line:
            break
        for whole, read_bytes in zip(wholes, data, strict=True):
            whole.update(read_bytes)
        kept.append(line)
    for file, part in zip(rows, plan.parts, strict=True):
        file.truncate(min(len(kept) * plan.chunk_rows, plan.rows) * part.row_bytes)
        file.seek(0, os.SEEK_END)
    journal.truncate(0)
    journal.write("".join(f"{line}\n" for line in kept))
    journal.flush()
    return kept


def _features(
    plan: Plan, blocks: Iterable[pa.Table], skipped: int, source: str, counts: Counts
) -> Iterator[Batch]:
    """Yields the features of each block after the first `skipped`, whose cells are counted alone.

    Args:
        plan: holds the schema.
        blocks: the whole table.
        skipped: how many of its blocks are there already.
        source: where the table comes from, for messages.
        counts: takes the cells that could not be placed, of all blocks.
    """
    blocks = iter(blocks)
    for block in itertools.islice(blocks, skipped):
        to_raw(plan.schema, block, source=source, counts=counts)
    for _, x in apply_blocks(plan.schema, blocks, source=source, counts=counts):
        yield x


@contextlib.contextmanager
def _writing_labels(
    path: Path, name: str | None, blocks: Iterable[pa.Table]
) -> Iterator[Iterable[pa.Table]]:
    """Yields the blocks, whose label column is in a Parquet file once all have been taken."""
    if name is None:
        yield blocks
        return
    import pyarrow.parquet as pq

    blocks = iter(blocks)
    first = next(blocks)
    with pq.ParquetWriter(path, first.select([name]).schema) as writer:

        def passing() -> Iterator[pa.Table]:
            waiting: list[pa.Table] = []
            count = 0
            for block in itertools.chain([first], blocks):
                yield block
                waiting.append(block.select([name]))
                count += block.num_rows
                # Wide tables have blocks of few rows, each of which would be a row group.
                if count >= _LABEL_ROWS:
                    writer.write_table(pa.concat_tables(waiting))
                    waiting, count = [], 0
            if waiting:
                writer.write_table(pa.concat_tables(waiting))

        yield passing()


def _append(rows: Sequence[IO[bytes]], journal: IO[str], x: Batch, wholes: Sequence[Any]) -> str:
    """Appends a chunk, and notes its digest once it is on the disk."""
    data = bytes_of(x)
    for file, whole, part in zip(rows, wholes, data, strict=True):
        file.write(part)
        file.flush()
        os.fdatasync(file.fileno())
        whole.update(part)
    digest = chunk_digest(data)
    journal.write(digest + "\n")
    journal.flush()
    return digest
