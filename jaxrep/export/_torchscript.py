"""The format `torchscript`: one file that PyTorch loads in Python and in C++."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from jaxrep.data.schema import NumericColumn
from jaxrep.errors import VerificationError
from jaxrep.export._expected import golden_outputs
from jaxrep.export._served import description, tensors, twin_files
from jaxrep.runs.folder import Run

GOLDEN_ROWS = 64

# torch.jit writes attributes in the order of a set, and names after what it compiled before: only a
# fresh process with a fixed hash gives the same bytes each time.
_PACK = """
import sys
from pathlib import Path
import torch
from torch_ref import methods
from torch_ref.files import read_safetensors
from torch_ref.serving import serve
from torch_ref.torchscript import pack
model, golden, out, *twin = map(Path, sys.argv[1:])
for path in twin:
    methods.use(path)
description, weights = read_safetensors(model)
out.write_bytes(pack(serve(description, weights), description, torch.load(golden)))
"""

_WITHOUT_JAX = """
import sys
for package in ("jax", "jaxlib", "flax", "optax", "jaxrep"):
    sys.modules[package] = None
from torch_ref.verify import main
sys.exit(main())
"""


def write(run: Run, path: Path) -> None:
    """Writes a run as a TorchScript file, with golden rows drawn from its statistics."""
    import torch

    from torch_ref.files import write_safetensors

    golden = golden_outputs(run, GOLDEN_ROWS)
    meta = description(run) | {"jax_errors": _errors_of_jax(run, golden)}
    with tempfile.TemporaryDirectory() as name:
        model, expected = Path(name) / "model.safetensors", Path(name) / "golden.pt"
        write_safetensors(model, meta, run.weights)
        torch.save(tensors(golden), expected)
        done = subprocess.run(
            [sys.executable, "-c", _PACK, str(model), str(expected), str(path), *twin_files(run)],
            env={**os.environ, "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
        )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise VerificationError(f"torch.jit could not compile it: {reason}; try --format pt2")


def verify(run: Run, path: Path, against: dict[str, np.ndarray]) -> None:
    """Checks a file in a process that has no JAX, on its golden rows and on others.

    Raises:
        VerificationError: says which function is how far off, and at which row.
    """
    import torch

    with tempfile.TemporaryDirectory() as folder:
        expected = Path(folder) / "expected.pt"
        command = [sys.executable, "-c", _WITHOUT_JAX, str(path)]
        torch.save(tensors(against), expected)
        done = subprocess.run(
            [*command, "--against", str(expected), *(f"--use={file}" for file in twin_files(run))],
            capture_output=True,
            text=True,
        )
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no reason given"]
        raise VerificationError(lines[-1].replace(f"{path}: ", ""))


def _errors_of_jax(run: Run, golden: dict[str, np.ndarray]) -> dict[str, float]:
    """The largest float32 error of JAX itself for each output, relative to the largest element.

    Levels of categories have none.
    """
    from torch_ref.comparison import gives_rows

    is_number = [isinstance(column, NumericColumn) for column in run.schema.columns]
    errors = {}
    for name in (key.removeprefix("jax.") for key in golden if key.startswith("jax.")):
        ours, exact = golden[f"jax.{name}"], golden[f"exact.{name}"]
        if gives_rows(name):
            ours, exact = ours[:, is_number], exact[:, is_number]
        gap = np.abs(ours - exact)
        size = np.abs(exact).max(initial=0.0)
        errors[name] = float(gap.max(initial=0.0) / (size if size > 0 else 1.0))
    return errors
