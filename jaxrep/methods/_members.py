"""Several trained networks of one method as one: its members, that differ in their seeds.

Every weight has the members along a first axis. Which outputs are means over the members, and which
are the first one's, `jaxrep.outputs.OUTPUTS` says. Scores of members do not compare as they are:
each is standardised by those that the member gives training rows, by its logarithm where scores are
ratios.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrep.batch import Batch
from jaxrep.networks import FittedStatistic, Network
from jaxrep.networks._initial import filled
from jaxrep.outputs import OUTPUTS

Weights = dict[str, np.ndarray]

# What several networks have that none has alone: statistics of each one's scores, `[K]`.
_STATISTICS = {"score_mean": 0.0, "score_scale": 1.0}
_LEAST_SCORE = 1e-12  # of a row that is given back exactly, whose logarithm would not be finite
_LEAST_SCALE = 1e-6


class MembersNetwork(Network):
    """K networks of one class that serve as one; `members_network` makes it.

    Args:
        stacked: a network of that class whose every variable is `[K, ...]`.
        members: K.
    """

    outputs = ("embed", "score")

    def __init__(self, stacked: Network, members: int):
        self.layers = stacked  # which the weights' names leave out
        self.score_mean = FittedStatistic(filled(_STATISTICS["score_mean"], members))
        self.score_scale = FittedStatistic(filled(_STATISTICS["score_scale"], members))

    def embed(self, given: Any) -> Any:
        """Returns the first network's embeddings, `[B, Z]`."""
        return _of_first(self, "embed", given)

    def score(self, given: Any) -> Any:
        """Returns the mean of the networks' standardised scores, `[B]`."""
        mean, scale = self.score_mean[...], self.score_scale[...]
        return jnp.mean((self.each_score(given) - mean[None, :]) / scale[None, :], axis=-1)

    def each_score(self, given: Any) -> Any:
        """Returns the scores of every network, `[B, K]`; their logarithms where they are ratios."""
        found = _of_each(self, "score", given).T
        return jnp.log(jnp.maximum(found, _LEAST_SCORE)) if self.layers.scores_ratios else found

    def fit_statistics(
        self, rows: Batch, compute: Callable[[str, Mapping[str, np.ndarray]], np.ndarray]
    ) -> Weights:
        """Returns the statistics of the networks' scores; those within each are there already."""
        found = compute("each_score", {}).astype(np.float64)
        mean, scale = found.mean(axis=0), np.maximum(found.std(axis=0), _LEAST_SCALE)
        return {"score_mean": mean.astype(np.float32), "score_scale": scale.astype(np.float32)}


def members_network(network: Network, members: int) -> Network:
    """Returns a network that holds several of a kind; of one, the network as it is.

    Args:
        network: with arrays, which all members begin with, or with shapes in their place.
        members: K, how many there are.

    Example:
        >>> from jaxrep.batch import Batch, RowSpec
        >>> from jaxrep.methods.autoencoder import AutoencoderNetwork
        >>> from jaxrep.networks import get_weights
        >>> lone = AutoencoderNetwork(RowSpec(3), (4,), 2, rngs=nnx.Rngs(0))
        >>> three = members_network(lone, 3)
        >>> get_weights(three)["encoder.0.kernel"].shape
        (3, 3, 4)
        >>> three.embed(Batch(jnp.ones((5, 3)))).shape, three.score(Batch(jnp.ones((5, 3)))).shape
        ((5, 2), (5,))
    """
    if members == 1:
        return network

    def stack(leaf: Any) -> Any:
        shape = (members, *leaf.shape)
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return leaf.update(shape=shape)  # type: ignore[no-untyped-call]
        return jnp.broadcast_to(leaf, shape)

    graph, state = nnx.split(network)
    stacked = nnx.merge(graph, jax.tree.map(stack, state))
    made: Network = _members_type(type(network))(stacked, members)
    return made


def join_members(of_members: Sequence[Mapping[str, np.ndarray]]) -> Weights:
    """Returns the weights of several networks as one's; of one, its own.

    The statistics of their scores are not yet in them: `MembersNetwork.fit_statistics`.

    Args:
        of_members: arrays by name, the same names in all.

    Example:
        >>> join_members([{"bias": np.zeros(2)}, {"bias": np.ones(2)}])["bias"].shape
        (2, 2)
    """
    first, *others = of_members
    if not others:
        return dict(first)
    joined = {name: np.stack([weights[name] for weights in of_members]) for name in first}
    count = len(of_members)
    return joined | {name: np.full(count, v, np.float32) for name, v in _STATISTICS.items()}


def split_members(weights: Mapping[str, np.ndarray], members: int) -> list[Weights]:
    """Returns the weights of every network in those of several; inverse of `join_members`.

    Args:
        weights: arrays by name, `[K, ...]` where K is not 1.
        members: K.
    """
    if members == 1:
        return [dict(weights)]
    own = {name: array for name, array in weights.items() if name not in _STATISTICS}
    return [{name: array[i] for name, array in own.items()} for i in range(members)]


@functools.cache
def _members_type(network_type: type[Network]) -> type[MembersNetwork]:
    """Returns the class that has the outputs of a class of networks, and no other."""
    functions = {
        name: functools.partialmethod(_BY[OUTPUTS[name].members], name)
        for name in network_type.outputs
        if name not in vars(MembersNetwork)
    }
    body = {"outputs": network_type.outputs, **functions, "__doc__": MembersNetwork.__doc__}
    return type(f"Members{network_type.__name__}", (MembersNetwork,), body)


def _of_first(network: MembersNetwork, output: str, given: Any) -> Any:
    graph, state = nnx.split(network.layers)
    first = nnx.merge(graph, jax.tree.map(lambda array: array[0], state))
    return getattr(first, output)(given)


def _mean(network: MembersNetwork, output: str, given: Any) -> Any:
    return jax.tree.map(lambda array: array.mean(axis=0), _of_each(network, output, given))


def _of_each(network: MembersNetwork, output: str, given: Any) -> Any:
    graph, state = nnx.split(network.layers)
    return jax.vmap(lambda member: getattr(nnx.merge(graph, member), output)(given))(state)


_BY: dict[str, Callable[..., Any]] = {"first": _of_first, "mean": _mean}
