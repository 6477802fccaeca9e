"""What a training has come to, and its weights made complete."""

from dataclasses import dataclass

import numpy as np

from jaxrep.batch import RowSpec
from jaxrep.inference import map_rows
from jaxrep.methods._method import AnyMethod, abstract_network
from jaxrep.training.history import EpochMetrics


@dataclass(frozen=True)
class Trained:
    """What a training, alone or as a member of many, has come to."""

    weights: dict[str, np.ndarray]
    """The network's weights by name: where rows were held out, those after the epoch with the
    lowest validation loss, else those after the last step. Of no use if it has diverged."""

    last_weights: dict[str, np.ndarray] | None
    """Those after the last step, where they are others."""

    epoch: int
    """The one that `weights` are of."""

    history: list[EpochMetrics]
    """For each epoch its number from 1 as `epoch`, the means over rows of `loss` and the method's
    metrics, and `validation_loss` where rows were held out. If it has diverged, it ends early; if
    an epoch was under way at the end, its metrics are those of its rows so far."""

    steps: int
    """Steps taken; of one that has diverged, those of the epochs in `history`."""

    rows: int
    """Rows trained on in them, each as often as it was."""

    stopped_early: bool
    """Whether `patience` ended the training."""

    diverged: bool
    """Whether a loss became infinite or NaN."""


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
