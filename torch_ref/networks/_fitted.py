"""Scores of representations that are fitted to those of the training rows."""

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from torch import Tensor, nn


class OutputBlock(nn.Module):
    """A part of a network that some output needs, as its score does, and its embedding does not."""


class EmbeddingScore(OutputBlock):
    """A score of representations, fitted to those of the training rows.

    A network with such a block fits it by itself (`Network.fit_statistics`). The statistics are
    buffers, so that a network's score is a function of the network and the row alone.
    """

    fitted_rows: ClassVar[tuple[str, ...]] = ()
    """Names of the buffers that hold rows, of which there may be any number."""

    @abstractmethod
    def forward(self, z: Tensor) -> Tensor:
        """Maps representations `[B, Z]` to scores `[B]`, at least 0; higher is more anomalous."""

    @staticmethod
    @abstractmethod
    def fit(z: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the statistics of training rows, by the names of this module's buffers.

        Args:
            z: representations of training rows, `[rows, Z]`.
        """
