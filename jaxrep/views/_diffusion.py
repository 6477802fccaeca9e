"""Corruption at noise levels, as in diffusion models; no view: the network is told the level."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxrep.batch import Batch
from jaxrep.views._codes import draw_other
from jaxrep.views._draws import Deferred, Draws, Noise, resolve
from jaxrep.views._hide import draw_hide, hide
from jaxrep.views._noise_dropout import draw_noise_and_dropout
from jaxrep.views._replacement import draw_code_values
from jaxrep.views._view import Rate

# β(u) = _LEAST + (_MOST − _LEAST)·u, by which noise comes in per unit of the level.
_LEAST, _MOST = 0.01, 1.0

_ROWS, _CODES, _HIDE = 0xD1F0, 0xD1F1, 0xD1F2  # streams, apart from those of the views


def signal(level: Array) -> Array:
    """Returns the share of a number that is left at a noise level: √ᾱ = exp(−½ ∫₀ᵘ β).

    β rises linearly from 0.01 to 1, so √ᾱ falls from 1 to 0.78 and the noise's standard deviation,
    √(1 − ᾱ), rises from 0 to 0.63.

    Args:
        level: u, from 0 to 1.

    References:
        Song et al., Score-Based Generative Modeling through Stochastic Differential Equations,
        2021, equation 29: the variance-preserving process.

    Example:
        >>> signal(jnp.array([0.0, 0.5, 1.0])).round(3)
        Array([1.   , 0.938, 0.777], dtype=float32)
    """
    return jnp.exp(-0.5 * (_LEAST * level + 0.5 * (_MOST - _LEAST) * level**2))


def diffuse(
    batch: Batch,
    level: Array,
    normal: Array,
    places: Array | None = None,
    values: Array | None = None,
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
        >>> batch, level = Batch(jnp.ones((1, 2))), jnp.array([[1.0]])
        >>> print(diffuse(batch, level, jnp.array([[0.0, 1.0]])).numbers.round(2))
        [[0.78 1.41]]
    """
    kept = signal(level)
    noise = jnp.sqrt(-jnp.expm1(2 * jnp.log(kept)))
    dtype = batch.numbers.dtype
    numbers = kept.astype(dtype) * batch.numbers + noise.astype(dtype) * normal.astype(dtype)
    if batch.codes is None:
        return batch._replace(numbers=numbers)
    assert places is not None and values is not None
    is_replaced = (places < 1 - kept) & (batch.codes >= 0)
    return batch._replace(numbers=numbers, codes=jnp.where(is_replaced, values, batch.codes))


def hide_and_diffuse(batch: Batch, noise: Noise) -> Batch:
    """Returns rows corrupted at their noise levels, and parts of them hidden.

    Args:
        batch: rows.
        noise: from `draw_diffusion`, resolved.
    """
    codes = (noise["code_places"], noise["code_values"]) if "code_values" in noise else ()
    diffused = diffuse(batch, noise["level"], noise["normal"], *codes)
    return hide(diffused, noise["hidden"], noise.get("hidden_codes"))


def draw_diffusion(draws: Draws, batch: Batch, *, hide_rate: Rate, other_rate: Rate) -> Deferred:
    """Draws a noise level for each row, the noise of its cells, and which of them are hidden.

    Of half the rows no cell is hidden, so that the network learns to give whole rows back too.

    Args:
        draws: the batch's key, and background rows, of which codes are taken.
        batch: rows; their shapes and dtypes count.
        hide_rate: share of the cells that are hidden in the other half.
        other_rate: share of the codes that count as "other".

    Returns:
        Noise of which `resolve` makes `level` `[B, 1]`, `normal` and `hidden` `[B, D]`, and of
        codes `code_places`, `code_values`, `hidden_codes` and `other`, `[B, C]`.
    """
    keys = {
        name: draws._replace(key=jax.random.fold_in(draws.key, stream))
        for name, stream in (("rows", _ROWS), ("codes", _CODES), ("hide", _HIDE))
    }
    of_rows = jax.random.bits(keys["rows"].key, (len(batch.numbers), 1), jnp.uint32)
    normal = draw_noise_and_dropout(draws, batch, {"noise_std": 1.0, "drop_rate": 0.0})
    hidden = draw_hide(keys["hide"], batch, {"hide_rate": hide_rate})
    parts = [normal, hidden, draw_other(other_rate, draws, batch)]
    if batch.codes is not None:
        parts.append(draw_code_values(keys["codes"], batch))
    return Deferred(_Made(jnp.dtype(batch.numbers.dtype)), of_rows, *parts)


@dataclass(frozen=True)
class _Made:
    """Makes a row's level of the first 24 bits of its own 32, and hides its cells by the last."""

    dtype: Any

    def __call__(self, of_rows: Array, *parts: Noise | Deferred) -> Noise:
        noise = {name: array for part in parts for name, array in resolve(part).items()}
        level = (of_rows >> 8).astype(jnp.float32) * jnp.float32(2.0**-24)
        hidden = {
            name.replace("hide", "hidden"): noise.pop(name) & (of_rows & 1 == 1)
            for name in ("hide", "hide_codes")
            if name in noise
        }
        return noise | hidden | {"level": level.astype(self.dtype)}
