"""Autoencoder: a network with a bottleneck that gives its input back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from torch_ref import losses, views
from torch_ref.batch import Batch, RowSpec
from torch_ref.likelihoods import RowLikelihood
from torch_ref.methods._method import Method, Metrics, ViewHyperparameters
from torch_ref.methods._reconstruction import ReconstructionNetwork
from torch_ref.networks import Embeddings, RowDecoder, RowEncoder
from torch_ref.row_coding import RowCoding, coded_rows
from torch_ref.views import Draws, Noise


@dataclass(frozen=True, kw_only=True)
class AutoencoderHyperparameters(ViewHyperparameters):
    """Autoencoder: −log p of the row under its reconstruction, the mean over its columns."""

    likelihood: Literal["squared", "by_kind"]
    anomaly_score: Literal["reconstruction", "mahalanobis", "neighbours"]


class AutoencoderNetwork(ReconstructionNetwork):
    """Encoder rows–hidden–Z and the mirrored decoder Z–hidden–rows.

    Args:
        rows: what every row holds; D numbers, C codes.
        hidden_dims: widths of the encoder's hidden layers; the decoder has them in reverse.
        latent_dim: Z, size of the code.
        anomaly_score: `reconstruction`, or a score of representations by its name.
        generator: source of the initial weights.

    Example:
        >>> network = AutoencoderNetwork(RowSpec(32), (64,), 8, generator=torch.Generator())
        >>> batch = Batch(torch.ones(3, 32))
        >>> tuple(network.embed(batch).shape), tuple(network.reconstruct(batch).numbers.shape)
        ((3, 8), (3, 32))
    """

    def __init__(
        self,
        rows: RowSpec,
        hidden_dims: Sequence[int],
        latent_dim: int,
        *,
        anomaly_score: str = "reconstruction",
        generator: torch.Generator,
    ):
        super().__init__()
        self.coding = RowCoding(rows)
        rows = coded_rows(rows)
        self.encoder = RowEncoder(rows, (*hidden_dims, latent_dim), generator=generator)
        dims = (latent_dim, *reversed(hidden_dims))
        self.decoder = RowDecoder(rows, dims, generator=generator)
        self.embeddings = Embeddings(rows, generator=generator)
        self.likelihood = RowLikelihood(rows)
        self.set_score(anomaly_score, latent_dim)

    def embed(self, batch: Batch) -> Tensor:
        """Maps rows to representations `[B, Z]`."""
        z: Tensor = self.encoder(self.coding.apart(batch), self.embeddings())
        return z


class Autoencoder(Method[AutoencoderHyperparameters, AutoencoderNetwork]):
    """Autoencoder; with a view whose rate is above 0, a denoising autoencoder.

    Example:
        >>> from dataclasses import asdict
        >>> import jaxrep.methods
        >>> method = Autoencoder(**asdict(jaxrep.methods.AutoencoderHyperparameters()))
        >>> network = method.init(RowSpec(32), torch.Generator())
        >>> batch = Batch(torch.ones(4, 32))
        >>> loss, _ = method.loss(network, batch, {})
        >>> bool(torch.isclose(loss, network.score(batch).mean()))
        True
    """

    name = "autoencoder"

    def init(self, rows: RowSpec, generator: torch.Generator) -> AutoencoderNetwork:
        """Returns a new network for rows."""
        hp = self.hyperparameters
        seen = views.rows_seen(hp, rows)
        return AutoencoderNetwork(
            seen, hp.hidden_dims, hp.latent_dim, anomaly_score=hp.anomaly_score, generator=generator
        )

    def noise(self, draws: Draws, batch: Batch) -> Noise:
        """Draws what the input's views need, as `draw_views` says, and which codes are "other"."""
        return views.draw_all(self.hyperparameters, draws, batch)

    def loss(
        self, network: AutoencoderNetwork, batch: Batch, noise: Noise
    ) -> tuple[Tensor, Metrics]:
        """Mean of the terms of rows, over columns, under the reconstruction of corrupted rows."""
        batch = views.replace_by_other(batch, noise)
        corrupted = views.corrupt(self.hyperparameters, batch, noise)
        terms = network.terms(batch, network.embed(corrupted))
        observed = network.observed(batch)
        rows = losses.mean_over_columns(terms, observed)
        weights = losses.observed_weights(batch.weights, observed)
        return losses.mean_over_rows(rows, weights), {}
