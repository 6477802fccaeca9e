"""Atomic writes and digests: a file that exists is whole, and can be told from a changed one."""

import contextlib
import hashlib
import io
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from jaxrep.errors import InputError

try:
    import fcntl
except ImportError:  # of Unix alone
    fcntl = None  # type: ignore[assignment] # its stubs know no system without it

_BLOCK = 1 << 20
_DESCRIPTORS = {"/dev/stdout": 1, "/dev/stderr": 2}


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path` that takes its place once the block has succeeded.

    The temporary file keeps the suffix of `path`, since writers such as matplotlib choose their
    format by it. When the block raises, nothing is left behind and an earlier `path` stays.

    Args:
        path: the file to write; its folder must exist.

    Yields:
        The path to write to.

    Raises:
        OSError: the folder is missing or cannot be written.

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> with replacing(folder / "a.txt") as temporary:
        ...     _ = temporary.write_text("whole or not at all")
        >>> (folder / "a.txt").read_text()
        'whole or not at all'
    """
    # Cut, since the name of `path` may leave no room: it may be as long as a file system takes.
    prefix, suffix = f".{path.stem[:32]}-", path.suffix[:16]
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        flush_to_disk(temporary)
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes private files
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Checks that a file could be written to `path`, so that a command can fail before work.

    Args:
        path: the file to be written; it may exist, its folder must.

    Raises:
        InputError: `path` is a folder, a link that leads nowhere or no file at all, its name is too
            long, or its folder is missing or cannot be written.

    Example:
        >>> check_writable(Path("nowhere/report.json"))
        Traceback (most recent call last):
        ...
        jaxrep.errors.InputError: nowhere/report.json: there is no folder nowhere; create it first
    """
    folder = path.parent
    try:
        if path.is_dir():
            raise InputError(f"{path}: a folder; give the name of a file")
        if path.exists() and not path.is_file():  # a device, for one, which we would replace
            raise InputError(f"{path}: exists and is not a file; give another name")
    except OSError as error:  # a name that is too long, for one
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    if path.is_symlink() and not path.exists():
        raise InputError(f"{path}: a link that leads nowhere; remove it or give another name")
    if not folder.exists():
        raise InputError(f"{path}: there is no folder {folder}; create it first")
    if not folder.is_dir():
        raise InputError(f"{path}: {folder} is not a folder; give a name in one")
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:  # asking for permissions misses what cannot be written for all that
        raise InputError(
            f"{path}: the folder {folder} cannot be written ({error.strerror}); use another"
        ) from None


def is_stdout(path: Path) -> bool:
    """Says whether a path stands for standard output.

    Example:
        >>> is_stdout(Path("-")), is_stdout(Path("/dev/fd/1")), is_stdout(Path("a.csv"))
        (True, True, False)
    """
    return str(path) == "-" or _descriptor(path) == 1


def is_stream(path: Path) -> bool:
    """Says whether a path is written as it stands, with no file beside it that takes its place.

    So are standard output, open descriptors such as /dev/fd/63, named pipes and terminals.

    Example:
        >>> is_stream(Path("-")), is_stream(Path("/dev/null")), is_stream(Path("a.csv"))
        (True, True, False)
    """
    if str(path) == "-" or _descriptor(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def check_stream(path: Path) -> None:
    """Raises an InputError if a path that `is_stream` cannot be written."""
    descriptor = _descriptor(path)
    try:
        if descriptor is not None and fcntl is None:
            os.fstat(descriptor)  # fails where it is not open; which way it is cannot be asked
            is_open = True
        elif descriptor is not None:
            is_open = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
        else:
            is_open = str(path) == "-" or os.access(path, os.W_OK)
    except OSError:
        is_open = False
    if not is_open:
        raise InputError(f"{path}: not open for writing, or not yours to write; give another name")


@contextlib.contextmanager
def open_stream(path: Path) -> Iterator[IO[bytes]]:
    """Opens a path that `is_stream`; what was written to it before stays.

    Raises:
        OSError: it cannot be opened.
    """
    descriptor = _descriptor(path)
    if str(path) == "-":
        sys.stdout.flush()
        if hasattr(sys.stdout, "buffer"):
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        else:  # a notebook's, or a StringIO
            with io.BytesIO() as waiting:
                yield waiting
                sys.stdout.write(waiting.getvalue().decode(errors="backslashreplace"))
    elif descriptor is not None:  # a copy: opened by its name, a file would be emptied
        if descriptor == 1:
            sys.stdout.flush()
        with os.fdopen(os.dup(descriptor), "wb") as file:
            yield file
    else:
        with path.open("wb") as file:
            yield file


def _descriptor(path: Path) -> int | None:
    """Returns the number of the open descriptor that a path names."""
    if found := re.fullmatch(r"/(?:dev|proc/self)/fd/(\d{1,9})", str(path)):
        return int(found[1])
    return _DESCRIPTORS.get(str(path))


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def locked(folder: Path, message: str) -> Iterator[None]:
    """Holds a folder for one process; the system lets go of it however the process ends.

    Where there is no `fcntl`, as on Windows, a file beside the folder is held, FOLDER.lock.

    Args:
        folder: it must exist.
        message: what to say where another process holds it.

    Raises:
        InputError: another process holds the folder.

    Example:
        >>> with locked(Path(tempfile.mkdtemp()), "is being written"):
        ...     pass
    """
    if fcntl is None:
        with _locked_file(folder.with_name(f"{folder.name}.lock"), message):
            yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(message) from None
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _locked_file(path: Path, message: str) -> Iterator[None]:
    import filelock

    lock = filelock.FileLock(path, blocking=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise InputError(message) from None
    try:
        yield
    finally:
        lock.release()


def sha256(path: Path) -> str:
    """Returns the SHA-256 digest of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def flush_to_disk(path: Path) -> None:
    """Waits until a file's bytes, or a folder's names, would survive a power cut.

    Of a folder it does nothing where the system cannot open one, as Windows cannot.
    """
    if fcntl is None and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
