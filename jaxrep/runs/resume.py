"""Goes on with a run in a folder: one that was interrupted, or one that is to train longer."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from jaxrep.errors import InputError, ModelFormatError
from jaxrep.runs import folder
from jaxrep.runs.configuration import read_columns, read_config, read_hyperparameters
from jaxrep.runs.train import TrainResult, train
from jaxrep.training import EVERY_MINUTE, Callback, Every
from jaxrep.training.distributed import run_on_main


def resume(
    out: Path,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    finish_now: bool = False,
    data: str | None = None,
    every: Every = EVERY_MINUTE,
    keep: int = 2,
    mesh: Mesh | None = None,
    shard_parameters: bool = False,
    note: Callable[[str], None] = lambda message: None,
    callbacks: Sequence[Callback] = (),
) -> TrainResult:
    """Goes on with a run, as the `train` that began it would.

    Args:
        out: the run's folder.
        epochs: to train in all, those that are done included; by default as many as were asked for.
        steps: in the place of epochs, of a run that was asked for by steps.
        finish_now: make a finished run of its newest checkpoint, without another step.
        data: the run's table, where it is not any more at the path that the run recorded.
        every: how often to save a checkpoint.
        keep: how many checkpoints to keep.
        mesh: devices that train together, as of `train`.
        shard_parameters: as of `train`.
        note: called with warnings and remarks for the user.
        callbacks: that hear of the training as it goes.

    Returns:
        The run's figures.

    Raises:
        ModelFormatError: there is no run, or it is damaged.
        InputError: it is a sweep, its table is another, or it has trained for more epochs.
        DivergedError: the loss became infinite or NaN.
        InterruptedRunError: SIGTERM or SIGINT came; the state is saved.
    """
    asked = {"epochs": epochs, "steps": steps}
    length = {name: count for name, count in asked.items() if count is not None}
    config = run_on_main(lambda: _config(out, length, finish_now))
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
        callbacks=callbacks,
    )


def _config(out: Path, length: dict[str, int], finish_now: bool) -> dict[str, Any]:
    """Returns the configuration to continue with; a run that is to be longer is unfinished then."""
    state = folder.state(out)
    if state in ("absent", "unrecognised"):
        raise ModelFormatError(f"{out}: not a run folder; `jaxrep train … --out RUN` makes one")
    config = folder.load(out).config if state == "finished" else read_config(out)
    for key, what in (("sweep", "a sweep"), ("imported", "imported"), ("member_of", "of a sweep")):
        if key in config:
            raise InputError(f"{out}: is {what}, which has no training state to continue with")
    hyperparameters = read_hyperparameters(config, out)
    if finish_now and length:
        raise InputError("--finish-now goes without --epochs and --steps: it takes no more steps")
    if not length:
        return config
    if len(length) > 1:
        raise InputError("--epochs and --steps: give one of them")
    [(name, asked)] = length.items()
    counted = "steps" if hyperparameters.steps else "epochs"
    planned, result = getattr(hyperparameters, counted), config.get("result", {})
    if name != counted:
        raise InputError(f"--{name} {asked}: {out} trains by {counted}; give --{counted}")
    if asked < planned:
        raise InputError(
            f"--{name} {asked}: {out} was to train for {planned} {name} already; give as many as "
            "there are to be in all"
        )
    if result.get("stopped_early"):
        raise InputError(
            f"--{name} {asked}: {out} stopped after epoch {result['epochs']}, when the validation "
            f"loss had not fallen for {hyperparameters.patience} epochs, and would stop there "
            "again; train it anew, with more --patience, into another folder"
        )
    if asked > planned and hyperparameters.schedule != "constant":
        raise InputError(
            f"--{name} {asked}: the step size of {out} falls to 0 over its {planned} {name} "
            f"({hyperparameters.schedule}), so that a longer run is another from its first step "
            "on; train it anew into another folder"
        )
    if asked > result.get(name, planned):
        with folder.held(out):
            folder.ask_for_more(out, **length)
        config["hyperparameters"] |= length
    return config
