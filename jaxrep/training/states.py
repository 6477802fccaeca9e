"""States of members on the host: where trainings begin, and whether they are still numbers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxrep.batch import RowSpec
from jaxrep.methods._method import AnyMethod
from jaxrep.training.history import History
from jaxrep.training.program import Kept
from jaxrep.training.snapshot import Snapshot
from jaxrep.training.step import TrainState, init_state


def stacked(state: TrainState, members: int) -> TrainState:
    """Returns a state once for every member, along a new first axis."""
    repeated: TrainState = jax.tree.map(
        lambda array: np.repeat(array[None], members, axis=0), state
    )
    return repeated


def initial_states(
    methods: Sequence[AnyMethod], spec: RowSpec, weights: Mapping[str, np.ndarray]
) -> TrainState:
    """Returns the states of members before the first step, along a new first axis.

    Args:
        methods: of the members, each with a seed of its own.
        spec: what every row holds.
        weights: initial weights by name, the same for all; those not named are drawn.

    Raises:
        ValueError: as of `_with_given`.
    """
    begun = [
        _with_given(init_state(method, spec, method.hyperparameters.seed), weights)
        for method in methods
    ]
    states: TrainState = jax.tree.map(lambda *of_members: np.stack(of_members), *begun)
    return states


def _with_given(state: TrainState, weights: Mapping[str, np.ndarray]) -> TrainState:
    """Returns a state with some of its weights, or all, replaced by others, given by name.

    Raises:
        ValueError: the state has no weights of that name, or they are of another shape.
    """
    there = state.weights
    for name, array in weights.items():
        if name not in there or array.shape != there[name].shape:
            other = f"; its shape is {there[name].shape}" if name in there else ""
            raise ValueError(f"the model trains no {name} of shape {array.shape}{other}")
    given = {name: np.asarray(array, there[name].dtype) for name, array in weights.items()}
    return state.with_weights(given)


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
