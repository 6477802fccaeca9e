"""When a run sees which rows: blocks, batches, epochs, and the chunks that the host dispatches.

Rows in memory are one block. A table that is larger is read block by block, the blocks in another
order every epoch, the rows shuffled inside. All of it is a function of the seed, the epoch and the
step: a run resumed at any step sees what it would have seen.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from jaxrep.hyperparameters import STEPS_BY_RULE
from jaxrep.training.step import steps_per_epoch


@dataclass(frozen=True)
class Chunk:
    """Steps to dispatch at once."""

    first: int
    """Number of the first step in the run."""

    stop: int
    """Number of the step after the last."""

    block: int
    """The block whose rows the steps see."""

    number: int
    """Of the first step, as the compiled program counts them: block epoch · steps of a block + step
    in the block epoch. Where there is one block, that is the number in the run."""


@dataclass(frozen=True)
class EpochPlan:
    """The steps of a run.

    Example:
        >>> plan = EpochPlan(rows=10, batch_size=2, epochs=3, block_rows=4)
        >>> plan.blocks, plan.steps_per_epoch, plan.steps
        (3, 5, 15)
        >>> plan.counts(0, 5).tolist()
        [2, 2, 2, 2, 2]
    """

    rows: int
    """Training rows."""

    batch_size: int
    """Rows in a batch; the last one of a block may hold fewer."""

    epochs: int = 1
    """Passes over the rows, where `limit` is 0; 0: as many steps as `STEPS_BY_RULE` says."""

    seed: int = 0
    """Decides the order of the blocks."""

    block_rows: int | None = None
    """Rows in a block, a multiple of `batch_size`; the last block may hold fewer. None: all."""

    limit: int = 0
    """Steps in the run, which may end within an epoch; 0 for as many as the epochs have."""

    def __post_init__(self) -> None:
        """Refuses what the compiled program cannot count."""
        if self.block_rows is not None and self.block_rows % self.batch_size:
            raise ValueError(f"block_rows {self.block_rows} is not a multiple of {self.batch_size}")
        begun = -(-self.steps // self.steps_per_epoch)
        if (begun + 1) * self.blocks * self.steps_per_block >= 2**31:
            raise ValueError(
                f"{begun} epochs of {self.rows} rows are more than 2^31 steps of "
                f"{self.batch_size} rows; choose fewer epochs or a larger batch_size"
            )

    @property
    def blocks(self) -> int:
        """Blocks in the table."""
        return -(-self.rows // self.rows_per_block)

    @property
    def rows_per_block(self) -> int:
        """Rows in every block but the last."""
        return min(self.block_rows or self.rows, self.rows)

    @property
    def steps_per_block(self) -> int:
        """Steps in every block but the last."""
        return steps_per_epoch(self.rows_per_block, self.batch_size)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in a pass over all rows."""
        return steps_per_epoch(self.rows, self.batch_size)

    @property
    def steps(self) -> int:
        """Steps in the run."""
        if self.limit or self.epochs:
            return self.limit or self.steps_per_epoch * self.epochs
        epochs, least, most = STEPS_BY_RULE
        return min(max(epochs * self.steps_per_epoch, least), most)

    def rows_of(self, block: int) -> int:
        """Returns the number of rows in a block."""
        return min(self.rows_per_block, self.rows - block * self.rows_per_block)

    def order(self, epoch: int) -> list[int]:
        """Returns the blocks in the order in which an epoch, counted from 0, visits them."""
        return _order(self.seed, epoch, self.blocks)

    def counts(self, first: int, stop: int) -> np.ndarray:
        """Returns the rows in each of the steps from `first` up to, not including, `stop`."""
        epochs, steps = np.divmod(np.arange(first, stop), self.steps_per_epoch)
        counts = np.full(stop - first, self.batch_size)
        if missing := self.steps_per_epoch * self.batch_size - self.rows:
            for epoch in np.unique(epochs):
                last = self.order(int(epoch)).index(self.blocks - 1) * self.steps_per_block
                last += steps_per_epoch(self.rows_of(self.blocks - 1), self.batch_size) - 1
                counts[(epochs == epoch) & (steps == last)] -= missing
        return counts

    def rows_until(self, step: int) -> int:
        """Counts the rows trained on before a step."""
        epochs, steps = divmod(step, self.steps_per_epoch)
        return epochs * self.rows + int(self.counts(step - steps, step).sum())

    def chunks(
        self,
        first: int,
        length: int,
        end: int | None = None,
        *,
        stop_every: int | None = None,
    ) -> Iterator[Chunk]:
        """Yields the chunks from a step to the end of the run.

        Args:
            first: number of the step to begin with.
            length: most steps in a chunk.
            end: number of the step to end before; by default that after the run's last.
            stop_every: steps after which a chunk ends in any case, such as an epoch's.
        """
        end = self.steps if end is None else min(end, self.steps)
        while first < end:
            block_epoch = self._block_epoch(first)
            stop = min(first + length, end if self.blocks == 1 else min(end, block_epoch.stop))
            if stop_every is not None:
                stop = min(stop, (first // stop_every + 1) * stop_every)
            yield Chunk(
                first, stop, block_epoch.block, block_epoch.number + first - block_epoch.first
            )
            first = stop

    def _block_epoch(self, step: int) -> Chunk:
        """Returns all steps of the block epoch that a step is in."""
        epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
        first = epoch * self.steps_per_epoch
        for i, block in enumerate(self.order(epoch)):
            stop = first + steps_per_epoch(self.rows_of(block), self.batch_size)
            if step < stop:
                number = (epoch * self.blocks + i) * self.steps_per_block
                return Chunk(first, stop, block, number)
            first = stop
        raise AssertionError(f"step {step_in_epoch} is not in its epoch")


@functools.lru_cache(maxsize=8)
def _order(seed: int, epoch: int, blocks: int) -> list[int]:
    if blocks == 1:
        return [0]
    # numpy promises that a bit generator gives the same words in every version.
    words = np.random.Philox(key=[seed, epoch]).random_raw(blocks)
    return [int(block) for block in np.argsort(words, kind="stable")]
