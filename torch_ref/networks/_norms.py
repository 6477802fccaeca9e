"""Normalisation: by statistics of the batch, and of the row."""

import torch
from torch import Tensor, nn


class BatchNorm(nn.Module):
    """Batch normalisation: (x − mean) / √(var + ε) · scale + bias, feature by feature.

    While the network trains, mean and var are those of the batch, rows weighted:
    mean = Σ wᵢxᵢ / Σ wᵢ and var = Σ wᵢ(xᵢ − mean)² / Σ wᵢ. The network keeps running ones for its
    outputs: running ← 0.9 · running + 0.1 · batch, var divided by 1 − Σ wᵢ² / (Σ wᵢ)² before, which
    makes it unbiased. A batch of a single row leaves them as they are. With equal weights this is
    `nn.BatchNorm1d`.

    Args:
        width: features of x, F.

    References:
        Ioffe and Szegedy, Batch Normalization, 2015.

    Example:
        >>> norm = BatchNorm(1)
        >>> x, weights = torch.tensor([[1.0], [3.0], [100.0]]), torch.tensor([1.0, 1.0, 0.0])
        >>> print(norm(x, weights).detach()[:2].round(decimals=2))
        tensor([[-1.],
                [ 1.]])
        >>> print(norm.mean, norm.var)  # 0.1 · 2 and 0.9 · 1 + 0.1 · 2
        tensor([0.2000]) tensor([1.1000])
    """

    mean: Tensor
    var: Tensor

    def __init__(self, width: int):
        super().__init__()
        self.momentum, self.epsilon = 0.1, 1e-5
        self.scale = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("var", torch.ones(width))

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Maps `[B, F]` to `[B, F]`.

        Args:
            x: rows.
            weights: of the rows, `[B]`; by default all alike. Only training reads them.
        """
        mean, var = self.mean, self.var
        if self.training:
            mean, var = self._of_batch(x, weights)
        return (x - mean) * (self.scale * torch.rsqrt(var + self.epsilon)) + self.bias

    def _of_batch(self, x: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """Returns mean and variance of a batch, and takes them into the running ones."""
        w = torch.ones_like(x[:, 0]) if weights is None else weights.to(x.dtype)
        total = w.sum()
        share = w / torch.where(total > 0, total, torch.ones_like(total))
        mean = (share[:, None] * x).sum(dim=0)
        var = (share[:, None] * (x - mean) ** 2).sum(dim=0)
        if int((w > 0).sum()) > 1:
            unbiased = var.detach() / (1 - (share**2).sum())
            with torch.no_grad():
                self.mean.add_(self.momentum * (mean.detach() - self.mean))
                self.var.add_(self.momentum * (unbiased - self.var))
        return mean, var


class LayerNorm(nn.Module):
    """Layer normalisation: (x − mean) / √(var + ε) · scale + bias, row by row, ε = 1e-5.

    Mean and variance are those of a row's features, the variance computed from the deviations:
    `nn.LayerNorm`.

    Args:
        width: features of x, F.

    References:
        Ba, Kiros and Hinton, Layer Normalization, 2016.

    Example:
        >>> print(LayerNorm(2)(torch.tensor([[1000.0, 1002.0]])).detach().round(decimals=3))
        tensor([[-1.,  1.]])
    """

    def __init__(self, width: int):
        super().__init__()
        self.epsilon = 1e-5
        self.scale = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[B, F]` to `[B, F]`."""
        centred = x - x.mean(dim=-1, keepdim=True)
        var = (centred**2).mean(dim=-1, keepdim=True)
        return centred * torch.rsqrt(var + self.epsilon) * self.scale + self.bias
