"""Training that starts from given weights, for `warm_start`.

SEAM: `jaxrep.training.fit` starts every run anew. Once it takes `start` (weights by name) and
`epochs_before`, this module is that call and goes.
"""

import time
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from jaxrep.training.fit import Fit, Progress, check_data, chunks, collect, complete_weights
from jaxrep.training.history import EpochMeans
from jaxrep.training.program import chunk_length, empty_state, run_steps, validation_loss
from jaxrep.training.step import AnyMethod, TrainState, steps_per_epoch


def fit_from(
    method: AnyMethod,
    start: Mapping[str, np.ndarray],
    epochs_before: int,
    x: np.ndarray,
    *,
    validation: np.ndarray | None,
    on_progress: Callable[[Progress], None],
) -> Fit:
    """Trains on from given weights, with an optimiser that starts anew.

    The order of the rows and the noise are those of the epochs that come next, so that no epoch is
    gone through twice.

    Args:
        method: to train.
        start: weights by name, of the shapes that the method has.
        epochs_before: that have led to them, at least 1.
        x: training rows as features, `[rows, D]`.
        validation: rows held out.
        on_progress: called after each chunk of steps.

    Returns:
        The weights, and the metrics of the further epochs, counted on. Compilation, which is next
        to nothing for a table of the same shape, counts in its seconds.
    """
    check_data(x, validation)
    hp = method.hyperparameters
    batch_size, seed, rows = min(hp.batch_size, len(x)), np.uint32(hp.seed), jax.device_put(x)
    empty = empty_state(method, x.shape[1])
    params = {name: jnp.array(start[name]) for name in empty.params}
    # Copies, since a step is given the state to keep: no array may stand in it twice.
    state = TrainState(params, jax.tree.map(jnp.array, method.optimizer().init(params)))
    chunk, per_epoch = chunk_length(state, batch_size), steps_per_epoch(len(x), batch_size)
    steps, done = per_epoch * hp.epochs, per_epoch * epochs_before
    means, history = EpochMeans(len(x), batch_size), []
    every = None if validation is None else per_epoch
    started = time.perf_counter()
    for first, stop in chunks(steps, chunk, stop_every=every):
        state, metrics = run_steps(
            method, seed, state, rows, done + first, done + stop, batch_size=batch_size, chunk=chunk
        )
        held_out = None
        if validation is not None and stop % per_epoch == 0:
            held_out = validation_loss(
                method, seed, state.params, validation, batch_size=batch_size
            )
        step, loss, finished = collect(means, stop - first, metrics, held_out)
        history += [{**epoch, "epoch": epoch["epoch"] + epochs_before} for epoch in finished]
        seconds = time.perf_counter() - started
        on_progress(Progress(step, steps, loss, step * len(x) / per_epoch / seconds))
    trained = {name: np.asarray(array) for name, array in state.params.items()}
    seconds = time.perf_counter() - started
    weights = complete_weights(method, trained, rows)
    return Fit(weights, history, seconds, 0.0, len(x) * hp.epochs / seconds)
