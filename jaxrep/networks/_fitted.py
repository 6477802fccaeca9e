"""What is computed from the training rows when training is over, and blocks that need it."""

from abc import abstractmethod

import numpy as np
from flax import nnx
from jax import Array


class FittedStatistic(nnx.Variable[Array]):
    """What is computed from the training rows after training: saved, but not trained."""


class FittedRows(FittedStatistic):
    """Rows kept of those that were trained on, `[..., M, Z]`; M is as many as were there to keep.

    `with_weights` takes any number of them.
    """


class OutputBlock(nnx.Module):
    """A part of a network that some output needs, as its score does, and its embedding does not."""


class EmbeddingScore(OutputBlock):
    """A score of representations, fitted to those of the training rows.

    A network with such a block fits it by itself (`Network.fit_statistics`). The statistics are
    part of the network, so that its score is a function of the network and the row alone.
    """

    @abstractmethod
    def __call__(self, z: Array) -> Array:
        """Maps representations `[B, Z]` to scores `[B]`, at least 0; higher is more anomalous."""

    @staticmethod
    @abstractmethod
    def fit(z: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the statistics of training rows, by the names of this module's variables.

        Args:
            z: representations of training rows, `[rows, Z]`.
        """
