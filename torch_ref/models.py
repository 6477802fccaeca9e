"""The networks: MLP, autoencoder, VAE and SimCLR's encoder, as PyTorch modules.

Linear layers start uniform in ±1/√fan_in, from the given generator. Attributes bear the names of
`jaxrep.models`; `torch_ref.weights` turns them into jaxrep's flat dictionary and back. Shape
letters: B batch, D features, Z latent, P projection.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from torch_ref.losses import l2_normalize


class MLP(nn.Module):
    """Linear layers with ReLU between them.

    Args:
        dims: sizes from input to output; n sizes make n − 1 layers, a single one the identity.
        activate_last: whether ReLU follows the last layer too.
        generator: source of the initial weights.

    Example:
        >>> mlp = MLP((4, 8, 2), generator=torch.Generator().manual_seed(0))
        >>> tuple(mlp(torch.ones(3, 4)).shape)
        (3, 2)
    """

    def __init__(
        self, dims: Sequence[int], *, activate_last: bool = False, generator: torch.Generator
    ):
        super().__init__()
        self.layers = nn.ModuleList(
            [_linear(fan_in, out, generator) for fan_in, out in pairwise(dims)]
        )
        self.activate_last = activate_last

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[B, dims[0]]` to `[B, dims[-1]]`."""
        last = len(self.layers) - 1
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i < last or self.activate_last:
                x = torch.relu(x)
        return x


class Autoencoder(nn.Module):
    """Encoder D–hidden–Z and the mirrored decoder Z–hidden–D.

    Args:
        input_dim: D, features of a row.
        hidden_dims: widths of the encoder's hidden layers; the decoder has them in reverse.
        latent_dim: Z, size of the code.
        generator: source of the initial weights.

    Example:
        >>> model = Autoencoder(32, (64,), 8, generator=torch.Generator())
        >>> x_hat, z = model(torch.ones(3, 32))
        >>> tuple(x_hat.shape), tuple(z.shape)
        ((3, 32), (3, 8))
    """

    def __init__(
        self,
        input_dim: int,
        hidden_dims: Sequence[int],
        latent_dim: int,
        *,
        generator: torch.Generator,
    ):
        super().__init__()
        self.encoder = MLP((input_dim, *hidden_dims, latent_dim), generator=generator)
        self.decoder = MLP((latent_dim, *reversed(hidden_dims), input_dim), generator=generator)

    def encode(self, x: Tensor) -> Tensor:
        """Maps rows `[B, D]` to codes `[B, Z]`."""
        z: Tensor = self.encoder(x)
        return z

    def decode(self, z: Tensor) -> Tensor:
        """Maps codes `[B, Z]` to rows `[B, D]`."""
        x_hat: Tensor = self.decoder(z)
        return x_hat

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps rows `[B, D]` to their reconstructions `[B, D]` and codes `[B, Z]`."""
        z = self.encode(x)
        return self.decode(z), z


class VAE(nn.Module):
    """Variational autoencoder: a shared encoder with heads for μ and log σ², and a decoder.

    Args:
        input_dim: D, features of a row.
        hidden_dims: widths of the shared encoder's layers; the decoder has them in reverse.
        latent_dim: Z, number of latents.
        generator: source of the initial weights.

    References:
        Kingma and Welling, Auto-Encoding Variational Bayes, 2014.

    Example:
        >>> model = VAE(32, (64,), 8, generator=torch.Generator())
        >>> x_hat, mu, log_var = model(torch.ones(3, 32), torch.zeros(3, 8))
        >>> tuple(x_hat.shape), tuple(mu.shape), tuple(log_var.shape)
        ((3, 32), (3, 8), (3, 8))
    """

    def __init__(
        self,
        input_dim: int,
        hidden_dims: Sequence[int],
        latent_dim: int,
        *,
        generator: torch.Generator,
    ):
        super().__init__()
        shared = (input_dim, *hidden_dims)
        self.encoder = MLP(shared, activate_last=True, generator=generator)
        self.mu = _linear(shared[-1], latent_dim, generator)
        self.log_var = _linear(shared[-1], latent_dim, generator)
        self.decoder = MLP((latent_dim, *reversed(hidden_dims), input_dim), generator=generator)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps rows `[B, D]` to the posterior's μ and log σ², `[B, Z]` each."""
        h = self.encoder(x)
        return self.mu(h), self.log_var(h)

    def decode(self, z: Tensor) -> Tensor:
        """Maps latents `[B, Z]` to the means of rows `[B, D]`."""
        x_hat: Tensor = self.decoder(z)
        return x_hat

    def forward(self, x: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encodes, samples z = μ + ε·σ (the reparameterisation trick) and decodes.

        Args:
            x: rows, `[B, D]`.
            eps: draws ε from N(0, 1), `[B, Z]`.

        Returns:
            Reconstructions `[B, D]`, μ `[B, Z]` and log σ² `[B, Z]`.
        """
        mu, log_var = self.encode(x)
        z = mu + eps * torch.exp(0.5 * log_var)
        return self.decode(z), mu, log_var


class ProjectionHead(nn.Module):
    """Maps representations onto the unit sphere in which SimCLR's loss compares them.

    Args:
        input_dim: size of the representation, and of the hidden layer.
        proj_dim: P, size of the projection.
        generator: source of the initial weights.

    Example:
        >>> head = ProjectionHead(8, 32, generator=torch.Generator())
        >>> print(head(torch.ones(3, 8)).detach().norm(dim=-1).round(decimals=3))
        tensor([1., 1., 1.])
    """

    def __init__(self, input_dim: int, proj_dim: int, *, generator: torch.Generator):
        super().__init__()
        self.net = MLP((input_dim, input_dim, proj_dim), generator=generator)

    def forward(self, h: Tensor) -> Tensor:
        """Maps representations `[B, Z]` to projections `[B, P]` of length 1."""
        return l2_normalize(self.net(h))


class SimCLREncoder(nn.Module):
    """SimCLR's backbone, with ReLU after every layer, and its projection head.

    The mean and whitening matrix of the training rows' representations are buffers, so that its
    anomaly score is a function of the model and the row alone.

    Args:
        input_dim: D, features of a row.
        hidden_dims: widths of the backbone's hidden layers.
        latent_dim: Z, size of the representation.
        proj_dim: P, size of the projection.
        generator: source of the initial weights.

    References:
        Chen et al., A Simple Framework for Contrastive Learning, 2020.

    Example:
        >>> model = SimCLREncoder(32, (64,), 8, 16, generator=torch.Generator())
        >>> h, z = model(torch.ones(3, 32))
        >>> tuple(h.shape), tuple(z.shape)
        ((3, 8), (3, 16))
    """

    h_mean: Tensor
    h_whitening: Tensor

    def __init__(
        self,
        input_dim: int,
        hidden_dims: Sequence[int],
        latent_dim: int,
        proj_dim: int,
        *,
        generator: torch.Generator,
    ):
        super().__init__()
        self.backbone = MLP(
            (input_dim, *hidden_dims, latent_dim), activate_last=True, generator=generator
        )
        self.projection = ProjectionHead(latent_dim, proj_dim, generator=generator)
        self.register_buffer("h_mean", torch.zeros(latent_dim))
        self.register_buffer("h_whitening", torch.eye(latent_dim))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps rows `[B, D]` to representations h `[B, Z]` and projections z `[B, P]`."""
        h = self.backbone(x)
        return h, self.projection(h)

    def squared_distance(self, h: Tensor) -> Tensor:
        """Mean squared whitened coordinate of h `[B, Z]`: its Mahalanobis distance² / Z, `[B]`."""
        whitened = (h - self.h_mean) @ self.h_whitening
        return (whitened**2).mean(dim=-1)


def _linear(fan_in: int, out: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer with weights and biases from U(−1/√fan_in, 1/√fan_in)."""
    bound = fan_in**-0.5
    layer = nn.Linear(fan_in, out)
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return layer
