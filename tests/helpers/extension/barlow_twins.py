"""Barlow Twins, from outside the package: a projector with batch normalisation."""

import jax
import jax.numpy as jnp
from flax import nnx

from jaxrep.batch import Batch
from jaxrep.hyperparameters import (
    Number,
    Recipe,
    ViewHyperparameters,
    hyperparameter,
    hyperparameters,
)
from jaxrep.methods import Method
from jaxrep.networks import BatchNorm, Embeddings, Mahalanobis, Network, RowEncoder, linears
from jaxrep.views import copies, corrupt, draw_all, replace_by_other, rows_seen

WIDTH = 16


@hyperparameters(
    name="barlow",
    title="Barlow Twins",
    recipes={"default": Recipe("dropout of a fifth.", {"drop_rate": 0.2})},
    changes_loss=("batch_size",),
)
class BarlowTwinsHyperparameters(ViewHyperparameters):
    """Barlow Twins: the features of two views correlate as the identity."""

    redundancy_weight: float = hyperparameter(
        Number(at_least=0),
        default=0.005,
        kind="traced",
        changes_loss=True,
        help="Weight of the correlations between different features.",
    )


class BarlowTwinsNetwork(Network):
    outputs = ("embed", "score", "project")

    def __init__(self, rows, hp, *, rngs):
        dims = (*hp.hidden_dims, hp.latent_dim)
        self.backbone = RowEncoder(rows, dims, activate_last=True, rngs=rngs)
        self.embeddings = Embeddings(rows, rngs=rngs)
        # What shifts all rows alike is taken out again: no biases.
        sizes = [(hp.latent_dim, WIDTH), (WIDTH, WIDTH)]
        self.inner, self.outer = linears(sizes, rngs, bias=False)
        self.norm = BatchNorm(WIDTH)
        self.distance = Mahalanobis(hp.latent_dim)

    def embed(self, batch):
        return self.backbone(batch, self.embeddings)

    def project(self, batch):
        h = self.norm(self.inner(self.embed(batch)), batch.weights)
        return self.outer(nnx.relu(h))

    def score(self, batch):
        return self.distance(self.embed(batch))


class BarlowTwins(Method[BarlowTwinsHyperparameters, BarlowTwinsNetwork]):
    """Zbontar et al., Barlow Twins, 2021, on both views as one batch."""

    def init(self, rows, rngs):
        return BarlowTwinsNetwork(
            rows_seen(self.hyperparameters, rows), self.hyperparameters, rngs=rngs
        )

    def noise(self, draws, batch):
        return draw_all(self.hyperparameters, draws, batch, count=2)

    def loss(self, network, batch, noise):
        rows = replace_by_other(Batch(batch.numbers, batch.codes), noise)
        x = corrupt(self.hyperparameters, copies(rows, 2), noise)  # (2, B, …)
        flat = jax.tree.map(lambda part: jnp.concatenate([part[0], part[1]]), x)
        both = flat._replace(weights=jnp.concatenate([batch.weights] * 2))
        z = network.project(both).reshape(2, len(batch.numbers), -1)
        w = batch.weights / jnp.maximum(jnp.sum(batch.weights), 1)  # (B,)
        z = z - jnp.sum(w[None, :, None] * z, axis=1, keepdims=True)
        z = z / jnp.sqrt(jnp.sum(w[None, :, None] * z**2, axis=1, keepdims=True) + 1e-5)
        correlation = jnp.einsum("b,bi,bj->ij", w, z[0], z[1])
        own = jnp.sum((1 - jnp.diagonal(correlation)) ** 2)
        others = jnp.sum((correlation * (1 - jnp.eye(WIDTH))) ** 2)
        return own + self.hyperparameters.redundancy_weight * others, {"invariance": own}
