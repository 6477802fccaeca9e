"""The Poisson distribution of a column of counts."""

import jax
import jax.numpy as jnp
from jax import Array

MOST = 30.0
"""Log-rates count up to MOST, a rate of 1e13."""

EXACT, COUNTS = 30.0, 96
"""The rate up to which draws are exact, and how many counts are looked at."""


def terms(count: Array, log_rate: Array) -> Array:
    """−log Poisson(k; λ) = λ − k·log λ + log k!, in nats.

    Above 30, log λ counts as 30 and has no gradient, so that a row far from all others leaves the
    loss finite.

    Args:
        count: k, at least 0, of any shape.
        log_rate: log λ, of the same shape.

    Example:
        >>> print(terms(jnp.array([2.0]), jnp.array([0.0])).round(4))
        [1.6931]
    """
    log_rate = jnp.minimum(log_rate, MOST)
    return jnp.exp(log_rate) - count * log_rate + jax.lax.lgamma(count + 1)


def expectation(log_rate: Array) -> Array:
    """Returns the rate λ."""
    return jnp.exp(jnp.minimum(log_rate, MOST))


def draw(log_rate: Array, normal: Array) -> Array:
    """Returns counts k, the quantiles of Φ(ε).

    Up to a rate of 30 they are those of the distribution; above it, of its Cornish–Fisher expansion
    λ + ε·√λ + (ε² − 1)/6, whose error is below a hundredth of a count.

    Args:
        log_rate: log λ, of any shape.
        normal: draws ε from N(0, 1), of the same shape.
    """
    rate = jnp.exp(jnp.minimum(log_rate, MOST))
    few = jnp.minimum(rate, EXACT)
    counts = jnp.arange(COUNTS, dtype=rate.dtype).reshape((COUNTS,) + (1,) * rate.ndim)
    log_p = counts * jnp.log(few)[None] - few[None] - jax.lax.lgamma(counts + 1)
    below = jnp.cumsum(jnp.exp(log_p), axis=0) < jax.scipy.special.ndtr(normal)[None]
    many = jnp.round(rate + normal * jnp.sqrt(rate) + (normal**2 - 1) / 6)
    return jnp.where(rate > EXACT, jnp.maximum(many, 0), jnp.sum(below, axis=0, dtype=rate.dtype))
