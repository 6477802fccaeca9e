"""Corruptions of rows, as pure functions of rows and drawn noise.

What is random comes in as an argument, so that a view can be replayed in PyTorch. Shape letters:
B batch, D features.
"""

import jax.numpy as jnp
from jax import Array


def gaussian_noise(x: Array, normal: Array, *, noise_std: float | Array) -> Array:
    """Adds Gaussian noise: x + σ·ε.

    Args:
        x: rows, `[..., B, D]`.
        normal: draws ε from N(0, 1), of the same shape.
        noise_std: standard deviation σ, in the units of x.

    Returns:
        Noisy rows, of the same shape.

    Example:
        >>> print(gaussian_noise(jnp.ones((1, 2)), jnp.array([[1.0, -2.0]]), noise_std=0.5))
        [[1.5 0. ]]
    """
    return x + noise_std * normal


def feature_dropout(x: Array, keep: Array) -> Array:
    """Sets the features that are not kept to 0, without rescaling the others.

    Args:
        x: rows, `[..., B, D]`.
        keep: booleans of the same shape; True keeps the feature.

    Returns:
        Rows with dropped features, of the same shape.

    Example:
        >>> print(feature_dropout(jnp.ones((1, 2)), jnp.array([[True, False]])))
        [[1. 0.]]
    """
    return jnp.where(keep, x, 0)


def replace_features(x: Array, replace: Array, values: Array) -> Array:
    """Replaces features by values that other rows have in the same columns.

    Args:
        x: rows, `[..., B, D]`.
        replace: booleans of the same shape; True replaces the feature.
        values: what replaces it, of the same shape.

    Returns:
        Rows with replaced features, of the same shape.

    Example:
        >>> x, values = jnp.ones((1, 2)), jnp.array([[8.0, 9.0]])
        >>> print(replace_features(x, jnp.array([[False, True]]), values))
        [[1. 9.]]

    References:
        Bahri et al., SCARF, 2022; Yoon et al., VIME, 2020; Somepalli et al., SAINT, 2021.
    """
    return jnp.where(replace, values, x)
