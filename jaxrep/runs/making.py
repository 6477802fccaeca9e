"""How a run is made of what training gave, whoever asked for it: a command, a sweep, an estimator.

A run is described before it is trained (`describe`), completed by its results (`complete`), and
written as a folder (`write`) or kept in memory.
"""

import dataclasses
import os
import platform
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrep.batch import Batch
from jaxrep.data import datasets
from jaxrep.data.columns import Columns
from jaxrep.data.read import STANDARD_INPUT
from jaxrep.data.schema import Schema
from jaxrep.data.targets import Target
from jaxrep.hyperparameters import TrainingHyperparameters
from jaxrep.inference import map_rows
from jaxrep.methods import make
from jaxrep.runs import explaining, folder
from jaxrep.runs.folder import Run
from jaxrep.runs.generating import has_collapsed, seen_in
from jaxrep.runs.predictions import held_out_figures
from jaxrep.runs.results import TrainResult
from jaxrep.runs.rows import row_spec
from jaxrep.runs.scores import calibration_scores, score_quantiles
from jaxrep.runs.sources import digest
from jaxrep.runs.training_rows import Prepared
from jaxrep.training import EpochMetrics, Fit
from jaxrep.training.program import MAX_BACKGROUND_ROWS, background_rows
from jaxrep.training.row_store import RowStore, numbers_of, row_count

IN_MEMORY = "a table in memory"

_PACKAGES = ("jaxrep", "jax", "flax", "optax", "numpy")


def describe(
    source: str | None,
    hyperparameters: TrainingHyperparameters,
    columns: Columns,
    *,
    streamed: bool = False,
    devices: int | None = None,
    target: Target | None = None,
    recipe: str | None = None,
) -> dict[str, Any]:
    """Returns all of `config.json` but the results.

    Args:
        source: the table's path or name; None for a table in memory.
        hyperparameters: of the method.
        columns: what the table's columns are.
        streamed: whether rows are read block by block while training.
        devices: how many train together, where it is not left to JAX.
        target: what is to be predicted, where it is.
        recipe: the name of the one that the hyperparameters begin with, where that is known.
    """
    device = jax.devices()[0]
    return {
        "schema_version": folder.SCHEMA_VERSION,
        "method": type(hyperparameters).name,
        **({} if recipe is None else {"recipe": recipe}),
        "hyperparameters": dataclasses.asdict(hyperparameters),
        "data": {
            **_describe_source(source),
            "columns": dataclasses.asdict(columns),
            **({"streamed": True} if streamed else {}),
        },
        **({} if target is None else {"target": target.to_json()}),
        "versions": {"python": platform.python_version()} | {p: version(p) for p in _PACKAGES},
        "device": {
            "platform": device.platform,
            "kind": device.device_kind,
            "count": devices or jax.device_count(),
            **({"threads": cpu_threads()} if device.platform == "cpu" else {}),
        },
    }


def cpu_threads() -> int:
    """Returns how many threads XLA computes with on a CPU; sums are shared out among them.

    As XLA does, it takes the CPUs that the process may use, unless `PJRT_NPROC` or `NPROC` says
    otherwise.
    """
    for name in ("PJRT_NPROC", "NPROC"):
        asked = os.environ.get(name, "")
        if asked.isdecimal():
            return max(int(asked), 1)
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _describe_source(source: str | None) -> dict[str, Any]:
    if source is None:
        return {"source": IN_MEMORY, "sha256": None}
    if source in datasets.NAMES or source == STANDARD_INPUT:
        return {"source": source, "sha256": digest(source)}
    return {"source": str(Path(source).resolve()), "sha256": digest(source)}


def figures(
    path: Path,
    hyperparameters: TrainingHyperparameters,
    trained: Fit,
    prepared: Prepared,
) -> TrainResult:
    """Returns the figures of a run; arguments as of `complete`."""
    served = trained.metrics
    return TrainResult(
        run="" if path == Path() else str(path),
        method=type(hyperparameters).name,
        rows=row_count(prepared.x),
        epochs=len(trained.history),
        steps=trained.steps,
        epoch=trained.epoch,
        stopped_early=trained.stopped_early,
        loss=served["loss"],
        validation_loss=served.get("validation_loss"),
        held_out=held_out_figures(hyperparameters, trained.weights, prepared),
        seconds=trained.seconds,
        compile_seconds=trained.compile_seconds,
        rows_per_second=trained.rows_per_second,
        resumed_from_step=trained.resumed_from_step,
        cells={name: dict(counts) for name, counts in prepared.cells.items()},
    )


def complete(
    path: Path,
    config: Mapping[str, Any],
    hyperparameters: TrainingHyperparameters,
    prepared: Prepared,
    trained: Fit,
    note: Callable[[str], None],
) -> Run:
    """Returns the run of what training gave: with its figures, and the scores that it keeps.

    Args:
        path: of the folder that it has or will have; `Path()` for a run in memory.
        config: from `describe`, and whatever else it is to keep.
        hyperparameters: of the method.
        prepared: the rows that it trained on, those held out, and those set apart.
        trained: what training gave.
        note: called with a warning if the network is of little use.
    """
    method = make(hyperparameters)
    result = figures(path, hyperparameters, trained, prepared)
    x, spec = _on_host(prepared.x), row_spec(prepared.schema, hyperparameters)

    def kept_scores(weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
        kept: dict[str, Any] = {"score_quantiles": score_quantiles(method, weights, x, spec, note)}
        if prepared.calibration is not None:
            set_apart = _on_host(prepared.calibration)
            kept["calibration_scores"] = calibration_scores(method, weights, set_apart, spec)
        return kept

    results = {"result": dataclasses.asdict(result), **kept_scores(trained.weights)}
    if "generate" in method.network_type.outputs:
        some = _some(x)
        results["seen"] = seen_in(prepared.schema, some)
        if has_collapsed(map_rows(method, "embed", trained.weights, some, spec)):
            note(
                "warning: the latents have collapsed: the posterior is the same whatever the row, "
                "and so are new rows' latents of no use; train with a smaller --beta, or for longer"
            )
    last_weights = trained.last_weights
    if last_weights is not None:
        last = trained.last_metrics
        results["last"] = {
            "epoch": trained.last_epoch,
            "loss": last["loss"],
            "validation_loss": last.get("validation_loss"),
            **kept_scores(last_weights),
        }
    config = {**config, "hyperparameters": dataclasses.asdict(hyperparameters), **results}
    history = trained.history
    schema, target = prepared.schema, prepared.target
    known = explaining.fitted(method, trained.weights, x, spec)
    return Run(path, method, trained.weights, schema, config, history, last_weights, target, known)


def _on_host(rows: Batch) -> Batch:
    """Returns rows whose arrays are NumPy's; a store in their place stays."""
    parts = [np.asarray(part) if isinstance(part, jax.Array) else part for part in rows]
    return Batch(*parts)  # type: ignore[arg-type]


def _some(x: Batch) -> Batch:
    """Returns all rows, or evenly spaced ones of many."""
    store = numbers_of(x)
    if isinstance(store, RowStore):
        return store.sample(MAX_BACKGROUND_ROWS)
    return background_rows(x)


def write(run: Run, path: Path) -> None:
    """Writes a run's folder: one that is absent, empty, or holds another run.

    Args:
        run: to write.
        path: of the folder.

    Raises:
        InputError: the folder cannot be made or written.
    """
    write_contents(
        path, run.config, run.schema, run.history, run.weights, run.last_weights, run.reasons
    )


def write_contents(
    path: Path,
    config: Mapping[str, Any],
    schema: Schema,
    history: Iterable[EpochMetrics],
    weights: Mapping[str, np.ndarray],
    last_weights: Mapping[str, np.ndarray] | None = None,
    reasons: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Writes the folder of a run of which no more is known than what it holds.

    Args:
        path: of the folder; as of `write`.
        config: all of `config.json`.
        schema: fitted on the training rows.
        history: the metrics of every epoch.
        weights: all weights of the network, by name.
        last_weights: those after the last step, where they are others.
        reasons: as of `Run.reasons`.

    Raises:
        InputError: as of `write`.
    """
    folder.begin(path, config, schema)
    folder.append_metrics(path, *history)
    folder.finish(path, config, weights, last_weights, reasons)
