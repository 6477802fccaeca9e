"""JAX's compilation cache in a folder of the user's own: a program is compiled once on a machine.

An entry of the cache is code that JAX will run, so the folder must be one in which nobody else can
write. By default JAX leaves out programs that compile in under a second, which is most of those
here, and lets the folder grow without end; with a limit it deletes the entries used longest ago.
"""

import os
import stat
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import platformdirs

from jaxrep.errors import InputError

# A few hundred trainings. JAX looks at every entry each time that it adds one: at this size for
# 0.05 s, at a gigabyte for half a second.
MAX_BYTES = 1 << 27
_ENTRIES = "*-cache"  # as jax names them
_OFF = "off"

_requests = "/jax/compilation_cache/compile_requests_use_cache"
_hits = "/jax/compilation_cache/cache_hits"
_counts: dict[str, int] = {}
_entries_before: set[Path] = set()
_is_decided = _is_left_off = False


class CacheUse(NamedTuple):
    """What a process has had of the cache since it was switched on."""

    hits: int
    """Programs that were read from it and accepted."""

    misses: int
    """Programs that were compiled."""

    rejected: int
    """Those of `misses` that are in the cache and could not be used, or could not be written; not
    counted where JAX is told to leave out what compiles fast."""


def folder() -> Path:
    """Returns `$JAXREP_CACHE_DIR`, or else the user's cache folder on this platform.

    Example:
        >>> folder().is_absolute()
        True
    """
    chosen = os.environ.get("JAXREP_CACHE_DIR")
    is_named = chosen and not is_off()
    return Path(str(chosen)).absolute() if is_named else _default_folder()


def is_off() -> bool:
    """Returns whether the cache is left off, by `JAXREP_CACHE_DIR=off`."""
    return os.environ.get("JAXREP_CACHE_DIR") == _OFF


def leave_off(is_wanted: bool = True) -> None:
    """Leaves the cache off in this process, until it is called with False."""
    global _is_left_off
    _is_left_off = is_wanted


def decide(warn: Callable[[str], None] = warnings.warn) -> None:
    """Switches the cache on, once in a process, unless it is left off; whoever computes calls it.

    Args:
        warn: told where the folder cannot be used; programs are then compiled anew.
    """
    global _is_decided
    if _is_decided or _is_left_off or is_off():
        return
    _is_decided = True
    try:
        switch_on(folder())
    except InputError as error:  # nothing that a computation needs
        warn(f"{error}; continuing without")


def switch_on(path: Path) -> None:
    """Lets JAX keep the programs that it compiles from now on, and take those that it finds.

    Where JAX has been given a folder before (by `JAX_COMPILATION_CACHE_DIR`, say) it keeps to it;
    so it does to a limit, or to what is worth keeping, in environment variables of its own.

    Args:
        path: the folder; it is made, for the user alone, and grows to `MAX_BYTES`.

    Raises:
        InputError: the folder cannot be made, or others may write in it.

    Example:
        >>> switch_on(folder())
        >>> use().rejected
        0
    """
    global _is_decided
    _is_decided = True
    if not _counts:
        _counts.update({_requests: 0, _hits: 0})
        jax.monitoring.register_event_listener(_count)
    if _folder_in_use() is None:
        _make_private(path)
        _remove_undated(path)
        for option, value in {
            "jax_compilation_cache_dir": str(path),
            "jax_compilation_cache_max_size": MAX_BYTES,
            "jax_persistent_cache_min_compile_time_secs": 0.0,
            "jax_persistent_cache_min_entry_size_bytes": -1,
        }.items():
            if option.upper() not in os.environ:
                jax.config.update(option, value)  # type: ignore[no-untyped-call]
        _entries_before.update(path.glob(_ENTRIES))


def use() -> CacheUse:
    """Returns what this process has had of the cache."""
    hits = _counts.get(_hits, 0)
    misses = _counts.get(_requests, 0) - hits
    path = _folder_in_use()
    if path is None or not misses:  # and JAX need not have started
        return CacheUse(hits, misses, 0)
    least: float = jax.config.jax_persistent_cache_min_compile_time_secs  # type: ignore[attr-defined]
    writes_all = least <= 0 and jax.process_index() == 0  # the other processes of a job read alone
    if not writes_all:
        return CacheUse(hits, misses, 0)
    written = len(set(Path(path).glob(_ENTRIES)) - _entries_before)
    return CacheUse(hits, misses, max(misses - written, 0))


def _default_folder() -> Path:
    return platformdirs.user_cache_path("jaxrep") / "xla"


def _count(event: str, **details: str | int) -> None:
    del details
    if event in _counts:
        _counts[event] += 1


def _folder_in_use() -> str | None:
    path: str | None = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    return path


def _make_private(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except OSError as error:
        reason = f"cannot be made ({error.strerror})"
        raise InputError(f"the compilation cache {path} {reason}") from None
    if os.name != "posix":
        return
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise InputError(
            f"others may write in the compilation cache {path}, and what it holds would run here; "
            "make it yours alone (chmod 700), or name another folder in JAXREP_CACHE_DIR"
        )


def _remove_undated(path: Path) -> None:
    """Deletes entries without the time of their last use, beside which JAX could add none.

    A process that is killed as it writes an entry leaves one.
    """
    for entry in path.glob(_ENTRIES):
        if not entry.with_name(entry.name.removesuffix("-cache") + "-atime").exists():
            entry.unlink(missing_ok=True)
