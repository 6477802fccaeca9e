"""The PyTorch twin of barlow_twins.py."""

from dataclasses import dataclass

import torch

from torch_ref.batch import Batch
from torch_ref.methods import Method, ViewHyperparameters
from torch_ref.networks import MLP, BatchNorm, Mahalanobis, Network, linears
from torch_ref.views import corrupt, draw_views

WIDTH = 16


@dataclass(frozen=True, kw_only=True)
class BarlowTwinsHyperparameters(ViewHyperparameters):
    redundancy_weight: float


class BarlowTwinsNetwork(Network):
    outputs = ("embed", "score", "project")

    def __init__(self, rows, hp, generator):
        super().__init__()
        dims = (rows.numbers, *hp.hidden_dims, hp.latent_dim)
        self.backbone = MLP(dims, activate_last=True, generator=generator)
        sizes = [(hp.latent_dim, WIDTH), (WIDTH, WIDTH)]
        self.inner, self.outer = linears(sizes, generator, bias=False)
        self.norm = BatchNorm(WIDTH)
        self.distance = Mahalanobis(hp.latent_dim)

    def embed(self, batch: Batch) -> torch.Tensor:
        return self.backbone(batch.numbers)

    def project(self, batch: Batch) -> torch.Tensor:
        h = self.norm(self.inner(self.embed(batch)), batch.weights)
        return self.outer(torch.relu(h))

    def score(self, batch: Batch) -> torch.Tensor:
        return self.distance(self.embed(batch))


class BarlowTwins(Method[BarlowTwinsHyperparameters, BarlowTwinsNetwork]):
    name = "barlow"

    def init(self, rows, generator):
        return BarlowTwinsNetwork(rows, self.hyperparameters, generator)

    def noise(self, draws, batch):
        return draw_views(self.hyperparameters, draws, torch.stack([batch.numbers] * 2))

    def loss(self, network, batch, noise):
        x = corrupt(self.hyperparameters, torch.stack([batch.numbers] * 2), noise)  # (2, B, D)
        both = Batch(x.reshape(-1, x.shape[-1]), weights=torch.cat([batch.weights] * 2))
        z = network.project(both).reshape(2, len(batch.numbers), -1)
        w = batch.weights / batch.weights.sum().clamp_min(1)  # (B,)
        z = z - (w[:, None] * z).sum(dim=1, keepdim=True)
        z = z / torch.sqrt((w[:, None] * z**2).sum(dim=1, keepdim=True) + 1e-5)
        correlation = torch.einsum("b,bi,bj->ij", w, z[0], z[1])
        own = ((1 - correlation.diagonal()) ** 2).sum()
        others = ((correlation * (1 - torch.eye(WIDTH, dtype=z.dtype))) ** 2).sum()
        return own + self.hyperparameters.redundancy_weight * others, {"invariance": own}
