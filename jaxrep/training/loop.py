"""The loop on the host that dispatches compiled chunks of steps.

While the device runs a chunk, the host takes in the metrics of the one before. Between two chunks
it can log, show progress, save, and look at signals. It trains one run, or many members at once:
every array of a state has the members along its first axis.
"""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from jaxrep.batch import Batch, RowSpec
from jaxrep.errors import DivergedError, InputError, InterruptedRunError
from jaxrep.methods._method import AnyMethod, Metrics, abstract_network
from jaxrep.networks import get_weights
from jaxrep.shuffle import grid
from jaxrep.training.callbacks import Callback, Progress, tell_of_steps
from jaxrep.training.checkpoint import Checkpoints
from jaxrep.training.devices import Devices
from jaxrep.training.distributed import AnyProcess, is_main
from jaxrep.training.divergence import explained, of_member
from jaxrep.training.epoch_plan import Chunk, EpochPlan
from jaxrep.training.history import EpochMetrics, History, mean_epochs
from jaxrep.training.members import run_members, stack, validate_members
from jaxrep.training.program import Kept, abstract_state, chunk_length, zeros
from jaxrep.training.row_store import RowSource
from jaxrep.training.sizes import Padded, program_batch_size
from jaxrep.training.snapshot import Snapshot
from jaxrep.training.states import are_finite, initial_states, kept_until, stacked
from jaxrep.training.step import TrainState
from jaxrep.training.trained import Trained, complete_weights

_STEPS_TOGETHER = 64  # most of a chunk in a job of several processes


class InFlight(NamedTuple):
    """A chunk that the devices compute, or have computed, and that the host has not taken in."""

    stop: int
    """Number of the step after its last."""

    steps: int
    """Steps in it."""

    metrics: Metrics
    """Of the steps, `[M, chunk]`."""

    validation_loss: Array | None
    """After its last step, `[M]`, where that is an epoch's."""


class Loop:
    """The rows, the state and the shapes of a run, and the calls of its programs.

    One chunk is in flight while the next is dispatched: the host hears of a loss one chunk late, so
    when it hears that patience has ended, one chunk too many may have been taken. What is to be
    kept of that moment the devices have kept (`program.Kept`), and the run goes back to it.

    Args:
        methods: to train, alike; of several, those after the first see a streamed table's blocks in
            the first one's order.
        rows: to train on, as `place` gives them.
        validation: rows held out, as `put_padded` gives them.
        spec: what every row holds.
        devices: that train together, or have members of their own.
        start: where to continue from.
        weights: initial weights by name; those not named are drawn.
        checkpoints: where to save.
        stops_on_divergence: whether a member whose loss is not finite ends the run with an error.
        fits_priors: whether members are to have what new rows are drawn from, where it is fitted.
    """

    def __init__(
        self,
        methods: Sequence[AnyMethod],
        rows: RowSource,
        validation: Padded | None,
        spec: RowSpec,
        devices: Devices,
        *,
        start: Snapshot | None = None,
        weights: Mapping[str, np.ndarray] | None = None,
        checkpoints: Checkpoints | None = None,
        stops_on_divergence: bool = True,
        fits_priors: bool = True,
    ):
        self.methods, self.checkpoints, self.devices = methods, checkpoints, devices
        self.stops_on_divergence, self.fits_priors = stops_on_divergence, fits_priors
        hp = methods[0].hyperparameters
        self.batch_size = program_batch_size(hp.batch_size, rows.rows)
        self.spec, self.rows, self.validation = spec, rows, validation
        self.plan = EpochPlan(
            rows.rows,
            min(hp.batch_size, rows.rows),
            hp.epochs,
            hp.seed,
            rows.block_rows,
            hp.steps,
        )
        self.patience = np.array([m.hyperparameters.patience for m in methods], np.int32)
        if validation is None and self.patience.any():
            raise ValueError("patience needs rows held out, whose loss it waits for: validation")
        self.shapes = abstract_state(methods[0], spec)
        self.initial = self._trained_of(weights or {})
        self.chunk = chunk_length(self.shapes, self.batch_size, len(methods) // devices.apart)
        if jax.process_count() > 1:  # a step waits for the network, and signals for the chunk
            self.chunk = min(self.chunk, _STEPS_TOGETHER)
        seeds = np.array([method.hyperparameters.seed for method in methods], np.uint32)
        # What is the same in all calls of the programs.
        self._run_steps = functools.partial(
            run_members,
            stack(methods),
            seeds,
            background=self.rows.background,
            steps=self.plan.steps,
            spec=spec,
            batch_size=self.batch_size,
            chunk=self.chunk,
            devices=devices,
            steps_per_block=np.int32(self.plan.steps_per_block),
        )
        self._validate = functools.partial(
            validate_members,
            stack(methods),
            seeds,
            patience=self.patience,
            x=self.validation,
            spec=spec,
            batch_size=self.batch_size,
            devices=devices,
        )
        self.restore(start)

    def restore(self, start: Snapshot | None) -> None:
        """Puts the run where a snapshot was taken, with copies of its arrays; or at the beginning.

        Copies, since the programs take over the memory of what they are given.
        """
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
        self.step = self.resumed_from = step
        self.histories = [
            History(self.plan, patience=int(patience), step=step, sums=under_way, epochs=finished)
            for patience, under_way, finished in zip(self.patience, sums, histories, strict=True)
        ]
        if any(0 < history.stopped_epoch < len(history.epochs) for history in self.histories):
            raise InputError(
                f"the snapshot after {step} steps is of a run with more patience, which went on "
                "where this one would have stopped"
            )
        state = start.state if start else initial_states(self.methods, self.spec, self.initial)
        self.state = self.devices.put_state(state)
        self.kept = None if self.validation is None else self._kept_until(start)
        self.seconds = start.seconds if start else 0.0
        self.compile_seconds = 0.0
        self.in_flight: InFlight | None = None
        self.any_process = AnyProcess(self.devices)  # without an answer to an earlier question

    def train(
        self,
        callbacks: Sequence[Callback] = (),
        interrupted: Callable[[], bool] = lambda: False,
        *,
        until: int | None = None,
    ) -> None:
        """Trains until the end, or until all members have stopped or diverged, and saves.

        Args:
            callbacks: that hear of it.
            interrupted: asked between chunks of steps.
            until: number of the step to end before, where that is not the run's end.

        Raises:
            DivergedError: a loss, or at last a weight, is not finite, and `stops_on_divergence`;
                where there are checkpoints, the last good state is kept.
            InterruptedRunError: `interrupted()`; where there are checkpoints, the state is saved.
        """
        self._callbacks, self._interrupted = callbacks, interrupted
        with self.devices.programs():
            started = time.perf_counter()
            if next(self._chunks(until), None) and not self._has_ended():
                # A call that takes no step compiles its program.
                rows = grid(self.plan.rows_per_block)
                self.state, _ = self._run_steps(
                    self.state, self.rows.like(), first=0, stop=0, rows=rows
                )
                if self.kept is not None:  # computed for nothing
                    self._validate(kept=self._kept_until(None), state=self.state, epoch=0)
                wait(self.state)
                self.compile_seconds = time.perf_counter() - started
            self._started, self._seconds_before = time.perf_counter(), self.seconds
            try:
                for chunk in self._chunks(until):
                    self._save_or_stop()
                    if self._has_ended():
                        break
                    steps = chunk.stop - chunk.first
                    self.state, metrics = self._run_steps(
                        self.state,
                        self.rows.at(chunk, self.plan),
                        first=chunk.number,
                        stop=chunk.number + steps,
                        rows=grid(self.plan.rows_of(chunk.block)),
                    )
                    self.step = chunk.stop
                    dispatched = InFlight(self.step, steps, metrics, self._dispatch_validation())
                    self._take_in()  # the chunk before, while the devices compute this one
                    self.in_flight = dispatched
                self._finish()
            except DivergedError as error:
                raise self._keep_good_state_and_explain(error) from error

    def results(self) -> Iterator[Trained]:
        """Yields what has come of each method."""
        now = as_it_stopped = best = self.devices.to_host(self.state.weights)
        if self.kept is not None:
            best = self.devices.to_host(self.kept.best)
            if isinstance(self.kept.last, TrainState):
                as_it_stopped = self.devices.to_host(self.kept.last.weights)
        for i, history in enumerate(self.histories):
            at_the_end = self._member(i, as_it_stopped if history.stopped_epoch else now)
            steps = self.step
            if history.has_ended:
                steps = len(history.epochs) * self.plan.steps_per_epoch
            so_far = history.so_far()  # with an epoch that is under way, whose weights are others
            epochs = len(so_far)
            epoch = history.best_epoch or epochs  # where no rows were held out there is no best
            is_best = epoch == epochs
            yield Trained(
                weights=at_the_end if is_best else self._member(i, best),
                last_weights=None if is_best else at_the_end,
                epoch=epoch,
                metrics=so_far[epoch - 1] if so_far else {},
                last_epoch=epochs,
                last_metrics=so_far[-1] if so_far else {},
                history=so_far,
                steps=steps,
                rows=self.plan.rows_until(steps),
                stopped_early=history.stopped_epoch > 0,
                diverged=history.divergence is not None or not are_finite(at_the_end.values()),
            )

    def _snapshot(self) -> Snapshot:
        """Returns all that it takes to continue from here, where nothing is in flight."""
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

    def _chunks(self, until: int | None) -> Iterator[Chunk]:
        """Returns the chunks to come; each ends where a validation or a checkpoint is due."""
        every = None if self.checkpoints is None else self.checkpoints.every.epochs
        epochs = 1 if self.validation is not None else every
        stop_every = None if epochs is None else epochs * self.plan.steps_per_epoch
        return self.plan.chunks(self.step, self.chunk, until, stop_every=stop_every)

    def _save_or_stop(self) -> None:
        """Saves where it is time to, and stops where someone asks for it."""
        asked_to, due = self.any_process(self._interrupted(), self._is_due())
        if not (asked_to or due or self._is_due_by_epochs()):
            return
        self._take_in()
        if self._has_ended():  # the state is a chunk too far, and goes back
            return
        if asked_to:
            self._stop()
        self._save()

    def _dispatch_validation(self) -> Array | None:
        """Starts to compute the loss of the rows held out, and what follows, after an epoch."""
        epoch, steps = divmod(self.step, self.plan.steps_per_epoch)
        if self.kept is None or steps:
            return None
        losses: Array
        losses, self.kept = self._validate(kept=self.kept, state=self.state, epoch=epoch)
        return losses

    def _take_in(self) -> None:
        """Takes in the metrics of the chunk in flight, once the devices have computed it."""
        if self.in_flight is None:
            return
        (stop, steps, of_steps, of_epoch), self.in_flight = self.in_flight, None
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
        if not self._has_ended():  # then some steps are too many
            means = {name: array[:, :steps].mean(axis=0) for name, array in metrics.items()}
            tell_of_steps(self._callbacks, stop - steps, means)
        for epoch in mean_epochs(finished):
            for callback in self._callbacks:
                callback.on_epoch(epoch)
        found = [history.divergence for history in self.histories if history.divergence]
        if found and self.stops_on_divergence:
            # A validation loss has no step: it comes after all that the chunk has.
            raise min(found, key=lambda error: math.inf if error.step is None else error.step)
        losses = metrics["loss"][:, steps - 1]
        finite = losses[np.isfinite(losses)]
        loss = float(finite.mean()) if len(finite) else math.nan
        rows = self.plan.rows_until(stop) - self.plan.rows_until(self.resumed_from)
        rate = len(self.methods) * rows / (time.perf_counter() - self._started)
        for callback in self._callbacks:
            callback.on_progress(Progress(stop, self.plan.steps, loss, rate))

    def _has_ended(self) -> bool:
        """Says whether the steps that come would change nothing, for all that is known yet."""
        return all(history.has_ended for history in self.histories)

    def _finish(self) -> None:
        """Waits for the last steps, goes back to where patience ended, and saves."""
        wait(self.state)
        self._take_in()
        stopped = max(history.stopped_epoch for history in self.histories)
        if stopped and self._has_ended() and self.kept and isinstance(self.kept.last, TrainState):
            self.state, self.step = self.kept.last, stopped * self.plan.steps_per_epoch
        self.seconds = self._seconds_before + time.perf_counter() - self._started
        if self.resumed_from < self.step:
            self._check_finite()
            self._save()

    def _is_due(self) -> bool:
        """Says whether it is time to save after the chunk dispatched last: by one clock."""
        if self.checkpoints is None or self.step == self.resumed_from or not is_main():
            return False
        return self.checkpoints.is_due()

    def _is_due_by_epochs(self) -> bool:
        epochs = None if self.checkpoints is None else self.checkpoints.every.epochs
        if epochs is None or self.step == self.resumed_from:
            return False
        return self.step % (epochs * self.plan.steps_per_epoch) == 0

    def _stop(self) -> None:
        """Saves and raises the error that says so."""
        if self.checkpoints is None:
            raise InterruptedRunError(f"interrupted after step {self.step}")
        if self.step == 0:
            raise InterruptedRunError("interrupted before the first step; there is nothing to save")
        if self.step > self.resumed_from:
            self._save()
        raise InterruptedRunError(
            f"interrupted after step {self.step} of {self.plan.steps}, which is saved in "
            f"{self.checkpoints.path}; the same command, or `jaxrep resume`, continues from there"
        )

    def _save(self) -> None:
        """Saves the state after the last step, once it has been found good."""
        self._take_in()
        if self.checkpoints is None or not self._check_finite():
            return
        self.seconds = self._seconds_before + time.perf_counter() - self._started
        folder = self.checkpoints.save(self._snapshot())
        for callback in self._callbacks:
            callback.on_save(self.step, folder)
        self.any_process = AnyProcess(self.devices)  # else an answer from before saves again

    def _check_finite(self) -> bool:
        """Says whether the state is finite; raises a DivergedError where that ends the run."""
        found = bool(self._are_finite().all())
        if not found and self.stops_on_divergence:
            raise DivergedError(
                f"the training's state is no longer finite, after step {self.step}; a smaller "
                "learning rate may help",
                step=self.step - 1,
            )
        return found

    def _are_finite(self) -> np.ndarray:
        """Says of each member whether its state is finite, by the host: it is about to be written.

        Of one whose patience has ended it does not count as long as others train on with it.
        """
        finite = np.ones(len(self.methods), bool)
        for array in jax.tree.leaves(self.state):
            for shard in (s for s in array.addressable_shards if s.replica_id == 0):
                values = np.isfinite(shard.data)
                finite[shard.index[0]] &= values.all(axis=tuple(range(1, values.ndim)))
        if jax.process_count() > 1:
            finite = np.asarray(self.devices.any(*~finite)) == 0
        if not self._has_ended():
            finite |= [history.stopped_epoch > 0 for history in self.histories]
        return finite

    def _keep_good_state_and_explain(self, error: DivergedError) -> DivergedError:
        """Trains again up to the last good state, to keep it, and returns an error that says more.

        Where the loss of rows held out is not finite, that may be for these rows, or for weights
        that the epoch's last step made so.
        """
        is_sound, is_one_of_many = self._are_finite(), len(self.methods) > 1
        found = (i for i, history in enumerate(self.histories) if history.divergence is error)
        member = next(found, int(is_sound.argmin()))
        seed = self.methods[member].hyperparameters.seed
        if error.step is None:
            if is_sound[member]:
                return of_member(error, seed) if is_one_of_many else error
            last = len(self.histories[member].epochs) + 1
            error = DivergedError(
                f"the weights are no longer finite, at the end of epoch {last}; a smaller "
                "learning rate may help",
                step=last * self.plan.steps_per_epoch - 1,
            )
        step = error.step
        assert step is not None
        kept = 0 if self.checkpoints is None else self._keep_state_before(step, self.checkpoints)
        return explained(
            error,
            self.plan,
            seed=seed,
            kept=kept,
            is_one_of_many=is_one_of_many,
        )

    def _keep_state_before(self, step: int, checkpoints: Checkpoints) -> int:
        """Saves the last finite state before a step; returns the steps that led to it."""
        method, members = self.methods[0], len(self.methods)
        self.stops_on_divergence = False
        for until in (step, step - 1):  # a loss is of before its step: its cause may be one earlier
            self.restore(checkpoints.newest(method, self.spec, self.devices, members=members))
            if self.step < until:
                self.train(interrupted=self._interrupted, until=until)
            if self._are_finite().all():
                return self.step
        return 0

    def _kept_until(self, start: Snapshot | None) -> Kept:
        """Returns what is kept of the epochs of a snapshot, or before the first epoch nothing."""
        histories = self.histories if start else [History(self.plan)] * len(self.methods)
        nothing = stacked(zeros(self.shapes), len(self.methods))
        has_patience = bool(self.patience.any())
        return self.devices.put_state(kept_until(start, histories, nothing, has_patience))

    def _trained_of(self, weights: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Returns weights without those of the network that are computed after training."""
        network = abstract_network(self.methods[0], self.spec)
        computed = get_weights(network).keys() - self.shapes.weights.keys()
        return {name: array for name, array in weights.items() if name not in computed}

    def _member(self, i: int, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the weights of a member, with what its outputs need besides."""
        of_member = {name: array[i].copy() for name, array in weights.items()}
        if self.histories[i].divergence is not None:
            return of_member
        return self._complete(self.methods[i], of_member, fits_prior=self.fits_priors)

    def together(self, trained: Trained) -> Trained:
        """Returns what the members have come to, who serve as one, with what they need for that."""
        if len(self.methods) == 1 or trained.diverged:
            return trained
        first = self.methods[0]
        together = dataclasses.replace(first.hyperparameters, members=len(self.methods))
        method = type(first)(together)
        of_last = trained.last_weights
        return dataclasses.replace(
            trained,
            weights=self._complete(method, trained.weights),
            last_weights=None if of_last is None else self._complete(method, of_last),
        )

    def _complete(
        self, method: AnyMethod, weights: dict[str, np.ndarray], *, fits_prior: bool = False
    ) -> dict[str, np.ndarray]:
        rows, count = self.rows.background
        background: Batch = jax.tree.map(lambda part: np.asarray(part)[:count], rows)
        return complete_weights(method, weights, background, self.spec, fits_prior=fits_prior)


def wait(tree: Any) -> None:
    """Returns once all arrays of a tree are computed."""
    for array in jax.tree.leaves(tree):
        array.block_until_ready()
