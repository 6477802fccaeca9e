"""The prior that training has in mind."""

import math

from torch import Tensor

from torch_ref.priors._prior import DensityPrior


class NormalPrior(DensityPrior):
    """N(0, I), which the KL divergence draws the posteriors towards.

    Args:
        latent_dim: Z, number of latents.

    Example:
        >>> import torch
        >>> print(NormalPrior(2).log_density(torch.zeros(1, 2)))
        tensor([-1.8379])
    """

    def __init__(self, latent_dim: int):
        super().__init__()
        self.draws = latent_dim

    def forward(self, draws: Tensor) -> Tensor:
        """Returns the draws, which are latents already, `[B, Z]`."""
        return draws

    def log_density(self, z: Tensor) -> Tensor:
        """Returns log p of latents `[B, Z]`, in nats, `[B]`."""
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(dim=-1)
