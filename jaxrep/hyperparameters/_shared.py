"""The hyperparameters that methods share: of the training, and of the views."""

from typing import Any, Literal

from jaxrep.hyperparameters._declare import Hyperparameters, hyperparameter, hyperparameters
from jaxrep.hyperparameters._ranges import (
    MAX_MEMBERS,
    MAX_WIDTH,
    Names,
    Number,
    OneOf,
    Whole,
    Widths,
)

# The views by name, in the order of the defaults, each with the hyperparameter that says how much.
VIEWS = {
    "noise": "noise_std",
    "dropout": "drop_rate",
    "scarf": "corruption_rate",
    "swap": "swap_rate",
    "hide": "hide_rate",
}

# How long a run trains that is given neither epochs nor steps: so many epochs, but no fewer steps
# than few rows need, and no more than many rows repay.
STEPS_BY_RULE = 100, 2000, 12000

# Rows that p-values are computed by: fewer leave the level of a run to chance, and of more than
# the larger number a run would keep much for little.
CALIBRATION = 200, 10_000


@hyperparameters()
class TrainingHyperparameters(Hyperparameters):
    """What every method has: the widths of its network, its optimiser and its schedule."""

    hidden_dims: tuple[int, ...] = hyperparameter(
        Widths(),
        default=(64,),
        kind="shaping",
        help="Widths of the encoder's hidden layers, input side first; a decoder mirrors them.",
    )
    latent_dim: int = hyperparameter(
        Whole(1, MAX_WIDTH), default=8, kind="shaping", help="Size of the representation of a row."
    )
    epochs: int = hyperparameter(
        Whole(0),
        default=50,
        kind="host",
        help="Passes over the training rows; 0: {}, but at least {} and at most {} steps.".format(
            *STEPS_BY_RULE
        ),
    )
    steps: int = hyperparameter(
        Whole(0),
        default=0,
        kind="host",
        help="Steps to take, in the place of epochs; the last epoch may be in part. 0: by epochs.",
    )
    batch_size: int = hyperparameter(
        Whole(1),
        default=128,
        kind="host",
        help="Rows in a step; the last batch of an epoch may hold fewer.",
    )
    learning_rate: float = hyperparameter(
        Number(above=0), default=1e-3, kind="traced", help="Step size of the optimiser."
    )
    optimizer: Literal["adam", "adamw"] = hyperparameter(
        OneOf("adam", "adamw"),
        default="adam",
        kind="shaping",
        help="adam adds weight decay to the gradient, as torch.optim.Adam does; adamw decouples "
        "it from the gradient.",
    )
    weight_decay: float = hyperparameter(
        Number(at_least=0),
        default=0.0,
        kind="traced",
        help="Strength of the weight decay; applies to kernels and biases alike.",
    )
    schedule: Literal["constant", "cosine", "warmup_cosine"] = hyperparameter(
        OneOf("constant", "cosine", "warmup_cosine"),
        default="constant",
        kind="shaping",
        help="The step size over the run: constant; cosine falls to 0 along half a cosine; "
        "warmup_cosine rises first.",
    )
    warmup_fraction: float = hyperparameter(
        Number(at_least=0, below=1),
        default=0.05,
        kind="traced",
        help="Share of the steps in which warmup_cosine lets the step size rise.",
    )
    clip_norm: float = hyperparameter(
        Number(at_least=0),
        default=0.0,
        kind="traced",
        help="Norm of all gradients together above which they are scaled down to it; 0 never.",
    )
    beta2: float = hyperparameter(
        Number(above=0, below=1),
        default=0.999,
        kind="shaping",
        help="Decay rate β₂ of Adam's mean of squared gradients.",
    )
    other_rate: float = hyperparameter(
        Number(at_least=0, below=1),
        default=0.01,
        kind="traced",
        changes_loss=True,
        help="Share of the categories that a step takes for other, as a category is that training "
        "did not know; tables of numbers alone have none.",
    )
    precision: Literal["highest", "default", "bfloat16"] = hyperparameter(
        OneOf("highest", "default", "bfloat16"),
        default="highest",
        kind="shaping",
        help="How matrices are multiplied. highest: in float32 on every device; default: as the "
        "device likes (TF32 on GPUs, bfloat16 on TPUs); bfloat16: the network in bfloat16. "
        "Weights, optimiser and losses are float32 with all three.",
    )
    validation_fraction: float = hyperparameter(
        Number(at_least=0, below=1),
        default=0.0,
        kind="rows",
        help="Share of the rows held out of training, whose loss is logged.",
    )
    calibration_fraction: float = hyperparameter(
        Number(at_least=0, below=1),
        default=0.0,
        kind="rows",
        help="Share of the rows set apart from all else, by whose scores p-values are computed: "
        "{} rows at least, and {} at most, however many the share makes.".format(*CALIBRATION),
    )
    patience: int = hyperparameter(
        Whole(0),
        default=0,
        kind="host",
        help="Epochs without a lower loss of the rows held out after which training stops; 0 "
        "never.",
    )
    seed: int = hyperparameter(
        Whole(0, 2**32 - 1),
        default=0,
        kind="host",
        help="Decides the initial weights, the order of the rows and all noise.",
    )
    split_seed: int = hyperparameter(
        Whole(0, 2**32 - 1),
        default=0,
        kind="rows",
        help="Decides which rows are held out or set apart; not seed, so that runs of several "
        "seeds hold out the same.",
    )
    members: int = hyperparameter(
        Whole(1, MAX_MEMBERS),
        default=1,
        kind="shaping",
        help="Networks that train at once, with seed, seed + 1, …; the run's scores are means of "
        "their standardised ones, its representations the first one's.",
    )

    def unused(self) -> dict[str, str]:
        """Returns the share of a warm-up that there is not, and epochs where steps are counted."""
        unused = {}
        if self.schedule != "warmup_cosine":
            unused["warmup_fraction"] = "schedule is warmup_cosine"
        if self.steps:
            unused["epochs"] = "steps is 0"
        return unused


@hyperparameters()
class ViewHyperparameters(TrainingHyperparameters):
    """What methods have that corrupt rows: which views they take, in which order, and how much.

    A rate of 0 draws nothing and leaves its view out.
    """

    views: tuple[Literal["noise", "dropout", "scarf", "swap", "hide"], ...] = hyperparameter(
        Names(*VIEWS),
        default=("noise", "dropout"),
        kind="shaping",
        changes_loss=True,
        help="Corruptions of a row, one after the other: noise adds Gaussian noise to numbers; "
        "dropout sets numbers to 0 and categories to other; scarf replaces each cell by that of a "
        "row of its own; swap takes all the cells that it replaces from one other row; hide makes "
        "cells missing.",
    )
    noise_std: float = hyperparameter(
        Number(at_least=0),
        default=0.0,
        kind="traced",
        changes_loss=True,
        help="Standard deviation of the Gaussian noise that is added, in standardised units.",
    )
    drop_rate: float = hyperparameter(
        Number(at_least=0, below=1),
        default=0.0,
        kind="traced",
        changes_loss=True,
        help="Share of the cells that dropout sets to 0, or to other.",
    )
    corruption_rate: float = hyperparameter(
        Number(at_least=0, below=1),
        default=0.6,
        kind="traced",
        changes_loss=True,
        help="Share of the cells that scarf replaces by draws from their own columns.",
    )
    swap_rate: float = hyperparameter(
        Number(at_least=0, below=1),
        default=0.3,
        kind="traced",
        changes_loss=True,
        help="Share of the cells that swap replaces by those of one other row.",
    )
    hide_rate: float = hyperparameter(
        Number(at_least=0, below=1),
        default=0.2,
        kind="traced",
        changes_loss=True,
        help="Share of the cells that hide makes missing.",
    )

    def unused(self) -> dict[str, str]:
        """Returns the rates of the views that are not chosen.

        Example:
            >>> list(ViewHyperparameters(views=("scarf",)).unused())
            ['warmup_fraction', 'noise_std', 'drop_rate', 'swap_rate', 'hide_rate']
        """
        chosen = self.views
        return super().unused() | {
            rate: f"views names {view}" for view, rate in VIEWS.items() if view not in chosen
        }


def likelihood() -> Any:
    """Declares the hyperparameter of methods that reconstruct numbers."""
    return hyperparameter(
        OneOf("squared", "by_kind"),
        default="squared",
        kind="shaping",
        changes_loss=True,
        help="What a reconstructed number is compared by. squared: its squared error; by_kind: a "
        "Gaussian whose variance is learned for each column, and the Bernoulli distribution for "
        "true and false. Categories are compared by their log-probability with both.",
    )


_ANOMALY_SCORES = {
    "levels_and_distance": "mean of levels and the logarithm of mahalanobis, both standardised",
    "levels": "mean standardised logarithm of the errors at several noise levels",
    "reconstruction": "mean over the columns of −log p of the row under its reconstruction",
    "mahalanobis": "Mahalanobis distance² of the representation from those of the training rows, "
    "over its size",
    "neighbours": "distance to the fifth nearest of the training rows' representations, of which "
    "the run keeps at most 10000, 4 bytes a number",
}


def anomaly_score(*names: str) -> Any:
    """Declares the hyperparameter that says what a method's anomaly score is.

    Args:
        *names: the scores that there are, the default first.
    """
    told = "; ".join(f"{name}: {_ANOMALY_SCORES[name]}" for name in names)
    return hyperparameter(
        OneOf(*names),
        default=names[0],
        kind="shaping",
        help=f"What the anomaly score of a row is. {told}.",
        aliases=("--score",),
    )
