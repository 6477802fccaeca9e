"""Turns a table of any length into a folder of standardised rows: `jaxrep prepare`.

A first pass fits the preprocessing; then `unfinished.json` says what is being made. A second one
appends the features to `rows.f32`, chunk by chunk, each noted in `chunks.txt` with its digest once
it is on the disk. The label column, if one is named, it writes to `labels.parquet`, anew where it
was interrupted. `manifest.json`, written last, makes the folder finished.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pyarrow as pa

from jaxrep import files, strict_json
from jaxrep.errors import InputError, ModelFormatError

from .. import datasets, read
from .._blocks import block_rows
from ..columns import Columns
from ..fit import fit
from ..schema import Schema
from ..transform import Counts, apply_blocks, to_raw
from . import _signed
from .row_file import PreparedRows, is_prepared, open_prepared, read_schema

_ROOM = 1 << 20  # bytes for the small files
_LABEL_BYTES = 8  # of a label, about
_LABEL_ROWS = 1 << 17  # written at once


@dataclass(frozen=True)
class _Plan:
    """What `unfinished.json` says."""

    asked: _signed.Asked
    rows: int
    schema: Schema
    schema_sha256: str

    @property
    def width(self) -> int:
        return self.schema.width

    @property
    def chunk_rows(self) -> int:
        return block_rows(self.width)

    @property
    def chunk_bytes(self) -> int:
        return self.chunk_rows * self.width * 4


def prepare(
    source: str,
    out: Path,
    *,
    columns: Columns = Columns(),  # noqa: B008  # it is frozen
    fitted: Schema | None = None,
    overwrite: bool = False,
    note: Callable[[str], None] = lambda message: None,
    watch: Callable[[Iterable[pa.Table]], Iterable[pa.Table]] = lambda blocks: blocks,
) -> PreparedRows:
    """Makes a folder of standardised rows from a table, in memory that its rows do not grow.

    Nothing is written before the table has been read and found good. What was interrupted while it
    wrote continues from its last whole chunk; what is finished is left as it is.

    Args:
        source: as for `read_table`.
        out: the folder.
        columns: what the user says of its columns; the label's is kept in a file beside the rows.
        fitted: the schema to apply; by default it is fitted to the table.
        overwrite: replace another prepared folder; never other files.
        note: called with warnings and remarks for the user.
        watch: passes the blocks of the pass that writes on, to show how far it is.

    Raises:
        InputError: the table or the folder cannot be used as asked, or the disk is too small.
        OSError: the writing failed.

    Example:
        >>> folder = Path(tempfile.mkdtemp()) / "wine"
        >>> made = prepare("wine", folder, columns=Columns(label="target"))
        >>> made.rows, made.width
        (178, 13)
    """
    asked = _describe(source, columns)
    state = _check_folder(out, asked, overwrite=overwrite)
    if state == "finished":
        note(f"{out} already holds these rows, finished: nothing to do")
        return open_prepared(out)
    if state == "unfinished":
        plan = _read_plan(out)
    else:
        _check_writable(out)
        if fitted is None:
            reading = read.Reading(source, note)
            made = fit(reading, source=source, columns=columns)
            for line in made.lines(source):
                note(line)
            for sentence in made.warnings(source):
                note(f"warning: {sentence}")
            fitted, rows = made.schema, made.rows
        else:
            rows = sum(block.num_rows for block in read.read_blocks(source, note=note))
        digest = _signed.digest(strict_json.dumps(fitted.to_json()))
        plan = _Plan(asked, rows, fitted, digest)
        _check_space(out, plan, 0)
        _begin(out, plan)
    with _locked(out):
        _write_rows(out, plan, lambda: watch(read.read_blocks(source, rows=plan.chunk_rows)), note)
    return open_prepared(out)


def _describe(source: str, columns: Columns) -> _signed.Asked:
    is_file = source not in datasets.NAMES and source != read.STANDARD_INPUT
    name = str(Path(source).resolve()) if is_file else source
    said = json.loads(json.dumps(dataclasses.asdict(columns)))  # as it is once it has been a file
    return _signed.Asked(name, read.digests(source), said)


def _check_folder(
    out: Path, asked: _signed.Asked, *, overwrite: bool
) -> Literal["absent", "unfinished", "finished"]:
    """Says how far the folder is with what is asked for; "absent" where it is to be made anew."""
    if not is_prepared(out):
        if os.path.exists(out) and not (out.is_dir() and _is_empty(out)):
            raise InputError(
                f"--out {out}: exists and is not a prepared folder; choose another path"
            )
        return "absent"
    if overwrite:
        return "absent"
    finished = (out / _signed.MANIFEST).exists()
    try:
        if finished:
            open_prepared(out)
            earlier = _signed.read(out / _signed.MANIFEST, _signed.Manifest).asked
        else:
            earlier = _signed.read(out / _signed.UNFINISHED, _signed.Unfinished).asked
    except ModelFormatError as error:
        raise ModelFormatError(
            f"--out {error}; choose another path, or replace that folder with --overwrite"
        ) from None
    if difference := _difference(earlier, asked):
        raise InputError(
            f"--out {out}: holds prepared rows that differ in {difference}; choose another path, "
            "or replace them with --overwrite"
        )
    return "finished" if finished else "unfinished"


def _is_empty(out: Path) -> bool:
    """Says whether a folder holds nothing but what a killed preparation had not yet named."""
    return all(file.name.startswith((".unfinished-", ".schema-")) for file in out.iterdir())


def _difference(earlier: _signed.Asked, asked: _signed.Asked) -> str | None:
    if earlier.files != asked.files:
        return "the data, whose content is another"
    if not asked.files and earlier.source != asked.source:
        return f"the data: {earlier.source!r} there, {asked.source!r} asked for"
    for key, value in asked.columns.items():
        if (there := earlier.columns.get(key)) != value:
            return f"{key}: {there!r} there, {value!r} asked for"
    return None


def _check_writable(out: Path) -> None:
    """Refuses a folder that cannot be made, before the table is read."""
    try:
        folder = _nearest(out)
        tempfile.TemporaryFile(dir=folder).close()
        os.pathconf(folder, "PC_NAME_MAX")
        out.exists()
        if len(os.fsencode(out.name)) > os.pathconf(folder, "PC_NAME_MAX"):
            raise OSError(0, "File name too long")
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror})") from None


def _nearest(path: Path) -> Path:
    """Returns the path, or the nearest of the folders above it that there is."""
    return next(p for p in (path.absolute(), *path.absolute().parents) if os.path.exists(p))


def _check_space(out: Path, plan: _Plan, written: int) -> None:
    labels = _LABEL_BYTES * plan.rows if plan.schema.label is not None else 0
    needed = plan.rows * plan.width * 4 - written + labels + _ROOM
    folder = _nearest(out)
    there = 0  # an earlier one, which goes first
    if not written and (out / _signed.ROWS).exists():
        there = (out / _signed.ROWS).stat().st_size
    free = shutil.disk_usage(folder).free + there
    if free < needed:
        raise InputError(
            f"--out {out}: {plan.rows} rows of {plan.width} features need {needed / 2**20:,.0f} "
            f"MiB more, and the disk has {free / 2**20:,.0f} MiB left; free some, or choose "
            "another path"
        )


def _begin(out: Path, plan: _Plan) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with _locked(out):
            # In this order the folder is at no moment finished, nor someone else's.
            for name in (_signed.MANIFEST, _signed.UNFINISHED, _signed.JOURNAL):
                (out / name).unlink(missing_ok=True)
            text = strict_json.dumps(plan.schema.to_json())
            files.write_text(out / _signed.SCHEMA, text)
            said = _signed.Unfinished(plan.asked, plan.rows, plan.schema_sha256)
            _signed.write(out / _signed.UNFINISHED, said)
            for name in (_signed.ROWS, _signed.LABELS):
                (out / name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror})") from error


def _read_plan(out: Path) -> _Plan:
    said = _signed.read(out / _signed.UNFINISHED, _signed.Unfinished)
    return _Plan(said.asked, said.rows, read_schema(out, said.sha256), said.sha256)


def _locked(out: Path) -> AbstractContextManager[None]:
    return files.locked(out, f"--out {out}: another process is preparing this folder")


def _write_rows(
    out: Path, plan: _Plan, begin: Callable[[], Iterable[pa.Table]], note: Callable[[str], None]
) -> None:
    source = plan.asked.source
    with (out / _signed.ROWS).open("a+b") as rows, (out / _signed.JOURNAL).open("a+") as journal:
        whole = hashlib.sha256()
        chunks = _kept_chunks(rows, journal, plan, whole)
        if done := len(chunks) * plan.chunk_rows:
            note(f"{out}: continuing after row {min(done, plan.rows):,} of {plan.rows:,}")
        _check_space(out, plan, rows.tell())
        count, cells = len(chunks) * plan.chunk_rows, Counts()
        with _writing_labels(out / _signed.LABELS, plan.schema.label, begin()) as blocks:
            for x in _features(plan, blocks, len(chunks), source, cells):
                chunks.append(_append(rows, journal, x, whole))
                count += len(x)
        if min(count, plan.rows) != plan.rows or read.digests(source) != plan.asked.files:
            raise InputError(f"{source}: the table changed while it was read; prepare it again")
        os.fsync(rows.fileno())
    labels = None
    if plan.schema.label is not None:
        files.flush_to_disk(out / _signed.LABELS)
        labels = files.sha256(out / _signed.LABELS)
    manifest = _signed.Manifest(
        asked=plan.asked,
        rows=plan.rows,
        width=plan.width,
        dtype="<f4",
        chunk_rows=plan.chunk_rows,
        sha256=_signed.Digests(plan.schema_sha256, whole.hexdigest(), labels),
        chunks=chunks,
        cells=cells.to_json(),
    )
    for sentence in cells.sentences(source):
        note(f"warning: {sentence}")
    _signed.write(out / _signed.MANIFEST, manifest)
    for name in (_signed.UNFINISHED, _signed.JOURNAL):
        (out / name).unlink()


def _kept_chunks(rows: IO[bytes], journal: IO[str], plan: _Plan, whole: Any) -> list[str]:
    """Returns the digests of the chunks that are there and whole, and cuts off what follows."""
    rows.seek(0)
    journal.seek(0)
    kept: list[str] = []
    left = plan.rows * plan.width * 4
    for line in journal.read().splitlines():
        size = min(plan.chunk_bytes, left)
        chunk = rows.read(size)
        if not size or len(chunk) != size or hashlib.sha256(chunk).hexdigest() != line:
            break
        whole.update(chunk)
        kept.append(line)
        left -= size
    rows.truncate(plan.rows * plan.width * 4 - left)
    rows.seek(0, os.SEEK_END)
    journal.truncate(0)
    journal.write("".join(f"{line}\n" for line in kept))
    journal.flush()
    return kept


def _features(
    plan: _Plan, blocks: Iterable[pa.Table], skipped: int, source: str, counts: Counts
) -> Iterator[np.ndarray]:
    """Yields the features of each block after the first `skipped`, whose cells are counted alone.

    Args:
        plan: says the schema.
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


def _append(rows: IO[bytes], journal: IO[str], x: np.ndarray, whole: Any) -> str:
    """Appends a chunk, and notes its digest once it is on the disk."""
    data = np.ascontiguousarray(x, "<f4").data
    rows.write(data)
    rows.flush()
    os.fdatasync(rows.fileno())
    digest = hashlib.sha256(data).hexdigest()
    whole.update(data)
    journal.write(digest + "\n")
    journal.flush()
    return digest
