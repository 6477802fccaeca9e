"""The Poisson distribution of a column of counts."""

import jax
import jax.numpy as jnp
from jax import Array

MOST = 30.0
"""Log-rates count up to MOST, a rate of 1e13."""


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
