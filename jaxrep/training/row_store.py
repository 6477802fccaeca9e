"""Where a run's rows are: on the devices, or in a file that is read block by block."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, runtime_checkable

import jax
import numpy as np
from jax import Array

from jaxrep.batch import Batch, take
from jaxrep.dispatch import computing
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

    def at(self, chunk: Chunk, plan: EpochPlan) -> Batch:
        """Returns the rows that a chunk of steps sees."""

    def like(self, block: int, plan: EpochPlan) -> Batch:
        """Returns rows of a block's shape to compile a program with."""


class Resident:
    """Rows that are all on the devices, a part on each.

    Args:
        x: the rows, the same in all processes.
        devices: that train together.
    """

    block_rows: int | None = None

    def __init__(self, x: Batch, devices: Devices):
        self.rows, self.width = x.numbers.shape
        self._x: Batch = jax.tree.map(devices.shard_rows, x)
        there = devices.count == 1 and self.rows <= MAX_BACKGROUND_ROWS
        self.background: Array = (
            self._x.numbers if there else devices.put(background_rows(np.asarray(x.numbers)))
        )

    def at(self, chunk: Chunk, plan: EpochPlan) -> Batch:
        """Returns all rows."""
        return self._x

    def like(self, block: int, plan: EpochPlan) -> Batch:
        """Returns all rows."""
        return self._x


class Streamed:
    """Rows that come block by block; while the devices work on one, the next is read.

    Args:
        x: the rows, their numbers in a store, of which each process reads its part of every block
            alone; targets and weights, if there are any, are in memory.
        batch_size: B, of which a block holds a multiple.
        devices: that train together.
    """

    def __init__(self, x: Batch, batch_size: int, devices: Devices):
        store = numbers_of(x)
        assert isinstance(store, RowStore)
        self.rows, self.width, self._store = store.rows, store.width, store
        self._others = x._replace(numbers=None)  # type: ignore[arg-type]  # they come from the store
        batches = BLOCK_BYTES // (4 * store.width * batch_size)
        self.block_rows: int | None = max(batches, 1) * batch_size
        self.background: Array = devices.put(store.sample(MAX_BACKGROUND_ROWS))
        self._devices = devices
        self._reader = ThreadPoolExecutor(1, "jaxrep-reader")
        self._block_epoch = -1
        self._block: Batch | None = None
        self._ahead: tuple[int, Future[Batch]] | None = None

    def at(self, chunk: Chunk, plan: EpochPlan) -> Batch:
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

    def like(self, block: int, plan: EpochPlan) -> Batch:
        """Returns zeros, and the other parts of the first rows."""
        return self._put(plan.rows_of(block), 0, _fill_with_zeros)

    def _read_ahead(self, block_epoch: int, plan: EpochPlan) -> Future[Batch]:
        if self._ahead is None or self._ahead[0] != block_epoch:
            epoch, place = divmod(block_epoch, plan.blocks)
            block = plan.order(epoch)[place]
            self._ahead = block_epoch, self._reader.submit(self._read, block, plan)
        return self._ahead[1]

    @computing()  # in a thread of its own
    def _read(self, block: int, plan: EpochPlan) -> Batch:
        first = block * plan.rows_per_block

        def read(start: int, buffer: np.ndarray) -> None:
            self._store.read_into(first + start, buffer)

        rows = self._put(plan.rows_of(block), first, read)
        jax.block_until_ready(rows)  # type: ignore[no-untyped-call]
        return rows

    def _put(self, rows: int, first: int, read: Callable[[int, np.ndarray], None]) -> Batch:
        others = take(self._others, slice(first, first + rows))
        on_devices: Batch = jax.tree.map(self._devices.shard_rows, others)
        return on_devices._replace(numbers=self._devices.put_rows((rows, self.width), read))


def _fill_with_zeros(start: int, buffer: np.ndarray) -> None:
    buffer[:] = 0


def place(x: Batch, batch_size: int, devices: Devices) -> RowSource:
    """Returns rows as a run takes them: on the devices, or to be read block by block."""
    if isinstance(numbers_of(x), RowStore):
        return Streamed(x, min(batch_size, row_count(x)), devices)
    return Resident(x, devices)


def numbers_of(x: Batch) -> np.ndarray | Array | RowStore:
    """Returns the numbers of rows, of which those of a large table are in a store."""
    return x.numbers


def row_count(x: Batch) -> int:
    """Returns the number of rows, wherever they are."""
    numbers = numbers_of(x)
    return numbers.rows if isinstance(numbers, RowStore) else len(numbers)


def check_data(x: Batch, validation: Batch | None) -> None:
    """Checks rows to train on, and rows held out.

    Raises:
        ValueError: their numbers are no matrix of finite floats, they differ in their features or
            in the parts that they have, or targets or weights are not one finite number a row.
    """
    numbers = numbers_of(x)
    width = numbers.width if isinstance(numbers, RowStore) else numbers.shape[-1]
    _check_rows("x", x)
    if validation is None:
        return
    _check_rows("validation", validation)
    if validation.numbers.shape[1] != width:
        raise ValueError(f"validation has {validation.numbers.shape[1]} features, x {width}")
    parts = [
        {name for name, part in one._asdict().items() if part is not None}
        for one in (x, validation)
    ]
    if differ := sorted(parts[0] ^ parts[1]):
        raise ValueError(f"x and validation differ in whether they have {', '.join(differ)}")


def _check_rows(name: str, x: Batch) -> None:
    numbers = numbers_of(x)
    if not isinstance(numbers, RowStore):
        _check_numbers(name, numbers)
    rows = row_count(x)
    for part in ("targets", "weights"):
        values = getattr(x, part)
        if values is None:
            continue
        if values.shape != (rows,):
            raise ValueError(
                f"the {part} of {name} have the shape {values.shape}; they must be one a row, "
                f"({rows},)"
            )
        found = np.asarray(values)
        wrong = np.flatnonzero(~np.isfinite(found) | ((found < 0) & (part == "weights")))
        if len(wrong):
            raise ValueError(
                f"the {part} of {name} hold {found[wrong[0]]} at row {wrong[0]}, and {len(wrong)} "
                f"such values in all; they must be finite{' and at least 0' * (part == 'weights')}"
            )
    if x.weights is not None and not np.asarray(x.weights).any():
        raise ValueError(f"the weights of {name} are 0 for every row; there is nothing to train on")


def _check_numbers(name: str, rows: np.ndarray | Array) -> None:
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
