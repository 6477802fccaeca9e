"""Reads what `jaxrep prepare` wrote: standardised rows in one file, any of them at once."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jaxrep import files, strict_json
from jaxrep.errors import ModelFormatError

from ..schema import Schema
from ..targets import labels_of
from . import _signed
from ._signed import is_prepared as is_prepared

_BUFFER = 1 << 22  # bytes read at once for a sample
_FAR = 1 << 16  # bytes between the rows of a sample from which on each is read alone

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PreparedRows:
    """The rows of a prepared folder, which stay in their file until they are asked for.

    Example:
        >>> import tempfile
        >>> from jaxrep.data.columns import Columns
        >>> from jaxrep.data.store.preparation import prepare
        >>> folder = Path(tempfile.mkdtemp()) / "iris"
        >>> _ = prepare("iris", folder, columns=Columns(label="target"))
        >>> iris = open_prepared(folder)
        >>> buffer = np.empty((2, iris.width), np.float32)
        >>> iris.read_into(148, buffer)
        >>> (iris.rows, iris.width), buffer.round(1).tolist()[1][:2]
        ((150, 4), [0.10000000149011612, -0.10000000149011612])
    """

    path: Path
    """The folder."""

    rows: int
    """Number of rows."""

    width: int
    """Features of a row."""

    schema: Schema
    """From the table to the features and back."""

    sha256: str
    """Digest of the manifest, which holds those of all else: the identity of the data."""

    source: str
    """The table that the rows were made from."""

    chunk_rows: int
    """Rows of a chunk, for each of which there is a digest; the last chunk may be shorter."""

    chunks: tuple[str, ...]
    """SHA-256 of each chunk's bytes."""

    labels_sha256: str | None
    """SHA-256 of the file of labels; None where no label column was named."""

    cells: Mapping[str, Mapping[str, int]]
    """The cells of the table that could not be placed, by column, as of `Counts.to_json`."""

    def read_into(self, start: int, buffer: Rows) -> None:
        """Fills a buffer with rows `start`, `start` + 1, …, through no memory map.

        Args:
            start: the first row.
            buffer: float32, C-contiguous, `[n, width]`; n may be 0.

        Raises:
            ValueError: the buffer is of another kind, or the rows are not all there.
            ModelFormatError: the file cannot be read, or has become shorter.
        """
        self._check_buffer(start, buffer)
        with self._file() as file:
            self._fill(file, start, buffer)

    def sample(self, count: int) -> Rows:
        """Returns evenly spaced rows, those of `x[:: -(-rows // count)]`, at most `count`.

        Args:
            count: at least 1.

        Raises:
            ModelFormatError: as `read_into`.
        """
        if count < 1:
            raise ValueError(f"count is {count}; it must be at least 1")
        step = -(-self.rows // count)
        sampled = np.empty((-(-self.rows // step), self.width), np.float32)
        row_bytes = 4 * self.width
        together = 1 if step * row_bytes > _FAR else max(_BUFFER // (step * row_bytes), 1)
        with self._file() as file:
            for i in range(0, len(sampled), together):
                wanted = sampled[i : i + together]
                if len(wanted) == 1:
                    self._fill(file, i * step, wanted)
                    continue
                block = np.empty(((len(wanted) - 1) * step + 1, self.width), np.float32)
                self._fill(file, i * step, block)
                wanted[:] = block[::step]
        return sampled

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
        whole = hashlib.sha256()
        for first, chunk in _chunks(self):
            whole.update(chunk.data)
            if hashlib.sha256(chunk.data).hexdigest() != self.chunks[first // self.chunk_rows]:
                raise ModelFormatError(
                    f"{self.path / _signed.ROWS}: rows {first} to {first + len(chunk) - 1} are not "
                    "what the manifest says; damaged?"
                )
        if whole.hexdigest() != manifest.sha256.rows:
            raise ModelFormatError(
                f"{self.path / _signed.ROWS}: not what the manifest says; damaged?"
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

    def _check_buffer(self, start: int, buffer: Rows) -> None:
        if buffer.dtype != np.float32 or buffer.ndim != 2 or buffer.shape[1] != self.width:
            raise ValueError(
                f"the buffer is {buffer.dtype} of shape {buffer.shape}; it must be float32 of "
                f"shape (n, {self.width})"
            )
        if not buffer.flags.c_contiguous or not buffer.flags.writeable:
            raise ValueError("the buffer must be C-contiguous and writeable")
        if start < 0 or start + len(buffer) > self.rows:
            raise ValueError(
                f"rows {start} to {start + len(buffer) - 1} are asked for; there are {self.rows}"
            )

    def _file(self) -> Any:
        try:
            return (self.path / _signed.ROWS).open("rb", buffering=0)
        except OSError as error:
            raise ModelFormatError(
                f"{self.path / _signed.ROWS}: cannot be opened ({error.strerror})"
            ) from None

    def _fill(self, file: Any, start: int, buffer: Rows) -> None:
        left = buffer.reshape(-1).view(np.uint8).data
        at = start * self.width * 4
        while left:
            try:
                count = os.preadv(file.fileno(), [left], at)
            except OSError as error:
                raise ModelFormatError(
                    f"{self.path / _signed.ROWS}: cannot be read ({error.strerror})"
                ) from None
            if not count:
                raise ModelFormatError(f"{self.path / _signed.ROWS}: ends too early; damaged?")
            left, at = left[count:], at + count


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
    try:
        size = (path / _signed.ROWS).stat().st_size
    except OSError as error:
        raise ModelFormatError(
            f"{path / _signed.ROWS}: the file is missing ({error.strerror})"
        ) from None
    if size != opened.rows * opened.width * 4:
        raise ModelFormatError(
            f"{path / _signed.ROWS}: {size} bytes, where {opened.rows} rows of {opened.width} "
            f"features take {opened.rows * opened.width * 4}; damaged?"
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
    if manifest.width != schema.width:
        raise ModelFormatError(
            f"{file}: width is {manifest.width}, and of {_signed.SCHEMA} {schema.width}"
        )
    return PreparedRows(
        path=path,
        rows=manifest.rows,
        width=manifest.width,
        schema=schema,
        sha256=files.sha256(file),
        source=manifest.asked.source,
        chunk_rows=manifest.chunk_rows,
        chunks=tuple(manifest.chunks),
        labels_sha256=manifest.sha256.labels,
        cells=manifest.cells,
    )


def _chunks(prepared: PreparedRows) -> Iterator[tuple[int, Rows]]:
    """Yields all rows chunk by chunk, in the same memory, each with its first row's number."""
    buffer = np.empty((min(prepared.chunk_rows, prepared.rows), prepared.width), np.float32)
    for start in range(0, prepared.rows, prepared.chunk_rows):
        chunk = buffer[: prepared.rows - start]
        prepared.read_into(start, chunk)
        yield start, chunk
