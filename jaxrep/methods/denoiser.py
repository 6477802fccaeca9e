"""Denoiser: a network without a bottleneck that gives corrupted rows back."""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from jaxrep import losses, views
from jaxrep.batch import Batch, RowSpec
from jaxrep.likelihoods import RowLikelihood
from jaxrep.methods._method import Method, Metrics
from jaxrep.methods._reconstruction import ReconstructionNetwork
from jaxrep.methods.denoiser_hyperparameters import DenoiserHyperparameters
from jaxrep.networks import (
    Embeddings,
    LevelScore,
    MeanScore,
    RowDecoder,
    RowEncoder,
    linears,
)
from jaxrep.row_coding import RowCoding
from jaxrep.views import Deferred, Draws, Noise

_LEAST_DISTANCE = 1e-12  # whose logarithm is finite


class DenoiserNetwork(ReconstructionNetwork):
    """Encoder rows–hidden–Z, told the noise level of its input, and one layer back to rows.

    The level u enters the first layer beside the row, as 2u − 1. Any cell may be missing; so are
    those that training hides. Its score looks at several levels: see `jaxrep.networks.LevelScore`;
    or is one of its error at level 0, or of its representations.

    Args:
        rows: what every row holds; D numbers, C codes.
        hidden_dims: widths of the hidden layers before the last.
        latent_dim: Z, width of the last hidden layer, which is the embedding.
        anomaly_score: `levels_and_distance`, `levels`, `reconstruction` (the error at level 0), or
            a score of representations by its name.
        rngs: source of the initial weights, and of the draws of the score.

    References:
        Vincent et al., Extracting and Composing Robust Features with Denoising Autoencoders, 2008;
        Song et al., Score-Based Generative Modeling through Stochastic Differential Equations,
        2021, for the noise levels.

    Example:
        >>> network = DenoiserNetwork(RowSpec(32), (64,), 48, rngs=nnx.Rngs(0))
        >>> batch = Batch(jnp.ones((3, 32)))
        >>> network.embed(batch).shape, network.errors(batch).shape
        ((3, 48), (3, 4))
    """

    def __init__(
        self,
        rows: RowSpec,
        hidden_dims: Sequence[int],
        latent_dim: int,
        *,
        anomaly_score: str = "levels_and_distance",
        rngs: nnx.Rngs,
    ):
        self.coding = RowCoding(rows)
        dims = (*hidden_dims, latent_dim)
        self.encoder = RowEncoder(rows, dims, activate_last=True, rngs=rngs)
        self.level = linears([(1, dims[0])], rngs, bias=False)[0]
        self.decoder = RowDecoder(rows, (latent_dim,), rngs=rngs)
        self.embeddings = Embeddings(rows, rngs=rngs)
        self.likelihood = RowLikelihood(rows)
        self.set_score(anomaly_score, latent_dim)
        has_levels = anomaly_score in ("levels", "levels_and_distance")
        self.by_level = LevelScore(rows, rngs=rngs) if has_levels else None
        if has_levels:
            self.scores_ratios = False  # they are logarithms already
        self.both = MeanScore(2) if anomaly_score == "levels_and_distance" else None

    def embed(self, batch: Batch) -> Array:
        """Maps rows to the last hidden layer at the noise level 0, `[B, Z]`."""
        return self.embed_at(batch, jnp.zeros((len(batch.numbers), 1), batch.numbers.dtype))

    def embed_at(self, batch: Batch, level: Array) -> Array:
        """Maps rows at noise levels `[B, 1]` to the last hidden layer, `[B, Z]`."""
        first = self.encoder.first(batch, self.embeddings)
        return self.encoder.after_first(first + self.level(2 * level - 1))

    def score(self, batch: Batch) -> Array:
        """Returns anomaly scores, `[B]`; higher is more anomalous.

        Mean standardised logarithm of the errors at several noise levels, with or without that of
        the representation's distance; or as of `ReconstructionNetwork`.
        """
        if self.by_level is None:
            return super().score(batch)
        if self.both is None:
            return self.by_level(self.errors(batch))
        return self.both(self.both_scores(batch))

    def both_scores(self, batch: Batch) -> Array:
        """Returns the scores `levels` and log `mahalanobis` of rows, `[B, 2]`."""
        assert self.by_level is not None and self.distance is not None
        distance = jnp.maximum(self.distance(self.embed(batch)), _LEAST_DISTANCE)
        return jnp.stack([self.by_level(self.errors(batch)), jnp.log(distance)], axis=1)

    def errors(self, batch: Batch) -> Array:
        """Mean of the terms over the observed columns at the noise levels of the score, `[B, L]`.

        The row is corrupted, but at level 0, and compared as it was.
        """
        assert self.by_level is not None
        draws, observed = self.by_level.draws(batch.numbers.dtype), self.observed(batch)

        def error(draw: tuple[Array, ...]) -> Array:
            level = jnp.broadcast_to(draw[0], (len(batch.numbers), 1))
            corrupted = views.diffuse(batch, level, *(part[None, :] for part in draw[1:]))
            terms = self.terms(batch, self.embed_at(corrupted, level))
            return losses.mean_over_columns(terms, observed)

        return self.by_level.means(self.error(batch), jax.lax.map(error, draws))

    def fit_statistics(
        self, rows: Batch, compute: Callable[[str, Mapping[str, np.ndarray]], np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Returns the statistics of the score, as of `Network.fit_statistics`."""
        found = super().fit_statistics(rows, compute)
        if self.by_level is not None:
            codes = _named("by_level", self.by_level.codes_of(rows))
            found |= codes | _named("by_level", self.by_level.fit(compute("errors", codes)))
        if self.both is not None:
            found |= _named("both", self.both.fit(compute("both_scores", found)))
        return found


class Denoiser(Method[DenoiserHyperparameters, DenoiserNetwork]):
    """Denoiser: rows are corrupted at noise levels, hidden in part, and given back whole.

    Example:
        >>> method = Denoiser(DenoiserHyperparameters())
        >>> network = method.init(RowSpec(32), nnx.Rngs(0))
        >>> batch = Batch(jnp.ones((4, 32)))
        >>> noise = views.resolve(method.noise(Draws(jax.random.key(0), batch), batch))
        >>> {name: draws.shape for name, draws in noise.items()}
        {'normal': (4, 32), 'hidden': (4, 32), 'level': (4, 1)}
        >>> loss, _ = method.loss(network, batch, noise)
        >>> loss.shape
        ()
    """

    parity_cases = ({"hide_rate": 0.3}, {"hide_rate": 0.0})

    def init(self, rows: RowSpec, rngs: nnx.Rngs) -> DenoiserNetwork:
        """Returns a new network for rows of which any cell may be missing."""
        hp = self.hyperparameters
        return DenoiserNetwork(
            rows.with_gaps(),
            hp.hidden_dims,
            hp.latent_dim,
            anomaly_score=hp.anomaly_score,
            rngs=rngs,
        )

    def noise(self, draws: Draws, batch: Batch) -> Noise | Deferred:
        """Draws each row's noise level, the noise of its cells, and which of them are hidden."""
        hp = self.hyperparameters
        return views.draw_diffusion(draws, batch, hide_rate=hp.hide_rate, other_rate=hp.other_rate)

    def loss(self, network: DenoiserNetwork, batch: Batch, noise: Noise) -> tuple[Array, Metrics]:
        """Mean of the terms of rows, over columns, under what corrupted rows are taken for."""
        batch = views.replace_by_other(batch, noise)
        corrupted = views.hide_and_diffuse(batch, noise)
        terms = network.terms(batch, network.embed_at(corrupted, noise["level"]))
        with jax.named_scope("loss"):
            observed = network.observed(batch)
            rows = losses.mean_over_columns(terms, observed)
            weights = losses.observed_weights(batch.weights, observed)
            return losses.mean_over_rows(rows, weights), {}


def _named(block: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns arrays of a block by the names that they have in the network."""
    return {f"{block}.{name}": array for name, array in arrays.items()}
