"""Reads what `jaxrep prepare` wrote: rows as numbers and codes, any of them at once."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from jaxrep import files, strict_json
from jaxrep.batch import Batch, RowSpec, empty, take
from jaxrep.errors import ModelFormatError

from ..schema import Schema
from ..targets import labels_of
from . import _signed
from ._parts import CODES, Part, arrays_of, bytes_of, chunk_digest, parts_of
from ._signed import is_prepared as is_prepared

_BUFFER = 1 << 22  # bytes read at once for a sample
_FAR = 1 << 16  # bytes between the rows of a sample from which on each is read alone


@dataclass(frozen=True)
class PreparedRows:
    """The rows of a prepared folder, which stay in their files until they are asked for.

    Example:
        >>> import tempfile
        >>> from jaxrep.data.columns import Columns
        >>> from jaxrep.data.store.preparation import prepare
        >>> folder = Path(tempfile.mkdtemp()) / "iris"
        >>> _ = prepare("iris", folder, columns=Columns(label="target"))
        >>> iris = open_prepared(folder)
        >>> buffer = empty(iris.spec, 2)
        >>> iris.read_into(148, buffer)
        >>> (iris.rows, iris.spec.numbers), buffer.numbers.round(1).tolist()[1][:2]
        ((150, 4), [0.10000000149011612, -0.10000000149011612])
    """

    path: Path
    """The folder."""

    rows: int
    """Number of rows."""

    spec: RowSpec
    """What every row holds."""

    schema: Schema
    """From the table to the features and back."""

    sha256: str
    """Digest of the manifest, which holds those of all else: the identity of the data."""

    source: str
    """The table that the rows were made from."""

    chunk_rows: int
    """Rows of a chunk, for each of which there is a digest; the last chunk may be shorter."""

    chunks: tuple[str, ...]
    """SHA-256 of each chunk's bytes: those of its numbers, then those of its codes."""

    labels_sha256: str | None
    """SHA-256 of the file of labels; None where no label column was named."""

    cells: Mapping[str, Mapping[str, int]]
    """The cells of the table that could not be placed, by column, as of `Counts.to_json`."""

    def read_into(self, start: int, buffer: Batch) -> None:
        """Fills a buffer with rows `start`, `start` + 1, …, through no memory map.

        Args:
            start: the first row.
            buffer: numbers float32 `[n, D]` and, where there are codes, codes int32 `[n, C]`, both
                C-contiguous; n may be 0.

        Raises:
            ValueError: the buffer is of another kind, or the rows are not all there.
            ModelFormatError: a file cannot be read, or has become shorter.
        """
        self._check_buffer(start, buffer)
        for part, array in zip(parts_of(self.spec), arrays_of(buffer), strict=True):
            with self._file(part) as file:
                self._fill(file, part, start, array)

    def sample(self, count: int) -> Batch:
        """Returns evenly spaced rows, those of `x[:: -(-rows // count)]`, at most `count`.

        Args:
            count: at least 1.

        Raises:
            ModelFormatError: as `read_into`.
        """
        if count < 1:
            raise ValueError(f"count is {count}; it must be at least 1")
        step = -(-self.rows // count)
        sampled = empty(self.spec, -(-self.rows // step))
        for part, array in zip(parts_of(self.spec), arrays_of(sampled), strict=True):
            self._sample(part, step, array)
        return sampled

    def _sample(self, part: Part, step: int, sampled: Any) -> None:
        """Fills `sampled` with every `step`-th row of a part."""
        step_bytes = max(step * part.row_bytes, 1)
        together = 1 if step_bytes > _FAR else max(_BUFFER // step_bytes, 1)
        with self._file(part) as file:
            for i in range(0, len(sampled), together):
                wanted = sampled[i : i + together]
                if len(wanted) == 1:
                    self._fill(file, part, i * step, wanted)
                    continue
                block = np.empty(((len(wanted) - 1) * step + 1, part.columns), wanted.dtype)
                self._fill(file, part, i * step, block)
                wanted[:] = block[::step]

    def labels(self) -> Any:
        """Returns the label column, one value for each row, or None where none was named.

        Returns:
            A pyarrow ChunkedArray of string, bool, int64 or float64; missing labels are null or
            NaN.

        Raises:
            ModelFormatError: the file of labels is missing or damaged.

        Example:
            >>> import tempfile
            >>> from jaxrep.data.columns import Columns
            >>> from jaxrep.data.store.preparation import prepare
            >>> folder = Path(tempfile.mkdtemp()) / "iris"
            >>> prepare("iris", folder, columns=Columns(label="target")).labels()[149].as_py()
            2
        """
        name = self.schema.label
        if name is None:
            return None
        path = self.path / _signed.LABELS
        self._check_labels(path)
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise ModelFormatError(f"{path}: cannot be read ({error}); damaged?") from None
        if table.column_names != [name] or table.num_rows != self.rows:
            raise ModelFormatError(
                f"{path}: {table.num_rows} rows of {table.column_names}, where the manifest says "
                f"{self.rows} of {[name]}"
            )
        return labels_of(table, name, str(self.path), self.schema.marks)

    def verify(self) -> None:
        """Reads all files and compares their digests.

        Raises:
            ModelFormatError: a file has changed; the message says which, and which rows.
        """
        open_prepared(self.path)  # the two small files
        manifest = _signed.read(self.path / _signed.MANIFEST, _signed.Manifest)
        parts = parts_of(self.spec)
        wholes = [hashlib.sha256() for _ in parts]
        damaged: list[str] = []
        for i, chunk in enumerate(_chunks(self)):
            data = bytes_of(chunk)
            for whole, part in zip(wholes, data, strict=True):
                whole.update(part)
            if chunk_digest(data) != self.chunks[i]:
                first = i * self.chunk_rows
                damaged.append(f"rows {first} to {first + len(chunk.numbers) - 1} are ")
        # A chunk's digest is of all files; those of whole files say which of them has changed.
        said = (manifest.sha256.numbers, manifest.sha256.codes)
        changed = [
            part.name
            for part, whole, digest in zip(parts, wholes, said, strict=False)
            if whole.hexdigest() != digest
        ]
        if damaged or changed:
            name, which = [*changed, _signed.MANIFEST][0], [*damaged, ""][0]
            raise ModelFormatError(
                f"{self.path / name}: {which}not what the manifest says; damaged?"
            )
        if self.schema.label is not None:
            self._check_labels(self.path / _signed.LABELS)

    def _check_labels(self, path: Path) -> None:
        if not path.is_file():  # opening a pipe would wait for ever
            raise ModelFormatError(
                f"{path}: the file is missing; prepare the table again with --overwrite"
            )
        try:
            if files.sha256(path) == self.labels_sha256:
                return
        except OSError as error:
            raise ModelFormatError(f"{path}: cannot be read ({error.strerror})") from None
        raise ModelFormatError(f"{path}: not what the manifest says; damaged?")

    def _check_buffer(self, start: int, buffer: Batch) -> None:
        count = len(buffer.numbers)
        given = [(array.dtype.name, array.shape) for array in arrays_of(buffer)]
        wanted = [("float32", (count, self.spec.numbers))]
        if self.spec.codes:
            wanted.append(("int32", (count, self.spec.codes)))
        if given != wanted:
            raise ValueError(f"the buffer is {_shown(given)}; it must be {_shown(wanted)}")
        for array in arrays_of(buffer):
            if not array.flags.c_contiguous or not array.flags.writeable:
                raise ValueError("the buffer must be C-contiguous and writeable")
        if start < 0 or start + count > self.rows:
            raise ValueError(
                f"rows {start} to {start + count - 1} are asked for; there are {self.rows}"
            )

    def _file(self, part: Part) -> Any:
        path = self.path / part.name
        try:
            return path.open("rb", buffering=0)
        except OSError as error:
            raise ModelFormatError(f"{path}: cannot be opened ({error.strerror})") from None

    def _fill(self, file: Any, part: Part, start: int, array: Any) -> None:
        left = array.reshape(-1).view(np.uint8).data
        at = start * part.row_bytes
        while left:
            try:
                count = os.preadv(file.fileno(), [left], at)
            except OSError as error:
                raise ModelFormatError(
                    f"{self.path / part.name}: cannot be read ({error.strerror})"
                ) from None
            if not count:
                raise ModelFormatError(f"{self.path / part.name}: ends too early; damaged?")
            left, at = left[count:], at + count


def _shown(arrays: Iterable[tuple[str, tuple[int, ...]]]) -> str:
    return " and ".join(f"{dtype} of shape {shape}" for dtype, shape in arrays)


def open_prepared(path: Path) -> PreparedRows:
    """Opens a finished prepared folder, and checks all but the rows' own bytes.

    Args:
        path: of the folder.

    Raises:
        ModelFormatError: it is not a prepared folder, unfinished, or damaged.

    Example:
        >>> open_prepared(Path("nowhere"))
        Traceback (most recent call last):
        ...
        jaxrep.errors.ModelFormatError: nowhere: not a prepared folder; `jaxrep prepare DATA --out \
PREPARED` makes one
    """
    if not is_prepared(path):
        raise ModelFormatError(
            f"{path}: not a prepared folder; `jaxrep prepare DATA --out PREPARED` makes one"
        )
    if not (path / _signed.MANIFEST).exists():
        raise ModelFormatError(
            f"{path}: the preparation has not finished; run the same `jaxrep prepare` again"
        )
    opened = _opened(path, _signed.read(path / _signed.MANIFEST, _signed.Manifest))
    for part in parts_of(opened.spec):
        file, wanted = path / part.name, opened.rows * part.row_bytes
        try:
            size = file.stat().st_size
        except OSError as error:
            raise ModelFormatError(f"{file}: the file is missing ({error.strerror})") from None
        if size != wanted:
            raise ModelFormatError(
                f"{file}: {size} bytes, where {opened.rows} rows of {part.columns} columns take "
                f"{wanted}; damaged?"
            )
    return opened


def read_schema(path: Path, digest: str) -> Schema:
    """Reads the schema of a prepared folder, which must have this digest."""
    text = _signed.read_text(path / _signed.SCHEMA)
    if _signed.digest(text) != digest:
        raise ModelFormatError(
            f"{path / _signed.SCHEMA}: the file is not what the manifest says; damaged?"
        )
    try:
        data = strict_json.loads(text)
    except ValueError as error:
        raise ModelFormatError(f"{path / _signed.SCHEMA}: {error}; damaged?") from None
    return Schema.from_json(data)


def _opened(path: Path, manifest: _signed.Manifest) -> PreparedRows:
    file = path / _signed.MANIFEST
    schema = read_schema(path, manifest.sha256.schema)
    if len(manifest.chunks) != -(-manifest.rows // manifest.chunk_rows):
        raise ModelFormatError(f"{file}: rows and chunks do not agree")
    if (manifest.sha256.labels is None) != (schema.label is None):
        raise ModelFormatError(
            f"{file}: {_signed.LABELS} and the label {schema.label!r} do not agree; prepare "
            "the table again"
        )
    spec = schema.row_spec()
    if (manifest.numbers, manifest.codes) != (spec.numbers, spec.codes):
        raise ModelFormatError(
            f"{file}: {manifest.numbers} numbers and {manifest.codes} codes, and of "
            f"{_signed.SCHEMA} {spec.numbers} and {spec.codes}"
        )
    if (manifest.sha256.codes is None) != (spec.codes == 0):
        raise ModelFormatError(
            f"{file}: the digest of {CODES} and the {spec.codes} codes of a row do not agree"
        )
    return PreparedRows(
        path=path,
        rows=manifest.rows,
        spec=spec,
        schema=schema,
        sha256=files.sha256(file),
        source=manifest.asked.source,
        chunk_rows=manifest.chunk_rows,
        chunks=tuple(manifest.chunks),
        labels_sha256=manifest.sha256.labels,
        cells=manifest.cells,
    )


def _chunks(prepared: PreparedRows) -> Iterator[Batch]:
    """Yields all rows chunk by chunk, in the same memory."""
    buffer = empty(prepared.spec, min(prepared.chunk_rows, prepared.rows))
    for start in range(0, prepared.rows, prepared.chunk_rows):
        chunk = take(buffer, slice(prepared.rows - start))
        prepared.read_into(start, chunk)
        yield chunk
