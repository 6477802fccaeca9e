"""Adam and AdamW as torch has them, with the signatures of `jaxrep.optim`.

torch computes the bias correction 1 − βᵗ in Python's float64, whatever the parameters' dtype.
"""

from collections.abc import Callable, Iterable

import torch
from torch.nn import Parameter

OptimizerFactory = Callable[[Iterable[Parameter]], torch.optim.Optimizer]


def adam(*, learning_rate: float, weight_decay: float) -> OptimizerFactory:
    """Adam with coupled L2: the gradient becomes g + λp before the moments are taken.

    Args:
        learning_rate: step size.
        weight_decay: λ.

    Returns:
        A function from parameters to their optimiser.

    References:
        Kingma and Ba, Adam: A Method for Stochastic Optimization, 2015, algorithm 1.

    Example:
        >>> p = torch.nn.Parameter(torch.zeros(1))
        >>> p.grad = torch.ones(1)
        >>> adam(learning_rate=0.1, weight_decay=0.0)([p]).step()
        >>> print(p.detach())
        tensor([-0.1000])
    """
    return lambda parameters: torch.optim.Adam(
        parameters, lr=learning_rate, weight_decay=weight_decay
    )


def adamw(*, learning_rate: float, weight_decay: float) -> OptimizerFactory:
    """Adam with decoupled weight decay: p shrinks by learning rate · λ · p beside Adam's step.

    Args:
        learning_rate: step size.
        weight_decay: λ.

    Returns:
        A function from parameters to their optimiser.

    References:
        Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019, algorithm 2.

    Example:
        >>> p = torch.nn.Parameter(torch.ones(1))
        >>> p.grad = torch.ones(1)
        >>> adamw(learning_rate=0.1, weight_decay=0.5)([p]).step()
        >>> print(p.detach())
        tensor([0.8500])
    """
    return lambda parameters: torch.optim.AdamW(
        parameters, lr=learning_rate, weight_decay=weight_decay
    )
