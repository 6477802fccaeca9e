"""Where a run's rows are: on the device, or in a file that is read block by block."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrep.training.devices import Devices
from jaxrep.training.epoch_plan import Chunk, EpochPlan
from jaxrep.training.program import MAX_BACKGROUND_ROWS, background_rows

BLOCK_BYTES = 64 << 20
_ALIGNMENT = 64


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


class Resident:
    """Rows that are all on the device.

    Args:
        x: the rows, `[rows, D]`.
    """

    block_rows: int | None = None
    given_background: Array | None = None  # the program takes them from the rows it has

    def __init__(self, x: np.ndarray | Array):
        self.rows: int = x.shape[0]
        self.width: int = x.shape[1]
        self._x: Array = jax.device_put(x)

    def at(self, chunk: Chunk, plan: EpochPlan) -> Array:
        """Returns the rows that a chunk of steps sees."""
        return self._x

    def like(self, block: int, plan: EpochPlan) -> Array:
        """Returns rows to compile a program with."""
        return self._x

    @property
    def background(self) -> Array:
        """Rows that views may take values from, `[R, D]`."""
        return background_rows(self._x)


class Sharded:
    """Rows that are all in memory, a part on each of several devices.

    Args:
        x: the rows, `[rows, D]`, the same in all processes.
        devices: that train together.
    """

    block_rows: int | None = None

    def __init__(self, x: np.ndarray | Array, devices: Devices):
        self.rows: int = x.shape[0]
        self.width: int = x.shape[1]
        whole = np.asarray(x)

        def read(start: int, buffer: np.ndarray) -> None:
            buffer[:] = whole[start : start + len(buffer)]

        self._x: Array = devices.put_rows(self.rows, self.width, read, whole.dtype)
        self.background: np.ndarray = background_rows(whole)
        # The program has no device with all the rows to take them from.
        self.given_background: Array | None = devices.put(self.background)

    def at(self, chunk: Chunk, plan: EpochPlan) -> Array:
        """Returns the rows that a chunk of steps sees."""
        return self._x

    def like(self, block: int, plan: EpochPlan) -> Array:
        """Returns rows to compile a program with."""
        return self._x


class Streamed:
    """Rows that come block by block; while the device works on one, the next is read.

    Args:
        store: holds the rows.
        batch_size: B, of which a block holds a multiple.
        devices: that train together; each process reads its part of every block alone.
    """

    def __init__(self, store: RowStore, batch_size: int, devices: Devices | None = None):
        self.rows, self.width, self._store = store.rows, store.width, store
        batches = BLOCK_BYTES // (4 * store.width * batch_size)
        self.block_rows: int | None = max(batches, 1) * batch_size
        self._devices, sample = devices, store.sample(MAX_BACKGROUND_ROWS)
        self.background: Array = devices.put(sample) if devices else jax.device_put(sample)
        self.given_background: Array | None = self.background
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
            if block_epoch + 1 < plan.epochs * plan.blocks:
                self._read_ahead(block_epoch + 1, plan)
        return self._block

    def like(self, block: int, plan: EpochPlan) -> Array:
        """Returns rows of a block's shape to compile a program with."""
        if self._devices is not None:
            return self._devices.put_rows(plan.rows_of(block), self.width, _leave)
        return jnp.zeros((plan.rows_of(block), self.width), jnp.float32)

    def _read_ahead(self, block_epoch: int, plan: EpochPlan) -> Future[Array]:
        if self._ahead is None or self._ahead[0] != block_epoch:
            epoch, place = divmod(block_epoch, plan.blocks)
            block = plan.order(epoch)[place]
            self._ahead = block_epoch, self._reader.submit(self._read, block, plan)
        return self._ahead[1]

    def _read(self, block: int, plan: EpochPlan) -> Array:
        first = block * plan.rows_per_block
        if self._devices is not None:
            return self._devices.put_rows(
                plan.rows_of(block),
                self.width,
                lambda start, part: self._store.read_into(first + start, part),
            ).block_until_ready()
        # New memory for every block, never one used again: on the CPU, JAX takes aligned arrays as
        # they are, even where it is asked not to, and would see the next block's rows in them.
        rows = _aligned(plan.rows_of(block), self.width)
        self._store.read_into(first, rows)
        on_device: Array = jax.device_put(rows)
        return on_device.block_until_ready()


def _aligned(rows: int, width: int) -> np.ndarray:
    """Returns an empty float32 array `[rows, width]` at an address that JAX need not copy from."""
    memory = np.empty(4 * rows * width + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + 4 * rows * width].view(np.float32).reshape(rows, width)


def _leave(start: int, buffer: np.ndarray) -> None:
    """Leaves a buffer of zeros as it is."""


def place(
    x: np.ndarray | Array | RowStore, batch_size: int, devices: Devices | None = None
) -> Resident | Sharded | Streamed:
    """Returns rows as a run takes them: on the device, or to be read block by block."""
    if isinstance(x, np.ndarray | Array):
        return Resident(x) if devices is None else Sharded(x, devices)
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
