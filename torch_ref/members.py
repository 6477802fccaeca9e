"""Several trained networks of one method as one, as in `jaxrep.methods`: its members.

Which outputs are means over the members, and which are the first one's, `torch_ref.outputs.OUTPUTS`
says. Before scores are averaged, they are standardised by those that each member gives training
rows, by their logarithms where they are ratios. In jaxrep's dictionary of weights every array has
the members along a first axis; that is made and taken apart in `torch_ref.weights`.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from torch_ref.batch import Batch, RowSpec
from torch_ref.methods import AnyMethod
from torch_ref.networks import Network

_LEAST_SCORE = 1e-12  # of a row that is given back exactly, whose logarithm would not be finite
_LEAST_SCALE = 1e-6


class MembersNetwork(Network):
    """Networks of one class that serve as one; `members_network` makes it.

    Args:
        networks: of that class.
    """

    outputs = ("embed", "score")

    score_mean: Tensor
    score_scale: Tensor
    are_ratios: Final[bool]

    def __init__(self, networks: Sequence[Network]):
        super().__init__()
        self.members = nn.ModuleList(networks)
        self.are_ratios, self.least = networks[0].scores_ratios, _LEAST_SCORE
        self.draws = networks[0].draws
        self.register_buffer("score_mean", torch.zeros(len(networks)))
        self.register_buffer("score_scale", torch.ones(len(networks)))

    def embed(self, batch: Batch) -> Tensor:
        """Returns the first network's embeddings, `[B, Z]`."""
        z: Tensor = self.members[0].embed(batch)  # type: ignore[operator]
        return z

    def score(self, batch: Batch) -> Tensor:
        """Returns the mean of the networks' standardised scores, `[B]`."""
        return ((self.each_score(batch) - self.score_mean) / self.score_scale).mean(dim=-1)

    def each_score(self, batch: Batch) -> Tensor:
        """Returns the scores of every network, `[B, K]`; their logarithms where they are ratios."""
        found: list[Tensor] = []
        for member in self.members:
            found.append(member.score(batch))  # type: ignore[operator]
        scores = torch.stack(found, dim=-1)
        return torch.log(scores.clamp_min(self.least)) if self.are_ratios else scores

    def fit_statistics(
        self, rows: Batch, compute: Callable[[str, Mapping[str, np.ndarray]], np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Returns the statistics of the networks' scores; those within each are there already."""
        found = torch.from_numpy(compute("each_score", {}).astype(np.float64))
        mean, scale = found.mean(dim=0), found.std(dim=0, correction=0).clamp_min(_LEAST_SCALE)
        return {"score_mean": mean.float().numpy(), "score_scale": scale.float().numpy()}


class _Functions(MembersNetwork):
    """A function for every output that a network may declare besides."""

    def encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns the first network's posterior, μ and log σ², `[B, Z]` each."""
        posterior: tuple[Tensor, Tensor] = self.members[0].encode(batch)  # type: ignore[operator]
        return posterior

    def project(self, batch: Batch) -> Tensor:
        """Returns the first network's projections, `[B, P]`."""
        z: Tensor = self.members[0].project(batch)  # type: ignore[operator]
        return z

    def score_by_column(self, batch: Batch) -> Tensor:
        """Returns the mean of the networks' terms, `[B, D + C]`."""
        found: list[Tensor] = []
        for member in self.members:
            found.append(member.score_by_column(batch))  # type: ignore[operator]
        return torch.stack(found).mean(dim=0)

    def reconstruct(self, batch: Batch) -> Batch:
        """Returns the first network's reconstructions."""
        x_hat: Batch = self.members[0].reconstruct(batch)  # type: ignore[operator]
        return x_hat

    def predict(self, batch: Batch) -> Tensor:
        """Returns the mean of the networks' predictions, `[B, O]`."""
        found: list[Tensor] = []
        for member in self.members:
            found.append(member.predict(batch))  # type: ignore[operator]
        return torch.stack(found).mean(dim=0)

    def decode(self, z: Tensor) -> Batch:
        """Maps the first network's embeddings, `[B, Z]`, to rows."""
        x_hat: Batch = self.members[0].decode(z)  # type: ignore[operator]
        return x_hat

    def generate(self, draws: Tensor) -> Batch:
        """Maps draws from N(0, 1), `[B, G]`, to rows of the first network."""
        x_hat: Batch = self.members[0].generate(draws)  # type: ignore[operator]
        return x_hat


def members_network(networks: Sequence[Network]) -> Network:
    """Returns a network that holds several of a kind; of one, that one.

    Args:
        networks: of one class.
    """
    first, *others = networks
    return _members_type(first.outputs)(networks) if others else first


def init_members(method: AnyMethod, rows: RowSpec, generator: torch.Generator) -> Network:
    """Returns a new network of a method, of several members one that holds them all.

    Args:
        method: from `torch_ref.methods`.
        rows: what every row holds.
        generator: source of the initial weights.

    Example:
        >>> from dataclasses import asdict
        >>> from jaxrep.methods import VAEHyperparameters
        >>> from torch_ref.methods import VAE
        >>> method = VAE(**asdict(VAEHyperparameters(members=3)))
        >>> network = init_members(method, RowSpec(4), torch.Generator())
        >>> tuple(network.score(Batch(torch.ones(5, 4))).shape), len(network.members)
        ((5,), 3)
    """
    count = method.hyperparameters.members
    return members_network([method.init(rows, generator) for _ in range(count)])


@functools.cache
def _members_type(outputs: tuple[str, ...]) -> type[MembersNetwork]:
    """Returns the class of networks that declare given outputs, and no function besides.

    TorchScript compiles functions from their source: each output's stands there.
    """
    own = {name: vars(_Functions)[name] for name in outputs if not hasattr(MembersNetwork, name)}
    body = {**own, "outputs": outputs, "__module__": __name__}
    return type("MembersNetwork", (MembersNetwork,), body)
