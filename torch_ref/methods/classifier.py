"""Classifier: a head on a pre-trained backbone that tells classes apart."""

from dataclasses import dataclass
from typing import Literal

import torch
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
class ClassifierHyperparameters(FineTuningHyperparameters):
    """Fine-tuned classifier: cross-entropy of a head on a pre-trained backbone."""

    classes: int
    label_smoothing: float
    class_weight: Literal["none", "balanced"]


class ClassifierNetwork(FineTunedNetwork):
    """A backbone and a head with an output for each of K classes.

    Example:
        >>> from dataclasses import asdict
        >>> import jaxrep.methods
        >>> from torch_ref.batch import RowSpec
        >>> method = Classifier(**asdict(jaxrep.methods.ClassifierHyperparameters(classes=3)))
        >>> network = method.init(RowSpec(4), torch.Generator())
        >>> print(network.predict(Batch(torch.ones(2, 4))).detach().sum(dim=-1).round(decimals=4))
        tensor([1., 1.])
    """

    def predict(self, batch: Batch) -> Tensor:
        """Maps rows to the probabilities of their classes, `[B, K]`."""
        logits = self.apply_head(batch)
        wide = logits if logits.dtype == torch.float64 else logits.float()
        return torch.softmax(wide, dim=-1)


class Classifier(FineTuning[ClassifierHyperparameters, ClassifierNetwork]):
    """Classifies rows by a head on a pre-trained backbone.

    The loss is the cross-entropy with the smoothed classes, a mean over rows by their weights, plus
    l2/2 · Σ‖W‖² over the head's kernels. With a linear head on a frozen backbone, and without
    smoothing, this is scikit-learn's `LogisticRegression(C=1/(N·l2))` on the standardised
    representations.

    Example:
        >>> from dataclasses import asdict
        >>> import jaxrep.methods
        >>> from torch_ref.batch import RowSpec
        >>> method = Classifier(**asdict(jaxrep.methods.ClassifierHyperparameters(classes=3)))
        >>> batch = Batch(torch.ones(4, 2), targets=torch.tensor([0, 1, 2, 1]))
        >>> loss, metrics = method.loss(method.init(RowSpec(2), torch.Generator()), batch, {})
        >>> sorted(metrics), tuple(loss.shape)
        (['accuracy', 'cross_entropy'], ())
    """

    name = "classifier"

    @property
    def head_outputs(self) -> int:
        """Outputs of the head: one for each class."""
        return self.hyperparameters.classes

    def loss(
        self, network: ClassifierNetwork, batch: Batch, noise: Noise
    ) -> tuple[Tensor, Metrics]:
        """Cross-entropy and penalty; and `cross_entropy` alone, and the share of rows right."""
        assert batch.targets is not None
        logits, targets = self.apply(network, batch, noise), batch.targets
        cross_entropy = losses.cross_entropy(
            logits,
            targets,
            label_smoothing=self.hyperparameters.label_smoothing,
            weights=batch.weights,
        )
        right = (logits.argmax(dim=-1) == targets).to(cross_entropy.dtype)
        accuracy = losses.mean_over_rows(right, batch.weights)
        loss = cross_entropy + self.penalty(network)
        return loss, {"cross_entropy": cross_entropy, "accuracy": accuracy}
