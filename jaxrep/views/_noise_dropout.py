"""The views `noise` and `dropout`, which share their random bits."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxrep.views._draws import Deferred, Draws, Noise
from jaxrep.views._view import Rate, is_off


def gaussian_noise(x: Array, normal: Array, *, noise_std: Rate) -> Array:
    """Adds Gaussian noise: x + σ·ε.

    Args:
        x: rows, `[..., B, D]`.
        normal: draws ε from N(0, 1), of the same shape.
        noise_std: standard deviation σ, in the units of x.

    Returns:
        Noisy rows, of the same shape.

    Example:
        >>> print(gaussian_noise(jnp.ones((1, 2)), jnp.array([[1.0, -2.0]]), noise_std=0.5))
        [[1.5 0. ]]
    """
    return x + noise_std * normal


def feature_dropout(x: Array, keep: Array) -> Array:
    """Sets the features that are not kept to 0, without rescaling the others.

    Args:
        x: rows, `[..., B, D]`.
        keep: booleans of the same shape; True keeps the feature.

    Returns:
        Rows with dropped features, of the same shape.

    Example:
        >>> print(feature_dropout(jnp.ones((1, 2)), jnp.array([[True, False]])))
        [[1. 0.]]
    """
    return jnp.where(keep, x, 0)


def draw_noise_and_dropout(draws: Draws, x: Array, rates: Mapping[str, Rate]) -> Deferred:
    """Draws one random number below 2²³ for each element of x `[..., B, D]`.

    Args:
        draws: its key is used as it is.
        x: rows; their shape and dtype count.
        rates: `noise_std` and `drop_rate`, of which at least one is not off.

    Returns:
        Bits that become `normal` and `keep`, each where its rate is not off.
    """
    bits = (jax.random.bits(draws.key, x.shape, jnp.uint32) >> 9).astype(jnp.int32)
    noise_std, drop_rate = rates["noise_std"], rates["drop_rate"]
    split = _Split(not is_off(noise_std), not is_off(drop_rate), jnp.dtype(x.dtype))
    return Deferred(split, bits, *([] if is_off(drop_rate) else [drop_rate]))


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
    def __call__(self, bits: Array, drop_rate: Rate = 0.0) -> Noise:
        wide = jnp.promote_types(self.dtype, jnp.float32)
        count = 1 << 23  # so that every number below, and its middle, is a number of float32
        dropped = jnp.minimum(jnp.round(jnp.asarray(drop_rate, wide) * count), count - 1)
        dropped = dropped.astype(jnp.int32)
        keep = bits >= dropped
        noise: Noise = {"keep": keep} if self.has_dropout else {}
        if not self.has_noise:
            return noise
        place = jnp.where(keep, bits - dropped, bits)
        places = jnp.where(keep, count - dropped, dropped)
        centred = (2 * place + 1 - places).astype(wide) / places.astype(wide)  # in (−1, 1)
        normal = math.sqrt(2) * jax.lax.erf_inv(centred)
        return noise | {"normal": normal.astype(self.dtype)}
