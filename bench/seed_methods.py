"""The methods as the seed sets them: what the benchmarks train."""

from typing import Any

from jaxrep import methods
from jaxrep.hyperparameters import TrainingHyperparameters, resolve
from jaxrep.methods import AnyMethod


def seed_hyperparameters(name: str, **settings: Any) -> TrainingHyperparameters:
    """Returns the hyperparameters of the recipe `seed`.

    Args:
        name: of the method.
        **settings: what differs from the recipe.

    Example:
        >>> seed_hyperparameters("vae", seed=3).epochs
        80
    """
    return resolve(methods.hyperparameters_of(name), "seed", settings)


def seed_method(name: str, **settings: Any) -> AnyMethod:
    """Returns the method with the `seed_hyperparameters`; arguments as there."""
    return methods.make(seed_hyperparameters(name, **settings))
