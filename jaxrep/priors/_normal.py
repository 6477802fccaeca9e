"""The prior that training has in mind."""

import math

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrep.priors._prior import DensityPrior


class NormalPrior(DensityPrior):
    """N(0, I), which the KL divergence draws the posteriors towards.

    Args:
        latent_dim: Z, number of latents.

    Example:
        >>> print(NormalPrior(2).log_density(jnp.zeros((1, 2))).round(3))
        [-1.838]
    """

    is_fitted = False

    def __init__(self, latent_dim: int):
        self.draws = latent_dim

    def __call__(self, draws: Array) -> Array:
        """Returns the draws, which are latents already, `[B, Z]`."""
        return draws

    def log_density(self, z: Array) -> Array:
        """Returns log p of latents `[B, Z]`, in nats, `[B]`."""
        return -0.5 * jnp.sum(z**2 + math.log(2 * math.pi), axis=-1)

    def fit(self, mu: np.ndarray, log_var: np.ndarray) -> dict[str, np.ndarray]:
        """Returns nothing: it is the same whatever the posteriors are."""
        return {}
