"""States of members on the host: where trainings begin, and whether they are still numbers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxrep.training.history import History
from jaxrep.training.program import Kept
from jaxrep.training.snapshot import Snapshot
from jaxrep.training.step import TrainState


def stacked(state: TrainState, members: int) -> TrainState:
    """Returns a state once for every member, along a new first axis."""
    repeated: TrainState = jax.tree.map(
        lambda array: np.repeat(array[None], members, axis=0), state
    )
    return repeated


def with_given(state: TrainState, weights: Mapping[str, np.ndarray] | None) -> TrainState:
    """Returns a state with other weights, given by name; there may be more of them.

    Raises:
        ValueError: one is missing or of another shape.
    """
    if weights is None:
        return state

    def given(empty: Mapping[str, Any]) -> dict[str, Any]:
        for name, array in empty.items():
            if name not in weights or weights[name].shape != array.shape:
                raise ValueError(f"weights have no {name} of shape {array.shape}, as the model has")
        return {name: np.asarray(weights[name], array.dtype) for name, array in empty.items()}

    return state._replace(params=given(state.params), model_state=given(state.model_state))


def kept_until(
    start: Snapshot | None,
    histories: Sequence[History],
    nothing: TrainState,
    has_patience: bool,
) -> Kept:
    """Returns what `program.validate` has kept of the epochs of a snapshot.

    Args:
        start: the snapshot; None before the first epoch.
        histories: of its members.
        nothing: a state of zeros of theirs, for what is not kept yet.
        has_patience: whether a member has.
    """
    best, last = nothing.weights, nothing
    if start is not None:
        # As long as a member trains, validation overwrites its last state.
        best, last = start.best or best, start.last or start.state
    return Kept(
        best=best,
        loss=np.array([history.best_loss for history in histories], np.float32),
        epoch=np.array([history.best_epoch for history in histories], np.int32),
        last=last if has_patience else (),
        stopped=np.array([history.stopped_epoch for history in histories], np.int32),
    )


def are_finite(arrays: Iterable[Any]) -> bool:
    """Says whether all numbers of some arrays are finite."""
    return all(np.isfinite(array).all() for array in arrays)
