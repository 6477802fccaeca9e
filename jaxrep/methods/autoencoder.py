"""Autoencoder: a network with a bottleneck that gives its input back."""

from collections.abc import Sequence

import jax
from flax import nnx
from jax import Array

from jaxrep import losses, views
from jaxrep.batch import Batch, RowSpec
from jaxrep.methods._method import Method, Metrics
from jaxrep.methods.autoencoder_hyperparameters import AutoencoderHyperparameters
from jaxrep.networks import MLP, Network
from jaxrep.views import Deferred, Draws, Noise


class AutoencoderNetwork(Network):
    """Encoder D–hidden–Z and the mirrored decoder Z–hidden–D.

    Args:
        rows: what every row holds; D numbers.
        hidden_dims: widths of the encoder's hidden layers; the decoder has them in reverse.
        latent_dim: Z, size of the code.
        rngs: source of the initial weights.

    Example:
        >>> import jax.numpy as jnp
        >>> network = AutoencoderNetwork(RowSpec(32), (64,), 8, rngs=nnx.Rngs(0))
        >>> batch = Batch(jnp.ones((3, 32)))
        >>> network.embed(batch).shape, network.reconstruct(batch).shape
        ((3, 8), (3, 32))
    """

    outputs = ("embed", "reconstruct", "score", "decode")

    def __init__(
        self, rows: RowSpec, hidden_dims: Sequence[int], latent_dim: int, *, rngs: nnx.Rngs
    ):
        self.encoder = MLP((rows.numbers, *hidden_dims, latent_dim), rngs=rngs)
        self.decoder = MLP((latent_dim, *reversed(hidden_dims), rows.numbers), rngs=rngs)

    def embed(self, batch: Batch) -> Array:
        """Maps rows `[B, D]` to codes `[B, Z]`."""
        return self.encoder(batch.numbers)

    def decode(self, z: Array) -> Array:
        """Maps codes `[B, Z]` to rows `[B, D]`."""
        return self.decoder(z)

    def reconstruct(self, batch: Batch) -> Array:
        """Maps rows `[B, D]` to their reconstructions `[B, D]`."""
        return self.decode(self.embed(batch))

    def score(self, batch: Batch) -> Array:
        """Mean squared reconstruction error of each row, `[B]`; higher is more anomalous."""
        return losses.mse_by_row(batch.numbers, self.reconstruct(batch))


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
            "views": ("scarf", "swap", "noise", "dropout"),
            "noise_std": 0.3,
            "drop_rate": 0.2,
        },
        {},
        {"noise_std": 0.3, "drop_rate": 0.2},
    )

    def init(self, rows: RowSpec, rngs: nnx.Rngs) -> AutoencoderNetwork:
        """Returns a new network for rows."""
        hp = self.hyperparameters
        return AutoencoderNetwork(rows, hp.hidden_dims, hp.latent_dim, rngs=rngs)

    def noise(self, draws: Draws, batch: Batch) -> Noise | Deferred:
        """Draws what the input's views need, as `draw_views` says."""
        return views.draw_views(self.hyperparameters, draws, batch.numbers)

    def loss(
        self, network: AutoencoderNetwork, batch: Batch, noise: Noise
    ) -> tuple[Array, Metrics]:
        """Mean squared error between rows and the reconstruction of corrupted rows."""
        corrupted = views.corrupt(self.hyperparameters, batch.numbers, noise)
        x_hat = network.reconstruct(batch._replace(numbers=corrupted))
        with jax.named_scope("loss"):
            return losses.mse_loss(batch.numbers, x_hat, weights=batch.weights), {}
