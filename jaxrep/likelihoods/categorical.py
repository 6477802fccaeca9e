"""The categorical distribution of a column of codes."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

_BLOCK = 256


@jax.custom_vjp
def terms(codes: Array, logits: Array) -> Array:
    """−log p of a code under p = softmax(ℓ): log Σₖ exp(ℓₖ) − ℓ of the code, in nats.

    Computed in float32 where logits are narrower, for any finite logits.

    Args:
        codes: from 0 to K − 1, integers `[...]`.
        logits: ℓ, `[..., K]`.

    Returns:
        `[...]`; the gradient towards the logits is softmax(ℓ) − onehot(code).

    Example:
        >>> logits = jnp.array([[0.0, 0.0], [20.0, 0.0]])
        >>> print(terms(jnp.array([1, 1]), logits).round(4))
        [ 0.6931 20.    ]
    """
    return _terms(codes, logits)[0]


def _terms(codes: Array, logits: Array) -> tuple[Array, tuple[Array, Array, Array]]:
    wide = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    most = jnp.max(wide, axis=-1, keepdims=True)
    powers = jnp.exp(wide - most)
    total = jnp.sum(powers, axis=-1, keepdims=True)
    of_code = jnp.take_along_axis(wide, codes[..., None], axis=-1, mode="promise_in_bounds")
    # Whatever is large is subtracted before the logarithm, which is not, is added.
    found = (jnp.log(total) + (most - of_code))[..., 0]
    return found, (codes, powers / total, jnp.zeros((), logits.dtype))


def _gradient(saved: tuple[Array, Array, Array], slope: Array) -> tuple[Any, Array]:
    codes, p, like = saved
    slope = slope[..., None].astype(p.dtype)
    flat = (p * slope).reshape(-1, p.shape[-1])
    rows = jnp.arange(len(flat))
    flat = flat.at[rows, codes.reshape(-1)].add(-slope.reshape(-1), mode="promise_in_bounds")
    return None, flat.reshape(p.shape).astype(like.dtype)


terms.defvjp(_terms, _gradient)


def expectation(logits: Array) -> Array:
    """Returns the likeliest code but 0, which stands for no level, `[...]`; of equals the first."""
    count = logits.shape[-1] // _BLOCK
    if count < 2:
        return jnp.argmax(logits[..., 1:], axis=-1).astype(jnp.int32) + 1
    # Of many, the block that holds the greatest first: XLA vectorises a maximum, not an argmax.
    blocks = logits[..., : count * _BLOCK].reshape(*logits.shape[:-1], count, _BLOCK)
    parts = [
        jnp.max(logits[..., 1:_BLOCK], axis=-1, keepdims=True),
        jnp.max(blocks[..., 1:, :], axis=-1),
        jnp.max(logits[..., count * _BLOCK :], axis=-1, keepdims=True, initial=-jnp.inf),
    ]
    block = jnp.argmax(jnp.concatenate(parts, axis=-1), axis=-1)
    of_block = jnp.arange(_BLOCK).reshape((1,) * block.ndim + (_BLOCK,))
    places = block[..., None] * _BLOCK + of_block
    inside = (places > 0) & (places < logits.shape[-1])
    found = jnp.take_along_axis(logits, jnp.where(inside, places, 0), axis=-1)
    place = jnp.argmax(jnp.where(inside, found, -jnp.inf), axis=-1)
    return (block * _BLOCK + place).astype(jnp.int32)


def draw(logits: Array, normal: Array) -> Array:
    """Returns codes drawn from softmax(ℓ), but for 0, which stands for no level.

    A code is the first whose probability and that of those before it are at least Φ(ε).

    Args:
        logits: ℓ, `[..., K]`.
        normal: draws ε from N(0, 1), `[...]`.
    """
    p = jax.nn.softmax(
        logits[..., 1:].astype(jnp.promote_types(logits.dtype, jnp.float32)), axis=-1
    )
    below = jnp.cumsum(p, axis=-1) < jax.scipy.special.ndtr(normal)[..., None]
    return jnp.minimum(jnp.sum(below, axis=-1, dtype=jnp.int32) + 1, logits.shape[-1] - 1)
