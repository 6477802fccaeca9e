"""The loss, its derivatives, and the choice of how their softmax is computed.

Shape letters: B batch, M = 2B embeddings, P projection.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero

from jaxrep.nt_xent import _dense, _sharded, _tiled
from jaxrep.nt_xent._derivatives import Derivatives, derivatives
from jaxrep.nt_xent._tile_plan import tile_plan

# Above this many embeddings tiles are faster than the whole square on the CPU, and smaller.
MAX_DENSE = 2048


def nt_xent(
    z1: Array,
    z2: Array,
    *,
    temperature: float | Array,
    weights: Array | None = None,
    tile: int | None = None,
) -> Array:
    """Computes `jaxrep.losses.nt_xent_loss` with its gradient in closed form.

    With e the exponentials of the similarities of different rows, r = w / Σⱼ eᵢⱼ and W = Σ w,
    ∂loss/∂zᵢ = (Σⱼ eᵢⱼ (rᵢ + rⱼ) zⱼ − 2 wᵢ z₊) / (W τ). Which form computes the sums follows from
    the shapes: small batches keep all of e, large ones a tile of it at a time, in memory O(M·P).

    Where the mesh in context (`jax.set_mesh`) has several devices along the axis `data`, the rows
    of all of them are the batch, and every device computes its share of the tiles.

    It is differentiable in forward and in reverse mode, and twice by forward over reverse
    (`jax.jvp` of `jax.grad`), on tiles as well; reverse over reverse is an error.

    Args:
        z1: projections of the first view, `[B, P]`; bfloat16 and float16 are computed in float32.
        z2: projections of the second view, `[B, P]`.
        temperature: τ, above 0.
        weights: row weights, `[B]`, at least 0; None weighs all rows alike.
        tile: rows of a tile; None chooses the form, and its tile, from the shapes.

    Returns:
        A scalar.

    Raises:
        ValueError: the shapes do not belong together, or a tile is below 1, or it is called inside
            a `jax.shard_map` over `data`, where it would see one device's rows alone.

    References:
        Chen et al., A Simple Framework for Contrastive Learning, 2020, equation 1.

    Example:
        >>> z = jnp.eye(2)
        >>> print(nt_xent(z, z, temperature=0.5).round(4))
        0.2395
        >>> print(nt_xent(z, z, temperature=0.5, tile=1).round(4))
        0.2395
    """
    _check(z1, z2, weights)
    dtype = jnp.promote_types(jnp.result_type(z1, z2), jnp.float32)
    weights = jnp.ones(len(z1), dtype) if weights is None else weights.astype(dtype)
    views = jnp.stack([z1.astype(dtype), z2.astype(dtype)])  # (2, B, P)
    views = jnp.where(weights[:, None] > 0, views, 0)  # whatever stands in rows of no weight
    form = _Form(tile, _sharded.devices())
    loss: Array = _loss(form, views, weights, jnp.asarray(temperature, dtype))
    return loss


class _Form(NamedTuple):
    """How to compute it: rows of a tile where the caller asks for some, and devices to share it."""

    tile: int | None
    devices: int


def _check(z1: Array, z2: Array, weights: Array | None) -> None:
    if z1.ndim != 2 or z1.shape != z2.shape:
        raise ValueError(
            f"z1 has shape {z1.shape} and z2 {z2.shape}; both are [B, P], row i of the same data"
        )
    if weights is not None and weights.shape != z1.shape[:1]:
        raise ValueError(
            f"weights have shape {weights.shape}; {len(z1)} rows need [{len(z1)}], one a row"
        )


# Not a custom_vjp: a tangent that is linear in the gradient serves both modes, and the gradient is
# all that must be kept between the passes.
@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _loss(form: _Form, views: Array, weights: Array, temperature: Array) -> Array:
    return _derivatives(form, views, weights, temperature).loss


def _loss_jvp(
    form: _Form, primals: tuple[Array, Array, Array], tangents: tuple[Array | SymbolicZero, ...]
) -> tuple[Array, Array]:
    found = _derivatives(form, *primals)
    tangent = jnp.zeros_like(found.loss)
    of_rows = found.by_z, jnp.sum(found.by_weights, axis=0), found.by_temperature
    for derivative, direction in zip(of_rows, tangents, strict=True):
        # Where a derivative is not asked for, its collectives do not run either.
        if not isinstance(direction, SymbolicZero):
            # Not vdot: it would flatten, and so gather, rows that are sharded among devices.
            tangent = tangent + jnp.sum(derivative * direction)
    return found.loss, tangent


_loss.defjvp(_loss_jvp, symbolic_zeros=True)


def _derivatives(form: _Form, views: Array, weights: Array, temperature: Array) -> Derivatives:
    if form.devices > 1:
        return _sharded.over_devices(
            views, weights, temperature, tile=form.tile, devices=form.devices
        )
    if form.tile is None and 2 * len(weights) <= MAX_DENSE:
        return _dense_derivatives(views, weights, temperature)
    found: Derivatives = _on_tiles(form.tile, views, weights, temperature)
    return found


# Called outside a program, its loops would be compiled anew each time.
@functools.partial(jax.jit, static_argnums=0)
def _on_tiles(tile: int | None, views: Array, weights: Array, temperature: Array) -> Derivatives:
    z = views.reshape(-1, views.shape[-1])  # (M, P)
    positive = jnp.roll(z, len(weights), axis=0)
    plan = tile_plan(*z.shape, tile=tile)
    both = jnp.tile(weights, 2)
    sums = _tiled.softmax(z, positive, both, temperature, plan=plan)
    found = derivatives(z, positive, both, temperature, *sums)
    return _sharded_like(found, views)


def _dense_derivatives(views: Array, weights: Array, temperature: Array) -> Derivatives:
    z = views.reshape(-1, views.shape[-1])
    positive = jnp.roll(z, len(weights), axis=0)
    both = jnp.tile(weights, 2)
    sums = _dense.softmax(z, both, temperature)
    return _sharded_like(derivatives(z, positive, both, temperature, *sums), views)


def _sharded_like(found: Derivatives, views: Array) -> Derivatives:
    return found._replace(
        by_z=found.by_z.reshape(views.shape), by_weights=found.by_weights.reshape(2, -1)
    )
