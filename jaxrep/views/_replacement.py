"""The views `scarf` and `swap`: cells replaced by those of background rows."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import Array

from jaxrep.batch import Batch, take
from jaxrep.views._codes import CODES, threshold
from jaxrep.views._draws import Draws, Noise
from jaxrep.views._view import Rate

# Beyond these, the product of a row's index and half the random bits would leave 32 bits.
MAX_BACKGROUND_ROWS = 1 << 16


def replace_columns(
    batch: Batch,
    replace: Array,
    values: Array,
    replace_codes: Array | None = None,
    codes: Array | None = None,
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
        >>> batch, values = Batch(jnp.ones((1, 2))), jnp.array([[8.0, 9.0]])
        >>> print(replace_columns(batch, jnp.array([[False, True]]), values).numbers)
        [[1. 9.]]

    References:
        Bahri et al., SCARF, 2022; Yoon et al., VIME, 2020; Somepalli et al., SAINT, 2021.
    """
    replaced = batch._replace(numbers=jnp.where(replace, values, batch.numbers))
    if batch.codes is None:
        return replaced
    assert replace_codes is not None and codes is not None
    return replaced._replace(codes=jnp.where(replace_codes, codes, batch.codes))


def draw_scarf(draws: Draws, batch: Batch, rates: Mapping[str, Rate]) -> Noise:
    """Draws which cells are replaced, and a background row for each, from the same bits."""
    (rows, count), most = _background(draws), threshold(rates["corruption_rate"])

    def draw(key: Array, values: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
        index, place = _index_and_place(jax.random.bits(key, shape, jnp.uint32), count)
        chosen = values.at[index, jnp.arange(shape[-1])].get(mode="promise_in_bounds")
        return place < most, chosen

    noise: Noise = {}
    noise["scarf"], noise["scarf_values"] = draw(draws.key, rows.numbers, batch.numbers.shape)
    if batch.codes is not None:
        assert rows.codes is not None
        key = jax.random.fold_in(draws.key, CODES)
        noise["scarf_codes"], noise["scarf_code_values"] = draw(key, rows.codes, batch.codes.shape)
    return noise


def draw_swap(draws: Draws, batch: Batch, rates: Mapping[str, Rate]) -> Noise:
    """Draws which cells are replaced, each by bits of its own, and one row for all of them."""
    (rows, count), most = _background(draws), threshold(rates["swap_rate"])
    of_cells, of_rows = jax.random.split(draws.key)
    bits = jax.random.bits(of_cells, batch.numbers.shape, jnp.uint32)
    of_row = jax.random.bits(of_rows, batch.numbers.shape[:-1], jnp.uint32)
    index, _ = _index_and_place(of_row, count)
    noise: Noise = {"swap": bits < most}
    noise["swap_values"] = rows.numbers.at[index].get(mode="promise_in_bounds")
    if batch.codes is not None:
        assert rows.codes is not None
        bits = jax.random.bits(jax.random.fold_in(of_cells, CODES), batch.codes.shape, jnp.uint32)
        noise["swap_codes"] = bits < most
        noise["swap_code_values"] = rows.codes.at[index].get(mode="promise_in_bounds")
    return noise


def draw_code_values(draws: Draws, batch: Batch) -> Noise:
    """Draws for each code that of a background row, and a place in [0, 1) that says if it is taken.

    Returns:
        `code_values`, and `code_places` as float32, `[..., B, C]`.
    """
    rows, count = _background(draws)
    assert rows.codes is not None and batch.codes is not None
    shape = batch.codes.shape
    index, place = _index_and_place(jax.random.bits(draws.key, shape, jnp.uint32), count)
    chosen = rows.codes.at[index, jnp.arange(shape[-1])].get(mode="promise_in_bounds")
    places = (place >> 8).astype(jnp.float32) * jnp.float32(2.0**-24)
    return {"code_values": chosen, "code_places": places}


def _background(draws: Draws) -> tuple[Batch, int | Array]:
    """Returns the background rows, or evenly spaced ones of too many, and how many they are."""
    if draws.rows is not None:
        return draws.background, draws.rows
    every = -(-len(draws.background.numbers) // MAX_BACKGROUND_ROWS)
    rows = take(draws.background, slice(None, None, every))
    return rows, len(rows.numbers)


def _index_and_place(bits: Array, rows: int | Array) -> tuple[Array, Array]:
    """Splits 32 random bits into the index of a row and a place in [0, 2³²).

    The index is ⌊bits · R / 2³²⌋; the place starts as the remainder bits · R mod 2³². The remainder
    of R = 2ᵏ · odd is a multiple of 2ᵏ that 2ᵏ values of the bits share, whose rows all differ
    modulo 2ᵏ: with the index's last k bits in its own, the place is another number for every value.
    So a threshold on the place has exactly its share of the values, while among these every row has
    ⌊threshold / R⌋ of them give or take one: its probability is off by at most R / threshold of
    itself, which is 2.5e-5 at a rate of 0.6 and all of 65,536 rows.
    """
    count = jnp.asarray(rows).astype(jnp.uint32)
    low = (bits & 0xFFFF) * count
    index = ((bits >> 16) * count + (low >> 16)) >> 16
    last_bits = (count & (0 - count)) - 1
    return index.astype(jnp.int32), bits * count | (index & last_bits)
