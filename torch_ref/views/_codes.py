"""Codes replaced by "other"."""

import torch

from torch_ref.batch import Batch
from torch_ref.views._draws import Draws, Noise
from torch_ref.views._view import Rate, is_off


def draw_other(rate: Rate, draws: Draws, batch: Batch) -> Noise:
    """Draws which codes of a batch count as "other".

    Args:
        rate: share of the codes.
        draws: source of the random numbers.
        batch: the shape of its codes counts, `[..., B, C]`.

    Returns:
        `other`, booleans of that shape; nothing where there are no codes, or the rate is 0.
    """
    if batch.codes is None or is_off(rate):
        return {}
    return {"other": torch.rand(batch.codes.shape, generator=draws.generator) < rate}


def replace_by_other(batch: Batch, noise: Noise) -> Batch:
    """Returns rows of which some codes are 0, "other", as a value is that training did not know.

    So its weights are trained, and its probability is never 0. A missing code stays missing.

    Args:
        batch: rows.
        noise: from `draw_other`.

    Example:
        >>> batch = Batch(torch.ones(1, 1), torch.tensor([[3, 3, -1]]))
        >>> noise = {"other": torch.tensor([[True, False, True]])}
        >>> replace_by_other(batch, noise).codes.tolist()
        [[0, 3, -1]]
    """
    if "other" not in noise:
        return batch
    assert batch.codes is not None
    return batch._replace(codes=torch.where(noise["other"], batch.codes.clamp_max(0), batch.codes))
