"""What shuffling, noise and logging cost: their share of an epoch.

The same steps over the same rows, by three programs, in turn:

- *in order, noise fixed*: batches are slices of the rows in their order, and every step sees the
  same noise, drawn beforehand. The step itself, `jaxrep.training.train_step`, is whole: loss,
  metrics, gradient and optimiser;
- *shuffled, noise fixed*: batches as a run takes them, the noise still fixed;
- *a run*: `fit`, which draws its noise, records every step's metrics, brings them to the host, and
  makes the means of epochs there.

The share of all three is (a run − in order) / a run; that of shuffling (shuffled − in order) / a
run. The rows of the first are read in order, so that the cache misses of a shuffled epoch count as
shuffling. Both sides compute the metrics of each step: only keeping them counts as logging.
A share can come out below 0: three programs are compiled, and XLA does not cut the same step into
kernels in the same way in each.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bench import blobs, seed_methods
from bench.measured import Figure, Measured, collect, interleave
from bench.seed_methods import seed_hyperparameters, seed_method
from bench.timing import seconds
from jaxrep.batch import Batch, RowSpec
from jaxrep.methods import AnyMethod, Metrics
from jaxrep.shuffle import grid
from jaxrep.training import TrainState, draw_batch, fit, init_state, train_step
from jaxrep.training.loop import wait
from jaxrep.training.step import (
    StepIndex,
    batch_rows,
    step_keys,
    steps_per_epoch,
    streams,
    take_batch,
)
from jaxrep.views import Noise

FIXED, SHUFFLED, RUN = "in order, noise fixed", "shuffled, noise fixed", "a run"
MILLION = 1_000_000


def measure(*, quick: bool, rounds: int) -> Measured:
    """Trains on the blobs, and on 1,000,000 rows for one epoch.

    Args:
        quick: the autoencoder alone.
        rounds: how often.

    Returns:
        Microseconds a step.
    """
    sides: dict[tuple[str, str], Callable[[int], float]] = {}
    small, large = blobs.rows(), blobs.many(MILLION)
    for name in ("autoencoder",) if quick else seed_methods.names():
        for x, epochs in ((small, seed_hyperparameters(name).epochs), (large, 1)):
            case = f"{name}, {len(x):,} rows"
            for side, measure_step in _sides(name, x, epochs).items():
                sides[case, side] = measure_step
    return Measured(collect("µs a step", interleave(rounds, sides)))


def figures(measured: Measured) -> list[Figure]:
    """Returns the shares of an epoch."""
    made = []
    for case in dict.fromkeys(series.case for series in measured.series):
        target = 0.1 if case.startswith("autoencoder") else None
        fixed = measured.ratio((case, FIXED), (case, RUN))
        shuffled = measured.ratio((case, SHUFFLED), (case, RUN))
        name = f"{case}: shuffling, noise and logging"
        made.append(Figure(name, 1 - fixed, "%", target, "most"))
        made.append(Figure(f"{case}: of it shuffling", shuffled - fixed, "%"))
    return made


def _sides(name: str, x: np.ndarray, epochs: int) -> dict[str, Callable[[int], float]]:
    method = seed_method(name, epochs=epochs)
    rows = jax.device_put(x)
    steps = steps_per_epoch(len(x), method.hyperparameters.batch_size) * epochs
    _, noise = draw_batch(method, 0, rows, rows, 0, batch_size=_batch_size(method))
    loop = functools.partial(_loop, method, rows, noise, batch_size=_batch_size(method))
    fit(seed_method(name, epochs=1), x)
    wait([loop(1, shuffle=False), loop(1, shuffle=True)])
    return {
        FIXED: lambda _: 1e6 / steps * seconds(lambda: wait(loop(steps, shuffle=False))),
        SHUFFLED: lambda _: 1e6 / steps * seconds(lambda: wait(loop(steps, shuffle=True))),
        RUN: lambda _: 1e6 / steps * fit(method, rows).seconds,
    }


def _batch_size(method: AnyMethod) -> int:
    size: int = method.hyperparameters.batch_size
    return size


@functools.partial(jax.jit, static_argnames=("batch_size", "shuffle"))
def _loop(
    method: AnyMethod, x: Array, noise: Noise, steps: int, *, batch_size: int, shuffle: bool
) -> tuple[TrainState, Metrics]:
    """Takes `steps` steps from a new state, and returns the last one's metrics alone."""
    steps_a_pass, spec = steps_per_epoch(len(x), batch_size), RowSpec(x.shape[-1])

    def step(i: Array, carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
        if shuffle:
            at = StepIndex(*jnp.divmod(i, steps_a_pass))
            order = step_keys(keys, at).order
            batch = take_batch(Batch(x), *batch_rows(order, at.step, grid(len(x)), batch_size))
            return train_step(method, carry[0], batch, noise, spec=spec)
        start = i * batch_size % len(x)  # near the end, dynamic_slice moves it back
        rows = jax.lax.dynamic_slice_in_dim(x, start, batch_size)
        weights = jnp.where(i < 0, 0.0, jnp.ones(batch_size, x.dtype))  # no constant, as in a run
        return train_step(method, carry[0], Batch(rows, weights=weights), noise, spec=spec)

    keys, state = streams(0), init_state(method, spec, 0)
    shapes = jax.eval_shape(lambda: step(jnp.int32(0), (state, {}))[1])
    metrics = {name: jnp.zeros(metric.shape, metric.dtype) for name, metric in shapes.items()}
    made: tuple[TrainState, Metrics] = jax.lax.fori_loop(0, steps, step, (state, metrics))
    return made
