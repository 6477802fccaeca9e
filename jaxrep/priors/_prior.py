"""What every prior is: a map from standard normal draws to latents."""

from abc import abstractmethod

import numpy as np
from jax import Array

from jaxrep.networks import OutputBlock


class Prior(OutputBlock):
    """A distribution of latents `[Z]`.

    It is asked for latents as a function of draws from N(0, 1), so that the same draws give the
    same latents in JAX, in PyTorch and in an export. What it is fitted to, when training is over,
    are samples of the training rows' posteriors: there, and not wherever N(0, I) is, the decoder
    has learned what rows look like.
    """

    draws: int
    """How many draws from N(0, 1) the latents of a row are made of."""

    is_fitted: bool = True
    """Whether it is fitted to posteriors at all."""

    @abstractmethod
    def __call__(self, draws: Array) -> Array:
        """Maps draws from N(0, 1), `[B, draws]`, to latents `[B, Z]`."""

    @abstractmethod
    def fit(self, mu: np.ndarray, log_var: np.ndarray) -> dict[str, np.ndarray]:
        """Returns what it comes to know of posteriors, by the names of this module's variables.

        Args:
            mu: means of the posteriors of training rows, `[rows, Z]`.
            log_var: their log σ², `[rows, Z]`.
        """


class DensityPrior(Prior):
    """A prior whose density is at hand."""

    @abstractmethod
    def log_density(self, z: Array) -> Array:
        """Returns log p of latents `[B, Z]`, in nats, `[B]`."""
