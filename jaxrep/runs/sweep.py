"""From a table and a grid to the best of many runs: read, prepare, train all, compare, save."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jaxrep import files
from jaxrep.batch import RowSpec
from jaxrep.data import read, write_table
from jaxrep.data.columns import Columns
from jaxrep.errors import InputError, ModelFormatError
from jaxrep.hyperparameters import TrainingHyperparameters, check
from jaxrep.methods import make
from jaxrep.runs import folder, grid, selection
from jaxrep.runs.folder import Run
from jaxrep.runs.identity import find_earlier
from jaxrep.runs.making import complete, describe, write
from jaxrep.runs.results import SweepResult as SweepResult
from jaxrep.runs.rows import network_constants, row_spec
from jaxrep.runs.train import Task
from jaxrep.runs.training_rows import (
    Prepared,
    prepare,
    warning,
    with_known_label,
    with_scale,
)
from jaxrep.training import Fit, Progress, Sweep, Trained, with_prior
from jaxrep.training import sweep as train_all
from jaxrep.training.program import background_rows
from jaxrep.training.row_store import row_count

Row = dict[str, Any]


def sweep(
    source: str,
    out: Path,
    hyperparameters: TrainingHyperparameters,
    columns: Columns,
    *,
    recipe: str | None = None,
    varied: Mapping[str, Sequence[Any]],
    seeds: int = 1,
    select: str | None = None,
    save_all: bool = False,
    overwrite: bool = False,
    note: Callable[[str], None] = lambda message: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> SweepResult:
    """Trains a method with every combination of values, and saves the best run and a table of all.

    Each run is the one that `train` would make. Nothing is written before all that was given has
    been found good; the folder is a finished run only once everything is in it.

    Args:
        source: a file, or the name of a bundled set.
        out: folder for the best run, `sweep.parquet`, and with `save_all` the runs `members/0000`,
            `members/0001`, ….
        hyperparameters: of the method to train, shared by all runs; `seed` is the first seed.
        columns: what the columns are.
        recipe: the name of the one that the hyperparameters begin with, to be kept in the folder.
        varied: values of hyperparameters by name.
        seeds: how many seeds to train every combination with.
        select: metric that is lowest for the best run; by default `validation_error`, and for a
            method without a decoder `common_loss`. What they are: `selection.metrics_of`.
        save_all: save every run that has not diverged.
        overwrite: replace a run that is in the folder, whatever it is; never other files.
        note: called with warnings and remarks for the user.
        on_progress: called as training proceeds.

    Returns:
        The sweep's figures; those of the earlier sweep where the folder holds the same one.

    Raises:
        InputError: a hyperparameter, the table, the metric or the folder cannot be used as asked.
        DivergedError: every run has diverged.
    """
    columns = with_known_label(source, columns)
    columns = columns if recipe is None else with_scale(columns, hyperparameters, recipe)
    task = Task(
        source,
        out,
        hyperparameters,
        columns,
        lambda note: prepare(
            list(read.read_blocks(source, note=note)),
            source,
            columns,
            hyperparameters,
            note,
            warning(note),
        ),
        recipe=recipe,
    )
    return carry_out(
        task,
        varied=varied,
        seeds=seeds,
        select=select,
        save_all=save_all,
        overwrite=overwrite,
        note=note,
        on_progress=on_progress,
    )


def carry_out(
    task: Task,
    *,
    varied: Mapping[str, Sequence[Any]],
    seeds: int = 1,
    select: str | None = None,
    save_all: bool = False,
    overwrite: bool = False,
    note: Callable[[str], None] = lambda message: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> SweepResult:
    """Carries a task out with every combination of values; arguments as of `sweep`."""
    out, hyperparameters = task.out, task.hyperparameters
    asked = _ask(hyperparameters, varied, seeds, select, save_all)
    described = describe(
        task.source, hyperparameters, task.columns, target=task.target, recipe=task.recipe
    )
    config = {**described, **task.origin, "sweep": asked}
    earlier = find_earlier(out, config, overwrite=overwrite, note=note)
    if earlier.state == "finished":
        read_members(out)  # refused if damaged
        return SweepResult(**earlier.config["sweep"]["result"] | {"out": str(out)})
    if earlier.state == "unfinished":
        note(f"{out} holds this sweep, unfinished: training it again from the start")
    prepared = task.prepare(note)
    with folder.held(out):
        folder.begin(out, config, prepared.schema)
        settings = grid.members(asked["grid"], hyperparameters)
        weights = task.initial(prepared) if task.initial else None
        trained = _train_all(settings, prepared, weights, on_progress)
        outcome = _Outcome(config, hyperparameters, settings, prepared, trained, note)
        return outcome.save(out)


def read_members(out: Path) -> pa.Table:
    """Reads the table of a finished sweep: one row a run, in the order of training.

    Args:
        out: the sweep's folder.

    Returns:
        `member`, the varied hyperparameters, `seed`, the metrics (null where a run has diverged),
        and `diverged`.

    Raises:
        ModelFormatError: there is no finished sweep, or the table is not the one it wrote.
    """
    sweep = folder.load(out).config.get("sweep", {})
    path = out / folder.SWEEP_TABLE
    if not path.is_file() or files.sha256(path) != sweep.get("sha256"):
        raise ModelFormatError(
            f"{path}: is not the table that a sweep has written; sweep again with --overwrite"
        )
    return pq.read_table(path)


def _ask(
    hyperparameters: TrainingHyperparameters,
    varied: Mapping[str, Sequence[Any]],
    seeds: int,
    select: str | None,
    save_all: bool,
) -> dict[str, Any]:
    """Returns what makes a sweep the one that it is, all of it found good."""
    try:
        check(hyperparameters)
    except ValueError as error:
        raise InputError(str(error)) from error
    if hyperparameters.members > 1:
        raise InputError(
            f"--members {hyperparameters.members}: each run of a sweep trains one network; give "
            "--seeds to compare seeds, and train the best setting with --members"
        )
    completed = grid.complete(varied, hyperparameters, seeds)
    select = select or selection.default_metric(type(hyperparameters).name)
    selection.check_selection(select, hyperparameters, completed)
    return {
        "hyperparameters": dataclasses.asdict(hyperparameters),
        "grid": completed,
        "select": select,
        "save_all": save_all,
    }


def _train_all(
    settings: Sequence[TrainingHyperparameters],
    prepared: Prepared,
    weights: Mapping[str, np.ndarray] | None,
    on_progress: Callable[[Progress], None],
) -> Sweep:
    """Trains all runs, at once where their rows have the same likelihoods."""
    alike: dict[RowSpec, list[int]] = {}
    for i, hp in enumerate(settings):
        alike.setdefault(row_spec(prepared.schema, hp), []).append(i)
    sweeps: list[Sweep] = []
    members: dict[int, Trained] = {}
    for spec, at in alike.items():
        made = train_all(
            [make(settings[i]) for i in at],
            prepared.x,
            validation=prepared.validation,
            spec=spec,
            weights=network_constants(prepared.schema, spec) if weights is None else weights,
            on_progress=on_progress,
        )
        sweeps.append(made)
        members |= dict(zip(at, made.members, strict=True))
    if len(sweeps) == 1:
        return sweeps[0]
    seconds = sum(made.seconds for made in sweeps)
    return Sweep(
        members=[members[i] for i in range(len(settings))],
        compiles=sum(made.compiles for made in sweeps),
        seconds=seconds,
        compile_seconds=sum(made.compile_seconds for made in sweeps),
        rows_per_second=sum(member.rows for member in members.values()) / max(seconds, 1e-9),
    )


@dataclass(frozen=True)
class _Outcome:
    """A sweep that has been trained, on its way into its folder."""

    config: dict[str, Any]
    shared: TrainingHyperparameters
    settings: list[TrainingHyperparameters]
    prepared: Prepared
    trained: Sweep
    note: Callable[[str], None]

    def save(self, out: Path) -> SweepResult:
        """Writes the table, the runs, and last the best run, which makes the folder finished."""
        asked = self.config["sweep"]
        rows = [self.row(i) for i in range(len(self.settings))]
        best = selection.best(rows, asked["select"])
        result = self.result(out, rows, best)
        if result.diverged:
            self.note(f"warning: {result.diverged} of {result.members} runs have diverged")
        if asked["save_all"]:
            for i in (i for i, row in enumerate(rows) if not row["diverged"]):
                path = out / folder.MEMBERS / f"{i:04d}"
                origin = {"member_of": {"sweep": str(out.resolve()), "member": i}}
                write(self.run(i, path, origin), path)
        write_table(_table(rows), out / folder.SWEEP_TABLE)
        digest = files.sha256(out / folder.SWEEP_TABLE)
        written = {"member": best, "result": dataclasses.asdict(result), "sha256": digest}
        made = self.run(best, out, {"sweep": {**asked, **written}})
        folder.append_metrics(out, *made.history)
        folder.finish(out, made.config, made.weights, made.last_weights, made.reasons)
        return result

    def row(self, i: int) -> Row:
        """Returns a run's row of the table."""
        hp, member = self.settings[i], self.trained.members[i]
        varied = {name: getattr(hp, name) for name in self.config["sweep"]["grid"]}
        row = {"member": i} | {k: _cell(value) for k, value in varied.items()}
        if not member.diverged:
            rows, schema = self.prepared.validation, self.prepared.schema
            row |= selection.metrics_of(member, hp, self.common, rows, schema)
        return row | {"diverged": member.diverged}

    @functools.cached_property
    def common(self) -> selection.Common:
        """What the runs are compared by."""
        return selection.common_of(self.settings, self.shared)

    def result(self, out: Path, rows: Sequence[Row], best: int) -> SweepResult:
        """Returns the figures of the whole sweep."""
        return SweepResult(
            out=str(out),
            method=self.config["method"],
            rows=row_count(self.prepared.x),
            members=len(rows),
            diverged=sum(row["diverged"] for row in rows),
            select=self.config["sweep"]["select"],
            best=rows[best],
            compiles=self.trained.compiles,
            seconds=self.trained.seconds,
            compile_seconds=self.trained.compile_seconds,
            rows_per_second=self.trained.rows_per_second,
            cells={name: dict(counts) for name, counts in self.prepared.cells.items()},
        )

    def run(self, i: int, path: Path, origin: Mapping[str, Any]) -> Run:
        """Returns a run as if trained alone, with its share of the sweep's time."""
        hp, member = self.settings[i], self.trained.members[i]
        rate = self.trained.rows_per_second
        alone = {key: value for key, value in self.config.items() if key != "sweep"}
        spec = row_spec(self.prepared.schema, hp)
        trained = Fit(
            **vars(with_prior(make(hp), member, background_rows(self.prepared.x), spec)),
            seconds=member.rows / rate,
            compile_seconds=self.trained.compile_seconds / len(self.settings),
            rows_per_second=rate,
        )
        return complete(
            path,
            {**alone, **origin},
            hp,
            self.prepared,
            trained,
            self.note,
        )


def _cell(value: Any) -> Any:
    return grid.as_text(value) if isinstance(value, list | tuple) else value


def _table(rows: Sequence[Row]) -> pa.Table:
    names = dict.fromkeys(name for row in rows for name in row if name != "diverged")
    return pa.table({name: [row.get(name) for row in rows] for name in (*names, "diverged")})
