"""Run folders and exported files that lie: case `n` is always the same, for the same sound ones."""

import hashlib
import json
import random

import numpy as np
import safetensors.numpy

from jaxrep.export import FORMATS
from tests.helpers.exports import make_run
from tests.helpers.mutations import HOSTILE, dumps, raw, some_bytes, some_json
from torch_ref import archives, graph_files

CONTENT = ("config.json", "schema.json", "model.safetensors", "metrics.jsonl")
EXPORTED = {"safetensors": ".safetensors", "torchscript": ".pt", "pt2": ".pt2", "onnx": ".onnx"}


def make_sound(path, formats=tuple(EXPORTED)):
    """Writes a run and exports it; returns the folder's files by name and the others by suffix."""
    run = make_run(path, "autoencoder", "mixed")
    for format in formats:
        FORMATS[format].write(run, path / f"model{EXPORTED[format]}")
    folder = {name: (run.path / name).read_bytes() for name in (*CONTENT, "manifest.json")}
    files = {EXPORTED[f]: (path / f"model{EXPORTED[f]}").read_bytes() for f in formats}
    return folder, files


def case(number, folder, files):
    """A run folder's files by name, or a file by its suffix; every tenth is only rewritten."""
    rng = random.Random(f"bundle {number}")
    sound = number % 10 == 9
    if number % 3 < 2:
        return _rewritten(folder) if sound else _RUNS[_drawn(rng, _RUN_SHARES)](rng, dict(folder))
    suffix = rng.choice([s for s in _FILES if s in files] * 3 + [".safetensors"] * 6)
    return {suffix: files[suffix] if sound else _FILES[suffix](rng, files[suffix])}


def _drawn(rng, shares):
    return rng.choices(range(len(shares)), shares)[0]


def _sealed(folder):
    """The same files under a manifest that is true of them, as that of an untrusted file may be."""
    digests = {n: hashlib.sha256(folder[n]).hexdigest() for n in CONTENT if n in folder}
    manifest = {"schema_version": 1, "sha256": digests}
    return folder | {"manifest.json": json.dumps(manifest).encode()}


def _rewritten(folder):
    """Other bytes that say the same."""
    made = {n: json.dumps(json.loads(folder[n]), sort_keys=True).encode() for n in CONTENT[:2]}
    return _sealed(folder | made)


def _json(rng, folder):
    name = rng.choice((*("config.json",) * 4, *("schema.json",) * 4, "manifest.json"))
    folder[name] = some_json(rng, json.loads(folder[name])).encode("utf-8", "surrogatepass")
    return folder if name == "manifest.json" else _sealed(folder)


def _hyperparameter(rng, folder):
    config = json.loads(folder["config.json"])
    config["hyperparameters"][rng.choice(list(config["hyperparameters"]))] = rng.choice(HOSTILE)
    return _sealed(folder | {"config.json": dumps(config).encode("utf-8", "surrogatepass")})


def _metrics(rng, folder):
    lines = [some_json(rng, {"epoch": 1, "loss": 1.0}) for _ in range(rng.choice((1, 1, 3)))]
    text = "\n".join([*lines, ""] * rng.choice((1, 1, 200)))
    return _sealed(folder | {"metrics.jsonl": text.encode("utf-8", "surrogatepass")})


def _bytes(rng, folder):
    name = rng.choice((*CONTENT, "model.safetensors", "manifest.json"))
    folder[name] = some_bytes(rng, folder[name], folder[rng.choice(CONTENT)])
    return folder if rng.random() < 0.2 or name == "manifest.json" else _sealed(folder)


def _weights(rng, folder):
    changed = _safetensors_header if rng.random() < 0.6 else _safetensors_values
    return _sealed(folder | {"model.safetensors": changed(rng, folder["model.safetensors"])})


def _files(rng, folder):
    """Files that are missing, empty, or in each other's place."""
    name, other = rng.sample(sorted(folder), 2)
    match rng.choice(("missing", "empty", "swapped", "folder")):
        case "missing":
            del folder[name]
        case "empty":
            folder[name] = b""
        case "swapped":
            folder[name], folder[other] = folder[other], folder[name]
        case "folder":
            folder[f"{name}/a"] = folder.pop(name)
    return _sealed(folder) if rng.random() < 0.5 and name != "manifest.json" else folder


_RUNS = (_json, _hyperparameter, _metrics, _bytes, _weights, _files)
_RUN_SHARES = (8, 4, 2, 5, 5, 2)


def _split(data):
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def _joined(text, body, size=None):
    header = text.encode("utf-8", "surrogatepass")
    return (len(header) if size is None else size).to_bytes(8, "little") + header + body


def _safetensors_header(rng, data):
    """Shapes, dtypes, offsets or the header's own length lie."""
    header, body = _split(data)
    name = rng.choice([key for key in header if key != "__metadata__"])
    kind = rng.random()
    if kind < 0.3:
        header[name]["shape"] = [rng.choice((0, 1, 8, 2**20, 2**40, 2**63, -1)) for _ in range(2)]
    elif kind < 0.5:
        header[name]["data_offsets"] = sorted(rng.choice((0, 4, 2**31, 2**63)) for _ in range(2))
    elif kind < 0.6:
        header[name]["dtype"] = rng.choice(("F64", "BF16", "F8_E4M3", "I32", "F4", "C64", ""))
    elif kind < 0.7:
        header[rng.choice(("extra", "", "\x00", "a" * 10**6))] = header.pop(name)
    elif kind < 0.8:
        return _joined(json.dumps(header), body, rng.choice((0, 1, 2**27, 2**40, 2**64 - 1)))
    else:
        return _joined(some_json(rng, header), body)
    return _joined(dumps(header), body)


def _safetensors_values(rng, data):
    """Sound but for the numbers: huge, not finite, or of another number of elements."""
    arrays = safetensors.numpy.load(data)
    name = rng.choice(sorted(arrays))
    match rng.choice(("odd", "huge", "other", "type")):
        case "odd":
            arrays[name].flat[0] = rng.choice((np.nan, np.inf, -np.inf))
        case "huge":
            arrays[name] *= np.float32(rng.choice((1e30, 0.0, -1.0, 1e-40)))
        case "other":
            arrays[name] = np.zeros(rng.choice(((), (0,), (3, 3), (1, 1, 1))), np.float32)
        case "type":
            arrays[name] = arrays[name].astype(rng.choice((np.float64, np.float16, np.int8)))
    return safetensors.numpy.save(arrays)


def _safetensors(rng, data):
    kind = rng.random()
    if kind < 0.2:
        return some_bytes(rng, data, data[::-1])
    if kind < 0.35:
        return _safetensors_header(rng, data)
    header, body = _split(data)
    text = _description(rng, header["__metadata__"]["jaxrep"])
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    header["__metadata__"] |= {"jaxrep": text, "jaxrep.sha256": digest}
    return _joined(json.dumps(header), body)


def _description(rng, text):
    """A description with damage, mostly in what a model is built from."""
    described = json.loads(text)
    likely = {"hyperparameters", "schema", "history", "rows"} & described.keys()
    key = rng.choice([*described, *sorted(likely)])
    if rng.random() < 0.1:
        return some_json(rng, described)
    return dumps(described | {key: raw(some_json(rng, described[key]))})


def _archive(rng, data):
    """A damaged archive, or one whose description lies and whose digests are true."""
    if rng.random() < 0.4:
        return some_bytes(rng, data, data[::-1])
    members = archives.read_members(data)
    described = _description(rng, members["extra/meta.json"])
    members["extra/meta.json"] = described.encode("utf-8", "surrogatepass")
    members["extra/meta.sha256"] = hashlib.sha256(members["extra/meta.json"]).hexdigest().encode()
    return archives._zipped(members)


def _onnx(rng, data):
    """A damaged file, or one whose description or golden rows lie and whose digest is true."""
    if rng.random() < 0.4:
        return some_bytes(rng, data, data[::-1])
    import onnx

    model = onnx.load_model_from_string(data)
    carried = {entry.key: entry for entry in model.metadata_props}
    entry = carried[rng.choice((graph_files.META, graph_files.GOLDEN))]
    text = _description(rng, entry.value)
    entry.value = text.encode("utf-8", "replace").decode()
    carried[graph_files.SEAL].value = "0" * 64
    changed = model.SerializeToString(deterministic=True)
    return graph_files._with_seal(changed, hashlib.sha256(changed).hexdigest())


_FILES = {".safetensors": _safetensors, ".pt": _archive, ".pt2": _archive, ".onnx": _onnx}
