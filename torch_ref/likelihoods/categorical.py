"""The categorical distribution of a column of codes."""

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

MOST_LOGITS = 1 << 22
"""Logits of a wide code at a time: 16 MiB in float32."""


def terms(codes: Tensor, logits: Tensor) -> Tensor:
    """−log p of a code under p = softmax(ℓ): log Σₖ exp(ℓₖ) − ℓ of the code, in nats.

    Computed in float32 where logits are narrower, for any finite logits.

    Args:
        codes: from 0 to K − 1, integers `[...]`.
        logits: ℓ, `[..., K]`.

    Returns:
        `[...]`; the gradient towards the logits is softmax(ℓ) − onehot(code).

    Example:
        >>> logits = torch.tensor([[0.0, 0.0], [20.0, 0.0]])
        >>> print(terms(torch.tensor([1, 1]), logits))
        tensor([ 0.6931, 20.0000])
    """
    wide = logits if logits.dtype == torch.float64 else logits.float()
    log_p = torch.log_softmax(wide, dim=-1)
    return -log_p.gather(-1, codes.unsqueeze(-1).long()).squeeze(-1)


def expectation(logits: Tensor) -> Tensor:
    """Returns the likeliest code but 0, which stands for no level, `[...]`; of equals the first."""
    return (logits[..., 1:].argmax(dim=-1) + 1).int()


def tied_terms(
    codes: Tensor, query: Tensor, table: Tensor, bias: Tensor, most_logits: int = MOST_LOGITS
) -> Tensor:
    """Returns the `terms` of a wide code, whose logits are query · table[:K] + bias, `[B]`.

    At most `most_logits` of them are in memory at once, in the gradient too. A graph of
    `torch.export`, which cannot loop over rows, has all of them.

    Args:
        codes: from 0 to K − 1, `[B]`.
        query: `[B, 16]`.
        table: the values' vectors, `[K, 16]`, or one more for `MISSING`.
        bias: `[K]`.
        most_logits: that are computed at a time, but for those of a single row.
    """
    if _is_exporting():
        return _tied_terms(codes, query, table, bias)
    found: list[Tensor] = []
    step = max(most_logits // len(bias), 1)
    for start in range(0, max(len(codes), 1), step):
        own, asked = codes[start : start + step], query[start : start + step]
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            found.append(_tied_terms(own, asked, table, bias))
        else:  # the logits of a piece are computed again for its gradient
            found.append(checkpoint(_tied_terms, own, asked, table, bias, use_reentrant=False))
    return torch.cat(found)


def tied_expectation(
    query: Tensor, table: Tensor, bias: Tensor, most_logits: int = MOST_LOGITS
) -> Tensor:
    """Returns the `expectation` of a wide code, int32 `[B]`, with arguments as of `tied_terms`."""
    if _is_exporting():
        return expectation(_logits(query, table, bias))
    found: list[Tensor] = []
    step = max(most_logits // len(bias), 1)
    for start in range(0, max(len(query), 1), step):
        found.append(expectation(_logits(query[start : start + step], table, bias)))
    return torch.cat(found)


def _is_exporting() -> bool:
    if torch.jit.is_scripting():  # type: ignore[attr-defined]
        return False
    else:
        return torch.compiler.is_exporting()


def _tied_terms(codes: Tensor, query: Tensor, table: Tensor, bias: Tensor) -> Tensor:
    return terms(codes, _logits(query, table, bias))


def _logits(query: Tensor, table: Tensor, bias: Tensor) -> Tensor:
    return query @ table[: len(bias)].t() + bias


def draw(logits: Tensor, normal: Tensor) -> Tensor:
    """Returns codes drawn from softmax(ℓ), but for 0, which stands for no level.

    A code is the first whose probability and that of those before it are at least Φ(ε).

    Args:
        logits: ℓ, `[..., K]`.
        normal: draws ε from N(0, 1), `[...]`.
    """
    p = torch.softmax(logits[..., 1:], dim=-1)
    below = torch.cumsum(p, dim=-1) < torch.special.ndtr(normal).unsqueeze(-1)
    codes: Tensor = (below.sum(dim=-1) + 1).clamp_max(logits.size(-1) - 1).int()
    return codes
