"""The views `scarf` and `swap`: features replaced by values of background rows."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import Array

from jaxrep.views._draws import Draws, Noise
from jaxrep.views._view import Rate

# Beyond these, the product of a row's index and half the random bits would leave 32 bits.
MAX_BACKGROUND_ROWS = 1 << 16


def replace_features(x: Array, replace: Array, values: Array) -> Array:
    """Replaces features by values that other rows have in the same columns.

    Args:
        x: rows, `[..., B, D]`.
        replace: booleans of the same shape; True replaces the feature.
        values: what replaces it, of the same shape.

    Returns:
        Rows with replaced features, of the same shape.

    Example:
        >>> x, values = jnp.ones((1, 2)), jnp.array([[8.0, 9.0]])
        >>> print(replace_features(x, jnp.array([[False, True]]), values))
        [[1. 9.]]

    References:
        Bahri et al., SCARF, 2022; Yoon et al., VIME, 2020; Somepalli et al., SAINT, 2021.
    """
    return jnp.where(replace, values, x)


def draw_scarf(draws: Draws, x: Array, rates: Mapping[str, Rate]) -> Noise:
    """Draws which features are replaced, and a background row for each, from the same bits."""
    rows = _background(draws)
    index, place = _index_and_place(jax.random.bits(draws.key, x.shape, jnp.uint32), len(rows))
    values = rows.at[index, jnp.arange(x.shape[-1])].get(mode="promise_in_bounds")
    return {"scarf": place < _threshold(rates["corruption_rate"]), "scarf_values": values}


def draw_swap(draws: Draws, x: Array, rates: Mapping[str, Rate]) -> Noise:
    """Draws which features are replaced, each by bits of its own, and one row for all of them."""
    rows = _background(draws)
    of_features, of_rows = jax.random.split(draws.key)
    bits = jax.random.bits(of_features, x.shape, jnp.uint32)
    replace = bits < _threshold(rates["swap_rate"])
    index, _ = _index_and_place(jax.random.bits(of_rows, x.shape[:-1], jnp.uint32), len(rows))
    return {"swap": replace, "swap_values": rows.at[index].get(mode="promise_in_bounds")}


def _background(draws: Draws) -> Array:
    """Returns the background rows, or evenly spaced ones of too many."""
    return draws.background[:: -(-len(draws.background) // MAX_BACKGROUND_ROWS)]


def _index_and_place(bits: Array, rows: int) -> tuple[Array, Array]:
    """Splits 32 random bits into the index of a row and a place in [0, 2³²).

    The index is ⌊bits · R / 2³²⌋; the place starts as the remainder bits · R mod 2³². The remainder
    of R = 2ᵏ · odd is a multiple of 2ᵏ that 2ᵏ values of the bits share, whose rows all differ
    modulo 2ᵏ: with the index's last k bits in its own, the place is another number for every value.
    So a threshold on the place has exactly its share of the values, while among these every row has
    ⌊threshold / R⌋ of them give or take one: its probability is off by at most R / threshold of
    itself, which is 2.5e-5 at a rate of 0.6 and all of 65,536 rows.
    """
    count = jnp.uint32(rows)
    low = (bits & 0xFFFF) * count
    index = ((bits >> 16) * count + (low >> 16)) >> 16
    last_bits = jnp.uint32((rows & -rows) - 1)
    return index.astype(jnp.int32), bits * count | (index & last_bits)


def _threshold(rate: Rate) -> Array:
    """Returns how many of all values of 32 bits a rate stands for."""
    wide = jnp.promote_types(jnp.result_type(rate), jnp.float32)
    count = jnp.round(jnp.asarray(rate, wide) * 2.0**32)
    return jnp.minimum(count, 2.0**32 - 2**8).astype(jnp.uint32)
