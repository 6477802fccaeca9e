"""The views `noise` and `dropout`."""

from collections.abc import Mapping

import torch
from torch import Tensor

from torch_ref.views._draws import Draws, Noise
from torch_ref.views._view import Rate


def gaussian_noise(x: Tensor, normal: Tensor, *, noise_std: Rate) -> Tensor:
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


def draw_noise(draws: Draws, x: Tensor, rates: Mapping[str, Rate]) -> Noise:
    """Draws `normal` from N(0, 1), of the shape and dtype of rows x `[..., B, D]`."""
    del rates
    return {"normal": torch.randn(x.shape, generator=draws.generator, dtype=x.dtype)}


def draw_dropout(draws: Draws, x: Tensor, rates: Mapping[str, Rate]) -> Noise:
    """Draws `keep`, which features of rows x `[..., B, D]` are not dropped."""
    return {"keep": torch.rand(x.shape, generator=draws.generator) >= rates["drop_rate"]}
