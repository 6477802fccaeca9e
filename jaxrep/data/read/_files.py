"""Finds the file behind a source, and the format in which it holds its table."""

import atexit
import codecs
import difflib
import os
import shutil
import stat
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from jaxrep.errors import InputError

from .. import datasets

STANDARD_INPUT = "-"
"""What stands for it as a source."""

FORMATS = {
    ".csv": "CSV",
    ".tsv": "CSV",
    ".parquet": "Parquet",
    ".feather": "Arrow",
    ".arrow": "Arrow",
    ".ipc": "Arrow",
    ".npy": "npy",
    ".npz": "npz",
}
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
_MAGIC = {
    b"\x93NUMPY": "npy",
    b"PAR1": "Parquet",
    b"ARROW1\0\0": "Arrow",
    b"\xff\xff\xff\xff": "Arrow",  # a stream of record batches
    b"FEA1": "Feather version 1",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",  # of no members
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bz2",
    b"\xfd7zXZ\0": "xz",
    b"\xd0\xcf\x11\xe0": "xls",
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
}
_NOT_READ = {
    "zip": "unpack or convert it",
    "xz": "unpack it",
    "xls": "save it as CSV in UTF-8",
    "text in UTF-16": "save it as UTF-8",
    "Feather version 1": "unpack or convert it",
}
"""What to do with files that are recognised, and not read."""
_HEAD = 1 << 16
_copies: dict[str, Path] = {}
"""Where standard input and pipes were copied to, by source: they can be read only once."""


@dataclass(frozen=True)
class TableFile:
    """A file that holds a table."""

    path: Path
    source: str
    """What messages call it."""

    format: str
    compression: str | None = None

    def open(self) -> Any:
        """Opens the file as a pyarrow file, decompressed."""
        file = pa.OSFile(os.fsencode(self.path))  # as bytes, since a name may be in any
        return pa.CompressedInputStream(file, self.compression) if self.compression else file


def find_file(source: str) -> TableFile:
    """Finds out where a source that is no folder lies, and its format.

    Raises:
        InputError: there is no such file, it is empty or cannot be opened, its format is not
            known or not the one that its name says.
    """
    path = _readable(source)
    expected, compression = named_format(path)
    head = _head(TableFile(path, source, ""))
    found = _recognised(head, path)
    if compression is None and expected is None and found in _COMPRESSIONS.values():
        compression = found
    if compression is None:
        return TableFile(path, source, _agreed(source, expected, found))
    if found != compression:
        raise InputError(
            f"{source}: the file is named as one compressed by {compression}, but it is not; "
            "correct its name"
        )
    file = TableFile(path, source, "CSV", compression)
    inside = _recognised(_head(file), None)
    if expected not in (None, "CSV") or inside not in ("CSV", None):
        raise InputError(
            f"{source}: only CSV is read compressed, and this is {inside or expected}; unpack it"
        )
    if not expected and not inside:
        raise _unknown(source)
    return file


def has_known_suffix(path: Path) -> bool:
    """Says whether a file's name ends as those of the known formats do."""
    return named_format(path)[0] is not None


def copied(source: str) -> Path:
    """Returns the path of a source: its own, or of the copy of standard input or a pipe."""
    if source not in _copies and _is_pipe(source):
        _copies[source] = _copy(source)
    return _copies.get(source) or Path(source)


def _is_pipe(source: str) -> bool:
    if source == STANDARD_INPUT:
        return True
    try:
        mode = os.stat(source).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _copy(source: str) -> Path:
    handle, name = tempfile.mkstemp(prefix="jaxrep-")
    atexit.register(_remove, name, os.getpid())
    try:
        with os.fdopen(handle, "wb") as copy:
            if source == STANDARD_INPUT:
                shutil.copyfileobj(_standard_input(), copy)
            else:
                with open(source, "rb") as pipe:
                    shutil.copyfileobj(pipe, copy)
    except (OSError, ValueError) as error:
        os.unlink(name)
        raise InputError(f"{source}: cannot be read ({error})") from None
    return Path(name)


def _standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise OSError("there is no standard input")
    return sys.stdin.buffer


def _remove(name: str, process: int) -> None:
    if os.getpid() == process:  # a forked process has inherited the copy, not its end
        Path(name).unlink(missing_ok=True)


def _readable(source: str) -> Path:
    if "\0" in source:
        raise InputError(f"{source!r}: a path cannot contain a zero byte")
    path = copied(source)
    try:
        status = path.stat() if source else os.stat(source)
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{source}: neither a regular file nor a pipe")
        path.open("rb").close()
    except FileNotFoundError:
        raise _missing(source) from None
    except OSError as error:
        raise InputError(f"{source}: the file cannot be opened ({error.strerror})") from None
    if not status.st_size:
        raise InputError(f"{source}: the file is empty")
    return path


def _missing(source: str) -> InputError:
    if has_known_suffix(Path(source)) or os.sep in source:
        return InputError(f"{source}: no such file")
    return InputError(
        f"{source}: neither a file nor a named set ({', '.join(datasets.NAMES)}){_nearest(source)}"
    )


def named_format(path: Path) -> tuple[str | None, str | None]:
    """Returns format and compression that a file's name says."""
    name = path.name.lower()
    suffix = os.path.splitext(name)[1]
    compression = _COMPRESSIONS.get(suffix)
    if compression:
        name = name.removesuffix(suffix)
    return FORMATS.get(os.path.splitext(name)[1]), compression


def _head(file: TableFile) -> bytes:
    try:
        with file.open() as stream:
            return bytes(stream.read(_HEAD))
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{file.source}: the file is broken or cannot be read ({error})") from None


def _recognised(head: bytes, path: Path | None) -> str | None:
    """Returns the format that a file's first bytes show; any text is CSV."""
    if _is_text(head):
        return "CSV"
    found = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
    if found == "Parquet" and b"\0" not in head:  # text in another encoding may begin so
        return None
    if found == "zip" and path and _is_npz(path):
        return "npz"
    return found


def _is_text(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return b"\0" not in head


def _is_npz(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return all(name.endswith(".npy") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, NotImplementedError):
        return False


def _agreed(source: str, expected: str | None, found: str | None) -> str:
    """Returns the format of a file, where its name and its content do not differ."""
    if found is None and expected is None:
        raise _unknown(source)
    is_utf16 = found == "text in UTF-16" and expected == "CSV"
    if found in _NOT_READ and (expected is None or is_utf16):
        raise InputError(f"{source}: the file is {found}, which is not read; {_NOT_READ[found]}")
    if found is None or found == expected or (found, expected) == ("zip", "npz"):
        return expected or "CSV"
    if expected is None:
        return found
    content = "text" if found == "CSV" else found
    raise InputError(
        f"{source}: the file is named as {expected}, but its content is {content}; "
        "correct its name or its content"
    )


def _unknown(source: str) -> InputError:
    return InputError(
        f"{source}: not a file of a known kind (CSV as UTF-8, Parquet, Feather, Arrow, .npy, .npz)"
        f"{_nearest(source)}"
    )


def _nearest(source: str) -> str:
    name = source.lower()
    near = difflib.get_close_matches(name, datasets.NAMES, n=1) or difflib.get_close_matches(
        Path(name).suffix, FORMATS, n=1
    )
    return f"; did you mean {near[0]}?" if near else ""
