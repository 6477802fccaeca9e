"""Every hyperparameter: its name, its default, what it means, and which values it may take.

Plain data. A number is spelled here as it is on the command line, in an estimator and in the loss
that reads it, and its default stands nowhere else. `check` is the only place that knows the ranges.
"""

import dataclasses
import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal, TypeGuard

MAX_WIDTH = 1 << 20
MAX_LAYERS = 64

# Read by the loop on the host; no compiled program depends on them beyond its shapes.
SCHEDULE = ("epochs", "batch_size", "validation_fraction", "seed", "split_seed")

# Share of the training rows whose anomaly score lies above the threshold, unless asked otherwise.
CONTAMINATION = 0.05

# The views by name, in the order of the defaults, each with the hyperparameter that says how much.
VIEWS = {
    "noise": "noise_std",
    "dropout": "drop_rate",
    "scarf": "corruption_rate",
    "swap": "swap_rate",
}

_CHOICES = {"optimizer": ("adam", "adamw"), "precision": ("highest", "default", "bfloat16")}
_WHOLE = {
    "latent_dim": (1, MAX_WIDTH),
    "proj_dim": (1, MAX_WIDTH),
    "epochs": (1, 2**31 - 1),
    "batch_size": (1, 2**31 - 1),
    "microbatch": (0, 2**31 - 1),
    "seed": (0, 2**32 - 1),
    "split_seed": (0, 2**32 - 1),
}
_POSITIVE = ("learning_rate", "temperature")
_NOT_NEGATIVE = ("weight_decay", "noise_std", "beta")
_SHARE = ("drop_rate", "corruption_rate", "swap_rate", "validation_fraction")


@dataclass
class TrainingHyperparameters:
    """What every method has: the widths of its network, its optimiser and its schedule."""

    hidden_dims: tuple[int, ...] = (64,)
    """Widths of the encoder's hidden layers, input side first; a decoder mirrors them."""

    latent_dim: int = 8
    """Size of the representation of a row."""

    epochs: int = 50
    """Passes over the training rows."""

    batch_size: int = 128
    """Rows in a step; the last batch of an epoch may hold fewer."""

    learning_rate: float = 1e-3
    """Step size of the optimiser."""

    optimizer: Literal["adam", "adamw"] = "adam"
    """adam takes weight decay into the gradient, as torch.optim.Adam does; adamw beside it."""

    weight_decay: float = 0.0
    """Strength of the weight decay; applies to kernels and biases alike."""

    precision: Literal["highest", "default", "bfloat16"] = "highest"
    """How matrices are multiplied. highest: in float32 on every device; default: as the device
    likes (TF32 on GPUs, bfloat16 on TPUs); bfloat16: the network in bfloat16. Weights, optimiser
    and losses are float32 with all three."""

    validation_fraction: float = 0.0
    """Share of the rows held out of training, whose loss is logged."""

    seed: int = 0
    """Decides the initial weights, the order of the rows and all noise."""

    split_seed: int = 0
    """Decides which rows are held out; apart from `seed`, so that runs of several seeds share
    them."""


@dataclass
class ViewHyperparameters(TrainingHyperparameters):
    """What methods have that corrupt rows: which views they take, in which order, and how much.

    A rate of 0 draws nothing and leaves its view out.
    """

    views: tuple[Literal["noise", "dropout", "scarf", "swap"], ...] = ("noise", "dropout")
    """Corruptions of a row, one after the other: noise adds Gaussian noise; dropout sets features
    to 0; scarf replaces each feature by that of a row of its own; swap takes all the features that
    it replaces from one other row."""

    noise_std: float = 0.0
    """Standard deviation of the Gaussian noise that is added, in standardised units."""

    drop_rate: float = 0.0
    """Share of the features set to 0."""

    corruption_rate: float = 0.6
    """Share of the features that scarf replaces by draws from their own columns."""

    swap_rate: float = 0.3
    """Share of the features that swap replaces by those of one other row."""


@dataclass
class AutoencoderHyperparameters(ViewHyperparameters):
    """Autoencoder: mean squared error of the reconstruction.

    With a view whose rate is above 0 it is a denoising autoencoder: the input is corrupted, the
    target is not.
    """


@dataclass
class VAEHyperparameters(TrainingHyperparameters):
    """Variational autoencoder: squared error + β·KL, the negative evidence lower bound."""

    epochs: int = 80

    beta: float = 1.0
    """Weight β of the KL divergence; above 1 it presses for disentangled latents (β-VAE)."""


@dataclass
class SimCLRHyperparameters(ViewHyperparameters):
    """SimCLR: two corrupted views of a row attract, views of different rows repel (NT-Xent)."""

    epochs: int = 60
    weight_decay: float = 1e-4
    noise_std: float = 0.1
    drop_rate: float = 0.1

    temperature: float = 0.5
    """Temperature τ of the softmax over cosine similarities."""

    proj_dim: int = 32
    """Size of the projection that the loss compares."""

    microbatch: int = 0
    """Rows that the network takes at a time, to save memory in large batches; the loss still
    compares all rows of a batch, and the gradients stay the same. 0 takes the batch as a whole."""


BY_METHOD: dict[str, type[TrainingHyperparameters]] = {
    "autoencoder": AutoencoderHyperparameters,
    "vae": VAEHyperparameters,
    "simclr": SimCLRHyperparameters,
}


def check(hyperparameters: TrainingHyperparameters) -> None:
    """Raises an error for the first hyperparameter that is of the wrong type or out of its range.

    Args:
        hyperparameters: of any method.

    Raises:
        ValueError: names the hyperparameter, the value, and the values it may take.

    Example:
        >>> check(VAEHyperparameters(beta=-1.0))
        Traceback (most recent call last):
        ...
        ValueError: beta is -1.0; it must be a finite number of at least 0
    """
    for field in dataclasses.fields(hyperparameters):
        value = getattr(hyperparameters, field.name)
        problem = _problem(field.name, value)
        if problem:
            raise ValueError(f"{field.name} is {value!r}; it must be {problem}")
    for field in dataclasses.fields(hyperparameters):
        value = getattr(hyperparameters, field.name)
        if field.name in unused_rates(hyperparameters) and value != field.default:
            view = next(view for view, rate in VIEWS.items() if rate == field.name)
            raise ValueError(
                f"{field.name} is {value!r}; it must be left out unless views names {view}"
            )


def unused_rates(hyperparameters: TrainingHyperparameters) -> list[str]:
    """Returns the names of the rates whose views are not chosen; nothing computes with them.

    Args:
        hyperparameters: of any method.

    Example:
        >>> unused_rates(SimCLRHyperparameters(views=("scarf",)))
        ['noise_std', 'drop_rate', 'swap_rate']
    """
    views = getattr(hyperparameters, "views", VIEWS)
    return [rate for view, rate in VIEWS.items() if view not in views]


def _problem(name: str, value: object) -> str | None:
    """Says what `value` would have to be, or None where it is just that."""
    if name in _CHOICES:
        return None if value in _CHOICES[name] else "one of " + ", ".join(_CHOICES[name])
    if name in _WHOLE:
        low, high = _WHOLE[name]
        return None if _is_whole(value, low, high) else f"a whole number from {low} to {high}"
    if name in _POSITIVE:
        return None if _is_real(value) and value > 0 else "a finite number above 0"
    if name in _NOT_NEGATIVE:
        return None if _is_real(value) and value >= 0 else "a finite number of at least 0"
    if name in _SHARE:
        return None if _is_real(value) and 0 <= value < 1 else "at least 0 and below 1"
    if name == "views":
        return None if _are_views(value) else "different names out of " + ", ".join(VIEWS)
    widths = value if isinstance(value, list | tuple) else (None,)  # hidden_dims
    fits = len(widths) <= MAX_LAYERS and all(_is_whole(width, 1, MAX_WIDTH) for width in widths)
    return None if fits else f"at most {MAX_LAYERS} whole numbers from 1 to {MAX_WIDTH}"


def _is_whole(value: object, low: int, high: int) -> bool:
    if not isinstance(value, Integral) or isinstance(value, bool):
        return False
    return low <= int(value) <= high


def _are_views(value: object) -> bool:
    names = value if isinstance(value, list | tuple) else (None,)
    known = all(isinstance(name, str) and name in VIEWS for name in names)
    return known and len(set(names)) == len(names)


def _is_real(value: object) -> TypeGuard[float]:
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # 10⁴⁰⁰, for one
        return False
