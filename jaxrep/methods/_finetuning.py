"""What classifier and regressor share: a head on the network of a pre-trained method."""

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, Generic, TypeVar

import jax.numpy as jnp
from flax import nnx
from jax import Array

from jaxrep import views
from jaxrep.batch import Batch, RowSpec
from jaxrep.methods import _list
from jaxrep.methods._finetuning_hyperparameters import FineTuningHyperparameters
from jaxrep.methods._method import Method
from jaxrep.networks import MLP, Mahalanobis, Network, Standardisation, freeze
from jaxrep.views import Draws, Noise

BACKBONE, HEAD = "backbone", "head"


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
        rngs: source of the head's initial weights.
    """

    outputs: ClassVar[tuple[str, ...]] = ("embed", "score", "predict")
    scores_ratios = True

    def __init__(
        self,
        backbone: Network,
        latent_dim: int,
        head_dims: tuple[int, ...],
        outputs: int,
        *,
        frozen: bool,
        rngs: nnx.Rngs,
    ):
        backbone.drop_output_blocks()
        if frozen:
            freeze(backbone)
        self.backbone = backbone
        self.standardisation = Standardisation(latent_dim)
        self.head = MLP((latent_dim, *head_dims, outputs), rngs=rngs)
        self.distance = Mahalanobis(latent_dim)

    def embed(self, batch: Batch) -> Array:
        """Maps rows to the backbone's representations `[B, Z]`."""
        return self.backbone.embed(batch)  # type: ignore[no-any-return, attr-defined]

    def score(self, batch: Batch) -> Array:
        """Mahalanobis distance² / Z of the representation from the training rows', `[B]`."""
        return self.distance(self.embed(batch))

    def apply_head(self, batch: Batch) -> Array:
        """Maps rows to the head's outputs `[B, O]`."""
        return self.head(self.standardisation(self.embed(batch)))

    @abstractmethod
    def predict(self, batch: Batch) -> Array:
        """Maps rows to what is predicted of them."""


Hyperparameters = TypeVar("Hyperparameters", bound=FineTuningHyperparameters)
Net = TypeVar("Net", bound=FineTunedNetwork)


class FineTuning(Method[Hyperparameters, Net], Generic[Hyperparameters, Net]):
    """What both methods share: the network, the step sizes of its parts, the penalty."""

    @property
    @abstractmethod
    def head_outputs(self) -> int:
        """Outputs of the head."""

    def init(self, rows: RowSpec, rngs: nnx.Rngs) -> Net:
        """Returns a new network for rows; training takes the backbone's weights from its run."""
        hp = self.hyperparameters
        backbone: Network = _list.make(hp.backbone.restored()).init(rows, rngs)
        make: Callable[..., Net] = self.network_type  # type: ignore[assignment]
        return make(
            backbone, hp.latent_dim, hp.head_dims, self.head_outputs, frozen=hp.frozen, rngs=rngs
        )

    def learning_rates(self) -> dict[str, float | Array]:
        """Returns the step sizes of backbone and head; a frozen backbone has none."""
        hp = self.hyperparameters
        if hp.frozen:
            return super().learning_rates()
        return {BACKBONE: hp.backbone_learning_rate, HEAD: hp.learning_rate}

    def noise(self, draws: Draws, batch: Batch) -> Noise:
        """Draws which codes are "other"."""
        return views.draw_other(self.hyperparameters.other_rate, draws, batch)

    def apply(self, network: Net, batch: Batch, noise: Noise) -> Array:
        """Returns the head's outputs `[B, O]` as training has them.

        A frozen backbone computes as it serves, so that no statistic of it changes.
        """
        if self.hyperparameters.frozen:
            network.backbone.eval()  # type: ignore[no-untyped-call]
        return network.apply_head(views.replace_by_other(batch, noise))

    def penalty(self, network: Net) -> Array:
        """Returns l2/2 · Σ‖W‖² over the head's kernels, a scalar."""
        squares = [jnp.sum(layer.kernel[...] ** 2) for layer in network.head.layers]
        return self.hyperparameters.l2 / 2 * sum(squares[1:], squares[0])
