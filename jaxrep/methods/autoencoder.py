"""Autoencoder: a network with a bottleneck that gives its input back."""

from collections.abc import Sequence

import jax
from flax import nnx
from jax import Array

from jaxrep import losses, views
from jaxrep.batch import Batch, RowSpec
from jaxrep.likelihoods import RowLikelihood
from jaxrep.methods._method import Method, Metrics
from jaxrep.methods._reconstruction import ReconstructionNetwork
from jaxrep.methods.autoencoder_hyperparameters import AutoencoderHyperparameters
from jaxrep.networks import Embeddings, RowDecoder, RowEncoder
from jaxrep.row_coding import RowCoding, coded_rows
from jaxrep.views import Deferred, Draws, Noise


class AutoencoderNetwork(ReconstructionNetwork):
    """Encoder rows–hidden–Z and the mirrored decoder Z–hidden–rows.

    Args:
        rows: what every row holds; D numbers, C codes.
        hidden_dims: widths of the encoder's hidden layers; the decoder has them in reverse.
        latent_dim: Z, size of the code.
        anomaly_score: `reconstruction`, or a score of representations by its name.
        rngs: source of the initial weights.

    Example:
        >>> import jax.numpy as jnp
        >>> network = AutoencoderNetwork(RowSpec(32), (64,), 8, rngs=nnx.Rngs(0))
        >>> batch = Batch(jnp.ones((3, 32)))
        >>> network.embed(batch).shape, network.reconstruct(batch).numbers.shape
        ((3, 8), (3, 32))
    """

    def __init__(
        self,
        rows: RowSpec,
        hidden_dims: Sequence[int],
        latent_dim: int,
        *,
        anomaly_score: str = "reconstruction",
        rngs: nnx.Rngs,
    ):
        self.coding = RowCoding(rows)
        rows = coded_rows(rows)
        self.encoder = RowEncoder(rows, (*hidden_dims, latent_dim), rngs=rngs)
        self.decoder = RowDecoder(rows, (latent_dim, *reversed(hidden_dims)), rngs=rngs)
        self.embeddings = Embeddings(rows, rngs=rngs)
        self.likelihood = RowLikelihood(rows)
        self.set_score(anomaly_score, latent_dim)

    def embed(self, batch: Batch) -> Array:
        """Maps rows to representations `[B, Z]`."""
        return self.encoder(self.coding.apart(batch), self.embeddings)


class Autoencoder(Method[AutoencoderHyperparameters, AutoencoderNetwork]):
    """Autoencoder; with a view whose rate is above 0, a denoising autoencoder.

    Example:
        >>> import jax.numpy as jnp
        >>> method = Autoencoder(AutoencoderHyperparameters())
        >>> network = method.init(RowSpec(32), nnx.Rngs(0))
        >>> batch = Batch(jnp.ones((4, 32)))
        >>> loss, _ = method.loss(network, batch, {})
        >>> bool(jnp.isclose(loss, network.score(batch).mean()))
        True
    """

    parity_cases = (
        {
            "views": ("scarf", "swap", "noise", "dropout", "hide"),
            "noise_std": 0.3,
            "drop_rate": 0.2,
        },
        {},
        {"noise_std": 0.3, "drop_rate": 0.2},
    )
    parity_trainings = (
        {"views": ("scarf", "swap", "hide", "dropout", "noise")},
        {"likelihood": "by_kind"},
    )

    def init(self, rows: RowSpec, rngs: nnx.Rngs) -> AutoencoderNetwork:
        """Returns a new network for rows."""
        hp = self.hyperparameters
        return AutoencoderNetwork(
            views.rows_seen(hp, rows),
            hp.hidden_dims,
            hp.latent_dim,
            anomaly_score=hp.anomaly_score,
            rngs=rngs,
        )

    def noise(self, draws: Draws, batch: Batch) -> Noise | Deferred:
        """Draws what the input's views need, as `draw_views` says, and which codes are "other"."""
        return views.draw_all(self.hyperparameters, draws, batch)

    def loss(
        self, network: AutoencoderNetwork, batch: Batch, noise: Noise
    ) -> tuple[Array, Metrics]:
        """Mean of the terms of rows, over columns, under the reconstruction of corrupted rows."""
        batch = views.replace_by_other(batch, noise)
        corrupted = views.corrupt(self.hyperparameters, batch, noise)
        terms = network.terms(batch, network.embed(corrupted))
        with jax.named_scope("loss"):
            observed = network.observed(batch)
            rows = losses.mean_over_columns(terms, observed)
            weights = losses.observed_weights(batch.weights, observed)
            return losses.mean_over_rows(rows, weights), {}
