"""The hyperparameters that classifier and regressor share."""

from jaxrep.hyperparameters import (
    Flag,
    Number,
    Recipe,
    TrainingHyperparameters,
    Widths,
    hyperparameter,
    hyperparameters,
)
from jaxrep.methods._backbone import Backbone, Backbones
from jaxrep.methods.autoencoder_hyperparameters import AutoencoderHyperparameters

# The step sizes fall to 0, so that the head comes to rest at its optimum.
SEED = Recipe(
    "a head that comes to rest at its optimum within 200 epochs.",
    {"epochs": 200, "learning_rate": 1e-2, "schedule": "cosine"},
)


# No rows are set apart for p-values: the backbone may have been trained on them.
@hyperparameters(derived=("hidden_dims", "latent_dim", "calibration_fraction"))
class FineTuningHyperparameters(TrainingHyperparameters):
    """A head on a pre-trained backbone, whose widths are the backbone's."""

    backbone: Backbone = hyperparameter(
        Backbones(),
        default=Backbone.of(AutoencoderHyperparameters()),
        kind="shaping",
        help="The pre-trained method that the head stands on.",
        is_derived=True,
    )
    head_dims: tuple[int, ...] = hyperparameter(
        Widths(),
        default=(),
        kind="shaping",
        help="Widths of the head's hidden layers; none makes it linear.",
    )
    frozen: bool = hyperparameter(
        Flag(),
        default=True,
        kind="shaping",
        help="Whether the backbone stays as it is, and the head alone is trained.",
    )
    backbone_learning_rate: float = hyperparameter(
        Number(above=0),
        default=1e-3,
        kind="traced",
        help="Step size of the backbone, where it is trained on; learning_rate is the head's.",
    )
    l2: float = hyperparameter(
        Number(at_least=0),
        default=1e-2,
        kind="traced",
        changes_loss=True,
        help="Strength of the penalty l2/2 · Σ‖W‖² on the head's kernels.",
    )

    def __post_init__(self) -> None:
        """Takes over the backbone's widths; `check` refuses a backbone that has none."""
        if isinstance(self.backbone, Backbone):
            widths = self.backbone.hyperparameters
            if isinstance(hidden_dims := widths.get("hidden_dims"), list | tuple):
                self.hidden_dims = tuple(hidden_dims)
            self.latent_dim = widths.get("latent_dim", self.latent_dim)

    def unused(self) -> dict[str, str]:
        """Returns the step size of a backbone that stays as it is.

        Example:
            >>> list(FineTuningHyperparameters(schedule="warmup_cosine").unused())
            ['backbone_learning_rate']
        """
        unused = super().unused()
        return unused | ({"backbone_learning_rate": "frozen is False"} if self.frozen else {})
