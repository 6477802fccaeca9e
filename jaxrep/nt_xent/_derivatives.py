"""Loss and gradient from the sums over the softmax: linear in the rows, the same in all forms."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array


class Derivatives(NamedTuple):
    """The loss, and its derivatives by the rows of both views, their weights, and τ."""

    loss: Array
    by_z: Array
    """`(M, P)`."""
    by_weights: Array
    """`(M,)`."""
    by_temperature: Array


def derivatives(
    z: Array,
    positive: Array,
    weights: Array,
    temperature: Array,
    log_denominator: Array,
    pull: Array,
    *,
    own: Callable[[Array], Array] = lambda rows: rows,
) -> Derivatives:
    """Returns the loss of all rows, and its derivatives by a device's own.

    Args:
        z: embeddings of all devices, `(M, P)`, 0 in rows of no weight.
        positive: the other view of each row, `(M, P)`.
        weights: row weights, `(M,)`.
        temperature: τ.
        log_denominator: log Σⱼ exp sᵢⱼ, `(M,)`.
        pull: Σⱼ (wᵢpᵢⱼ + wⱼpⱼᵢ) zⱼ of the device's own rows.
        own: cuts them out of all; the default is one device. The derivative by τ is then a part of
            a sum over devices.
    """
    total = jnp.sum(weights)
    total = jnp.where(total > 0, total, 1)
    rows = log_denominator - jnp.sum(z * positive, axis=1) / temperature  # (M,)
    # One row has no negatives: both sides of the difference are the same number, but for rounding.
    several = jnp.sum(weights > 0) > 2
    loss = jnp.where(several, jnp.sum(weights * rows) / total, 0)
    own_weights = own(weights)
    force = pull - 2 * own_weights[:, None] * own(positive)
    by_z = jnp.where(several, force, 0) / (total * temperature)
    by_weights = jnp.where(several & (own_weights > 0), own(rows) - loss, 0) / total
    # The loss depends on z zᵀ / τ alone, so scaling τ is scaling z.
    by_temperature = -jnp.vdot(by_z, own(z)) / (2 * temperature)
    return Derivatives(loss, by_z, by_weights, by_temperature)
