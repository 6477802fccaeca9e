"""The run behind a fitted estimator: how it is trained, and its folder."""

import dataclasses
from collections.abc import Callable, Mapping
from importlib.metadata import version
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa

from jaxrep.data import preprocessing
from jaxrep.errors import InputError, ModelFormatError
from jaxrep.estimators._rows import SOURCE
from jaxrep.hyperparameters import BY_METHOD, CONTAMINATION, TrainingHyperparameters
from jaxrep.methods import METHODS, Method
from jaxrep.runs import folder
from jaxrep.runs.folder import Run
from jaxrep.runs.preparation import Columns, held_out_rows
from jaxrep.runs.scores import score_quantiles
from jaxrep.runs.train import TrainResult
from jaxrep.training import Fit, Progress, TrainState, fit
from jaxrep.training.program import abstract_state
from jaxrep.training.schedule import Schedule
from jaxrep.training.snapshot import Snapshot

READERS = {
    "autoencoder": "AutoencoderEmbedding",
    "vae": "VAEEmbedding",
    "simclr": "SimCLREmbedding",
}

Note = Callable[[str], None]


def hyperparameters_of(method: str, values: Mapping[str, Any]) -> TrainingHyperparameters:
    """Returns a method's hyperparameters, in Python's own types.

    A grid over `np.arange(…)` sets numbers of NumPy, which JSON does not know.

    Args:
        method: name of the method.
        values: parameters by name; others may be among them.

    Example:
        >>> made = hyperparameters_of("vae", vars(BY_METHOD["vae"](beta=np.int64(4))))
        >>> made.beta
        4.0
    """
    kinds = {field.name: field.type for field in dataclasses.fields(BY_METHOD[method])}
    return BY_METHOD[method](**{name: _plain(values[name], kinds[name]) for name in kinds})


def _plain(value: Any, kind: Any) -> Any:
    if isinstance(value, list | tuple | np.ndarray):
        return tuple(_plain(item, None) for item in value)
    if isinstance(value, bool):
        return value  # which `check` refuses
    if isinstance(value, Integral):
        return float(value) if kind is float else int(value)
    return float(value) if isinstance(value, Real) else value


def train(
    method: str,
    hyperparameters: TrainingHyperparameters,
    table: pa.Table,
    *,
    earlier: Run | None,
    note: Note,
    on_progress: Callable[[Progress], None],
) -> Run:
    """Trains on a table as `jaxrep train` does, and keeps the run in memory.

    Args:
        method: name of the method.
        hyperparameters: of the method, checked.
        table: columns of float64.
        earlier: a run to go on from: its weights, its standardisation of the columns and its
            history; None for a new one.
        note: called with warnings about columns.
        on_progress: called after each chunk of steps.

    Raises:
        InputError: too few rows are left to train on, or `earlier` has a network of other shapes.
        DivergedError: the loss became infinite or NaN.
    """
    if earlier:
        _check_same_network(earlier, hyperparameters)
    fitted, x, validation = _prepare(table, hyperparameters, earlier, note)
    if earlier:
        trained = _train_on(earlier, hyperparameters, x, validation, on_progress)
        epochs = _epochs_of(earlier) + hyperparameters.epochs
        hyperparameters = dataclasses.replace(hyperparameters, epochs=epochs)
    else:
        made = METHODS[method](hyperparameters)
        trained = fit(made, x, validation=validation, on_progress=on_progress)
    made = METHODS[method](hyperparameters)
    config = _describe(method, hyperparameters) | _results(made, x, trained, note)
    return Run(Path(), made, trained.weights, fitted, config, trained.history)


def _train_on(
    earlier: Run,
    hyperparameters: TrainingHyperparameters,
    x: np.ndarray,
    validation: np.ndarray | None,
    on_progress: Callable[[Progress], None],
) -> Fit:
    """Trains from the weights of an earlier run, with an optimiser that starts anew.

    Epochs are counted on, so that no order of the rows and no noise comes twice.
    """
    before = _epochs_of(earlier)
    method = METHODS[earlier.method.name](
        dataclasses.replace(hyperparameters, epochs=before + hyperparameters.epochs)
    )
    schedule = Schedule(rows=len(x), batch_size=min(hyperparameters.batch_size, len(x)))
    trained_names = abstract_state(method, x.shape[1]).params
    params = {name: jnp.asarray(earlier.weights[name]) for name in trained_names}
    state = TrainState(params, method.optimizer().init(params))
    start = Snapshot(before * schedule.steps_per_epoch, state, None, {}, earlier.history, 0.0)
    trained = fit(method, x, validation=validation, start=start, on_progress=on_progress)
    rows = len(x) * hyperparameters.epochs
    return dataclasses.replace(trained, rows_per_second=rows / max(trained.seconds, 1e-9))


def _prepare(
    table: pa.Table, hyperparameters: TrainingHyperparameters, earlier: Run | None, note: Note
) -> tuple[preprocessing.Preprocessing, np.ndarray, np.ndarray | None]:
    """Returns the preprocessing and the features of the training rows and those held out."""
    held_out = held_out_rows(table.num_rows, hyperparameters)
    training = table.filter(pa.array(~held_out)) if held_out.any() else table
    if earlier:
        fitted = earlier.preprocessing
    else:
        fitted, warnings = preprocessing.fit(training, source=SOURCE)
        for warning in warnings:
            note(f"warning: {warning}")
    x = preprocessing.apply(fitted, training, source=SOURCE)
    if not held_out.any():
        return fitted, x, None
    rest = table.filter(pa.array(held_out))
    return fitted, x, preprocessing.apply(fitted, rest, source=SOURCE)


def _check_same_network(earlier: Run, asked: TrainingHyperparameters) -> None:
    """Refuses to go on from the weights of a network of other shapes."""
    there = earlier.method.hyperparameters
    shaping = [name for name in ("hidden_dims", "latent_dim", "proj_dim") if hasattr(asked, name)]
    differing = [
        f"{name} was {getattr(there, name)} and is {getattr(asked, name)}"
        for name in shaping
        if getattr(there, name) != getattr(asked, name)
    ]
    if differing:
        raise InputError(
            "warm_start goes on from the weights of the last fit, whose network is another: "
            f"{', '.join(differing)}; set warm_start=False to begin anew"
        )


def _epochs_of(run: Run) -> int:
    """Returns the epochs behind a run's weights; an imported run may have lost their metrics."""
    return int(run.history[-1]["epoch"] if run.history else run.method.hyperparameters.epochs)


def _describe(method: str, hyperparameters: TrainingHyperparameters) -> dict[str, Any]:
    """Returns a run's `config.json` without its results."""
    device = jax.devices()[0]
    return {
        "schema_version": folder.SCHEMA_VERSION,
        "method": method,
        "hyperparameters": dataclasses.asdict(hyperparameters),
        "data": {
            "source": "a table in memory",
            "sha256": None,
            "columns": dataclasses.asdict(Columns()),
        },
        "versions": {name: version(name) for name in ("jaxrep", "jax", "flax", "optax", "numpy")},
        "device": {"platform": device.platform, "kind": device.device_kind},
    }


def _results(method: Method[Any, Any], x: np.ndarray, trained: Fit, note: Note) -> dict[str, Any]:
    """Returns what `config.json` says of a training: its figures, and its rows' scores."""
    result = TrainResult(
        run="",
        method=method.name,
        rows=len(x),
        epochs=method.hyperparameters.epochs,
        loss=trained.history[-1]["loss"],
        seconds=trained.seconds,
        compile_seconds=trained.compile_seconds,
        rows_per_second=trained.rows_per_second,
        resumed_from_step=trained.resumed_from_step,
    )
    quantiles = score_quantiles(method, trained.weights, x, note)
    return {"result": dataclasses.asdict(result), "score_quantiles": quantiles}


def save(run: Run, path: Path, estimator: Mapping[str, Any], *, overwrite: bool) -> None:
    """Writes a run's folder.

    Args:
        run: to save.
        path: of the folder.
        estimator: what `read_estimator` is to give back.
        overwrite: whether to replace a run that is there, which other files never are.

    Raises:
        InputError: the folder is taken or cannot be written.
    """
    state = folder.state(path)
    if state == "foreign":
        raise InputError(f"{path}: exists and is no run folder; choose another path")
    if state != "absent" and not overwrite:
        raise InputError(f"{path}: holds a run; choose another path, or replace it: overwrite=True")
    config = run.config | {"estimator": dict(estimator)}
    if "result" in config:
        config["result"] = config["result"] | {"run": str(path)}
    with folder.held(path):
        folder.begin(path, config, run.preprocessing)
        folder.append_metrics(path, *run.history)
        folder.finish(path, config, run.weights)


def load(path: Path, method: str) -> Run:
    """Reads a run's folder.

    Args:
        path: of the folder.
        method: that the run has to be of.

    Raises:
        ModelFormatError: there is no finished run, or it is damaged.
        InputError: the run is of another method.
    """
    run = folder.load(path)
    if run.method.name != method:
        raise InputError(
            f"{path}: holds a run of the method {run.method.name}, not {method}; load it with "
            f"{READERS[run.method.name]}"
        )
    return run


def read_estimator(run: Run, path: Path) -> dict[str, Any]:
    """Returns what `save` has stored besides the run; other runs have nothing of the kind.

    Raises:
        ModelFormatError: what is there cannot be.
    """
    stored = run.config.get("estimator", {})
    if not isinstance(stored, dict):
        raise ModelFormatError(f"{path / folder.CONFIG}: estimator is no object")
    share = stored.get("contamination", CONTAMINATION)
    if not isinstance(share, float) or not 0 < share < 1:
        raise ModelFormatError(f"{path / folder.CONFIG}: estimator.contamination is {share!r}")
    named = stored.get("feature_names")
    if named is not None and not isinstance(named, bool):
        raise ModelFormatError(f"{path / folder.CONFIG}: estimator.feature_names is {named!r}")
    return {"contamination": share, "feature_names": named}
