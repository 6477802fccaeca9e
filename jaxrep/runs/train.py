"""From a table to a run folder: read, preprocess, fit, save."""

import dataclasses
import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import pyarrow as pa

from jaxrep import files
from jaxrep.data import datasets, preprocessing, tables
from jaxrep.errors import InputError, ModelFormatError
from jaxrep.hyperparameters import TrainingHyperparameters, check
from jaxrep.inference import map_rows
from jaxrep.methods import METHODS
from jaxrep.runs import folder
from jaxrep.training import EpochMetrics, Progress, fit

# Shares of the training rows at which their scores are kept: even, and ever finer at the top.
SCORE_LEVELS = np.concatenate([np.linspace(0, 0.999, 1000), 1 - np.geomspace(1e-3, 1e-7, 401), [1]])


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are to training; all others are numbers to learn from."""

    categorical: tuple[str, ...] = ()
    """Columns of categories, one-hot encoded with a bucket for unknown ones."""

    label: str | None = None
    """Column kept out of training."""

    id_column: str | None = None
    """Column passed through to outputs, never trained on."""

    na_values: tuple[str, ...] = ()
    """Cells that mean "missing", besides empty ones and NA."""

    impute: Literal["median"] | None = None
    """How to fill missing numbers; None refuses them."""


@dataclass(frozen=True)
class TrainResult:
    """What `jaxrep train` prints, and `config.json` keeps."""

    run: str
    """The run's folder."""

    method: str
    """The method's name."""

    rows: int
    """Rows trained on."""

    epochs: int
    """Passes over them."""

    loss: float
    """Mean loss over the rows of the last epoch."""

    seconds: float
    """From the first step's dispatch to the last weights being ready."""

    compile_seconds: float
    """Time to trace and compile."""

    rows_per_second: float
    """rows × epochs / seconds."""

    resumed_from_step: int
    """Step that training went on from; 0 where it began."""


def train(
    method: str,
    source: str,
    out: Path,
    hyperparameters: TrainingHyperparameters,
    columns: Columns,
    *,
    overwrite: bool = False,
    note: Callable[[str], None] = lambda message: None,
    on_epoch: Callable[[EpochMetrics], None] = lambda metrics: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> TrainResult:
    """Trains a method on a table and saves the run.

    Nothing is written before the table, the hyperparameters and the folder have been found good.

    Args:
        method: name of the method.
        source: a file, or the name of a bundled set.
        out: the run's folder.
        hyperparameters: of that method.
        columns: what the columns are.
        overwrite: replace a run that is in the folder, whatever it is; never other files.
        note: called with warnings and remarks for the user.
        on_epoch: called with the metrics of each finished epoch.
        on_progress: called as training goes on.

    Returns:
        The run's figures; those of the earlier run where the folder holds the same one finished.

    Raises:
        InputError: a hyperparameter, the table or the folder cannot be used as asked.
        DivergedError: the loss became infinite or NaN.
    """
    try:
        check(hyperparameters)
    except ValueError as error:
        raise InputError(str(error)) from error
    columns = _with_known_label(source, columns)
    table = tables.read_table(
        source, text_columns=_text_columns(columns), na_values=columns.na_values
    )
    config = _describe(method, source, hyperparameters, columns)
    earlier = _earlier_result(out, config, overwrite, note)
    if earlier:
        note(f"{out} already holds this run, finished: nothing to do")
        return earlier
    prepared, x, validation = _prepare(table, source, columns, hyperparameters, note)
    folder.begin(out, config, prepared)

    def log(metrics: EpochMetrics) -> None:
        folder.append_metrics(out, metrics)
        on_epoch(metrics)

    made = METHODS[method](hyperparameters)
    fitted = fit(made, x, validation=validation, on_epoch=log, on_progress=on_progress)
    result = TrainResult(
        run=str(out),
        method=method,
        rows=len(x),
        epochs=hyperparameters.epochs,
        loss=fitted.history[-1]["loss"],
        seconds=fitted.seconds,
        compile_seconds=fitted.compile_seconds,
        rows_per_second=fitted.rows_per_second,
        resumed_from_step=0,
    )
    scores = map_rows(made, "score", fitted.weights, x, input_dim=x.shape[1])
    if np.ptp(scores) == 0:
        note(
            "warning: every row has the same score, so the model tells none apart (its ReLUs may "
            "give 0 for every row); train with another --seed or a larger --latent-dim"
        )
    quantiles = np.quantile(scores.astype(np.float64), SCORE_LEVELS)
    levels = {"levels": SCORE_LEVELS.tolist(), "scores": quantiles.tolist()}
    results = {"result": dataclasses.asdict(result), "score_quantiles": levels}
    folder.finish(out, config | results, fitted.weights)
    return result


def _with_known_label(source: str, columns: Columns) -> Columns:
    """Leaves the label of a bundled set out of training without being told."""
    known = datasets.LABELS.get(source)
    if known is None or columns.label or known in (columns.id_column, *columns.categorical):
        return columns
    return dataclasses.replace(columns, label=known)


def _text_columns(columns: Columns) -> list[str]:
    return [*columns.categorical, *(n for n in (columns.label, columns.id_column) if n is not None)]


def _describe(
    method: str, source: str, hyperparameters: TrainingHyperparameters, columns: Columns
) -> dict[str, Any]:
    """Returns all of `config.json` but the results."""
    path = None if source in datasets.NAMES else Path(source)
    device = jax.devices()[0]
    packages = ("jaxrep", "jax", "flax", "optax", "numpy")
    return {
        "schema_version": folder.SCHEMA_VERSION,
        "method": method,
        "hyperparameters": dataclasses.asdict(hyperparameters),
        "data": {
            "source": str(path.resolve()) if path else source,
            "sha256": files.sha256(path) if path else None,
            "columns": dataclasses.asdict(columns),
        },
        "versions": {"python": platform.python_version()} | {p: version(p) for p in packages},
        "device": {
            "platform": device.platform,
            "kind": device.device_kind,
            "count": jax.device_count(),
        },
    }


def _earlier_result(
    out: Path, config: Mapping[str, Any], overwrite: bool, note: Callable[[str], None]
) -> TrainResult | None:
    """Returns the result of this very run where `out` holds it, finished, and it is to stay.

    Raises:
        InputError: `out` holds something else; a run that differs or is damaged counts only
            where it is to stay.
    """
    state = folder.state(out)
    if state == "foreign":
        raise InputError(f"--out {out}: exists and is no run folder; choose another path")
    if state == "absent" or overwrite:
        return None
    try:
        earlier = folder.load(out).config if state == "finished" else folder.read_config(out)
    except ModelFormatError as error:
        advice = "choose another path, or replace that run with --overwrite"
        raise ModelFormatError(f"--out {error}; {advice}") from error
    difference = _difference(_identity(earlier), _identity(config))
    if difference:
        raise InputError(
            f"--out {out}: holds a run that is {state} and differs in {difference}; choose another "
            "path, or replace that run with --overwrite"
        )
    if state == "unfinished":
        note(f"{out} holds this run, unfinished: training it again from the start")
        return None
    return TrainResult(**earlier["result"] | {"run": str(out)})


def _identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what makes two runs the same run, in JSON's types."""
    data = config["data"]
    where = data["source"] if data.get("sha256") is None else data["sha256"]
    identity = {"method": config["method"], "the data": where}
    settings = config["hyperparameters"] | data.get("columns", {})
    settings["categorical"] = sorted(settings.get("categorical", ()))  # a set, as it is used
    decoded: dict[str, Any] = json.loads(json.dumps(identity | settings))
    return decoded


def _difference(earlier: Mapping[str, Any], asked: Mapping[str, Any]) -> str | None:
    for key in {**asked, **earlier}:
        if earlier.get(key) != asked.get(key):
            if key == "the data":
                return "the data, whose content is another"
            return f"{key}: {earlier.get(key)!r} there, {asked.get(key)!r} asked for"
    return None


def _prepare(
    table: pa.Table,
    source: str,
    columns: Columns,
    hyperparameters: TrainingHyperparameters,
    note: Callable[[str], None],
) -> tuple[preprocessing.Preprocessing, np.ndarray, np.ndarray | None]:
    """Holds rows out, fits the preprocessing to the others, and turns both into features."""
    held_out = _held_out_rows(table.num_rows, hyperparameters)
    training = table.filter(pa.array(~held_out))
    prepared, warnings = preprocessing.fit(training, source=source, **dataclasses.asdict(columns))
    for warning in warnings:
        note(f"warning: {warning}")
    x = preprocessing.apply(prepared, training, source=source)
    if not held_out.any():
        return prepared, x, None
    validation = table.filter(pa.array(held_out))
    return prepared, x, preprocessing.apply(prepared, validation, source=source)


def _held_out_rows(rows: int, hyperparameters: TrainingHyperparameters) -> np.ndarray:
    """Returns a mask of the rows held out: drawn by `split_seed`, at least one if any are asked."""
    fraction = hyperparameters.validation_fraction
    count = max(round(fraction * rows), 1) if fraction > 0 else 0
    if count and rows - count < 2:
        raise InputError(
            f"validation_fraction is {fraction}: of {rows} rows it leaves {rows - count} to train "
            "on; at least 2 are needed"
        )
    mask = np.zeros(rows, bool)
    mask[np.random.default_rng(hyperparameters.split_seed).permutation(rows)[:count]] = True
    return mask
