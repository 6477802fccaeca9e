"""The views `noise` and `dropout`, which share their random bits."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxrep.batch import Batch
from jaxrep.views._codes import CODES
from jaxrep.views._draws import Deferred, Draws, Noise
from jaxrep.views._view import Rate, is_off


def add_noise(batch: Batch, normal: Array, *, noise_std: Rate) -> Batch:
    """Adds Gaussian noise to numbers: x + σ·ε. Codes stay as they are.

    Args:
        batch: rows, numbers `[..., B, D]`.
        normal: draws ε from N(0, 1), of the shape of the numbers.
        noise_std: standard deviation σ, in the units of the numbers.

    Returns:
        Noisy rows; what is missing stays missing.

    Example:
        >>> batch, normal = Batch(jnp.ones((1, 2))), jnp.array([[1.0, -2.0]])
        >>> print(add_noise(batch, normal, noise_std=0.5).numbers)
        [[1.5 0. ]]
    """
    return batch._replace(numbers=batch.numbers + noise_std * normal)


def drop_columns(batch: Batch, keep: Array, keep_codes: Array | None = None) -> Batch:
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
        >>> print(drop_columns(Batch(jnp.ones((1, 2))), jnp.array([[True, False]])).numbers)
        [[1. 0.]]
    """
    numbers = jnp.where(keep | jnp.isnan(batch.numbers), batch.numbers, 0)
    dropped = batch._replace(numbers=numbers)
    if batch.codes is None:
        return dropped
    assert keep_codes is not None
    return dropped._replace(codes=jnp.where(keep_codes, batch.codes, jnp.minimum(batch.codes, 0)))


def draw_noise_and_dropout(
    draws: Draws, batch: Batch, rates: Mapping[str, Rate]
) -> Noise | Deferred:
    """Draws one random number below 2²³ for each number and code.

    Args:
        draws: its key is used as it is.
        batch: rows; their shapes and dtypes count.
        rates: `noise_std` and `drop_rate`, of which at least one is not off.

    Returns:
        Bits that become `normal` and `keep`, each where its rate is not off, and `keep_codes`.
    """
    bits = (jax.random.bits(draws.key, batch.numbers.shape, jnp.uint32) >> 9).astype(jnp.int32)
    noise_std, drop_rate = rates["noise_std"], rates["drop_rate"]
    split = _Split(not is_off(noise_std), not is_off(drop_rate), jnp.dtype(batch.numbers.dtype))
    if is_off(drop_rate):
        return Deferred(split, bits)
    if batch.codes is None:
        return Deferred(split, bits, drop_rate)
    key = jax.random.fold_in(draws.key, CODES)
    of_codes = jax.random.bits(key, batch.codes.shape, jnp.uint32) >> 9
    return Deferred(split, bits, drop_rate, of_codes.astype(jnp.int32))


@dataclass(frozen=True)
class _Split:
    """Makes Gaussian noise, and which elements are kept, of one random number for each element.

    With p the drop rate, the uniform u keeps its element if u ≥ p. Then (u − p) / (1 − p) is
    uniform again and independent of that choice, as u / p is otherwise: it becomes the noise, by
    the quantile of the normal distribution. Random bits are what costs time.
    """

    has_noise: bool
    has_dropout: bool
    dtype: Any

    @jax.named_scope("noise")
    def __call__(self, bits: Array, drop_rate: Rate = 0.0, of_codes: Array | None = None) -> Noise:
        wide = jnp.promote_types(self.dtype, jnp.float32)
        count = 1 << 23  # so that every number below, and its middle, is a number of float32
        dropped = jnp.minimum(jnp.round(jnp.asarray(drop_rate, wide) * count), count - 1)
        dropped = dropped.astype(jnp.int32)
        keep = bits >= dropped
        noise: Noise = {"keep": keep} if self.has_dropout else {}
        if of_codes is not None:
            noise["keep_codes"] = of_codes >= dropped
        if not self.has_noise:
            return noise
        place = jnp.where(keep, bits - dropped, bits)
        places = jnp.where(keep, count - dropped, dropped)
        centred = (2 * place + 1 - places).astype(wide) / places.astype(wide)  # in (−1, 1)
        normal = math.sqrt(2) * jax.lax.erf_inv(centred)
        return noise | {"normal": normal.astype(self.dtype)}
