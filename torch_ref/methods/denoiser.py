"""Denoiser: a network without a bottleneck that gives corrupted rows back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from torch_ref import losses, views
from torch_ref.batch import Batch, RowSpec
from torch_ref.likelihoods import RowLikelihood
from torch_ref.methods._method import Method, Metrics, TrainingHyperparameters
from torch_ref.methods._reconstruction import ReconstructionNetwork
from torch_ref.networks import (
    Embeddings,
    LevelScore,
    MeanScore,
    RowDecoder,
    RowEncoder,
    linears,
)
from torch_ref.row_coding import RowCoding
from torch_ref.views import Draws, Noise, diffuse


@dataclass(frozen=True, kw_only=True)
class DenoiserHyperparameters(TrainingHyperparameters):
    """Denoiser: gives rows back that were corrupted at a noise level, which it is told."""

    hide_rate: float
    anomaly_score: Literal[
        "levels_and_distance", "levels", "reconstruction", "mahalanobis", "neighbours"
    ]


class DenoiserNetwork(ReconstructionNetwork):
    """Encoder rows–hidden–Z, told the noise level of its input, and one layer back to rows.

    The level u enters the first layer beside the row, as 2u − 1. Any cell may be missing; so are
    those that training hides. Its score looks at several levels: see `LevelScore`; or is one of its
    error at level 0, or of its representations.

    Args:
        rows: what every row holds; D numbers, C codes.
        hidden_dims: widths of the hidden layers before the last.
        latent_dim: Z, width of the last hidden layer, which is the embedding.
        anomaly_score: `levels_and_distance`, `levels`, `reconstruction` (the error at level 0), or
            a score of representations by its name.
        generator: source of the initial weights, and of the draws of the score.

    Example:
        >>> network = DenoiserNetwork(RowSpec(32), (64,), 48, generator=torch.Generator())
        >>> batch = Batch(torch.ones(3, 32))
        >>> tuple(network.embed(batch).shape), tuple(network.errors(batch).shape)
        ((3, 48), (3, 4))
    """

    def __init__(
        self,
        rows: RowSpec,
        hidden_dims: Sequence[int],
        latent_dim: int,
        *,
        anomaly_score: str = "levels_and_distance",
        generator: torch.Generator,
    ):
        super().__init__()
        self.coding = RowCoding(rows)
        dims = (*hidden_dims, latent_dim)
        self.encoder = RowEncoder(rows, dims, activate_last=True, generator=generator)
        self.level = linears([(1, dims[0])], generator, bias=False)[0]
        self.decoder = RowDecoder(rows, (latent_dim,), generator=generator)
        self.embeddings = Embeddings(rows, generator=generator)
        self.likelihood = RowLikelihood(rows)
        self.set_score(anomaly_score, latent_dim)
        has_levels = anomaly_score in ("levels", "levels_and_distance")
        self.by_level = LevelScore(rows, generator=generator) if has_levels else None
        if has_levels:
            self.scores_ratios = False  # they are logarithms already
        self.both = MeanScore(2) if anomaly_score == "levels_and_distance" else None
        self.least_distance = 1e-12  # whose logarithm is finite

    def embed(self, batch: Batch) -> Tensor:
        """Maps rows to the last hidden layer at the noise level 0, `[B, Z]`."""
        return self.embed_at(batch, self._at(batch, 0.0))

    def embed_at(self, batch: Batch, level: Tensor) -> Tensor:
        """Maps rows at noise levels `[B, 1]` to the last hidden layer, `[B, Z]`."""
        first = self.encoder.first(batch, self.embeddings())
        z: Tensor = self.encoder.after_first(first + self.level(2 * level - 1))
        return z

    def _at(self, batch: Batch, level: float) -> Tensor:
        """Returns a noise level for each row, `[B, 1]`."""
        numbers = batch.numbers
        return torch.full((numbers.size(0), 1), level, dtype=numbers.dtype, device=numbers.device)

    def score(self, batch: Batch) -> Tensor:
        """Returns anomaly scores, `[B]`; higher is more anomalous.

        Mean standardised logarithm of the errors at several noise levels, with or without that of
        the representation's distance; or as of `ReconstructionNetwork`.
        """
        if self.both is not None:
            both: Tensor = self.both(self.both_scores(batch))
            return both
        if self.by_level is not None:
            found: Tensor = self.by_level(self.errors(batch))
            return found
        if self.distance is not None:  # TorchScript knows no `super`
            distance: Tensor = self.distance(self.embed(batch))
            return distance
        return self.error(batch)

    def both_scores(self, batch: Batch) -> Tensor:
        """Returns the scores `levels` and log `mahalanobis` of rows, `[B, 2]`."""
        assert self.by_level is not None and self.distance is not None
        distance = self.distance(self.embed(batch)).clamp_min(self.least_distance)
        return torch.stack([self.by_level(self.errors(batch)), torch.log(distance)], dim=1)

    def errors(self, batch: Batch) -> Tensor:
        """Mean of the terms over the observed columns at the noise levels of the score, `[B, L]`.

        The row is corrupted, but at level 0, and compared as it was.
        """
        assert self.by_level is not None
        observed = self.observed(batch)
        found: list[Tensor] = []
        for i, u in enumerate(self.by_level.levels):
            level = self._at(batch, u)
            normal, places, codes = self.by_level.draw(i)
            corrupted = diffuse(batch, level, normal, places, codes)
            terms = self.terms(batch, self.embed_at(corrupted, level))
            found.append(losses.mean_over_columns(terms, observed))
        errors: Tensor = self.by_level.means(self.error(batch), torch.stack(found))
        return errors

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
        >>> from dataclasses import asdict
        >>> import jaxrep.methods
        >>> method = Denoiser(**asdict(jaxrep.methods.DenoiserHyperparameters()))
        >>> network = method.init(RowSpec(32), torch.Generator())
        >>> batch = Batch(torch.ones(4, 32))
        >>> noise = method.noise(Draws(torch.Generator(), batch), batch)
        >>> {name: tuple(draws.shape) for name, draws in noise.items()}
        {'hidden': (4, 32), 'level': (4, 1), 'normal': (4, 32)}
        >>> loss, _ = method.loss(network, batch, noise)
        >>> tuple(loss.shape)
        ()
    """

    name = "denoiser"

    def init(self, rows: RowSpec, generator: torch.Generator) -> DenoiserNetwork:
        """Returns a new network for rows of which any cell may be missing."""
        hp = self.hyperparameters
        return DenoiserNetwork(
            rows.with_gaps(),
            hp.hidden_dims,
            hp.latent_dim,
            anomaly_score=hp.anomaly_score,
            generator=generator,
        )

    def noise(self, draws: Draws, batch: Batch) -> Noise:
        """Draws each row's noise level, the noise of its cells, and which of them are hidden."""
        hp = self.hyperparameters
        return views.draw_diffusion(draws, batch, hide_rate=hp.hide_rate, other_rate=hp.other_rate)

    def loss(self, network: DenoiserNetwork, batch: Batch, noise: Noise) -> tuple[Tensor, Metrics]:
        """Mean of the terms of rows, over columns, under what corrupted rows are taken for."""
        batch = views.replace_by_other(batch, noise)
        corrupted = views.hide_and_diffuse(batch, noise)
        terms = network.terms(batch, network.embed_at(corrupted, noise["level"]))
        observed = network.observed(batch)
        rows = losses.mean_over_columns(terms, observed)
        weights = losses.observed_weights(batch.weights, observed)
        return losses.mean_over_rows(rows, weights), {}


def _named(block: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns arrays of a block by the names that they have in the network."""
    return {f"{block}.{name}": array for name, array in arrays.items()}
