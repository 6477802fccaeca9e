"""What a method is: a network, its noise, and its loss.

To JAX a method is a tree: hyperparameters of the kind `traced` are its leaves, open to `vmap`;
those of the kind `shaping` are its structure. So methods pass through `jax.jit` as they are, and
programs of equal shape are compiled once.
"""

import dataclasses
import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Generic, Self, TypeVar, get_args

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array

from jaxrep import optim
from jaxrep.batch import Batch, RowSpec
from jaxrep.hyperparameters import TrainingHyperparameters, declaration
from jaxrep.methods._members import members_network
from jaxrep.networks import Network, compute_in
from jaxrep.views import Deferred, Draws, Noise, is_off

Metrics = dict[str, Array]
Hyperparameters = TypeVar("Hyperparameters", bound=TrainingHyperparameters)
Net = TypeVar("Net", bound=Network)


class Method(ABC, Generic[Hyperparameters, Net]):
    """What every method has.

    A subclass names the classes of its hyperparameters and of its network, as in
    `class VAE(Method[VAEHyperparameters, VAENetwork])`.

    Args:
        hyperparameters: of the method; `jaxrep.hyperparameters.check` checks their ranges.
    """

    hyperparameters_type: ClassVar[type[TrainingHyperparameters]]
    network_type: ClassVar[type[Network]]

    parity_cases: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)
    """Hyperparameters under which the parity suite compares the loss with that of the PyTorch twin;
    the quick suite takes the first alone."""

    parity_trainings: ClassVar[tuple[Mapping[str, Any], ...]] = ()
    """Hyperparameters under which the parity suite compares a whole training on rows of numbers,
    codes and gaps, besides that of the seed's recipe on numbers."""

    def __init__(self, hyperparameters: Hyperparameters):
        self.hyperparameters = hyperparameters

    def __init_subclass__(cls) -> None:
        """Makes every method a tree that `jax.jit` and `jax.vmap` accept."""
        super().__init_subclass__()
        jax.tree_util.register_pytree_with_keys_class(cls)
        for base in cls.__dict__.get("__orig_bases__", ()):
            named = get_args(base)
            if len(named) == 2 and isinstance(named[0], type):
                cls.hyperparameters_type, cls.network_type = named

    @property
    def name(self) -> str:
        """The method's name, as on the command line."""
        return self.hyperparameters_type.name

    def tree_flatten_with_keys(self) -> tuple[list[tuple[Any, Any]], tuple[Any, ...]]:
        """Divides the hyperparameters into traced numbers and what shapes the program."""
        traced: dict[str, Any] = {}
        shaping: dict[str, Any] = {}
        unused = self.hyperparameters.unused()
        for field in dataclasses.fields(self.hyperparameters):
            value, kind = getattr(self.hyperparameters, field.name), declaration(field).kind
            if kind in ("host", "rows") or field.name in unused:
                shaping[field.name] = None  # no program may depend on it
            elif kind == "traced" and not is_off(value):
                traced[field.name] = float(value) if isinstance(value, int) else value
            else:
                shaping[field.name] = tuple(value) if isinstance(value, list) else value
        leaves = [(jax.tree_util.GetAttrKey(name), value) for name, value in traced.items()]
        return leaves, (type(self.hyperparameters), tuple(traced), tuple(shaping.items()))

    @classmethod
    def tree_unflatten(cls, structure: tuple[Any, ...], leaves: Iterable[Any]) -> Self:
        """Rebuilds the method inside a program, where what the host alone reads is None."""
        hyperparameters, traced, shaping = structure
        return cls(hyperparameters(**dict(zip(traced, leaves, strict=True)), **dict(shaping)))

    def learning_rates(self) -> dict[str, float | Array]:
        """Returns the largest learning rate of each part of the network, as `optim.by_part` takes.

        By default all of the network is one part, `""`, with the hyperparameter `learning_rate`.
        The schedule is that of each part. Weight decay is the same for all, and gradients are
        clipped by the norm of all of them together.
        """
        return {"": self.hyperparameters.learning_rate}

    def optimizer(self, steps: int | Array | None = None) -> optax.GradientTransformation:
        """Returns the optimiser that the hyperparameters name.

        Args:
            steps: of the whole run, over which a schedule runs; a constant step size needs none.

        Raises:
            ValueError: a schedule is asked for without them.
        """
        hp = self.hyperparameters
        rates: dict[str, optim.Rate] = {
            part: optim.schedule(hp.schedule, rate, steps=steps, warmup_fraction=hp.warmup_fraction)
            for part, rate in self.learning_rates().items()
        }
        kind = {"adam": optim.adam, "adamw": optim.adamw}[hp.optimizer]

        def make(rate: optim.Rate) -> optax.GradientTransformation:
            return kind(learning_rate=rate, weight_decay=hp.weight_decay, b2=hp.beta2)

        made = make(rates[""]) if rates.keys() == {""} else optim.by_part(make, rates)
        # The state is the same with and without, and among the members of a sweep some may have 0.
        clip = optax.identity()
        if not is_off(hp.clip_norm):
            most = jnp.where(hp.clip_norm > 0, hp.clip_norm, jnp.inf)
            clip = optax.clip_by_global_norm(most)
        return optax.chain(clip, made)

    def matmul_precision(self) -> AbstractContextManager[None]:
        """Returns a context in which products of float32 have the hyperparameters' precision."""
        is_highest = self.hyperparameters.precision == "highest"
        context: AbstractContextManager[None] = jax.default_matmul_precision(
            "highest" if is_highest else None
        )
        return context

    @abstractmethod
    def init(self, rows: RowSpec, rngs: nnx.Rngs) -> Net:
        """Returns a new network.

        Args:
            rows: what every row holds.
            rngs: source of the initial weights.
        """

    @abstractmethod
    def noise(self, draws: Draws, batch: Batch) -> Noise | Deferred:
        """Draws all that is random in the loss of a batch; nothing else draws.

        Args:
            draws: a key, used for this batch alone, and background rows.
            batch: its shapes and dtypes count; training draws before it has the rows.

        Returns:
            Arrays by name, and `Deferred` ones among them.
        """

    @abstractmethod
    def loss(self, network: Net, batch: Batch, noise: Noise) -> tuple[Array, Metrics]:
        """Computes the loss of a batch: a pure function of its arguments.

        Args:
            network: from `init`.
            batch: rows and their weights.
            noise: from `noise`, resolved by `jaxrep.views.resolve`.

        Returns:
            The scalar to minimise, and scalars worth logging by name.
        """


AnyMethod = Method[Any, Any]


def members_of(method: AnyMethod) -> list[AnyMethod]:
    """Returns the methods that train as a method's members, each with a seed of its own.

    Args:
        method: of K members; with one, it is that member itself.

    Example:
        >>> from jaxrep.methods import get
        >>> autoencoder = get("autoencoder")
        >>> method = autoencoder(autoencoder.hyperparameters_type(seed=3, members=2))
        >>> [member.hyperparameters.seed for member in members_of(method)]
        [3, 4]
    """
    hp = method.hyperparameters
    if hp.members == 1:
        return [method]
    lone = (dataclasses.replace(hp, seed=hp.seed + i, members=1) for i in range(hp.members))
    return [type(method)(hyperparameters) for hyperparameters in lone]


def abstract_network(method: AnyMethod, rows: RowSpec) -> Network:
    """Returns a method's network with shapes in the place of arrays, for `with_weights` to fill.

    It serves: its outputs depend on its weights and the row alone. Of a method of several members
    it holds them all.

    Args:
        method: whose network.
        rows: what every row holds.
    """
    graph, state = _abstract(jax.tree.structure(method), rows, jnp.result_type(float))
    network: Network = nnx.merge(graph, state)
    network.eval()  # type: ignore[no-untyped-call]
    return members_network(network, method.hyperparameters.members)


@functools.lru_cache(maxsize=256)
def _abstract(structure: Any, rows: RowSpec, floats: Any) -> tuple[Any, Any]:
    """Returns the network of methods of one structure, taken apart, with shapes for arrays.

    To trace it takes a tenth of a second, which is longer than many a training.
    """
    method = jax.tree.unflatten(structure, [1.0] * structure.num_leaves)  # they shape nothing
    return nnx.split(nnx.eval_shape(lambda: method.init(rows, nnx.Rngs(0))))


def training_network(method: AnyMethod, rows: RowSpec) -> Network:
    """Returns the `abstract_network` that trains: in the method's precision, on batch statistics.

    Args:
        method: whose network, of one member.
        rows: what every row holds.

    Example:
        >>> from jaxrep.methods import get
        >>> from jaxrep.networks import get_weights, with_weights
        >>> autoencoder = get("autoencoder")
        >>> method = autoencoder(autoencoder.hyperparameters_type(precision="bfloat16"))
        >>> rows = RowSpec(numbers=3)
        >>> weights = get_weights(method.init(rows, nnx.Rngs(0)))
        >>> network = with_weights(training_network(method, rows), weights)
        >>> network.embed(Batch(jnp.ones((1, 3)))).dtype
        dtype(bfloat16)
    """
    network = abstract_network(method, rows)
    network.train()  # type: ignore[no-untyped-call]
    if method.hyperparameters.precision == "bfloat16":
        compute_in(network, jnp.bfloat16)
    return network
