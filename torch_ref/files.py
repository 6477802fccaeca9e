"""Safetensors files of trained networks, which run no code when read, and digests of arrays."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from torch_ref.description import SCHEMA_VERSION, FileFormatError, read_description


def write_safetensors(
    path: Path, description: Mapping[str, Any], weights: Mapping[str, np.ndarray]
) -> None:
    """Writes a trained network as one safetensors file, which `jaxrep import` reads.

    Args:
        path: of the file.
        description: `method`, `hyperparameters` and `schema`, as JSON has them; anything
            else beside them is kept.
        weights: all weights of the network, by the names of `torch_ref.weights.get_weights`.

    Example:
        >>> import tempfile
        >>> from dataclasses import asdict
        >>> from jaxrep.methods import VAEHyperparameters
        >>> column = {"kind": "number", "name": "a", "mean": 5.0, "scale": 2.0, "fill": None}
        >>> described = {
        ...     "method": "vae",
        ...     "hyperparameters": asdict(VAEHyperparameters()),
        ...     "schema": {"columns": [column]},
        ... }
        >>> path = Path(tempfile.mkdtemp()) / "vae.safetensors"
        >>> write_safetensors(path, described, {"mu.bias": np.zeros(8, np.float32)})
        >>> sorted(read_safetensors(path)[1])
        ['mu.bias']
    """
    import safetensors.numpy

    # A transposed view would be written in the wrong order: copy to C order.
    arrays = {name: np.array(array, order="C") for name, array in weights.items()}
    digests = {name: array_digest(array) for name, array in arrays.items()}
    described = {**description, "schema_version": SCHEMA_VERSION, "tensors": digests}
    text = json.dumps(described, sort_keys=True, allow_nan=False)
    metadata = {"jaxrep": text, "jaxrep.sha256": sha256(text.encode())}
    path.write_bytes(_with_sorted_header(safetensors.numpy.save(arrays, metadata=metadata)))


def read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns what a safetensors file of jaxrep says of its network, and the network's weights.

    Raises:
        FileFormatError: it is not a file of ours, or a weight is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, AttributeError, TypeError, ValueError) as error:  # float8, for one
        raise FileFormatError(f"not a safetensors file, or damaged: {error}") from error
    if "jaxrep" not in metadata:
        raise FileFormatError("the file says nothing of a network: its metadata has no 'jaxrep'")
    if sha256(metadata["jaxrep"].encode()) != metadata.get("jaxrep.sha256"):
        raise FileFormatError("the description is damaged: its digest is another")
    description = read_description(metadata["jaxrep"])
    digests = {name: array_digest(array) for name, array in weights.items()}
    check_digests(digests, description.get("tensors", {}))
    return description, weights


def check_digests(found: Mapping[str, str], sealed: Mapping[str, str]) -> None:
    """Checks the digests of what is in a file against those that the file says.

    Raises:
        FileFormatError: names the first that is damaged, missing or too many.
    """
    for name in sorted(found.keys() | sealed.keys()):
        if found.get(name) != sealed.get(name):
            raise FileFormatError(f"{name:.80} is damaged, missing or not to be there")


def _with_sorted_header(data: bytes) -> bytes:
    """The same file with its header's keys in order: safetensors writes metadata in any order."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the arrays stay aligned
    return len(header).to_bytes(8, "little") + header + data[end:]


def array_digest(array: np.ndarray) -> str:
    """Returns the SHA-256 of an array's dtype, shape and content, little-endian, in C order."""
    described = f"{array.dtype.newbyteorder('<').str} {array.shape} ".encode()
    return sha256(described + array.astype(array.dtype.newbyteorder("<")).tobytes())


def sha256(data: bytes) -> str:
    """Returns the SHA-256 of bytes, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
