"""Whole training runs: what one is given, and what it gives back."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jax import Array
from jax.sharding import Mesh

from jaxrep.batch import Batch, RowSpec, as_batch
from jaxrep.dispatch import computing
from jaxrep.errors import InterruptedRunError
from jaxrep.hyperparameters import check
from jaxrep.methods._method import AnyMethod, members_of
from jaxrep.training.callbacks import Callback
from jaxrep.training.checkpoint import Checkpoints
from jaxrep.training.devices import Devices, mesh_of_one
from jaxrep.training.loop import Loop
from jaxrep.training.row_store import RowStore, check_data, place, spec_of
from jaxrep.training.snapshot import Snapshot
from jaxrep.training.trained import Trained, join


@dataclass(frozen=True)
class Fit(Trained):
    """A finished training run: what it has come to, and how long it took."""

    seconds: float
    """From the first dispatch to the last weights being ready; compilation is not in it."""

    compile_seconds: float
    """Time to trace and compile; next to nothing where the same shapes were trained before."""

    rows_per_second: float
    """Rows trained on / `seconds`."""

    resumed_from_step: int = 0
    """Step that training went on from; 0 where it began."""

    interrupted: bool = False
    """Whether training ended before its time, since it was asked to."""


@computing()
def fit(
    method: AnyMethod,
    x: np.ndarray | Array | RowStore | Batch,
    *,
    validation: np.ndarray | Array | Batch | None = None,
    spec: RowSpec | None = None,
    start: Snapshot | None = None,
    weights: Mapping[str, np.ndarray] | None = None,
    checkpoints: Checkpoints | None = None,
    mesh: Mesh | None = None,
    shard_parameters: bool = False,
    until: int | None = None,
    interrupted: Callable[[], bool] = lambda: False,
    keep_interrupted: bool = False,
    callbacks: Sequence[Callback] = (),
) -> Fit:
    """Trains a method on rows.

    With K members, K networks train at once, each as it would alone with its seed.

    Args:
        method: one of `jaxrep.methods`, or your own `Method`.
        x: training rows: numbers, standardised, `[rows, D]`; or a store that is read block by
            block, for tables larger than memory; or a batch of either, with codes, targets or
            weights.
        validation: rows held out, with the parts of x; their loss is computed after every epoch,
            and the weights of the epoch with the lowest are kept.
        spec: what every row holds: levels of codes, which cells may be missing, likelihoods of
            numbers. By default that of the store, or of numbers none of which is missing.
        start: where to continue, as `checkpoints.newest` gives it; by default a run begins. It ends
            with the bits of a run that never stopped.
        weights: initial weights by name, the same for all members; those not named are drawn by
            the seeds.
        checkpoints: where to save the run's state, now and then and at its end.
        mesh: devices that train together, along the one axis `data`, as `mesh_of` makes it; by
            default the one that JAX computes on. In a job of several processes all of them call
            `fit` with the same arguments. Losses and weights are those of one device but for their
            last bits.
        shard_parameters: whether the devices of the mesh part weights and optimiser state, too.
        until: number of the step to end before, for a run that is to end before its time.
        interrupted: asked between chunks of steps; once it says yes, the state is saved and an
            error raised.
        keep_interrupted: whether to return what has come of the steps so far instead, if there are
            any.
        callbacks: that hear of the training as it goes.

    Returns:
        The trained weights, `[K, ...]` of K members where there are several, the history, and how
        long it took.

    Raises:
        ValueError: a hyperparameter out of its range, rows that are no matrix of finite floats,
            weights that the network does not have, or batches that the devices cannot part evenly.
        DivergedError: the loss became infinite or NaN; names the epoch, the step and the rows, and
            of several members the seed. With `checkpoints` the last good state is kept.
        InterruptedRunError: `interrupted()`, and there is nothing to keep.
        ForkedProcessError: JAX ran in the parent of this process, before it was forked.
        OSError: a checkpoint cannot be written; the earlier ones are intact.

    Example:
        >>> from jaxrep.methods import Autoencoder, AutoencoderHyperparameters
        >>> method = Autoencoder(AutoencoderHyperparameters(epochs=3))
        >>> run = fit(method, np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32))
        >>> [epoch["epoch"] for epoch in run.history], run.weights["encoder.0.kernel"].shape
        ([1, 2, 3], (4, 64))
    """
    check(method.hyperparameters)
    members = members_of(method)
    check(members[-1].hyperparameters)  # whose seed is the largest
    data, held_out = as_batch(x), None if validation is None else as_batch(validation)
    spec = spec_of(data, spec)
    check_data(data, held_out, spec)
    devices = Devices(mesh or mesh_of_one(), shard_parameters)
    loop = Loop(
        members,
        *place(data, held_out, method.hyperparameters.batch_size, devices),
        spec,
        devices,
        start=start,
        weights=weights,
        checkpoints=checkpoints,
    )
    try:
        loop.train(callbacks, interrupted, until=until)
    except InterruptedRunError:
        if not keep_interrupted or loop.step == 0:
            raise
        return dataclasses.replace(fit_of(loop), interrupted=True)
    return fit_of(loop)


def fit_of(loop: Loop) -> Fit:
    """Returns what has come of the members of a loop that has trained."""
    trained = loop.together(join(list(loop.results())))
    return Fit(
        **vars(trained),
        seconds=loop.seconds,
        compile_seconds=loop.compile_seconds,
        rows_per_second=trained.rows / max(loop.seconds, 1e-9),
        resumed_from_step=loop.resumed_from,
    )
