"""The devices that train a run: which holds what, and how a program is told.

The devices stand along one axis, `data`; a device alone is a mesh of one. Each holds a part of the
rows and computes its part of every batch; which rows a batch has, and what noise, does not depend
on the devices. Weights are the same on all, or sharded too (`shard_parameters`). The losses are
written for one device: what has to be summed over all is left to XLA.

In a sweep they stand along the axis `member` instead: each has all rows, and trains members of its
own.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxrep.training.sizes import program_batch_size

AXIS = "data"  # that of NT-Xent
MEMBER = "member"
_ALIGNMENT = 64

Tree = TypeVar("Tree")


def part_of_a_row(shape: Sequence[int], dtype: np.typing.DTypeLike) -> Any:
    """Says what an array holds of every row, for `Devices.put_rows`."""
    return jax.ShapeDtypeStruct(tuple(shape), np.dtype(dtype))  # type: ignore[no-untyped-call]


def mesh_of(devices: Sequence[jax.Device]) -> Mesh:
    """Returns devices along the axis of a batch's rows."""
    return Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))


def mesh_of_one() -> Mesh:
    """Returns the mesh of the device that JAX computes on unless told otherwise."""
    chosen = jax.config.jax_default_device  # type: ignore[attr-defined]
    return mesh_of([chosen or jax.local_devices()[0]])


@dataclass(frozen=True)
class Devices:
    """Devices that train one run together.

    Example:
        >>> Devices().count, Devices(mesh_of(jax.devices()[:1])).count
        (1, 1)
    """

    mesh: Mesh = field(default_factory=mesh_of_one)
    """They, along the one axis `data` or `member`; by default the one that JAX computes on."""

    shard_parameters: bool = False
    """Whether weights and the optimiser's state are sharded too, where a dimension allows it."""

    def __post_init__(self) -> None:
        """Refuses other axes, which nothing here would use."""
        names, types = self.mesh.axis_names, self.mesh.axis_types
        if names not in ((AXIS,), (MEMBER,)) or types != (AxisType.Auto,):
            raise ValueError(
                f"the mesh has the axes {names} of types {types}; "
                f"training needs the one axis {AXIS!r} of type Auto, as `mesh_of` makes it"
            )

    @property
    def count(self) -> int:
        """Number of devices that share a batch."""
        return int(self.mesh.shape.get(AXIS, 1))

    @property
    def apart(self) -> int:
        """Number of devices that have members of their own."""
        return int(self.mesh.shape.get(MEMBER, 1))

    @contextlib.contextmanager
    def programs(self) -> Iterator[None]:
        """Lets programs over the devices be compiled and called as long as it is open."""
        with partitioner(list(self.mesh.devices.flat)), jax.set_mesh(self.mesh):
            yield

    def check_batch(self, batch_size: int, rows: int) -> None:
        """Raises a ValueError where a batch cannot be sharded evenly.

        Args:
            batch_size: B, where there are as many rows.
            rows: training rows.
        """
        batch_size = program_batch_size(batch_size, rows)
        if batch_size % self.count == 0:
            return
        below = batch_size // self.count * self.count
        fitting = [str(size) for size in (below, below + self.count) if 0 < size <= rows]
        advice = f"give batch_size {' or '.join(fitting)}" if fitting else "use fewer devices"
        raise ValueError(
            f"batches of {batch_size} rows cannot be sharded evenly among {self.count} devices; "
            f"{advice}"
        )

    def sharding(self, *axes: str | None) -> NamedSharding:
        """Returns where an array is whose dimensions are sharded along these axes, if there are."""
        there = (axis if axis in self.mesh.axis_names else None for axis in axes)
        return NamedSharding(self.mesh, PartitionSpec(*there))  # type: ignore[no-untyped-call]

    def of_state(self, leaf: Any) -> NamedSharding:
        """Returns where an array `[M, ...]` of the members' state is, from its shape alone."""
        return self.sharding(MEMBER, *self._axes(leaf.shape[1:]))

    def _axes(self, shape: Sequence[int]) -> list[str | None]:
        """Returns along which axes an array of a training's state is sharded."""
        axes: list[str | None] = [None] * len(shape)
        fitting = [axis for axis, size in enumerate(shape) if size % self.count == 0]
        if self.shard_parameters and fitting:
            axes[max(fitting, key=lambda axis: shape[axis])] = AXIS
        return axes

    def put(self, tree: Any) -> Any:
        """Puts arrays, the same in all processes, whole on each device."""
        if jax.process_count() == 1:
            return jax.device_put(jax.tree.map(_narrowed, tree), self.sharding())
        return jax.tree.map(lambda leaf: _copied(leaf, self.sharding()), tree)

    def put_state(self, state: Tree) -> Tree:
        """Copies a training state to where `of_state` says."""
        placed: Tree = jax.tree.map(lambda leaf: _copied(leaf, self.of_state(leaf)), state)
        return placed

    def to_host(self, arrays: Mapping[str, Array]) -> dict[str, np.ndarray]:
        """Returns arrays on the devices as arrays of this process, which has them whole."""
        if not all(array.is_fully_addressable for array in arrays.values()):
            arrays = jax.jit(lambda tree: tree, out_shardings=self.sharding())(arrays)
        return {name: np.asarray(array) for name, array in arrays.items()}

    def shard_rows(self, x: np.ndarray | Array, size: int | None = None) -> Array:
        """Puts an array over rows, `[rows, ...]`, on the devices; as of `put_rows`."""
        size = len(x) if size is None else size
        if jax.process_count() == 1 and len(x) == size and size % self.count == 0:
            placed: Array = jax.device_put(_narrowed(x), self.sharding(AXIS))
            return placed
        whole = np.asarray(x)

        def read(start: int, buffer: np.ndarray) -> None:
            buffer[:] = whole[start : start + len(buffer)]

        of_a_row = part_of_a_row(x.shape[1:], jax.dtypes.canonicalize_dtype(x.dtype))
        made: Array = self.put_rows(len(whole), size, of_a_row, read)
        return made

    def put_rows(
        self, rows: int, size: int, of_a_row: Any, read: Callable[[int, Any], None]
    ) -> Any:
        """Puts arrays over rows on the devices, each process its own rows alone.

        Args:
            rows: how many there are.
            size: to which they are padded, at least `rows`; and then to equal parts.
            of_a_row: shape and dtype of a row's part of each array: a tree, such as a batch.
            read: fills a tree of buffers `[n, ...]` with the rows from a number on.

        Returns:
            A tree of arrays `[size, ...]`, sharded along the rows.
        """
        each = -(-size // self.count)
        parts = []
        for i, device in enumerate(self.mesh.devices.flat):
            if device.process_index != jax.process_index():
                continue
            # New memory for all rows, never that of rows before: on the CPU, JAX takes aligned
            # arrays as they are, even where it is asked not to, and would see later rows in them.
            part = jax.tree.map(lambda row: _aligned((each, *row.shape), row.dtype), of_a_row)
            first = i % self.count * each  # where members are shared out, every device has all
            present = max(min(each, rows - first), 0)
            if present:
                read(first, jax.tree.map(lambda array: array[:present], part))  # noqa: B023
            for array in jax.tree.leaves(part):
                array[present:] = 0
            parts.append(jax.device_put(part, device))

        def join(row: Any, *arrays: Array) -> Array:
            whole = each * self.count, *row.shape
            return jax.make_array_from_single_device_arrays(
                whole, self.sharding(AXIS), list(arrays)
            )

        return jax.tree.map(join, of_a_row, *parts)

    def part_batch(self, array: Array, axis: int = 0) -> Array:
        """Says in a program that each device computes its part of a batch's array."""
        if self.count == 1 or array.shape[axis] % self.count:
            return array
        axes = [AXIS if i == axis else None for i in range(axis + 1)]
        return _constrain(array, self.sharding(*axes))

    def constrain_state(self, state: Tree) -> Tree:
        """Says in a program where a training's state is."""
        if self.count == 1:
            return state

        def fix(leaf: Array) -> Array:
            return _constrain(leaf, self.sharding(*self._axes(leaf.shape)))

        fixed: Tree = jax.tree.map(fix, state)
        return fixed

    def constrain_replicated(self, tree: Tree) -> Tree:
        """Says in a program that every device has these arrays whole."""
        return tree if self.count == 1 else _constrain(tree, self.sharding())

    def any(self, *flags: bool) -> Array:
        """Starts to ask all processes for flags; the answer is 1 where one of them says yes."""
        own = np.array([flags], np.int32)
        count = sum(d.process_index == jax.process_index() for d in self.mesh.devices.flat)
        shape = self.count, len(flags)
        told = jax.make_array_from_process_local_data(  # type: ignore[no-untyped-call]
            self.sharding(AXIS), np.repeat(own, count, axis=0), shape
        )
        with self.programs():
            answer: Array = _any(told, whole=self.sharding())
        return answer


@functools.partial(jax.jit, static_argnames="whole")
def _any(flags: Array, *, whole: NamedSharding) -> Array:
    return _constrain(jnp.max(flags, axis=0), whole)


def _constrain(tree: Tree, sharding: NamedSharding) -> Tree:
    made: Tree = jax.lax.with_sharding_constraint(tree, sharding)  # type: ignore[no-untyped-call]
    return made


def _narrowed(array: np.ndarray | Array) -> np.ndarray | Array:
    """Returns an array that JAX puts on a device in the dtypes it has on.

    A caller's own float64 there, made under `jax_enable_x64`, would stay as it is.
    """
    is_wide = isinstance(array, Array) and array.dtype in (np.float64, np.int64, np.uint64)
    return np.asarray(array) if is_wide and not jax.config.jax_enable_x64 else array  # type: ignore[attr-defined]


def _copied(leaf: Any, sharding: NamedSharding) -> Array:
    """Copies an array to devices; through the host, since a copy there is a program more."""
    if isinstance(leaf, Array) and not leaf.is_fully_addressable:
        return jnp.copy(leaf)  # no process has all of it
    whole = np.asarray(leaf)
    return jax.make_array_from_callback(whole.shape, sharding, lambda part: whole[part].copy())


def _aligned(shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """Returns an empty array at an address that JAX need not copy from."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


@contextlib.contextmanager
def partitioner(devices: Sequence[jax.Device]) -> Iterator[None]:
    """Lets programs over several devices be compiled as long as it is open.

    jax 0.10's Shardy cannot lower the high half of a product, of which Philox's random numbers are
    made ("Unable to convert MHLO to StableHLO"); GSPMD, its predecessor, can.
    """
    option = "jax_use_shardy_partitioner"
    before = getattr(jax.config, option, None)
    if len(devices) == 1 or before is None:
        yield
        return
    jax.config.update(option, False)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        jax.config.update(option, before)  # type: ignore[no-untyped-call]
