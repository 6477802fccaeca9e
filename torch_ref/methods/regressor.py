"""Regressor: a head on a pre-trained backbone that predicts a number."""

from dataclasses import dataclass

from torch import Tensor

from torch_ref import losses
from torch_ref.batch import Batch
from torch_ref.methods._finetuning import (
    FineTunedNetwork,
    FineTuning,
    FineTuningHyperparameters,
)
from torch_ref.methods._method import Metrics
from torch_ref.views import Noise


@dataclass(frozen=True, kw_only=True)
class RegressorHyperparameters(FineTuningHyperparameters):
    """Fine-tuned regressor: squared error of a head on a pre-trained backbone."""


class RegressorNetwork(FineTunedNetwork):
    """A backbone and a head with one output.

    Example:
        >>> from dataclasses import asdict
        >>> import torch, jaxrep.methods
        >>> from torch_ref.batch import RowSpec
        >>> method = Regressor(**asdict(jaxrep.methods.RegressorHyperparameters()))
        >>> network = method.init(RowSpec(4), torch.Generator())
        >>> tuple(network.predict(Batch(torch.ones(2, 4))).shape)
        (2, 1)
    """

    def predict(self, batch: Batch) -> Tensor:
        """Maps rows to their numbers in units of the standardised target, `[B, 1]`."""
        return self.apply_head(batch)


class Regressor(FineTuning[RegressorHyperparameters, RegressorNetwork]):
    """Predicts a number for each row by a head on a pre-trained backbone.

    The loss is the mean over rows of (t − t̂)²/2, by their weights, plus l2/2 · Σ‖W‖² over the
    head's kernels, t being the target standardised over the training rows. With a linear head on a
    frozen backbone this is scikit-learn's `Ridge(alpha=N·l2)` of t on the standardised
    representations.

    Example:
        >>> from dataclasses import asdict
        >>> import torch, jaxrep.methods
        >>> from torch_ref.batch import RowSpec
        >>> method = Regressor(**asdict(jaxrep.methods.RegressorHyperparameters(l2=0.0)))
        >>> batch = Batch(torch.ones(4, 2), targets=torch.zeros(4))
        >>> loss, metrics = method.loss(method.init(RowSpec(2), torch.Generator()), batch, {})
        >>> bool(loss == metrics["squared_error"] / 2)
        True
    """

    name = "regressor"

    @property
    def head_outputs(self) -> int:
        """Outputs of the head: one."""
        return 1

    def loss(self, network: RegressorNetwork, batch: Batch, noise: Noise) -> tuple[Tensor, Metrics]:
        """Half the squared error and penalty; and `squared_error`, 1 − R² on the training rows."""
        assert batch.targets is not None
        predicted = self.apply(network, batch, noise)[:, 0]
        error = losses.half_squared_error(predicted, batch.targets, weights=batch.weights)
        loss = error + self.penalty(network)
        return loss, {"squared_error": 2 * error}
