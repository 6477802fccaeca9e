"""Goes on with a run in a folder: one that was interrupted, or one that is to train longer."""

from pathlib import Path
from typing import Any, Unpack

from jaxrep.errors import InputError, ModelFormatError
from jaxrep.runs import finetune, folder
from jaxrep.runs.configuration import read_columns, read_config, read_hyperparameters
from jaxrep.runs.results import TrainResult
from jaxrep.runs.train import Options, carry_out, train
from jaxrep.training.distributed import run_on_main


def resume(
    out: Path,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    data: str | None = None,
    **options: Unpack[Options],
) -> TrainResult:
    """Goes on with a run, as the `train` that began it would.

    Args:
        out: the run's folder.
        epochs: to train in all, those that are done included; by default as many as were asked for.
        steps: in the place of epochs, of a run that was asked for by steps.
        data: the run's table, where it is not any more at the path that the run recorded.
        **options: of `jaxrep.runs.train.Options`.

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
    config = run_on_main(lambda: _config(out, length, options.get("finish_now", False)))
    source = data or config["data"]["source"]
    if "finetuned" in config:
        note = options.get("note", lambda message: None)
        return carry_out(finetune.again(config, out, source, note), **options)
    streamed = config["data"].get("streamed")
    return train(
        source,
        out,
        read_hyperparameters(config, out),
        read_columns(config),
        stream="always" if streamed else "never",
        recipe=config.get("recipe"),
        **options,
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
    if not getattr(hyperparameters, counted):
        raise InputError(
            f"--{next(iter(length))}: {out} trains for as many steps as epochs=0 makes of its "
            "rows; train it anew into another folder"
        )
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
