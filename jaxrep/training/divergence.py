"""What is said of a training whose loss is no longer finite."""

import numpy as np

from jaxrep.errors import DivergedError
from jaxrep.shuffle import grid
from jaxrep.training.epoch_plan import EpochPlan
from jaxrep.training.step import StepIndex, batch_rows, step_keys, streams

_ROWS_NAMED = 8


def explained(
    error: DivergedError, plan: EpochPlan, *, seed: int, kept: int, is_one_of_many: bool
) -> DivergedError:
    """Returns an error that also names the rows of the batch, and the last good state.

    Args:
        error: of a step of the run.
        plan: of the run.
        seed: of the member whose loss it was.
        kept: steps after which the state is kept; 0 where none is.
        is_one_of_many: whether other members train with it.
    """
    assert error.step is not None
    rows = _rows_of(error.step, plan, seed)
    named = ", ".join(str(row) for row in rows[:_ROWS_NAMED].tolist())
    more = f" and {len(rows) - _ROWS_NAMED} more" if len(rows) > _ROWS_NAMED else ""
    whose = f"of the member with seed {seed} " * is_one_of_many
    text = f"{error}. The batch {whose}holds the training rows {named}{more}, counted from 0"
    if kept:
        text += f"; the state after {kept} steps, the last good one, is kept"
    return DivergedError(text, step=error.step, rows=rows.tolist())


def of_member(error: DivergedError, seed: int) -> DivergedError:
    """Returns an error that also says which of the members that train together it is of."""
    return DivergedError(f"{error} (of the member with seed {seed})", step=error.step)


def _rows_of(step: int, plan: EpochPlan, seed: int) -> np.ndarray:
    """Returns the indices of the training rows in a step's batch."""
    chunk = next(plan.chunks(step, 1))
    at = StepIndex(*divmod(chunk.number, plan.steps_per_block))
    order = step_keys(streams(seed), at).order
    rows, inside = batch_rows(order, at.step, grid(plan.rows_of(chunk.block)), plan.batch_size)
    found = np.asarray(rows)[np.asarray(inside)]
    return np.sort(found.astype(np.int64)) + chunk.block * plan.rows_per_block
