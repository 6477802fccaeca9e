"""A score of representations: how far they are from those of the training rows."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrep.networks._fitted import EmbeddingScore, FittedStatistic
from jaxrep.networks._initial import filled


class Mahalanobis(EmbeddingScore):
    """Mahalanobis distance² / Z from the training rows' representations.

    The mean over the training rows is about 1. Before the statistics of `fit` are in, it is the
    mean square of a representation.

    Args:
        latent_dim: Z, size of the representation.

    References:
        Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples, 2018.

    Example:
        >>> print(Mahalanobis(2)(jnp.array([[1.0, 3.0]])))
        [5.]
    """

    def __init__(self, latent_dim: int):
        identity: Any = np.eye(latent_dim, dtype=np.float32)
        self.mean = FittedStatistic(filled(0, latent_dim))
        self.whitening = FittedStatistic(identity)

    def __call__(self, h: Array) -> Array:
        """Maps representations `[B, Z]` to scores `[B]`; higher is more anomalous."""
        whitened = (h - self.mean[...][None, :]) @ self.whitening[...]
        return jnp.mean(whitened**2, axis=-1)

    @staticmethod
    def fit(h: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the statistics of training rows, by the names of this module's variables.

        Args:
            h: representations of training rows, `[rows, Z]`.

        Returns:
            `mean` `[Z]` and the symmetric `whitening` matrix `[Z, Z]`, the inverse root of the
            covariance. Its eigenvalues are raised by a thousandth of their mean and by 1e-6, so
            that a unit that ReLU has silenced does not count infinitely.
        """
        h = h.astype(np.float64)
        mean = h.mean(axis=0)
        eigenvalues, eigenvectors = np.linalg.eigh((h - mean).T @ (h - mean) / len(h))
        raised = eigenvalues.clip(min=0) + 1e-3 * eigenvalues.mean() + 1e-6
        whitening = eigenvectors / np.sqrt(raised) @ eigenvectors.T
        return {"mean": mean.astype(np.float32), "whitening": whitening.astype(np.float32)}
