"""What files of trained models say of them, and safetensors files, which run no code when read."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from torch_ref.serving import OF_ROWS

SCHEMA_VERSION = 1
_KINDS: dict[str, type] = {
    "method": str,
    "tensors": dict,
    "sha256": dict,
    "history": list,
    "versions": dict,
    "score_quantiles": dict,
}


class FileFormatError(ValueError):
    """A file is not one of ours, or not what it says it is."""


def write_safetensors(
    path: Path, description: Mapping[str, Any], weights: Mapping[str, np.ndarray]
) -> None:
    """Writes a trained model as one safetensors file, which `jaxrep import` reads.

    Args:
        path: of the file.
        description: `method`, `hyperparameters` and `preprocessing`, as JSON has them; anything
            else beside them is kept.
        weights: all weights of the model, by the names of `torch_ref.weights.get_weights`.

    Example:
        >>> import tempfile
        >>> column = {"kind": "numeric", "name": "a", "mean": 5.0, "scale": 2.0, "fill": None}
        >>> described = {"method": "vae", "preprocessing": {"columns": [column]}}
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
    path.write_bytes(safetensors.numpy.save(arrays, metadata=metadata))


def read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns what a safetensors file of jaxrep says of its model, and the model's weights.

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
        raise FileFormatError("the file says nothing of a model: its metadata has no 'jaxrep'")
    if sha256(metadata["jaxrep"].encode()) != metadata.get("jaxrep.sha256"):
        raise FileFormatError("the description is damaged: its digest is another")
    description = read_description(metadata["jaxrep"])
    wrong = [n for n in weights if array_digest(weights[n]) != description["tensors"].get(n)]
    if wrong or weights.keys() != description["tensors"].keys():
        odd = sorted(wrong) or sorted(weights.keys() ^ description["tensors"].keys())
        raise FileFormatError(f"{odd[0]} is damaged, missing or not to be there")
    return description, weights


def read_description(data: bytes | str) -> dict[str, Any]:
    """Returns what a file says of its model.

    Args:
        data: JSON, as `meta.json` has it.

    Raises:
        FileFormatError: it describes no file of ours, or one of another version.
    """
    try:
        meta = json.loads(data, parse_constant=_refuse_constant)
        version, method = meta["schema_version"], str(meta["method"])
        meta["preprocessing"]["columns"]
        well_formed = all(isinstance(meta.get(key, kind()), kind) for key, kind in _KINDS.items())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FileFormatError(f"the description is not one of jaxrep's: {error}") from error
    if version != SCHEMA_VERSION or method not in OF_ROWS or not well_formed:
        raise FileFormatError(
            f"the description has schema_version {version!r} and method {method!r}; this version "
            f"reads {SCHEMA_VERSION} and {', '.join(OF_ROWS)}"
        )
    return dict(meta)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it holds {name}, which JSON has not")


def array_digest(array: np.ndarray) -> str:
    """Returns the SHA-256 of an array's dtype, shape and content, little-endian, in C order."""
    described = f"{array.dtype.newbyteorder('<').str} {array.shape} ".encode()
    return sha256(described + array.astype(array.dtype.newbyteorder("<")).tobytes())


def sha256(data: bytes) -> str:
    """Returns the SHA-256 of bytes, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
