"""The loop on the host that dispatches compiled chunks of steps.

While the device runs a chunk, the host takes in the metrics of the one before. Between two chunks
it can log, show progress, save, and look at signals. It trains one run, or many members at once:
every array of a state has the members along its first axis.
"""

import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import Array

from jaxrep.errors import DivergedError, InputError, InterruptedRunError
from jaxrep.methods._method import AnyMethod, Metrics
from jaxrep.training.checkpoint import Checkpoints
from jaxrep.training.devices import Devices
from jaxrep.training.distributed import AnyProcess, is_main
from jaxrep.training.divergence import explained
from jaxrep.training.epoch_plan import Chunk, EpochPlan
from jaxrep.training.history import EpochMetrics, History, mean_epochs
from jaxrep.training.members import run_members, stack, validate_members
from jaxrep.training.program import Kept, abstract_state, chunk_length, zeros
from jaxrep.training.row_store import RowStore, place
from jaxrep.training.snapshot import Snapshot
from jaxrep.training.step import TrainState
from jaxrep.training.trained import Trained, complete_weights

_STEPS_TOGETHER = 64  # most of a chunk in a job of several processes


@dataclass(frozen=True)
class Progress:
    """Where a run stands after a chunk of steps."""

    step: int
    """Steps taken."""

    steps: int
    """Steps in the whole run."""

    loss: float
    """Loss of the last step; the mean over the members whose loss is finite."""

    rows_per_second: float
    """Rows trained on per second, since the first dispatch."""


class Loop:
    """The rows, the state and the shapes of a run, and the calls of its programs.

    Args:
        methods: to train, alike; of several, those after the first see a streamed table's blocks in
            the first one's order.
        x: training rows.
        validation: rows held out.
        devices: that train together, or have members of their own.
        start: where to continue from.
        weights: initial weights by name, in the place of drawn ones.
        checkpoints: where to save.
        stops_on_divergence: whether a member whose loss is not finite ends the run with an error.
    """

    def __init__(
        self,
        methods: Sequence[AnyMethod],
        x: np.ndarray | Array | RowStore,
        validation: np.ndarray | Array | None,
        devices: Devices,
        *,
        start: Snapshot | None = None,
        weights: Mapping[str, np.ndarray] | None = None,
        checkpoints: Checkpoints | None = None,
        stops_on_divergence: bool = True,
    ):
        self.methods, self.checkpoints, self.devices = methods, checkpoints, devices
        self.stops_on_divergence = stops_on_divergence
        hp = methods[0].hyperparameters
        rows = x.shape[0] if isinstance(x, np.ndarray | Array) else x.rows
        self.batch_size: int = min(hp.batch_size, rows)
        devices.check_batch(self.batch_size, rows)
        self.rows = place(x, hp.batch_size, devices)
        self.plan = EpochPlan(rows, self.batch_size, hp.epochs, hp.seed, self.rows.block_rows)
        self.patience = np.array([m.hyperparameters.patience for m in methods], np.int32)
        if validation is None and self.patience.any():
            raise ValueError("patience needs rows held out: validation_fraction above 0")
        self.validation: Array | None = None if validation is None else devices.put(validation)
        self.any_process = AnyProcess(devices)
        self.initial = weights
        self.shapes = abstract_state(methods[0], self.rows.width)
        self.chunk = chunk_length(self.shapes, self.batch_size, len(methods) // devices.apart)
        if jax.process_count() > 1:  # whose steps wait for the network
            self.chunk = min(self.chunk, _STEPS_TOGETHER)
        seeds = np.array([method.hyperparameters.seed for method in methods], np.uint32)
        # What is the same in all calls of the programs.
        self._run_steps = functools.partial(
            run_members,
            stack(methods),
            seeds,
            background=self.rows.background,
            steps=self.plan.steps,
            begin=weights is None,
            batch_size=self.batch_size,
            chunk=self.chunk,
            devices=devices,
            steps_per_block=self.plan.steps_per_block,
        )
        self._validate = functools.partial(
            validate_members,
            stack(methods),
            seeds,
            patience=self.patience,
            x=self.validation,
            batch_size=self.batch_size,
            devices=devices,
        )
        self.restore(start)

    def restore(self, start: Snapshot | None) -> None:
        """Puts the run where a snapshot was taken, of whose arrays it makes its own; or begins."""
        step = 0 if start is None else start.step
        epochs = step // self.plan.steps_per_epoch
        members = len(self.methods)
        histories: Sequence[Sequence[EpochMetrics]] = [()] * members
        sums: Sequence[Mapping[str, float]] = [{}] * members
        if start is not None:
            histories, sums = start.histories, start.sums
        most = max(map(len, histories))
        if step > self.plan.steps or len(histories) != members or most != epochs:
            raise InputError(
                f"the snapshot after {step} steps, with {most} epochs of metrics of "
                f"{len(histories)} members, is not of this run of {self.plan.steps} steps"
            )
        self.step = self.first = step
        self.histories = [
            History(self.plan, patience=int(patience), step=step, sums=of_epoch, epochs=finished)
            for patience, of_epoch, finished in zip(self.patience, sums, histories, strict=True)
        ]
        begun = start.state if start else self._stacked(_with(zeros(self.shapes), self.initial))
        self.state = self.devices.put_state(begun)
        self.kept = None if self.validation is None else self._kept(start)
        self.seconds = start.seconds if start else 0.0
        self.pending: tuple[int, int, Metrics, Array | None] | None = None

    def train(
        self,
        on_epoch: Callable[[EpochMetrics], None] = lambda metrics: None,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        interrupted: Callable[[], bool] = lambda: False,
        *,
        until: int | None = None,
    ) -> None:
        """Trains to the end, or until no member has patience left, and saves what has come of it.

        Args:
            on_epoch: called with the metrics of each finished epoch, of members with their means.
            on_progress: called after each chunk of steps.
            interrupted: asked between chunks of steps.
            until: number of the step to end before, where that is not the run's end.

        Raises:
            DivergedError: a loss is not finite; where there are checkpoints, the last good state is
                kept.
            InterruptedRunError: `interrupted()`; where there are checkpoints, the state is saved.
        """
        self._on_epoch, self._on_progress = on_epoch, on_progress
        with self.devices.programs():
            self._compile()
            self._started, self._seconds_before = time.perf_counter(), self.seconds
            try:
                for chunk in self._chunks(until):
                    self._look_up(interrupted())
                    if self._has_ended():
                        break
                    steps = chunk.stop - chunk.first
                    self.state, metrics = self._run_steps(
                        self.state,
                        self.rows.at(chunk, self.plan),
                        first=chunk.number,
                        stop=chunk.number + steps,
                        rows=self.plan.rows_of(chunk.block),
                    )
                    self.step = chunk.stop
                    self._collect_the_one_before(steps, metrics, self._held_out())
                self._finish()
            except DivergedError as error:
                raise self._explained(error) from error

    def results(self) -> Iterator[Trained]:
        """Yields what has come of each method."""
        last = stopped = best = self.devices.to_host(self.state.weights)
        if self.kept is not None:
            best = self.devices.to_host(self.kept.best)
            if isinstance(self.kept.last, TrainState):
                stopped = self.devices.to_host(self.kept.last.weights)
        for i, history in enumerate(self.histories):
            at_the_end = self._member(i, stopped if history.stopped_epoch else last)
            epochs = len(history.epochs)
            is_best = history.best_epoch in (0, epochs)
            yield Trained(
                weights=at_the_end if is_best else self._member(i, best),
                last_weights=None if is_best else at_the_end,
                epoch=history.best_epoch or epochs,
                history=history.epochs,
                stopped_early=history.stopped_epoch > 0,
                diverged=history.divergence is not None,
            )

    def snapshot(self) -> Snapshot:
        """Returns all that it takes to continue from here."""
        best, last = None, None
        if self.kept is not None and any(history.best_epoch for history in self.histories):
            best = self.kept.best
            if any(h.stopped_epoch for h in self.histories) and not self._has_ended():
                last = self.kept.last or None
        return Snapshot(
            step=self.step,
            state=self.state,
            best=best,
            last=last,
            sums=[history.sums for history in self.histories],
            histories=[history.epochs for history in self.histories],
            seconds=self.seconds,
        )

    def _compile(self) -> None:
        """Compiles the programs by calling them with nothing to do."""
        started = time.perf_counter()
        for block in {0, self.plan.blocks - 1}:
            rows, like = self.plan.rows_of(block), self.rows.like(block, self.plan)
            self.state, _ = self._run_steps(self.state, like, first=1, stop=1, rows=rows)
        if self.kept is not None:
            self._validate(kept=self._kept(None), state=self.state, epoch=0)
        wait(self.state)
        self.compile_seconds = time.perf_counter() - started

    def _chunks(self, until: int | None) -> Iterator[Chunk]:
        """Returns the chunks to come; they end where rows held out or a checkpoint are due."""
        every = None if self.checkpoints is None else self.checkpoints.every.epochs
        epochs = 1 if self.validation is not None else every
        stop_every = None if epochs is None else epochs * self.plan.steps_per_epoch
        return self.plan.chunks(self.step, self.chunk, until, stop_every=stop_every)

    def _look_up(self, interrupted: bool) -> None:
        """Saves where it is time to, and stops where someone asks for it."""
        stop, due = self.any_process(interrupted, self._is_due())
        if stop:
            self._collect()
            if not self._has_ended():
                self._stop()
        elif due or self._is_due_by_epochs():
            self._save()

    def _held_out(self) -> Array | None:
        """Starts to compute the loss of the rows held out, where an epoch has ended."""
        epoch, steps = divmod(self.step, self.plan.steps_per_epoch)
        if self.kept is None or steps:
            return None
        losses: Array
        losses, self.kept = self._validate(kept=self.kept, state=self.state, epoch=epoch)
        return losses

    def _collect_the_one_before(self, steps: int, metrics: Metrics, held_out: Array | None) -> None:
        """Takes in the metrics of the chunk before the one dispatched last."""
        self._collect()
        self.pending = self.step, steps, metrics, held_out

    def _collect(self) -> None:
        """Takes in the metrics of the chunk dispatched last, once the devices have computed it."""
        if self.pending is None:
            return
        (step, steps, of_steps, of_epoch), self.pending = self.pending, None
        metrics = {name: np.asarray(array) for name, array in of_steps.items()}
        held_out = None if of_epoch is None else np.asarray(of_epoch)
        finished = [
            history.add(
                steps,
                {name: array[i] for name, array in metrics.items()},
                None if held_out is None else held_out[i],
            )
            for i, history in enumerate(self.histories)
        ]
        for epoch in mean_epochs(finished):
            self._on_epoch(epoch)
        if self.stops_on_divergence:
            for history in self.histories:
                if history.divergence is not None:
                    raise history.divergence
        losses = metrics["loss"][:, steps - 1]
        finite = losses[np.isfinite(losses)]
        loss = float(finite.mean()) if len(finite) else math.nan
        rows = self.plan.rows_until(step) - self.plan.rows_until(self.first)
        rate = len(self.methods) * rows / (time.perf_counter() - self._started)
        self._on_progress(Progress(step, self.plan.steps, loss, rate))

    def _has_ended(self) -> bool:
        """Says whether the steps that come would change nothing, for all that is known yet."""
        return all(history.has_ended for history in self.histories)

    def _finish(self) -> None:
        """Waits for the last steps, goes back to where patience ended, and saves."""
        wait(self.state)
        self._collect()
        stopped = max(history.stopped_epoch for history in self.histories)
        if stopped and self._has_ended() and self.kept and isinstance(self.kept.last, TrainState):
            self.state, self.step = self.kept.last, stopped * self.plan.steps_per_epoch
        self.seconds = self._seconds_before + time.perf_counter() - self._started
        if self.first < self.step:
            self._save()

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
        if self.checkpoints is None:
            return
        self._collect()
        self.seconds = self._seconds_before + time.perf_counter() - self._started
        if self._is_finite():  # else the next loss is NaN
            self.checkpoints.save(self.snapshot())

    def _is_finite(self) -> bool:
        """Says whether the state is finite, by the host: it is about to be written anyway."""
        shards = (s for array in jax.tree.leaves(self.state) for s in array.addressable_shards)
        finite = all(np.isfinite(shard.data).all() for shard in shards if shard.replica_id == 0)
        if jax.process_count() == 1:
            return finite
        return not np.asarray(self.devices.any(not finite))[0]

    def _explained(self, error: DivergedError) -> DivergedError:
        """Returns an error that says more, once the last good state is kept."""
        if error.step is None:  # of the rows held out
            return error
        member = next(i for i, h in enumerate(self.histories) if h.divergence is error)
        kept = 0 if self.checkpoints is None else self._keep_before(error.step, self.checkpoints)
        return explained(
            error,
            self.plan,
            seed=self.methods[member].hyperparameters.seed,
            kept=kept,
            is_one_of_many=len(self.methods) > 1,
        )

    def _keep_before(self, step: int, checkpoints: Checkpoints) -> int:
        """Saves the last finite state before a step by taking the steps to it again."""
        method, members = self.methods[0], len(self.methods)
        for until in (step, step - 1):  # an update that is not finite shows a step later
            self.restore(checkpoints.newest(method, self.rows.width, self.devices, members=members))
            if self.step >= until:
                break
            self.train(until=until)
            if self._is_finite():
                break
        return self.step

    def _kept(self, start: Snapshot | None) -> Kept:
        """Returns what the epochs of a snapshot have kept, or before the first epoch nothing."""
        nothing = self._stacked(zeros(self.shapes))
        best, last = nothing.weights, nothing
        histories = [History(self.plan)] * len(self.methods)
        if start is not None:
            best, last = start.best or best, start.last or start.state
            histories = self.histories
        kept = Kept(
            best=best,
            loss=np.array([history.best_loss for history in histories], np.float32),
            epoch=np.array([history.best_epoch for history in histories], np.int32),
            last=last if self.patience.any() else (),
            stopped=np.array([history.stopped_epoch for history in histories], np.int32),
        )
        return self.devices.put_state(kept)

    def _stacked(self, state: TrainState) -> TrainState:
        """Returns a state on the host once for every member."""
        stacked: TrainState = jax.tree.map(
            lambda array: np.repeat(array[None], len(self.methods), axis=0), state
        )
        return stacked

    def _member(self, i: int, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the weights of a member, with what its outputs need besides."""
        of_member = {name: array[i].copy() for name, array in weights.items()}
        if self.histories[i].divergence is not None:
            return of_member
        return complete_weights(self.methods[i], of_member, np.asarray(self.rows.background))


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


def wait(tree: Any) -> None:
    """Returns once all arrays of a tree are computed."""
    for array in jax.tree.leaves(tree):
        array.block_until_ready()
