"""The random numbers that a network's weights start from, drawn on the host.

In a compiled program every draw is a generator of its own, which takes XLA longer to compile than
most tables take to train, and runs once.
"""

import math
from statistics import NormalDist
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax import Array

_LARGE = 1 << 24


class InitialDraws(nnx.Rngs):
    """An `nnx.Rngs` that draws uniform numbers with NumPy; the same seeds, the same numbers.

    Layers of Flax's own find in it the streams of JAX keys that they ask for.

    Args:
        seed: the first seed, at most 64 bits.
        stream: the second; tells apart what one seed is used for.

    References:
        Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, 2011: Philox, here 4x64.

    Example:
        >>> draws = InitialDraws(7)
        >>> draws.draw(2, 3).round(2)
        array([[-0.67,  0.74,  0.94],
               [-0.41, -0.37, -0.16]], dtype=float32)
    """

    def __init__(self, seed: int, stream: int = 0):
        super().__init__()
        self._seed = seed
        # Of `Generator.random` NumPy may change the numbers, of the generator's bits it does not.
        self._bits = np.random.Philox(key=np.array([seed, stream], np.uint64))

    def draw(self, *shape: int) -> Any:
        """Returns the next numbers from U(−1, 1), multiples of 2⁻²³, as float32."""
        count = math.prod(shape)
        words = self._bits.random_raw(-(-count // 2)).astype("<u8", copy=False).view("<u4")
        drawn = (words[:count] >> np.uint32(8)).astype(np.float32)
        return (drawn * np.float32(2.0**-23) - np.float32(1)).reshape(shape)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and "default" not in vars(self):
            super().__init__(default=self._seed & 0x7FFFFFFF)  # a key takes time to make
        return super().__getattr__(name)


def draw_normal(rngs: nnx.Rngs, *shape: int) -> Any:
    """Returns numbers from N(0, 1), the quantiles of what `draw` gives, as float32.

    They are few: one takes a microsecond.
    """
    places = (draw(rngs, *shape) + np.float32(1 + 2.0**-24)) / 2  # in (0, 1)
    if not isinstance(places, np.ndarray):
        return np.sqrt(np.float32(2)) * jax.lax.erf_inv(2 * places - 1)
    quantile = NormalDist().inv_cdf
    numbers = [quantile(place) for place in places.ravel().tolist()]
    return np.array(numbers, np.float32).reshape(shape)


def filled(value: float, *shape: int) -> Array:
    """Returns an array on the host, as float32, that takes no program to make.

    A large one takes no memory either, and cannot be written to: a file that lies may name any
    shape, before its arrays are compared.
    """
    array: Any = np.broadcast_to(np.float32(value), shape)
    made: Array = array.copy() if array.size < _LARGE else array
    return made


def draw(rngs: nnx.Rngs, *shape: int) -> Any:
    """Returns initial weights from U(−1, 1), as float32.

    Args:
        rngs: their source. An `nnx.Rngs` seeds `InitialDraws` by its next key; in a program that is
            being traced, as by `nnx.eval_shape`, keys have no values, and the program draws.
        *shape: of the array.
    """
    if not isinstance(rngs, InitialDraws):
        key = rngs.params()
        if isinstance(key, jax.core.Tracer):
            return jax.random.uniform(key, shape, np.float32, -1, 1)
        rngs = InitialDraws(*np.ravel(jax.random.key_data(key))[:2].tolist())
    return rngs.draw(*shape)
