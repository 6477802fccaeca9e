"""The networks: MLP, autoencoder, VAE and SimCLR's encoder, as Flax NNX modules.

Linear layers start as PyTorch's do: weights and biases uniform in ±1/√fan_in. Weights travel as a
flat dictionary with names such as `encoder.0.kernel`; `get_weights` and `with_weights` are the only
functions that make and read those names. Shape letters: B batch, D features, Z latent,
P projection.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from jaxrep.losses import l2_normalize

Model = TypeVar("Model", bound=nnx.Module)


class MLP(nnx.Module):
    """Linear layers with ReLU between them.

    Args:
        dims: sizes from input to output; n sizes make n − 1 layers, a single one the identity.
        activate_last: whether ReLU follows the last layer too.
        rngs: source of the initial weights.

    Example:
        >>> mlp = MLP((4, 8, 2), rngs=nnx.Rngs(0))
        >>> mlp(jnp.ones((3, 4))).shape
        (3, 2)
    """

    def __init__(self, dims: Sequence[int], *, activate_last: bool = False, rngs: nnx.Rngs):
        self.layers = nnx.List(_linears(list(pairwise(dims)), rngs))
        self.activate_last = activate_last

    def __call__(self, x: Array) -> Array:
        """Maps `[B, dims[0]]` to `[B, dims[-1]]`."""
        last = len(self.layers) - 1
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i < last or self.activate_last:
                x = nnx.relu(x)
        return x


class Autoencoder(nnx.Module):
    """Encoder D–hidden–Z and the mirrored decoder Z–hidden–D.

    Args:
        input_dim: D, features of a row.
        hidden_dims: widths of the encoder's hidden layers; the decoder has them in reverse.
        latent_dim: Z, size of the code.
        rngs: source of the initial weights.

    Example:
        >>> model = Autoencoder(32, (64,), 8, rngs=nnx.Rngs(0))
        >>> x_hat, z = model(jnp.ones((3, 32)))
        >>> x_hat.shape, z.shape
        ((3, 32), (3, 8))
    """

    def __init__(
        self, input_dim: int, hidden_dims: Sequence[int], latent_dim: int, *, rngs: nnx.Rngs
    ):
        self.encoder = MLP((input_dim, *hidden_dims, latent_dim), rngs=rngs)
        self.decoder = MLP((latent_dim, *reversed(hidden_dims), input_dim), rngs=rngs)

    def encode(self, x: Array) -> Array:
        """Maps rows `[B, D]` to codes `[B, Z]`."""
        return self.encoder(x)

    def decode(self, z: Array) -> Array:
        """Maps codes `[B, Z]` to rows `[B, D]`."""
        return self.decoder(z)

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Maps rows `[B, D]` to their reconstructions `[B, D]` and codes `[B, Z]`."""
        z = self.encode(x)
        return self.decode(z), z


class VAE(nnx.Module):
    """Variational autoencoder: a shared encoder with heads for μ and log σ², and a decoder.

    Args:
        input_dim: D, features of a row.
        hidden_dims: widths of the shared encoder's layers; the decoder has them in reverse.
        latent_dim: Z, number of latents.
        rngs: source of the initial weights.

    References:
        Kingma and Welling, Auto-Encoding Variational Bayes, 2014.

    Example:
        >>> model = VAE(32, (64,), 8, rngs=nnx.Rngs(0))
        >>> x_hat, mu, log_var = model(jnp.ones((3, 32)), jnp.zeros((3, 8)))
        >>> x_hat.shape, mu.shape, log_var.shape
        ((3, 32), (3, 8), (3, 8))
    """

    def __init__(
        self, input_dim: int, hidden_dims: Sequence[int], latent_dim: int, *, rngs: nnx.Rngs
    ):
        shared = (input_dim, *hidden_dims)
        self.encoder = MLP(shared, activate_last=True, rngs=rngs)
        self.mu, self.log_var = _linears([(shared[-1], latent_dim)] * 2, rngs)
        self.decoder = MLP((latent_dim, *reversed(hidden_dims), input_dim), rngs=rngs)

    def encode(self, x: Array) -> tuple[Array, Array]:
        """Maps rows `[B, D]` to the posterior's μ and log σ², `[B, Z]` each."""
        h = self.encoder(x)
        return self.mu(h), self.log_var(h)

    def decode(self, z: Array) -> Array:
        """Maps latents `[B, Z]` to the means of rows `[B, D]`."""
        return self.decoder(z)

    def __call__(self, x: Array, eps: Array) -> tuple[Array, Array, Array]:
        """Encodes, samples z = μ + ε·σ (the reparameterisation trick) and decodes.

        Args:
            x: rows, `[B, D]`.
            eps: draws ε from N(0, 1), `[B, Z]`.

        Returns:
            Reconstructions `[B, D]`, μ `[B, Z]` and log σ² `[B, Z]`.
        """
        mu, log_var = self.encode(x)
        z = mu + eps * jnp.exp(0.5 * log_var)
        return self.decode(z), mu, log_var


class ProjectionHead(nnx.Module):
    """Maps representations onto the unit sphere in which SimCLR's loss compares them.

    Args:
        input_dim: size of the representation, and of the hidden layer.
        proj_dim: P, size of the projection.
        rngs: source of the initial weights.

    Example:
        >>> head = ProjectionHead(8, 32, rngs=nnx.Rngs(0))
        >>> jnp.linalg.norm(head(jnp.ones((3, 8))), axis=-1).round(3).tolist()
        [1.0, 1.0, 1.0]
    """

    def __init__(self, input_dim: int, proj_dim: int, *, rngs: nnx.Rngs):
        self.net = MLP((input_dim, input_dim, proj_dim), rngs=rngs)

    def __call__(self, h: Array) -> Array:
        """Maps representations `[B, Z]` to projections `[B, P]` of length 1."""
        return l2_normalize(self.net(h))


class FittedStatistic(nnx.Variable[Array]):
    """What is computed from the training rows after training: saved, but not trained."""


class SimCLREncoder(nnx.Module):
    """SimCLR's backbone, with ReLU after every layer, and its projection head.

    The mean and whitening matrix of the training rows' representations are part of the model, so
    that its anomaly score is a function of the model and the row alone.

    Args:
        input_dim: D, features of a row.
        hidden_dims: widths of the backbone's hidden layers.
        latent_dim: Z, size of the representation.
        proj_dim: P, size of the projection.
        rngs: source of the initial weights.

    References:
        Chen et al., A Simple Framework for Contrastive Learning, 2020.

    Example:
        >>> model = SimCLREncoder(32, (64,), 8, 16, rngs=nnx.Rngs(0))
        >>> h, z = model(jnp.ones((3, 32)))
        >>> h.shape, z.shape
        ((3, 8), (3, 16))
    """

    def __init__(
        self,
        input_dim: int,
        hidden_dims: Sequence[int],
        latent_dim: int,
        proj_dim: int,
        *,
        rngs: nnx.Rngs,
    ):
        self.backbone = MLP((input_dim, *hidden_dims, latent_dim), activate_last=True, rngs=rngs)
        self.projection = ProjectionHead(latent_dim, proj_dim, rngs=rngs)
        self.h_mean = FittedStatistic(jnp.zeros(latent_dim))
        self.h_whitening = FittedStatistic(jnp.eye(latent_dim))

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Maps rows `[B, D]` to representations h `[B, Z]` and projections z `[B, P]`."""
        h = self.backbone(x)
        return h, self.projection(h)

    def squared_distance(self, h: Array) -> Array:
        """Mean squared whitened coordinate of h `[B, Z]`: its Mahalanobis distance² / Z, `[B]`."""
        whitened = (h - self.h_mean[...][None, :]) @ self.h_whitening[...]
        return jnp.mean(whitened**2, axis=-1)


def get_weights(model: nnx.Module, *kinds: type[nnx.Variable[Any]]) -> dict[str, Array]:
    """Returns a model's variables as a flat dictionary.

    Args:
        model: any module.
        *kinds: the kinds wanted, such as `nnx.Param`; all of them when none is named.

    Returns:
        Arrays by name, such as `encoder.0.kernel`, sorted by name.

    Example:
        >>> list(get_weights(MLP((4, 2), rngs=nnx.Rngs(0))))
        ['0.bias', '0.kernel']
    """
    state = nnx.to_flat_state(nnx.state(model, nnx.Any(*(kinds or (nnx.Variable,)))))
    return dict(sorted((_name(path), variable.get_value()) for path, variable in state))


def with_weights(model: Model, weights: Mapping[str, Array]) -> Model:
    """Returns a copy of a model that holds the given weights; inverse of `get_weights`.

    Args:
        model: the model to copy; abstract ones (`nnx.eval_shape`) become concrete.
        weights: arrays by name. Variables that are not named keep what they hold.

    Returns:
        A model that shares no variable with the first.

    Raises:
        ValueError: a name that the model does not have, or an array of another shape.

    Example:
        >>> mlp = MLP((4, 2), rngs=nnx.Rngs(0))
        >>> zeroed = with_weights(mlp, {"0.kernel": jnp.zeros((4, 2))})
        >>> bool(jnp.array_equal(zeroed(jnp.ones((1, 4)))[0], mlp.layers[0].bias[...]))
        True
    """
    graph, state = nnx.split(model)
    flat = dict(nnx.to_flat_state(state))
    paths = {_name(path): path for path in flat}
    unknown = [name for name in weights if name not in paths]
    if unknown:
        raise ValueError(f"the model has no weights named {unknown}; it has {list(paths)}")
    for name, array in weights.items():
        variable = flat[paths[name]]
        if variable.shape != array.shape:
            raise ValueError(f"{name} has shape {array.shape}; the model's is {variable.shape}")
        flat[paths[name]] = variable.replace(array)
    return nnx.merge(graph, nnx.from_flat_state(list(flat.items())))


def compute_in(model: nnx.Module, dtype: DTypeLike) -> None:
    """Lets a model's linear layers compute, and return, in a type that is not their weights' own.

    Args:
        model: changed in place; its weights keep their type.
        dtype: such as `jnp.bfloat16`.

    Example:
        >>> mlp = MLP((4, 2), rngs=nnx.Rngs(0))
        >>> compute_in(mlp, jnp.bfloat16)
        >>> mlp(jnp.ones((1, 4))).dtype, mlp.layers[0].kernel[...].dtype
        (dtype(bfloat16), dtype('float32'))
    """
    for _, module in nnx.iter_modules(model):
        if isinstance(module, nnx.Linear):
            module.dtype = jnp.dtype(dtype)


def _name(path: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in path if part != "layers")


def _linears(sizes: Sequence[tuple[int, int]], rngs: nnx.Rngs) -> list[nnx.Linear]:
    """Linear layers, weights and biases from U(−1/√fan_in, 1/√fan_in), all from one draw.

    Each draw is a generator of its own in the program, and XLA compiles every one of them.
    """
    if not sizes:
        return []
    counts = [(fan_in + 1) * out for fan_in, out in sizes]
    drawn = jax.random.uniform(rngs.params(), (sum(counts),), jnp.float32, -1, 1)
    pieces = jnp.split(drawn, np.cumsum(counts)[:-1])
    return [_linear(*size, piece, rngs) for size, piece in zip(sizes, pieces, strict=True)]


def _linear(fan_in: int, out: int, drawn: Array, rngs: nnx.Rngs) -> nnx.Linear:
    """A linear layer from (fan_in + 1)·out draws from U(−1, 1)."""
    rows: Array = drawn.reshape(fan_in + 1, out) * float(fan_in) ** -0.5

    def kernel(key: Array, shape: Sequence[int], dtype: Any) -> Array:
        weights: Array = rows[:-1].astype(dtype)
        return weights

    def bias(key: Array, shape: Sequence[int], dtype: Any) -> Array:
        weights: Array = rows[-1].astype(dtype)
        return weights

    return nnx.Linear(fan_in, out, kernel_init=kernel, bias_init=bias, rngs=rngs)
