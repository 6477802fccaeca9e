"""Classifier: a head on a pre-trained backbone that tells classes apart."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxrep import losses
from jaxrep.batch import Batch
from jaxrep.methods._finetuning import FineTunedNetwork, FineTuning
from jaxrep.methods._method import Metrics
from jaxrep.methods.classifier_hyperparameters import ClassifierHyperparameters
from jaxrep.views import Noise


class ClassifierNetwork(FineTunedNetwork):
    """A backbone and a head with an output for each of K classes.

    Example:
        >>> from flax import nnx
        >>> from jaxrep.batch import RowSpec
        >>> method = Classifier(ClassifierHyperparameters(classes=3))
        >>> network = method.init(RowSpec(4), nnx.Rngs(0))
        >>> network.predict(Batch(jnp.ones((2, 4)))).sum(axis=-1).round(4).tolist()
        [1.0, 1.0]
    """

    def predict(self, batch: Batch) -> Array:
        """Maps rows to the probabilities of their classes, `[B, K]`."""
        logits = self.apply_head(batch)
        wide = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
        return jax.nn.softmax(wide, axis=-1)


class Classifier(FineTuning[ClassifierHyperparameters, ClassifierNetwork]):
    """Classifies rows by a head on a pre-trained backbone.

    The loss is the cross-entropy with the smoothed classes, a mean over rows by their weights, plus
    l2/2 · Σ‖W‖² over the head's kernels. With a linear head on a frozen backbone, and without
    smoothing, this is scikit-learn's `LogisticRegression(C=1/(N·l2))` on the standardised
    representations.

    Example:
        >>> from flax import nnx
        >>> from jaxrep.batch import RowSpec
        >>> method = Classifier(ClassifierHyperparameters(classes=3))
        >>> batch = Batch(jnp.ones((4, 2)), targets=jnp.array([0, 1, 2, 1]))
        >>> loss, metrics = method.loss(method.init(RowSpec(2), nnx.Rngs(0)), batch, {})
        >>> sorted(metrics), loss.shape
        (['accuracy', 'cross_entropy'], ())
    """

    parity_cases = (
        {"classes": 3, "label_smoothing": 0.1, "head_dims": (5,), "frozen": False},
        {"classes": 2},
    )
    parity_trainings = ({"frozen": False},)

    @property
    def head_outputs(self) -> int:
        """Outputs of the head: one for each class."""
        return self.hyperparameters.classes

    def loss(self, network: ClassifierNetwork, batch: Batch, noise: Noise) -> tuple[Array, Metrics]:
        """Cross-entropy and penalty; and `cross_entropy` alone, and the share of rows right."""
        assert batch.targets is not None
        logits, targets = self.apply(network, batch, noise), batch.targets
        with jax.named_scope("loss"):
            cross_entropy = losses.cross_entropy(
                logits,
                targets,
                label_smoothing=self.hyperparameters.label_smoothing,
                weights=batch.weights,
            )
            right = (jnp.argmax(logits, axis=-1) == targets).astype(cross_entropy.dtype)
            accuracy = losses.mean_over_rows(right, batch.weights)
            loss = cross_entropy + self.penalty(network)
        return loss, {"cross_entropy": cross_entropy, "accuracy": accuracy}
