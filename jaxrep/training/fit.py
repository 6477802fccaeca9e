"""Whole training runs: the loop on the host that dispatches compiled chunks of steps.

While the device runs a chunk, the host reports the one before; between two chunks it can log, show
progress, save, and look at signals.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import Array

from jaxrep.errors import DivergedError
from jaxrep.hyperparameters import check
from jaxrep.inference import map_rows
from jaxrep.methods import Metrics
from jaxrep.training.history import EpochMeans, EpochMetrics
from jaxrep.training.program import (
    chunk_length,
    empty_state,
    reference_rows,
    run_steps,
    validation_loss,
)
from jaxrep.training.step import AnyMethod, steps_per_epoch


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
    """Rows trained on a second, since the first dispatch."""


@dataclass(frozen=True)
class Fit:
    """A finished training run."""

    weights: dict[str, np.ndarray]
    """The model's weights by name."""

    history: list[EpochMetrics]
    """For each epoch its number from 1 as `epoch`, the means over rows of `loss` and the method's
    metrics, and `validation_loss` where rows were held out."""

    seconds: float
    """From the first dispatch to the last weights being ready; compilation is not in it."""

    compile_seconds: float
    """Time to trace and compile; next to nothing where the same shapes were trained before."""

    rows_per_second: float
    """Rows × epochs / `seconds`."""


def fit(
    method: AnyMethod,
    x: np.ndarray | Array,
    *,
    validation: np.ndarray | Array | None = None,
    on_epoch: Callable[[EpochMetrics], None] = lambda metrics: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Fit:
    """Trains a method on rows.

    Args:
        method: one of `jaxrep.methods`, or your own `Method`.
        x: training rows, standardised, `[rows, D]`.
        validation: rows held out, `[rows, D]`; their loss is computed after every epoch.
        on_epoch: called with the metrics of each finished epoch, in order.
        on_progress: called after each chunk of steps.

    Returns:
        The trained weights, the history, and how long it took.

    Raises:
        ValueError: a hyperparameter out of its range, or rows that are no matrix of finite floats.
        DivergedError: the loss became infinite or NaN.

    Example:
        >>> from jaxrep.hyperparameters import AutoencoderHyperparameters
        >>> from jaxrep.methods import Autoencoder
        >>> method = Autoencoder(AutoencoderHyperparameters(epochs=3))
        >>> run = fit(method, np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32))
        >>> [epoch["epoch"] for epoch in run.history], run.weights["encoder.0.kernel"].shape
        ([1, 2, 3], (4, 64))
    """
    check(method.hyperparameters)
    check_data(x, validation)
    loop = _Loop(method, x, validation)
    compile_seconds = loop.compile()
    history = []
    started = time.perf_counter()
    for step, last_loss, finished_epochs in loop.run():
        for metrics in finished_epochs:
            history.append(metrics)
            on_epoch(metrics)
        rows_per_second = loop.rows_until(step) / (time.perf_counter() - started)
        on_progress(Progress(step, loop.steps, last_loss, rows_per_second))
    seconds = time.perf_counter() - started
    rows_per_second = loop.rows_until(loop.steps) / seconds
    return Fit(loop.weights(), history, seconds, compile_seconds, rows_per_second)


class _Loop:
    """One run's data, state and shapes, and the calls of its programs."""

    def __init__(
        self,
        method: AnyMethod,
        x: np.ndarray | Array,
        validation: np.ndarray | Array | None,
    ):
        self.method = method
        self.x: Array = jax.device_put(x)
        self.validation: Array | None = None if validation is None else jax.device_put(validation)
        self.seed = np.uint32(method.hyperparameters.seed)
        self.batch_size: int = min(method.hyperparameters.batch_size, len(x))
        self.steps_per_epoch = steps_per_epoch(len(x), self.batch_size)
        self.steps: int = self.steps_per_epoch * method.hyperparameters.epochs
        self.state = empty_state(method, x.shape[1])
        self.chunk = chunk_length(self.state, self.batch_size)

    def compile(self) -> float:
        """Compiles the programs by calling them with nothing to do; returns the seconds."""
        started = time.perf_counter()
        self.dispatch(0, 0)
        wait((self.state, self.validation_loss()))
        return time.perf_counter() - started

    def run(self) -> Iterator[tuple[int, float, list[EpochMetrics]]]:
        """Yields, chunk by chunk, the steps taken, the last loss and the finished epochs."""
        means = EpochMeans(len(self.x), self.batch_size)
        every = None if self.validation is None else self.steps_per_epoch
        dispatched: tuple[int, Metrics, Array | None] | None = None
        for first, stop in chunks(self.steps, self.chunk, stop_every=every):
            metrics = self.dispatch(first, stop)
            at_epoch_end = stop % self.steps_per_epoch == 0
            held_out = self.validation_loss() if at_epoch_end else None
            if dispatched:
                yield collect(means, *dispatched)
            dispatched = stop - first, metrics, held_out
        wait(self.state)
        if dispatched:
            yield collect(means, *dispatched)

    def dispatch(self, first: int, stop: int) -> Metrics:
        """Starts a chunk of steps on the device and returns the metrics to come."""
        metrics: Metrics
        self.state, metrics = run_steps(
            self.method,
            self.seed,
            self.state,
            self.x,
            first,
            stop,
            batch_size=self.batch_size,
            chunk=self.chunk,
        )
        return metrics

    def validation_loss(self) -> Array | None:
        """Starts computing the loss of the rows held out, where there are any."""
        if self.validation is None:
            return None
        loss: Array = validation_loss(
            self.method,
            self.seed,
            self.state.params,
            self.validation,
            batch_size=self.batch_size,
        )
        return loss

    def rows_until(self, step: int) -> int:
        """Counts the rows trained on before a step, which is not always a multiple of a batch."""
        epochs, steps = divmod(step, self.steps_per_epoch)
        return epochs * len(self.x) + steps * self.batch_size

    def weights(self) -> dict[str, np.ndarray]:
        """Returns the trained weights, completed by what the method's score needs."""
        params = {name: np.asarray(array) for name, array in self.state.params.items()}
        return complete_weights(self.method, params, self.x)


def chunks(steps: int, chunk: int, *, stop_every: int | None) -> Iterator[tuple[int, int]]:
    """Yields the first and last step of each chunk of steps to dispatch.

    Args:
        steps: in the whole run.
        chunk: most steps in a chunk.
        stop_every: steps after which a chunk ends in any case, such as an epoch's.
    """
    first = 0
    while first < steps:
        stop = min(first + chunk, steps)
        if stop_every is not None:
            stop = min(stop, (first // stop_every + 1) * stop_every)
        yield first, stop
        first = stop


def complete_weights(
    method: AnyMethod, params: dict[str, np.ndarray], x: Array
) -> dict[str, np.ndarray]:
    """Returns trained weights together with those that the method's score needs.

    Args:
        method: that was trained.
        params: trained weights by name.
        x: all training rows, `[rows, D]`.
    """
    reference = np.asarray(reference_rows(x))
    statistics = method.score_statistics(
        lambda: map_rows(method, "embed", params, reference, input_dim=x.shape[1])
    )
    return params | statistics


def collect(
    means: EpochMeans,
    steps: int,
    metrics: Mapping[str, np.ndarray | Array],
    held_out: np.ndarray | Array | None,
) -> tuple[int, float, list[EpochMetrics]]:
    """Adds a chunk of steps to a run's means.

    Args:
        means: of the run.
        steps: in the chunk.
        metrics: of the steps, at least `steps` of each.
        held_out: loss of the rows held out after the chunk's last step, an epoch's last as well.

    Returns:
        The steps taken since the run's first, the last one's loss, and the finished epochs.

    Raises:
        DivergedError: a loss is infinite or NaN.
    """
    values = {name: np.asarray(array)[:steps] for name, array in metrics.items()}
    finished = list(means.add(values))
    if held_out is not None:
        loss = float(held_out)
        if not math.isfinite(loss):
            raise DivergedError(
                f"the validation loss is not finite at epoch {finished[-1]['epoch']}; a row held "
                "out may be far outside the training data"
            )
        finished[-1]["validation_loss"] = loss
    return means.step, float(values["loss"][-1]), finished


def check_data(x: np.ndarray | Array, validation: np.ndarray | Array | None) -> None:
    """Raises a ValueError where rows are no matrix of finite floats, or have other features."""
    _check_rows("x", x)
    if validation is not None:
        _check_rows("validation", validation)
        if validation.shape[1] != x.shape[1]:
            raise ValueError(f"validation has {validation.shape[1]} features, x {x.shape[1]}")


def _check_rows(name: str, rows: np.ndarray | Array) -> None:
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(f"{name} has shape {rows.shape}; training needs a matrix of rows")
    if not np.issubdtype(rows.dtype, np.floating):
        raise ValueError(f"{name} has dtype {rows.dtype}; training needs floats, standardised")
    wrong = np.argwhere(~np.isfinite(np.asarray(rows)))
    if len(wrong):
        row, column = wrong[0]
        raise ValueError(
            f"{name} holds {rows[row, column]} at row {row}, column {column}, and {len(wrong)} "
            "such values in all; fill them in or leave the rows out"
        )


def wait(tree: Any) -> None:
    """Returns once all arrays of a tree are computed."""
    for array in jax.tree.leaves(tree):
        array.block_until_ready()
