"""Where a run's rows are: on the devices, or in a file that is read block by block."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrep.batch import MISSING, Batch, RowSpec, take
from jaxrep.dispatch import computing
from jaxrep.training.devices import Devices, part_of_a_row
from jaxrep.training.epoch_plan import Chunk, EpochPlan
from jaxrep.training.program import MAX_BACKGROUND_ROWS, background_rows
from jaxrep.training.sizes import Padded, padded_rows, row_bytes

BLOCK_BYTES = 64 << 20


@runtime_checkable
class RowStore(Protocol):
    """Standardised rows that are read when they are needed, such as a prepared table's."""

    @property
    def rows(self) -> int:
        """Rows in the store."""

    @property
    def spec(self) -> RowSpec:
        """What every row holds."""

    def read_into(self, start: int, buffer: Batch) -> None:
        """Fills buffers with the rows from `start` on: numbers, and codes where it has any."""

    def sample(self, count: int) -> Batch:
        """Returns at most `count` rows, evenly spaced."""


class RowSource(Protocol):
    """A run's rows on its devices, whether all of them are there or come block by block."""

    rows: int
    """Training rows."""

    block_rows: int | None
    """Rows in a block; None where all rows are one."""

    background: Padded
    """Rows that views may take values from, whole on every device."""

    def at(self, chunk: Chunk, plan: EpochPlan) -> Batch:
        """Returns the rows that a chunk of steps sees, and padding after them."""

    def like(self) -> Batch:
        """Returns rows of the shape of all blocks, to compile a program with."""


class Resident:
    """Rows that are all on the devices, a part on each.

    Args:
        x: the rows, the same in all processes.
        devices: that train together.
    """

    block_rows: int | None = None

    def __init__(self, x: Batch, devices: Devices):
        self.rows = len(x.numbers)
        size = padded_rows(self.rows, row_bytes(x))
        self._x: Batch = jax.tree.map(lambda part: devices.shard_rows(part, size), x)
        there = devices.count == 1 and self.rows <= MAX_BACKGROUND_ROWS
        self.background = (
            Padded(Batch(self._x.numbers, self._x.codes), jnp.int32(self.rows))
            if there
            else put_padded(background_rows(jax.tree.map(np.asarray, x)), devices)
        )

    def at(self, chunk: Chunk, plan: EpochPlan) -> Batch:
        """Returns all rows."""
        return self._x

    def like(self) -> Batch:
        """Returns all rows."""
        return self._x


class Streamed:
    """Rows that come block by block; while the devices work on one, the next is read.

    Args:
        x: the rows, in a store, of which each process reads its part of every block alone; targets
            and weights, if there are any, are in memory.
        batch_size: B, of which a block holds a multiple.
        devices: that train together.
    """

    def __init__(self, x: Batch, batch_size: int, devices: Devices):
        store = numbers_of(x)
        assert isinstance(store, RowStore)
        self.rows, self._store = store.rows, store
        self._others = x._replace(numbers=None)  # type: ignore[arg-type]  # they come from the store
        batches = BLOCK_BYTES // (4 * store.spec.columns * batch_size)
        self.block_rows: int | None = max(batches, 1) * batch_size
        self._size = min(self.block_rows, padded_rows(self.rows, 4 * store.spec.columns))
        self.background = put_padded(store.sample(MAX_BACKGROUND_ROWS), devices)
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

    def like(self) -> Batch:
        """Returns zeros, and the other parts of the first rows."""
        return self._put(min(self.rows, self._size), 0, _fill_with_zeros)

    def _read_ahead(self, block_epoch: int, plan: EpochPlan) -> Future[Batch]:
        if self._ahead is None or self._ahead[0] != block_epoch:
            epoch, place = divmod(block_epoch, plan.blocks)
            block = plan.order(epoch)[place]
            self._ahead = block_epoch, self._reader.submit(self._read, block, plan)
        return self._ahead[1]

    @computing()  # in a thread of its own
    def _read(self, block: int, plan: EpochPlan) -> Batch:
        first = block * plan.rows_per_block

        def read(start: int, buffer: Batch) -> None:
            self._store.read_into(first + start, buffer)

        rows = self._put(plan.rows_of(block), first, read)
        jax.block_until_ready(rows)  # type: ignore[no-untyped-call]
        return rows

    def _put(self, rows: int, first: int, read: Callable[[int, Batch], None]) -> Batch:
        others = take(self._others, slice(first, first + rows))
        on_devices: Batch = jax.tree.map(
            lambda part: self._devices.shard_rows(part, self._size), others
        )
        spec = self._store.spec
        of_a_row = Batch(
            part_of_a_row((spec.numbers,), np.float32),
            part_of_a_row((spec.codes,), np.int32) if spec.codes else None,
        )
        cells = self._devices.put_rows(rows, self._size, of_a_row, read)
        return on_devices._replace(numbers=cells.numbers, codes=cells.codes)


def put_padded(rows: Batch, devices: Devices) -> Padded:
    """Puts rows of NumPy arrays, padded, whole on each device."""
    count = len(rows.numbers)
    size = padded_rows(count, row_bytes(rows))

    def pad(array: np.ndarray) -> np.ndarray:
        made = np.zeros((size, *array.shape[1:]), jax.dtypes.canonicalize_dtype(array.dtype))
        made[:count] = array
        return made

    return Padded(devices.put(jax.tree.map(pad, rows)), jnp.int32(count))


def _fill_with_zeros(start: int, buffer: Batch) -> None:
    for array in jax.tree.leaves(buffer):
        array[:] = 0


def place(
    x: Batch, validation: Batch | None, batch_size: int, devices: Devices
) -> tuple[RowSource, Padded | None]:
    """Returns rows to train on and rows held out as a run takes them.

    Those to train on are on the devices, or will be read block by block.

    Raises:
        ValueError: the devices cannot part batches evenly.
    """
    rows = row_count(x)
    devices.check_batch(batch_size, rows)
    is_stored = isinstance(numbers_of(x), RowStore)
    source = Streamed(x, min(batch_size, rows), devices) if is_stored else Resident(x, devices)
    return source, None if validation is None else put_padded(validation, devices)


def numbers_of(x: Batch) -> np.ndarray | Array | RowStore:
    """Returns the numbers of rows, or the store that a large table's are in, with their codes."""
    return x.numbers


def row_count(x: Batch) -> int:
    """Returns the number of rows, wherever they are."""
    numbers = numbers_of(x)
    return numbers.rows if isinstance(numbers, RowStore) else len(numbers)


def spec_of(x: Batch, spec: RowSpec | None) -> RowSpec:
    """Returns what every row holds: as it is given, or the store's, or numbers alone.

    Raises:
        ValueError: it is not given, and there are codes, whose levels nothing else tells.
    """
    numbers = numbers_of(x)
    if spec is not None:
        return spec
    if isinstance(numbers, RowStore):
        return numbers.spec
    if x.codes is not None:
        raise ValueError("rows with codes need spec, which says how many values each code takes")
    return RowSpec(numbers.shape[-1])


def check_data(x: Batch, validation: Batch | None, spec: RowSpec) -> None:
    """Checks rows to train on, and rows held out.

    Args:
        x: rows to train on.
        validation: rows held out; None where there are none.
        spec: what every row holds.

    Raises:
        ValueError: they are not what `spec` says, a number is infinite, or missing where none may
            be, the two differ in the parts that they have, or targets or weights are not one finite
            number a row.
    """
    _check_rows("x", x, spec)
    if validation is None:
        return
    _check_rows("validation", validation, spec)
    parts = [
        {name for name, part in one._asdict().items() if part is not None}
        for one in (x._replace(codes=None), validation._replace(codes=None))
    ]
    if differ := sorted(parts[0] ^ parts[1]):
        raise ValueError(f"x and validation differ in whether they have {', '.join(differ)}")


def _check_rows(name: str, x: Batch, spec: RowSpec) -> None:
    numbers = numbers_of(x)
    rows = row_count(x)
    if isinstance(numbers, RowStore):
        held = numbers.spec.numbers, numbers.spec.codes
        if held != (spec.numbers, spec.codes):
            raise ValueError(
                f"{name} has {held[0]} numbers and {held[1]} codes; spec says {spec.numbers} and "
                f"{spec.codes}"
            )
    else:
        _check_numbers(name, numbers, spec)
        _check_codes(name, x.codes, rows, spec)
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


def _check_numbers(name: str, rows: np.ndarray | Array, spec: RowSpec) -> None:
    if rows.ndim != 2 or len(rows) == 0 or spec.columns == 0:
        raise ValueError(f"{name} has shape {rows.shape}; training needs a matrix of rows")
    if rows.shape[1] != spec.numbers:
        raise ValueError(f"{name} has {rows.shape[1]} numbers a row; spec says {spec.numbers}")
    if not np.issubdtype(rows.dtype, np.floating):
        raise ValueError(f"{name} has dtype {rows.dtype}; training needs floats, standardised")
    found = np.asarray(rows)
    wrong = np.argwhere(np.isinf(found) | (np.isnan(found) & ~np.array(spec.number_gaps, bool)))
    if len(wrong):
        row, column = wrong[0]
        raise ValueError(
            f"{name} holds {rows[row, column]} at row {row}, column {column}, and {len(wrong)} "
            "such values in all; fill them in, leave the rows out, or say in spec which columns "
            "have gaps"
        )


def _check_codes(name: str, codes: np.ndarray | Array | None, rows: int, spec: RowSpec) -> None:
    if codes is None and not spec.codes:
        return
    if not spec.codes:
        raise ValueError(f"{name} has codes, and spec says that there are none; leave them None")
    shape = None if codes is None else codes.shape
    if codes is None or shape != (rows, spec.codes):
        raise ValueError(f"the codes of {name} have the shape {shape}, not {(rows, spec.codes)}")
    if codes.dtype != np.int32:
        raise ValueError(f"the codes of {name} have dtype {codes.dtype}; they must be int32")
    values, levels = np.asarray(codes), np.array(spec.levels)
    least = np.where(np.array(spec.code_gaps), MISSING, 0)
    places = np.argwhere((values < least) | (values >= levels))
    if len(places):
        row, code = places[0]
        raise ValueError(
            f"the codes of {name} hold {values[row, code]} at row {row}, code {code}; it must be "
            f"from {least[code]} to {levels[code] - 1}"
        )
