"""Where a run's rows are: on the devices, or in a file that is read block by block."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, runtime_checkable

import numpy as np
from jax import Array

from jaxrep.training.devices import Devices
from jaxrep.training.epoch_plan import Chunk, EpochPlan
from jaxrep.training.program import MAX_BACKGROUND_ROWS, background_rows

BLOCK_BYTES = 64 << 20


@runtime_checkable
class RowStore(Protocol):
    """Standardised rows that are read when they are needed, such as a prepared table's."""

    @property
    def rows(self) -> int:
        """Rows in the store."""

    @property
    def width(self) -> int:
        """Features of a row, D."""

    def read_into(self, start: int, buffer: np.ndarray) -> None:
        """Fills a float32 buffer `[n, D]` with the rows from `start` on."""

    def sample(self, count: int) -> np.ndarray:
        """Returns at most `count` rows, evenly spaced, `[n, D]`."""


class RowSource(Protocol):
    """A run's rows on its devices, whether all of them are there or come block by block."""

    rows: int
    """Training rows."""

    width: int
    """Features of a row, D."""

    block_rows: int | None
    """Rows in a block; None where all rows are one."""

    background: Array
    """Rows that views may take values from, `[R, D]`, whole on every device."""

    def at(self, chunk: Chunk, plan: EpochPlan) -> Array:
        """Returns the rows that a chunk of steps sees."""

    def like(self, block: int, plan: EpochPlan) -> Array:
        """Returns rows of a block's shape to compile a program with."""


class Resident:
    """Rows that are all on the devices, a part on each.

    Args:
        x: the rows, `[rows, D]`, the same in all processes.
        devices: that train together.
    """

    block_rows: int | None = None

    def __init__(self, x: np.ndarray | Array, devices: Devices):
        self.rows: int = x.shape[0]
        self.width: int = x.shape[1]
        self._x = devices.shard_rows(x)
        there = devices.count == 1 and self.rows <= MAX_BACKGROUND_ROWS
        self.background: Array = self._x if there else devices.put(background_rows(np.asarray(x)))

    def at(self, chunk: Chunk, plan: EpochPlan) -> Array:
        """Returns all rows."""
        return self._x

    def like(self, block: int, plan: EpochPlan) -> Array:
        """Returns all rows."""
        return self._x


class Streamed:
    """Rows that come block by block; while the devices work on one, the next is read.

    Args:
        store: holds the rows; each process reads its part of every block alone.
        batch_size: B, of which a block holds a multiple.
        devices: that train together.
    """

    def __init__(self, store: RowStore, batch_size: int, devices: Devices):
        self.rows, self.width, self._store = store.rows, store.width, store
        batches = BLOCK_BYTES // (4 * store.width * batch_size)
        self.block_rows: int | None = max(batches, 1) * batch_size
        self.background: Array = devices.put(store.sample(MAX_BACKGROUND_ROWS))
        self._devices = devices
        self._reader = ThreadPoolExecutor(1, "jaxrep-reader")
        self._block_epoch = -1
        self._block: Array | None = None
        self._ahead: tuple[int, Future[Array]] | None = None

    def at(self, chunk: Chunk, plan: EpochPlan) -> Array:
        """Returns the rows that a chunk of steps sees, and has those of the next block read."""
        block_epoch = chunk.number // plan.steps_per_block
        if block_epoch != self._block_epoch or self._block is None:
            self._block = None  # its memory is wanted for what comes
            block = self._read_ahead(block_epoch, plan).result()
            self._block_epoch, self._block, self._ahead = block_epoch, block, None
            begun = -(-plan.steps // plan.steps_per_epoch)
            if block_epoch + 1 < begun * plan.blocks:
                self._read_ahead(block_epoch + 1, plan)
        return self._block

    def like(self, block: int, plan: EpochPlan) -> Array:
        """Returns zeros."""
        return self._devices.put_rows(plan.rows_of(block), self.width, _fill_with_zeros)

    def _read_ahead(self, block_epoch: int, plan: EpochPlan) -> Future[Array]:
        if self._ahead is None or self._ahead[0] != block_epoch:
            epoch, place = divmod(block_epoch, plan.blocks)
            block = plan.order(epoch)[place]
            self._ahead = block_epoch, self._reader.submit(self._read, block, plan)
        return self._ahead[1]

    def _read(self, block: int, plan: EpochPlan) -> Array:
        first = block * plan.rows_per_block

        def read(start: int, buffer: np.ndarray) -> None:
            self._store.read_into(first + start, buffer)

        rows = self._devices.put_rows(plan.rows_of(block), self.width, read)
        return rows.block_until_ready()


def _fill_with_zeros(start: int, buffer: np.ndarray) -> None:
    buffer[:] = 0


def place(x: np.ndarray | Array | RowStore, batch_size: int, devices: Devices) -> RowSource:
    """Returns rows as a run takes them: on the devices, or to be read block by block."""
    if isinstance(x, np.ndarray | Array):
        return Resident(x, devices)
    return Streamed(x, min(batch_size, x.rows), devices)


def check_data(x: np.ndarray | Array | RowStore, validation: np.ndarray | Array | None) -> None:
    """Raises a ValueError where rows are no matrix of finite floats, or have other features."""
    width = x.shape[1:] if isinstance(x, np.ndarray | Array) else (x.width,)
    if isinstance(x, np.ndarray | Array):
        _check_rows("x", x)
    if validation is not None:
        _check_rows("validation", validation)
        if validation.shape[1:] != width:
            raise ValueError(f"validation has {validation.shape[1]} features, x {width[0]}")


def _check_rows(name: str, rows: np.ndarray | Array) -> None:
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(f"{name} has shape {rows.shape}; training needs a matrix of rows")
    if not np.issubdtype(rows.dtype, np.floating):
        raise ValueError(f"{name} has dtype {rows.dtype}; training needs floats, standardised")
    wrong = np.argwhere(~np.isfinite(np.asarray(rows)))
    if len(wrong):
        row, column = wrong[0]
        raise ValueError(
            f"{name} holds {rows[row, column]} at row {row}, column {column}, and {len(wrong)} "
            "such values in all; fill them in or leave the rows out"
        )
