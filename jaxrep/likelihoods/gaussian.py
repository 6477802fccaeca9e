"""The Gaussian whose variance is learned, one for each column."""

import math

import jax.numpy as jnp
from jax import Array

MOST = 12.0
"""Log-variances count within ±MOST."""


def terms(x: Array, mean: Array, log_var: Array) -> Array:
    """−log N(x; x̂, σ²) = ½ (log 2π + log σ² + (x − x̂)²/σ²), in nats.

    Beyond ±12, which is a σ of 0.0025 or 400, log σ² counts as ±12 and has no gradient, so that
    a column that is known exactly does not drive the loss to −∞.

    Args:
        x: numbers, of any shape.
        mean: x̂, of the same shape.
        log_var: log σ², of a shape that broadcasts to that.

    Example:
        >>> print(terms(jnp.array([2.0]), jnp.array([1.0]), jnp.zeros(1)).round(4))
        [1.4189]
    """
    log_var = jnp.clip(log_var, -MOST, MOST)
    return 0.5 * (math.log(2 * math.pi) + log_var + (x - mean) ** 2 * jnp.exp(-log_var))


def expectation(mean: Array) -> Array:
    """Returns the mean, which is what a decoder gives."""
    return mean


def draw(mean: Array, log_var: Array, normal: Array) -> Array:
    """Returns numbers drawn from N(x̂, σ²).

    Args:
        mean: x̂, of any shape.
        log_var: log σ², of a shape that broadcasts to that.
        normal: draws from N(0, 1), of the shape of x̂.
    """
    return mean + jnp.exp(0.5 * jnp.clip(log_var, -MOST, MOST)) * normal
