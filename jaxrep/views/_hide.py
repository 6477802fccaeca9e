"""The view `hide`: cells that become missing."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import Array

from jaxrep.batch import MISSING, Batch
from jaxrep.views._codes import CODES, threshold
from jaxrep.views._draws import Draws, Noise
from jaxrep.views._view import Rate


def hide(batch: Batch, numbers: Array, codes: Array | None = None) -> Batch:
    """Makes cells missing.

    Args:
        batch: rows, numbers `[..., B, D]`.
        numbers: booleans of the shape of the numbers; True hides one.
        codes: booleans of the shape of the codes; None where there are none.

    Returns:
        Rows in which hidden numbers are NaN, and hidden codes `MISSING`.

    Example:
        >>> print(hide(Batch(jnp.ones((1, 2))), jnp.array([[True, False]])).numbers)
        [[nan  1.]]
    """
    hidden = batch._replace(numbers=jnp.where(numbers, jnp.nan, batch.numbers))
    if batch.codes is None:
        return hidden
    assert codes is not None
    return hidden._replace(codes=jnp.where(codes, MISSING, batch.codes))


def draw_hide(draws: Draws, batch: Batch, rates: Mapping[str, Rate]) -> Noise:
    """Draws which cells are hidden, each by bits of its own."""
    most = threshold(rates["hide_rate"])
    noise = {"hide": jax.random.bits(draws.key, batch.numbers.shape, jnp.uint32) < most}
    if batch.codes is not None:
        key = jax.random.fold_in(draws.key, CODES)
        bits = jax.random.bits(key, batch.codes.shape, jnp.uint32)
        noise["hide_codes"] = bits < most
    return noise
