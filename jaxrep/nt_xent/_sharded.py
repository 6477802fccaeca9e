"""NT-Xent over the devices of a mesh: every row of every device is a negative.

Written down by hand, with no derivative taken through a collective, a call is four of them: an
all-gather of embeddings and weights, two all-reduces of the M denominators (of their shifts, then
of their sums), and a reduce-scatter of the gradient. The derivative by τ, where it is asked for,
is one all-reduce of a scalar more.
"""

import functools

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import AxisType, PartitionSpec

from jaxrep.nt_xent import _tiled
from jaxrep.nt_xent._derivatives import Derivatives, derivatives
from jaxrep.nt_xent._tile_plan import tile_plan

AXIS = "data"


def devices() -> int:
    """Returns how many devices of the mesh in context share a batch; 1 without such a mesh.

    Raises:
        ValueError: a `jax.shard_map` over the axis has sharded the batch already.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if AXIS not in mesh.axis_names:
        return 1
    if mesh.axis_types[mesh.axis_names.index(AXIS)] == AxisType.Manual:
        raise ValueError(
            f"NT-Xent is called inside a shard_map over the axis {AXIS!r}, where it would see the "
            "rows of one device alone; call it outside, it shares its work among the devices itself"
        )
    return int(mesh.shape[AXIS])


def over_devices(
    views: Array, weights: Array, temperature: Array, *, tile: int | None, devices: int
) -> Derivatives:
    """Computes loss and derivatives of the batch of all devices.

    Args:
        views: projections of both views, `(2, B, P)`, in any layout.
        weights: row weights, `(B,)`.
        temperature: τ.
        tile: rows of a tile; None chooses.
        devices: along the axis `data`.

    Returns:
        The derivative by the views is `(2, B, P)`, that by the weights `(2, B)`.
    """
    batch = len(weights)
    padding = -batch % devices
    views = jnp.pad(views, ((0, 0), (0, padding), (0, 0)))
    weights = jnp.pad(weights, (0, padding))
    by_rows = PartitionSpec(None, AXIS), PartitionSpec(AXIS), PartitionSpec()  # type: ignore[no-untyped-call]
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.axis_types[mesh.axis_names.index(AXIS)] == AxisType.Explicit:
        views = jax.sharding.reshard(views, by_rows[0])  # type: ignore[no-untyped-call]
        weights = jax.sharding.reshard(weights, by_rows[1])  # type: ignore[no-untyped-call]
    # check_vma: loops start from constants, which no device has to itself.
    shared = jax.shard_map(
        functools.partial(_on_a_device, tile=tile, devices=devices),
        in_specs=by_rows,
        out_specs=(by_rows[2], by_rows[0], by_rows[0], by_rows[2]),
        axis_names={AXIS},
        check_vma=False,
    )
    found = Derivatives(*shared(views, weights, temperature))
    return found._replace(by_z=found.by_z[:, :batch], by_weights=found.by_weights[:, :batch])


def _on_a_device(
    views: Array, weights: Array, temperature: Array, *, tile: int | None, devices: int
) -> tuple[Array, Array, Array, Array]:
    mine = views.reshape(-1, views.shape[-1])  # (m, P): of the first view, then of the second
    gathered = jnp.concatenate([mine, jnp.tile(weights, 2)[:, None]], axis=1)
    gathered = jax.lax.all_gather(gathered, AXIS, tiled=True)  # (M, P + 1)
    z, all_weights = gathered[:, :-1], gathered[:, -1]
    # The other view of a row is on the same device.
    positive = jnp.flip(z.reshape(devices, 2, -1, z.shape[1]), 1).reshape(z.shape)
    plan = tile_plan(*z.shape, tile=tile, devices=devices)
    log_denominator, pull = _tiled.softmax(
        z, positive, all_weights, temperature, plan=plan, axis=AXIS
    )
    pull = jax.lax.psum_scatter(pull, AXIS, tiled=True)  # type: ignore[no-untyped-call]
    start = jax.lax.axis_index(AXIS) * len(mine)
    found = derivatives(
        z,
        positive,
        all_weights,
        temperature,
        log_denominator,
        pull,
        own=lambda rows: jax.lax.dynamic_slice_in_dim(rows, start, len(mine)),
    )
    return (
        found.loss,
        found.by_z.reshape(views.shape),
        found.by_weights.reshape(2, -1),
        jax.lax.psum(found.by_temperature, AXIS),  # type: ignore[no-untyped-call]
    )
