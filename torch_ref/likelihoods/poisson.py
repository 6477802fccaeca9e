"""The Poisson distribution of a column of counts."""

import math

import torch
from torch import Tensor


def terms(count: Tensor, log_rate: Tensor) -> Tensor:
    """−log Poisson(k; λ) = λ − k·log λ + log k!, in nats.

    Above 30, which is a rate of 1e13, log λ counts as 30 and has no gradient, so that a row far
    from all others leaves the loss finite.

    Args:
        count: k, at least 0, of any shape.
        log_rate: log λ, of the same shape.

    Example:
        >>> print(terms(torch.tensor([2.0]), torch.tensor([0.0])))
        tensor([1.6931])
    """
    log_rate = log_rate.clamp_max(30.0)
    return torch.exp(log_rate) - count * log_rate + _log_factorial(count)


def expectation(log_rate: Tensor) -> Tensor:
    """Returns the rate λ."""
    return torch.exp(log_rate.clamp_max(30.0))


def _log_factorial(count: Tensor) -> Tensor:
    """Returns log Γ(k + 1) for k ≥ 0 by Stirling's series; ONNX has no gamma function.

    From 8 on the series is right to 1e-14. Below, log Γ(z) = log Γ(z + 8) − log z(z + 1)…(z + 7).
    """
    z = count + 1.0
    is_large = z >= 8.0
    small = torch.where(is_large, torch.ones_like(z), z)
    product = small
    for i in range(1, 8):
        product = product * (small + float(i))
    z = torch.where(is_large, z, small + 8.0)
    inverse = 1.0 / z
    series = torch.zeros_like(z)
    for coefficient in (-691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12):
        series = series * inverse * inverse + coefficient
    found = (z - 0.5) * torch.log(z) - z + 0.5 * math.log(2 * math.pi) + series * inverse
    return found - torch.where(is_large, torch.zeros_like(z), torch.log(product))


def draw(log_rate: Tensor, normal: Tensor) -> Tensor:
    """Returns counts k, the quantiles of Φ(ε).

    Up to a rate of 30 they are those of the distribution; above it, of its Cornish–Fisher expansion
    λ + ε·√λ + (ε² − 1)/6, whose error is below a hundredth of a count.

    Args:
        log_rate: log λ, of any shape.
        normal: draws ε from N(0, 1), of the same shape.
    """
    rate = torch.exp(log_rate.clamp_max(30.0))
    few = rate.clamp_max(30.0)
    counts = torch.arange(96, dtype=rate.dtype, device=rate.device)
    log_p = counts * torch.log(few).unsqueeze(-1) - few.unsqueeze(-1) - torch.lgamma(counts + 1)
    uniform = torch.special.ndtr(normal).unsqueeze(-1)
    below = (torch.cumsum(torch.exp(log_p), dim=-1) < uniform).sum(dim=-1).to(rate.dtype)
    many = torch.round(rate + normal * torch.sqrt(rate) + (normal**2 - 1) / 6).clamp_min(0.0)
    return torch.where(rate > 30.0, many, below)
