"""The hyperparameters of the regressor, which needs no JAX to read."""

from jaxrep.hyperparameters import hyperparameters
from jaxrep.methods._finetuning_hyperparameters import SEED, FineTuningHyperparameters


@hyperparameters(
    name="regressor", title="Fine-tuned regressor", recipes={"seed": SEED}, predicts="numbers"
)
class RegressorHyperparameters(FineTuningHyperparameters):
    """Fine-tuned regressor: squared error of a head on a pre-trained backbone."""
