"""Several trained networks of one method as one: its members, that differ in their seeds.

Every weight has the members along a first axis. Which outputs are means over the members, and which
are the first one's, `jaxrep.outputs.OUTPUTS` says.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrep.networks import Network
from jaxrep.outputs import OUTPUTS

Weights = dict[str, np.ndarray]


class MembersNetwork(Network):
    """K networks of one class that serve as one; `members_network` makes it.

    Args:
        stacked: a network of that class whose every variable is `[K, ...]`.
    """

    outputs = ("embed", "score")

    def __init__(self, stacked: Network):
        self.layers = stacked  # which the weights' names leave out

    def embed(self, given: Any) -> Any:
        """Returns the first network's embeddings, `[B, Z]`."""
        return _of_first(self, "embed", given)

    def score(self, given: Any) -> Any:
        """Returns the mean of the networks' scores, `[B]`."""
        return _mean(self, "score", given)


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
    made: Network = _members_type(type(network))(nnx.merge(graph, jax.tree.map(stack, state)))
    return made


def join_members(of_members: Sequence[Mapping[str, np.ndarray]]) -> Weights:
    """Returns the weights of several networks as one's; of one, its own.

    Args:
        of_members: arrays by name, the same names in all.

    Example:
        >>> join_members([{"bias": np.zeros(2)}, {"bias": np.ones(2)}])["bias"].shape
        (2, 2)
    """
    first, *others = of_members
    if not others:
        return dict(first)
    return {name: np.stack([weights[name] for weights in of_members]) for name in first}


def split_members(weights: Mapping[str, np.ndarray], members: int) -> list[Weights]:
    """Returns the weights of every network in those of several; inverse of `join_members`.

    Args:
        weights: arrays by name, `[K, ...]` where K is not 1.
        members: K.
    """
    if members == 1:
        return [dict(weights)]
    return [{name: array[i] for name, array in weights.items()} for i in range(members)]


@functools.cache
def _members_type(network_type: type[Network]) -> type[MembersNetwork]:
    """Returns the class that has the outputs of a class of networks, and no other."""
    functions = {
        name: functools.partialmethod(_BY[OUTPUTS[name].members], name)
        for name in network_type.outputs
    }
    body = {"outputs": network_type.outputs, **functions, "__doc__": MembersNetwork.__doc__}
    return type(f"Members{network_type.__name__}", (MembersNetwork,), body)


def _of_first(network: MembersNetwork, output: str, given: Any) -> Any:
    graph, state = nnx.split(network.layers)
    first = nnx.merge(graph, jax.tree.map(lambda array: array[0], state))
    return getattr(first, output)(given)


def _mean(network: MembersNetwork, output: str, given: Any) -> Any:
    graph, state = nnx.split(network.layers)
    found = jax.vmap(lambda member: getattr(nnx.merge(graph, member), output)(given))(state)
    return jax.tree.map(lambda array: array.mean(axis=0), found)


_BY: dict[str, Callable[..., Any]] = {"first": _of_first, "mean": _mean}
