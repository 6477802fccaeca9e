"""Views of rows: what each draws, and how those that a method chose are applied in its order.

Shape letters: B batch, D features, R reference rows.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxrep import augment
from jaxrep.hyperparameters import ViewHyperparameters, unused_rates

# Beyond these, the product of a row's number and half a random word would leave 32 bits.
_MOST_REFERENCE_ROWS = 1 << 16


def draw_views(
    hyperparameters: ViewHyperparameters, key: Array, x: Array, reference: Array
) -> dict[str, Array]:
    """Draws what the chosen views of rows need, and nothing for others or for rates of 0.

    It is `noise_of` what `draw_words` draws.

    Args:
        hyperparameters: the views and their rates.
        key: a key of `jax.random`, used for these rows alone.
        x: rows `[..., B, D]`; their shape and dtype count.
        reference: rows `[R, D]` to borrow values from; of more than 65,536 evenly spaced ones.

    Returns:
        By name, each `[..., B, D]`: `normal` and `keep` of noise and dropout; `scarf` and `swap`,
        which features the two replace, and `scarf_values` and `swap_values`, by what.

    Example:
        >>> hyperparameters = ViewHyperparameters(views=("scarf",), corruption_rate=0.5)
        >>> x = jnp.ones((4, 3))
        >>> sorted(draw_views(hyperparameters, jax.random.key(0), x, x))
        ['scarf', 'scarf_values']
    """
    return noise_of(hyperparameters, draw_words(hyperparameters, key, x, reference), x.dtype)


def draw_words(
    hyperparameters: ViewHyperparameters, key: Array, x: Array, reference: Array
) -> dict[str, Array]:
    """Draws what `noise_of` makes the noise of; arguments as of `draw_views`.

    A program that keeps these, and not the noise, draws no word twice: XLA draws it again for each
    array that is computed from it.

    Returns:
        By name: `word`, a random number below 2²³ for each element of noise and dropout; and those
        of `draw_views` for the other views.
    """
    rates = _rates(hyperparameters)
    reference = reference[:: -(-len(reference) // _MOST_REFERENCE_ROWS)]
    words = {}
    if not (is_off(rates["noise_std"]) and is_off(rates["drop_rate"])):
        words["word"] = (jax.random.bits(key, x.shape, jnp.uint32) >> 9).astype(jnp.int32)
    # Keys of their own, derived and not split off: what the others draw stays as it was.
    if not is_off(rates["corruption_rate"]):
        words |= _scarf(rates["corruption_rate"], jax.random.fold_in(key, 1), x.shape, reference)
    if not is_off(rates["swap_rate"]):
        words |= _swap(rates["swap_rate"], jax.random.fold_in(key, 2), x.shape, reference)
    return words


@jax.named_scope("noise")
def noise_of(
    hyperparameters: ViewHyperparameters, words: dict[str, Array], dtype: Any
) -> dict[str, Array]:
    """Returns the noise of words from `draw_words`, in the rows' dtype; nothing is random in it."""
    rates = _rates(hyperparameters)
    noise = dict(words)
    if (word := noise.pop("word", None)) is not None:
        noise |= _noise_and_dropout(rates["noise_std"], rates["drop_rate"], word, dtype)
    return noise


@jax.named_scope("noise")
def corrupt(hyperparameters: ViewHyperparameters, x: Array, noise: dict[str, Array]) -> Array:
    """Applies the chosen views to rows, one after the other.

    Args:
        hyperparameters: the views, in their order, and the noise's standard deviation.
        x: rows, `[..., B, D]`.
        noise: from `draw_views`; a view of which nothing was drawn leaves the rows as they are.

    Returns:
        Corrupted rows, of the same shape.

    Example:
        >>> hyperparameters = ViewHyperparameters(views=("dropout", "noise"), noise_std=0.5)
        >>> noise = {"keep": jnp.array([[True, False]]), "normal": jnp.array([[1.0, -2.0]])}
        >>> print(corrupt(hyperparameters, jnp.ones((1, 2)), noise))
        [[ 1.5 -1. ]]
    """
    for view in hyperparameters.views:
        if view == "noise" and "normal" in noise:
            noise_std = hyperparameters.noise_std
            x = augment.gaussian_noise(x, noise["normal"], noise_std=noise_std)
        if view == "dropout" and "keep" in noise:
            x = augment.feature_dropout(x, noise["keep"])
        if view in ("scarf", "swap") and view in noise:
            x = augment.replace_features(x, noise[view], noise[f"{view}_values"])
    return x


def is_off(rate: float | Array) -> bool:
    """Whether a rate is exactly 0, which takes its term out of the program; traced ones are not.

    Args:
        rate: of a view, or any other number that a method computes with.
    """
    return isinstance(rate, float | int) and rate == 0


def _rates(hyperparameters: ViewHyperparameters) -> dict[str, float | Array]:
    unused = unused_rates(hyperparameters)
    return {
        name: 0.0 if name in unused else getattr(hyperparameters, name)
        for name in ("noise_std", "drop_rate", "corruption_rate", "swap_rate")
    }


def _noise_and_dropout(
    noise_std: float | Array, drop_rate: float | Array, word: Array, dtype: Any
) -> dict[str, Array]:
    """Returns which elements are kept, and Gaussian noise, from one random word an element.

    With p the drop rate, the uniform u keeps its element if u ≥ p. Then (u − p) / (1 − p) is
    uniform again and independent of that choice, as u / p is otherwise: it becomes the noise, by
    the quantile of the normal distribution. Words are what costs time.
    """
    wide = jnp.promote_types(dtype, jnp.float32)
    words = 1 << 23  # so that every one of them, and its middle, is a number of float32
    dropped = jnp.minimum(jnp.round(jnp.asarray(drop_rate, wide) * words), words - 1)
    dropped = dropped.astype(jnp.int32)
    keep = word >= dropped
    noise = {} if is_off(drop_rate) else {"keep": keep}
    if is_off(noise_std):
        return noise
    place = jnp.where(keep, word - dropped, word)
    places = jnp.where(keep, words - dropped, dropped)
    centred = (2 * place + 1 - places).astype(wide) / places.astype(wide)  # in (−1, 1)
    normal = math.sqrt(2) * jax.lax.erf_inv(centred)
    return noise | {"normal": normal.astype(dtype)}


def _scarf(
    rate: float | Array, key: Array, shape: tuple[int, ...], reference: Array
) -> dict[str, Array]:
    """Draws which features are replaced, and a reference row for each, from one word an element."""
    row, place = _row_and_place(jax.random.bits(key, shape, jnp.uint32), len(reference))
    values = reference.at[row, jnp.arange(shape[-1])].get(mode="promise_in_bounds")
    return {"scarf": place < _threshold(rate), "scarf_values": values}


def _swap(
    rate: float | Array, key: Array, shape: tuple[int, ...], reference: Array
) -> dict[str, Array]:
    """Draws which features are replaced, a word for each, and one reference row for all of them."""
    of_features, of_rows = jax.random.split(key)
    replace = jax.random.bits(of_features, shape, jnp.uint32) < _threshold(rate)
    row, _ = _row_and_place(jax.random.bits(of_rows, shape[:-1], jnp.uint32), len(reference))
    values = reference.at[row].get(mode="promise_in_bounds")
    return {"swap": replace, "swap_values": values}


def _row_and_place(word: Array, rows: int) -> tuple[Array, Array]:
    """Parts 32-bit words into the number of a row and a place in [0, 2³²).

    The row is ⌊word · R / 2³²⌋; the place starts as the remainder word · R mod 2³². The remainder
    of R = 2ᵏ · odd is a multiple of 2ᵏ that 2ᵏ words share, whose rows all differ modulo 2ᵏ: with
    the row's last k bits in its own, the place is another word for every word. So a threshold on
    the place has exactly its share of the words, while among these every row has ⌊threshold / R⌋
    words give or take one: its probability is off by at most R / threshold of itself, which is
    2.5e-5 at a rate of 0.6 and all of 65,536 rows.
    """
    count = jnp.uint32(rows)
    low = (word & 0xFFFF) * count
    row = ((word >> 16) * count + (low >> 16)) >> 16
    last_bits = jnp.uint32((rows & -rows) - 1)
    return row.astype(jnp.int32), word * count | (row & last_bits)


def _threshold(rate: float | Array) -> Array:
    """Returns how many of all 32-bit words a rate stands for."""
    wide = jnp.promote_types(jnp.result_type(rate), jnp.float32)
    words = jnp.round(jnp.asarray(rate, wide) * 2.0**32)
    return jnp.minimum(words, 2.0**32 - 2**8).astype(jnp.uint32)
