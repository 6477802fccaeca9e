"""What random numbers are drawn from."""

from typing import NamedTuple

import torch
from torch import Tensor

from torch_ref.batch import Batch

Noise = dict[str, Tensor]


class Draws(NamedTuple):
    """What a method draws its noise from."""

    generator: torch.Generator
    """Source of the random numbers."""

    background: Batch
    """R training rows, for views that take values from other rows; and padding after them."""

    rows: int | None = None
    """R; None where there is no padding."""
