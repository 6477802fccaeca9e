"""A score that is the mean of others."""

import numpy as np
import torch
from torch import Tensor

from torch_ref.networks._fitted import OutputBlock

_LEAST_SCALE = 1e-6


class MeanScore(OutputBlock):
    """The mean of several scores, each standardised by those of the training rows.

    Before the statistics of `fit` are in, they are not standardised.

    Args:
        count: S, number of scores.

    Example:
        >>> print(MeanScore(2)(torch.tensor([[1.0, 3.0]])))
        tensor([2.])
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, count: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("scale", torch.ones(count))

    def forward(self, scores: Tensor) -> Tensor:
        """Maps scores `[B, S]` to their mean `[B]`; higher is more anomalous."""
        return ((scores - self.mean) / self.scale).mean(dim=-1)

    @staticmethod
    def fit(scores: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the statistics of training rows, by the names of this module's buffers.

        Args:
            scores: of training rows, `[rows, S]`.
        """
        rows = torch.from_numpy(scores.astype(np.float64))
        mean, scale = rows.mean(dim=0), rows.std(dim=0, correction=0).clamp_min(_LEAST_SCALE)
        return {"mean": mean.float().numpy(), "scale": scale.float().numpy()}
