"""A score from how well a denoiser gives rows back at several noise levels."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from jaxrep.batch import Batch, RowSpec
from jaxrep.networks._fitted import FittedStatistic, OutputBlock
from jaxrep.networks._frozen import Frozen
from jaxrep.networks._initial import draw, draw_normal, filled

LEVELS = (0.1, 0.2, 0.4)
"""The noise levels that a score looks at beside 0, at which a row is as it is."""

DRAWS = 2
"""Corruptions at each of them, opposite to each other: their noises add up to 0."""

_LEAST_ERROR = 1e-12  # of a row that is given back exactly, whose logarithm would not be finite
_LEAST_SCALE = 1e-6


class LevelScore(OutputBlock):
    """Mean over noise levels of the standardised logarithm of a row's error.

    A level's error is the mean over two opposite corruptions of the row, at level 0 that of the
    row as it is. All rows are corrupted by the same draws, which are the seed's, so that a score
    depends on the network and the row alone. The logarithms are standardised by those of the
    training rows, whose mean score is 0. Before the statistics of `fit` are in, they are not.

    Args:
        rows: what every row holds.
        rngs: source of the draws.
    """

    def __init__(self, rows: RowSpec, *, rngs: nnx.Rngs):
        self.levels = tuple(level for level in LEVELS for _ in range(DRAWS))
        count = len(LEVELS)
        normal = draw_normal(rngs, count, rows.numbers)
        xp = np if isinstance(normal, np.ndarray) else jnp
        self.normal = Frozen(_in_turn(xp, normal, -normal))
        if rows.codes:
            places = (draw(rngs, count, rows.codes) + 1) / 2
            self.places = Frozen(_in_turn(xp, places, 1 - places))
            self.codes = FittedStatistic(filled(0, DRAWS * count, rows.codes))
        self.mean = FittedStatistic(filled(0, 1 + len(LEVELS)))
        self.scale = FittedStatistic(filled(1, 1 + len(LEVELS)))

    def __call__(self, errors: Array) -> Array:
        """Maps the errors of rows by level, `[B, L]`, to scores `[B]`; higher is odder."""
        standardised = (_log(errors) - self.mean[...][None, :]) / self.scale[...][None, :]
        return jnp.mean(standardised, axis=-1)

    def draws(self, dtype: DTypeLike) -> tuple[Array, ...]:
        """Returns the corruptions, as `views.diffuse` takes them: levels `[S]`, normal `[S, D]`.

        And where there are codes, their places and values, `[S, C]`.
        """
        found = (jnp.asarray(self.levels, dtype), self.normal[...].astype(dtype))
        if not hasattr(self, "codes"):
            return found
        return (*found, self.places[...], self.codes[...].astype(jnp.int32))

    def means(self, plain: Array, of_draws: Array) -> Array:
        """Returns the errors of rows by level, `[B, L]`.

        Args:
            plain: at level 0, `[B]`.
            of_draws: at the levels of the draws, `[S, B]`.
        """
        others = of_draws.reshape(len(LEVELS), DRAWS, -1).mean(axis=1)
        return jnp.concatenate([plain[None, :], others]).T

    def codes_of(self, rows: Batch) -> dict[str, np.ndarray]:
        """Returns what replaces codes: those of training rows, another row for each draw and code.

        Args:
            rows: training rows, NumPy arrays.
        """
        if rows.codes is None:
            return {}
        codes = np.asarray(rows.codes)
        shape = (len(self.levels), codes.shape[1])
        # Multiples of the golden ratio, which lie evenly and apart.
        chosen = (np.arange(shape[0] * shape[1]) * 0.6180339887498949 % 1 * len(codes)).astype(int)
        taken = codes[chosen.reshape(shape), np.arange(shape[1])[None, :]]
        return {"codes": taken.astype(np.float32)}

    @staticmethod
    def fit(errors: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the statistics of training rows, by the names of this module's variables.

        Args:
            errors: of training rows by level, `[rows, L]`.
        """
        logs = np.log(np.maximum(errors.astype(np.float64), _LEAST_ERROR))
        mean, scale = logs.mean(axis=0), np.maximum(logs.std(axis=0), _LEAST_SCALE)
        return {"mean": mean.astype(np.float32), "scale": scale.astype(np.float32)}


def _log(errors: Array) -> Array:
    return jnp.log(jnp.maximum(errors, _LEAST_ERROR))


def _in_turn(xp: Any, one: Any, other: Any) -> Any:
    """Returns the rows of two arrays in turn, of NumPy or of JAX."""
    return xp.stack([one, other], axis=1).reshape(DRAWS * len(one), -1)
