"""What files with one graph have in common: what they carry, and the proof of what they give."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from jaxrep.errors import VerificationError
from jaxrep.export._expected import as_json, golden_outputs
from jaxrep.export._served import description, tensors
from jaxrep.runs.folder import Run

META, GOLDEN = "meta.json", "golden.json"
GOLDEN_ROWS = 16  # as text they take more room than the weights of a small model

# What a fresh process runs: a format's lines first, which define `carried` and `model`.
_REPLAY = f"""
given = numpy.load(sys.argv[2])["rows"]
golden = numpy.array(json.loads(carried["{GOLDEN}"])["rows"], numpy.float64)
json.loads(carried["{META}"])
found = {{}}
for batch, rows in dict(given=given, one=given[:1], none=given[:0], golden=golden).items():
    for name, output in model(rows).items():
        found[batch + "." + name] = output
numpy.savez(sys.argv[3], **found)
with open(sys.argv[4], "w", encoding="utf-8") as file:
    file.write(carried["{GOLDEN}"])
"""
_WITHOUT = """
import json
import sys
for package in {packages!r}:
    sys.modules[package] = None
import numpy
"""
_OURS = ("jax", "jaxlib", "flax", "optax", "jaxrep", "torch_ref")


def carried(run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns what a file says about itself, as plain JSON: the description, and golden rows.

    The rows are drawn from the run's statistics; with them stands, for each output of the graph by
    its function's name, what JAX gives in float32 (`jax.NAME`) and in float64 (`exact.NAME`). NaN
    is null: a missing value in a row, any category in an output.

    Raises:
        VerificationError: JAX gives infinite numbers for these rows.
    """
    from torch_ref.graphs import graph_outputs

    names = graph_outputs(run.method.network_type.outputs)
    expected = golden_outputs(run, GOLDEN_ROWS)
    kept = ["rows", *(f"{kind}.{of}" for kind in ("jax", "exact") for of in names.values())]
    return description(run), as_json({n: expected[n] for n in kept})


def verify(
    run: Run, path: Path, against: dict[str, np.ndarray], *, load: str, blocked: tuple[str, ...]
) -> None:
    """Replays rows through a file in a process that can import neither JAX nor jaxrep.

    It gets all rows at once, one row, no row, and the rows that the file carries.

    Args:
        run: what the file was made from.
        path: the file.
        against: from `expected_outputs`.
        load: Python that reads the file `sys.argv[1]` and defines `carried`, the texts in it, and
            `model`, which maps rows to outputs by name, numpy both.
        blocked: packages that the process shall do without, besides JAX and jaxrep.

    Raises:
        VerificationError: says which output is how far off, and at which row.
    """
    from torch_ref.graphs import graph_outputs

    names = graph_outputs(run.method.network_type.outputs)
    found, golden = _replay(path, against["rows"], load, blocked)
    for name, of in names.items():
        alone = found[f"given.{name}"].copy()
        alone[:1] = found[f"one.{name}"]  # among the others: by itself its error has no scale
        jax, exact = against[f"jax.{of}"], against[f"exact.{of}"]
        _check(run, name, of, found[f"given.{name}"], jax, exact, "row {row}")
        _check(run, name, of, alone, jax, exact, "row {row}, by itself")
        jax, exact = (np.array(golden[f"{kind}.{of}"], float) for kind in ("jax", "exact"))
        _check(run, name, of, found[f"golden.{name}"], jax, exact, "row {row} of those it carries")
        if found[f"none.{name}"].shape != found[f"given.{name}"][:0].shape:
            raise VerificationError(f"{name} of no rows has shape {found[f'none.{name}'].shape}")


def _replay(
    path: Path, rows: np.ndarray, load: str, blocked: tuple[str, ...]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    script = _WITHOUT.format(packages=_OURS + blocked) + load + _REPLAY
    with tempfile.TemporaryDirectory() as folder:
        given, found, golden = (Path(folder) / n for n in ("given.npz", "found.npz", GOLDEN))
        np.savez(given, rows=rows)
        command = [sys.executable, "-c", script, str(path), str(given), str(found), str(golden)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no reason given"]
            raise VerificationError(f"the file cannot be used: {lines[-1]}")
        with np.load(found) as arrays:
            return dict(arrays), json.loads(golden.read_text(encoding="utf-8"))


def _check(
    run: Run,
    name: str,
    of: str,
    output: np.ndarray,
    jax: np.ndarray,
    exact: np.ndarray,
    where: str,
) -> None:
    from torch_ref.comparison import are_levels, comparable, compare, expected, rounding

    given = tensors({"output": output, "jax": jax, "exact": exact})
    described = description(run)
    found = comparable(of, given["output"], described)
    wanted = (expected(of, given[kind], described) for kind in ("jax", "exact"))
    levels = are_levels(of, described, given["exact"])
    result = compare(name, found, *wanted, levels=levels, slack=rounding(of, described))
    if not result.passed:
        place = where.format(row=result.row)
        raise VerificationError(
            f"{name} is {result.error:.1e} off at {place}, {result.bound:.1e} is allowed"
        )
