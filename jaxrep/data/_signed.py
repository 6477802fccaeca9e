"""The JSON files of a prepared folder, which notice any change of their own bytes."""

import hashlib
import json
from pathlib import Path
from typing import Any

from jaxrep import files, strict_json
from jaxrep.errors import ModelFormatError

SCHEMA_VERSION = 1
MANIFEST, UNFINISHED, JOURNAL = "manifest.json", "unfinished.json", "chunks.txt"
ROWS, PREPROCESS = "rows.f32", "preprocess.json"
KIND = "jaxrep prepared rows"


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
    return is_signed or {ROWS, PREPROCESS} <= names


def dump(data: Any) -> str:
    """Returns JSON as all files of the folder have it."""
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    # What is no text in a path becomes \udcff, which JSON reads back as it was.
    return text.encode("utf-8", "backslashreplace").decode()


def write(path: Path, data: dict[str, Any]) -> None:
    """Writes an object with its kind, its version and its own digest, whole or not at all."""
    signed = {"kind": KIND, "schema_version": SCHEMA_VERSION, **data}
    files.write_text(path, dump({**signed, "digest": digest(dump(signed))}))


def read(path: Path) -> dict[str, Any]:
    """Reads what `write` wrote.

    Raises:
        ModelFormatError: the file is missing, of another kind or version, or has changed.
    """
    text = read_text(path)
    try:
        data = strict_json.loads(text)
    except ValueError as error:
        raise ModelFormatError(f"{path}: cannot be read as JSON ({error}); damaged?") from None
    if not isinstance(data, dict) or data.get("kind") != KIND:
        raise ModelFormatError(f"{path}: not a file that `jaxrep prepare` made")
    if data.get("schema_version") != SCHEMA_VERSION:
        raise ModelFormatError(
            f"{path}: schema_version is {data.get('schema_version')!r}; this jaxrep reads "
            f"{SCHEMA_VERSION}"
        )
    signed = {key: value for key, value in data.items() if key != "digest"}
    if dump(data) != text or data.get("digest") != digest(dump(signed)):
        raise ModelFormatError(f"{path}: the file is not what was written; damaged?")
    return data


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
