"""How the runs of a sweep are compared: the metrics of each, and the one with the least."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrep.batch import Batch, RowSpec
from jaxrep.data.schema import Schema
from jaxrep.dispatch import computing
from jaxrep.errors import DivergedError, InputError
from jaxrep.hyperparameters import TrainingHyperparameters, ViewHyperparameters, declaration
from jaxrep.inference import map_errors, map_rows, mean_over_cells
from jaxrep.methods import get, make
from jaxrep.runs.rows import row_spec
from jaxrep.training import Trained
from jaxrep.training.devices import Devices
from jaxrep.training.program import validation_loss
from jaxrep.training.row_store import put_padded
from jaxrep.training.sizes import program_batch_size
from jaxrep.views import Draws, resolve, rows_seen

LOSSES = ("loss", "validation_loss")
ERROR, COMMON = "validation_error", "common_loss"


def default_metric(method: str) -> str:
    """Returns what to select by: `validation_error` where rows can be compared, or `common_loss`.

    Example:
        >>> default_metric("vae"), default_metric("simclr")
        ('validation_error', 'common_loss')
    """
    outputs = get(method).network_type.outputs
    return ERROR if {"reconstruct", "predict"} & set(outputs) else COMMON


def check_selection(
    select: str,
    hyperparameters: TrainingHyperparameters,
    grid: Mapping[str, Sequence[Any]],
) -> None:
    """Checks, before any training, that the runs of a sweep can be compared by a metric.

    Args:
        select: the metric's name.
        hyperparameters: what all runs share.
        grid: values by name.

    Raises:
        InputError: there is no such metric, it needs rows held out and there are none, or the grid
            varies what it measures.
    """
    default = default_metric(type(hyperparameters).name)
    trained = ["loss", *_logged(hyperparameters)]
    held_out = ["validation_loss", default]
    if select not in (*trained, *held_out):
        raise InputError(
            f"--select {select}: no metric of this method; there are {', '.join(trained)} and, of "
            f"the rows held out, {', '.join(held_out)}"
        )
    if select in held_out and hyperparameters.validation_fraction == 0:
        raise InputError(
            f"--select {select}: is computed from rows held out, and --validation-fraction is 0; "
            "give 0.1, for example"
        )
    varied = [name for name in _changes_loss(hyperparameters) if len(grid.get(name, ())) > 1]
    if select in LOSSES and varied:
        raise InputError(
            f"--select {select}: losses of runs that differ in {varied[0]} measure different "
            f"things and cannot be compared; leave --select out to take {default}"
        )


@dataclass(frozen=True)
class Common:
    """What is the same for all runs of a sweep when they are compared."""

    hyperparameters: TrainingHyperparameters
    """Those that change what a loss means have these values."""

    by_squares: bool = False
    """Whether reconstructed numbers are compared by their squared error, since the runs differ in
    their likelihood."""


def common_of(
    settings: Sequence[TrainingHyperparameters], shared: TrainingHyperparameters
) -> Common:
    """Returns what the runs of a sweep are compared by.

    Args:
        settings: the hyperparameters of every run.
        shared: what the sweep's grid varies stands here at one value for all.
    """
    if isinstance(shared, ViewHyperparameters):
        # A network that was not trained with hidden cells takes none.
        hides = [rows_seen(hp, RowSpec(1)).gaps for hp in settings]  # type: ignore[arg-type]
        if not all(hides):
            shared = dataclasses.replace(shared, hide_rate=0.0)
    likelihoods = {getattr(hp, "likelihood", None) for hp in settings}
    return Common(shared, by_squares=len(likelihoods) > 1)


@computing()
def metrics_of(
    member: Trained,
    hyperparameters: TrainingHyperparameters,
    common: Common,
    validation: Batch | None,
    schema: Schema,
) -> dict[str, float | None]:
    """Returns what a run has reached: the metrics of the epoch that it serves, and a common one.

    That is `validation_error` of the rows held out: where classes are predicted the share of them
    that is wrong, where numbers are, their mean squared error in standardised units, and else the
    mean of their scores. Under the squared likelihood a score of numbers is the mean squared error
    of their reconstruction, through a VAE's μ; where the runs differ in their likelihood, all
    numbers are compared so. Where there is neither, it is `common_loss`: the loss of the rows held
    out, for all runs under the temperature, the noise, the batch size and the seed of `common`.

    Args:
        member: trained, not diverged.
        hyperparameters: of the run.
        common: from `common_of`.
        validation: rows held out.
        schema: of the table.

    Returns:
        Values by name; None where one is not finite.
    """
    metrics: dict[str, float | None] = {**member.metrics}
    del metrics["epoch"]
    if validation is None:
        return metrics
    spec = row_spec(schema, hyperparameters)
    if default_metric(type(hyperparameters).name) == ERROR:
        rows: Batch = jax.tree.map(np.asarray, validation)
        measure = _error_by_squares if common.by_squares else _error
        return metrics | {ERROR: _finite(measure(hyperparameters, member.weights, rows, spec))}
    shared = common.hyperparameters
    if isinstance(hyperparameters, ViewHyperparameters):
        spec = rows_seen(hyperparameters, spec)  # of its network, whatever the common views are
    values = {name: getattr(shared, name) for name in _changes_loss(shared)}
    devices = Devices()
    loss = validation_loss(
        make(dataclasses.replace(hyperparameters, **values)),
        np.uint32(shared.seed),
        member.weights,
        put_padded(validation, devices),
        spec=spec,
        batch_size=program_batch_size(shared.batch_size, len(validation.numbers)),
        devices=devices,
    )
    return metrics | {COMMON: _finite(loss)}


def _error(
    hyperparameters: TrainingHyperparameters,
    weights: Mapping[str, np.ndarray],
    held_out: Batch,
    spec: RowSpec,
) -> float:
    """Returns the `validation_error` of a network on the rows held out."""
    method = make(hyperparameters)
    if hyperparameters.predicts is None:
        return float(np.mean(map_errors(method, weights, held_out, spec)))
    made = map_rows(method, "predict", weights, held_out, spec)
    targets = np.asarray(held_out.targets)
    if hyperparameters.predicts == "classes":
        return float(np.mean(made.argmax(axis=1) != targets))
    return float(np.mean((targets - made[:, 0]) ** 2, dtype=np.float64))


def _error_by_squares(
    hyperparameters: TrainingHyperparameters,
    weights: Mapping[str, np.ndarray],
    held_out: Batch,
    spec: RowSpec,
) -> float:
    """Returns the `validation_error` where numbers are compared by their squared error."""
    method, x = make(hyperparameters), np.asarray(held_out.numbers)
    terms = map_rows(method, "score_by_column", weights, held_out, spec).astype(np.float64)
    made = map_rows(method, "reconstruct", weights, held_out, spec)
    terms[:, : spec.numbers] = np.square(x - np.asarray(made.numbers), dtype=np.float64)
    return float(np.mean(mean_over_cells(terms, held_out)))


def best(rows: Sequence[Mapping[str, Any]], select: str) -> int:
    """Returns the number of the run whose metric is smallest.

    Args:
        rows: of the sweep's table; a diverged run has no metric, or None.
        select: the metric's name.

    Raises:
        DivergedError: no run has it.

    Example:
        >>> best([{"loss": 2.0}, {"loss": None}, {"loss": 1.0}], "loss")
        2
    """
    reached = {i: row[select] for i, row in enumerate(rows) if row.get(select) is not None}
    if not reached:
        raise DivergedError(
            f"all {len(rows)} runs of the sweep diverged, so there is none to save; smaller "
            "learning rates may help"
        )
    return min(reached, key=lambda i: float(reached[i]))


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _changes_loss(hyperparameters: TrainingHyperparameters) -> list[str]:
    """Returns the hyperparameters that change what a loss measures.

    Losses under different values of one are different quantities: the smaller one says nothing
    about which network is better.
    """
    fields = dataclasses.fields(hyperparameters)
    return [field.name for field in fields if declaration(field).changes_loss]


@computing()
def _logged(hyperparameters: TrainingHyperparameters) -> list[str]:
    """Returns the names of what a method's training logs beside its loss."""

    def metrics() -> dict[str, jax.Array]:
        targets = None if hyperparameters.predicts is None else jnp.zeros(2, jnp.int32)
        made = make(hyperparameters)
        batch = Batch(jnp.zeros((2, 2)), targets=targets, weights=jnp.ones(2))
        noise = resolve(made.noise(Draws(jax.random.key(0), batch), batch))
        found: dict[str, jax.Array] = made.loss(made.init(RowSpec(2), nnx.Rngs(0)), batch, noise)[1]
        return found

    return list(jax.eval_shape(metrics))
