"""From a table to a run folder: read, preprocess, fit, save."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxrep.errors import InputError
from jaxrep.hyperparameters import TrainingHyperparameters, check
from jaxrep.inference import map_rows
from jaxrep.methods import METHODS
from jaxrep.runs import folder
from jaxrep.runs.identity import describe, find_earlier
from jaxrep.runs.preparation import Columns as Columns
from jaxrep.runs.preparation import prepare, read, with_known_label
from jaxrep.training import EpochMetrics, Progress, fit

# Shares of the training rows at which their scores are kept: even, and ever finer at the top.
SCORE_LEVELS = np.concatenate([np.linspace(0, 0.999, 1000), 1 - np.geomspace(1e-3, 1e-7, 401), [1]])


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
    columns = with_known_label(source, columns)
    table = read(source, columns)
    config = describe(method, source, hyperparameters, columns)
    earlier = find_earlier(out, config, overwrite=overwrite, note=note)
    if earlier:
        return TrainResult(**earlier["result"] | {"run": str(out)})
    prepared = prepare(table, source, columns, hyperparameters, note)
    folder.begin(out, config, prepared.preprocessing)

    def log(metrics: EpochMetrics) -> None:
        folder.append_metrics(out, metrics)
        on_epoch(metrics)

    fitted = fit(
        METHODS[method](hyperparameters),
        prepared.x,
        validation=prepared.validation,
        on_epoch=log,
        on_progress=on_progress,
    )
    result = TrainResult(
        run=str(out),
        method=method,
        rows=len(prepared.x),
        epochs=hyperparameters.epochs,
        loss=fitted.history[-1]["loss"],
        seconds=fitted.seconds,
        compile_seconds=fitted.compile_seconds,
        rows_per_second=fitted.rows_per_second,
        resumed_from_step=0,
    )
    save(result, config, hyperparameters, fitted.weights, prepared.x, note)
    return result


def save(
    result: TrainResult,
    config: Mapping[str, Any],
    hyperparameters: TrainingHyperparameters,
    weights: Mapping[str, np.ndarray],
    x: np.ndarray,
    note: Callable[[str], None],
) -> None:
    """Finishes a run's folder: its weights, its figures, its training rows' scores.

    Args:
        result: of the training; its `run` is the folder, begun and with all its metrics.
        config: everything but the results.
        hyperparameters: of the method.
        weights: trained weights by name.
        x: training rows as features, `[rows, D]`.
        note: called with a warning if the model is of little use.
    """
    method = METHODS[result.method](hyperparameters)
    scores = map_rows(method, "score", weights, x, input_dim=x.shape[1])
    if np.ptp(scores) == 0:
        note(
            "warning: every row has the same score, so the model tells none apart (its ReLUs may "
            "give 0 for every row); train with another --seed or a larger --latent-dim"
        )
    quantiles = np.quantile(scores.astype(np.float64), SCORE_LEVELS)
    levels = {"levels": SCORE_LEVELS.tolist(), "scores": quantiles.tolist()}
    results = {"result": dataclasses.asdict(result), "score_quantiles": levels}
    folder.finish(Path(result.run), {**config, **results}, weights)
