"""The Gaussian whose variance is learned, one for each column."""

import math

import torch
from torch import Tensor


def terms(x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """−log N(x; x̂, σ²) = ½ (log 2π + log σ² + (x − x̂)²/σ²), in nats.

    Beyond ±12, which is a σ of 0.0025 or 400, log σ² counts as ±12 and has no gradient, so that
    a column that is known exactly does not drive the loss to −∞.

    Args:
        x: numbers, of any shape.
        mean: x̂, of the same shape.
        log_var: log σ², of a shape that broadcasts to that.

    Example:
        >>> print(terms(torch.tensor([2.0]), torch.tensor([1.0]), torch.zeros(1)))
        tensor([1.4189])
    """
    log_var = log_var.clamp(-12.0, 12.0)
    return 0.5 * (math.log(2 * math.pi) + log_var + (x - mean) ** 2 * torch.exp(-log_var))


def expectation(mean: Tensor) -> Tensor:
    """Returns the mean, which is what a decoder gives."""
    return mean


def draw(mean: Tensor, log_var: Tensor, normal: Tensor) -> Tensor:
    """Returns numbers drawn from N(x̂, σ²).

    Args:
        mean: x̂, of any shape.
        log_var: log σ², of a shape that broadcasts to that.
        normal: draws from N(0, 1), of the shape of x̂.
    """
    return mean + torch.exp(0.5 * log_var.clamp(-12.0, 12.0)) * normal
