"""What autoencoder and VAE share: rows decoded from representations, and their terms by column."""

from abc import abstractmethod
from typing import ClassVar

from jax import Array

from jaxrep import losses
from jaxrep.batch import Batch
from jaxrep.likelihoods import RowLikelihood
from jaxrep.networks import Embeddings, Network, RowDecoder


class ReconstructionNetwork(Network):
    """A network with a decoder, whose outputs have a likelihood for each column of the rows.

    A subclass has an `encoder`, and `embed`. The terms by column are −log p of the cells of a row
    under its reconstruction, in nats; the score is their mean over the observed columns.
    """

    outputs: ClassVar[tuple[str, ...]] = (
        "embed",
        "reconstruct",
        "score",
        "score_by_column",
        "decode",
    )

    decoder: RowDecoder
    embeddings: Embeddings
    likelihood: RowLikelihood

    @abstractmethod
    def embed(self, batch: Batch) -> Array:
        """Maps rows to their representations `[B, Z]`."""

    def decode(self, z: Array) -> Batch:
        """Maps representations `[B, Z]` to rows: expected numbers, and the likeliest levels."""
        return self.likelihood.expectation(self.decoder(z), self.embeddings)

    def reconstruct(self, batch: Batch) -> Batch:
        """Maps rows to their reconstructions."""
        return self.decode(self.embed(batch))

    def score_by_column(self, batch: Batch) -> Array:
        """Returns the terms of rows by column, `[B, D + C]`; 0 where a cell is missing."""
        return self.terms(batch, self.embed(batch))

    def score(self, batch: Batch) -> Array:
        """Mean of the terms over the observed columns, `[B]`; higher is more anomalous."""
        return losses.mean_over_columns(self.score_by_column(batch), self.observed(batch))

    def terms(self, batch: Batch, z: Array) -> Array:
        """Returns −log p of rows by column, `[B, D + C]`, decoded from representations `[B, Z]`."""
        return self.likelihood.terms(batch, self.decoder.apart(z), self.embeddings)

    def observed(self, batch: Batch) -> Array | None:
        """Returns which cells of rows are not missing, `[B, D + C]`; None where none can be."""
        return self.likelihood.observed(batch)
