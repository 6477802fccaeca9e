"""Variational autoencoder, and β-VAE."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from torch_ref import losses
from torch_ref.batch import Batch, RowSpec
from torch_ref.methods._method import Method, Metrics, TrainingHyperparameters
from torch_ref.networks import MLP, Network, linears
from torch_ref.views import Draws, Noise


@dataclass(frozen=True, kw_only=True)
class VAEHyperparameters(TrainingHyperparameters):
    """Variational autoencoder: squared error + β·KL, the negative evidence lower bound."""

    beta: float


class VAENetwork(Network):
    """A shared encoder with heads for μ and log σ², and a decoder.

    Embedding, reconstruction and score go through the posterior's mean μ; nothing is sampled.

    Args:
        rows: what every row holds; D numbers.
        hidden_dims: widths of the shared encoder's layers; the decoder has them in reverse.
        latent_dim: Z, number of latents.
        generator: source of the initial weights.

    References:
        Kingma and Welling, Auto-Encoding Variational Bayes, 2014.

    Example:
        >>> network = VAENetwork(RowSpec(32), (64,), 8, generator=torch.Generator())
        >>> x_hat, mu, log_var = network(Batch(torch.ones(3, 32)), torch.zeros(3, 8))
        >>> tuple(x_hat.shape), tuple(mu.shape), tuple(log_var.shape)
        ((3, 32), (3, 8), (3, 8))
    """

    outputs = ("embed", "reconstruct", "score", "encode", "decode", "generate")

    def __init__(
        self,
        rows: RowSpec,
        hidden_dims: Sequence[int],
        latent_dim: int,
        *,
        generator: torch.Generator,
    ):
        super().__init__()
        shared = (rows.numbers, *hidden_dims)
        self.encoder = MLP(shared, activate_last=True, generator=generator)
        self.mu, self.log_var = linears([(shared[-1], latent_dim)] * 2, generator)
        self.decoder = MLP((latent_dim, *reversed(hidden_dims), rows.numbers), generator=generator)

    def encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Maps rows `[B, D]` to the posterior's μ and log σ², `[B, Z]` each."""
        h = self.encoder(batch.numbers)
        return self.mu(h), self.log_var(h)

    def decode(self, z: Tensor) -> Tensor:
        """Maps latents `[B, Z]` to the means of rows `[B, D]`."""
        x_hat: Tensor = self.decoder(z)
        return x_hat

    def forward(self, batch: Batch, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encodes, samples z = μ + ε·σ (the reparameterisation trick) and decodes.

        Args:
            batch: rows, `[B, D]`.
            eps: draws ε from N(0, 1), `[B, Z]`.

        Returns:
            Reconstructions `[B, D]`, μ `[B, Z]` and log σ² `[B, Z]`.
        """
        mu, log_var = self.encode(batch)
        z = mu + eps * torch.exp(0.5 * log_var)
        return self.decode(z), mu, log_var

    def embed(self, batch: Batch) -> Tensor:
        """Maps rows `[B, D]` to the posterior's means μ `[B, Z]`."""
        return self.encode(batch)[0]

    def reconstruct(self, batch: Batch) -> Tensor:
        """Maps rows `[B, D]` to their reconstructions through μ, `[B, D]`."""
        return self.decode(self.embed(batch))

    def score(self, batch: Batch) -> Tensor:
        """Mean squared error of each row's reconstruction through μ, `[B]`."""
        return losses.mse_by_row(batch.numbers, self.reconstruct(batch))

    def generate(self, draws: Tensor) -> Tensor:
        """Maps draws from the prior N(0, I), `[B, Z]`, to rows `[B, D]`."""
        return self.decode(draws)


class VAE(Method[VAEHyperparameters, VAENetwork]):
    """Variational autoencoder, and β-VAE where `beta` is not 1.

    Example:
        >>> from dataclasses import asdict
        >>> import jaxrep.methods
        >>> method = VAE(**asdict(jaxrep.methods.VAEHyperparameters(beta=4.0)))
        >>> network = method.init(RowSpec(32), torch.Generator())
        >>> batch = Batch(torch.ones(4, 32))
        >>> noise = method.noise(Draws(torch.Generator(), batch.numbers), batch)
        >>> loss, metrics = method.loss(network, batch, noise)
        >>> bool(torch.isclose(loss, metrics["reconstruction"] + 4.0 * metrics["kl"]))
        True
    """

    name = "vae"

    def init(self, rows: RowSpec, generator: torch.Generator) -> VAENetwork:
        """Returns a new network for rows."""
        hp = self.hyperparameters
        return VAENetwork(rows, hp.hidden_dims, hp.latent_dim, generator=generator)

    def noise(self, draws: Draws, batch: Batch) -> Noise:
        """Draws `eps` `[B, Z]` from N(0, 1)."""
        shape = (len(batch.numbers), self.hyperparameters.latent_dim)
        return {"eps": torch.randn(shape, generator=draws.generator, dtype=batch.numbers.dtype)}

    def loss(self, network: VAENetwork, batch: Batch, noise: Noise) -> tuple[Tensor, Metrics]:
        """Negative ELBO, and its two terms: `reconstruction` and `kl`."""
        x, weights = batch.numbers, batch.weights
        x_hat, mu, log_var = network(batch, noise["eps"])
        beta = self.hyperparameters.beta
        loss = losses.elbo_loss(x, x_hat, mu, log_var, beta=beta, weights=weights)
        with torch.no_grad():
            reconstruction = x.shape[-1] * losses.mse_loss(x, x_hat, weights=weights)
            kl = losses.gaussian_kl(mu, log_var, weights=weights)
        return loss, {"reconstruction": reconstruction, "kl": kl}
