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
from jaxrep.networks import (
    Embeddings,
    Network,
    ProjectionHead,
    RowEncoder,
    embedding_score,
    get_model_state,
)
from jaxrep.views import Deferred, Draws, Noise


class SimCLRNetwork(Network):
    """SimCLR's backbone, with ReLU after every layer, and its projection head.

    Its score is how far a row's representation is from those of the training rows.

    Args:
        rows: what every row holds; D numbers, C codes.
        hidden_dims: widths of the backbone's hidden layers.
        latent_dim: Z, size of the representation.
        proj_dim: P, size of the projection.
        anomaly_score: `mahalanobis` or `neighbours`.
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
    scores_ratios = True

    def __init__(
        self,
        rows: RowSpec,
        hidden_dims: Sequence[int],
        latent_dim: int,
        proj_dim: int,
        *,
        anomaly_score: str = "mahalanobis",
        rngs: nnx.Rngs,
    ):
        dims = (*hidden_dims, latent_dim)
        self.backbone = RowEncoder(rows, dims, activate_last=True, rngs=rngs)
        self.projection = ProjectionHead(latent_dim, proj_dim, rngs=rngs)
        self.embeddings = Embeddings(rows, rngs=rngs)
        distance = embedding_score(anomaly_score, latent_dim)
        assert distance is not None
        self.distance = distance

    def embed(self, batch: Batch) -> Array:
        """Maps rows to the backbone's output h `[B, Z]`, never to the projection."""
        return self.backbone(batch, self.embeddings)

    def project(self, batch: Batch) -> Array:
        """Maps rows to projections `[B, P]` of length 1."""
        return self.projection(self.embed(batch))

    def score(self, batch: Batch) -> Array:
        """Returns how far h is from the training rows' h, `[B]`; higher is more anomalous."""
        return self.distance(self.embed(batch))


class SimCLR(Method[SimCLRHyperparameters, SimCLRNetwork]):
    """SimCLR: two views of each row attract, views of different rows repel.

    Both views are corrupted, each by draws of its own; with `clean_anchor` the second alone.

    Example:
        >>> method = SimCLR(SimCLRHyperparameters())
        >>> network = method.init(RowSpec(32), nnx.Rngs(0))
        >>> batch = Batch(jnp.ones((4, 32)))
        >>> noise = method.noise(Draws(jax.random.key(0), batch), batch)
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
    parity_trainings = ({"views": ("scarf", "swap", "hide", "dropout", "noise")},)

    def init(self, rows: RowSpec, rngs: nnx.Rngs) -> SimCLRNetwork:
        """Returns a new network for rows."""
        hp = self.hyperparameters
        return SimCLRNetwork(
            views.rows_seen(hp, rows),
            hp.hidden_dims,
            hp.latent_dim,
            hp.proj_dim,
            anomaly_score=hp.anomaly_score,
            rngs=rngs,
        )

    def noise(self, draws: Draws, batch: Batch) -> Noise | Deferred:
        """Draws what the corrupted views of rows need, `[2, B, …]`; `[1, B, …]` for one of them.

        Which codes are "other" is drawn once, for both.
        """
        count = 1 if self.hyperparameters.clean_anchor else 2
        return views.draw_all(self.hyperparameters, draws, batch, count=count)

    def loss(self, network: SimCLRNetwork, batch: Batch, noise: Noise) -> tuple[Array, Metrics]:
        """NT-Xent between the projections of two views of rows."""
        project = self._project_in_pieces if self.hyperparameters.microbatch else self._project
        z1, z2 = project(network, batch, noise)
        temperature = self.hyperparameters.temperature
        with jax.named_scope("loss"):
            loss = losses.nt_xent_loss(z1, z2, temperature=temperature, weights=batch.weights)
        return loss, {}

    def _project(self, network: SimCLRNetwork, batch: Batch, noise: Noise) -> Array:
        """Maps rows to the projections of both their views, `[2, B, P]`."""
        size = len(batch.numbers)
        both = self._both_views(batch, noise)
        weights = jnp.ones(size) if batch.weights is None else batch.weights

        def flat(array: Array) -> Array:
            return array.reshape(array.shape[0] * array.shape[1], array.shape[2])

        if nt_xent.devices() > 1:
            # Both views of a row stay together, on the device that has the row.
            rows = jax.tree.map(lambda array: flat(jnp.moveaxis(array, 0, 1)), both)
            z = network.project(rows._replace(weights=jnp.repeat(weights, 2)))  # (2B, P)
            return jnp.moveaxis(z.reshape(size, 2, -1), 1, 0)
        rows = jax.tree.map(flat, both)
        z = network.project(rows._replace(weights=jnp.tile(weights, 2)))  # (2B, P)
        return z.reshape(2, size, -1)

    def _both_views(self, batch: Batch, noise: Noise) -> Batch:
        """Returns both views of rows: numbers `[2, B, D]` and codes `[2, B, C]`."""
        rows = views.replace_by_other(Batch(batch.numbers, batch.codes), noise)
        if self.hyperparameters.clean_anchor:
            rows = views.copies(rows, 1)
            corrupted = views.corrupt(self.hyperparameters, rows, noise)
            both: Batch = jax.tree.map(lambda *pair: jnp.concatenate(pair), rows, corrupted)
            return both
        return views.corrupt(self.hyperparameters, views.copies(rows, 2), noise)

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
        count = len(batch.numbers)
        size = min(self.hyperparameters.microbatch, count)

        def project(start: Array, rows: int) -> Array:
            def cut(array: Array, axis: int) -> Array:
                return jax.lax.dynamic_slice_in_dim(array, start, rows, axis)

            # What is drawn for each view has the views along its first axis.
            draws = {name: cut(array, int(name != "other")) for name, array in noise.items()}
            cells: Batch = jax.tree.map(lambda a: cut(a, 0), Batch(batch.numbers, batch.codes))
            return self._project(network, cells, draws)

        # In a loop nothing can be found to be computed twice.
        piece = jax.checkpoint(lambda start: project(start, size), prevent_cse=False)
        whole = count // size * size
        z = jax.lax.map(piece, jnp.arange(0, whole, size))  # (pieces, 2, microbatch, P)
        z = jnp.moveaxis(z, 1, 0).reshape(2, whole, -1)
        if whole == count:
            return z
        rest = project(jnp.int32(whole), count - whole)
        return jnp.concatenate([z, rest], axis=1)
