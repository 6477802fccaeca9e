"""The suites of training: the rows of an epoch, and whole runs step by step."""

import dataclasses
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrep.batch import Batch, RowSpec, as_batch
from jaxrep.data import datasets, transform
from jaxrep.data.columns import Columns
from jaxrep.data.fit import fit as fit_schema
from jaxrep.hyperparameters import TrainingHyperparameters
from jaxrep.methods import (
    AnyMethod,
    Method,
    Metrics,
    get,
    hyperparameters_of,
    make,
    names,
    resolve,
)
from jaxrep.networks import MLP, Network
from jaxrep.parity._bounds import FLOAT64, TRAJECTORY_WEIGHTS, judge
from jaxrep.parity._check import Check
from jaxrep.parity._evaluate import compiled
from jaxrep.parity._mixed import BY_KIND, MIXED, draw_rows, with_constants
from jaxrep.parity._models import draw_weights, twin_of
from jaxrep.training import TrainState, draw_batch, fit, init_state, train_step
from jaxrep.training.epoch_plan import EpochPlan
from jaxrep.training.history import EpochMeans
from jaxrep.training.program import abstract_state, background_rows
from jaxrep.training.sizes import program_batch_size
from jaxrep.training.step import steps_per_epoch
from jaxrep.views import Draws, Noise

SEED = "seed"  # the recipe that is trained
QUICK_STEPS = 40  # two epochs and a half, two smaller last batches among them
MIXED_TRAINING_ROWS, MIXED_EPOCHS = 700, 40


class Recorded(NamedTuple):
    """A run in JAX with all it drew; every leaf has the steps as its first axis."""

    start: dict[str, np.ndarray]
    """The initial weights; the one exception."""

    batches: Batch
    noise: Noise
    weights: dict[str, np.ndarray]
    metrics: dict[str, np.ndarray]


def epoch_checks(quick: bool) -> Iterator[Check]:
    """Yields whether an epoch holds every row once, and its loss is a mean over rows.

    Rows hold numbers of their own, and the loss of a batch is their mean, whatever the model's
    weights. So the loss of an epoch must be the mean over all rows.
    """
    x = np.linspace(-1, 2, 300, dtype=np.float32)[:, None]  # the last batch of 128 holds 44
    settings = TrainingHyperparameters(hidden_dims=(), latent_dim=1, epochs=2)
    method, size = _RowMean(settings), settings.batch_size
    steps = steps_per_epoch(len(x), size)
    draw = compiled(
        lambda x: jax.lax.map(
            lambda step: draw_batch(method, 0, x, x, step, batch_size=size), jnp.arange(2 * steps)
        ),
        light=quick,
    )
    batches, _ = draw(jnp.asarray(x))
    rows, weights = np.asarray(batches.numbers)[..., 0], np.asarray(batches.weights)
    yield _every_row_once(x[:, 0], rows[:steps][weights[:steps] > 0])
    means = EpochMeans(EpochPlan(len(x), size))
    ours = {"jax": list(means.add({"loss": (weights * rows).sum(1) / weights.sum(1)}))}
    if not quick:
        ours["jax, compiled run"] = fit(method, x).history
    theirs = np.array(_epoch_losses_in_torch(x))
    expected, scale = np.full(2, x.mean(dtype=np.float64)), float(np.abs(x).mean())
    for case, history in ours.items():
        found = np.array([epoch["loss"] for epoch in history])
        check = "epoch: loss is the mean over rows"
        if found.shape != expected.shape:
            yield Check(check, case, "float32", False, message=f"{len(found)} of 2 epochs end")
        else:
            verdict = judge(found, theirs, expected, dtype="float32", scale=scale)
            yield Check(check, case, "float32", **vars(verdict))


def trajectory_checks(quick: bool) -> Iterator[Check]:
    """Yields the default training of every method in float64, compared at every step.

    They are those of the bundled blobs; the quick ones take the first steps on rows and from
    weights that cost less to come by. A method that trains a head is compared a second time, with
    the network below it trained on for 50 epochs. Then come trainings on rows of numbers and codes,
    some of them wide, with missing cells.
    """
    x = np.random.default_rng(0).normal(size=(2000, 32)) if quick else _blobs()
    with ThreadPoolExecutor(min(os.cpu_count() or 1, len(names()))) as pool:
        made = [(case, method, RowSpec(x.shape[1]), as_batch(x)) for case, method in _trainings()]
        made += _trainings_on_mixed_rows()
        recordings = pool.map(
            lambda training: _record(*training[1:], quick=quick),
            made,
        )
        for (case, method, spec, _), recorded in zip(made, recordings, strict=True):
            yield from follow_in_torch(method, recorded, spec, case)


def _record(method: AnyMethod, spec: RowSpec, x: Batch, *, quick: bool) -> Recorded:
    steps = _steps(method, len(x.numbers), quick)
    return record(method, labelled(method, x), steps, spec, light=quick)


def _trainings_on_mixed_rows() -> Iterator[tuple[str, AnyMethod, RowSpec, Batch]]:
    """Yields trainings on mixed rows, as methods name them in `parity_trainings`."""
    for name in names():
        for settings in get(name).parity_trainings:
            is_by_kind = settings.get("likelihood") == "by_kind"
            case, spec = ("mixed rows, by kind", BY_KIND) if is_by_kind else ("mixed rows", MIXED)
            kind = hyperparameters_of(name)
            given = {"other_rate": 0.1, "epochs": MIXED_EPOCHS, **settings}
            made = resolve(kind, SEED if SEED in kind.recipes else None, given)
            yield case, make(made), spec, draw_rows(spec, MIXED_TRAINING_ROWS, seed=9)


def record(
    method: AnyMethod, x: np.ndarray | Batch, steps: int, spec: RowSpec, *, light: bool = False
) -> Recorded:
    """Trains in JAX in float64 and keeps every batch, all weights and metrics of every step.

    Args:
        method: with its hyperparameters.
        x: rows, numbers `[rows, D]` in float64; a batch of them where they have codes or targets.
        steps: how many to take.
        spec: what every row holds.
        light: whether XLA is to compile fast in the place of well, and the weights to start from
            are not to be the method's own.
    """
    rows = len(as_batch(x).numbers)
    hp = method.hyperparameters
    size, seed = program_batch_size(hp.batch_size, rows), hp.seed

    def run(x: Batch, start: dict[str, jax.Array]) -> Any:
        background = background_rows(x)

        def step(state: TrainState, i: jax.Array) -> Any:
            batch, noise = draw_batch(method, seed, x, background, i, batch_size=size)
            state, metrics = train_step(method, state, batch, noise, spec=spec, steps=steps)
            return state, (batch, noise, state.weights, metrics)

        trained = abstract_state(method, spec)
        params, model_state = (
            {name: start[name] for name in part} for part in (trained.params, trained.model_state)
        )
        state = TrainState(params, model_state, method.optimizer(steps).init(params))
        return jax.lax.scan(step, state, jnp.arange(steps))[1]

    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        begin = _drawn_start if light else _own_start
        start = begin(method, spec)
        found = compiled(run, light=light)(jax.tree.map(jnp.asarray, as_batch(x)), start)
        return Recorded(*jax.tree.map(np.asarray, (start, *found)))


def follow_in_torch(
    ours: AnyMethod, recorded: Recorded, spec: RowSpec, case: str = ""
) -> Iterator[Check]:
    """Takes the recorded steps in torch, and compares metrics and weights after each."""
    import torch

    import torch_ref.batch
    import torch_ref.training
    import torch_ref.weights

    name, method = ours.name, twin_of(ours)
    network = method.init(torch_ref.batch.RowSpec(*spec), torch.Generator()).double()
    torch_ref.weights.with_weights(network, recorded.start)
    steps = len(recorded.batches.numbers)

    def batch_of(step: int) -> tuple[Any, Any]:
        batch, noise = jax.tree.map(
            lambda array: torch.tensor(array[step]), (tuple(recorded.batches), recorded.noise)
        )
        return torch_ref.batch.Batch(*batch), noise

    worst = dict.fromkeys(("weights", *recorded.metrics), (0.0, 0))
    taken = 0
    batches = map(batch_of, range(steps))
    for step, metrics in enumerate(torch_ref.training.replay(method, network, batches, steps)):
        taken += 1
        errors = {key: _relative(recorded.metrics[key][step], metrics[key]) for key in metrics}
        trained = torch_ref.weights.get_weights(network)
        gaps = [np.abs(array[step] - trained[key]).max() for key, array in recorded.weights.items()]
        errors["weights"] = max(gaps) / max(np.abs(array).max() for array in trained.values())
        for key in worst:
            error = float(errors.get(key, np.nan))  # a metric that torch does not have
            worst[key] = max(worst[key], (error if np.isfinite(error) else np.inf, step))
    for key, (error, step) in worst.items():
        bound = TRAJECTORY_WEIGHTS if key == "weights" else FLOAT64
        message = "" if error <= bound else f"the runs part by {error:.1e}, most at step {step}"
        if taken != steps:
            error, message = np.inf, f"torch took {taken} steps of {steps}"
        yield Check(
            f"trajectory of {name}: {key}",
            ", ".join(filter(None, (case, f"{steps} steps"))),
            "float64",
            passed=error <= bound,
            difference=error,
            bound=bound,
            margin=bound / error if error else None,
            index=(step,),
            message=message,
        )


def _relative(ours: float, theirs: float) -> float:
    return abs(ours - theirs) / abs(theirs) if ours != theirs else 0.0


def _own_start(method: AnyMethod, spec: RowSpec) -> dict[str, jax.Array]:
    seed = method.hyperparameters.seed
    drawn = init_state(method, spec, seed).weights
    return with_constants({key: jnp.asarray(array, jnp.float64) for key, array in drawn.items()})


def _drawn_start(method: AnyMethod, spec: RowSpec) -> dict[str, jax.Array]:
    drawn = draw_weights(method, spec)
    trained = abstract_state(method, spec).weights
    return {key: jnp.asarray(drawn[key]) for key in trained}


def _trainings() -> Iterator[tuple[str, AnyMethod]]:
    """Yields the methods whose training is compared, and what is not the default about each."""
    for name in names():
        made = hyperparameters_of(name)
        recipe = SEED if SEED in made.recipes else None  # a method of others may have none
        yield "", make(resolve(made, recipe))
        if "frozen" in {field.name for field in dataclasses.fields(made)}:
            shorter = {"frozen": False, "epochs": 50}
            yield "backbone not frozen", make(resolve(made, recipe, shorter))


def labelled(method: AnyMethod, x: Batch) -> Batch:
    """Returns rows with what a method is to predict of them, which is a function of the rows."""
    numbers, targets = np.nan_to_num(x.numbers), None
    kind = method.hyperparameters.predicts
    if kind == "classes":
        targets = numbers[:, : method.hyperparameters.classes].argmax(axis=1).astype(np.int32)
    elif kind == "numbers":
        targets = numbers[:, 0]
    return x._replace(targets=targets)


def _blobs() -> np.ndarray:
    table = datasets.load("blobs")
    schema = fit_schema(lambda: [table], source="blobs", columns=Columns(label="label")).schema
    return np.asarray(transform.apply(schema, table, source="blobs").numbers, np.float64)


def _steps(method: AnyMethod, rows: int, quick: bool) -> int:
    hp = method.hyperparameters
    whole = EpochPlan(rows, hp.batch_size, hp.epochs).steps
    return min(QUICK_STEPS, whole) if quick else whole


class _OneLayer(Network):
    """A layer whose weights nothing depends on."""

    outputs = ("embed", "score")

    def __init__(self, *, rngs: nnx.Rngs):
        self.layer = MLP((1, 1), rngs=rngs)

    def embed(self, batch: Batch) -> jax.Array:
        """Maps rows `[B, 1]` to `[B, 1]`."""
        return self.layer(batch.numbers)

    def score(self, batch: Batch) -> jax.Array:
        """Maps rows `[B, 1]` to `[B]`."""
        return self.embed(batch)[:, 0]


class _RowMean(Method[TrainingHyperparameters, _OneLayer]):
    """A method whose loss is the mean of the rows, whatever its weights."""

    def init(self, rows: RowSpec, rngs: nnx.Rngs) -> _OneLayer:
        """Returns a layer."""
        del rows
        return _OneLayer(rngs=rngs)

    def noise(self, draws: Draws, batch: Batch) -> Noise:
        """Draws nothing."""
        del draws, batch
        return {}

    def loss(self, network: _OneLayer, batch: Batch, noise: Noise) -> tuple[jax.Array, Metrics]:
        """The weighted mean of rows `[B, 1]`."""
        del noise
        assert batch.weights is not None
        unused = 0.0 * network.embed(batch).sum()  # all weights have a gradient
        total = jnp.sum(batch.weights * batch.numbers[:, 0])
        return total / jnp.sum(batch.weights) + unused, {}


def _every_row_once(rows: np.ndarray, seen: np.ndarray) -> Check:
    times = np.array([np.sum(seen == value) for value in rows])
    passed = bool((times == 1).all())
    missing, repeated = np.sum(times == 0), np.sum(times > 1)
    message = f"of {len(rows)} rows {missing} never come and {repeated} more than once"
    return Check(
        "epoch: every row once", "jax", "float32", passed, message="" if passed else message
    )


def _epoch_losses_in_torch(x: np.ndarray) -> list[float]:
    """Returns the epochs' losses of the same method in torch."""
    import torch
    from torch import nn

    import torch_ref.methods
    import torch_ref.training

    class RowMean(torch_ref.methods.Method[torch_ref.methods.TrainingHyperparameters, Any]):
        """The same in torch."""

        hyperparameters_type = torch_ref.methods.TrainingHyperparameters

        def init(self, rows: Any, generator: torch.Generator) -> Any:
            del rows, generator
            return nn.Linear(1, 1)

        def noise(self, draws: Any, batch: Any) -> Any:
            del draws, batch
            return {}

        def loss(self, network: Any, batch: Any, noise: Any) -> Any:
            del noise
            unused = 0.0 * network(batch.numbers).sum()
            return (batch.weights * batch.numbers[:, 0]).sum() / batch.weights.sum() + unused, {}

    settings = TrainingHyperparameters(hidden_dims=(), latent_dim=1, epochs=2)
    method = RowMean(**dataclasses.asdict(settings))
    history = torch_ref.training.fit(method, torch.from_numpy(x)).history
    return [epoch["loss"] for epoch in history]
