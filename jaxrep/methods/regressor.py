"""Regressor: a head on a pre-trained backbone that predicts a number."""

import jax
from jax import Array

from jaxrep import losses
from jaxrep.batch import Batch
from jaxrep.methods._finetuning import FineTunedNetwork, FineTuning
from jaxrep.methods._method import Metrics
from jaxrep.methods.regressor_hyperparameters import RegressorHyperparameters
from jaxrep.views import Noise


class RegressorNetwork(FineTunedNetwork):
    """A backbone and a head with one output.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxrep.batch import RowSpec
        >>> network = Regressor(RegressorHyperparameters()).init(RowSpec(4), nnx.Rngs(0))
        >>> network.predict(Batch(jnp.ones((2, 4)))).shape
        (2, 1)
    """

    def predict(self, batch: Batch) -> Array:
        """Maps rows to their numbers in units of the standardised target, `[B, 1]`."""
        return self.apply_head(batch)


class Regressor(FineTuning[RegressorHyperparameters, RegressorNetwork]):
    """Predicts a number for each row by a head on a pre-trained backbone.

    The loss is the mean over rows of (t − t̂)²/2, by their weights, plus l2/2 · Σ‖W‖² over the
    head's kernels, t being the target standardised over the training rows. With a linear head on a
    frozen backbone this is scikit-learn's `Ridge(alpha=N·l2)` of t on the standardised
    representations.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxrep.batch import RowSpec
        >>> method = Regressor(RegressorHyperparameters(l2=0.0))
        >>> batch = Batch(jnp.ones((4, 2)), targets=jnp.zeros(4))
        >>> loss, metrics = method.loss(method.init(RowSpec(2), nnx.Rngs(0)), batch, {})
        >>> bool(loss == metrics["squared_error"] / 2)
        True
    """

    parity_cases = ({"head_dims": (5,), "frozen": False}, {})

    @property
    def head_outputs(self) -> int:
        """Outputs of the head: one."""
        return 1

    def loss(self, network: RegressorNetwork, batch: Batch, noise: Noise) -> tuple[Array, Metrics]:
        """Half the squared error and penalty; and `squared_error`, 1 − R² on the training rows."""
        assert batch.targets is not None
        predicted = self.apply(network, batch, noise)[:, 0]
        with jax.named_scope("loss"):
            error = losses.half_squared_error(predicted, batch.targets, weights=batch.weights)
            loss = error + self.penalty(network)
        return loss, {"squared_error": 2 * error}
