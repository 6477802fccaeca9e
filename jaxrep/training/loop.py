"""The loop on the host that dispatches compiled chunks of steps.

While the device runs a chunk, the host takes in the metrics of the one before. Between two chunks
it can log, show progress, save, and look at signals.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jax import Array

from jaxrep.batch import RowSpec
from jaxrep.errors import DivergedError, InputError, InterruptedRunError
from jaxrep.inference import map_rows
from jaxrep.methods._method import AnyMethod, Metrics, abstract_network
from jaxrep.training.checkpoint import Checkpoints
from jaxrep.training.devices import Devices
from jaxrep.training.distributed import AnyProcess, is_main
from jaxrep.training.epoch_plan import Chunk, EpochPlan
from jaxrep.training.history import EpochMeans, EpochMetrics, collect
from jaxrep.training.program import (
    Best,
    abstract_state,
    chunk_length,
    no_best,
    run_steps,
    validate,
    zeros,
)
from jaxrep.training.row_store import RowStore, place
from jaxrep.training.snapshot import Snapshot
from jaxrep.training.step import StepIndex, TrainState, batch_rows

_ROWS_NAMED = 8
_STEPS_TOGETHER = 64  # most of a chunk in a job of several processes


@dataclass(frozen=True)
class Progress:
    """Where a run stands after a chunk of steps."""

    step: int
    """Steps taken."""

    steps: int
    """Steps in the whole run."""

    loss: float
    """Loss of the last step."""

    rows_per_second: float
    """Rows trained on per second, since the first dispatch."""


class Loop:
    """One run's rows, state and shapes, and the calls of its programs.

    Args:
        method: to train.
        x: training rows.
        validation: rows held out.
        start: where to continue from.
        weights: initial weights by name, in the place of drawn ones.
        checkpoints: where to save.
        devices: that train together.
    """

    def __init__(
        self,
        method: AnyMethod,
        x: np.ndarray | Array | RowStore,
        validation: np.ndarray | Array | None,
        start: Snapshot | None,
        weights: Mapping[str, np.ndarray] | None,
        checkpoints: Checkpoints | None,
        devices: Devices,
    ):
        self.method, self.checkpoints, self.devices = method, checkpoints, devices
        hp = method.hyperparameters
        rows = x.shape[0] if isinstance(x, np.ndarray | Array) else x.rows
        self.batch_size: int = min(hp.batch_size, rows)
        devices.check_batch(self.batch_size, rows)
        self.rows = place(x, hp.batch_size, devices)
        self.plan = EpochPlan(
            self.rows.rows, self.batch_size, hp.epochs, hp.seed, self.rows.block_rows
        )
        self.seed = np.uint32(hp.seed)
        self.validation: Array | None = None if validation is None else devices.put(validation)
        self.any_process = AnyProcess(devices)
        self.shapes = abstract_state(method, self.rows.width)
        self.chunk = chunk_length(self.shapes, self.batch_size)
        if jax.process_count() > 1:  # whose steps wait for the network
            self.chunk = min(self.chunk, _STEPS_TOGETHER)
        self.initial = weights
        self.restore(self._fresh() if start is None else self._copy(start))

    def restore(self, start: Snapshot) -> None:
        """Puts the run where a snapshot was taken, and takes over its arrays."""
        epochs = start.step // self.plan.steps_per_epoch
        if start.step > self.plan.steps or len(start.history) != epochs:
            raise InputError(
                f"the snapshot after {start.step} steps, with {len(start.history)} epochs of "
                f"metrics, is not of this run of {self.plan.steps} steps"
            )
        self.step = self.first = start.step
        self.state = start.state
        self.best: Best | None = None
        if self.validation is not None:
            self.best = self._no_best() if start.best is None else self._with_scalars(start.best)
        self.means = EpochMeans(self.plan, start.step, start.sums)
        self.history = list(start.history)
        self.seconds_before = start.seconds
        self.pending: tuple[int, Metrics, Array | None] | None = None

    def compile(self) -> float:
        """Compiles the programs by calling them with nothing to do; returns the seconds."""
        started = time.perf_counter()
        for block in {0, self.plan.blocks - 1}:
            self._run(block, self.rows.like(block, self.plan), 1, 1)
        if self.validation is not None:
            self._validate(0, self._no_best())
        wait(self.state)
        return time.perf_counter() - started

    def train(
        self,
        on_epoch: Callable[[EpochMetrics], None],
        on_progress: Callable[[Progress], None],
        interrupted: Callable[[], bool],
    ) -> float:
        """Trains to the end; returns the seconds, those of the run before it was resumed included.

        Raises:
            DivergedError: a loss is not finite.
            InterruptedRunError: `interrupted()`; where there are checkpoints, the state is saved.
        """
        self.on_epoch, self.on_progress = on_epoch, on_progress
        self.started = time.perf_counter()
        for chunk in self.plan.chunks(self.step, self.chunk, stop_every=self._stop_every()):
            stop, due = self.any_process(interrupted(), self._is_due())
            if stop:
                self._stop()
            if due or self._is_due_by_epochs():
                self._save()
            self._dispatch(chunk)
        wait(self.state)
        self._collect()
        seconds = self.seconds()
        if self.checkpoints is not None and self.first < self.step:
            self._save()
        return seconds

    def seconds(self) -> float:
        """Returns the time spent training, that before the run was resumed included."""
        return self.seconds_before + time.perf_counter() - self.started

    def explain(self, error: DivergedError) -> DivergedError:
        """Adds the rows of the batch to what a diverged run says, and keeps its last good state."""
        if error.step is None:  # of the rows held out
            return error
        rows = self._rows_of(error.step)
        named = ", ".join(str(row) for row in rows[:_ROWS_NAMED].tolist())
        more = f" and {len(rows) - _ROWS_NAMED} more" if len(rows) > _ROWS_NAMED else ""
        text = f"{error}. The batch holds the training rows {named}{more}, counted from 0"
        if self.checkpoints is not None:
            kept = self._keep_state_before(error.step)
            if kept:  # else the run was never good
                text += f"; the state after {kept} steps, the last good one, is kept"
        return DivergedError(text, step=error.step, rows=rows.tolist())

    def weights(self) -> dict[str, np.ndarray]:
        """Returns the trained weights, completed by what the method's score needs."""
        return self._complete(self.state)

    def best_weights(self) -> dict[str, np.ndarray] | None:
        """Returns the weights of the epoch with the lowest validation loss."""
        return None if self.best is None else self._complete(self.best.state)

    def _complete(self, state: TrainState) -> dict[str, np.ndarray]:
        trained = self.devices.to_host(state.weights)
        return complete_weights(self.method, trained, np.asarray(self.rows.background))

    def _stop_every(self) -> int | None:
        """Returns after how many steps a chunk has to end, for validation or a checkpoint."""
        epoch = self.plan.steps_per_epoch
        if self.validation is not None:
            return epoch
        every = None if self.checkpoints is None else self.checkpoints.every.epochs
        return None if every is None else every * epoch

    def _dispatch(self, chunk: Chunk) -> None:
        """Starts a chunk of steps on the device, and takes in the one before."""
        x = self.rows.at(chunk, self.plan)
        metrics = self._run(chunk.block, x, chunk.number, chunk.number + chunk.stop - chunk.first)
        self.step = chunk.stop
        epoch, steps = divmod(chunk.stop, self.plan.steps_per_epoch)
        held_out = None
        if self.best is not None and steps == 0:
            held_out, self.best = self._validate(epoch, self.best)
        self._collect()
        self.pending = chunk.stop - chunk.first, metrics, held_out

    def _run(self, block: int, x: Array, first: int, stop: int) -> Metrics:
        metrics: Metrics
        with self.devices.programs():
            self.state, metrics = run_steps(
                self.method,
                self.seed,
                self.state,
                x,
                self.rows.background,
                first,
                stop,
                self.plan.steps,
                self.initial is None,
                batch_size=self.batch_size,
                chunk=self.chunk,
                devices=self.devices,
                rows=self.plan.rows_of(block),
                steps_per_block=self.plan.steps_per_block,
            )
        return metrics

    def _validate(self, epoch: int, best: Best) -> tuple[Array, Best]:
        with self.devices.programs():
            validated: tuple[Array, Best] = validate(
                self.method,
                self.seed,
                self.state,
                best,
                self.validation,
                epoch,
                batch_size=self.batch_size,
                devices=self.devices,
            )
        return validated

    def _copy(self, snapshot: Snapshot) -> Snapshot:
        """Returns a snapshot whose arrays are its own: programs take over what they are given."""
        best = snapshot.best and snapshot.best._replace(
            state=self.devices.put_state(snapshot.best.state)
        )
        return replace(snapshot, state=self.devices.put_state(snapshot.state), best=best)

    def _no_best(self) -> Best:
        return self._with_scalars(no_best(self.devices.put_state(zeros(self.shapes))))

    def _with_scalars(self, best: Best) -> Best:
        loss, epoch = self.devices.put((np.float32(best.loss), np.int32(best.epoch)))
        return best._replace(loss=loss, epoch=epoch)

    def _collect(self) -> None:
        """Takes in the metrics of the chunk dispatched last, once the device is through with it."""
        if self.pending is None:
            return
        pending, self.pending = self.pending, None
        step, last_loss, finished = collect(self.means, *pending)
        for metrics in finished:
            self.history.append(metrics)
            self.on_epoch(metrics)
        rows = self.plan.rows_until(step) - self.plan.rows_until(self.first)
        rate = rows / (time.perf_counter() - self.started)
        self.on_progress(Progress(step, self.plan.steps, last_loss, rate))

    def _is_due(self) -> bool:
        """Says whether it is time to save after the chunk dispatched last: by one clock."""
        if self.checkpoints is None or self.step == self.first or not is_main():
            return False
        return self.checkpoints.is_due()

    def _is_due_by_epochs(self) -> bool:
        epochs = None if self.checkpoints is None else self.checkpoints.every.epochs
        if epochs is None or self.step == self.first:
            return False
        return self.step % (epochs * self.plan.steps_per_epoch) == 0

    def _stop(self) -> None:
        """Saves and raises the error that says so."""
        self._collect()
        if self.checkpoints is None:
            raise InterruptedRunError(f"interrupted after step {self.step}")
        if self.step > self.first:
            self._save()
        raise InterruptedRunError(
            f"interrupted after step {self.step} of {self.plan.steps}, which is saved in "
            f"{self.checkpoints.path}; the same command, or `jaxrep resume`, continues from there"
        )

    def _save(self) -> None:
        """Saves the state after the last step, once its metrics have been found good."""
        self._collect()
        if self.checkpoints is not None and self._is_finite():  # else the next loss is NaN
            self.checkpoints.save(self.snapshot())

    def snapshot(self) -> Snapshot:
        """Returns all that it takes to continue from here."""
        best = self.best if self.best is not None and self.best.epoch > 0 else None
        return Snapshot(self.step, self.state, best, self.means.sums, self.history, self.seconds())

    def _keep_state_before(self, step: int) -> int:
        """Saves the last finite state before a step by taking the steps to it again."""
        assert self.checkpoints is not None
        self.on_epoch, self.on_progress = _ignore, _ignore
        for stop in (step, step - 1):  # an update that is not finite shows a step later
            start = self.checkpoints.newest(self.method, self.rows.width, self.devices)
            self.restore(start or self._fresh())
            if self.step >= stop:
                break
            for chunk in self.plan.chunks(self.step, self.chunk, stop_every=self._stop_every()):
                self._dispatch(replace(chunk, stop=min(chunk.stop, stop)))
                if self.step == stop:
                    break
            if self._is_finite():
                self._save()
                break
        return self.step

    def _is_finite(self) -> bool:
        """Says whether the state is finite, by the host: it is about to be written anyway."""
        shards = (s for array in jax.tree.leaves(self.state) for s in array.addressable_shards)
        finite = all(np.isfinite(shard.data).all() for shard in shards if shard.replica_id == 0)
        if jax.process_count() == 1:
            return finite
        return not np.asarray(self.devices.any(not finite))[0]

    def _fresh(self) -> Snapshot:
        state = self.devices.put_state(_with(zeros(self.shapes), self.initial))
        return Snapshot(0, state, None, {}, [], 0.0)

    def _rows_of(self, step: int) -> np.ndarray:
        """Returns the indices of the training rows in a step's batch."""
        chunk = next(self.plan.chunks(step, 1))
        at = StepIndex(*divmod(chunk.number, self.plan.steps_per_block))
        size = self.plan.rows_of(chunk.block)
        rows, inside = batch_rows(self.method.hyperparameters.seed, at, size, self.batch_size)
        found = np.asarray(rows)[np.asarray(inside)]
        return np.sort(found.astype(np.int64)) + chunk.block * self.plan.rows_per_block


def _ignore(event: object) -> None:
    """Takes what is not to be reported."""


def _with(state: TrainState, weights: Mapping[str, np.ndarray] | None) -> TrainState:
    """Returns a state with other weights, given by name; there may be more of them."""
    if weights is None:
        return state

    def given(empty: Mapping[str, Any]) -> dict[str, Any]:
        for name, array in empty.items():
            if name not in weights or weights[name].shape != array.shape:
                raise ValueError(f"weights have no {name} of shape {array.shape}, as the model has")
        return {name: np.asarray(weights[name], array.dtype) for name, array in empty.items()}

    return state._replace(params=given(state.params), model_state=given(state.model_state))


def complete_weights(
    method: AnyMethod, trained: dict[str, np.ndarray], background: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns trained weights together with those that the network's outputs need besides.

    Args:
        method: the trained method.
        trained: weights by name, as training left them.
        background: training rows, all or evenly spaced ones, `[R, D]`.
    """
    rows = RowSpec(background.shape[1])
    statistics = abstract_network(method, rows).fit_statistics(
        lambda: map_rows(method, "embed", trained, background, rows)
    )
    return trained | statistics


def wait(tree: Any) -> None:
    """Returns once all arrays of a tree are computed."""
    for array in jax.tree.leaves(tree):
        array.block_until_ready()
