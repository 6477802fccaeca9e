"""The view `hide`: cells that become missing."""

from collections.abc import Mapping

import torch
from torch import Tensor

from torch_ref.batch import MISSING, Batch
from torch_ref.views._draws import Draws, Noise
from torch_ref.views._view import Rate


def hide(batch: Batch, numbers: Tensor, codes: Tensor | None = None) -> Batch:
    """Makes cells missing.

    Args:
        batch: rows, numbers `[..., B, D]`.
        numbers: booleans of the shape of the numbers; True hides one.
        codes: booleans of the shape of the codes; None where there are none.

    Returns:
        Rows in which hidden numbers are NaN, and hidden codes `MISSING`.

    Example:
        >>> print(hide(Batch(torch.ones(1, 2)), torch.tensor([[True, False]])).numbers)
        tensor([[nan, 1.]])
    """
    hidden = batch._replace(numbers=torch.where(numbers, torch.nan, batch.numbers))
    if batch.codes is None:
        return hidden
    assert codes is not None
    return hidden._replace(codes=torch.where(codes, MISSING, batch.codes))


def draw_hide(draws: Draws, batch: Batch, rates: Mapping[str, Rate]) -> Noise:
    """Draws which cells are hidden."""
    rate, generator = rates["hide_rate"], draws.generator
    noise = {"hide": torch.rand(batch.numbers.shape, generator=generator) < rate}
    if batch.codes is not None:
        noise["hide_codes"] = torch.rand(batch.codes.shape, generator=generator) < rate
    return noise
