"""Means over an epoch, from the metrics of its steps."""

import math
from collections.abc import Iterator, Mapping

import numpy as np

from jaxrep.errors import DivergedError
from jaxrep.training.step import steps_per_epoch

EpochMetrics = dict[str, float]


class EpochMeans:
    """Collects the metrics of steps and gives back the means of the epochs they finish.

    Batches are weighted by their rows, so the last, smaller one counts for what it is. Steps are
    added one by one in float64: how they were cut into chunks does not change a bit.

    Args:
        rows: training rows.
        batch_size: rows in a batch.

    Example:
        >>> means = EpochMeans(rows=3, batch_size=2)
        >>> list(means.add({"loss": np.array([1.0, 4.0, 5.0])}))
        [{'epoch': 1, 'loss': 2.0}]
    """

    def __init__(self, rows: int, batch_size: int):
        self.step = 0
        self._rows = rows
        self._batch_size = batch_size
        self._steps_per_epoch = steps_per_epoch(rows, batch_size)
        self._sums: dict[str, float] = {}

    def add(self, metrics: Mapping[str, np.ndarray]) -> Iterator[EpochMetrics]:
        """Takes the metrics of the steps that follow, and yields the epochs that are finished.

        Args:
            metrics: one value a step, by name; `loss` among them.

        Yields:
            `epoch`, counted from 1, and the mean of each metric over its rows.

        Raises:
            DivergedError: a loss is infinite or NaN.
        """
        names = sorted(metrics, key=lambda name: (name != "loss", name))
        for values in zip(*(metrics[name].tolist() for name in names), strict=True):
            epoch, step = divmod(self.step, self._steps_per_epoch)
            count = min(self._batch_size, self._rows - step * self._batch_size)
            for name, value in zip(names, values, strict=True):
                self._sums[name] = self._sums.get(name, 0.0) + count * value
            if not math.isfinite(self._sums["loss"]):
                raise DivergedError(
                    f"the loss is no longer finite, at epoch {epoch + 1}, step {step + 1} of "
                    f"{self._steps_per_epoch}; a smaller learning rate may help"
                )
            self.step += 1
            if step + 1 == self._steps_per_epoch:
                yield {"epoch": epoch + 1, **{k: v / self._rows for k, v in self._sums.items()}}
                self._sums = {}
