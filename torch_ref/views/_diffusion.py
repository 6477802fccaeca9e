"""Corruption at noise levels, as in diffusion models; no view: the network is told the level."""

import torch
from torch import Tensor

from torch_ref.batch import Batch
from torch_ref.views._codes import draw_other
from torch_ref.views._draws import Draws, Noise
from torch_ref.views._hide import draw_hide, hide
from torch_ref.views._replacement import draw_code_values
from torch_ref.views._view import Rate


def signal(level: Tensor) -> Tensor:
    """Returns the share of a number that is left at a noise level: √ᾱ = exp(−½ ∫₀ᵘ β).

    β rises linearly from 0.01 to 1, so √ᾱ falls from 1 to 0.78 and the noise's standard deviation,
    √(1 − ᾱ), rises from 0 to 0.63.

    Args:
        level: u, from 0 to 1.

    References:
        Song et al., Score-Based Generative Modeling through Stochastic Differential Equations,
        2021, equation 29: the variance-preserving process.

    Example:
        >>> print(signal(torch.tensor([0.0, 0.5, 1.0])).numpy().round(3))
        [1.    0.938 0.777]
    """
    return torch.exp(-0.5 * (0.01 * level + 0.5 * 0.99 * level**2))


def diffuse(
    batch: Batch,
    level: Tensor,
    normal: Tensor,
    places: Tensor | None = None,
    values: Tensor | None = None,
) -> Batch:
    """Corrupts rows at noise levels: √ᾱ·x + √(1 − ᾱ)·ε, and codes replaced at the rate 1 − √ᾱ.

    What is missing stays missing.

    Args:
        batch: rows, numbers `[B, D]`.
        level: of each row, from 0 to 1, `[B, 1]`; at 0 a row stays as it is.
        normal: draws ε from N(0, 1), `[B, D]`, or the same for all rows, `[1, D]`.
        places: of codes, uniform in [0, 1), `[B, C]` or `[1, C]`: one below the rate is
            replaced.
        values: codes that replace them, of the same shape.

    Example:
        >>> batch, level = Batch(torch.ones(1, 2)), torch.tensor([[1.0]])
        >>> print(diffuse(batch, level, torch.tensor([[0.0, 1.0]])).numbers)
        tensor([[0.7769, 1.4065]])
    """
    kept = signal(level)
    noise = torch.sqrt(-torch.expm1(2 * torch.log(kept)))
    dtype = batch.numbers.dtype
    numbers = kept.to(dtype) * batch.numbers + noise.to(dtype) * normal.to(dtype)
    codes = batch.codes
    if codes is not None:
        assert places is not None and values is not None
        is_replaced = (places < 1 - kept) & (codes >= 0)
        codes = torch.where(is_replaced, values.to(codes.dtype), codes)
    return Batch(numbers, codes, batch.targets, batch.weights)


def hide_and_diffuse(batch: Batch, noise: Noise) -> Batch:
    """Returns rows corrupted at their noise levels, and parts of them hidden.

    Args:
        batch: rows.
        noise: from `draw_diffusion`.
    """
    codes = (noise.get("code_places"), noise.get("code_values"))
    diffused = diffuse(batch, noise["level"], noise["normal"], *codes)
    return hide(diffused, noise["hidden"], noise.get("hidden_codes"))


def draw_diffusion(draws: Draws, batch: Batch, *, hide_rate: Rate, other_rate: Rate) -> Noise:
    """Draws a noise level for each row, the noise of its cells, and which of them are hidden.

    Of half the rows no cell is hidden, so that the network learns to give whole rows back too.

    Args:
        draws: a generator, and background rows, of which codes are taken.
        batch: rows; their shapes and dtypes count.
        hide_rate: share of the cells that are hidden in the other half.
        other_rate: share of the codes that count as "other".

    Returns:
        `level` `[B, 1]`, `normal` and `hidden` `[B, D]`, and of codes `code_places`, `code_values`,
        `hidden_codes` and `other`, `[B, C]`.
    """
    shape, generator = batch.numbers.shape, draws.generator
    may_hide = torch.rand(shape[0], 1, generator=generator) < 0.5
    hidden = draw_hide(draws, batch, {"hide_rate": hide_rate})
    noise = {name.replace("hide", "hidden"): may_hide & of for name, of in hidden.items()}
    noise["level"] = torch.rand(shape[0], 1, generator=generator).to(batch.numbers.dtype)
    noise["normal"] = torch.randn(shape, generator=generator, dtype=batch.numbers.dtype)
    if batch.codes is not None:
        noise |= draw_code_values(draws, batch)
    return noise | draw_other(other_rate, draws, batch)
