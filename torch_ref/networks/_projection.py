"""The head whose output a contrastive loss compares."""

import torch
from torch import Tensor, nn

from torch_ref.losses import l2_normalize
from torch_ref.networks._mlp import MLP


class ProjectionHead(nn.Module):
    """Maps representations onto the unit sphere in which SimCLR's loss compares them.

    Args:
        input_dim: size of the representation, and of the hidden layer.
        proj_dim: P, size of the projection.
        generator: source of the initial weights.

    Example:
        >>> head = ProjectionHead(8, 32, generator=torch.Generator())
        >>> print(head(torch.ones(3, 8)).detach().norm(dim=-1).round(decimals=3))
        tensor([1., 1., 1.])
    """

    def __init__(self, input_dim: int, proj_dim: int, *, generator: torch.Generator):
        super().__init__()
        self.net = MLP((input_dim, input_dim, proj_dim), generator=generator)

    def forward(self, h: Tensor) -> Tensor:
        """Maps representations `[B, Z]` to projections `[B, P]` of length 1."""
        return l2_normalize(self.net(h))
