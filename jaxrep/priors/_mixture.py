"""A mixture of Gaussians, fitted to the posteriors of the training rows."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrep.networks import FittedRows
from jaxrep.networks._initial import filled
from jaxrep.priors._gaussians import fit_gaussians
from jaxrep.priors._prior import DensityPrior

MOST_COMPONENTS, MOST_NUMBERS = 300, 300 * 24**2
"""The most Gaussians in a mixture, and the most numbers K·Z² in their covariances."""

ROWS_PER_COMPONENT = 100
"""Training rows that a Gaussian more is worth."""

SHRINKAGE = 40
"""Training rows that the covariance of all Gaussians counts for in that of each."""

MOST_SAMPLES, SAMPLES_PER_ROW = 1 << 16, 25
"""The most samples of posteriors that a mixture is fitted to, and the most of a row."""

_ITERATIONS = 30
_END = 40.0  # a normal score above any draw


class MixturePrior(DensityPrior):
    """Σₖ πₖ N(μₖ, Σₖ), a mixture of Gaussians with full covariances.

    Of the draws of a row, the first one picks the Gaussian: the k-th where it lies between the
    normal scores of π₁ + … + πₖ₋₁ and π₁ + … + πₖ. The latents are μₖ + Lₖ ε, where ε are the
    others and Lₖ Lₖᵀ = Σₖ. Before `fit`, it is N(0, I).

    Args:
        latent_dim: Z, number of latents.

    References:
        Ghosh et al., From Variational to Deterministic Autoencoders, 2020, for a density of latents
        that is fitted after training.

    Example:
        >>> print(MixturePrior(2)(jnp.array([[0.3, 1.0, -2.0]])))
        [[ 1. -2.]]
    """

    def __init__(self, latent_dim: int):
        self.draws = 1 + latent_dim
        self.ends = FittedRows(filled(_END, 1, 1))
        self.means = FittedRows(filled(0, 1, latent_dim))
        # Each Lₖ is a row of Z² numbers: of rows a network may keep any number.
        self.factors = FittedRows(_as_rows(np.eye(latent_dim)[None]))

    def __call__(self, draws: Array) -> Array:
        """Maps draws from N(0, 1), `[B, 1 + Z]`, to latents `[B, Z]`."""
        ends, means, factors = self._arrays()
        if len(ends) == 1:
            # Of a look-up in one row XLA for CPUs makes a product that is wrong for most rows
            # where the decoder's first layer follows it (jax 0.10.2).
            return means + draws[:, 1:] @ factors[0].T
        # Compared as normal scores: rounding cannot tell JAX and PyTorch to pick another one.
        passed = jnp.sum(draws[:, :1] >= ends[None, :], axis=1)
        own = jnp.minimum(passed, len(ends) - 1)
        return means[own] + jnp.sum(factors[own] * draws[:, None, 1:], axis=2)

    def log_density(self, z: Array) -> Array:
        """Returns log p of latents `[B, Z]`, in nats, `[B]`."""
        ends, means, factors = self._arrays()
        shares = jnp.diff(jax.scipy.special.ndtr(ends), prepend=0.0)
        apart = z[None, :, :] - means[:, None, :]  # (K, B, Z)
        scores = jax.scipy.linalg.solve_triangular(factors, apart.swapaxes(1, 2), lower=True)
        scale = jnp.sum(jnp.log(jnp.abs(jnp.diagonal(factors, axis1=1, axis2=2))), axis=1)
        of_each = -0.5 * jnp.sum(scores**2, axis=1) - scale[:, None]
        constant = 0.5 * z.shape[-1] * math.log(2 * math.pi)
        return jax.nn.logsumexp(of_each, axis=0, b=shares[:, None]) - constant

    def _arrays(self) -> tuple[Array, Array, Array]:
        """Returns the ends `[K]`, the means `[K, Z]` and the factors `[K, Z, Z]`."""
        means: Any = self.means[...]
        size = means.shape[-1]
        ends, factors = jnp.asarray(self.ends[...]), jnp.asarray(self.factors[...])
        return ends[:, 0], jnp.asarray(means), factors.reshape(-1, size, size)

    def fit(self, mu: np.ndarray, log_var: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the mixture that 30 steps of expectation maximisation come to from k-means++.

        It has a Gaussian for every 100 training rows, 300 at most, and fewer of more than 24
        latents, so that K·Z² stays below 172,800. The covariance of each is drawn to that of all,
        as if 40 rows had it.

        Args:
            mu: means of the posteriors of training rows, `[rows, Z]`.
            log_var: their log σ², `[rows, Z]`.
        """
        from scipy.special import ndtri
        from sklearn.cluster import kmeans_plusplus
        from threadpoolctl import threadpool_limits

        rows, size = mu.shape
        samples = min(MOST_SAMPLES, SAMPLES_PER_ROW * rows)
        z = sample_posteriors(mu, log_var, samples)
        most = max(min(MOST_COMPONENTS, MOST_NUMBERS // size**2), 1)
        count = min(max(rows // ROWS_PER_COMPONENT, 1), most)
        # One thread: beside other work BLAS's threads wait for each other for most of the time.
        with threadpool_limits(1):
            means, _ = kmeans_plusplus(z, count, random_state=0)
            # Several samples of a row say no more than it does; one of each, as much.
            shrinkage = SHRINKAGE * max(samples / rows, 1)
            mixture = fit_gaussians(z, means, shrinkage=shrinkage, iterations=_ITERATIONS)
        ends = ndtri(np.minimum(np.cumsum(mixture.shares), 1))
        ends[-1] = _END
        return {
            "ends": ends.astype(np.float32)[:, None],
            "means": mixture.means.astype(np.float32),
            "factors": _as_rows(mixture.factors),
        }


def sample_posteriors(mu: np.ndarray, log_var: np.ndarray, count: int) -> np.ndarray:
    """Returns samples of posteriors N(μ, σ²), about as many of each, float64 `[count, Z]`.

    Args:
        mu: their means, `[rows, Z]`.
        log_var: their log σ², `[rows, Z]`.
        count: of the samples.

    Example:
        >>> sample_posteriors(np.array([[1.0], [2.0]]), np.full((2, 1), -60.0), 4).round(3).T
        array([[1., 1., 2., 2.]])
    """
    rows = np.linspace(0, len(mu) - 1, count).round().astype(int)
    eps = np.random.default_rng(0).normal(size=(count, mu.shape[1]))
    return np.asarray(mu[rows] + np.exp(0.5 * log_var[rows].astype(np.float64)) * eps)


def _as_rows(factors: np.ndarray) -> Any:
    """Returns matrices `[K, Z, Z]` as float32 `[K, Z²]`."""
    return factors.reshape(len(factors), -1).astype(np.float32)
