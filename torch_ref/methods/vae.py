"""Variational autoencoder, and β-VAE."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from torch_ref import losses, views
from torch_ref.batch import Batch, RowSpec
from torch_ref.likelihoods import RowLikelihood
from torch_ref.methods._method import Method, Metrics, TrainingHyperparameters
from torch_ref.methods._reconstruction import ReconstructionNetwork
from torch_ref.networks import GAINS, Embeddings, RowDecoder, RowEncoder, linears
from torch_ref.priors import DensityPrior, make_prior
from torch_ref.row_coding import RowCoding, coded_rows
from torch_ref.views import Draws, Noise


@dataclass(frozen=True, kw_only=True)
class VAEHyperparameters(TrainingHyperparameters):
    """Variational autoencoder: −log p of the row + β·KL, the negative evidence lower bound."""

    beta: float
    total_correlation: float
    likelihood: Literal["squared", "by_kind"]
    anomaly_score: Literal["reconstruction", "mahalanobis", "neighbours"]
    prior: Literal["normal", "mixture", "diffusion"]
    draw_missing: bool
    initial_weights: Literal["pytorch", "he"]


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
        generator: source of the initial weights.

    References:
        Kingma and Welling, Auto-Encoding Variational Bayes, 2014.

    Example:
        >>> network = VAENetwork(RowSpec(32), (64,), 8, generator=torch.Generator())
        >>> z, mu, log_var = network.sample(Batch(torch.ones(3, 32)), torch.zeros(3, 8))
        >>> tuple(network.decode(z).numbers.shape), tuple(mu.shape), tuple(log_var.shape)
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
        generator: torch.Generator,
    ):
        super().__init__()
        self.coding = RowCoding(rows, flags_missing=draw_missing)
        rows = coded_rows(rows, flags_missing=draw_missing)
        self.encoder = RowEncoder(
            rows, hidden_dims, activate_last=True, gain=gain, generator=generator
        )
        width = (self.encoder.inputs, *hidden_dims)[-1]
        self.mu, self.log_var = linears([(width, latent_dim)] * 2, generator)
        dims = (latent_dim, *reversed(hidden_dims))
        self.decoder = RowDecoder(rows, dims, gain=gain, generator=generator)
        self.embeddings = Embeddings(rows, generator=generator)
        self.likelihood = RowLikelihood(rows)
        self.prior = make_prior(prior, latent_dim)
        self.latent_draws, self.draws = self.prior.draws, self.prior.draws + rows.columns
        self.set_score(anomaly_score, latent_dim)

    def encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Maps rows to the posterior's μ and log σ², `[B, Z]` each."""
        h = self.encoder(self.coding.apart(batch), self.embeddings())
        return self.mu(h), self.log_var(h)

    def sample(self, batch: Batch, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encodes, and samples z = μ + ε·σ (the reparameterisation trick).

        Args:
            batch: rows.
            eps: draws ε from N(0, 1), `[B, Z]`.

        Returns:
            z, μ and log σ², `[B, Z]` each.
        """
        mu, log_var = self.encode(batch)
        return mu + eps * torch.exp(0.5 * log_var), mu, log_var

    def embed(self, batch: Batch) -> Tensor:
        """Maps rows to the posterior's means μ `[B, Z]`."""
        return self.encode(batch)[0]

    def log_weights(self, batch: Batch, eps: Tensor) -> Tensor:
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
        found = []
        for own in eps:
            z = mu + own * torch.exp(0.5 * log_var)
            of_row = -self.terms(batch, z).sum(dim=-1) - constant
            of_z = 0.5 * (own.square() + math.log(2 * math.pi)).sum() + 0.5 * log_var.sum(dim=-1)
            found.append(of_row + prior.log_density(z) + of_z)
        return torch.stack(found, dim=1)

    def latents(self, draws: Tensor) -> Tensor:
        """Maps draws from N(0, 1), `[B, G]`, of which it takes the first, to latents `[B, Z]`."""
        z: Tensor = self.prior(draws[:, : self.latent_draws])
        return z

    def generate(self, draws: Tensor) -> Batch:
        """Maps draws from N(0, 1), `[B, G]`, to rows.

        The first are the prior's; of the others each cell of a coded row has one, which its
        likelihood takes.
        """
        outputs, normal = self.decoder(self.latents(draws)), draws[:, self.latent_draws :]
        made = self.likelihood.draw(outputs, normal, self.embeddings())
        rows: Batch = self.coding.joined(made, with_missing=True)
        return rows


class VAE(Method[VAEHyperparameters, VAENetwork]):
    """Variational autoencoder, and β-VAE where `beta` is not 1.

    Example:
        >>> from dataclasses import asdict
        >>> import jaxrep.methods
        >>> method = VAE(**asdict(jaxrep.methods.VAEHyperparameters(beta=4.0)))
        >>> network = method.init(RowSpec(32), torch.Generator())
        >>> batch = Batch(torch.ones(4, 32))
        >>> noise = method.noise(Draws(torch.Generator(), batch), batch)
        >>> loss, metrics = method.loss(network, batch, noise)
        >>> bool(torch.isclose(loss, metrics["reconstruction"] + 4.0 * metrics["kl"]))
        True
    """

    name = "vae"

    def init(self, rows: RowSpec, generator: torch.Generator) -> VAENetwork:
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
            generator=generator,
        )

    def noise(self, draws: Draws, batch: Batch) -> Noise:
        """Draws `eps` `[B, Z]` from N(0, 1), and which codes are "other"."""
        shape = (len(batch.numbers), self.hyperparameters.latent_dim)
        eps = torch.randn(shape, generator=draws.generator, dtype=batch.numbers.dtype)
        return {"eps": eps, **views.draw_other(self.hyperparameters.other_rate, draws, batch)}

    def loss(self, network: VAENetwork, batch: Batch, noise: Noise) -> tuple[Tensor, Metrics]:
        """Negative ELBO and its two terms, `reconstruction` and `kl`; and the total correlation."""
        batch = views.replace_by_other(batch, noise)
        z, mu, log_var = network.sample(batch, noise["eps"])
        terms = network.terms_apart(batch, z)
        weights = losses.observed_weights(batch.weights, network.observed(batch))
        reconstruction = losses.mean_over_rows(terms.sum(dim=-1), weights)
        kl = losses.gaussian_kl(mu, log_var, weights=weights)
        loss = reconstruction + self.hyperparameters.beta * kl
        metrics = {"reconstruction": reconstruction.detach(), "kl": kl.detach()}
        if self.hyperparameters.total_correlation:
            correlation = losses.total_correlation(z, mu, log_var, weights=weights)
            metrics["total_correlation"] = correlation.detach()
            loss = loss + self.hyperparameters.total_correlation * correlation
        return loss, metrics
