"""The Bernoulli distribution of a column of true and false."""

import jax
from jax import Array


def terms(x: Array, logit: Array) -> Array:
    """−log Bernoulli(x; p) = log(1 + exp(ℓ)) − x·ℓ with p = 1/(1 + exp(−ℓ)), in nats.

    Args:
        x: 0 or 1, of any shape.
        logit: ℓ, of the same shape.

    Example:
        >>> import jax.numpy as jnp
        >>> print(terms(jnp.array([1.0, 0.0]), jnp.array([0.0, 20.0])).round(4))
        [ 0.6931 20.    ]
    """
    return jax.nn.softplus(logit) - x * logit


def expectation(logit: Array) -> Array:
    """Returns p, the probability of 1."""
    return jax.nn.sigmoid(logit)


def draw(logit: Array, normal: Array) -> Array:
    """Returns 1 with the probability p and 0 else: 1 where Φ(ε) < p.

    Args:
        logit: ℓ, of any shape.
        normal: draws ε from N(0, 1), of the same shape.
    """
    return (jax.scipy.special.ndtr(normal) < jax.nn.sigmoid(logit)).astype(logit.dtype)
