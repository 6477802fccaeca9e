"""The Bernoulli distribution of a column of true and false."""

import torch
from torch import Tensor


def terms(x: Tensor, logit: Tensor) -> Tensor:
    """−log Bernoulli(x; p) = log(1 + exp(ℓ)) − x·ℓ with p = 1/(1 + exp(−ℓ)), in nats.

    Args:
        x: 0 or 1, of any shape.
        logit: ℓ, of the same shape.

    Example:
        >>> print(terms(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 20.0])))
        tensor([ 0.6931, 20.0000])
    """
    # By default softplus is ℓ from 20 on, which is wrong by 1e-10 of it in float64.
    return torch.nn.functional.softplus(logit, 1.0, 40.0) - x * logit


def expectation(logit: Tensor) -> Tensor:
    """Returns p, the probability of 1."""
    return torch.sigmoid(logit)


def draw(logit: Tensor, normal: Tensor) -> Tensor:
    """Returns 1 with the probability p and 0 else: 1 where Φ(ε) < p.

    Args:
        logit: ℓ, of any shape.
        normal: draws ε from N(0, 1), of the same shape.
    """
    found: Tensor = (torch.special.ndtr(normal) < torch.sigmoid(logit)).to(logit.dtype)
    return found
