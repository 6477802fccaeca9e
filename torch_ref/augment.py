"""Corruptions of rows, as pure functions of rows and drawn noise.

What is random comes in as an argument, so that a view can be replayed from JAX's draws. Shape
letters: B batch, D features.
"""

import torch
from torch import Tensor


def gaussian_noise(x: Tensor, normal: Tensor, *, noise_std: float | Tensor) -> Tensor:
    """Adds Gaussian noise: x + σ·ε.

    Args:
        x: rows, `[..., B, D]`.
        normal: draws ε from N(0, 1), of the same shape.
        noise_std: standard deviation σ, in the units of x.

    Returns:
        Noisy rows, of the same shape.

    Example:
        >>> print(gaussian_noise(torch.ones((1, 2)), torch.tensor([[1.0, -2.0]]), noise_std=0.5))
        tensor([[1.5000, 0.0000]])
    """
    return x + noise_std * normal


def feature_dropout(x: Tensor, keep: Tensor) -> Tensor:
    """Sets the features that are not kept to 0, without rescaling the others.

    Args:
        x: rows, `[..., B, D]`.
        keep: booleans of the same shape; True keeps the feature.

    Returns:
        Rows with dropped features, of the same shape.

    Example:
        >>> print(feature_dropout(torch.ones((1, 2)), torch.tensor([[True, False]])))
        tensor([[1., 0.]])
    """
    return torch.where(keep, x, 0.0)


def replace_features(x: Tensor, replace: Tensor, values: Tensor) -> Tensor:
    """Replaces features by values that other rows have in the same columns.

    Args:
        x: rows, `[..., B, D]`.
        replace: booleans of the same shape; True replaces the feature.
        values: what replaces it, of the same shape.

    Returns:
        Rows with replaced features, of the same shape.

    Example:
        >>> x, values = torch.ones((1, 2)), torch.tensor([[8.0, 9.0]])
        >>> print(replace_features(x, torch.tensor([[False, True]]), values))
        tensor([[1., 9.]])

    References:
        Bahri et al., SCARF, 2022; Yoon et al., VIME, 2020; Somepalli et al., SAINT, 2021.
    """
    return torch.where(replace, values, x)
