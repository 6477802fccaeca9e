"""Autoencoder: a network with a bottleneck that gives its input back."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from torch_ref import losses, views
from torch_ref.batch import Batch, RowSpec
from torch_ref.methods._method import Method, Metrics, ViewHyperparameters
from torch_ref.networks import MLP, Network
from torch_ref.views import Draws, Noise


@dataclass(frozen=True, kw_only=True)
class AutoencoderHyperparameters(ViewHyperparameters):
    """Autoencoder: mean squared error of the reconstruction."""


class AutoencoderNetwork(Network):
    """Encoder D–hidden–Z and the mirrored decoder Z–hidden–D.

    Args:
        rows: what every row holds; D numbers.
        hidden_dims: widths of the encoder's hidden layers; the decoder has them in reverse.
        latent_dim: Z, size of the code.
        generator: source of the initial weights.

    Example:
        >>> network = AutoencoderNetwork(RowSpec(32), (64,), 8, generator=torch.Generator())
        >>> batch = Batch(torch.ones(3, 32))
        >>> tuple(network.embed(batch).shape), tuple(network.reconstruct(batch).shape)
        ((3, 8), (3, 32))
    """

    outputs = ("embed", "reconstruct", "score", "decode")

    def __init__(
        self,
        rows: RowSpec,
        hidden_dims: Sequence[int],
        latent_dim: int,
        *,
        generator: torch.Generator,
    ):
        super().__init__()
        self.encoder = MLP((rows.numbers, *hidden_dims, latent_dim), generator=generator)
        self.decoder = MLP((latent_dim, *reversed(hidden_dims), rows.numbers), generator=generator)

    def embed(self, batch: Batch) -> Tensor:
        """Maps rows `[B, D]` to codes `[B, Z]`."""
        z: Tensor = self.encoder(batch.numbers)
        return z

    def decode(self, z: Tensor) -> Tensor:
        """Maps codes `[B, Z]` to rows `[B, D]`."""
        x_hat: Tensor = self.decoder(z)
        return x_hat

    def reconstruct(self, batch: Batch) -> Tensor:
        """Maps rows `[B, D]` to their reconstructions `[B, D]`."""
        return self.decode(self.embed(batch))

    def score(self, batch: Batch) -> Tensor:
        """Mean squared reconstruction error of each row, `[B]`; higher is more anomalous."""
        return losses.mse_by_row(batch.numbers, self.reconstruct(batch))


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
        return AutoencoderNetwork(rows, hp.hidden_dims, hp.latent_dim, generator=generator)

    def noise(self, draws: Draws, batch: Batch) -> Noise:
        """Draws what the input's views need, as `draw_views` says."""
        return views.draw_views(self.hyperparameters, draws, batch.numbers)

    def loss(
        self, network: AutoencoderNetwork, batch: Batch, noise: Noise
    ) -> tuple[Tensor, Metrics]:
        """Mean squared error between rows and the reconstruction of corrupted rows."""
        corrupted = views.corrupt(self.hyperparameters, batch.numbers, noise)
        x_hat = network.reconstruct(batch._replace(numbers=corrupted))
        return losses.mse_loss(batch.numbers, x_hat, weights=batch.weights), {}
