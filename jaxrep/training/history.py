"""Means over an epoch, from the metrics of its steps."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from jax import Array

from jaxrep import strict_json
from jaxrep.errors import DivergedError
from jaxrep.training.epoch_plan import EpochPlan

EpochMetrics = dict[str, float]


class _EpochAndLoss(msgspec.Struct):
    epoch: int
    loss: float


def read_metrics(text: bytes | str) -> EpochMetrics:
    """Returns the metrics of an epoch from a line of JSON.

    Raises:
        ValueError: it is something else.

    Example:
        >>> read_metrics('{"epoch": 1, "loss": 0.5}')
        {'epoch': 1, 'loss': 0.5}
        >>> read_metrics('{"epoch": 1, "loss": null}')
        Traceback (most recent call last):
        ...
        ValueError: Expected `float`, got `null` - at `$.loss`
    """
    return check_metrics(strict_json.loads(text))


def check_metrics(data: Any) -> EpochMetrics:
    """Returns what JSON says if it is the metrics of an epoch; else raises a ValueError."""
    strict_json.convert(data, _EpochAndLoss)
    strict_json.convert(data, dict[str, float])
    found: EpochMetrics = data  # as it was written: the epoch stays an int
    return found


def mean_epochs(of_members: Sequence[Sequence[EpochMetrics]]) -> list[EpochMetrics]:
    """Returns the metrics of epochs as means over the members that have finished them.

    Args:
        of_members: the epochs of each.

    Example:
        >>> mean_epochs([[{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 1.0}],
        ...     [{"epoch": 1, "loss": 2.0}]])
        [{'epoch': 1, 'loss': 1.5}, {'epoch': 2, 'loss': 1.0}]
    """
    by_epoch: dict[float, list[EpochMetrics]] = {}
    for epochs in of_members:
        for metrics in epochs:
            by_epoch.setdefault(metrics["epoch"], []).append(metrics)
    return [{"epoch": epoch} | mean_metrics(found) for epoch, found in sorted(by_epoch.items())]


def mean_metrics(of_members: Sequence[EpochMetrics]) -> EpochMetrics:
    """Returns the means of metrics over members, without the number of the epoch.

    Args:
        of_members: of an epoch of each, with the same names.

    Example:
        >>> mean_metrics([{"epoch": 3, "loss": 1.0}, {"epoch": 5, "loss": 2.0}])
        {'loss': 1.5}
    """
    return {
        name: sum(metrics[name] for metrics in of_members) / len(of_members)
        for name in of_members[0]
        if name != "epoch"
    }


class EpochMeans:
    """Collects the metrics of steps and gives back the means of the epochs they finish.

    Batches are weighted by their rows, so the last, smaller one counts for what it is. Steps are
    added one by one in float64: how they were cut into chunks does not change a bit.

    Args:
        plan: says how many rows each step has.
        step: number of the step that comes first.
        sums: of the epoch that this step is in, over the steps before it; as `sums` gave them.

    Example:
        >>> means = EpochMeans(EpochPlan(rows=3, batch_size=2))
        >>> list(means.add({"loss": np.array([1.0, 4.0, 5.0])}))
        [{'epoch': 1, 'loss': 2.0}]
        >>> means.step, means.sums
        (3, {'loss': 10.0})
    """

    def __init__(self, plan: EpochPlan, step: int = 0, sums: Mapping[str, float] | None = None):
        self.step = step
        self.sums = dict(sums or {})
        self._plan = plan

    def under_way(self) -> list[EpochMetrics]:
        """Returns the metrics of the epoch under way over its rows so far; none before its first.

        Example:
            >>> means = EpochMeans(EpochPlan(rows=3, batch_size=2))
            >>> _ = list(means.add({"loss": np.array([1.0])}))
            >>> means.under_way()
            [{'epoch': 1, 'loss': 1.0}]
        """
        epoch, steps = divmod(self.step, self._plan.steps_per_epoch)
        rows = int(self._plan.counts(self.step - steps, self.step).sum())
        return [_mean(epoch, self.sums, rows)] if self.sums else []

    def add(self, metrics: Mapping[str, np.ndarray]) -> Iterator[EpochMetrics]:
        """Takes the metrics of the steps that follow, and yields the epochs that are finished.

        Args:
            metrics: one value a step, by name; `loss` among them.

        Yields:
            `epoch`, counted from 1, and the mean of each metric over its rows.

        Raises:
            DivergedError: a metric is infinite or NaN; `step` is the number of that step.
        """
        names = sorted(metrics, key=lambda name: (name != "loss", name))
        columns = [metrics[name].tolist() for name in names]
        counts = self._plan.counts(self.step, self.step + len(columns[0])).tolist()
        for count, *values in zip(counts, *columns, strict=True):
            epoch, step = divmod(self.step, self._plan.steps_per_epoch)
            for name, value in zip(names, values, strict=True):
                self.sums[name] = self.sums.get(name, 0.0) + count * value
            bad = [name for name in names if not math.isfinite(self.sums[name])]
            if bad:
                raise DivergedError(
                    f"the {bad[0]} is no longer finite, at epoch {epoch + 1}, step {step + 1} of "
                    f"{self._plan.steps_per_epoch}; a smaller learning rate may help",
                    step=self.step,
                )
            self.step += 1
            if step + 1 == self._plan.steps_per_epoch:
                sums, self.sums = self.sums, {}
                yield _mean(epoch, sums, self._plan.rows)


def _mean(epoch: int, sums: Mapping[str, float], rows: int) -> EpochMetrics:
    return {"epoch": epoch + 1, **{name: total / rows for name, total in sums.items()}}


class History:
    """The epochs of one training: their metrics, the best of them, and whether it has ended.

    Args:
        plan: of its steps.
        patience: epochs without a lower validation loss after which it stops; 0 never.
        step: number of the step that comes first.
        sums: of the epoch that this step is in, as `sums` gave them.
        epochs: that are finished.

    Example:
        >>> history = History(EpochPlan(rows=2, batch_size=2, epochs=9), patience=2)
        >>> for loss in (3.0, 1.0, 2.0, 1.0, 0.0):
        ...     _ = history.add(1, {"loss": np.array([loss])}, np.float32(loss))
        >>> history.best_epoch, history.stopped_epoch, len(history.epochs)
        (2, 4, 4)
    """

    def __init__(
        self,
        plan: EpochPlan,
        *,
        patience: int = 0,
        step: int = 0,
        sums: Mapping[str, float] | None = None,
        epochs: Iterable[EpochMetrics] = (),
    ):
        self.epochs: list[EpochMetrics] = []
        self.best_epoch = 0
        """That of the lowest validation loss, of equal ones the first; 0 before there is one."""
        self.stopped_epoch = 0
        """The one after which patience was at its end; 0 as long as it is not."""
        self.divergence: DivergedError | None = None
        """Why the training has ended before its time, if it has."""
        self._patience, self._means = patience, EpochMeans(plan, step, sums)
        for metrics in epochs:
            self._append(metrics)

    @property
    def sums(self) -> Mapping[str, float]:
        """Of the epoch under way, as of `EpochMeans`."""
        return self._means.sums

    def so_far(self) -> list[EpochMetrics]:
        """Returns the epochs, and where one is under way its metrics so far."""
        return [*self.epochs, *([] if self.has_ended else self._means.under_way())]

    @property
    def best_loss(self) -> float:
        """The lowest validation loss; infinite before there is one."""
        return self.epochs[self.best_epoch - 1]["validation_loss"] if self.best_epoch else math.inf

    @property
    def has_ended(self) -> bool:
        """Whether the steps that come change nothing any more."""
        return self.stopped_epoch > 0 or self.divergence is not None

    def add(
        self,
        steps: int,
        metrics: Mapping[str, np.ndarray | Array],
        held_out: np.ndarray | Array | None,
    ) -> list[EpochMetrics]:
        """Takes a chunk of steps, and returns the epochs that it has finished.

        Args:
            steps: in the chunk.
            metrics: of the steps, at least `steps` of each.
            held_out: loss of the rows held out after the chunk's last step, the last one of the
                one epoch that the chunk finishes.
        """
        known = len(self.epochs)
        if not self.has_ended:
            values = {name: np.asarray(array)[:steps] for name, array in metrics.items()}
            try:
                for epoch in self._means.add(values):
                    if held_out is not None:
                        epoch["validation_loss"] = _finite(held_out, epoch["epoch"])
                    self._append(epoch)
            except DivergedError as error:
                self.divergence = error
        return self.epochs[known:]

    def _append(self, metrics: EpochMetrics) -> None:
        self.epochs.append(metrics)
        if "validation_loss" not in metrics or self.stopped_epoch:
            return
        epoch = len(self.epochs)
        if metrics["validation_loss"] < self.best_loss:
            self.best_epoch = epoch
        if 0 < self._patience <= epoch - self.best_epoch:
            self.stopped_epoch = epoch


def _finite(held_out: np.ndarray | Array, epoch: float) -> float:
    loss = float(held_out)
    if not math.isfinite(loss):
        raise DivergedError(
            f"the validation loss is not finite at epoch {epoch}; a row held out may be far "
            "outside the training data"
        )
    return loss
