"""Variational autoencoder, and β-VAE."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from jaxrep import losses
from jaxrep.batch import Batch, RowSpec
from jaxrep.methods._method import Method, Metrics
from jaxrep.methods.vae_hyperparameters import VAEHyperparameters
from jaxrep.networks import MLP, Network, linears
from jaxrep.views import Draws, Noise


class VAENetwork(Network):
    """A shared encoder with heads for μ and log σ², and a decoder.

    Embedding, reconstruction and score go through the posterior's mean μ; nothing is sampled.

    Args:
        rows: what every row holds; D numbers.
        hidden_dims: widths of the shared encoder's layers; the decoder has them in reverse.
        latent_dim: Z, number of latents.
        rngs: source of the initial weights.

    References:
        Kingma and Welling, Auto-Encoding Variational Bayes, 2014.

    Example:
        >>> network = VAENetwork(RowSpec(32), (64,), 8, rngs=nnx.Rngs(0))
        >>> x_hat, mu, log_var = network(Batch(jnp.ones((3, 32))), jnp.zeros((3, 8)))
        >>> x_hat.shape, mu.shape, log_var.shape
        ((3, 32), (3, 8), (3, 8))
    """

    outputs = ("embed", "reconstruct", "score", "encode", "decode", "generate")

    def __init__(
        self, rows: RowSpec, hidden_dims: Sequence[int], latent_dim: int, *, rngs: nnx.Rngs
    ):
        shared = (rows.numbers, *hidden_dims)
        self.encoder = MLP(shared, activate_last=True, rngs=rngs)
        self.mu, self.log_var = linears([(shared[-1], latent_dim)] * 2, rngs)
        self.decoder = MLP((latent_dim, *reversed(hidden_dims), rows.numbers), rngs=rngs)

    def encode(self, batch: Batch) -> tuple[Array, Array]:
        """Maps rows `[B, D]` to the posterior's μ and log σ², `[B, Z]` each."""
        h = self.encoder(batch.numbers)
        return self.mu(h), self.log_var(h)

    def decode(self, z: Array) -> Array:
        """Maps latents `[B, Z]` to the means of rows `[B, D]`."""
        return self.decoder(z)

    def __call__(self, batch: Batch, eps: Array) -> tuple[Array, Array, Array]:
        """Encodes, samples z = μ + ε·σ (the reparameterisation trick) and decodes.

        Args:
            batch: rows, `[B, D]`.
            eps: draws ε from N(0, 1), `[B, Z]`.

        Returns:
            Reconstructions `[B, D]`, μ `[B, Z]` and log σ² `[B, Z]`.
        """
        mu, log_var = self.encode(batch)
        z = mu + eps * jnp.exp(0.5 * log_var)
        return self.decode(z), mu, log_var

    def embed(self, batch: Batch) -> Array:
        """Maps rows `[B, D]` to the posterior's means μ `[B, Z]`."""
        return self.encode(batch)[0]

    def reconstruct(self, batch: Batch) -> Array:
        """Maps rows `[B, D]` to their reconstructions through μ, `[B, D]`."""
        return self.decode(self.embed(batch))

    def score(self, batch: Batch) -> Array:
        """Mean squared error of each row's reconstruction through μ, `[B]`."""
        return losses.mse_by_row(batch.numbers, self.reconstruct(batch))

    def generate(self, draws: Array) -> Array:
        """Maps draws from the prior N(0, I), `[B, Z]`, to rows `[B, D]`."""
        return self.decode(draws)


class VAE(Method[VAEHyperparameters, VAENetwork]):
    """Variational autoencoder, and β-VAE where `beta` is not 1.

    Example:
        >>> method = VAE(VAEHyperparameters(beta=4.0))
        >>> network = method.init(RowSpec(32), nnx.Rngs(0))
        >>> batch = Batch(jnp.ones((4, 32)))
        >>> noise = method.noise(Draws(jax.random.key(0), batch.numbers), batch)
        >>> loss, metrics = method.loss(network, batch, noise)
        >>> bool(jnp.isclose(loss, metrics["reconstruction"] + 4.0 * metrics["kl"]))
        True
    """

    parity_cases = ({"beta": 4.0}, {"beta": 1.0}, {"beta": 0.0})

    def init(self, rows: RowSpec, rngs: nnx.Rngs) -> VAENetwork:
        """Returns a new network for rows."""
        hp = self.hyperparameters
        return VAENetwork(rows, hp.hidden_dims, hp.latent_dim, rngs=rngs)

    def noise(self, draws: Draws, batch: Batch) -> Noise:
        """Draws `eps` `[B, Z]` from N(0, 1)."""
        shape = (len(batch.numbers), self.hyperparameters.latent_dim)
        return {"eps": jax.random.normal(draws.key, shape, batch.numbers.dtype)}

    def loss(self, network: VAENetwork, batch: Batch, noise: Noise) -> tuple[Array, Metrics]:
        """Negative ELBO, and its two terms: `reconstruction` and `kl`."""
        x, weights = batch.numbers, batch.weights
        x_hat, mu, log_var = network(batch, noise["eps"])
        beta = self.hyperparameters.beta
        with jax.named_scope("loss"):
            loss = losses.elbo_loss(x, x_hat, mu, log_var, beta=beta, weights=weights)
            reconstruction = x.shape[-1] * losses.mse_loss(x, x_hat, weights=weights)
            kl = losses.gaussian_kl(mu, log_var, weights=weights)
        return loss, {"reconstruction": reconstruction, "kl": kl}
