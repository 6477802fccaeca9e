"""Means over an epoch, from the metrics of its steps."""

import math
from collections.abc import Iterator, Mapping

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
    data: EpochMetrics = strict_json.loads(text)
    strict_json.convert(data, _EpochAndLoss)
    strict_json.convert(data, dict[str, float])
    return data  # as it was written: the epoch stays an int


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

    def add(self, metrics: Mapping[str, np.ndarray]) -> Iterator[EpochMetrics]:
        """Takes the metrics of the steps that follow, and yields the epochs that are finished.

        Args:
            metrics: one value a step, by name; `loss` among them.

        Yields:
            `epoch`, counted from 1, and the mean of each metric over its rows.

        Raises:
            DivergedError: a loss is infinite or NaN; `step` is the number of that step.
        """
        names = sorted(metrics, key=lambda name: (name != "loss", name))
        columns = [metrics[name].tolist() for name in names]
        counts = self._plan.counts(self.step, self.step + len(columns[0])).tolist()
        for count, *values in zip(counts, *columns, strict=True):
            epoch, step = divmod(self.step, self._plan.steps_per_epoch)
            for name, value in zip(names, values, strict=True):
                self.sums[name] = self.sums.get(name, 0.0) + count * value
            if not math.isfinite(self.sums["loss"]):
                raise DivergedError(
                    f"the loss is no longer finite, at epoch {epoch + 1}, step {step + 1} of "
                    f"{self._plan.steps_per_epoch}; a smaller learning rate may help",
                    step=self.step,
                )
            self.step += 1
            if step + 1 == self._plan.steps_per_epoch:
                rows, sums, self.sums = self._plan.rows, self.sums, {}
                yield {"epoch": epoch + 1, **{name: total / rows for name, total in sums.items()}}


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
