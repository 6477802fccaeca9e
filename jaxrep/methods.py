"""The three methods: what noise each draws, its loss, and how a trained model is used.

A method is its hyperparameters and the functions that read them. To JAX it is a tree: numbers that
a loss or an optimiser computes with are its leaves, traced and open to `vmap`; whatever shapes the
program (widths, the optimiser's kind) is its structure. So methods pass through `jax.jit` as they
are, and programs of equal shape are compiled once.

Shape letters: B batch, D features, Z latent, P projection.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Generic, Self, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array

from jaxrep import losses, models, nt_xent, optim, views
from jaxrep.hyperparameters import (
    SCHEDULE,
    AutoencoderHyperparameters,
    SimCLRHyperparameters,
    TrainingHyperparameters,
    VAEHyperparameters,
    unused_rates,
)

Noise = dict[str, Array]
Words = dict[str, Array]
Metrics = dict[str, Array]
Hyperparameters = TypeVar("Hyperparameters", bound=TrainingHyperparameters)
Model = TypeVar("Model", bound=nnx.Module)


class Method(ABC, Generic[Hyperparameters, Model]):
    """What every method offers. Those with a decoder have `reconstruct` and `decode` as well.

    Args:
        hyperparameters: of the method; `jaxrep.hyperparameters.check` knows their ranges.
    """

    name: ClassVar[str]

    def __init__(self, hyperparameters: Hyperparameters):
        self.hyperparameters = hyperparameters

    def __init_subclass__(cls) -> None:
        """Makes every method a tree that `jax.jit` and `jax.vmap` accept."""
        super().__init_subclass__()
        jax.tree_util.register_pytree_with_keys_class(cls)

    def tree_flatten_with_keys(self) -> tuple[list[tuple[Any, Any]], tuple[Any, ...]]:
        """Parts the hyperparameters into traced numbers and what shapes the program."""
        traced: dict[str, Any] = {}
        shaping: dict[str, Any] = {}
        unread = (*SCHEDULE, *unused_rates(self.hyperparameters))
        for field in dataclasses.fields(self.hyperparameters):
            value = getattr(self.hyperparameters, field.name)
            if field.name in unread:
                shaping[field.name] = None  # no program may depend on it
            elif field.type in (float, "float") and not views.is_off(value):
                traced[field.name] = float(value) if isinstance(value, int) else value
            else:
                shaping[field.name] = tuple(value) if isinstance(value, list) else value
        leaves = [(jax.tree_util.GetAttrKey(name), value) for name, value in traced.items()]
        return leaves, (type(self.hyperparameters), tuple(traced), tuple(shaping.items()))

    @classmethod
    def tree_unflatten(cls, structure: tuple[Any, ...], leaves: Iterable[Any]) -> Self:
        """Rebuilds the method inside a program, where its schedule is not to be had."""
        hyperparameters, traced, shaping = structure
        return cls(hyperparameters(**dict(zip(traced, leaves, strict=True)), **dict(shaping)))

    def optimizer(self) -> optax.GradientTransformation:
        """Returns the optimiser that the hyperparameters name."""
        make = {"adam": optim.adam, "adamw": optim.adamw}[self.hyperparameters.optimizer]
        return make(
            learning_rate=self.hyperparameters.learning_rate,
            weight_decay=self.hyperparameters.weight_decay,
        )

    def matmul_precision(self) -> AbstractContextManager[None]:
        """Returns a context in which products of float32 have the hyperparameters' precision."""
        is_highest = self.hyperparameters.precision == "highest"
        context: AbstractContextManager[None] = jax.default_matmul_precision(
            "highest" if is_highest else None
        )
        return context

    @abstractmethod
    def init_model(self, input_dim: int, rngs: nnx.Rngs) -> Model:
        """Returns a new model for rows of `input_dim` features."""

    @abstractmethod
    def draw_noise(self, key: Array, x: Array, reference: Array) -> Noise:
        """Draws all that is random in the loss of a batch; nothing else draws.

        Args:
            key: a key of `jax.random`, used for this batch alone.
            x: the batch, `[B, D]`; its shape and dtype count.
            reference: training rows `[R, D]`, for views that borrow values from other rows.

        Returns:
            Arrays by name.
        """

    def draw_words(self, key: Array, x: Array, reference: Array) -> Words:
        """Draws what `noise_of` makes the noise of, where that saves work; arguments as there.

        Training draws for several steps at once and keeps what this returns: by default the noise.
        """
        return self.draw_noise(key, x, reference)

    def noise_of(self, words: Words, x: Array) -> Noise:
        """Returns the noise of a batch x `[B, D]`, of which dtype counts, from `draw_words`."""
        return words

    @abstractmethod
    def loss(self, model: Model, x: Array, noise: Noise, weights: Array) -> tuple[Array, Metrics]:
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
    def embed(self, model: Model, x: Array) -> Array:
        """Maps rows `[B, D]` to representations `[B, Z]`; nothing is random."""

    @abstractmethod
    def score(self, model: Model, x: Array) -> Array:
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
        >>> model = method.init_model(32, nnx.Rngs(0))
        >>> x = jnp.ones((4, 32))
        >>> loss, _ = method.loss(model, x, method.draw_noise(jax.random.key(0), x, x), jnp.ones(4))
        >>> bool(jnp.isclose(loss, method.score(model, x).mean()))
        True
    """

    name = "autoencoder"

    def init_model(self, input_dim: int, rngs: nnx.Rngs) -> models.Autoencoder:
        """Returns a new model for rows of `input_dim` features."""
        hp = self.hyperparameters
        return models.Autoencoder(input_dim, hp.hidden_dims, hp.latent_dim, rngs=rngs)

    def draw_noise(self, key: Array, x: Array, reference: Array) -> Noise:
        """Draws what the input's views need for rows x `[B, D]`, as `draw_views` says."""
        return views.draw_views(self.hyperparameters, key, x, reference)

    def draw_words(self, key: Array, x: Array, reference: Array) -> Words:
        """Draws the random words behind that."""
        return views.draw_words(self.hyperparameters, key, x, reference)

    def noise_of(self, words: Words, x: Array) -> Noise:
        """Returns the views' noise from `draw_words`."""
        return views.noise_of(self.hyperparameters, words, x.dtype)

    def loss(
        self, model: models.Autoencoder, x: Array, noise: Noise, weights: Array
    ) -> tuple[Array, Metrics]:
        """Mean squared error between x `[B, D]` and the reconstruction of corrupted x."""
        x_hat, _ = model(views.corrupt(self.hyperparameters, x, noise))
        with jax.named_scope("loss"):
            return losses.mse_loss(x, x_hat, weights=weights), {}

    def embed(self, model: models.Autoencoder, x: Array) -> Array:
        """Maps rows `[B, D]` to codes `[B, Z]`."""
        return model.encode(x)

    def reconstruct(self, model: models.Autoencoder, x: Array) -> Array:
        """Maps rows `[B, D]` to their reconstructions `[B, D]`."""
        return model(x)[0]

    def decode(self, model: models.Autoencoder, z: Array) -> Array:
        """Maps codes `[B, Z]` to rows `[B, D]`."""
        return model.decode(z)

    def score(self, model: models.Autoencoder, x: Array) -> Array:
        """Mean squared reconstruction error of each row, `[B]`; higher is more anomalous."""
        return jnp.mean((x - self.reconstruct(model, x)) ** 2, axis=-1)


class VAE(Method[VAEHyperparameters, models.VAE]):
    """Variational autoencoder, and β-VAE where `beta` is not 1.

    Example:
        >>> method = VAE(VAEHyperparameters(beta=4.0))
        >>> model = method.init_model(32, nnx.Rngs(0))
        >>> x = jnp.ones((4, 32))
        >>> noise = method.draw_noise(jax.random.key(0), x, x)
        >>> loss, metrics = method.loss(model, x, noise, jnp.ones(4))
        >>> bool(jnp.isclose(loss, metrics["reconstruction"] + 4.0 * metrics["kl"]))
        True
    """

    name = "vae"

    def init_model(self, input_dim: int, rngs: nnx.Rngs) -> models.VAE:
        """Returns a new model for rows of `input_dim` features."""
        hp = self.hyperparameters
        return models.VAE(input_dim, hp.hidden_dims, hp.latent_dim, rngs=rngs)

    def draw_noise(self, key: Array, x: Array, reference: Array) -> Noise:
        """Draws `eps` `[B, Z]` from N(0, 1) for rows x `[B, D]`."""
        del reference
        shape = (x.shape[0], self.hyperparameters.latent_dim)
        return {"eps": jax.random.normal(key, shape, x.dtype)}

    def loss(
        self, model: models.VAE, x: Array, noise: Noise, weights: Array
    ) -> tuple[Array, Metrics]:
        """Negative ELBO of x `[B, D]`, and its two terms: `reconstruction` and `kl`."""
        x_hat, mu, log_var = model(x, noise["eps"])
        beta = self.hyperparameters.beta
        with jax.named_scope("loss"):
            loss = losses.elbo_loss(x, x_hat, mu, log_var, beta=beta, weights=weights)
            reconstruction = x.shape[-1] * losses.mse_loss(x, x_hat, weights=weights)
            kl = losses.gaussian_kl(mu, log_var, weights=weights)
        return loss, {"reconstruction": reconstruction, "kl": kl}

    def embed(self, model: models.VAE, x: Array) -> Array:
        """Maps rows `[B, D]` to the posterior means μ `[B, Z]`; nothing is sampled."""
        return model.encode(x)[0]

    def reconstruct(self, model: models.VAE, x: Array) -> Array:
        """Maps rows `[B, D]` to their reconstructions through μ, `[B, D]`."""
        return model.decode(self.embed(model, x))

    def decode(self, model: models.VAE, z: Array) -> Array:
        """Maps latents `[B, Z]` to rows `[B, D]`."""
        return model.decode(z)

    def score(self, model: models.VAE, x: Array) -> Array:
        """Mean squared error of each row's reconstruction through μ, `[B]`; deterministic."""
        return jnp.mean((x - self.reconstruct(model, x)) ** 2, axis=-1)


class SimCLR(Method[SimCLRHyperparameters, models.SimCLREncoder]):
    """SimCLR: two corrupted views of each row, compared by NT-Xent.

    Both views are corrupted, each by draws of its own. (SCARF's paper leaves one as it is.)

    Example:
        >>> method = SimCLR(SimCLRHyperparameters())
        >>> model = method.init_model(32, nnx.Rngs(0))
        >>> x = jnp.ones((4, 32))
        >>> noise = method.draw_noise(jax.random.key(0), x, x)
        >>> {name: draws.shape for name, draws in noise.items()}
        {'keep': (2, 4, 32), 'normal': (2, 4, 32)}
        >>> loss, _ = method.loss(model, x, noise, jnp.ones(4))
        >>> loss.shape
        ()
    """

    name = "simclr"

    def init_model(self, input_dim: int, rngs: nnx.Rngs) -> models.SimCLREncoder:
        """Returns a new model for rows of `input_dim` features."""
        hp = self.hyperparameters
        return models.SimCLREncoder(
            input_dim, hp.hidden_dims, hp.latent_dim, hp.proj_dim, rngs=rngs
        )

    def draw_noise(self, key: Array, x: Array, reference: Array) -> Noise:
        """Draws what both views of rows x `[B, D]` need, as `draw_views` says, `[2, B, D]`."""
        return self.noise_of(self.draw_words(key, x, reference), x)

    def draw_words(self, key: Array, x: Array, reference: Array) -> Words:
        """Draws the random words behind that, `[2, B, D]`."""
        both = jnp.broadcast_to(x[None], (2, *x.shape))
        return views.draw_words(self.hyperparameters, key, both, reference)

    def noise_of(self, words: Words, x: Array) -> Noise:
        """Returns the noise of both views from `draw_words`."""
        return views.noise_of(self.hyperparameters, words, x.dtype)

    def loss(
        self, model: models.SimCLREncoder, x: Array, noise: Noise, weights: Array
    ) -> tuple[Array, Metrics]:
        """NT-Xent between the projections of two views of x `[B, D]`."""
        project = self._project_in_pieces if self.hyperparameters.microbatch else self._project
        z1, z2 = project(model, x, noise)
        temperature = self.hyperparameters.temperature
        with jax.named_scope("loss"):
            return losses.nt_xent_loss(z1, z2, temperature=temperature, weights=weights), {}

    def _project(self, model: models.SimCLREncoder, x: Array, noise: Noise) -> Array:
        """Maps rows `[B, D]` to the projections of both their views, `[2, B, P]`."""
        both = jnp.broadcast_to(x[None], (2, *x.shape))
        corrupted = views.corrupt(self.hyperparameters, both, noise)  # (2, B, D)
        if nt_xent.devices():
            # Both views of a row stay together, on the device that has the row.
            _, z = model(jnp.moveaxis(corrupted, 0, 1).reshape(-1, x.shape[-1]))  # (2B, P)
            return jnp.moveaxis(z.reshape(len(x), 2, -1), 1, 0)
        _, z = model(corrupted.reshape(-1, x.shape[-1]))  # (2B, P)
        return z.reshape(2, len(x), -1)

    def _project_in_pieces(self, model: models.SimCLREncoder, x: Array, noise: Noise) -> Array:
        """Does the same for `microbatch` rows at a time, and again for their gradient.

        References:
            Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup,
            2021, whose gradient cache this is.
        """
        size = min(self.hyperparameters.microbatch, len(x))

        def project(start: Array, rows: int) -> Array:
            def cut(array: Array, axis: int) -> Array:
                return jax.lax.dynamic_slice_in_dim(array, start, rows, axis)

            draws = {name: cut(array, 1) for name, array in noise.items()}
            return self._project(model, cut(x, 0), draws)

        # In a loop nothing can be found to be computed twice.
        of_piece = jax.checkpoint(lambda start: project(start, size), prevent_cse=False)
        whole = len(x) // size * size
        z = jax.lax.map(of_piece, jnp.arange(0, whole, size))  # (pieces, 2, microbatch, P)
        z = jnp.moveaxis(z, 1, 0).reshape(2, whole, -1)
        if whole == len(x):
            return z
        rest = project(jnp.int32(whole), len(x) - whole)
        return jnp.concatenate([z, rest], axis=1)

    def embed(self, model: models.SimCLREncoder, x: Array) -> Array:
        """Maps rows `[B, D]` to the backbone's output h `[B, Z]`, never to the projection."""
        return model.backbone(x)

    def score(self, model: models.SimCLREncoder, x: Array) -> Array:
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
        h = embed().astype(np.float64)
        mean = h.mean(axis=0)
        eigenvalues, eigenvectors = np.linalg.eigh((h - mean).T @ (h - mean) / len(h))
        raised = eigenvalues.clip(min=0) + 1e-3 * eigenvalues.mean() + 1e-6
        whitening = eigenvectors / np.sqrt(raised) @ eigenvectors.T
        return {"h_mean": mean.astype(np.float32), "h_whitening": whitening.astype(np.float32)}


METHODS: dict[str, type[Method[Any, Any]]] = {
    method.name: method for method in (Autoencoder, VAE, SimCLR)
}


def abstract_model(method: Method[Any, Any], input_dim: int) -> nnx.Module:
    """Returns a method's model with shapes in the place of arrays, for `with_weights` to fill.

    Args:
        method: whose model.
        input_dim: D, features of a row.
    """
    model: nnx.Module = nnx.eval_shape(lambda: method.init_model(input_dim, nnx.Rngs(0)))
    return model


def training_model(method: Method[Any, Any], input_dim: int) -> nnx.Module:
    """Returns the `abstract_model` that computes in the precision that the method trains in.

    Args:
        method: whose model.
        input_dim: D, features of a row.

    Example:
        >>> method = Autoencoder(AutoencoderHyperparameters(precision="bfloat16"))
        >>> model = models.with_weights(
        ...     training_model(method, 3), models.get_weights(method.init_model(3, nnx.Rngs(0)))
        ... )
        >>> model(jnp.ones((1, 3)))[0].dtype
        dtype(bfloat16)
    """
    model = abstract_model(method, input_dim)
    if method.hyperparameters.precision == "bfloat16":
        models.compute_in(model, jnp.bfloat16)
    return model
