"""A score of representations: how far the nearest of the training rows are."""

import numpy as np
import torch
from torch import Tensor

from torch_ref.networks._fitted import EmbeddingScore

NEIGHBOURS = 5
"""The neighbour whose distance counts, of the nearest ones."""

BANK_ROWS = 10_000
"""The most representations of training rows that are kept."""

_CANDIDATES = 16  # whose distances are computed anew, from differences
_SAME = 1e-10  # distance², as a share of ‖z‖², up to which two rows are the same but for rounding


class Neighbours(EmbeddingScore):
    """Distance / √Z to the fifth nearest representation in a bank of those of training rows.

    The bank holds them all, or 10,000 evenly spaced ones of more. A row that is in the bank is not
    counted as its own neighbour: of equal ones the first is passed over. Before `fit`, it is the
    root mean square of a representation.

    Candidates are found by ‖a‖² + ‖b‖² − 2ab, around the bank's mean, and the distances of the
    sixteen nearest computed from differences, which do not cancel. A row needs memory for a number
    for each row of the bank.

    Args:
        latent_dim: Z, size of the representation.

    References:
        Ramaswamy et al., Efficient Algorithms for Mining Outliers from Large Data Sets, 2000.

    Example:
        >>> print(Neighbours(2)(torch.tensor([[3.0, 1.0]])))
        tensor([2.2361])
    """

    bank: Tensor
    neighbours: int
    candidates: int
    same: float

    fitted_rows = ("bank",)

    def __init__(self, latent_dim: int):
        super().__init__()
        # TorchScript sees no constants of a module.
        self.neighbours, self.candidates, self.same = NEIGHBOURS, _CANDIDATES, _SAME
        self.register_buffer("bank", torch.zeros(1, latent_dim))

    def forward(self, z: Tensor) -> Tensor:
        """Maps representations `[B, Z]` to scores `[B]`; higher is more anomalous."""
        count = min(self.candidates, self.bank.size(0))
        mean = self.bank.mean(dim=0, keepdim=True)
        apart = self.bank - mean
        nearness = 2 * (z - mean) @ apart.t() - apart.square().sum(dim=-1)
        places = torch.topk(nearness, count)[1]  # (B, count)
        square = (z[:, None, :] - self.bank[places]).square().sum(dim=-1)
        nearest = torch.topk(square, min(self.neighbours + 1, count), largest=False)[0]
        last = nearest.size(1) - 1
        is_same = nearest[:, 0] <= self.same * z.square().sum(dim=-1)
        kth = torch.where(is_same, nearest[:, last], nearest[:, min(self.neighbours - 1, last)])
        return torch.sqrt(kth / z.size(1))

    @staticmethod
    def fit(z: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the bank of training rows, `[min(rows, 10,000), Z]`.

        Args:
            z: representations of training rows, `[rows, Z]`.
        """
        kept = np.unique(np.linspace(0, len(z) - 1, BANK_ROWS).astype(int))
        return {"bank": np.ascontiguousarray(z[kept], np.float32)}
