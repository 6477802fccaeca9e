"""SimCLR: two corrupted views of each row, compared by NT-Xent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from torch_ref import losses, views
from torch_ref.batch import Batch, RowSpec, take
from torch_ref.methods._method import Count, Method, Metrics, ViewHyperparameters
from torch_ref.networks import Embeddings, Network, ProjectionHead, RowEncoder, embedding_score
from torch_ref.views import Draws, Noise


@dataclass(frozen=True, kw_only=True)
class SimCLRHyperparameters(ViewHyperparameters):
    """SimCLR: two corrupted views of a row attract, views of different rows repel (NT-Xent)."""

    temperature: float
    proj_dim: int
    clean_anchor: bool
    microbatch: Count
    anomaly_score: Literal["mahalanobis", "neighbours"]


class SimCLRNetwork(Network):
    """SimCLR's backbone, with ReLU after every layer, and its projection head.

    Its score is how far a row's representation is from those of the training rows.

    Args:
        rows: what every row holds; D numbers, C codes.
        hidden_dims: widths of the backbone's hidden layers.
        latent_dim: Z, size of the representation.
        proj_dim: P, size of the projection.
        anomaly_score: `mahalanobis` or `neighbours`.
        generator: source of the initial weights.

    References:
        Chen et al., A Simple Framework for Contrastive Learning, 2020.

    Example:
        >>> network = SimCLRNetwork(RowSpec(32), (64,), 8, 16, generator=torch.Generator())
        >>> batch = Batch(torch.ones(3, 32))
        >>> tuple(network.embed(batch).shape), tuple(network.project(batch).shape)
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
        generator: torch.Generator,
    ):
        super().__init__()
        dims = (*hidden_dims, latent_dim)
        self.backbone = RowEncoder(rows, dims, activate_last=True, generator=generator)
        self.projection = ProjectionHead(latent_dim, proj_dim, generator=generator)
        self.embeddings = Embeddings(rows, generator=generator)
        distance = embedding_score(anomaly_score, latent_dim)
        assert distance is not None
        self.distance = distance

    def embed(self, batch: Batch) -> Tensor:
        """Maps rows to the backbone's output h `[B, Z]`, never to the projection."""
        h: Tensor = self.backbone(batch, self.embeddings())
        return h

    def project(self, batch: Batch) -> Tensor:
        """Maps rows to projections `[B, P]` of length 1."""
        z: Tensor = self.projection(self.embed(batch))
        return z

    def score(self, batch: Batch) -> Tensor:
        """Returns how far h is from the training rows' h, `[B]`; higher is more anomalous."""
        distance: Tensor = self.distance(self.embed(batch))
        return distance


class SimCLR(Method[SimCLRHyperparameters, SimCLRNetwork]):
    """SimCLR: two views of each row attract, views of different rows repel.

    Both views are corrupted, each by draws of its own; with `clean_anchor` the second alone.

    Example:
        >>> from dataclasses import asdict
        >>> import jaxrep.methods
        >>> method = SimCLR(**asdict(jaxrep.methods.SimCLRHyperparameters()))
        >>> network = method.init(RowSpec(32), torch.Generator())
        >>> batch = Batch(torch.ones(4, 32))
        >>> noise = method.noise(Draws(torch.Generator(), batch), batch)
        >>> {name: tuple(draws.shape) for name, draws in noise.items()}
        {'normal': (2, 4, 32), 'keep': (2, 4, 32)}
        >>> loss, _ = method.loss(network, batch, noise)
        >>> tuple(loss.shape)
        ()
    """

    name = "simclr"

    def init(self, rows: RowSpec, generator: torch.Generator) -> SimCLRNetwork:
        """Returns a new network for rows."""
        hp = self.hyperparameters
        seen = views.rows_seen(hp, rows)
        return SimCLRNetwork(
            seen,
            hp.hidden_dims,
            hp.latent_dim,
            hp.proj_dim,
            anomaly_score=hp.anomaly_score,
            generator=generator,
        )

    def noise(self, draws: Draws, batch: Batch) -> Noise:
        """Draws what the corrupted views of rows need, `[2, B, …]`; `[1, B, …]` for one of them.

        Which codes are "other" is drawn once, for both.
        """
        count = 1 if self.hyperparameters.clean_anchor else 2
        return views.draw_all(self.hyperparameters, draws, batch, count=count)

    def loss(self, network: SimCLRNetwork, batch: Batch, noise: Noise) -> tuple[Tensor, Metrics]:
        """NT-Xent between the projections of two views of rows."""
        project = self._project_in_pieces if self.hyperparameters.microbatch else self._project
        z1, z2 = project(network, batch, noise)
        temperature = self.hyperparameters.temperature
        return losses.nt_xent_loss(z1, z2, temperature=temperature, weights=batch.weights), {}

    def _project(self, network: SimCLRNetwork, batch: Batch, noise: Noise) -> Tensor:
        """Maps rows to the projections of both their views, `[2, B, P]`."""
        both = self._both_views(batch, noise)
        codes = None if both.codes is None else both.codes.flatten(0, 1)
        weights = None if batch.weights is None else batch.weights.repeat(2)
        z = network.project(Batch(both.numbers.flatten(0, 1), codes, weights=weights))  # (2B, P)
        return z.reshape(2, len(batch.numbers), -1)

    def _both_views(self, batch: Batch, noise: Noise) -> Batch:
        """Returns both views of rows: numbers `[2, B, D]` and codes `[2, B, C]`."""
        rows = views.replace_by_other(Batch(batch.numbers, batch.codes), noise)
        if not self.hyperparameters.clean_anchor:
            return views.corrupt(self.hyperparameters, views.copies(rows, 2), noise)
        rows = views.copies(rows, 1)
        corrupted = views.corrupt(self.hyperparameters, rows, noise)
        numbers = torch.cat([rows.numbers, corrupted.numbers])
        if rows.codes is None or corrupted.codes is None:
            return Batch(numbers)
        return Batch(numbers, torch.cat([rows.codes, corrupted.codes]))

    def _project_in_pieces(self, network: SimCLRNetwork, batch: Batch, noise: Noise) -> Tensor:
        """Does the same for `microbatch` rows at a time, and again for their gradient.

        It is for networks that keep no statistics of batches, as jaxrep's refuses others.

        References:
            Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup,
            2021, whose gradient cache this is.
        """
        size = self.hyperparameters.microbatch
        pieces = []
        for start in range(0, len(batch.numbers), size):
            rows = slice(start, start + size)
            # What is drawn for each view has the views along its first axis.
            draws = {
                name: array[rows] if name == "other" else array[:, rows]
                for name, array in noise.items()
            }
            piece = take(Batch(batch.numbers, batch.codes), rows)
            pieces.append(checkpoint(self._project, network, piece, draws, use_reentrant=False))
        return torch.cat(pieces, dim=1)
