"""A score of representations: how far they are from those of the training rows."""

import numpy as np
import torch
from torch import Tensor

from torch_ref.networks._fitted import EmbeddingScore


class Mahalanobis(EmbeddingScore):
    """Mahalanobis distance² / Z from the training rows' representations.

    The mean over the training rows is about 1. Before the statistics of `fit` are in, it is the
    mean square of a representation.

    Args:
        latent_dim: Z, size of the representation.

    References:
        Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples, 2018.

    Example:
        >>> print(Mahalanobis(2)(torch.tensor([[1.0, 3.0]])))
        tensor([5.])
    """

    mean: Tensor
    whitening: Tensor

    def __init__(self, latent_dim: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("whitening", torch.eye(latent_dim))

    def forward(self, h: Tensor) -> Tensor:
        """Maps representations `[B, Z]` to scores `[B]`; higher is more anomalous."""
        whitened = (h - self.mean) @ self.whitening
        return (whitened**2).mean(dim=-1)

    @staticmethod
    def fit(h: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the statistics of training rows, by the names of this module's buffers.

        Args:
            h: representations of training rows, `[rows, Z]`.

        Returns:
            `mean` `[Z]` and the symmetric `whitening` matrix `[Z, Z]`, the inverse root of the
            covariance. Its eigenvalues are raised by a thousandth of their mean and by 1e-6, so
            that a unit that ReLU has silenced does not count infinitely.
        """
        rows = torch.from_numpy(h.astype(np.float64))
        mean = rows.mean(dim=0)
        eigenvalues, eigenvectors = torch.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
        raised = eigenvalues.clamp_min(0) + 1e-3 * eigenvalues.mean() + 1e-6
        whitening = eigenvectors / raised.sqrt() @ eigenvectors.T
        return {"mean": mean.float().numpy(), "whitening": whitening.float().numpy()}
