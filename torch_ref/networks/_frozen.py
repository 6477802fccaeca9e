"""What a network keeps and saves with its weights, and never trains."""

import torch
from torch import Tensor, nn


def freeze(module: nn.Module) -> None:
    """Lets no parameter of a module have a gradient; `torch_ref.optim` leaves such ones out.

    What a module changes itself is not frozen, such as BatchNorm's running mean.

    Args:
        module: changed in place; names and values stay as they are.

    Example:
        >>> layer = nn.Linear(4, 2)
        >>> freeze(layer)
        >>> [parameter.requires_grad for parameter in layer.parameters()]
        [False, False]
    """
    module.requires_grad_(False)


class Standardisation(nn.Module):
    """Standardises features: (x − mean) / scale.

    Both are buffers, 0 and 1 until `torch_ref.weights.with_weights` sets them, as to statistics of
    training rows.

    Args:
        features: Z, features of a row.

    Example:
        >>> import numpy as np
        >>> from torch_ref.weights import with_weights
        >>> statistics = {"mean": np.array([1.0, 2.0]), "scale": np.array([1.0, 4.0])}
        >>> print(with_weights(Standardisation(2), statistics)(torch.tensor([[3.0, 4.0]])))
        tensor([[2.0000, 0.5000]])
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[B, Z]` to `[B, Z]`."""
        return (x - self.mean) / self.scale
