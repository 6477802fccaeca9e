"""What hears of a training as it goes: progress bars, loggers, and those of one's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxrep.training.history import EpochMetrics


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


class Callback:
    """Hears of a training as it goes; a subclass overrides what it wants to hear of.

    The host calls it between two chunks of steps, while the devices compute the next, with plain
    numbers: nothing that it does changes a number of the training, and what it takes longer than a
    chunk the devices wait. In a job of several processes the first alone has callbacks. Of members
    that train together, metrics are means.

    Example:
        >>> import numpy as np
        >>> from jaxrep.methods import VAE, VAEHyperparameters
        >>> from jaxrep.training import fit
        >>> class Losses(Callback):
        ...     def __init__(self):
        ...         self.by_step, self.epochs = [], 0
        ...     def on_step(self, step, metrics):
        ...         self.by_step.append(metrics["loss"])
        ...     def on_epoch(self, metrics):
        ...         self.epochs += 1
        >>> heard = Losses()
        >>> x = np.random.default_rng(0).normal(size=(256, 4)).astype(np.float32)
        >>> run = fit(VAE(VAEHyperparameters(epochs=3, steps=0)), x, callbacks=[heard])
        >>> len(heard.by_step), heard.epochs
        (6, 3)
    """

    def on_progress(self, progress: Progress) -> None:
        """Called after each chunk of steps: some times a second."""

    def on_step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Called for each step: up to 100,000 times a second, so it should be short.

        Args:
            step: its number in the run, from 0.
            metrics: the loss before it, and the method's metrics.
        """

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Called after each epoch.

        Args:
            metrics: its number from 1 as `epoch`, means over its rows of `loss` and the method's
                metrics, and `validation_loss` where rows are held out.
        """

    def on_save(self, step: int, folder: Path) -> None:
        """Called when a checkpoint is whole on the disk.

        Args:
            step: steps taken.
            folder: of the checkpoint; a later one may remove it.
        """


def tell_of_steps(
    callbacks: Sequence[Callback], first: int, metrics: Mapping[str, np.ndarray]
) -> None:
    """Calls those callbacks that have an `on_step` of their own.

    Args:
        callbacks: of a training.
        first: number of the first step.
        metrics: of each step, by name.
    """
    listening = [one for one in callbacks if type(one).on_step is not Callback.on_step]
    if not listening:
        return
    names, columns = list(metrics), [array.tolist() for array in metrics.values()]
    for step, values in enumerate(zip(*columns, strict=True), start=first):
        for callback in listening:
            callback.on_step(step, dict(zip(names, values, strict=True)))
