"""Writes a run as a file of another format, proven before it exists."""

import dataclasses
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from jaxrep import files
from jaxrep.data import preprocessing
from jaxrep.errors import InputError, VerificationError
from jaxrep.export._expected import expected_outputs
from jaxrep.parity import require_torch
from jaxrep.runs.folder import MANIFEST, Run
from jaxrep.runs.outputs import threshold
from jaxrep.runs.rows import table_of

GOLDEN_ROWS = 64
MAX_ROWS = 1000


@dataclasses.dataclass(frozen=True)
class Exported:
    """What `jaxrep export` prints."""

    run: str
    """The run's folder."""

    out: str
    """The file."""

    format: str
    """Its format."""

    bytes: int
    """Its size."""

    sha256: str
    """Its digest."""

    rows_verified: int
    """Rows on which it gave what JAX gives, besides the golden ones that it carries."""


def export_run(
    run: Run,
    out: Path,
    *,
    format: str = "torchscript",
    data: str | None = None,
    note: Callable[[str], None] = lambda message: None,
) -> Exported:
    """Writes a run as a file that serves it without JAX.

    The file is loaded in a process of its own, which cannot import JAX, and every function of it is
    compared with JAX on drawn rows, which it carries, and on up to 1,000 rows of the run's data,
    which it does not. Only then it takes its name.

    Args:
        run: the trained run.
        out: the file to write.
        format: of `FORMATS`.
        data: rows to verify on; by default those that the run was trained on.
        note: called with remarks for the user.

    Raises:
        InputError: the format is unknown, `out` cannot be written, or `data` does not fit the run.
        MissingPackageError: PyTorch is not installed.
        VerificationError: the file does not give what JAX gives; nothing is left behind.
    """
    if format not in FORMATS:
        raise InputError(f"--format {format}: there are {', '.join(FORMATS)}")
    require_torch("exporting")
    files.check_writable(out)
    table, source = table_of(run, data, note=note)
    rows = np.unique(np.linspace(0, table.num_rows - 1, MAX_ROWS).astype(int))
    against = expected_outputs(run, table.take(pa.array(rows)), source)
    with files.replacing(out) as temporary:
        temporary.write_bytes(FORMATS[format](run))
        _verify(temporary, out, against)
    return Exported(
        run=str(run.path),
        out=str(out),
        format=format,
        bytes=out.stat().st_size,
        sha256=files.sha256(out),
        rows_verified=len(rows),
    )


def _torchscript(run: Run) -> bytes:
    """Returns the bytes of the run as a TorchScript file."""
    import torch

    from torch_ref import hyperparameters, methods, serving, torchscript, weights

    name = run.method.name
    settings = dataclasses.asdict(run.method.hyperparameters)
    method = methods.METHODS[name](hyperparameters.BY_METHOD[name](**settings))
    model = method.init_model(run.preprocessing.width, torch.Generator())
    weights.with_weights(model, run.weights)
    columns = run.preprocessing.to_json()["columns"]
    served = serving.SERVED[name](serving.RawRows(columns), model)
    drawn = preprocessing.draw_raw(run.preprocessing, GOLDEN_ROWS)
    golden = expected_outputs(
        run, preprocessing.from_raw(run.preprocessing, drawn), "rows drawn from its statistics"
    )
    packages = ("jaxrep", "jax", "flax", "torch", "numpy")
    meta = {
        "hyperparameters": settings,
        "columns": columns,
        "score_threshold": threshold(run),
        "run": files.sha256(run.path / MANIFEST),
        "versions": {package: version(package) for package in packages},
        "jax_errors": _errors_of_jax(golden),
    }
    return torchscript.pack(served, name, meta, _tensors(golden))


def _verify(path: Path, out: Path, against: dict[str, np.ndarray]) -> None:
    """Checks the file in a process that has no JAX; what it says there becomes the error here."""
    import torch

    with tempfile.TemporaryDirectory() as folder:
        expected = Path(folder) / "expected.pt"
        torch.save(_tensors(against), expected)
        done = subprocess.run(
            [sys.executable, "-c", _WITHOUT_JAX, str(path), "--against", str(expected)],
            capture_output=True,
            text=True,
        )
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no reason given"]
        reason = lines[-1].replace(f"{path}: ", "")
        raise VerificationError(f"{out} was not written: {reason}")


_WITHOUT_JAX = """
import sys
for package in ("jax", "jaxlib", "flax", "optax", "jaxrep"):
    sys.modules[package] = None
from torch_ref.verify import main
sys.exit(main())
"""


def _errors_of_jax(golden: dict[str, np.ndarray]) -> dict[str, float]:
    """The largest float32 error of JAX itself for each output, relative to the largest element."""
    errors = {}
    for name in (key.removeprefix("jax.") for key in golden if key.startswith("jax.")):
        exact = golden[f"exact.{name}"]
        known = ~np.isnan(exact)
        gap = np.abs(golden[f"jax.{name}"] - exact)[known]
        size = np.abs(exact[known]).max(initial=0.0)
        errors[name] = float(gap.max(initial=0.0) / (size if size > 0 else 1.0))
    return errors


def _tensors(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(np.array(array, order="C")) for name, array in arrays.items()}


FORMATS: dict[str, Callable[[Run], bytes]] = {"torchscript": _torchscript}
