"""The hyperparameters of the classifier, which needs no JAX to read."""

from typing import Literal

from jaxrep.hyperparameters import Number, OneOf, Whole, hyperparameter, hyperparameters
from jaxrep.methods._finetuning_hyperparameters import SEED, FineTuningHyperparameters

MAX_CLASSES = 1000


@hyperparameters(
    name="classifier", title="Fine-tuned classifier", recipes={"seed": SEED}, predicts="classes"
)
class ClassifierHyperparameters(FineTuningHyperparameters):
    """Fine-tuned classifier: cross-entropy of a head on a pre-trained backbone."""

    classes: int = hyperparameter(
        Whole(2, MAX_CLASSES),
        default=2,
        kind="shaping",
        help="Number of the classes.",
        is_derived=True,
    )
    label_smoothing: float = hyperparameter(
        Number(at_least=0, below=1),
        default=0.0,
        kind="traced",
        changes_loss=True,
        help="Share ε of a class's probability that is spread over all classes.",
    )
    class_weight: Literal["none", "balanced"] = hyperparameter(
        OneOf("none", "balanced"),
        default="none",
        kind="rows",
        changes_loss=True,
        help="How much a row counts: none, all alike; balanced, so that all classes together count "
        "alike, a row of a class of n_k of N rows N/(K·n_k).",
    )
