"""What classifier and regressor share: a head on the network of a pre-trained method."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from torch_ref import views
from torch_ref.batch import Batch, RowSpec
from torch_ref.methods import _list
from torch_ref.methods._backbone import Backbone
from torch_ref.methods._method import Method, TrainingHyperparameters
from torch_ref.networks import MLP, Mahalanobis, Network, Standardisation, freeze
from torch_ref.views import Draws, Noise

BACKBONE, HEAD = "backbone", "head"


@dataclass(frozen=True, kw_only=True)
class FineTuningHyperparameters(TrainingHyperparameters):
    """A head on a pre-trained backbone, whose widths are the backbone's."""

    backbone: Backbone
    head_dims: tuple[int, ...]
    frozen: bool
    backbone_learning_rate: float
    l2: float

    def __post_init__(self) -> None:
        """Takes a backbone as a mapping too, as JSON has it.

        Raises:
            ValueError: the widths are not the backbone's.
        """
        if isinstance(self.backbone, Mapping):
            object.__setattr__(self, BACKBONE, Backbone(**self.backbone))
        for name in ("hidden_dims", "latent_dim"):
            ours, known = getattr(self, name), self.backbone.hyperparameters.get(name)
            if ours != (tuple(known) if isinstance(known, list) else known):
                raise ValueError(f"{name} is {ours}; the backbone's is {known!r:.80}")


class FineTunedNetwork(Network):
    """A backbone, whose representations are standardised, and a head.

    The score is the Mahalanobis distance of a row's representation from those of the training rows,
    whatever the backbone's own was: a decoder is not trained on, and fits no longer.

    Args:
        backbone: network of the pre-trained method.
        latent_dim: Z, size of its representation.
        head_dims: widths of the head's hidden layers.
        outputs: of the head, O.
        frozen: whether the backbone stays as it is.
        generator: source of the head's initial weights.
    """

    outputs: ClassVar[tuple[str, ...]] = ("embed", "score", "predict")
    scores_ratios = True

    if TYPE_CHECKING:  # TorchScript takes an annotation for an attribute's type, not a module's
        backbone: Any

    def __init__(
        self,
        backbone: Network,
        latent_dim: int,
        head_dims: tuple[int, ...],
        outputs: int,
        *,
        frozen: bool,
        generator: torch.Generator,
    ):
        super().__init__()
        backbone.drop_output_blocks()
        if frozen:
            freeze(backbone)
        self.backbone = backbone
        self.standardisation = Standardisation(latent_dim)
        self.head = MLP((latent_dim, *head_dims, outputs), generator=generator)
        self.distance = Mahalanobis(latent_dim)

    def embed(self, batch: Batch) -> Tensor:
        """Maps rows to the backbone's representations `[B, Z]`."""
        z: Tensor = self.backbone.embed(batch)
        return z

    def score(self, batch: Batch) -> Tensor:
        """Mahalanobis distance² / Z of the representation from the training rows', `[B]`."""
        distance: Tensor = self.distance(self.embed(batch))
        return distance

    def apply_head(self, batch: Batch) -> Tensor:
        """Maps rows to the head's outputs `[B, O]`."""
        outputs: Tensor = self.head(self.standardisation(self.embed(batch)))
        return outputs

    @abstractmethod
    def predict(self, batch: Batch) -> Tensor:
        """Maps rows to what is predicted of them."""


Hyperparameters = TypeVar("Hyperparameters", bound=FineTuningHyperparameters)
Net = TypeVar("Net", bound=FineTunedNetwork)


class FineTuning(Method[Hyperparameters, Net], Generic[Hyperparameters, Net]):
    """What both methods share: the network, the step sizes of its parts, the penalty."""

    @property
    @abstractmethod
    def head_outputs(self) -> int:
        """Outputs of the head."""

    def init(self, rows: RowSpec, generator: torch.Generator) -> Net:
        """Returns a new network for rows; training takes the backbone's weights from its run."""
        hp = self.hyperparameters
        method = _list.make(hp.backbone.method, hp.backbone.hyperparameters)
        backbone: Network = method.init(rows, generator)
        make: Callable[..., Net] = self.network_type  # type: ignore[assignment]
        return make(
            backbone,
            hp.latent_dim,
            hp.head_dims,
            self.head_outputs,
            frozen=hp.frozen,
            generator=generator,
        )

    def learning_rates(self) -> dict[str, float]:
        """Returns the step sizes of backbone and head; a frozen backbone has none."""
        hp = self.hyperparameters
        if hp.frozen:
            return super().learning_rates()
        return {BACKBONE: hp.backbone_learning_rate, HEAD: hp.learning_rate}

    def noise(self, draws: Draws, batch: Batch) -> Noise:
        """Draws which codes are "other"."""
        return views.draw_other(self.hyperparameters.other_rate, draws, batch)

    def apply(self, network: Net, batch: Batch, noise: Noise) -> Tensor:
        """Returns the head's outputs `[B, O]` as training has them.

        A frozen backbone computes as it serves, so that no statistic of it changes.
        """
        if self.hyperparameters.frozen:
            network.backbone.eval()
        return network.apply_head(views.replace_by_other(batch, noise))

    def penalty(self, network: Net) -> Tensor:
        """Returns l2/2 · Σ‖W‖² over the head's kernels, a scalar."""
        layers: Any = network.head.layers
        squares: list[Tensor] = [(layer.weight**2).sum() for layer in layers]
        return self.hyperparameters.l2 / 2 * sum(squares[1:], squares[0])
