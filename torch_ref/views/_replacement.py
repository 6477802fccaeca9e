"""The views `scarf` and `swap`: cells replaced by those of background rows."""

from collections.abc import Mapping

import torch
from torch import Tensor

from torch_ref.batch import Batch
from torch_ref.views._draws import Draws, Noise
from torch_ref.views._view import Rate


def replace_columns(
    batch: Batch,
    replace: Tensor,
    values: Tensor,
    replace_codes: Tensor | None = None,
    codes: Tensor | None = None,
) -> Batch:
    """Replaces cells by those that other rows have in the same columns, gaps with them.

    Args:
        batch: rows, numbers `[..., B, D]`.
        replace: booleans of the shape of the numbers; True replaces one.
        values: numbers that replace them, of the same shape.
        replace_codes: booleans of the shape of the codes; None where there are none.
        codes: codes that replace them, of the same shape.

    Returns:
        Rows with replaced cells.

    Example:
        >>> batch, values = Batch(torch.ones(1, 2)), torch.tensor([[8.0, 9.0]])
        >>> print(replace_columns(batch, torch.tensor([[False, True]]), values).numbers)
        tensor([[1., 9.]])

    References:
        Bahri et al., SCARF, 2022; Yoon et al., VIME, 2020; Somepalli et al., SAINT, 2021.
    """
    replaced = batch._replace(numbers=torch.where(replace, values, batch.numbers))
    if batch.codes is None:
        return replaced
    assert replace_codes is not None and codes is not None
    return replaced._replace(codes=torch.where(replace_codes, codes, batch.codes))


def draw_scarf(draws: Draws, batch: Batch, rates: Mapping[str, Rate]) -> Noise:
    """Draws which cells are replaced, and a background row for each."""

    def draw(rows: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor]:
        replace = torch.rand(shape, generator=draws.generator) < rates["corruption_rate"]
        index = torch.randint(_rows(draws), shape, generator=draws.generator)
        return replace, rows[index, torch.arange(shape[-1])]

    noise: Noise = {}
    background = draws.background
    noise["scarf"], noise["scarf_values"] = draw(background.numbers, batch.numbers.shape)
    if batch.codes is not None:
        assert background.codes is not None
        found = draw(background.codes, batch.codes.shape)
        noise["scarf_codes"], noise["scarf_code_values"] = found
    return noise


def draw_swap(draws: Draws, batch: Batch, rates: Mapping[str, Rate]) -> Noise:
    """Draws which cells are replaced, and one background row for all those of a row."""
    background, rate, generator = draws.background, rates["swap_rate"], draws.generator
    shape = batch.numbers.shape
    noise: Noise = {"swap": torch.rand(shape, generator=generator) < rate}
    index = torch.randint(_rows(draws), shape[:-1], generator=generator)
    noise["swap_values"] = background.numbers[index]
    if batch.codes is not None:
        assert background.codes is not None
        noise["swap_codes"] = torch.rand(batch.codes.shape, generator=generator) < rate
        noise["swap_code_values"] = background.codes[index]
    return noise


def draw_code_values(draws: Draws, batch: Batch) -> Noise:
    """Draws for each code that of a background row, and a place in [0, 1) that says if it is taken.

    Returns:
        `code_values` and `code_places`, `[..., B, C]`.
    """
    codes = draws.background.codes
    assert codes is not None and batch.codes is not None
    shape = batch.codes.shape
    index = torch.randint(_rows(draws), shape, generator=draws.generator)
    places = torch.rand(shape, generator=draws.generator)
    return {"code_values": codes[index, torch.arange(shape[-1])], "code_places": places}


def _rows(draws: Draws) -> int:
    return len(draws.background.numbers) if draws.rows is None else draws.rows
