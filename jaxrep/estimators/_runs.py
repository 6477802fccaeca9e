"""The run behind a fitted estimator: how it is trained, and its folder."""

import dataclasses
import signal
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrep.batch import RowSpec
from jaxrep.data.columns import Columns
from jaxrep.data.schema import Schema
from jaxrep.data.targets import Target
from jaxrep.dispatch import computing
from jaxrep.errors import InputError, InterruptedRunError
from jaxrep.estimators._conversion import SOURCE, Rows, in_python, left_out
from jaxrep.hyperparameters import TrainingHyperparameters, declaration
from jaxrep.methods import AnyMethod, abstract_network, make, resolve, split_members
from jaxrep.networks import get_weights
from jaxrep.runs.finetune import Pretrained
from jaxrep.runs.folder import Run
from jaxrep.runs.interruption import listening
from jaxrep.runs.labelled import Labelled
from jaxrep.runs.making import complete, describe
from jaxrep.runs.rows import network_constants, row_spec
from jaxrep.runs.training_rows import Prepared, prepare, with_scale
from jaxrep.training import Callback, Fit, TrainState, fit
from jaxrep.training.epoch_plan import EpochPlan
from jaxrep.training.program import abstract_state
from jaxrep.training.row_store import row_count
from jaxrep.training.snapshot import Snapshot
from jaxrep.views import VIEWS

Note = Callable[[str], None]


def hyperparameters_from(
    made: type[TrainingHyperparameters], recipe: str | None, parameters: Mapping[str, Any]
) -> TrainingHyperparameters:
    """Returns hyperparameters in Python's own types, the derived ones left at their defaults.

    A grid over `np.arange(…)` sets numbers of NumPy, which JSON does not know.

    Args:
        made: their class.
        recipe: the name of theirs; None stands for the first one.
        parameters: of an estimator by name, None for the recipe's; others may be among them.

    Raises:
        InputError: there is no such recipe, or a value is out of its range.

    Example:
        >>> from jaxrep.methods import VAEHyperparameters
        >>> parameters = {"beta": np.int64(4), "epochs": None}
        >>> found = hyperparameters_from(VAEHyperparameters, "seed", parameters)
        >>> found.beta, found.epochs
        (4.0, 80)
    """
    kinds = {field.name: field.type for field in free_fields(made)}
    given = {
        name: _plain(parameters[name], kind)
        for name, kind in kinds.items()
        if parameters.get(name) is not None
    }
    return resolve(made, recipe, given)


def free_fields(made: Any) -> list["dataclasses.Field[Any]"]:
    """Returns the hyperparameters that are given and do not follow from what is trained on.

    Args:
        made: hyperparameters, or their class.
    """
    return [field for field in dataclasses.fields(made) if not declaration(field).is_derived]


def _plain(value: Any, kind: Any) -> Any:
    if isinstance(value, list | tuple | np.ndarray):
        return tuple(_plain(item, None) for item in value)
    if isinstance(value, bool):
        return value  # which `check` refuses
    if isinstance(value, Integral):
        return float(value) if kind is float else int(value)
    return float(value) if isinstance(value, Real) else value


@computing()
def train(
    hyperparameters: TrainingHyperparameters,
    rows: Rows,
    columns: Columns,
    *,
    recipe: str,
    weights: np.ndarray | None,
    earlier: Run | None,
    note: Note,
    callbacks: Sequence[Callback],
) -> tuple[Run, list[str]]:
    """Trains on a table as `jaxrep train` does, and keeps the run in memory.

    Args:
        hyperparameters: of the method to train, checked.
        rows: the table.
        columns: what the user says of its columns.
        recipe: the name of the one that the hyperparameters begin with.
        weights: how much each row counts, `[N]`; None if all count alike.
        earlier: a run to continue from: its weights, its standardisation of the columns and its
            history; None for a new one.
        note: called with what the columns are.
        callbacks: that hear of the training as it goes.

    Returns:
        The run, and what to warn of.

    Raises:
        InputError: too few rows are left to train on, or `earlier` has a network of other shapes.
        DivergedError: the loss became infinite or NaN.
        KeyboardInterrupt: Ctrl-C came before the first step.
    """
    if earlier:
        _check_same_network(earlier, hyperparameters)
        if hyperparameters.schedule != "constant":
            raise InputError(
                f"schedule is {hyperparameters.schedule!r}, whose step size falls to 0 over the "
                "epochs of one fit; with warm_start=True it must be 'constant'"
            )
        if hyperparameters.steps or not hyperparameters.epochs:
            name = "steps" if hyperparameters.steps else "epochs"
            raise InputError(
                f"{name} is {getattr(hyperparameters, name)}; warm_start=True counts on in whole "
                "epochs, so give epochs in its place"
            )
        if hyperparameters.calibration_fraction:
            raise InputError(
                f"calibration_fraction is {hyperparameters.calibration_fraction}, and "
                "warm_start=True continues from weights that may have been trained on the rows to "
                "be set apart; set warm_start=False to begin anew"
            )
    warnings: list[str] = []
    schema = earlier.schema if earlier else None
    columns = with_scale(columns, hyperparameters, recipe)
    with in_python():
        prepared = prepare(
            rows, SOURCE, columns, hyperparameters, note, warnings.append, schema, weights
        )
    if earlier:
        fitted = _train_on(earlier, hyperparameters, prepared, callbacks)
        epochs = _epochs_of(earlier) + hyperparameters.epochs
        hyperparameters = dataclasses.replace(hyperparameters, epochs=epochs)
    else:
        named = (*columns.kinds, *columns.drop, columns.id_column)
        warnings += left_out(prepared.schema, [name for name in named if name])
        spec = row_spec(prepared.schema, hyperparameters)
        constants = network_constants(prepared.schema, spec)
        fitted = _fit(make(hyperparameters), prepared, spec, callbacks, weights=constants)
    warnings += _said_of(fitted)
    config = describe(None, hyperparameters, columns, recipe=recipe)
    return complete(Path(), config, hyperparameters, prepared, fitted, note), warnings


def finetune(
    backbone: Run,
    hyperparameters: TrainingHyperparameters,
    rows: Labelled,
    target: Target,
    *,
    recipe: str,
    note: Note,
    callbacks: Sequence[Callback],
) -> tuple[Run, list[str]]:
    """Trains a head on a run's network as `jaxrep finetune` does, and keeps the run in memory.

    Args:
        backbone: the pre-trained run.
        hyperparameters: of the method that predicts, checked.
        rows: with a label.
        target: what is to be predicted of them.
        recipe: the name of the one that the hyperparameters begin with.
        note: called with warnings.
        callbacks: that hear of the training as it goes.

    Returns:
        The run, and what to warn of.

    Raises:
        InputError: too few rows are left to train on, or the run is a fine-tuned one.
        DivergedError: the loss became infinite or NaN.
        KeyboardInterrupt: Ctrl-C came before the first step.
    """
    pretrained = Pretrained.of(backbone)
    completed = pretrained.completed(hyperparameters, target)
    prepared = rows.prepare(target, completed, note)
    initial = pretrained.initial(prepared)
    spec = row_spec(prepared.schema, completed)
    trained = _fit(make(completed), prepared, spec, callbacks, weights=initial)
    columns = Columns(label=target.name)
    config = describe(None, completed, columns, target=target, recipe=recipe)
    run = complete(Path(), config | pretrained.origin(), completed, prepared, trained, note)
    return run, _said_of(trained)


def _fit(
    method: AnyMethod,
    prepared: Prepared,
    spec: RowSpec,
    callbacks: Sequence[Callback],
    *,
    start: Snapshot | None = None,
    weights: Mapping[str, np.ndarray] | None = None,
) -> Fit:
    """Trains until the end, or until Ctrl-C comes after a step of its own."""
    with listening([signal.SIGINT]) as interrupted:
        try:
            fitted = fit(
                method,
                prepared.x,
                validation=prepared.validation,
                spec=spec,
                start=start,
                weights=weights,
                callbacks=callbacks,
                interrupted=interrupted,
                keep_interrupted=True,
            )
        except InterruptedRunError:
            raise KeyboardInterrupt("before the first step; there is nothing to keep") from None
    if fitted.interrupted and start is not None and fitted.steps == start.step:
        raise KeyboardInterrupt("before another step; the estimator is as it was")
    return fitted


def _said_of(fitted: Fit) -> list[str]:
    if not fitted.interrupted:
        return []
    return [f"interrupted after {fitted.steps} steps; the estimator keeps what it has learned"]


def _train_on(
    earlier: Run,
    hyperparameters: TrainingHyperparameters,
    prepared: Prepared,
    callbacks: Sequence[Callback],
) -> Fit:
    """Trains from the weights of an earlier run, with an optimiser that starts anew.

    Epochs are counted on, so that no order of the rows and no noise comes twice.
    """
    before = _epochs_of(earlier)
    epochs = before + hyperparameters.epochs
    method = make(dataclasses.replace(hyperparameters, epochs=epochs))
    count, members = row_count(prepared.x), hyperparameters.members
    plan = EpochPlan(rows=count, batch_size=min(hyperparameters.batch_size, count))
    spec = row_spec(prepared.schema, hyperparameters)
    shapes = abstract_state(method, spec)

    def begin(weights: Mapping[str, np.ndarray]) -> TrainState:
        params, model_state = (
            {name: jnp.asarray(weights[name]) for name in part}
            for part in (shapes.params, shapes.model_state)
        )
        return TrainState(params, model_state, method.optimizer(plan.steps).init(params))

    states = [begin(weights) for weights in split_members(earlier.weights, members)]
    # The losses of rows held out before are of other rows, perhaps: the best epoch is a new one.
    known = [{k: v for k, v in m.items() if k != "validation_loss"} for m in earlier.history]
    start = Snapshot(
        step=before * plan.steps_per_epoch,
        state=jax.tree.map(lambda *arrays: jnp.stack(arrays), *states),
        best=None,
        last=None,
        sums=[{}] * members,
        histories=[known] * members,
        seconds=0.0,
    )
    trained = _fit(method, prepared, spec, callbacks, start=start)
    history = [*earlier.history, *trained.history[before:]]
    rows = members * count * (len(history) - before)
    rate = rows / max(trained.seconds, 1e-9)
    return dataclasses.replace(trained, history=history, rows_per_second=rate)


def _check_same_network(earlier: Run, asked: TrainingHyperparameters) -> None:
    """Refuses to continue from the weights of a network of other shapes."""
    there = earlier.method.hyperparameters
    if _shapes(there, earlier.schema) == _shapes(asked, earlier.schema):
        return
    # A view that makes gaps is switched on and off by its rate, too.
    switches = [view.rate for view in VIEWS.values() if view.makes_gaps]
    differing = [
        f"{field.name} was {getattr(there, field.name)} and is {getattr(asked, field.name)}"
        for field in dataclasses.fields(asked)
        if declaration(field).kind == "shaping" or field.name in switches
        if getattr(there, field.name) != getattr(asked, field.name)
    ]
    raise InputError(
        "warm_start continues from the weights of the last fit, whose network is another: "
        f"{', '.join(differing)}; set warm_start=False to begin anew"
    )


def _shapes(hyperparameters: TrainingHyperparameters, schema: Schema) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the weights of a network."""
    rows = row_spec(schema, hyperparameters)
    weights = get_weights(abstract_network(make(hyperparameters), rows))
    return {name: array.shape for name, array in weights.items()}


def _epochs_of(run: Run) -> int:
    """Returns the epochs behind a run's weights; an imported run may have lost their metrics."""
    return int(run.history[-1]["epoch"] if run.history else run.method.hyperparameters.epochs)
