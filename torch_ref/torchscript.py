"""TorchScript files: the only place that calls `torch.jit`, and what such a file carries.

A file is a zip archive. Beside what TorchScript needs it holds

- `extra/meta.json`: method, hyperparameters, columns, versions, and the SHA-256 of every parameter,
  every buffer and every other member of the archive;
- `extra/golden.pt`: rows, and what JAX gave for them in float32 and in float64;
- `extra/meta.sha256`: the digest of the first.

Its bytes are a function of these alone: no times, no paths.
"""

import io
import json
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from torch_ref.files import SCHEMA_VERSION, FileFormatError, array_digest, read_description, sha256
from torch_ref.serving import OF_CODES, OF_ROWS, Served

_META, _GOLDEN, _SEAL = "extra/meta.json", "extra/golden.pt", "extra/meta.sha256"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time that a zip archive can hold


@dataclass(frozen=True)
class Contents:
    """A file that was read, and whose digests hold."""

    module: Any
    """The scripted module."""

    meta: dict[str, Any]
    """What `meta.json` says."""

    golden: dict[str, Tensor]
    """Rows and expected outputs by name."""


def pack(served: Served, meta: Mapping[str, Any], golden: Mapping[str, Tensor]) -> bytes:
    """Compiles a served model and returns the bytes of its file.

    Args:
        served: from `torch_ref.serving`.
        meta: what to carry besides the digests; plain JSON, with the `method`.
        golden: rows and expected outputs.

    Returns:
        The archive; the same for the same arguments, wherever it is made.
    """
    frozen = served.eval().requires_grad_(False)
    for name in functions_of(meta["method"]):
        if name != "forward":
            torch.jit.export(getattr(type(frozen), name))
    buffer, carried = io.BytesIO(), io.BytesIO()
    with _without_deprecation():
        torch.jit.save(torch.jit.script(frozen), buffer)
    torch.save(dict(golden), carried)
    with zipfile.ZipFile(buffer) as archive:
        members = {_inside(name): archive.read(name) for name in archive.namelist()}
    members = {n: data for n, data in members.items() if not n.endswith(".debug_pkl")}  # paths
    members[_GOLDEN] = carried.getvalue()
    described = {
        "schema_version": SCHEMA_VERSION,
        **meta,
        "sha256": {name: sha256(data) for name, data in members.items()},
        "tensors": digests(frozen),
    }
    members[_META] = json.dumps(described, indent=1, sort_keys=True, allow_nan=False).encode()
    members[_SEAL] = sha256(members[_META]).encode()
    return _zipped(members)


def unpack(data: bytes) -> Contents:
    """Reads a file and checks every digest in it. Reading one can run code that it holds.

    Args:
        data: the file's bytes.

    Returns:
        What the file carries.

    Raises:
        FileFormatError: it is not a file of ours, parts are missing, or a digest does not hold.
    """
    members = _read_members(data)
    for name in (_META, _SEAL, _GOLDEN):
        if not members.get(name):
            raise FileFormatError(
                f"{name} is missing: the file is not one of jaxrep's, or stripped"
            )
    if sha256(members[_META]) != members[_SEAL].decode("ascii", "replace"):
        raise FileFormatError(f"{_META} is damaged: its digest is another")
    meta = read_description(members[_META])
    _check_members(members, meta["sha256"])
    try:
        with _without_deprecation():
            module: Any = torch.jit.load(io.BytesIO(data), map_location="cpu")  # type: ignore[no-untyped-call]
        golden = torch.load(io.BytesIO(members[_GOLDEN]), weights_only=True)
    except Exception as error:  # whatever a reader meets in a file that someone made up
        raise FileFormatError(f"cannot be loaded: {error}") from error
    if absent := [name for name in functions_of(meta["method"]) if not hasattr(module, name)]:
        raise FileFormatError(f"the module has no function {absent[0]}")
    found = digests(module)
    if wrong := sorted(
        n for n in found | meta["tensors"] if found.get(n) != meta["tensors"].get(n)
    ):
        raise FileFormatError(f"{wrong[0]} is damaged: its digest is another")
    if not isinstance(golden, dict) or "rows" not in golden:
        raise FileFormatError(f"{_GOLDEN} holds no rows")
    return Contents(module, meta, golden)


def load(path: Path) -> Any:
    """Loads the module of a file whose digests hold; `torch.jit.load` does without the check.

    Args:
        path: of a file that `jaxrep export` wrote, by someone you trust: TorchScript runs code.

    Returns:
        A module with the functions of `torch_ref.serving`, such as `score(rows)`.

    Raises:
        FileFormatError: it is not a file of ours, or damaged.
    """
    return unpack(Path(path).read_bytes()).module


def functions_of(method: str) -> tuple[str, ...]:
    """Returns the functions that a file of a method has."""
    generate = ("generate",) if method == "vae" else ()
    return (*OF_ROWS[method], *OF_CODES[method], *generate)


def digests(module: torch.nn.Module) -> dict[str, str]:
    """Returns the SHA-256 of dtype, shape and content of every parameter and buffer, by name."""
    state = sorted(module.state_dict().items())
    return {name: array_digest(tensor.detach().cpu().numpy()) for name, tensor in state}


def _check_members(members: Mapping[str, bytes], expected: Mapping[str, str]) -> None:
    present = set(members) - {_META, _SEAL}
    if present != set(expected):
        odd = sorted(present ^ set(expected))[0]
        raise FileFormatError(f"{odd} is {'not to be there' if odd in present else 'missing'}")
    for name in sorted(present):
        if sha256(members[name]) != expected[name]:
            raise FileFormatError(f"{name} is damaged: its digest is another")


def _read_members(data: bytes) -> dict[str, bytes]:
    """Returns an archive's members by their names below its root.

    Raises:
        FileFormatError: it is no archive, or not such a one as TorchScript writes: members that
            are compressed, come twice or have different roots could hide others.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            names = [info.filename for info in infos]
            plain = all(info.compress_type == zipfile.ZIP_STORED for info in infos)
            one_root = {name.partition("/")[0] for name in names} <= {"archive"}
            fits = sum(info.file_size for info in infos) <= len(data)
            if not (plain and one_root and fits and len(set(names)) == len(names)):
                raise FileFormatError("not such an archive as jaxrep writes")
            return {_inside(info.filename): archive.read(info) for info in infos}
    except FileFormatError:
        raise
    except Exception as error:  # zipfile and zlib raise half a dozen kinds for damaged archives
        raise FileFormatError(f"not a TorchScript file, or damaged: {error}") from error


def _zipped(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(members.items()):
            archive.writestr(zipfile.ZipInfo(f"archive/{name}", _EPOCH), data)
    return buffer.getvalue()


def _inside(name: str) -> str:
    """A member's name below the archive's root folder."""
    return str(PurePosixPath(*PurePosixPath(name).parts[1:]))


@contextmanager
def _without_deprecation() -> Iterator[None]:
    """torch.jit says that it is deprecated at each call: once, in our documents, is enough."""
    with warnings.catch_warnings():
        for category in (
            DeprecationWarning,
            FutureWarning,
        ):  # the one to torch 2.13, then the other
            warnings.filterwarnings("ignore", message=r"`torch\.jit\.", category=category)
        yield
