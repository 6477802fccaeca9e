"""What autoencoder and VAE share: rows decoded from representations, and their terms by column."""

from abc import abstractmethod
from typing import ClassVar

from jax import Array

from jaxrep import losses
from jaxrep.batch import Batch, RowSpec
from jaxrep.likelihoods import RowLikelihood
from jaxrep.networks import Embeddings, EmbeddingScore, Network, RowDecoder, embedding_score
from jaxrep.row_coding import RowCoding


class ReconstructionNetwork(Network):
    """A network with a decoder, whose outputs have a likelihood for each column of the rows.

    A subclass has an `encoder`, and `embed`; both it and the decoder take rows apart, as `coding`
    does. The terms by column are −log p of the cells of a row under its reconstruction, in nats;
    the score is their mean over the observed columns, or that of `distance` where there is one.
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
    distance: EmbeddingScore | None
    coding = RowCoding(RowSpec(0))
    """How rows are taken apart; not at all, unless a network sets it."""

    @abstractmethod
    def embed(self, batch: Batch) -> Array:
        """Maps rows to their representations `[B, Z]`."""

    def decode(self, z: Array) -> Batch:
        """Maps representations `[B, Z]` to rows: expected numbers, and the likeliest levels."""
        made = self.likelihood.expectation(self.decoder(z), self.embeddings)
        return self.coding.joined(made)

    def reconstruct(self, batch: Batch) -> Batch:
        """Maps rows to their reconstructions."""
        return self.decode(self.embed(batch))

    def score_by_column(self, batch: Batch) -> Array:
        """Returns the terms of rows by column, `[B, D + C]`; 0 where a cell is missing."""
        return self.terms(batch, self.embed(batch))

    def score(self, batch: Batch) -> Array:
        """Returns anomaly scores, `[B]`; higher is more anomalous.

        Mean of the terms over the observed columns; or how far the representation is from those of
        the training rows.
        """
        return self.error(batch) if self.distance is None else self.distance(self.embed(batch))

    def error(self, batch: Batch) -> Array:
        """Mean of the terms of rows over the observed columns, `[B]`."""
        return losses.mean_over_columns(self.score_by_column(batch), self.observed(batch))

    def set_score(self, anomaly_score: str, latent_dim: int) -> None:
        """Gives the network the score of a name, `reconstruction` or one of representations.

        Args:
            anomaly_score: the name.
            latent_dim: Z, size of a representation.
        """
        self.distance = embedding_score(anomaly_score, latent_dim)
        # A density may be above 1, and minus its logarithm below 0.
        self.scores_ratios = self.distance is not None or "gaussian" not in self.likelihood.places

    def terms(self, batch: Batch, z: Array) -> Array:
        """Returns −log p of rows by column, `[B, D + C]`, decoded from representations `[B, Z]`."""
        return self.coding.terms_joined(self.terms_apart(batch, z))

    def terms_apart(self, batch: Batch, z: Array) -> Array:
        """Returns −log p of rows by column of coded rows, which `coding` takes them apart to."""
        batch = self.coding.apart(batch)
        return self.likelihood.terms(batch, self.decoder.apart(z), self.embeddings)

    def observed(self, batch: Batch) -> Array | None:
        """Returns which cells of rows are not missing, `[B, D + C]`; None where none can be."""
        found = self.likelihood.observed(self.coding.apart(batch))
        return None if found is None else self.coding.observed_joined(found)
