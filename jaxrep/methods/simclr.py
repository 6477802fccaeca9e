"""SimCLR: two corrupted views of each row, compared by NT-Xent."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from jaxrep import losses, nt_xent, views
from jaxrep.batch import Batch, RowSpec
from jaxrep.methods._method import Method, Metrics
from jaxrep.methods.simclr_hyperparameters import SimCLRHyperparameters
from jaxrep.networks import MLP, Mahalanobis, Network, ProjectionHead, get_model_state
from jaxrep.views import Deferred, Draws, Noise


class SimCLRNetwork(Network):
    """SimCLR's backbone, with ReLU after every layer, and its projection head.

    Its score is the Mahalanobis distance of a row's representation from those of the training rows.

    Args:
        rows: what every row holds; D numbers.
        hidden_dims: widths of the backbone's hidden layers.
        latent_dim: Z, size of the representation.
        proj_dim: P, size of the projection.
        rngs: source of the initial weights.

    References:
        Chen et al., A Simple Framework for Contrastive Learning, 2020.

    Example:
        >>> network = SimCLRNetwork(RowSpec(32), (64,), 8, 16, rngs=nnx.Rngs(0))
        >>> batch = Batch(jnp.ones((3, 32)))
        >>> network.embed(batch).shape, network.project(batch).shape
        ((3, 8), (3, 16))
    """

    outputs = ("embed", "score", "project")

    def __init__(
        self,
        rows: RowSpec,
        hidden_dims: Sequence[int],
        latent_dim: int,
        proj_dim: int,
        *,
        rngs: nnx.Rngs,
    ):
        dims = (rows.numbers, *hidden_dims, latent_dim)
        self.backbone = MLP(dims, activate_last=True, rngs=rngs)
        self.projection = ProjectionHead(latent_dim, proj_dim, rngs=rngs)
        self.distance = Mahalanobis(latent_dim)

    def embed(self, batch: Batch) -> Array:
        """Maps rows `[B, D]` to the backbone's output h `[B, Z]`, never to the projection."""
        return self.backbone(batch.numbers)

    def project(self, batch: Batch) -> Array:
        """Maps rows `[B, D]` to projections `[B, P]` of length 1."""
        return self.projection(self.embed(batch))

    def score(self, batch: Batch) -> Array:
        """Mahalanobis distance² / Z of h from the training rows' h, `[B]`."""
        return self.distance(self.embed(batch))


class SimCLR(Method[SimCLRHyperparameters, SimCLRNetwork]):
    """SimCLR: two views of each row attract, views of different rows repel.

    Both views are corrupted, each by draws of its own; with `clean_anchor` the second alone.

    Example:
        >>> method = SimCLR(SimCLRHyperparameters())
        >>> network = method.init(RowSpec(32), nnx.Rngs(0))
        >>> batch = Batch(jnp.ones((4, 32)))
        >>> noise = method.noise(Draws(jax.random.key(0), batch.numbers), batch)
        >>> {name: draws.shape for name, draws in views.resolve(noise).items()}
        {'keep': (2, 4, 32), 'normal': (2, 4, 32)}
        >>> loss, _ = method.loss(network, batch, views.resolve(noise))
        >>> loss.shape
        ()
    """

    parity_cases = (
        {"temperature": 0.1},
        {"views": ("scarf",)},
        {"views": ("scarf",), "clean_anchor": True},
        {"views": ("dropout", "swap")},
        {"temperature": 0.5},
        {"temperature": 0.01},
    )

    def init(self, rows: RowSpec, rngs: nnx.Rngs) -> SimCLRNetwork:
        """Returns a new network for rows."""
        hp = self.hyperparameters
        return SimCLRNetwork(rows, hp.hidden_dims, hp.latent_dim, hp.proj_dim, rngs=rngs)

    def noise(self, draws: Draws, batch: Batch) -> Noise | Deferred:
        """Draws what the corrupted views of rows need, `[2, B, D]`; `[1, B, D]` for one of them."""
        count = 1 if self.hyperparameters.clean_anchor else 2
        x = jnp.broadcast_to(batch.numbers[None], (count, *batch.numbers.shape))
        return views.draw_views(self.hyperparameters, draws, x)

    def loss(self, network: SimCLRNetwork, batch: Batch, noise: Noise) -> tuple[Array, Metrics]:
        """NT-Xent between the projections of two views of rows `[B, D]`."""
        project = self._project_in_pieces if self.hyperparameters.microbatch else self._project
        z1, z2 = project(network, batch, noise)
        temperature = self.hyperparameters.temperature
        with jax.named_scope("loss"):
            loss = losses.nt_xent_loss(z1, z2, temperature=temperature, weights=batch.weights)
        return loss, {}

    def _project(self, network: SimCLRNetwork, batch: Batch, noise: Noise) -> Array:
        """Maps rows `[B, D]` to the projections of both their views, `[2, B, P]`."""
        size, width = batch.numbers.shape
        both = self._both_views(batch.numbers, noise)
        weights = jnp.ones(size) if batch.weights is None else batch.weights
        if nt_xent.devices() > 1:
            # Both views of a row stay together, on the device that has the row.
            rows = jnp.moveaxis(both, 0, 1).reshape(-1, width)
            z = network.project(Batch(rows, weights=jnp.repeat(weights, 2)))  # (2B, P)
            return jnp.moveaxis(z.reshape(size, 2, -1), 1, 0)
        z = network.project(Batch(both.reshape(-1, width), weights=jnp.tile(weights, 2)))  # (2B, P)
        return z.reshape(2, size, -1)

    def _both_views(self, x: Array, noise: Noise) -> Array:
        """Returns both views of rows `[B, D]`, `[2, B, D]`."""
        if self.hyperparameters.clean_anchor:
            corrupted = views.corrupt(self.hyperparameters, x[None], noise)
            return jnp.concatenate([x[None], corrupted])
        both = jnp.broadcast_to(x[None], (2, *x.shape))
        return views.corrupt(self.hyperparameters, both, noise)

    def _project_in_pieces(self, network: SimCLRNetwork, batch: Batch, noise: Noise) -> Array:
        """Does the same for `microbatch` rows at a time, and again for their gradient.

        Raises:
            ValueError: the network changes state of its own as it computes, such as batch
                statistics, which would be those of a piece.

        References:
            Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup,
            2021, whose gradient cache this is.
        """
        if state := get_model_state(network):
            raise ValueError(
                f"microbatch is {self.hyperparameters.microbatch}, and the network keeps "
                f"{next(iter(state))} of whole batches; it must be 0"
            )
        x = batch.numbers
        size = min(self.hyperparameters.microbatch, len(x))

        def project(start: Array, rows: int) -> Array:
            def cut(array: Array, axis: int) -> Array:
                return jax.lax.dynamic_slice_in_dim(array, start, rows, axis)

            draws = {name: cut(array, 1) for name, array in noise.items()}
            return self._project(network, Batch(cut(x, 0)), draws)

        # In a loop nothing can be found to be computed twice.
        piece = jax.checkpoint(lambda start: project(start, size), prevent_cse=False)
        whole = len(x) // size * size
        z = jax.lax.map(piece, jnp.arange(0, whole, size))  # (pieces, 2, microbatch, P)
        z = jnp.moveaxis(z, 1, 0).reshape(2, whole, -1)
        if whole == len(x):
            return z
        rest = project(jnp.int32(whole), len(x) - whole)
        return jnp.concatenate([z, rest], axis=1)
