"""A score that is the mean of others."""

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrep.networks._fitted import FittedStatistic, OutputBlock
from jaxrep.networks._initial import filled

_LEAST_SCALE = 1e-6


class MeanScore(OutputBlock):
    """The mean of several scores, each standardised by those of the training rows.

    Before the statistics of `fit` are in, they are not standardised.

    Args:
        count: S, number of scores.

    Example:
        >>> print(MeanScore(2)(jnp.array([[1.0, 3.0]])))
        [2.]
    """

    def __init__(self, count: int):
        self.mean = FittedStatistic(filled(0, count))
        self.scale = FittedStatistic(filled(1, count))

    def __call__(self, scores: Array) -> Array:
        """Maps scores `[B, S]` to their mean `[B]`; higher is more anomalous."""
        return jnp.mean((scores - self.mean[...][None, :]) / self.scale[...][None, :], axis=-1)

    @staticmethod
    def fit(scores: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the statistics of training rows, by the names of this module's variables.

        Args:
            scores: of training rows, `[rows, S]`.
        """
        mean = scores.mean(axis=0, dtype=np.float64)
        scale = np.maximum(scores.std(axis=0, dtype=np.float64), _LEAST_SCALE)
        return {"mean": mean.astype(np.float32), "scale": scale.astype(np.float32)}
