"""A mixture of Gaussians, fitted to the posteriors of the training rows."""

import math

import torch
from torch import Tensor

from torch_ref.priors._prior import DensityPrior

_END = 40.0  # a normal score above any draw


class MixturePrior(DensityPrior):
    """Σₖ πₖ N(μₖ, Σₖ), a mixture of Gaussians with full covariances.

    Of the draws of a row, the first one picks the Gaussian: the k-th where it lies between the
    normal scores of π₁ + … + πₖ₋₁ and π₁ + … + πₖ. The latents are μₖ + Lₖ ε, where ε are the
    others and Lₖ Lₖᵀ = Σₖ. Before it is fitted, it is N(0, I).

    Args:
        latent_dim: Z, number of latents.

    References:
        Ghosh et al., From Variational to Deterministic Autoencoders, 2020, for a density of latents
        that is fitted after training.

    Example:
        >>> print(MixturePrior(2)(torch.tensor([[0.3, 1.0, -2.0]])))
        tensor([[ 1., -2.]])
    """

    ends: Tensor
    means: Tensor
    factors: Tensor

    fitted_rows = ("ends", "means", "factors")

    def __init__(self, latent_dim: int):
        super().__init__()
        self.draws = 1 + latent_dim
        self.register_buffer("ends", torch.full((1, 1), _END))
        self.register_buffer("means", torch.zeros(1, latent_dim))
        # Each Lₖ is a row of Z² numbers: of rows a network may keep any number.
        self.register_buffer("factors", torch.eye(latent_dim).reshape(1, -1))

    def forward(self, draws: Tensor) -> Tensor:
        """Maps draws from N(0, 1), `[B, 1 + Z]`, to latents `[B, Z]`."""
        # Compared as normal scores: rounding cannot tell JAX and PyTorch to pick another one.
        passed = (draws[:, :1] >= self.ends[:, 0]).sum(dim=1)
        own = passed.clamp(max=self.ends.size(0) - 1)
        size = self.means.size(1)
        factors = self.factors[own].reshape(draws.size(0), size, size)
        return self.means[own] + (factors * draws[:, None, 1:]).sum(dim=2)

    def log_density(self, z: Tensor) -> Tensor:
        """Returns log p of latents `[B, Z]`, in nats, `[B]`."""
        size = self.means.size(1)
        factors = self.factors.reshape(-1, size, size)
        below = torch.special.ndtr(self.ends[:, 0])
        shares = torch.diff(below, prepend=below.new_zeros(1))
        apart = (z - self.means[:, None, :]).transpose(1, 2)  # (K, Z, B)
        scores = torch.linalg.solve_triangular(factors, apart, upper=False)
        scale = factors.diagonal(dim1=1, dim2=2).abs().log().sum(dim=1)
        of_each = -0.5 * scores.square().sum(dim=1) - scale[:, None] + shares.log()[:, None]
        constant = 0.5 * size * math.log(2 * math.pi)
        return torch.logsumexp(of_each, dim=0) - constant
