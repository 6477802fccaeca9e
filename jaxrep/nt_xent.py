"""NT-Xent with a gradient of its own: one pass of exponentials, two products of matrices.

Similarities are symmetric, sᵢⱼ = zᵢ·zⱼ/τ, and so are their exponentials as long as one shift serves
all rows. Then one matrix gives the loss and the gradient of all embeddings, where differentiating
the loss step by step would pass over the M × M similarities ten times. Shape letters: B batch,
M = 2B embeddings, P projection.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


def nt_xent(
    z1: Array, z2: Array, *, temperature: float | Array, weights: Array | None = None
) -> Array:
    """Computes `jaxrep.losses.nt_xent_loss` with its gradient in closed form.

    With e the exponentials of the similarities of different rows, r = w / Σⱼ eᵢⱼ and W = Σ w,
    ∂loss/∂zᵢ = (Σⱼ eᵢⱼ (rᵢ + rⱼ) zⱼ − 2 wᵢ z₊) / (W τ). It is differentiable in forward and in
    reverse mode, and twice by forward over reverse.

    Args:
        z1: projections of the first view, `[B, P]`, float32 or float64.
        z2: projections of the second view, `[B, P]`.
        temperature: τ, above 0.
        weights: row weights, `[B]`, at least 0; None weighs all rows alike.

    Returns:
        A scalar.

    References:
        Chen et al., A Simple Framework for Contrastive Learning, 2020, equation 1.

    Example:
        >>> z = jnp.eye(2)
        >>> print(nt_xent(z, z, temperature=0.5).round(4))
        0.2395
    """
    z = jnp.concatenate([z1, z2])  # (M, P)
    weights = jnp.ones(len(z1), z.dtype) if weights is None else weights.astype(z.dtype)
    weights = jnp.concatenate([weights, weights])
    z = jnp.where(weights[:, None] > 0, z, 0)  # whatever stands in rows of no weight
    return _loss(z, weights, jnp.asarray(temperature, z.dtype))


# Not a custom_vjp: a tangent that is linear in the gradient serves both modes, and the gradient is
# all that has to be kept between the passes.
@jax.custom_jvp
def _loss(z: Array, weights: Array, temperature: Array) -> Array:
    return _loss_and_gradients(z, weights, temperature)[0]


@_loss.defjvp
def _loss_jvp(
    primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]
) -> tuple[Array, Array]:
    loss, gradients = _loss_and_gradients(*primals)
    return loss, sum(map(jnp.vdot, gradients, tangents), jnp.zeros_like(loss))


def _loss_and_gradients(
    z: Array, weights: Array, temperature: Array
) -> tuple[Array, tuple[Array, Array, Array]]:
    """Returns the loss and its derivatives by z, weights and temperature."""
    positive = jnp.roll(z, len(z) // 2, axis=0)  # (M, P): the other view of each row
    total = jnp.sum(weights)
    total = jnp.where(total > 0, total, 1)
    log_denominator, pull = _softmax(z, weights, temperature)
    rows = log_denominator - jnp.sum(z * positive, axis=1) / temperature  # (M,)
    # One row has no negatives: both sides of the difference are the same number, but for rounding.
    several = jnp.sum(weights > 0) > 2
    loss = jnp.where(several, jnp.sum(weights * rows) / total, 0)
    by_z = jnp.where(several, pull - 2 * weights[:, None] * positive, 0) / (total * temperature)
    by_weights = jnp.where(several & (weights > 0), rows - loss, 0) / total
    # The loss depends on z zᵀ / τ alone, so scaling τ is scaling z.
    by_temperature = -jnp.vdot(by_z, z) / (2 * temperature)
    return loss, (by_z, by_weights, by_temperature)


def _softmax(z: Array, weights: Array, temperature: Array) -> tuple[Array, Array]:
    """Returns log Σⱼ exp sᵢⱼ `(M,)` and Σⱼ (wᵢpᵢⱼ + wⱼpⱼᵢ) zⱼ `(M, P)`, p being the softmax of s.

    No similarity is above max ‖z‖²/τ or below its negative. Where exp does not underflow over
    twice that, it is the shift of all rows; elsewhere every row takes its own maximum. The choice
    is a loop of no turns or one: XLA's CPU compiler runs the branches of a conditional on a single
    thread, and under vmap the loop is skipped if no member needs it.
    """
    shift = jnp.max(jnp.sum(z**2, axis=1)) / temperature
    is_safe = 2 * shift < -0.9 * jnp.log(np.finfo(z.dtype).tiny)
    common = _softmax_with_one_shift(z, weights, temperature, shift)

    def with_row_shifts(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        # Nothing in a turn depends on the one before, and XLA would take it all out of the loop.
        embeddings, _ = jax.lax.optimization_barrier((z, carry))  # type: ignore[no-untyped-call]
        return jnp.zeros((), bool), *_softmax_with_row_shifts(embeddings, weights, temperature)

    _, log_denominator, pull = jax.lax.while_loop(
        lambda carry: carry[0], with_row_shifts, (~is_safe, *common)
    )
    return log_denominator, pull


def _softmax_with_one_shift(
    z: Array, weights: Array, temperature: Array, shift: Array
) -> tuple[Array, Array]:
    counts = (weights > 0).astype(z.dtype)
    e = jnp.where(_others(len(z)), jnp.exp(z / temperature @ z.T - shift), 0)  # (M, M), symmetric
    denominator = jnp.where(counts > 0, e @ counts, 1)
    r = weights / denominator
    return jnp.log(denominator) + shift, (e * (r[:, None] + r[None, :])) @ z


def _softmax_with_row_shifts(z: Array, weights: Array, temperature: Array) -> tuple[Array, Array]:
    counts = weights > 0
    among = _others(len(z)) & counts[:, None] & counts[None, :]
    s = jnp.where(among, z / temperature @ z.T, -jnp.inf)
    log_denominator = jax.nn.logsumexp(s, axis=1)
    log_denominator = jnp.where(counts, log_denominator, 0)
    p = weights[:, None] * jnp.exp(s - log_denominator[:, None])
    return log_denominator, p @ z + p.T @ z


def _others(size: int) -> Array:
    return jnp.arange(size)[:, None] != jnp.arange(size)[None, :]
