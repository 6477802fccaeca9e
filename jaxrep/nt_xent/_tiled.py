"""NT-Xent's softmax on tiles: exact, in memory O(M·P + T²), and with half the work of a square.

Similarities are symmetric, so each pair of blocks i, j of rows is visited once and serves both:
a first pass adds the tile's row sums to block i's denominators and its column sums to block j's, a
second computes the tile again, weighs it, and adds its products to both blocks' gradients.

One block's product needs the weighed tile transposed, which XLA's CPU compiler multiplies at a
third of the speed. Multiplied from the other side it is (Zᵢᵀ W)ᵀ: hence a second, transposed sum.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrep.nt_xent._tile_plan import TilePlan


class _Rows(NamedTuple):
    """Embeddings, padded to whole blocks with rows of no weight."""

    z: Array
    """`(b·T, P)`, 0 in rows of no weight."""

    transposed: Array
    """`(P, b·T)`."""

    positive: Array
    """Similarity to the other view, `(b·T,)`."""

    weights: Array
    """`(b·T,)`."""

    counted: Array
    """Whether the weight is above 0, `(b·T,)`."""

    temperature: Array


class _Tile(NamedTuple):
    """A pair of blocks: where they start, and the similarities between them."""

    a: Array
    b: Array
    similarity: Array
    """`(T, T)`, rows of block a against rows of block b."""

    once: Array
    """`(T, T)`: all, but on the diagonal what is above it, so that every pair of rows counts once
    and no row is its own negative."""


def softmax(
    z: Array,
    positive: Array,
    weights: Array,
    temperature: Array,
    *,
    plan: TilePlan,
    axis: str | None = None,
) -> tuple[Array, Array]:
    """Computes what loss and gradient of NT-Xent need of the softmax p over similarities s.

    With one shift for all rows where exp underflows nowhere, and elsewhere with the running
    maximum of every row. The choice is made by loops of no turns: under `vmap`, and on the CPU,
    conditionals cost more.

    Args:
        z: embeddings, `(M, P)`, 0 in rows of no weight.
        positive: the other view of each row, `(M, P)`.
        weights: row weights, `(M,)`.
        temperature: τ.
        plan: the tiles.
        axis: mesh axis whose devices share the tiles, inside `jax.shard_map`; None is one device.

    Returns:
        log Σⱼ exp sᵢⱼ, `(M,)`, and Σⱼ (wᵢpᵢⱼ + wⱼpⱼᵢ) zⱼ, `(M, P)`; of the latter a device's own
        share of the sum where there is an axis.
    """
    rows = _padded(z, positive, weights, temperature, plan)
    shift = jnp.max(jnp.sum(z**2, axis=1)) / temperature  # no similarity is above it
    is_safe = 2 * shift < -0.9 * jnp.log(np.finfo(z.dtype).tiny)
    top, total = _sums(rows, shift, is_safe, plan, axis)
    log_denominator = jnp.where(rows.counted, jnp.log(total) + top, 0)
    by_rows = _pull(rows, shift, is_safe, total, log_denominator, plan, axis)
    return log_denominator[: plan.rows], by_rows[: plan.rows]


def _padded(z: Array, positive: Array, weights: Array, temperature: Array, plan: TilePlan) -> _Rows:
    padding = plan.blocks * plan.tile - plan.rows
    to_positive = jnp.pad(jnp.sum(z * positive, axis=1) / temperature, (0, padding))
    z = jnp.pad(z, ((0, padding), (0, 0)))
    weights = jnp.pad(weights, (0, padding))
    return _Rows(z, z.T, to_positive, weights, weights > 0, temperature)


def _sums(
    rows: _Rows, shift: Array, is_safe: Array, plan: TilePlan, axis: str | None
) -> tuple[Array, Array]:
    """Returns a shift of each row and Σⱼ exp(sᵢⱼ − shiftᵢ), 1 in rows of no weight."""
    first, stop = _share(plan, axis)
    counts = rows.counted.astype(rows.z.dtype)

    def add_with_one_shift(t: Array, total: Array) -> Array:
        tile = _tile(rows, plan, t)
        e = jnp.where(tile.once, jnp.exp(tile.similarity - shift), 0)
        total = _add(total, tile.a, e @ _cut(counts, tile.b, plan))
        return _add(total, tile.b, _cut(counts, tile.a, plan) @ e)

    def add_with_row_shifts(t: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        tile = _tile(rows, plan, t)
        s = jnp.where(_among(rows, plan, tile), tile.similarity, -jnp.inf)
        carry = _add_exponentials(*carry, tile.a, s)
        return _add_exponentials(*carry, tile.b, s.T)

    zeros = jnp.zeros_like(rows.weights)
    common = jax.lax.fori_loop(first, jnp.where(is_safe, stop, first), add_with_one_shift, zeros)
    # From the positive on: a maximum of rows that have no other, and finite.
    start = jnp.where(is_safe, shift, rows.positive), common
    top, total = jax.lax.fori_loop(
        jnp.where(is_safe, stop, first), stop, add_with_row_shifts, start
    )
    if axis is not None:
        top, total = _over_devices(top, total, axis)
    return top, jnp.where(rows.counted, total, 1)


def _add_exponentials(top: Array, total: Array, at: Array, s: Array) -> tuple[Array, Array]:
    """Adds Σⱼ exp sᵢⱼ to a block of sums that are relative to a running maximum."""
    before = jax.lax.dynamic_slice_in_dim(top, at, len(s))
    now = jax.lax.stop_gradient(jnp.maximum(before, jnp.max(s, axis=1)))
    scaled = jax.lax.dynamic_slice_in_dim(total, at, len(s)) * jnp.exp(before - now)
    added = scaled + jnp.sum(jnp.exp(s - now[:, None]), axis=1)
    replace = jax.lax.dynamic_update_slice_in_dim
    return replace(top, now, at, axis=0), replace(total, added, at, axis=0)


def _over_devices(top: Array, total: Array, axis: str) -> tuple[Array, Array]:
    highest = jax.lax.pmax(jax.lax.stop_gradient(top), axis)  # type: ignore[no-untyped-call]
    return highest, jax.lax.psum(total * jnp.exp(top - highest), axis)  # type: ignore[no-untyped-call]


def _pull(
    rows: _Rows,
    shift: Array,
    is_safe: Array,
    total: Array,
    log_denominator: Array,
    plan: TilePlan,
    axis: str | None,
) -> Array:
    """Returns Σⱼ (wᵢpᵢⱼ + wⱼpⱼᵢ) zⱼ over a device's tiles."""
    first, stop = _share(plan, axis)
    r = rows.weights / total

    def add_with_one_shift(t: Array, pulls: tuple[Array, Array]) -> tuple[Array, Array]:
        tile = _tile(rows, plan, t)
        e = jnp.where(tile.once, jnp.exp(tile.similarity - shift), 0)
        both = _cut(r, tile.a, plan)[:, None] + _cut(r, tile.b, plan)[None, :]
        return _add_products(rows, plan, tile, e * both, *pulls)

    def add_with_row_shifts(t: Array, pulls: tuple[Array, Array]) -> tuple[Array, Array]:
        tile = _tile(rows, plan, t)
        s = jnp.where(_among(rows, plan, tile), tile.similarity, -jnp.inf)
        of_a, of_b = (
            (_cut(rows.weights, at, plan), _cut(log_denominator, at, plan))
            for at in (tile.a, tile.b)
        )
        p = of_a[0][:, None] * jnp.exp(s - of_a[1][:, None])
        p += of_b[0][None, :] * jnp.exp(s - of_b[1][None, :])
        return _add_products(rows, plan, tile, p, *pulls)

    pulls = jnp.zeros_like(rows.z), jnp.zeros_like(rows.transposed)
    middle = jnp.where(is_safe, stop, first)
    pulls = jax.lax.fori_loop(first, middle, add_with_one_shift, pulls)
    pull, transposed = jax.lax.fori_loop(middle, stop, add_with_row_shifts, pulls)
    return jnp.where(rows.counted[:, None], pull + transposed.T, 0)


def _add_products(
    rows: _Rows, plan: TilePlan, tile: _Tile, w: Array, pull: Array, transposed: Array
) -> tuple[Array, Array]:
    of_a = jax.lax.dynamic_slice_in_dim(rows.transposed, tile.a, plan.tile, axis=1)
    return _add(pull, tile.a, w @ _cut(rows.z, tile.b, plan)), _add(
        transposed, tile.b, of_a @ w, axis=1
    )


def _tile(rows: _Rows, plan: TilePlan, t: Array) -> _Tile:
    diagonal, i = t // plan.blocks, t % plan.blocks
    a, b = i * plan.tile, (i + diagonal) % plan.blocks * plan.tile
    of_a = _cut(rows.z, a, plan) / rows.temperature
    contract_last = (((1,), (1,)), ((), ()))
    similarity = jax.lax.dot_general(of_a, _cut(rows.z, b, plan), contract_last)
    position = jnp.arange(plan.tile)
    above = position[:, None] < position[None, :]
    return _Tile(a, b, similarity, above | (diagonal > 0))


def _among(rows: _Rows, plan: TilePlan, tile: _Tile) -> Array:
    of_a, of_b = _cut(rows.counted, tile.a, plan), _cut(rows.counted, tile.b, plan)
    return tile.once & of_a[:, None] & of_b[None, :]


def _share(plan: TilePlan, axis: str | None) -> tuple[Array, Array]:
    """Returns the first pair of a device and the one after its last."""
    if axis is None:
        return jnp.int32(0), jnp.int32(plan.pairs)
    each = -(-plan.pairs // jax.lax.axis_size(axis))
    first = jnp.minimum(jax.lax.axis_index(axis) * each, plan.pairs)
    return first, jnp.minimum(first + each, plan.pairs)


def _cut(array: Array, at: Array, plan: TilePlan) -> Array:
    return jax.lax.dynamic_slice_in_dim(array, at, plan.tile)


def _add(array: Array, at: Array, block: Array, axis: int = 0) -> Array:
    before = jax.lax.dynamic_slice_in_dim(array, at, block.shape[axis], axis)
    return jax.lax.dynamic_update_slice_in_dim(array, before + block, at, axis)
