"""Goes on with a run in a folder: one that was interrupted, or one that is to train longer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from jaxrep.errors import InputError, ModelFormatError
from jaxrep.runs import folder
from jaxrep.runs.configuration import read_columns, read_config, read_hyperparameters
from jaxrep.runs.train import TrainResult, train
from jaxrep.training import EVERY_MINUTE, EpochMetrics, Every, Progress
from jaxrep.training.distributed import run_on_main


def resume(
    out: Path,
    *,
    epochs: int | None = None,
    finish_now: bool = False,
    data: str | None = None,
    every: Every = EVERY_MINUTE,
    keep: int = 2,
    mesh: Mesh | None = None,
    shard_parameters: bool = False,
    note: Callable[[str], None] = lambda message: None,
    on_epoch: Callable[[EpochMetrics], None] = lambda metrics: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> TrainResult:
    """Goes on with a run, as the `train` that began it would.

    Args:
        out: the run's folder.
        epochs: to train in all, those that are done included; by default as many as were asked for.
        finish_now: make a finished run of its newest checkpoint, without another step.
        data: the run's table, where it is not any more at the path that the run recorded.
        every: how often to save a checkpoint.
        keep: how many checkpoints to keep.
        mesh: devices that train together, as of `train`.
        shard_parameters: as of `train`.
        note: called with warnings and remarks for the user.
        on_epoch: called with the metrics of each finished epoch.
        on_progress: called as training proceeds.

    Returns:
        The run's figures.

    Raises:
        ModelFormatError: there is no run, or it is damaged.
        InputError: it is a sweep, its table is another, or it has trained for more epochs.
        DivergedError: the loss became infinite or NaN.
        InterruptedRunError: SIGTERM or SIGINT came; the state is saved.
    """
    config = run_on_main(lambda: _config(out, epochs, finish_now))
    hyperparameters = read_hyperparameters(config, out)
    recorded = config["data"]
    return train(
        data or recorded["source"],
        out,
        hyperparameters,
        read_columns(config),
        stream="always" if recorded.get("streamed") else "never",
        every=every,
        keep=keep,
        mesh=mesh,
        shard_parameters=shard_parameters,
        finish_now=finish_now,
        note=note,
        on_epoch=on_epoch,
        on_progress=on_progress,
    )


def _config(out: Path, epochs: int | None, finish_now: bool) -> dict[str, Any]:
    """Returns the configuration to continue with, and makes a run with more epochs unfinished."""
    state = folder.state(out)
    if state in ("absent", "unrecognised"):
        raise ModelFormatError(f"{out}: not a run folder; `jaxrep train … --out RUN` makes one")
    config = folder.load(out).config if state == "finished" else read_config(out)
    for key, what in (("sweep", "a sweep"), ("imported", "imported"), ("member_of", "of a sweep")):
        if key in config:
            raise InputError(f"{out}: is {what}, which has no training state to continue with")
    hyperparameters = read_hyperparameters(config, out)
    if finish_now and epochs is not None:
        raise InputError("--finish-now goes without --epochs: it takes no more steps")
    if epochs is None:
        return config
    if epochs < hyperparameters.epochs:
        raise InputError(
            f"--epochs {epochs}: {out} was to train for {hyperparameters.epochs} epochs already; "
            "give as many as there are to be in all"
        )
    result = config.get("result", {})
    if result.get("stopped_early"):
        raise InputError(
            f"--epochs {epochs}: {out} stopped after epoch {result['epochs']}, when the validation "
            f"loss had not fallen for {hyperparameters.patience} epochs, and would stop there "
            "again; train it anew, with more --patience, into another folder"
        )
    if epochs > result.get("epochs", hyperparameters.epochs):
        if epochs > hyperparameters.epochs and hyperparameters.schedule != "constant":
            raise InputError(
                f"--epochs {epochs}: the step size of {out} falls to 0 over its "
                f"{hyperparameters.epochs} epochs ({hyperparameters.schedule}), so that a longer "
                "run is another from its first step on; train it anew into another folder"
            )
        with folder.held(out):
            folder.ask_for_more(out, epochs)
        config["hyperparameters"]["epochs"] = epochs
    return config
