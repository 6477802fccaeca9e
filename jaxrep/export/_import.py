"""The way back: an exported file becomes a run folder again."""

import contextlib
import dataclasses
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrep.data.columns import Columns
from jaxrep.data.schema import Schema
from jaxrep.errors import InputError, ModelFormatError
from jaxrep.parity import require_torch
from jaxrep.runs import folder
from jaxrep.runs.making import write_contents

_ZIP = b"PK"


def import_run(
    file: Path, out: Path, *, trust: bool = False, overwrite: bool = False
) -> folder.Run:
    """Turns a safetensors or TorchScript file of jaxrep into a run folder with the same outputs.

    Weights trained in PyTorch come in the same way: `torch_ref.files.write_safetensors` writes them
    with their description.

    Args:
        file: what `jaxrep export` wrote.
        out: the run's folder; it must be absent or empty.
        trust: whether to read a TorchScript file, which runs code.
        overwrite: replace a run that is in `out`.

    Returns:
        The run.

    Raises:
        InputError: the file cannot be read, is not one of ours, or needs `trust`; `out` is taken.
        MissingPackageError: PyTorch is not installed.
    """
    require_torch("importing")
    out = Path(os.path.abspath(out))
    _refuse_taken(file, out, overwrite)
    described, weights = _read(file, trust)
    missing = [parent for parent in out.parents if not os.path.lexists(parent)]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        private = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name[:32]}-"))
    except OSError as error:
        _remove_empty(missing)
        raise InputError(f"--out {out}: cannot be written ({error.strerror})") from error
    made = private / "run"
    try:
        _write(made, file, described, weights)
        folder.load(made)  # all that a run is checked for when it is read
        _replace(out, made)
    except ModelFormatError as error:
        reason = str(error).replace(f"{made}/", "")
        raise ModelFormatError(f"{file}: not a model that jaxrep knows: {reason}") from error
    except InputError as error:
        raise InputError(str(error).replace(str(made), str(out))) from error
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(private, ignore_errors=True)
        _remove_empty(missing)
    return folder.load(out)


def _remove_empty(folders: Sequence[Path]) -> None:
    """Removes what was made for a run that did not come to be; others are not empty."""
    for path in folders:
        with contextlib.suppress(OSError):
            path.rmdir()


def _refuse_taken(file: Path, out: Path, overwrite: bool) -> None:
    """Refuses to replace anything but a run and its own files."""
    try:
        out.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:  # a name that is too long, for one
        raise InputError(f"--out {out}: cannot be written ({error.strerror})") from None
    home = next(parent for parent in out.parents if os.path.lexists(parent))
    if not home.is_dir():
        raise InputError(f"--out {out}: {home} is not a folder; choose another path")
    state = folder.state(out)
    if state == "unrecognised" or (state != "absent" and not overwrite):
        advice = "choose another path" + ("" if state == "unrecognised" else ", or --overwrite")
        raise InputError(f"--out {out}: exists; {advice}")
    if out.is_symlink():
        raise InputError(f"--out {out}: is a link; give the folder itself")
    if out in Path(os.path.realpath(file)).parents:
        raise InputError(f"--out {out}: holds the file to import; choose another path")
    entries = {path.name for path in out.iterdir()} if out.exists() else set()
    if others := sorted(
        entries - {*folder.CONTENT, folder.LAST, folder.REASONS, folder.MANIFEST, "plots"}
    ):
        raise InputError(
            f"--out {out}: holds {others[0]}, which is not part of a run; move it away"
        )


def _replace(out: Path, made: Path) -> None:
    """Puts a new folder in the place of an old one, which stays until the new one is there."""
    if not out.exists():
        made.replace(out)
        return
    old = made.parent.with_name(made.parent.name + "-old")
    out.replace(old)
    try:
        made.replace(out)
    except OSError:
        old.replace(out)
        raise
    shutil.rmtree(old)


def _read(file: Path, trust: bool) -> tuple[Mapping[str, Any], dict[str, np.ndarray]]:
    from torch_ref.description import FileFormatError
    from torch_ref.files import read_safetensors
    from torch_ref.torchscript import unpack
    from torch_ref.weights import get_weights

    try:
        with file.open("rb") as stream:
            is_torchscript = stream.read(2) == _ZIP
        if not is_torchscript:
            return read_safetensors(file)
        if not trust:
            raise InputError(
                f"{file}: a TorchScript file runs code when it is read; if you trust whoever made "
                "it, say so with --trust"
            )
        contents = unpack(file.read_bytes())
        return contents.meta, get_weights(contents.module.network)
    except FileFormatError as error:
        raise ModelFormatError(f"{file}: {error}") from error
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from error


def _write(
    path: Path, file: Path, described: Mapping[str, Any], weights: Mapping[str, np.ndarray]
) -> None:
    config = {
        "schema_version": folder.SCHEMA_VERSION,
        "method": described["method"],
        "hyperparameters": described.get("hyperparameters"),
        "data": {
            "source": f"imported from {file.name}",
            "sha256": None,
            "columns": dataclasses.asdict(Columns()),
        },
        "versions": described.get("versions", {}),
        "imported": {"file": file.name, "run": described.get("run")},
    }
    for key in (*folder.KEPT_SCORES, "target"):
        if key in described:
            config[key] = described[key]
    schema = Schema.from_json(dict(described["schema"]))
    write_contents(path, config, schema, described.get("history", []), weights)
