"""Trainings as one program: which go together, how many at a time, and how it is mapped over them.

Methods of one structure are stacked: one method whose numbers are arrays over the members. Every
array of a state has the members along its first axis; a training alone is one member, whose
programs are not mapped.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, PartitionSpec

from jaxrep.batch import Batch, RowSpec
from jaxrep.hyperparameters import declaration
from jaxrep.methods._method import AnyMethod, Metrics
from jaxrep.shuffle import Grid
from jaxrep.training.devices import MEMBER, Devices
from jaxrep.training.program import Kept, run_steps, validate
from jaxrep.training.sizes import Padded
from jaxrep.training.step import TrainState

# What the members that a device trains at once may take. On the CPU many at once hide what a tiny
# step costs beside its matrix products; where the products outweigh it, more than a few are slower.
# An accelerator needs many.
_CPU_BYTES = 6 << 20
_ACCELERATOR_BYTES = 4 << 30


@functools.partial(
    jax.jit,
    static_argnames=("spec", "batch_size", "chunk", "devices"),
    donate_argnames="state",
)
def run_members(
    methods: AnyMethod,
    seeds: Array,
    state: TrainState,
    x: Batch,
    background: Padded,
    first: int | Array,
    stop: int | Array,
    steps: int | Array | None = None,
    rows: Grid | None = None,
    steps_per_block: int | Array | None = None,
    *,
    spec: RowSpec,
    batch_size: int,
    chunk: int,
    devices: Devices,
) -> tuple[TrainState, Metrics]:
    """Takes the steps of `run_steps` for M members.

    Args:
        methods: by `stack`.
        seeds: of the members, `[M]`.
        state: of the members, every array `[M, ...]`.
        x: as of `run_steps`, the same for all, as is all that follows.
        background: rows that views may take values from.
        first: number of the first step.
        stop: `first` + at most `chunk`.
        steps: of the whole run, for methods with a schedule.
        rows: of x that are no padding, as of `run_steps`.
        steps_per_block: by which `first` counts passes over x.
        spec: what every row holds.
        batch_size: B.
        chunk: size of the arrays that the metrics come back in.
        devices: that train together, or have members of their own, in equal numbers.

    Returns:
        The states after the last step, and every step's metrics by name, `[M, chunk]`.
    """
    run = functools.partial(
        run_steps,
        spec=spec,
        batch_size=batch_size,
        chunk=chunk,
        devices=devices,
    )
    shared = x, background, first, stop, steps, rows, steps_per_block
    made: tuple[TrainState, Metrics]
    if len(seeds) == 1:
        made = _members_of(run(methods, *_only((seeds, state)), *shared))
    else:
        made = _over_members(run, devices, (methods, seeds, state), shared)
    return made


@functools.partial(
    jax.jit, static_argnames=("spec", "batch_size", "devices"), donate_argnames="kept"
)
def validate_members(
    methods: AnyMethod,
    seeds: Array,
    kept: Kept,
    state: TrainState,
    patience: Array,
    x: Padded,
    epoch: int | Array,
    *,
    spec: RowSpec,
    batch_size: int,
    devices: Devices,
) -> tuple[Array, Kept]:
    """Computes `validate` for M members; arguments as of `run_members`.

    Args:
        methods: by `stack`.
        seeds: of the members, `[M]`.
        kept: by the epochs before, every array `[M, ...]`.
        state: of the members, every array `[M, ...]`.
        patience: of the members, `[M]`.
        x: rows held out.
        epoch: its number, from 1.
        spec: what every row holds.
        batch_size: B.
        devices: as of `run_members`.

    Returns:
        The losses, `[M]`, and what is kept now.
    """
    run: Callable[..., Any] = functools.partial(
        validate, spec=spec, batch_size=batch_size, devices=devices
    )
    made: tuple[Array, Kept]
    if len(seeds) == 1:
        made = _members_of(run(methods, *_only((seeds, kept, state, patience)), x, epoch))
    else:
        of_members = methods, seeds, kept, state, patience
        made = _over_members(run, devices, of_members, (x, epoch))
    return made


def _only(tree: Any) -> Any:
    """Returns the arrays of the one member there is, without its axis."""
    return jax.tree.map(lambda array: array.reshape(array.shape[1:]), tree)


def _members_of(tree: Any) -> Any:
    """Gives the arrays of a member the axis of the members."""
    return jax.tree.map(lambda array: array.reshape(1, *array.shape), tree)


def _over_members(
    function: Callable[..., Any], devices: Devices, of_members: Any, of_all: Any
) -> Any:
    """Maps a function over its first arguments, `of_members`, with its last the same for all."""

    def on_a_device(of_members: Any, of_all: Any) -> Any:
        if len(of_members[1]) == 1:  # mapped over one, XLA's CPU programs are slower
            return _members_of(function(*_only(of_members), *of_all))
        return jax.vmap(lambda *member: function(*member, *of_all))(*of_members)

    if devices.apart == 1:
        return on_a_device(of_members, of_all)
    each, all_of_it = (PartitionSpec(*axes) for axes in ((MEMBER,), ()))  # type: ignore[no-untyped-call]
    # check_vma: loops start from constants, which no device has to itself.
    shared = jax.shard_map(
        on_a_device,
        mesh=devices.mesh,
        in_specs=(each, all_of_it),
        out_specs=each,
        check_vma=False,
    )
    return shared(of_members, of_all)


def alike(methods: Sequence[AnyMethod]) -> list[list[int]]:
    """Returns the positions of methods that can train together: of one shape and schedule."""
    groups: dict[object, list[int]] = {}
    for i, method in enumerate(methods):
        hp = method.hyperparameters
        ones = dataclasses.replace(hp, **dict.fromkeys(_numbers(method), 1.0))
        shape = jax.tree.structure(type(method)(ones))
        length = hp.epochs, hp.steps, hp.patience > 0
        groups.setdefault((shape, hp.batch_size, length), []).append(i)
    return list(groups.values())


def stack(methods: Sequence[AnyMethod]) -> AnyMethod:
    """Returns one method whose numbers are arrays over the members; of one, the method as it is.

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
    if len(methods) == 1:  # its numbers are Python's, which take the dtype of what they meet
        return first
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
    members: int, state: TrainState, spec: RowSpec, batch_size: int, devices: Sequence[jax.Device]
) -> int:
    """Returns how many members to train at a time, from the shapes and the devices' kind alone.

    Args:
        members: that are alike.
        state: of one of them.
        spec: what every row holds.
        batch_size: B.
        devices: whose number divides the result.
    """
    budget = _CPU_BYTES if devices[0].platform == "cpu" else _ACCELERATOR_BYTES
    most = max(budget // _bytes_of_a_member(state, spec, batch_size), 1) * len(devices)
    least = -(-members // len(devices)) * len(devices)
    if least <= most:
        return least
    # As few copies as possible to fill up the last part, and then as many members as possible.
    sizes = range(most, most // 2, -len(devices))
    return min(sizes, key=lambda size: -(-members // size) * size)


def _bytes_of_a_member(state: TrainState, spec: RowSpec, batch_size: int) -> int:
    own: int = sum(array.size * array.dtype.itemsize for array in jax.tree.leaves(state))
    widths: int = spec.columns + sum(
        array.shape[-1] for array in state.params.values() if array.ndim == 1
    )
    # Each layer's outputs, their gradients and the noise; and a loss that compares all pairs.
    return own + 4 * batch_size * 3 * widths + 4 * 4 * (2 * batch_size) ** 2


def share_out_devices(members: int) -> Devices:
    """Returns the devices that members are shared out among: all of this process, or the chosen."""
    chosen = jax.config.jax_default_device  # type: ignore[attr-defined]
    found = [chosen] if chosen is not None else jax.local_devices()
    return Devices(Mesh(np.array(found[:members]), (MEMBER,), axis_types=(AxisType.Auto,)))
