"""What autoencoder and VAE share: rows decoded from representations, and their terms by column."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from torch_ref import losses
from torch_ref.batch import Batch
from torch_ref.networks import Network, embedding_score


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

    if TYPE_CHECKING:  # TorchScript takes an annotation for an attribute's type, not a module's
        decoder: Any
        embeddings: Any
        likelihood: Any
        distance: Any
        coding: Any

    @abstractmethod
    def embed(self, batch: Batch) -> Tensor:
        """Maps rows to their representations `[B, Z]`."""

    def decode(self, z: Tensor) -> Batch:
        """Maps representations `[B, Z]` to rows: expected numbers, and the likeliest levels."""
        made = self.likelihood.expectation(self.decoder(z), self.embeddings())
        rows: Batch = self.coding.joined(made)
        return rows

    def reconstruct(self, batch: Batch) -> Batch:
        """Maps rows to their reconstructions."""
        return self.decode(self.embed(batch))

    def score_by_column(self, batch: Batch) -> Tensor:
        """Returns the terms of rows by column, `[B, D + C]`; 0 where a cell is missing."""
        return self.terms(batch, self.embed(batch))

    def score(self, batch: Batch) -> Tensor:
        """Returns anomaly scores, `[B]`; higher is more anomalous.

        Mean of the terms over the observed columns; or how far the representation is from those of
        the training rows.
        """
        if self.distance is not None:
            distance: Tensor = self.distance(self.embed(batch))
            return distance
        return self.error(batch)

    def error(self, batch: Batch) -> Tensor:
        """Mean of the terms of rows over the observed columns, `[B]`."""
        return losses.mean_over_columns(self.score_by_column(batch), self.observed(batch))

    def terms(self, batch: Batch, z: Tensor) -> Tensor:
        """Returns −log p of rows by column, `[B, D + C]`, decoded from representations `[B, Z]`."""
        found: Tensor = self.coding.terms_joined(self.terms_apart(batch, z))
        return found

    def terms_apart(self, batch: Batch, z: Tensor) -> Tensor:
        """Returns −log p of rows by column of coded rows, which `coding` takes them apart to."""
        batch = self.coding.apart(batch)
        terms: Tensor = self.likelihood.terms(batch, self.decoder(z), self.embeddings())
        return terms

    def observed(self, batch: Batch) -> Tensor | None:
        """Returns which cells of rows are not missing, `[B, D + C]`; None where none can be."""
        found: Tensor | None = self.likelihood.observed(self.coding.apart(batch))
        if found is None:
            return None
        joined: Tensor = self.coding.observed_joined(found)
        return joined

    def set_score(self, anomaly_score: str, latent_dim: int) -> None:
        """Gives the network the score of a name, `reconstruction` or one of representations.

        Args:
            anomaly_score: the name.
            latent_dim: Z, size of a representation.
        """
        self.distance = embedding_score(anomaly_score, latent_dim)
        # A density may be above 1, and minus its logarithm below 0.
        self.scores_ratios = self.distance is not None or not self.likelihood.gaussian
