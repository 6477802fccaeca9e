"""Recipes: from a recipe's name and what is given by hand to all hyperparameters of a method."""

from collections.abc import Mapping
from typing import Any, TypeVar

from jaxrep.errors import InputError
from jaxrep.hyperparameters import (
    TrainingHyperparameters,
    check,
    check_ranges,
    without_unused,
)

Made = TypeVar("Made", bound=TrainingHyperparameters)


def recipe_name(kind: type[TrainingHyperparameters], asked: str | None) -> str:
    """Returns the name of a method's recipe.

    Args:
        kind: the class of the method's hyperparameters.
        asked: the name; None stands for the first recipe, which gives the defaults.

    Raises:
        InputError: the method has no such recipe.

    Example:
        >>> from jaxrep.methods import VAEHyperparameters
        >>> recipe_name(VAEHyperparameters, None)
        'generation'
    """
    if asked is None:
        return next(iter(kind.recipes))
    if asked not in kind.recipes:
        raise InputError(
            f"recipe {asked!r:.40}: there is none of that name for {kind.name}; there are "
            f"{', '.join(kind.recipes)}"
        )
    return asked


def resolve(
    kind: type[Made],
    recipe: str | None = None,
    given: Mapping[str, Any] = {},
    *,
    defaults: Mapping[str, Any] = {},
) -> Made:
    """Returns the hyperparameters of a recipe, but for those that are given, checked.

    A value of the recipe that nothing computes with beside what is given is set aside: the rate of
    a view that is not taken, or the steps where epochs are given.

    Args:
        kind: the class of the method's hyperparameters.
        recipe: its name; None stands for the first one.
        given: hyperparameters by name, which win over the recipe.
        defaults: hyperparameters by name, over which the recipe wins.

    Raises:
        InputError: the method has no such recipe, or a value is out of its range.

    Example:
        >>> from jaxrep.methods import AutoencoderHyperparameters
        >>> filling = resolve(AutoencoderHyperparameters, "filling", {"latent_dim": 8})
        >>> filling.hide_rate, filling.latent_dim
        (0.35, 8)
    """
    values = {**defaults, **kind.recipes[recipe_name(kind, recipe)].values}
    if "epochs" in given:  # the other way to say how long to train
        values["steps"] = 0
    left = {name: value for name, value in values.items() if name not in given}
    try:
        check_ranges(kind(**left, **given))
        made: Made = without_unused(kind, left, given)
        check(made)
    except ValueError as error:
        raise InputError(str(error)) from error
    return made
