"""The PyTorch twin of barlow_twins.py."""

from dataclasses import dataclass

import torch

from torch_ref.batch import Batch
from torch_ref.methods import Method, ViewHyperparameters
from torch_ref.networks import BatchNorm, Embeddings, Mahalanobis, Network, RowEncoder, linears
from torch_ref.views import copies, corrupt, draw_all, replace_by_other, rows_seen

WIDTH = 16


@dataclass(frozen=True, kw_only=True)
class BarlowTwinsHyperparameters(ViewHyperparameters):
    redundancy_weight: float


class BarlowTwinsNetwork(Network):
    outputs = ("embed", "score", "project")

    def __init__(self, rows, hp, generator):
        super().__init__()
        dims = (*hp.hidden_dims, hp.latent_dim)
        self.backbone = RowEncoder(rows, dims, activate_last=True, generator=generator)
        self.embeddings = Embeddings(rows, generator=generator)
        sizes = [(hp.latent_dim, WIDTH), (WIDTH, WIDTH)]
        self.inner, self.outer = linears(sizes, generator, bias=False)
        self.norm = BatchNorm(WIDTH)
        self.distance = Mahalanobis(hp.latent_dim)

    def embed(self, batch: Batch) -> torch.Tensor:
        return self.backbone(batch, self.embeddings())

    def project(self, batch: Batch) -> torch.Tensor:
        h = self.norm(self.inner(self.embed(batch)), batch.weights)
        return self.outer(torch.relu(h))

    def score(self, batch: Batch) -> torch.Tensor:
        return self.distance(self.embed(batch))


class BarlowTwins(Method[BarlowTwinsHyperparameters, BarlowTwinsNetwork]):
    name = "barlow"

    def init(self, rows, generator):
        return BarlowTwinsNetwork(
            rows_seen(self.hyperparameters, rows), self.hyperparameters, generator
        )

    def noise(self, draws, batch):
        return draw_all(self.hyperparameters, draws, batch, count=2)

    def loss(self, network, batch, noise):
        rows = replace_by_other(Batch(batch.numbers, batch.codes), noise)
        x = corrupt(self.hyperparameters, copies(rows, 2), noise)  # (2, B, …)
        flat = (None if part is None else part.flatten(0, 1) for part in (x.numbers, x.codes))
        both = Batch(*flat, weights=torch.cat([batch.weights] * 2))
        z = network.project(both).reshape(2, len(batch.numbers), -1)
        w = batch.weights / batch.weights.sum().clamp_min(1)  # (B,)
        z = z - (w[:, None] * z).sum(dim=1, keepdim=True)
        z = z / torch.sqrt((w[:, None] * z**2).sum(dim=1, keepdim=True) + 1e-5)
        correlation = torch.einsum("b,bi,bj->ij", w, z[0], z[1])
        own = ((1 - correlation.diagonal()) ** 2).sum()
        others = ((correlation * (1 - torch.eye(WIDTH, dtype=z.dtype))) ** 2).sum()
        return own + self.hyperparameters.redundancy_weight * others, {"invariance": own}
