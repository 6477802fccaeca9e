"""NT-Xent on tiles, with its gradient in closed form: exact, in memory O(B·P).

Similarities are symmetric, sᵢⱼ = zᵢ·zⱼ/τ: a tile serves the rows of both its blocks, and only
tiles on and above the diagonal are computed. `jaxrep.nt_xent` is the same on any number of devices.
Shape letters: B batch, M = 2B embeddings, P projection, T rows of a tile.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

# Above this many embeddings tiles are faster than the whole square, and smaller.
MAX_DENSE = 2048

_MAX_TILE = 1024


def nt_xent(
    z1: Tensor,
    z2: Tensor,
    *,
    temperature: float | Tensor,
    weights: Tensor | None = None,
    tile: int | None = None,
) -> Tensor:
    """Computes `torch_ref.losses.nt_xent_loss` tile by tile.

    With p the softmax over the similarities of a row to all others and W = Σ w,
    ∂loss/∂zᵢ = (Σⱼ (wᵢpᵢⱼ + wⱼpⱼᵢ) zⱼ − 2 wᵢ z₊) / (W τ), computed along with the loss where a
    gradient is asked for. It can be differentiated once.

    Args:
        z1: projections of the first view, `[B, P]`; bfloat16 and float16 are computed in float32.
        z2: projections of the second view, `[B, P]`.
        temperature: τ, above 0.
        weights: row weights, `[B]`, at least 0; None weighs all rows alike.
        tile: rows of a tile; None chooses.

    Returns:
        A scalar.

    Raises:
        ValueError: the shapes do not belong together, or a tile is below 1.

    Example:
        >>> z = torch.eye(2)
        >>> print(nt_xent(z, z, temperature=0.5, tile=1).round(decimals=4))
        tensor(0.2395)
    """
    _check(z1, z2, weights)
    tile = _MAX_TILE if tile is None else tile
    if tile < 1:
        raise ValueError(f"tile is {tile}; a tile has at least 1 row, or None chooses")
    wide = torch.promote_types(torch.promote_types(z1.dtype, z2.dtype), torch.float32)
    z = torch.cat([z1, z2]).to(wide)  # (M, P)
    weights = z.new_ones(len(z1)) if weights is None else weights.to(wide)
    temperature = torch.as_tensor(temperature, dtype=wide, device=z.device)
    return _loss(z, weights.repeat(2), temperature, tile)


def _check(z1: Tensor, z2: Tensor, weights: Tensor | None) -> None:
    if z1.ndim != 2 or z1.shape != z2.shape:
        raise ValueError(
            f"z1 has shape {tuple(z1.shape)} and z2 {tuple(z2.shape)}; both are [B, P], row i of "
            "the same data"
        )
    if weights is not None and weights.shape != z1.shape[:1]:
        raise ValueError(
            f"weights have shape {tuple(weights.shape)}; {len(z1)} rows need [{len(z1)}], one a row"
        )


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, weights: Tensor, temperature: Tensor, tile: int) -> Tensor:
        counted = weights > 0
        z = torch.where(counted[:, None], z, 0)  # whatever stands in rows of no weight
        positive = z.roll(len(z) // 2, 0)
        total = weights.sum()
        log_denominator = _log_denominator(z, counted, temperature, tile)
        rows = log_denominator - (z * positive).sum(dim=1) / temperature  # (M,)
        # One row has no negatives: both sides are the same number, but for rounding.
        several = counted.sum() > 2
        total = torch.where(total > 0, total, 1)
        loss = torch.where(several, (weights * rows).sum() / total, 0)
        if any(ctx.needs_input_grad):
            pull = _pull(z, weights, counted, temperature, log_denominator, tile)
            by_z = torch.where(several, pull - 2 * weights[:, None] * positive, 0)
            by_z = by_z / (total * temperature)
            by_weights = torch.where(several & counted, rows - loss, 0) / total
            # The loss depends on z zᵀ / τ alone, so scaling τ is scaling z.
            ctx.save_for_backward(by_z, by_weights, -(by_z * z).sum() / (2 * temperature))
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        by_z, by_weights, by_temperature = ctx.saved_tensors
        return gradient * by_z, gradient * by_weights, gradient * by_temperature, None


_loss: Callable[[Tensor, Tensor, Tensor, int], Tensor] = _Loss.apply


def _tiles(
    z: Tensor, counted: Tensor, temperature: Tensor, tile: int
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yields pairs of blocks and the similarities between them, each pair of rows once."""
    starts = range(0, len(z), tile)
    for a in starts:
        rows = slice(a, a + tile)
        for b in starts[a // tile :]:
            columns = slice(b, b + tile)
            s = (z[rows] / temperature) @ z[columns].T
            excluded = ~counted[columns][None, :] | ~counted[rows][:, None]
            if a == b:
                excluded = excluded | torch.ones_like(s, dtype=torch.bool).tril()
            yield rows, columns, s.masked_fill_(excluded, -torch.inf)


def _log_denominator(z: Tensor, counted: Tensor, temperature: Tensor, tile: int) -> Tensor:
    """Returns log Σⱼ exp sᵢⱼ over the other rows that count, 0 in rows that do not, `(M,)`."""
    # From the positive on: a maximum of rows that have no other, and finite.
    top = (z * z.roll(len(z) // 2, 0)).sum(dim=1) / temperature
    total = torch.zeros_like(top)
    for rows, columns, s in _tiles(z, counted, temperature, tile):
        for block, similarity in ((rows, s), (columns, s.T)):
            now = torch.maximum(top[block], similarity.amax(dim=1))
            added = (similarity - now[:, None]).exp_().sum(dim=1)
            total[block] = total[block] * (top[block] - now).exp() + added
            top[block] = now
    return torch.where(counted, torch.where(counted, total, 1).log() + top, 0)


def _pull(
    z: Tensor,
    weights: Tensor,
    counted: Tensor,
    temperature: Tensor,
    log_denominator: Tensor,
    tile: int,
) -> Tensor:
    """Returns Σⱼ (wᵢpᵢⱼ + wⱼpⱼᵢ) zⱼ, `(M, P)`."""
    pull = torch.zeros_like(z)
    for rows, columns, s in _tiles(z, counted, temperature, tile):
        p = weights[rows][:, None] * (s - log_denominator[rows][:, None]).exp_()
        p += weights[columns][None, :] * (s - log_denominator[columns][None, :]).exp_()
        pull[rows] += p @ z[columns]
        pull[columns] += p.T @ z[rows]
    return pull
