"""The categorical distribution of a column of codes."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array


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
    levels = logits[..., 1:]
    most = jnp.max(levels, axis=-1, keepdims=True)
    # Two passes that XLA vectorises on the CPU; its argmax goes through 100,000 logits one by one.
    count = levels.shape[-1]
    places = jnp.where(levels == most, jnp.arange(count, dtype=jnp.int32), count - 1)
    return jnp.min(places, axis=-1) + 1
