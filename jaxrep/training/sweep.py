"""Sweeps: many training runs in one compiled program, mapped over their methods and their seeds.

Numbers such as the learning rate or β are traced, so runs that differ in them alone share a
program. They train in parts that fill a cache or a device's memory, on all devices at once. Each
run sees the rows, the noise and the steps that it would see in `fit`.
"""

import functools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh

from jaxrep.errors import DivergedError
from jaxrep.hyperparameters import check
from jaxrep.methods._method import AnyMethod, Metrics
from jaxrep.training import members
from jaxrep.training.epoch_plan import EpochPlan
from jaxrep.training.history import EpochMeans, EpochMetrics, collect
from jaxrep.training.loop import Progress, complete_weights, wait
from jaxrep.training.program import background_rows, chunk_length, empty_state
from jaxrep.training.row_store import check_data
from jaxrep.training.step import TrainState


@dataclass(frozen=True)
class Member:
    """What a sweep has trained of one method."""

    weights: dict[str, np.ndarray]
    """The model's weights by name."""

    history: list[EpochMetrics]
    """The metrics of each epoch, as of `Fit`; those of a diverged member end early."""

    diverged: bool
    """Whether a loss became infinite or NaN; the weights are of no use then."""


@dataclass(frozen=True)
class Sweep:
    """A finished sweep."""

    members: list[Member]
    """In the order of the methods."""

    compiles: int
    """Training programs that it takes: one for each shape among the members."""

    seconds: float
    """Time spent training, until the last weights were ready; compilation is not in it."""

    compile_seconds: float
    """Time to trace and compile; next to nothing where the same shapes were trained before."""

    rows_per_second: float
    """Rows × epochs, summed over the members, / `seconds`."""


def sweep(
    methods: Sequence[AnyMethod],
    x: np.ndarray | Array,
    *,
    validation: np.ndarray | Array | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Sweep:
    """Trains many methods on the same rows; each ends as `fit` of it alone would.

    Methods share a program if they are of one kind, one shape and one number of epochs. They may
    differ in `seed` and in every number that shapes nothing: learning rate, β, noise levels, ….

    Args:
        methods: of `jaxrep.methods`, or your own.
        x: training rows, standardised, `[rows, D]`.
        validation: rows held out, `[rows, D]`; their loss is computed after every epoch.
        on_progress: called after each chunk of steps, with the mean loss of the members that it
            trained and the rows of all members.

    Returns:
        The weights and the history of every method, and how long it took. A method whose loss
        becomes infinite or NaN is marked as diverged and changes no other.

    Raises:
        ValueError: no methods, a hyperparameter out of its range, or rows that are no matrix of
            finite floats.

    Example:
        >>> from jaxrep.methods import VAE, VAEHyperparameters
        >>> x = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
        >>> methods = [VAE(VAEHyperparameters(beta=beta, epochs=3)) for beta in (0.0, 1.0, 4.0)]
        >>> result = sweep(methods, x)
        >>> result.compiles, [len(member.history) for member in result.members]
        (1, [3, 3, 3])
    """
    if not methods:
        raise ValueError("there are no methods to train")
    for method in methods:
        check(method.hyperparameters)
    check_data(x, validation)
    devices = members.devices()[: len(methods)]
    mesh = members.mesh_of(devices)
    rows = members.replicate(x, mesh)
    held_out = None if validation is None else members.replicate(validation, mesh)
    trained: dict[int, Member] = {}
    with members.partitioner(devices):
        positions = members.alike(methods)
        groups = [_Group([methods[i] for i in at], rows, held_out, mesh) for at in positions]
        clock = _Clock(sum(group.steps for group in groups), on_progress)
        for at, group in zip(positions, groups, strict=True):
            trained.update(zip(at, group.train(clock), strict=True))
    trained_rows = sum(len(x) * method.hyperparameters.epochs for method in methods)
    return Sweep(
        members=[trained[i] for i in range(len(methods))],
        compiles=len({group.program for group in groups}),
        seconds=clock.seconds,
        compile_seconds=clock.compile_seconds,
        rows_per_second=trained_rows / clock.seconds,
    )


class _Clock:
    """Adds up the steps, the rows and the seconds of all groups."""

    def __init__(self, steps: int, on_progress: Callable[[Progress], None]):
        self.seconds = self.compile_seconds = 0.0
        self._steps, self._on_progress = steps, on_progress
        self._step, self._rows = 0, 0.0

    def tick(self, seconds: float, steps: int, rows: float, loss: float) -> None:
        """Takes what a chunk of steps has added."""
        self.seconds += seconds
        self._step += steps
        self._rows += rows
        self._on_progress(Progress(self._step, self._steps, loss, self._rows / self.seconds))


class _Group:
    """Methods that are alike, and the program that trains so many of them at a time."""

    def __init__(
        self, methods: Sequence[AnyMethod], x: Array, validation: Array | None, mesh: Mesh
    ):
        self.methods, self.x, self.validation, self.mesh = methods, x, validation, mesh
        self.background = members.replicate(background_rows(x), mesh)
        self.batch_size: int = min(methods[0].hyperparameters.batch_size, len(x))
        self.plan = EpochPlan(len(x), self.batch_size, methods[0].hyperparameters.epochs)
        self.empty = empty_state(methods[0], x.shape[1])
        self.at_once = members.members_at_once(
            len(methods), self.empty, x.shape[1], self.batch_size, list(mesh.devices.flat)
        )
        per_device = self.at_once // mesh.size
        self.chunk = max(chunk_length(self.empty, self.batch_size) // per_device, 1)
        parts = -(-len(methods) // self.at_once)
        self.steps = self.plan.steps * parts
        # Copies of the last member fill up the last part, so that all parts are of one shape.
        padding = [methods[-1]] * (parts * self.at_once - len(methods))
        self.stacked = members.stack([*methods, *padding])
        seeds = [method.hyperparameters.seed for method in (*methods, *padding)]
        self.seeds = np.array(seeds, np.uint32)

    @property
    def program(self) -> tuple[Any, ...]:
        """What tells the group's training program from others over the same rows."""
        return jax.tree.structure(self.stacked), self.batch_size, self.at_once, self.chunk

    def train(self, clock: _Clock) -> Iterator[Member]:
        """Trains part after part, and yields the members in their order."""
        for start in range(0, len(self.methods), self.at_once):
            part = _Part(self, start)
            clock.compile_seconds += part.compile()
            part.train(clock)
            yield from part.members()


class _Part:
    """Members that train at the same time: their states, their histories, and the calls."""

    def __init__(self, group: _Group, start: int):
        self.group = group
        share_out = functools.partial(members.share_out, mesh=group.mesh)
        at = slice(start, start + group.at_once)
        self.methods = group.methods[at]
        self.stacked = share_out(jax.tree.map(lambda array: array[at], group.stacked))
        self.seeds = share_out(group.seeds[at])
        zeros = [np.zeros((group.at_once, *a.shape), a.dtype) for a in jax.tree.leaves(group.empty)]
        self.state: TrainState = share_out(
            jax.tree.unflatten(jax.tree.structure(group.empty), zeros)
        )
        self.histories = [_History(group.plan) for _ in self.methods]

    def compile(self) -> float:
        """Compiles the programs by calling them with nothing to do; returns the seconds."""
        started = time.perf_counter()
        self.dispatch(0, 0)
        wait((self.state, self.validation_losses()))
        return time.perf_counter() - started

    def train(self, clock: _Clock) -> None:
        """Trains to the end; while a chunk runs, the histories take in the one before."""
        rows_a_step = len(self.methods) * len(self.group.x) / self.group.plan.steps_per_epoch
        since = time.perf_counter()
        for steps, metrics, held_out in self.chunks():
            loss = self.take_in(steps, metrics, held_out)
            now = time.perf_counter()
            clock.tick(now - since, steps, steps * rows_a_step, loss)
            since = now

    def chunks(self) -> Iterator[tuple[int, Metrics, Array | None]]:
        """Yields each chunk's steps, metrics and validation losses once the next is dispatched."""
        group = self.group
        epoch = group.plan.steps_per_epoch
        every = None if group.validation is None else epoch
        dispatched: tuple[int, Metrics, Array | None] | None = None
        for chunk in group.plan.chunks(0, group.chunk, stop_every=every):
            metrics = self.dispatch(chunk.first, chunk.stop)
            held_out = self.validation_losses() if chunk.stop % epoch == 0 else None
            if dispatched:
                yield dispatched
            dispatched = chunk.stop - chunk.first, metrics, held_out
        wait(self.state)
        if dispatched:
            yield dispatched

    def dispatch(self, first: int, stop: int) -> Metrics:
        """Starts a chunk of steps on the devices and returns the metrics to come."""
        metrics: Metrics
        self.state, metrics = members.run_members(
            self.stacked,
            self.seeds,
            self.state,
            self.group.x,
            self.group.background,
            first,
            stop,
            self.group.plan.steps,
            batch_size=self.group.batch_size,
            chunk=self.group.chunk,
            mesh=self.group.mesh,
        )
        return metrics

    def validation_losses(self) -> Array | None:
        """Starts computing the members' losses of the rows held out, where there are any."""
        if self.group.validation is None:
            return None
        losses: Array = members.validation_losses(
            self.stacked,
            self.seeds,
            self.state.weights,
            self.group.validation,
            batch_size=self.group.batch_size,
            mesh=self.group.mesh,
        )
        return losses

    def take_in(self, steps: int, metrics: Metrics, held_out: Array | None) -> float:
        """Adds a chunk to the histories; returns the mean of the last losses that are finite."""
        values = {name: np.asarray(array) for name, array in metrics.items()}
        losses = None if held_out is None else np.asarray(held_out)
        for i, history in enumerate(self.histories):
            of_member = {name: array[i] for name, array in values.items()}
            history.add(steps, of_member, None if losses is None else losses[i])
        last = values["loss"][: len(self.methods), steps - 1]
        finite = last[np.isfinite(last)]
        return float(finite.mean()) if len(finite) else math.nan

    def members(self) -> Iterator[Member]:
        """Yields the trained members."""
        trained = {name: np.asarray(array) for name, array in self.state.weights.items()}
        for i, (method, history) in enumerate(zip(self.methods, self.histories, strict=True)):
            weights = {name: array[i].copy() for name, array in trained.items()}
            if not history.diverged:
                weights = complete_weights(method, weights, np.asarray(self.group.background))
            yield Member(weights, history.epochs, history.diverged)


class _History:
    """The epochs of a member, until its end or until it diverges."""

    def __init__(self, plan: EpochPlan):
        self.epochs: list[EpochMetrics] = []
        self.diverged = False
        self._means = EpochMeans(plan)

    def add(self, steps: int, metrics: dict[str, np.ndarray], held_out: np.ndarray | None) -> None:
        """Takes the metrics of a chunk of steps, and the validation loss after it."""
        if self.diverged:
            return
        try:
            self.epochs += collect(self._means, steps, metrics, held_out)[-1]
        except DivergedError:
            self.diverged = True
