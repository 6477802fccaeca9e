"""Variational autoencoder, and β-VAE."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from jaxrep import losses, views
from jaxrep.batch import Batch, RowSpec
from jaxrep.likelihoods import RowLikelihood
from jaxrep.methods._method import Method, Metrics
from jaxrep.methods._reconstruction import ReconstructionNetwork
from jaxrep.methods.vae_hyperparameters import VAEHyperparameters
from jaxrep.networks import GAINS, Embeddings, RowDecoder, RowEncoder, linears
from jaxrep.priors import DensityPrior, make_prior
from jaxrep.row_coding import RowCoding, coded_rows
from jaxrep.views import Draws, Noise


class VAENetwork(ReconstructionNetwork):
    """A shared encoder with heads for μ and log σ², and a decoder.

    Embedding, reconstruction and score go through the posterior's mean μ; nothing is sampled.

    Args:
        rows: what every row holds; D numbers, C codes.
        hidden_dims: widths of the shared encoder's layers; the decoder has them in reverse.
        latent_dim: Z, number of latents.
        anomaly_score: `reconstruction`, or a score of representations by its name.
        prior: what the latents of new rows are drawn from, by its name.
        draw_missing: whether cells of new rows may be missing, where they may be in the table.
        gain: of the initial weights of layers that ReLU follows.
        rngs: source of the initial weights.

    References:
        Kingma and Welling, Auto-Encoding Variational Bayes, 2014.

    Example:
        >>> network = VAENetwork(RowSpec(32), (64,), 8, rngs=nnx.Rngs(0))
        >>> z, mu, log_var = network.sample(Batch(jnp.ones((3, 32))), jnp.zeros((3, 8)))
        >>> network.decode(z).numbers.shape, mu.shape, log_var.shape
        ((3, 32), (3, 8), (3, 8))
    """

    outputs = (*ReconstructionNetwork.outputs, "encode", "generate")

    def __init__(
        self,
        rows: RowSpec,
        hidden_dims: Sequence[int],
        latent_dim: int,
        *,
        anomaly_score: str = "reconstruction",
        prior: str = "normal",
        draw_missing: bool = False,
        gain: float = 1.0,
        rngs: nnx.Rngs,
    ):
        self.coding = RowCoding(rows, flags_missing=draw_missing)
        rows = coded_rows(rows, flags_missing=draw_missing)
        self.encoder = RowEncoder(rows, hidden_dims, activate_last=True, gain=gain, rngs=rngs)
        width = (self.encoder.layout.inputs, *hidden_dims)[-1]
        self.mu, self.log_var = linears([(width, latent_dim)] * 2, rngs)
        self.decoder = RowDecoder(rows, (latent_dim, *reversed(hidden_dims)), gain=gain, rngs=rngs)
        self.embeddings = Embeddings(rows, rngs=rngs)
        self.likelihood = RowLikelihood(rows)
        self.prior = make_prior(prior, latent_dim)
        self.draws = self.prior.draws + rows.columns
        self.set_score(anomaly_score, latent_dim)

    def encode(self, batch: Batch) -> tuple[Array, Array]:
        """Maps rows to the posterior's μ and log σ², `[B, Z]` each."""
        h = self.encoder(self.coding.apart(batch), self.embeddings)
        return self.mu(h), self.log_var(h)

    def sample(self, batch: Batch, eps: Array) -> tuple[Array, Array, Array]:
        """Encodes, and samples z = μ + ε·σ (the reparameterisation trick).

        Args:
            batch: rows.
            eps: draws ε from N(0, 1), `[B, Z]`.

        Returns:
            z, μ and log σ², `[B, Z]` each.
        """
        mu, log_var = self.encode(batch)
        return mu + eps * jnp.exp(0.5 * log_var), mu, log_var

    def embed(self, batch: Batch) -> Array:
        """Maps rows to the posterior's means μ `[B, Z]`."""
        return self.encode(batch)[0]

    def log_weights(self, batch: Batch, eps: Array) -> Array:
        """Returns log p(x | z) + log p(z) − log q(z | x) of samples of the posterior, `[B, S]`.

        The mean of its exponential estimates p(x), the density of a row's features, without bias.

        Args:
            batch: rows.
            eps: draws from N(0, 1), `[S, Z]`, the same for all rows.

        References:
            Burda et al., Importance Weighted Autoencoders, 2016, equation 8.
        """
        prior = self.prior
        assert isinstance(prior, DensityPrior)
        mu, log_var = self.encode(batch)
        constant = self.likelihood.log_constant(self.coding.apart(batch))

        def of_sample(eps: Array) -> Array:
            z = mu + eps[None, :] * jnp.exp(0.5 * log_var)
            of_row = -jnp.sum(self.terms(batch, z), axis=-1) - constant
            of_z = 0.5 * jnp.sum(eps**2 + math.log(2 * math.pi)) + 0.5 * jnp.sum(log_var, axis=-1)
            return of_row + prior.log_density(z) + of_z

        found: Array = jax.lax.map(of_sample, eps).T
        return found

    def posterior(self, batch: Batch) -> Array:
        """Maps rows to the posterior's μ and log σ² beside each other, `[B, 2·Z]`."""
        return jnp.concatenate(self.encode(batch), axis=1)

    def fit_prior(self, compute: Callable[[str], np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the weights of the prior, fitted to the posteriors of training rows."""
        if not self.prior.is_fitted:
            return {}
        fitted = self.prior.fit(*np.split(compute("posterior"), 2, axis=1))
        return {f"prior.{name}": array for name, array in fitted.items()}

    def latents(self, draws: Array) -> Array:
        """Maps draws from N(0, 1), `[B, G]`, of which it takes the first, to latents `[B, Z]`."""
        return self.prior(draws[:, : self.prior.draws])

    def generate(self, draws: Array) -> Batch:
        """Maps draws from N(0, 1), `[B, G]`, to rows.

        The first are the prior's; of the others each cell of a coded row has one, which its
        likelihood takes.
        """
        outputs, normal = self.decoder(self.latents(draws)), draws[:, self.prior.draws :]
        made = self.likelihood.draw(outputs, normal, self.embeddings)
        return self.coding.joined(made, with_missing=True)


class VAE(Method[VAEHyperparameters, VAENetwork]):
    """Variational autoencoder; β-VAE where `beta` is not 1, β-TCVAE with `total_correlation`.

    Example:
        >>> method = VAE(VAEHyperparameters(beta=4.0))
        >>> network = method.init(RowSpec(32), nnx.Rngs(0))
        >>> batch = Batch(jnp.ones((4, 32)))
        >>> noise = method.noise(Draws(jax.random.key(0), batch), batch)
        >>> loss, metrics = method.loss(network, batch, noise)
        >>> bool(jnp.isclose(loss, metrics["reconstruction"] + 4.0 * metrics["kl"]))
        True
    """

    parity_cases = (
        {"beta": 4.0, "total_correlation": 3.0},
        {"beta": 4.0},
        {"beta": 1.0},
        {"beta": 0.0},
    )
    parity_trainings = ({"likelihood": "by_kind", "draw_missing": True},)

    def init(self, rows: RowSpec, rngs: nnx.Rngs) -> VAENetwork:
        """Returns a new network for rows."""
        hp = self.hyperparameters
        return VAENetwork(
            rows,
            hp.hidden_dims,
            hp.latent_dim,
            anomaly_score=hp.anomaly_score,
            prior=hp.prior,
            draw_missing=hp.draw_missing,
            gain=GAINS[hp.initial_weights],
            rngs=rngs,
        )

    def noise(self, draws: Draws, batch: Batch) -> Noise:
        """Draws `eps` `[B, Z]` from N(0, 1), and which codes are "other"."""
        shape = (len(batch.numbers), self.hyperparameters.latent_dim)
        eps = jax.random.normal(draws.key, shape, batch.numbers.dtype)
        return {"eps": eps, **views.draw_other(self.hyperparameters.other_rate, draws, batch)}

    def loss(self, network: VAENetwork, batch: Batch, noise: Noise) -> tuple[Array, Metrics]:
        """Negative ELBO and its two terms, `reconstruction` and `kl`; and the total correlation."""
        batch = views.replace_by_other(batch, noise)
        z, mu, log_var = network.sample(batch, noise["eps"])
        terms = network.terms_apart(batch, z)
        with jax.named_scope("loss"):
            weights = losses.observed_weights(batch.weights, network.observed(batch))
            reconstruction = losses.mean_over_rows(jnp.sum(terms, axis=-1), weights)
            kl = losses.gaussian_kl(mu, log_var, weights=weights)
            loss = reconstruction + self.hyperparameters.beta * kl
            metrics = {"reconstruction": reconstruction, "kl": kl}
            if not views.is_off(self.hyperparameters.total_correlation):
                metrics["total_correlation"] = losses.total_correlation(
                    z, mu, log_var, weights=weights
                )
                loss += self.hyperparameters.total_correlation * metrics["total_correlation"]
        return loss, metrics
