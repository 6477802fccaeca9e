"""What a method is: the values it takes, a network, its noise, and its loss.

The values have no defaults and no ranges here: those are jaxrep's.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar, get_args

import torch
from msgspec import Meta
from torch import Tensor

from torch_ref import optim
from torch_ref.batch import Batch, RowSpec
from torch_ref.networks import Network
from torch_ref.views import Draws, Noise

Metrics = dict[str, Tensor]

# A whole number that is not a size of the network; every other one may be, so that files are held
# to smaller ones.
Count = Annotated[int, "count"]

MAX_MEMBERS = 256
"""Networks that a file may hold: all of them are built before its weights are compared."""


@dataclass(frozen=True, kw_only=True)
class TrainingHyperparameters:
    """What every method takes: the widths of its network, its optimiser and its schedule."""

    hidden_dims: tuple[int, ...]
    latent_dim: int
    epochs: Count
    steps: Count
    batch_size: Count
    learning_rate: float
    optimizer: Literal["adam", "adamw"]
    weight_decay: float
    schedule: Literal["constant", "cosine", "warmup_cosine"]
    warmup_fraction: float
    clip_norm: float
    beta2: float
    other_rate: float
    precision: Literal["highest", "default", "bfloat16"]
    validation_fraction: float
    calibration_fraction: float
    patience: Count
    seed: Count
    split_seed: Count
    members: Annotated[int, Meta(ge=1, le=MAX_MEMBERS)]


@dataclass(frozen=True, kw_only=True)
class ViewHyperparameters(TrainingHyperparameters):
    """What methods take that corrupt rows: which views, in which order, and how much."""

    views: tuple[str, ...]
    noise_std: float
    drop_rate: float
    corruption_rate: float
    swap_rate: float
    hide_rate: float


Hyperparameters = TypeVar("Hyperparameters", bound=TrainingHyperparameters)
Net = TypeVar("Net", bound=Network)


class Method(ABC, Generic[Hyperparameters, Net]):
    """What every method has.

    A subclass has a name and names the classes of its hyperparameters and of its network, as in
    `class VAE(Method[VAEHyperparameters, VAENetwork])`.

    Args:
        **values: all hyperparameters by name, such as `dataclasses.asdict` of jaxrep's.

    Raises:
        TypeError: names a value that is missing or unknown.
    """

    name: ClassVar[str] = ""
    """The method's name, as on the command line."""

    hyperparameters_type: ClassVar[type[TrainingHyperparameters]]
    network_type: ClassVar[type[Network]]

    def __init__(self, **values: Any):
        self.hyperparameters: Hyperparameters = self.hyperparameters_type(**values)  # type: ignore[assignment]

    def __init_subclass__(cls) -> None:
        """Reads the classes of the hyperparameters and of the network."""
        super().__init_subclass__()
        for base in cls.__dict__.get("__orig_bases__", ()):
            named = get_args(base)
            if len(named) == 2 and isinstance(named[0], type):
                cls.hyperparameters_type, cls.network_type = named

    def learning_rates(self) -> dict[str, float]:
        """Returns the largest learning rate of each part of the network, as `optim.by_part` takes.

        By default all of the network is one part, `""`, with the hyperparameter `learning_rate`.
        The schedule is that of each part. Weight decay is the same for all, and gradients are
        clipped by the norm of all of them together.
        """
        return {"": self.hyperparameters.learning_rate}

    def optimizer(self, steps: int | None = None) -> optim.OptimizerFactory:
        """Returns the optimiser that the hyperparameters name.

        Args:
            steps: of the whole run, over which a schedule runs; a constant step size needs none.

        Raises:
            ValueError: a schedule is asked for without them.
        """
        hp = self.hyperparameters
        rates = {
            part: optim.schedule(hp.schedule, rate, steps=steps, warmup_fraction=hp.warmup_fraction)
            for part, rate in self.learning_rates().items()
        }
        kind = {"adam": optim.adam, "adamw": optim.adamw}[hp.optimizer]

        def make(rate: optim.Rate) -> optim.OptimizerFactory:
            return kind(learning_rate=rate, weight_decay=hp.weight_decay, b2=hp.beta2)

        made = make(rates[""]) if rates.keys() == {""} else optim.by_part(make, rates)
        return optim.clipped(made, hp.clip_norm) if hp.clip_norm else made

    @abstractmethod
    def init(self, rows: RowSpec, generator: torch.Generator) -> Net:
        """Returns a new network.

        Args:
            rows: what every row holds.
            generator: source of the initial weights.
        """

    @abstractmethod
    def noise(self, draws: Draws, batch: Batch) -> Noise:
        """Draws all that is random in the loss of a batch; nothing else draws.

        Args:
            draws: source of the random numbers, and background rows.
            batch: its shapes and dtypes count.

        Returns:
            Tensors by name.
        """

    @abstractmethod
    def loss(self, network: Net, batch: Batch, noise: Noise) -> tuple[Tensor, Metrics]:
        """Computes the loss of a batch: a pure function of its arguments.

        Args:
            network: from `init`.
            batch: rows and their weights.
            noise: from `noise`.

        Returns:
            The scalar to minimise, and scalars worth logging by name.
        """


AnyMethod = Method[Any, Any]
