"""Linear layers: how they start, and several of them in a row."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from jaxrep.once import once


class MLP(nnx.Module):
    """Linear layers with ReLU between them.

    Args:
        dims: sizes from input to output; n sizes make n − 1 layers, a single one the identity.
        activate_last: whether ReLU follows the last layer too.
        rngs: source of the initial weights.

    Example:
        >>> mlp = MLP((4, 8, 2), rngs=nnx.Rngs(0))
        >>> mlp(jnp.ones((3, 4))).shape
        (3, 2)
    """

    def __init__(self, dims: Sequence[int], *, activate_last: bool = False, rngs: nnx.Rngs):
        self.layers = nnx.List(linears(list(pairwise(dims)), rngs))
        self.activate_last = activate_last

    def __call__(self, x: Array) -> Array:
        """Maps `[B, dims[0]]` to `[B, dims[-1]]`."""
        return self.after_first(self.layers[0](x)) if self.layers else x

    def after_first(self, x: Array) -> Array:
        """Maps what the first layer gives, `[B, dims[1]]`, to `[B, dims[-1]]`."""
        last = len(self.layers) - 1
        for i, layer in enumerate(self.layers):
            x = layer(x) if i else x
            if i < last or self.activate_last:
                x = nnx.relu(x)
        return x

    def before_last(self, x: Array) -> Array:
        """Maps `[B, dims[0]]` to what the last layer takes, `[B, dims[-2]]`."""
        for layer in list(self.layers)[:-1]:
            x = nnx.relu(layer(x))
        return x


def linears(
    sizes: Sequence[tuple[int, int]], rngs: nnx.Rngs, *, bias: bool = True
) -> list[nnx.Linear]:
    """Returns linear layers, weights and biases from U(−1/√fan_in, 1/√fan_in), all from one draw.

    Each draw is a generator of its own in the program, and XLA compiles every one of them.

    Args:
        sizes: inputs and outputs of each layer.
        rngs: source of the initial weights.
        bias: whether they have biases. Before `BatchNorm`, which takes it out again, a bias has no
            gradient but rounding, which Adam makes steps of full size of.
    """
    if not sizes:
        return []
    counts = [(fan_in + bias) * out for fan_in, out in sizes]
    drawn = _drawn_once(rngs.params(), sum(counts))
    pieces = jnp.split(drawn, np.cumsum(counts)[:-1])
    return [_linear(*size, piece, rngs, bias) for size, piece in zip(sizes, pieces, strict=True)]


def _drawn_once(key: Array, count: int) -> Array:
    """Returns draws from U(−1, 1), `[count]`, of which the weights are cut out."""
    kind = jax.random.key_impl(key)

    def draw(words: Array) -> Array:
        key = jax.random.wrap_key_data(words, impl=kind)
        return jax.random.uniform(key, (count,), jnp.float32, -1, 1)

    return once(draw, jax.random.key_data(key))


def _linear(fan_in: int, out: int, drawn: Array, rngs: nnx.Rngs, use_bias: bool) -> nnx.Linear:
    """A linear layer from draws from U(−1, 1): fan_in rows for the kernel, one for the bias."""
    rows: Array = drawn.reshape(fan_in + use_bias, out) * float(fan_in) ** -0.5

    def kernel(key: Array, shape: Sequence[int], dtype: Any) -> Array:
        weights: Array = rows[:fan_in].astype(dtype)
        return weights

    def bias(key: Array, shape: Sequence[int], dtype: Any) -> Array:
        weights: Array = rows[-1].astype(dtype)
        return weights

    return nnx.Linear(fan_in, out, use_bias=use_bias, kernel_init=kernel, bias_init=bias, rngs=rngs)
