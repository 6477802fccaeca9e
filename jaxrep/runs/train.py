"""From a table to a run folder: read, transform, train, save."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
from jax.sharding import Mesh

from jaxrep.data.columns import Columns as Columns
from jaxrep.data.targets import Target
from jaxrep.dispatch import computing
from jaxrep.errors import InputError
from jaxrep.hyperparameters import TrainingHyperparameters, check
from jaxrep.methods import make, members_of
from jaxrep.runs import folder, pretrained, sources
from jaxrep.runs.identity import Earlier, find_earlier, warn_of_other_versions
from jaxrep.runs.interruption import listening
from jaxrep.runs.making import complete, describe, figures
from jaxrep.runs.results import TrainResult as TrainResult
from jaxrep.runs.rows import network_constants, row_spec
from jaxrep.runs.sources import Source, Stream
from jaxrep.runs.training_rows import Prepared, has_scale, with_known_label, with_scale
from jaxrep.training import (
    EVERY_MINUTE,
    Callback,
    Checkpoints,
    Devices,
    EpochMetrics,
    Every,
)
from jaxrep.training.checkpoint import check_keep
from jaxrep.training.devices import mesh_of_one
from jaxrep.training.distributed import is_main, run_on_main
from jaxrep.training.fit import fit_of
from jaxrep.training.history import mean_epochs
from jaxrep.training.loop import Loop
from jaxrep.training.row_store import place, row_count

_SECONDS_TO_APPEAR = 60  # a network file system shows what another machine wrote after a while

Note = Callable[[str], None]


def _ignore(event: object) -> None:
    """Takes what no one wants to hear of."""


class Options(TypedDict, total=False):
    """How a training is carried out; none of it makes the run another."""

    overwrite: bool
    """Replace a run that is in the folder, whatever it is, but for this very run unfinished; never
    other files."""

    every: Every
    """How often to save a checkpoint."""

    keep: int
    """How many checkpoints to keep."""

    mesh: Mesh | None
    """Devices that train together; in a job of several processes all of them call the function, and
    process 0 alone writes and reports."""

    shard_parameters: bool
    """Whether these devices part weights and optimiser state, too."""

    finish_now: bool
    """Make a run of the newest checkpoint, without another step."""

    note: Note
    """Called with warnings and remarks for the user."""

    callbacks: Sequence[Callback]
    """That hear of the training as it goes."""


@dataclass(frozen=True)
class Task:
    """A training that is asked for, before anything is written."""

    source: str
    """The table: a file, a folder, or the name of a bundled set."""

    out: Path
    """The run's folder."""

    hyperparameters: TrainingHyperparameters
    """Of the method."""

    columns: Columns
    """What the table's columns are."""

    prepare: Callable[[Note], Prepared]
    """Returns the rows, and tells warnings about them."""

    streamed: bool = False
    """Whether the rows are read block by block while training."""

    target: Target | None = None
    """What is to be predicted, where it is."""

    recipe: str | None = None
    """The recipe that the hyperparameters begin with, where that is known."""

    origin: Mapping[str, Any] = field(default_factory=dict)
    """What `config.json` says besides."""

    initial: Callable[[Prepared], Mapping[str, np.ndarray]] | None = None
    """Returns the weights to begin with, by name, where not all are drawn."""


def train(
    source: str,
    out: Path,
    hyperparameters: TrainingHyperparameters,
    columns: Columns,
    *,
    stream: Stream = "auto",
    recipe: str | None = None,
    **options: Unpack[Options],
) -> TrainResult:
    """Trains a method on a table and saves the run; continues it where it was interrupted.

    Nothing is written before the table, the hyperparameters and the folder have been found good.

    Args:
        source: a file, a folder, or the name of a bundled set.
        out: the run's folder.
        hyperparameters: of the method to train.
        columns: what the columns are.
        stream: whether to read the rows block by block while training.
        recipe: the name of the one that the hyperparameters begin with, to be kept in the folder.
        **options: of `Options`.

    Returns:
        The run's figures; those of the earlier run where the folder holds the same one finished.

    Raises:
        InputError: a hyperparameter, the table or the folder cannot be used as asked.
        DivergedError: the loss became infinite or NaN.
        InterruptedRunError: SIGTERM or SIGINT came; the state is saved.
        OSError: a checkpoint or the model cannot be written.
    """
    task = asked_for(source, out, hyperparameters, columns, stream, recipe=recipe)
    return carry_out(task, **options)


def asked_for(
    source: str,
    out: Path,
    hyperparameters: TrainingHyperparameters,
    columns: Columns,
    stream: Stream = "auto",
    *,
    recipe: str | None = None,
) -> Task:
    """Returns the task of a training; arguments and errors as of `train`."""
    check_asked(hyperparameters)
    columns = with_known_label(source, columns)
    found = sources.find(source, columns, stream)
    if found.stored is None and recipe is not None:  # a prepared folder has its scales
        columns = with_scale(columns, hyperparameters, recipe)
        found = dataclasses.replace(found, columns=columns)
    return Task(
        source,
        out,
        hyperparameters,
        columns,
        lambda note: _prepared(found, hyperparameters, recipe, out, note),
        streamed=found.streamed,
        recipe=recipe,
    )


def _prepared(
    found: Source,
    hyperparameters: TrainingHyperparameters,
    recipe: str | None,
    out: Path,
    note: Note,
) -> Prepared:
    stored = found.stored
    if (
        stored is not None
        and recipe is not None
        and not has_scale(stored.schema, hyperparameters, recipe)
    ):
        scale = hyperparameters.recipes[recipe].scale
        note(
            f"warning: {found.name} was prepared with its numbers on another scale than {scale}, "
            f"which the recipe {recipe!r} is made for; jaxrep prepare has --scale {scale}"
        )
    return found.prepare(hyperparameters, out, note)


def check_asked(hyperparameters: TrainingHyperparameters) -> None:
    """Raises an InputError for the first hyperparameter that is out of its range."""
    try:
        check(hyperparameters)
        check(members_of(make(hyperparameters))[-1].hyperparameters)  # whose seed is the largest
    except ValueError as error:
        raise InputError(str(error)) from error


@computing()
def carry_out(
    task: Task,
    *,
    overwrite: bool = False,
    every: Every = EVERY_MINUTE,
    keep: int = 2,
    mesh: Mesh | None = None,
    shard_parameters: bool = False,
    finish_now: bool = False,
    note: Note = _ignore,
    callbacks: Sequence[Callback] = (),
) -> TrainResult:
    """Carries a task out, from where an earlier process has left it.

    Args:
        task: what is asked for.
        overwrite: as of `Options`, and so all that follow.
        every: how often to save.
        keep: how many checkpoints.
        mesh: devices.
        shard_parameters: whether they part the weights.
        finish_now: take no more steps.
        note: hears remarks.
        callbacks: hear of the training.
    """
    check_keep(keep)
    if not is_main():
        note, callbacks = _ignore, ()
    out, hyperparameters = task.out, task.hyperparameters
    devices = Devices(mesh or mesh_of_one(), shard_parameters)
    config = describe(
        task.source,
        hyperparameters,
        task.columns,
        streamed=task.streamed,
        devices=devices.count,
        target=task.target,
        recipe=task.recipe,
    )
    config |= task.origin
    find = functools.partial(find_earlier, out, config, overwrite=overwrite, note=note)
    earlier = Earlier(**run_on_main(lambda: dataclasses.asdict(find())))
    if earlier.state == "finished":
        return TrainResult(**earlier.config["result"] | {"run": str(out)})
    prepared = task.prepare(note)
    _check_batch(devices, hyperparameters.batch_size, row_count(prepared.x))

    def begin() -> None:
        if find().state == "unfinished":
            warn_of_other_versions(earlier.config, config, note)
            return
        weights = task.initial(prepared) if task.initial else {}
        folder.begin(out, config, prepared.schema)
        pretrained.write(out, weights)

    method = make(hyperparameters)
    members = members_of(method)
    spec = row_spec(prepared.schema, hyperparameters)
    with contextlib.ExitStack() as stack:
        run_on_main(lambda: stack.enter_context(folder.held(out)))
        run_on_main(begin)
        _check_shared(out)
        checkpoints = Checkpoints(out / folder.CHECKPOINTS, every, keep=keep, note=note)
        start = checkpoints.newest(method, spec, devices)
        if finish_now and start is None:
            raise InputError(f"--finish-now: {out} has no checkpoint to make a run of")
        weights = pretrained.read(out)
        if task.initial and weights is None and start is None:
            raise InputError(
                f"{out}: has no checkpoint, and the weights that it began with are gone; run the "
                "command that began it again, with --overwrite"
            )
        if start is not None and not finish_now:
            note(f"{out} holds this run, unfinished: continuing after step {start.step}")
        # What was logged after the checkpoint will be logged again.
        logged = mean_epochs(start.histories) if start else []
        run_on_main(lambda: folder.write_metrics(out, logged))
        loop = Loop(
            members,
            *place(prepared.x, prepared.validation, hyperparameters.batch_size, devices),
            spec,
            devices,
            start=start,
            weights=weights if task.initial else network_constants(prepared.schema, spec),
            checkpoints=checkpoints,
        )
        with listening() as interrupted:
            until = start.step if start is not None and finish_now else None
            log = [_Log(out)] if is_main() else []
            loop.train([*log, *callbacks], interrupted, until=until)
        fitted = fit_of(loop)
        if is_main():  # scoring the training rows is work that one process does for all
            made = complete(out, config, hyperparameters, prepared, fitted, note)
            folder.write_metrics(out, made.history)
            folder.finish(out, made.config, made.weights, made.last_weights, made.reasons)
            sources.remove_spool(out)
            pretrained.remove(out)
            return TrainResult(**made.config["result"])
    return figures(out, hyperparameters, fitted, prepared)


class _Log(Callback):
    """Adds every epoch to the run's `metrics.jsonl`."""

    def __init__(self, out: Path):
        self._out = out

    def on_epoch(self, metrics: EpochMetrics) -> None:
        folder.append_metrics(self._out, metrics)


def _check_batch(devices: Devices, batch_size: int, rows: int) -> None:
    try:
        devices.check_batch(batch_size, rows)
    except ValueError as error:
        raise InputError(str(error)) from error


def _check_shared(out: Path) -> None:
    """Refuses a folder that process 0 has just begun, and that is not there for this one."""
    patience = time.monotonic() + _SECONDS_TO_APPEAR
    while folder.state(out) != "unfinished":
        time.sleep(0.1)
        if time.monotonic() < patience:
            continue
        raise InputError(
            f"--out {out}: the run that process 0 began is not there for this process; give a path "
            "on a file system that all processes of the job share"
        )
