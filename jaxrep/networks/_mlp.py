"""Linear layers: how they start, and several of them in a row."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from flax import nnx
from jax import Array

from jaxrep.networks._initial import draw

GAINS = {"pytorch": 1.0, "he": math.sqrt(6)}
"""Of initial weights, by the names that hyperparameters have for them; see `linears`."""


class MLP(nnx.Module):
    """Linear layers with ReLU between them.

    Args:
        dims: sizes from input to output; n sizes make n − 1 layers, a single one the identity.
        activate_last: whether ReLU follows the last layer too.
        gain: of the initial weights of layers that ReLU follows, as of `linears`.
        rngs: source of the initial weights.

    Example:
        >>> import jax.numpy as jnp
        >>> mlp = MLP((4, 8, 2), rngs=nnx.Rngs(0))
        >>> mlp(jnp.ones((3, 4))).shape
        (3, 2)
    """

    def __init__(
        self,
        dims: Sequence[int],
        *,
        activate_last: bool = False,
        gain: float = 1.0,
        rngs: nnx.Rngs,
    ):
        sizes = list(pairwise(dims))
        inner = len(sizes) if activate_last else max(len(sizes) - 1, 0)
        inner_layers = linears(sizes[:inner], rngs, gain=gain)
        self.layers = nnx.List([*inner_layers, *linears(sizes[inner:], rngs)])
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
    sizes: Sequence[tuple[int, int]], rngs: nnx.Rngs, *, bias: bool = True, gain: float = 1.0
) -> list[nnx.Linear]:
    """Returns linear layers, weights and biases from U(−1/√fan_in, 1/√fan_in), times a gain.

    Args:
        sizes: inputs and outputs of each layer.
        rngs: source of the initial weights.
        bias: whether they have biases. Before `BatchNorm`, which takes it out again, a bias has no
            gradient but rounding, which Adam makes steps of full size of.
        gain: of the weights, not of the biases. √6 keeps the variance of what passes ReLU.

    References:
        He et al., Delving Deep into Rectifiers, 2015, equation 10, for the gain √6.
    """
    return [_linear(*size, rngs, bias, gain) for size in sizes]


def _linear(fan_in: int, out: int, rngs: nnx.Rngs, use_bias: bool, gain: float) -> nnx.Linear:
    rows = draw(rngs, fan_in + use_bias, out) * np.float32(fan_in**-0.5)
    kernel = rows[:fan_in] * np.float32(gain)
    no_keys: Any = _NoKeys()
    return nnx.Linear(
        fan_in,
        out,
        use_bias=use_bias,
        kernel_init=lambda key, shape, dtype: kernel.astype(dtype, copy=False),
        bias_init=lambda key, shape, dtype: rows[-1].astype(dtype, copy=False),
        rngs=no_keys,
    )


class _NoKeys:
    """What `nnx.Linear` asks for keys, of which its initial weights here need none."""

    def params(self) -> None:
        """Returns nothing."""
