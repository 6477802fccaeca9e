"""From a trained run and labelled rows to a run that predicts: a head on the run's network."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np
import safetensors.numpy

from jaxrep.batch import Batch
from jaxrep.data import datasets
from jaxrep.data.columns import Columns
from jaxrep.data.schema import Schema
from jaxrep.data.store.row_file import is_prepared
from jaxrep.data.targets import Classes, Target, are_classes, target_from_json
from jaxrep.errors import InputError
from jaxrep.hyperparameters import Predicts, TrainingHyperparameters, declaration
from jaxrep.inference import map_rows
from jaxrep.methods import (
    Backbone,
    abstract_network,
    hyperparameters_of,
    make,
    predicting,
    recipe_name,
    resolve,
    split_members,
)
from jaxrep.networks import get_weights
from jaxrep.runs import folder, pretrained
from jaxrep.runs.configuration import read_hyperparameters, read_object
from jaxrep.runs.folder import Run
from jaxrep.runs.labelled import Labelled, read_labelled
from jaxrep.runs.results import TrainResult
from jaxrep.runs.rows import row_spec
from jaxrep.runs.sources import Stream
from jaxrep.runs.train import Options, Task, carry_out, check_asked
from jaxrep.runs.training_rows import Prepared
from jaxrep.training import RowStore
from jaxrep.training.program import MAX_BACKGROUND_ROWS, background_rows
from jaxrep.training.row_store import numbers_of

LabelKind = Literal["auto", "classes", "numbers"]
BACKBONE = "backbone"  # what the names of its weights begin with


@dataclass(frozen=True)
class Pretrained:
    """A trained network that a head is put on."""

    hyperparameters: TrainingHyperparameters
    """Of its method."""

    weights: Mapping[str, np.ndarray]
    """Of the network, by name."""

    schema: Schema
    """From a table to the features that it takes."""

    path: Path | None = None
    """The run's folder; None where it was in memory."""

    @classmethod
    def of(cls, run: Run) -> "Pretrained":
        """Returns the network of a run.

        Raises:
            InputError: the run is a fine-tuned one.
        """
        hyperparameters = run.method.hyperparameters
        if hyperparameters.predicts is not None:
            raise InputError(
                f"{run.path}: is fine-tuned already; give the run that it was made from, "
                f"{run.config.get('finetuned', {}).get('run')}"
            )
        path = None if run.path == Path() else run.path.resolve()
        # Of several members the first, whose representations are the run's.
        weights = split_members(run.weights, hyperparameters.members)[0]
        lone = dataclasses.replace(hyperparameters, members=1)
        return cls(lone, weights, run.schema, path)

    def origin(self) -> dict[str, Any]:
        """Returns what `config.json` says of it."""
        ordered = {name: np.ascontiguousarray(array) for name, array in self.weights.items()}
        digest = hashlib.sha256(safetensors.numpy.save(ordered)).hexdigest()
        return {
            "finetuned": {"run": None if self.path is None else str(self.path), "model": digest}
        }

    def completed(
        self, hyperparameters: TrainingHyperparameters, target: Target
    ) -> TrainingHyperparameters:
        """Returns hyperparameters of a fine-tuning with what follows from network and target.

        Args:
            hyperparameters: as asked for.
            target: what is to be predicted.
        """
        derived: dict[str, Any] = {"backbone": Backbone.of(self.hyperparameters)}
        if isinstance(target, Classes):
            derived["classes"] = len(target.labels)
        return dataclasses.replace(hyperparameters, **derived)

    def initial(self, prepared: Prepared) -> dict[str, np.ndarray]:
        """Returns the weights that a fine-tuning begins with: all but the head's.

        The representations are standardised over the training rows, evenly spaced ones of many.

        Args:
            prepared: the rows.
        """
        numbers: Any = numbers_of(prepared.x)
        is_store = isinstance(numbers, RowStore)
        features = Batch(numbers, prepared.x.codes)
        x = numbers.sample(MAX_BACKGROUND_ROWS) if is_store else background_rows(features)
        rows = row_spec(prepared.schema, self.hyperparameters)
        method = make(self.hyperparameters)
        z = map_rows(method, "embed", self.weights, x, rows)
        network = abstract_network(method, rows)
        network.drop_output_blocks()
        deviation = z.std(axis=0, dtype=np.float64)
        return {
            **{f"{BACKBONE}.{name}": self.weights[name] for name in get_weights(network)},
            "standardisation.mean": z.mean(axis=0, dtype=np.float64).astype(np.float32),
            "standardisation.scale": np.where(deviation > 1e-6, deviation, 1).astype(np.float32),
        }


def finetune(
    run: Run,
    source: str,
    out: Path,
    *,
    label: str | None = None,
    task: LabelKind = "auto",
    settings: Mapping[str, Any] | None = None,
    recipe: str | None = None,
    stream: Stream = "auto",
    **options: Unpack[Options],
) -> TrainResult:
    """Trains a head on a run's network, and the network with it unless it is frozen.

    All that `train` does holds: checkpoints, streaming, devices, patience, and that nothing is
    written before all that was given has been found good.

    Args:
        run: the pre-trained run; its schema is kept.
        source: the labelled table, with the columns that the run trained on.
        out: folder of the fine-tuned run.
        label: the column to predict; of a bundled set its own by default.
        task: whether the label is of classes or a number; auto takes text, booleans and whole
            numbers of at most 20 different values for classes.
        settings: hyperparameters by name, of `ClassifierHyperparameters` or
            `RegressorHyperparameters` in `jaxrep.methods`; all others are the recipe's.
        recipe: its name; None stands for the method's first one.
        stream: whether to read the rows block by block while training.
        **options: of `jaxrep.runs.train.Options`.

    Returns:
        The run's figures; those of the earlier run where the folder holds the same one finished.

    Raises:
        InputError: the run, a hyperparameter, the table, its labels or the folder cannot be used as
            asked.
        DivergedError: the loss became infinite or NaN.
        InterruptedRunError: SIGTERM or SIGINT came; the state is saved.
    """
    note = options.get("note", lambda message: None)
    asked = asked_for(
        run,
        source,
        out,
        label=label,
        task=task,
        settings=settings,
        recipe=recipe,
        stream=stream,
        note=note,
    )
    return carry_out(asked, **options)


def asked_for(
    run: Run,
    source: str,
    out: Path,
    *,
    label: str | None = None,
    task: LabelKind = "auto",
    settings: Mapping[str, Any] | None = None,
    recipe: str | None = None,
    defaults: Mapping[str, Any] = {},
    stream: Stream = "auto",
    note: Callable[[str], None] = lambda message: None,
) -> Task:
    """Returns the task of a fine-tuning; arguments and errors as of `finetune`.

    `defaults` are hyperparameters by name, over which the recipe wins.
    """
    label = known_label(source, label)
    backbone = Pretrained.of(run)
    rows = read_labelled(source, label, backbone.schema, out, note, stream)
    kind = task
    if kind == "auto":
        kind = "classes" if are_classes(rows.labels) else "numbers"
        note(f"{label} is taken for {kind}; --task says otherwise")
    hyperparameters = hyperparameters_for(kind, settings or {}, recipe, defaults)
    target = rows.fit(kind, label)
    return task_of(
        rows,
        out,
        backbone.completed(hyperparameters, target),
        target,
        recipe=recipe_name(type(hyperparameters), recipe),
        origin=backbone.origin(),
        initial=backbone.initial,
    )


def hyperparameters_for(
    kind: Predicts,
    settings: Mapping[str, Any],
    recipe: str | None = None,
    defaults: Mapping[str, Any] = {},
) -> TrainingHyperparameters:
    """Returns the hyperparameters of the method that predicts classes or numbers, checked.

    Args:
        kind: which of the two.
        settings: hyperparameters by name; the others are the recipe's.
        recipe: its name; None stands for the method's first one.
        defaults: hyperparameters by name, over which the recipe wins.

    Raises:
        InputError: there is no such recipe, a name is none of its hyperparameters, or a value is
            out of its range.

    Example:
        >>> hyperparameters_for("numbers", {"epochs": 7}).epochs
        7
    """
    made = hyperparameters_of(predicting(kind))
    free = {f.name for f in dataclasses.fields(made) if not declaration(f).is_derived}
    if unknown := sorted(settings.keys() - free):
        raise InputError(f"{unknown[0]}: no hyperparameter of the {made.name}")
    hyperparameters = resolve(made, recipe, settings, defaults=defaults)
    check_asked(hyperparameters)
    return hyperparameters


def task_of(
    rows: Labelled,
    out: Path,
    hyperparameters: TrainingHyperparameters,
    target: Target,
    *,
    recipe: str | None,
    origin: Mapping[str, Any],
    initial: Callable[[Prepared], Mapping[str, np.ndarray]],
) -> Task:
    """Returns the task of a fine-tuning; arguments as of `Task`."""
    is_ready = is_prepared(Path(rows.source))
    return Task(
        rows.source,
        out,
        hyperparameters,
        Columns() if is_ready else Columns(label=target.name),
        lambda note: rows.prepare(target, hyperparameters, note),
        streamed=rows.streamed,
        target=target,
        recipe=recipe,
        origin=origin,
        initial=initial,
    )


def again(config: Mapping[str, Any], out: Path, source: str, note: Callable[[str], None]) -> Task:
    """Returns the task of a fine-tuning whose folder is there, from what the folder holds.

    Args:
        config: of the run, from `read_config`.
        out: its folder.
        source: the labelled table.
        note: called with remarks for the user.
    """
    fitted = Schema.from_json(read_object(out / folder.SCHEMA))
    target = target_from_json(config["target"])
    stream: Stream = "always" if config["data"].get("streamed") else "never"
    rows = read_labelled(source, target.name, fitted, out, note, stream)
    return task_of(
        rows,
        out,
        read_hyperparameters(config, out),
        target,
        recipe=config.get("recipe"),
        origin={"finetuned": config["finetuned"]},
        initial=lambda prepared: pretrained.read(out) or {},
    )


def known_label(source: str, label: str | None) -> str:
    """Returns the column to predict: the one asked for, or a bundled set's own.

    Raises:
        InputError: neither is there.
    """
    if found := label or datasets.LABELS.get(source):
        return found
    raise InputError(f"{source}: give the column to predict with --label")
