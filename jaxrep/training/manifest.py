"""A folder's manifest: the digests of all its files, written when they are on the disk.

Orbax does not notice a flipped bit when it reads arrays, and takes any folder with a number for a
checkpoint. A folder counts as whole if it has a manifest and every file is, to the bit, the one
that the manifest was written for.
"""

from pathlib import Path

import msgspec

from jaxrep import files, strict_json

MANIFEST = "manifest.json"


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sha256: dict[str, str]


class DamagedError(Exception):
    """A checkpoint is not what it was when it was written."""


def seal(folder: Path) -> None:
    """Writes a folder's manifest, once everything else in it is on the disk."""
    names = _contents(folder)
    for name in names:
        files.flush_to_disk(folder / name)
    digests = {name: files.sha256(folder / name) for name in names}
    files.write_text(folder / MANIFEST, _text(digests))
    files.flush_to_disk(folder)
    files.flush_to_disk(folder.parent)


def is_sealed(folder: Path) -> bool:
    """Says whether a folder was written to its end; whether it is intact, `check` says."""
    return (folder / MANIFEST).is_file()


def check(folder: Path) -> None:
    """Raises a DamagedError that names the file if a folder is not what was sealed, to the bit."""
    try:
        text = strict_json.read_bytes(folder / MANIFEST, strict_json.MAX_BYTES).decode("utf-8")
        manifest = strict_json.convert(strict_json.loads(text), _Manifest)
    except FileNotFoundError:
        raise DamagedError("has no manifest; its saving was interrupted") from None
    except (OSError, ValueError) as error:
        raise DamagedError(f"{MANIFEST} cannot be read ({first_line(error)})") from error
    digests = manifest.sha256
    if text != _text(digests):
        raise DamagedError(f"{MANIFEST} is not as it was written")
    found = set(_contents(folder))
    for name in sorted(found | set(digests)):
        if name not in digests or name not in found:
            raise DamagedError(f"{name} is {'missing' if name in digests else 'too many'}")
        if files.sha256(folder / name) != digests[name]:
            raise DamagedError(f"{name} has changed since it was written")


def first_line(error: Exception) -> str:
    """Returns what an error says first, or its class where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _text(digests: dict[str, str]) -> str:
    """Returns the manifest of files with these digests."""
    return strict_json.dumps({"sha256": digests})


def _contents(folder: Path) -> list[str]:
    """Returns the files in a folder by their path in it, without the manifest."""
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in paths if name != MANIFEST)
