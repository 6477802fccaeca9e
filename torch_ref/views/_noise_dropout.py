"""The views `noise` and `dropout`."""

from collections.abc import Mapping

import torch
from torch import Tensor

from torch_ref.batch import Batch
from torch_ref.views._draws import Draws, Noise
from torch_ref.views._view import Rate


def add_noise(batch: Batch, normal: Tensor, *, noise_std: Rate) -> Batch:
    """Adds Gaussian noise to numbers: x + σ·ε. Codes stay as they are.

    Args:
        batch: rows, numbers `[..., B, D]`.
        normal: draws ε from N(0, 1), of the shape of the numbers.
        noise_std: standard deviation σ, in the units of the numbers.

    Returns:
        Noisy rows; what is missing stays missing.

    Example:
        >>> batch, normal = Batch(torch.ones(1, 2)), torch.tensor([[1.0, -2.0]])
        >>> print(add_noise(batch, normal, noise_std=0.5).numbers)
        tensor([[1.5000, 0.0000]])
    """
    return batch._replace(numbers=batch.numbers + noise_std * normal)


def drop_columns(batch: Batch, keep: Tensor, keep_codes: Tensor | None = None) -> Batch:
    """Takes away what the cells that are not kept say, without rescaling the others.

    A number becomes 0, which is the mean under the standard scale; a code becomes 0, "other", as a
    value is that training did not know. What is missing stays missing.

    Args:
        batch: rows, numbers `[..., B, D]`.
        keep: booleans of the shape of the numbers; True keeps one.
        keep_codes: booleans of the shape of the codes; None where there are none.

    Returns:
        Rows with dropped cells.

    Example:
        >>> print(drop_columns(Batch(torch.ones(1, 2)), torch.tensor([[True, False]])).numbers)
        tensor([[1., 0.]])
    """
    numbers = torch.where(keep | torch.isnan(batch.numbers), batch.numbers, 0.0)
    dropped = batch._replace(numbers=numbers)
    if batch.codes is None:
        return dropped
    assert keep_codes is not None
    return dropped._replace(codes=torch.where(keep_codes, batch.codes, batch.codes.clamp_max(0)))


def draw_noise(draws: Draws, batch: Batch, rates: Mapping[str, Rate]) -> Noise:
    """Draws `normal` from N(0, 1), of the shape and dtype of the numbers."""
    del rates
    x = batch.numbers
    return {"normal": torch.randn(x.shape, generator=draws.generator, dtype=x.dtype)}


def draw_dropout(draws: Draws, batch: Batch, rates: Mapping[str, Rate]) -> Noise:
    """Draws which numbers and which codes are not dropped."""
    rate, generator = rates["drop_rate"], draws.generator
    noise = {"keep": torch.rand(batch.numbers.shape, generator=generator) >= rate}
    if batch.codes is not None:
        noise["keep_codes"] = torch.rand(batch.codes.shape, generator=generator) >= rate
    return noise
