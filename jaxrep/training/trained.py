"""What a training has come to, and its weights made complete."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jaxrep.batch import Batch, RowSpec
from jaxrep.inference import map_rows
from jaxrep.methods._members import join_members
from jaxrep.methods._method import AnyMethod, abstract_network
from jaxrep.training.history import EpochMetrics, mean_epochs, mean_metrics


@dataclass(frozen=True)
class Trained:
    """What a training, alone or as a member of many, has come to; or several that serve as one.

    Of several, metrics are means over the members.
    """

    weights: dict[str, np.ndarray]
    """The network's weights by name: where rows were held out, those after the epoch with the
    lowest validation loss, else those after the last step. Of K members each is `[K, ...]`. Of no
    use if it has diverged."""

    last_weights: dict[str, np.ndarray] | None
    """Those after the last step, where they are others."""

    epoch: int | list[int]
    """The one that `weights` are of; of several members, that of each."""

    metrics: EpochMetrics
    """Of that epoch, as in `history`."""

    last_epoch: int | list[int]
    """The one after which the training ended, perhaps in part; of several members, that of each."""

    last_metrics: EpochMetrics
    """Of that epoch."""

    history: list[EpochMetrics]
    """For each epoch its number from 1 as `epoch`, the means over rows of `loss` and the method's
    metrics, and `validation_loss` where rows were held out. If it has diverged, it ends early; if
    an epoch was under way at the end, its metrics are those of its rows so far."""

    steps: int
    """Steps taken, most of them by a member; of one that has diverged, those of the epochs in
    `history`."""

    rows: int
    """Rows trained on in them, each as often as it was, summed over the members."""

    stopped_early: bool
    """Whether `patience` ended the training; of several members, that of all."""

    diverged: bool
    """Whether a loss became infinite or NaN."""


def join(of_members: Sequence[Trained]) -> Trained:
    """Returns what several trainings, which serve as one, have come to; of one, its own.

    Args:
        of_members: of one method, in the order of their seeds.
    """
    first, *others = of_members
    if not others:
        return first
    last_weights = None
    if any(member.last_weights is not None for member in of_members):
        last_weights = join_members([m.last_weights or m.weights for m in of_members])
    return Trained(
        weights=join_members([member.weights for member in of_members]),
        last_weights=last_weights,
        epoch=[epoch for member in of_members for epoch in _as_list(member.epoch)],
        metrics=mean_metrics([member.metrics for member in of_members]),
        last_epoch=[epoch for member in of_members for epoch in _as_list(member.last_epoch)],
        last_metrics=mean_metrics([member.last_metrics for member in of_members]),
        history=mean_epochs([member.history for member in of_members]),
        steps=max(member.steps for member in of_members),
        rows=sum(member.rows for member in of_members),
        stopped_early=all(member.stopped_early for member in of_members),
        diverged=any(member.diverged for member in of_members),
    )


def _as_list(epoch: int | list[int]) -> list[int]:
    return epoch if isinstance(epoch, list) else [epoch]


def complete_weights(
    method: AnyMethod,
    trained: dict[str, np.ndarray],
    background: Batch,
    spec: RowSpec,
    *,
    fits_prior: bool = False,
) -> dict[str, np.ndarray]:
    """Returns trained weights together with those that the network's outputs need besides.

    Args:
        method: the trained method.
        trained: weights by name, as training left them.
        background: training rows, all or evenly spaced ones.
        spec: what every row holds.
        fits_prior: whether what new rows are drawn from is fitted as well, where there is such.
    """

    def compute(output: str, found: Mapping[str, np.ndarray] = {}) -> np.ndarray:
        result: np.ndarray = map_rows(method, output, trained | dict(found), background, spec)
        return result

    network = abstract_network(method, spec)
    fitted = network.fit_statistics(background, compute)
    return trained | fitted | (network.fit_prior(compute) if fits_prior else {})


def with_prior(method: AnyMethod, trained: Trained, background: Batch, spec: RowSpec) -> Trained:
    """Returns what a training has come to with what new rows are drawn from, which it was without.

    Args:
        method: the trained method.
        trained: a member of a sweep.
        background: as of `complete_weights`.
        spec: what every row holds.
    """
    served, last = trained.weights, trained.last_weights
    complete = functools.partial(
        complete_weights, method, background=background, spec=spec, fits_prior=True
    )
    return dataclasses.replace(
        trained, weights=complete(served), last_weights=None if last is None else complete(last)
    )
