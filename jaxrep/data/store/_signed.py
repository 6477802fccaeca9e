"""The JSON files of a prepared folder, which notice any change of their own bytes."""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from jaxrep import files, strict_json
from jaxrep.errors import ModelFormatError

from ._parts import CODES, NUMBERS

MANIFEST, UNFINISHED, JOURNAL = "manifest.json", "unfinished.json", "chunks.txt"
SCHEMA, LABELS = "schema.json", "labels.parquet"
KIND = "jaxrep prepared rows"

_Count = Annotated[int, Meta(ge=1)]


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What makes two preparations the same."""

    source: str
    """The table's path, or the name of a bundled one."""

    files: dict[str, str]
    """SHA-256 of the files that it is read from."""

    columns: dict[str, Any]
    """The kinds and roles that were set for its columns."""

    split: dict[str, float] = {}
    """What draws the rows that the schema is not fitted to; nothing where it is fitted to all."""


class Unfinished(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `unfinished.json` says: the rows that are being made."""

    asked: Asked
    rows: Annotated[int, Meta(ge=2)]
    sha256: str
    """Of `schema.json`."""


class Digests(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """SHA-256 of the files beside a manifest.

    Codes are there if the table has categories, labels if a column of them was named.
    """

    schema: str = msgspec.field(name=SCHEMA)
    numbers: str = msgspec.field(name=NUMBERS)
    codes: str | None = msgspec.field(name=CODES, default=None)
    labels: str | None = msgspec.field(name=LABELS, default=None)


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `manifest.json` says: the rows that are there."""

    asked: Asked
    rows: Annotated[int, Meta(ge=2)]
    numbers: Annotated[int, Meta(ge=0)]
    """Numbers of a row."""

    codes: Annotated[int, Meta(ge=0)]
    """Codes of a row."""

    chunk_rows: _Count
    sha256: Digests
    chunks: list[str]
    """SHA-256 of each chunk's bytes: those of its numbers, then those of its codes."""

    cells: dict[str, dict[str, int]]
    """The cells that could not be placed, by column, as of `Counts.to_json`."""


class _Header(msgspec.Struct, frozen=True):
    """What each of these files says beside that."""

    kind: Literal["jaxrep prepared rows"]
    schema_version: Literal[3]
    digest: str
    """Of all else in the file."""


_File = TypeVar("_File", Unfinished, Manifest)


def is_prepared(path: Path) -> bool:
    """Says whether a folder is one that `jaxrep prepare` made, finished, unfinished or damaged.

    Example:
        >>> is_prepared(Path("nowhere"))
        False
    """
    try:
        if not path.is_dir():
            return False
        names = {file.name for file in path.iterdir()}
        is_signed = any(_says_kind(path / name) for name in {MANIFEST, UNFINISHED} & names)
    except OSError:
        return False
    return is_signed or {NUMBERS, SCHEMA} <= names


def write(path: Path, data: Unfinished | Manifest) -> None:
    """Writes a file of the folder with its own digest, whole or not at all."""
    signed = {"kind": KIND, "schema_version": 3, **msgspec.to_builtins(data)}
    signed["digest"] = digest(strict_json.dumps(signed))
    files.write_text(path, strict_json.dumps(signed))


def read(path: Path, kind: type[_File]) -> _File:
    """Reads what `write` wrote.

    Raises:
        ModelFormatError: the file is missing, of another kind or version, or has changed.
    """
    text = read_text(path)
    try:
        data = strict_json.loads(text)
    except ValueError as error:
        raise ModelFormatError(f"{path}: cannot be read as JSON ({error}); damaged?") from None
    try:
        header = strict_json.convert(data, _Header)
        body = {k: v for k, v in data.items() if k not in _Header.__struct_fields__}
        made = strict_json.convert(body, kind)
    except ValueError as error:
        raise ModelFormatError(
            f"{path}: {error}; not a file that this version of `jaxrep prepare` made: prepare the "
            "table again"
        ) from None
    signed = {key: value for key, value in data.items() if key != "digest"}
    if strict_json.dumps(data) != text or header.digest != digest(strict_json.dumps(signed)):
        raise ModelFormatError(f"{path}: the file is not what was written; damaged?")
    return made


def read_text(path: Path) -> str:
    """Reads a small text file as it is, or raises a ModelFormatError."""
    try:
        return strict_json.read_bytes(path, strict_json.MAX_BYTES).decode("utf-8")
    except FileNotFoundError:
        raise ModelFormatError(f"{path}: the file is missing") from None
    except (OSError, ValueError) as error:
        raise ModelFormatError(f"{path}: cannot be read ({error}); damaged?") from None


def digest(text: str) -> str:
    """Returns the SHA-256 of a text's UTF-8."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _says_kind(path: Path) -> bool:
    if not path.is_file():  # opening a pipe would wait for ever
        return False
    with path.open("rb") as file:
        return KIND.encode() in file.read(200)
