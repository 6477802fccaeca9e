"""The views `scarf` and `swap`: features replaced by values of background rows."""

from collections.abc import Mapping

import torch
from torch import Tensor

from torch_ref.views._draws import Draws, Noise
from torch_ref.views._view import Rate


def replace_features(x: Tensor, replace: Tensor, values: Tensor) -> Tensor:
    """Replaces features by values that other rows have in the same columns.

    Args:
        x: rows, `[..., B, D]`.
        replace: booleans of the same shape; True replaces the feature.
        values: what replaces it, of the same shape.

    Returns:
        Rows with replaced features, of the same shape.

    Example:
        >>> x, values = torch.ones((1, 2)), torch.tensor([[8.0, 9.0]])
        >>> print(replace_features(x, torch.tensor([[False, True]]), values))
        tensor([[1., 9.]])

    References:
        Bahri et al., SCARF, 2022; Yoon et al., VIME, 2020; Somepalli et al., SAINT, 2021.
    """
    return torch.where(replace, values, x)


def draw_scarf(draws: Draws, x: Tensor, rates: Mapping[str, Rate]) -> Noise:
    """Draws which features are replaced, and a background row for each."""
    replace = torch.rand(x.shape, generator=draws.generator) < rates["corruption_rate"]
    index = torch.randint(len(draws.background), x.shape, generator=draws.generator)
    return {"scarf": replace, "scarf_values": draws.background[index, torch.arange(x.shape[-1])]}


def draw_swap(draws: Draws, x: Tensor, rates: Mapping[str, Rate]) -> Noise:
    """Draws which features are replaced, and one background row for all those of a row."""
    replace = torch.rand(x.shape, generator=draws.generator) < rates["swap_rate"]
    index = torch.randint(len(draws.background), x.shape[:-1], generator=draws.generator)
    return {"swap": replace, "swap_values": draws.background[index]}
