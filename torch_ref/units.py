"""Predicted numbers in the units of the label that a network was trained on.

TorchScript compiles this file.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Units(nn.Module):
    """Standardised numbers in a label's units: t · scale + mean, in float64.

    Args:
        mean: of the label's training rows.
        scale: their standard deviation.

    Example:
        >>> print(Units(mean=100.0, scale=20.0)(torch.tensor([[0.5], [-1.0]])))
        tensor([[110.],
                [ 80.]], dtype=torch.float64)
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: float, scale: float):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))

    def forward(self, prediction: Tensor) -> Tensor:
        """Maps `[B, 1]` to `[B, 1]`, float64."""
        return prediction.double() * self.scale + self.mean


def units_of(description: Mapping[str, Any]) -> nn.Module:
    """Returns what makes predictions in a label's units of what a network predicts.

    Args:
        description: of a file; probabilities of classes stay as they are, and so does all of a
            network that predicts nothing.

    Example:
        >>> units_of({"target": {"kind": "classes", "name": "job", "labels": ["a", "b"]}})
        Identity()
    """
    target = description.get("target", {})
    if target.get("kind") != "numbers":
        return nn.Identity()
    return Units(target["mean"], target["scale"])
