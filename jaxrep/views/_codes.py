"""What the views of numbers and of codes have in common, and codes replaced by "other"."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxrep.batch import Batch
from jaxrep.views._draws import Draws, Noise
from jaxrep.views._view import Rate, is_off

# Folded into a view's key for what it draws for codes; what it draws for numbers stays as it is
# without codes.
CODES = 0xC0DE

_OTHER = 0x07E4  # the stream of `draw_other`, apart from those of the views


def threshold(rate: Rate) -> Array:
    """Returns how many of all values of 32 bits a rate stands for."""
    wide = jnp.promote_types(jnp.result_type(rate), jnp.float32)
    count = jnp.round(jnp.asarray(rate, wide) * 2.0**32)
    return jnp.minimum(count, 2.0**32 - 2**8).astype(jnp.uint32)


def draw_other(rate: Rate, draws: Draws, batch: Batch) -> Noise:
    """Draws which codes of a batch count as "other".

    Args:
        rate: share of the codes.
        draws: the batch's key.
        batch: the shape of its codes counts, `[..., B, C]`.

    Returns:
        `other`, booleans of that shape; nothing where there are no codes, or the rate is 0.
    """
    if batch.codes is None or is_off(rate):
        return {}
    key = jax.random.fold_in(draws.key, _OTHER)
    return {"other": jax.random.bits(key, batch.codes.shape, jnp.uint32) < threshold(rate)}


def replace_by_other(batch: Batch, noise: Noise) -> Batch:
    """Returns rows of which some codes are 0, "other", as a value is that training did not know.

    So its weights are trained, and its probability is never 0. A missing code stays missing.

    Args:
        batch: rows.
        noise: from `draw_other`.

    Example:
        >>> batch = Batch(jnp.ones((1, 1)), jnp.array([[3, 3, -1]]))
        >>> noise = {"other": jnp.array([[True, False, True]])}
        >>> replace_by_other(batch, noise).codes.tolist()
        [[0, 3, -1]]
    """
    if "other" not in noise:
        return batch
    assert batch.codes is not None
    return batch._replace(codes=jnp.where(noise["other"] & (batch.codes > 0), 0, batch.codes))
