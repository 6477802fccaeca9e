"""Files with one graph, pt2 and ONNX: what they carry, and reading them with suspicion.

Both carry the description and golden rows as JSON. A pt2 file is an archive of
`torch_ref.archives`. An ONNX file has them in its metadata, under `meta.json` and `golden.json`;
`meta.json` has the SHA-256 of every initializer, and `jaxrep.sha256` that of the whole file, where
64 zeros stand in its own place.
"""

import importlib
import io
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from torch_ref import archives
from torch_ref.description import (
    SCHEMA_VERSION,
    Contents,
    FileFormatError,
    check_outputs,
    read_description,
    read_json,
)
from torch_ref.files import array_digest, check_digests, sha256
from torch_ref.golden import read_golden
from torch_ref.graphs import graph_outputs

META, GOLDEN, SEAL = "meta.json", "golden.json", "jaxrep.sha256"
_PROGRAM = "models/model.json"  # a member that only archives of torch.export have
_ZEROS = "0" * 64
_SEALED = re.compile(re.escape(SEAL).encode() + rb"\x12\x40([0-9a-f]{64})")  # as protobuf has it


def pack_pt2(
    program: torch.export.ExportedProgram, meta: Mapping[str, Any], golden: Mapping[str, Any]
) -> bytes:
    """Returns the bytes of a pt2 file.

    Args:
        program: from `torch_ref.graphs.trace`.
        meta: the description; plain JSON.
        golden: rows and expected outputs by name; nested lists, null for NaN.
    """
    buffer = io.BytesIO()  # a file's own name would be in the archive
    torch.export.save(program, buffer)
    added = {f"extra/{GOLDEN}": _dump(golden).encode()}
    return archives.seal(buffer.getvalue(), meta, program.state_dict, added)


def is_pt2(members: Mapping[str, bytes]) -> bool:
    """Says whether an archive's members, from `archives.read_members`, are those of a pt2 file."""
    return _PROGRAM in members


def unpack_pt2(data: bytes) -> Contents:
    """Reads a pt2 file and checks every digest in it. Reading one can run code that it holds.

    Raises:
        FileFormatError: it is not a file of ours, parts are missing, or a digest does not hold.
    """
    members = archives.read_members(data)
    meta = archives.unseal(members, f"extra/{GOLDEN}")
    golden = _load(members[f"extra/{GOLDEN}"])
    try:
        program = torch.export.load(io.BytesIO(data))
        module = program.module()
    except Exception as error:  # whatever a reader meets in a file that someone made up
        raise FileFormatError(f"cannot be loaded: {error}") from error
    archives.check_state(meta, program.state_dict, root="served.")
    return Contents(_by_function(meta, module), meta, golden, is_graph=True)


def pack_onnx(model: Any, meta: Mapping[str, Any], golden: Mapping[str, Any]) -> bytes:
    """Returns the bytes of an ONNX file.

    Args:
        model: an `onnx.ModelProto`, which gets metadata.
        meta: the description; plain JSON.
        golden: rows and expected outputs by name; nested lists, null for NaN.
    """
    described = {"schema_version": SCHEMA_VERSION, **meta, "tensors": _initializers(model)}
    texts = {META: _dump(described), GOLDEN: _dump(golden), SEAL: _ZEROS}
    for name, text in texts.items():
        model.metadata_props.add(key=name, value=text)
    data: bytes = model.SerializeToString(deterministic=True)
    return _with_seal(data, sha256(data))


def is_onnx(data: bytes) -> bool:
    """Says whether a file looks like ONNX: it is sealed so, or begins as all such files do."""
    return SEAL.encode() in data or data[:1] == b"\x08"


def unpack_onnx(data: bytes) -> Contents:
    """Reads an ONNX file and checks its digests.

    Raises:
        FileFormatError: it is not a file of ours, parts are missing, or a digest does not hold.
        ImportError: onnx or onnxruntime is not installed.
    """
    seals = _SEALED.findall(data)
    if len(seals) != 1:
        raise FileFormatError(f"{SEAL} is missing: the file is not one of jaxrep's, or stripped")
    if sha256(_with_seal(data, _ZEROS)) != seals[0].decode():
        raise FileFormatError("the file is damaged: its digest is another")
    onnx, runtime = (importlib.import_module(name) for name in ("onnx", "onnxruntime"))
    try:
        model = onnx.load_model_from_string(data)
        carried = {entry.key: entry.value for entry in model.metadata_props}
        found = _initializers(model)
        session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
    except Exception as error:  # whatever a reader meets in a file that someone made up
        raise FileFormatError(f"cannot be loaded: {error}") from error
    meta = read_description(carried.get(META, ""))
    check_digests(found, meta.get("tensors", {}))

    def module(rows: Tensor) -> dict[str, Tensor]:
        outputs = session.run(names, {"rows": rows.numpy()})
        return {n: torch.from_numpy(array) for n, array in zip(names, outputs, strict=True)}

    golden = _load(carried.get(GOLDEN, ""))
    return Contents(_by_function(meta, module), meta, golden, is_graph=True)


def _by_function(
    meta: Mapping[str, Any], module: Callable[[Tensor], Mapping[str, Tensor]]
) -> Callable[[Tensor], dict[str, Tensor]]:
    """A graph whose outputs have the names of the functions that give the same."""
    names = graph_outputs(check_outputs(meta.get("outputs")))

    def outputs(rows: Tensor) -> dict[str, Tensor]:
        found = module(rows)
        return {function: found[name] for name, function in names.items()}

    return outputs


def _initializers(model: Any) -> dict[str, str]:
    """The digests of an ONNX model's constants; one that lies in another file is refused."""
    numpy_helper: Any = importlib.import_module("onnx.numpy_helper")
    if any(tensor.data_location for tensor in model.graph.initializer):
        raise FileFormatError("it keeps its weights in other files")
    return {t.name: array_digest(numpy_helper.to_array(t)) for t in model.graph.initializer}


def _with_seal(data: bytes, digest: str) -> bytes:
    return _SEALED.sub(SEAL.encode() + b"\x12\x40" + digest.encode(), data, count=1)


def _dump(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _load(text: bytes | str) -> dict[str, Tensor]:
    try:
        golden = read_json(text)
    except ValueError as error:
        raise FileFormatError(f"{GOLDEN} is not valid JSON: {error}") from error
    tensors = read_golden(golden)
    if "rows" not in tensors:
        raise FileFormatError(f"{GOLDEN} holds no rows")
    return tensors
