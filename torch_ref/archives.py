"""The zip archives of TorchScript and torch.export, with a description and digests added.

Beside what PyTorch needs an archive holds

- `extra/meta.json`: method, hyperparameters, columns, versions, and the SHA-256 of every parameter,
  every buffer and every other member of the archive;
- golden rows, and what JAX gave for them in float32 and in float64;
- `extra/meta.sha256`: the digest of the first.

Its bytes are a function of these alone: no times, no paths.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from torch import Tensor

from torch_ref import methods
from torch_ref.description import (
    SCHEMA_VERSION,
    FileFormatError,
    described_network,
    read_description,
)
from torch_ref.files import array_digest, check_digests, sha256
from torch_ref.serving import RawRows
from torch_ref.units import units_of
from torch_ref.weights import state_shapes

_META, _SEAL = "extra/meta.json", "extra/meta.sha256"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time that a zip archive can hold


def seal(
    archive: bytes,
    meta: Mapping[str, Any],
    state: Mapping[str, Tensor],
    added: Mapping[str, bytes],
) -> bytes:
    """Returns an archive with a description, further members and the digests of all.

    Args:
        archive: what PyTorch wrote.
        meta: the description; plain JSON.
        state: the parameters and buffers in it.
        added: members by name, such as golden rows.
    """
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        members = {_inside(name): opened.read(name) for name in opened.namelist()}
    members = {n: data for n, data in members.items() if not n.endswith(".debug_pkl")}  # paths
    members |= added
    described = {
        "schema_version": SCHEMA_VERSION,
        **meta,
        "sha256": {name: sha256(data) for name, data in members.items()},
        "tensors": digests(state),
    }
    members[_META] = json.dumps(described, indent=1, sort_keys=True, allow_nan=False).encode()
    members[_SEAL] = sha256(members[_META]).encode()
    return _zipped(members)


def unseal(members: Mapping[str, bytes], golden: str) -> dict[str, Any]:
    """Returns the description in an archive, every member of which is as it was sealed.

    Args:
        members: from `read_members`.
        golden: the name of the golden rows' member.

    Raises:
        FileFormatError: parts are missing, or a digest does not hold.
    """
    for name in (_META, _SEAL, golden):
        if not members.get(name):
            raise FileFormatError(
                f"{name} is missing: the file is not one of jaxrep's, or stripped"
            )
    if sha256(members[_META]) != members[_SEAL].decode("ascii", "replace"):
        raise FileFormatError(f"{_META} is damaged: its digest is another")
    meta = read_description(members[_META])
    present, expected = set(members) - {_META, _SEAL}, meta.get("sha256", {})
    if odd := sorted(present ^ set(expected)):
        raise FileFormatError(
            f"{odd[0]} is {'not to be there' if odd[0] in present else 'missing'}"
        )
    for name in sorted(present):
        if sha256(members[name]) != expected[name]:
            raise FileFormatError(f"{name} is damaged: its digest is another")
    return meta


def check_state(meta: Mapping[str, Any], state: Mapping[str, Tensor], root: str = "") -> None:
    """Checks a loaded model's parameters and buffers against the description.

    Args:
        meta: the description.
        state: by name, on the CPU.
        root: what stands before the names of the served network.

    Raises:
        FileFormatError: one does not have its digest, or is not that of what is described. Weights
            are compared in shape with the network where its method is known here.
    """
    found = digests(state)
    check_digests(found, meta.get("tensors", {}))
    network = f"{root}network."
    around = {"rows": RawRows(meta["schema"]["columns"]), "units": units_of(meta)}
    described: dict[str, object] = {
        f"{root}{part}.{name}": digest
        for part, module in around.items()
        for name, digest in digests(module.state_dict()).items()
    }
    held: dict[str, object] = {n: found[n] for n in state if not n.startswith(network)}
    if meta["method"] in methods.names():
        shapes = {
            name.removeprefix(network): tuple(tensor.shape)
            for name, tensor in state.items()
            if name.startswith(network)
        }
        held |= {network + name: shape for name, shape in shapes.items()}
        expected = state_shapes(described_network(meta), shapes)
        described |= {network + name: shape for name, shape in expected.items()}
    for name in sorted(held.keys() | described.keys()):
        if held.get(name) != described.get(name):
            raise FileFormatError(f"{name} is not that of the network that is described")


def digests(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Returns the SHA-256 of dtype, shape and content of every tensor, by name."""
    return {name: array_digest(t.detach().cpu().numpy()) for name, t in sorted(state.items())}


def read_members(data: bytes) -> dict[str, bytes]:
    """Returns an archive's members by their names below its root.

    Raises:
        FileFormatError: it is not an archive, or not such a one as PyTorch writes: members that are
            compressed, come twice or have different roots could hide others.
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
        raise FileFormatError(f"not a TorchScript or pt2 file, or damaged: {error}") from error


def _zipped(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(members.items()):
            archive.writestr(zipfile.ZipInfo(f"archive/{name}", _EPOCH), data)
    return buffer.getvalue()


def _inside(name: str) -> str:
    """A member's name below the archive's root folder."""
    return str(PurePosixPath(*PurePosixPath(name).parts[1:]))
