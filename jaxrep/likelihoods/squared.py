"""Squared error: the Gaussian of variance ½, without its constant."""

import math

from jax import Array


def terms(x: Array, mean: Array) -> Array:
    """Squared error (x − x̂)²: −log N(x; x̂, ½) − ½ log π, in nats.

    Args:
        x: numbers, of any shape.
        mean: x̂, of the same shape.

    Example:
        >>> import jax.numpy as jnp
        >>> print(terms(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0])))
        [0. 4.]
    """
    return (x - mean) ** 2


def expectation(mean: Array) -> Array:
    """Returns the mean, which is what a decoder gives."""
    return mean


def draw(mean: Array, normal: Array) -> Array:
    """Returns numbers drawn from N(x̂, ½).

    Args:
        mean: x̂, of any shape.
        normal: draws from N(0, 1), of the same shape.
    """
    return mean + math.sqrt(0.5) * normal
