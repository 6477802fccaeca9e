"""The three methods: what noise each draws, its loss, and how a trained model is used.

A method is its hyperparameters and the functions that read them, name by name as in
`jaxrep.methods`. Shape letters: B batch, D features, Z latent, P projection.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from torch_ref import losses, models, optim, views
from torch_ref.hyperparameters import (
    AutoencoderHyperparameters,
    SimCLRHyperparameters,
    TrainingHyperparameters,
    VAEHyperparameters,
)

Noise = dict[str, Tensor]
Metrics = dict[str, Tensor]
Hyperparameters = TypeVar("Hyperparameters", bound=TrainingHyperparameters)
Model = TypeVar("Model", bound=nn.Module)


class Method(ABC, Generic[Hyperparameters, Model]):
    """What every method offers. Those with a decoder have `reconstruct` and `decode` as well.

    Args:
        hyperparameters: of the method; `torch_ref.hyperparameters.check` knows their ranges.
    """

    name: ClassVar[str]

    def __init__(self, hyperparameters: Hyperparameters):
        self.hyperparameters = hyperparameters

    def optimizer(self) -> optim.OptimizerFactory:
        """Returns the optimiser that the hyperparameters name."""
        make = {"adam": optim.adam, "adamw": optim.adamw}[self.hyperparameters.optimizer]
        return make(
            learning_rate=self.hyperparameters.learning_rate,
            weight_decay=self.hyperparameters.weight_decay,
        )

    @abstractmethod
    def init_model(self, input_dim: int, generator: torch.Generator) -> Model:
        """Returns a new model for rows of `input_dim` features."""

    @abstractmethod
    def draw_noise(self, generator: torch.Generator, x: Tensor, reference: Tensor) -> Noise:
        """Draws all that is random in the loss of a batch; nothing else draws.

        Args:
            generator: source of the draws.
            x: the batch, `[B, D]`; its shape and dtype count.
            reference: training rows `[R, D]`, for views that borrow values from other rows.

        Returns:
            Tensors by name.
        """

    @abstractmethod
    def loss(
        self, model: Model, x: Tensor, noise: Noise, weights: Tensor
    ) -> tuple[Tensor, Metrics]:
        """Computes the loss of a batch: a pure function of its arguments.

        Args:
            model: from `init_model`.
            x: the batch, `[B, D]`.
            noise: from `draw_noise`.
            weights: row weights, `[B]`.

        Returns:
            The scalar to minimise, and scalars worth logging by name.
        """

    @abstractmethod
    def embed(self, model: Model, x: Tensor) -> Tensor:
        """Maps rows `[B, D]` to representations `[B, Z]`; nothing is random."""

    @abstractmethod
    def score(self, model: Model, x: Tensor) -> Tensor:
        """Maps rows `[B, D]` to anomaly scores `[B]`; higher is more anomalous."""

    def score_statistics(self, embed: Callable[[], np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the weights that `score` needs beyond the trained ones; here there are none.

        Args:
            embed: returns the representations of training rows, `[rows, Z]`; called if needed.

        Returns:
            Arrays by the names they have in the model.
        """
        del embed
        return {}


class Autoencoder(Method[AutoencoderHyperparameters, models.Autoencoder]):
    """Autoencoder; with a view whose rate is above 0, a denoising autoencoder.

    Example:
        >>> method = Autoencoder(AutoencoderHyperparameters())
        >>> model = method.init_model(32, torch.Generator())
        >>> x = torch.ones(4, 32)
        >>> noise = method.draw_noise(torch.Generator(), x, x)
        >>> loss, _ = method.loss(model, x, noise, torch.ones(4))
        >>> bool(torch.isclose(loss, method.score(model, x).mean()))
        True
    """

    name = "autoencoder"

    def init_model(self, input_dim: int, generator: torch.Generator) -> models.Autoencoder:
        """Returns a new model for rows of `input_dim` features."""
        hp = self.hyperparameters
        return models.Autoencoder(input_dim, hp.hidden_dims, hp.latent_dim, generator=generator)

    def draw_noise(self, generator: torch.Generator, x: Tensor, reference: Tensor) -> Noise:
        """Draws what the input's views need for rows x `[B, D]`, as `draw_views` says."""
        return views.draw_views(self.hyperparameters, generator, x, reference)

    def loss(
        self, model: models.Autoencoder, x: Tensor, noise: Noise, weights: Tensor
    ) -> tuple[Tensor, Metrics]:
        """Mean squared error between x `[B, D]` and the reconstruction of corrupted x."""
        x_hat, _ = model(views.corrupt(self.hyperparameters, x, noise))
        return losses.mse_loss(x, x_hat, weights=weights), {}

    def embed(self, model: models.Autoencoder, x: Tensor) -> Tensor:
        """Maps rows `[B, D]` to codes `[B, Z]`."""
        return model.encode(x)

    def reconstruct(self, model: models.Autoencoder, x: Tensor) -> Tensor:
        """Maps rows `[B, D]` to their reconstructions `[B, D]`."""
        x_hat: Tensor = model(x)[0]
        return x_hat

    def decode(self, model: models.Autoencoder, z: Tensor) -> Tensor:
        """Maps codes `[B, Z]` to rows `[B, D]`."""
        return model.decode(z)

    def score(self, model: models.Autoencoder, x: Tensor) -> Tensor:
        """Mean squared reconstruction error of each row, `[B]`; higher is more anomalous."""
        return ((x - self.reconstruct(model, x)) ** 2).mean(dim=-1)


class VAE(Method[VAEHyperparameters, models.VAE]):
    """Variational autoencoder, and β-VAE where `beta` is not 1.

    Example:
        >>> method = VAE(VAEHyperparameters(beta=4.0))
        >>> model = method.init_model(32, torch.Generator())
        >>> x = torch.ones(4, 32)
        >>> noise = method.draw_noise(torch.Generator(), x, x)
        >>> loss, metrics = method.loss(model, x, noise, torch.ones(4))
        >>> bool(torch.isclose(loss, metrics["reconstruction"] + 4.0 * metrics["kl"]))
        True
    """

    name = "vae"

    def init_model(self, input_dim: int, generator: torch.Generator) -> models.VAE:
        """Returns a new model for rows of `input_dim` features."""
        hp = self.hyperparameters
        return models.VAE(input_dim, hp.hidden_dims, hp.latent_dim, generator=generator)

    def draw_noise(self, generator: torch.Generator, x: Tensor, reference: Tensor) -> Noise:
        """Draws `eps` `[B, Z]` from N(0, 1) for rows x `[B, D]`."""
        del reference
        shape = (x.shape[0], self.hyperparameters.latent_dim)
        return {"eps": torch.randn(shape, generator=generator, dtype=x.dtype)}

    def loss(
        self, model: models.VAE, x: Tensor, noise: Noise, weights: Tensor
    ) -> tuple[Tensor, Metrics]:
        """Negative ELBO of x `[B, D]`, and its two terms: `reconstruction` and `kl`."""
        x_hat, mu, log_var = model(x, noise["eps"])
        beta = self.hyperparameters.beta
        loss = losses.elbo_loss(x, x_hat, mu, log_var, beta=beta, weights=weights)
        with torch.no_grad():
            reconstruction = x.shape[-1] * losses.mse_loss(x, x_hat, weights=weights)
            kl = losses.gaussian_kl(mu, log_var, weights=weights)
        return loss, {"reconstruction": reconstruction, "kl": kl}

    def embed(self, model: models.VAE, x: Tensor) -> Tensor:
        """Maps rows `[B, D]` to the posterior means μ `[B, Z]`; nothing is sampled."""
        return model.encode(x)[0]

    def reconstruct(self, model: models.VAE, x: Tensor) -> Tensor:
        """Maps rows `[B, D]` to their reconstructions through μ, `[B, D]`."""
        return model.decode(self.embed(model, x))

    def decode(self, model: models.VAE, z: Tensor) -> Tensor:
        """Maps latents `[B, Z]` to rows `[B, D]`."""
        return model.decode(z)

    def score(self, model: models.VAE, x: Tensor) -> Tensor:
        """Mean squared error of each row's reconstruction through μ, `[B]`; deterministic."""
        return ((x - self.reconstruct(model, x)) ** 2).mean(dim=-1)


class SimCLR(Method[SimCLRHyperparameters, models.SimCLREncoder]):
    """SimCLR: two corrupted views of each row, compared by NT-Xent.

    Both views are corrupted, each by draws of its own. (SCARF's paper leaves one as it is.)

    Example:
        >>> method = SimCLR(SimCLRHyperparameters())
        >>> model = method.init_model(32, torch.Generator())
        >>> x = torch.ones(4, 32)
        >>> noise = method.draw_noise(torch.Generator(), x, x)
        >>> {name: tuple(draws.shape) for name, draws in noise.items()}
        {'normal': (2, 4, 32), 'keep': (2, 4, 32)}
        >>> loss, _ = method.loss(model, x, noise, torch.ones(4))
        >>> tuple(loss.shape)
        ()
    """

    name = "simclr"

    def init_model(self, input_dim: int, generator: torch.Generator) -> models.SimCLREncoder:
        """Returns a new model for rows of `input_dim` features."""
        hp = self.hyperparameters
        return models.SimCLREncoder(
            input_dim, hp.hidden_dims, hp.latent_dim, hp.proj_dim, generator=generator
        )

    def draw_noise(self, generator: torch.Generator, x: Tensor, reference: Tensor) -> Noise:
        """Draws what both views of rows x `[B, D]` need, as `draw_views` says, `[2, B, D]`."""
        both = x[None].expand(2, *x.shape)
        return views.draw_views(self.hyperparameters, generator, both, reference)

    def loss(
        self, model: models.SimCLREncoder, x: Tensor, noise: Noise, weights: Tensor
    ) -> tuple[Tensor, Metrics]:
        """NT-Xent between the projections of two views of x `[B, D]`."""
        project = self._project_in_pieces if self.hyperparameters.microbatch else self._project
        z1, z2 = project(model, x, noise)
        temperature = self.hyperparameters.temperature
        return losses.nt_xent_loss(z1, z2, temperature=temperature, weights=weights), {}

    def _project(self, model: models.SimCLREncoder, x: Tensor, noise: Noise) -> Tensor:
        """Maps rows `[B, D]` to the projections of both their views, `[2, B, P]`."""
        both = x[None].expand(2, *x.shape)
        corrupted = views.corrupt(self.hyperparameters, both, noise)  # (2, B, D)
        _, z = model(corrupted.reshape(-1, x.shape[-1]))  # (2B, P)
        projections: Tensor = z.reshape(2, len(x), -1)
        return projections

    def _project_in_pieces(self, model: models.SimCLREncoder, x: Tensor, noise: Noise) -> Tensor:
        """Does the same for `microbatch` rows at a time, and again for their gradient.

        References:
            Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup,
            2021, whose gradient cache this is.
        """
        size = self.hyperparameters.microbatch
        pieces = []
        for start in range(0, len(x), size):
            rows = slice(start, start + size)
            draws = {name: array[:, rows] for name, array in noise.items()}
            pieces.append(checkpoint(self._project, model, x[rows], draws, use_reentrant=False))
        return torch.cat(pieces, dim=1)

    def embed(self, model: models.SimCLREncoder, x: Tensor) -> Tensor:
        """Maps rows `[B, D]` to the backbone's output h `[B, Z]`, never to the projection."""
        h: Tensor = model.backbone(x)
        return h

    def score(self, model: models.SimCLREncoder, x: Tensor) -> Tensor:
        """Mahalanobis distance² / Z of h from the training rows' h, `[B]`.

        The mean is about 1 over the training rows themselves. Before `score_statistics` are in the
        model it is the mean square of h.

        References:
            Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples, 2018.
        """
        return model.squared_distance(self.embed(model, x))

    def score_statistics(self, embed: Callable[[], np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the mean and the whitening of the representations of training rows.

        Args:
            embed: returns the representations of training rows, `[rows, Z]`.

        Returns:
            `h_mean` `[Z]` and the symmetric whitening matrix `h_whitening` `[Z, Z]`, the inverse
            root of the covariance. Its eigenvalues are raised by a thousandth of their mean and by
            1e-6, so that a unit that ReLU has silenced does not count infinitely.
        """
        h = torch.from_numpy(embed().astype(np.float64))
        mean = h.mean(dim=0)
        eigenvalues, eigenvectors = torch.linalg.eigh((h - mean).T @ (h - mean) / len(h))
        raised = eigenvalues.clamp_min(0) + 1e-3 * eigenvalues.mean() + 1e-6
        whitening = eigenvectors / raised.sqrt() @ eigenvectors.T
        return {"h_mean": mean.float().numpy(), "h_whitening": whitening.float().numpy()}


METHODS: dict[str, type[Method[Any, Any]]] = {
    method.name: method for method in (Autoencoder, VAE, SimCLR)
}
