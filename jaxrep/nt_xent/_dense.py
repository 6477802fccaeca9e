"""NT-Xent's softmax with all exponentials in memory: for batches whose square stays in the cache.

One pass of exponentials, two products of matrices. Similarities are symmetric, sᵢⱼ = zᵢ·zⱼ/τ, and
so are their exponentials as long as one shift serves all rows: then one matrix gives denominators
and gradient, where differentiating step by step would pass over the M × M similarities ten times.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


def softmax(z: Array, weights: Array, temperature: Array) -> tuple[Array, Array]:
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
