"""Reads a run for use: a finished one, or what an unfinished one has come to."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxrep.errors import InputError
from jaxrep.hyperparameters import TrainingHyperparameters
from jaxrep.methods import make
from jaxrep.runs import finetune, folder, sources
from jaxrep.runs.configuration import read_columns, read_config, read_hyperparameters
from jaxrep.runs.folder import Run
from jaxrep.runs.making import complete
from jaxrep.runs.rows import row_spec
from jaxrep.runs.training_rows import Prepared
from jaxrep.training import Checkpoints, fit


def read_run(
    path: Path, *, last: bool = False, note: Callable[[str], None] = lambda message: None
) -> Run:
    """Reads a run's folder; of a training that has not finished, its newest checkpoint.

    Args:
        path: of the folder.
        last: take the weights after the last step, where the run serves those of an earlier epoch.
        note: called with a remark on where an unfinished run stands.

    Raises:
        ModelFormatError: there is no run, or it is damaged.
        InputError: an unfinished run has no checkpoint yet, or its table is another or gone.
    """
    unfinished = folder.state(path) == "unfinished" and "sweep" not in read_config(path)
    run = _read_unfinished(path, note) if unfinished else folder.load(path)
    return _with_last_weights(run) if last else run


def _with_last_weights(run: Run) -> Run:
    if run.last_weights is None:
        return run
    told = dict(run.config["last"])
    scores = {key: told.pop(key) for key in folder.KEPT_SCORES if key in told}
    left_out = ("last", *folder.KEPT_SCORES)
    config = {key: value for key, value in run.config.items() if key not in left_out}
    config |= {"result": config["result"] | told, **scores}
    return dataclasses.replace(run, weights=run.last_weights, last_weights=None, config=config)


def _read_unfinished(path: Path, note: Callable[[str], None]) -> Run:
    config = read_config(path)
    hyperparameters, data = read_hyperparameters(config, path), config["data"]
    method = make(hyperparameters)
    if sources.digest(data["source"]) != data["sha256"]:
        raise InputError(
            f"{path}: has not finished, and {data['source']} holds another table than it began "
            "with; train anew into another folder"
        )
    prepared = _prepare(config, hyperparameters, path)
    spec = row_spec(prepared.schema, hyperparameters)
    start = Checkpoints(path / folder.CHECKPOINTS, note=note).newest(method, spec)
    if start is None:
        raise InputError(f"{path}: has not finished, and has no checkpoint yet; wait for the first")
    note(
        f"{path}: has not finished; this is its newest checkpoint, after step {start.step} and "
        f"{max(map(len, start.histories))} whole epochs"
    )
    x, validation = prepared.x, prepared.validation
    fitted = fit(method, x, validation=validation, spec=spec, start=start, until=start.step)
    return complete(path, config, hyperparameters, prepared, fitted, note)


def _prepare(
    config: Mapping[str, Any], hyperparameters: TrainingHyperparameters, path: Path
) -> Prepared:
    """Returns the rows of an unfinished run; what is to be said of them was said as it began."""
    source, streamed = config["data"]["source"], config["data"].get("streamed")
    if "finetuned" in config:
        return finetune.again(config, path, source, _ignore).prepare(_ignore)
    found = sources.find(source, read_columns(config), "always" if streamed else "never")
    return found.prepare(hyperparameters, path, _ignore)


def _ignore(message: str) -> None:
    """Takes a warning that was given before."""
