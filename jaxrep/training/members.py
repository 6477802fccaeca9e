"""The members of a sweep as one program: which go together, how many at a time, on which devices.

Methods of one structure are stacked: one method whose numbers are arrays over the members. The
programs of `fit` are mapped over it.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxrep.hyperparameters import declaration
from jaxrep.methods._method import AnyMethod, Metrics
from jaxrep.training.devices import Devices
from jaxrep.training.devices import partitioner as partitioner
from jaxrep.training.program import run_steps, validation_loss
from jaxrep.training.step import TrainState

AXIS = "member"

# What the members that a device trains at once may take. On the CPU many at once hide what a tiny
# step costs beside its matrix products; where the products outweigh it, more than a few are slower.
# An accelerator needs many.
_CPU_BYTES = 6 << 20
_ACCELERATOR_BYTES = 4 << 30


@functools.partial(
    jax.jit, static_argnames=("batch_size", "chunk", "mesh"), donate_argnames="state"
)
def run_members(
    methods: AnyMethod,
    seeds: Array,
    state: TrainState,
    x: Array,
    background: Array,
    first: int | Array,
    stop: int | Array,
    steps: int | Array | None = None,
    *,
    batch_size: int,
    chunk: int,
    mesh: Mesh,
) -> tuple[TrainState, Metrics]:
    """Takes the steps of `run_steps` for M members, each device for its share of them.

    Args:
        methods: stacked, by `stack`.
        seeds: of the members, `[M]`.
        state: of the members, every array `[M, ...]`.
        x: all training rows, `[rows, D]`, the same for all.
        background: rows that views may take values from, `[R, D]`.
        first: number of the first step.
        stop: `first` + at most `chunk`.
        steps: of the whole run, for methods with a schedule.
        batch_size: B.
        chunk: size of the arrays that the metrics come back in.
        mesh: devices along the axis `member`; their number divides M.

    Returns:
        The states after the last step, and every step's metrics by name, `[M, chunk]`.
    """
    run = functools.partial(run_steps, batch_size=batch_size, chunk=chunk, devices=Devices())
    shared = x, background, first, stop, steps
    made: tuple[TrainState, Metrics] = _over_members(run, mesh, (methods, seeds, state), shared)
    return made


@functools.partial(jax.jit, static_argnames=("batch_size", "mesh"))
def validation_losses(
    methods: AnyMethod,
    seeds: Array,
    weights: dict[str, Array],
    x: Array,
    *,
    batch_size: int,
    mesh: Mesh,
) -> Array:
    """Computes the `validation_loss` of M members, `[M]`; arguments as of `run_members`."""
    loss = functools.partial(validation_loss, batch_size=batch_size, devices=Devices())
    losses: Array = _over_members(loss, mesh, (methods, seeds, weights), (x,))
    return losses


def _over_members(function: Callable[..., Any], mesh: Mesh, of_members: Any, of_all: Any) -> Any:
    """Maps a function over its first arguments, `of_members`, with its last the same for all."""

    def on_a_device(of_members: Any, of_all: Any) -> Any:
        if len(of_members[1]) == 1:  # mapped over one, XLA's CPU programs are slower
            only = jax.tree.map(lambda array: array[0], of_members)
            return jax.tree.map(lambda array: array[None], function(*only, *of_all))
        return jax.vmap(lambda *member: function(*member, *of_all))(*of_members)

    if mesh.size == 1:
        return on_a_device(of_members, of_all)
    # check_vma: loops start from constants, which no device has to itself.
    shared = jax.shard_map(
        on_a_device,
        mesh=mesh,
        in_specs=(_spec(AXIS), _spec()),
        out_specs=_spec(AXIS),
        check_vma=False,
    )
    return shared(of_members, of_all)


def _spec(*axes: str) -> PartitionSpec:
    return PartitionSpec(*axes)  # type: ignore[no-untyped-call]


def alike(methods: Sequence[AnyMethod]) -> list[list[int]]:
    """Returns the positions of methods that can train together: of one shape and schedule."""
    groups: dict[object, list[int]] = {}
    for i, method in enumerate(methods):
        hp = method.hyperparameters
        ones = dataclasses.replace(hp, **dict.fromkeys(_numbers(method), 1.0))
        shape = jax.tree.structure(type(method)(ones))
        groups.setdefault((shape, hp.batch_size, hp.epochs), []).append(i)
    return list(groups.values())


def stack(methods: Sequence[AnyMethod]) -> AnyMethod:
    """Returns one method whose numbers are arrays over the members.

    A number that is 0 for all of them stays 0, and its term out of the program. Where only some
    have 0, it is traced for all.

    Args:
        methods: alike.

    Example:
        >>> from jaxrep.methods import VAE, VAEHyperparameters
        >>> stacked = stack([VAE(VAEHyperparameters(beta=beta)) for beta in (0.0, 4.0)])
        >>> stacked.hyperparameters.beta, stacked.hyperparameters.weight_decay
        (array([0., 4.], dtype=float32), 0.0)
    """
    first = methods[0]
    numbers = {
        name: np.array([getattr(m.hyperparameters, name) for m in methods], np.float32)
        for name in _numbers(first)
    }
    kept = {name: array if array.any() else 0.0 for name, array in numbers.items()}
    return type(first)(dataclasses.replace(first.hyperparameters, **kept))


def _numbers(method: AnyMethod) -> list[str]:
    """Returns the names of the hyperparameters that a program computes with."""
    fields = dataclasses.fields(method.hyperparameters)
    return [field.name for field in fields if declaration(field).kind == "traced"]


def members_at_once(
    members: int, state: TrainState, input_dim: int, batch_size: int, devices: Sequence[jax.Device]
) -> int:
    """Returns how many members to train at a time, from the shapes and the devices' kind alone.

    Args:
        members: that are alike.
        state: of one of them.
        input_dim: D, features of a row.
        batch_size: B.
        devices: whose number divides the result.
    """
    budget = _CPU_BYTES if devices[0].platform == "cpu" else _ACCELERATOR_BYTES
    most = max(budget // _bytes_of_a_member(state, input_dim, batch_size), 1) * len(devices)
    least = -(-members // len(devices)) * len(devices)
    if least <= most:
        return least
    # As few copies as possible to fill up the last part, and then as many members as possible.
    sizes = range(most, most // 2, -len(devices))
    return min(sizes, key=lambda size: -(-members // size) * size)


def _bytes_of_a_member(state: TrainState, input_dim: int, batch_size: int) -> int:
    own: int = sum(array.size * array.dtype.itemsize for array in jax.tree.leaves(state))
    widths: int = input_dim + sum(
        array.shape[-1] for array in state.params.values() if array.ndim == 1
    )
    # Each layer's outputs, their gradients and the noise; and a loss that compares all pairs.
    return own + 4 * batch_size * 3 * widths + 4 * 4 * (2 * batch_size) ** 2


def devices() -> list[jax.Device]:
    """Returns the devices to train on: the one that was chosen, or all of this process."""
    chosen = jax.config.jax_default_device  # type: ignore[attr-defined]
    return [chosen] if chosen is not None else jax.local_devices()


def mesh_of(devices: Sequence[jax.Device]) -> Mesh:
    """Returns devices along the axis of the members."""
    return Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))


def share_out(tree: Any, mesh: Mesh) -> Any:
    """Puts arrays `[M, ...]` on the devices, each one's members on it alone."""
    return jax.device_put(tree, NamedSharding(mesh, _spec(AXIS)))


def replicate(array: np.ndarray | Array, mesh: Mesh) -> Array:
    """Puts an array on every device."""
    placed: Array = jax.device_put(array, NamedSharding(mesh, _spec()))
    return placed
