"""The methods as the seed sets them: what the benchmarks train."""

from typing import Any

from jaxrep import methods
from jaxrep.hyperparameters import TrainingHyperparameters
from jaxrep.methods import AnyMethod

RECIPE = "seed"


def names() -> list[str]:
    """Returns the methods that have the recipe, and learn from a table alone.

    Example:
        >>> names()
        ['autoencoder', 'vae', 'simclr']
    """
    kinds = {name: methods.hyperparameters_of(name) for name in methods.without_labels()}
    return [name for name, kind in kinds.items() if RECIPE in kind.recipes]


def seed_hyperparameters(name: str, **settings: Any) -> TrainingHyperparameters:
    """Returns the hyperparameters of the recipe `seed`.

    Args:
        name: of the method.
        **settings: what differs from the recipe.

    Example:
        >>> seed_hyperparameters("vae", seed=3).epochs
        80
    """
    return methods.resolve(methods.hyperparameters_of(name), RECIPE, settings)


def seed_method(name: str, **settings: Any) -> AnyMethod:
    """Returns the method with the `seed_hyperparameters`; arguments as there."""
    return methods.make(seed_hyperparameters(name, **settings))
