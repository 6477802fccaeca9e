"""Recipes: what is given wins over the recipe, which wins over the default."""

import dataclasses

import pytest

from jaxrep import methods
from jaxrep.errors import InputError
from jaxrep.hyperparameters import (
    Number,
    Recipe,
    TrainingHyperparameters,
    check,
    hyperparameter,
    hyperparameters,
)
from jaxrep.methods import AutoencoderHyperparameters as Autoencoder
from jaxrep.methods import SimCLRHyperparameters, recipe_name, resolve

RECIPES = [
    (name, recipe)
    for name in methods.names()
    for recipe in methods.hyperparameters_of(name).recipes
]


@hyperparameters(
    name="mine",
    title="Mine",
    recipes={
        "wide": Recipe("wide.", {"hidden_dims": (512,), "margin": 2.0}),
        "long": Recipe("long.", {"epochs": 900}),
        "narrow": Recipe("narrow.", {"margin": 1.0, "schedule": "warmup_cosine"}),
    },
)
class Mine(TrainingHyperparameters):
    margin: float = hyperparameter(
        Number(above=0), default=1.0, kind="traced", help="Margin of the loss."
    )


@pytest.mark.parametrize(("name", "recipe"), RECIPES)
def test_every_recipe_says_what_it_is_for_and_can_be_trained(name, recipe):
    kind = methods.hyperparameters_of(name)
    assert kind.recipes[recipe].help.endswith(".")
    check(resolve(kind, recipe))
    assert resolve(kind) == kind() == resolve(kind, recipe_name(kind, None))


def test_filling_is_an_autoencoder_that_hides_cells():
    seed = dataclasses.asdict(resolve(Autoencoder, "seed"))
    assert dataclasses.asdict(resolve(Autoencoder, "filling")) == seed | {
        "views": ("hide",),
        "hide_rate": 0.35,
        "hidden_dims": (256, 256),
        "latent_dim": 64,
        "steps": 6000,
        "schedule": "cosine",
    }


def test_what_is_given_wins_over_the_recipe_and_that_over_the_default():
    assert resolve(Autoencoder, "filling").latent_dim == 64
    given = {"latent_dim": 16, "batch_size": 32}
    made = resolve(Autoencoder, "filling", given)
    assert (made.latent_dim, made.batch_size, made.hide_rate) == (16, 32, 0.35)
    usual = Autoencoder()
    given = {"latent_dim": usual.latent_dim, "hide_rate": usual.hide_rate}  # even the default
    made = resolve(Autoencoder, "filling", given)
    assert (made.latent_dim, made.hide_rate, made.hidden_dims) == (8, 0.2, (256, 256))


def test_a_recipe_wins_over_the_defaults_of_a_command():
    defaults = {"validation_fraction": 0.1, "schedule": "constant"}
    made = resolve(Autoencoder, "filling", defaults=defaults)
    assert (made.validation_fraction, made.schedule) == (0.1, "cosine")
    made = resolve(Autoencoder, "filling", {"validation_fraction": 0.0}, defaults=defaults)
    assert made.validation_fraction == 0.0


def test_a_value_of_the_recipe_that_nothing_computes_with_is_set_aside():
    made = resolve(Autoencoder, "filling", {"views": ("noise",), "noise_std": 0.1})
    assert made.hide_rate == Autoencoder().hide_rate
    with pytest.raises(InputError, match=r"hide_rate is 0.35; it must be left out unless views"):
        resolve(Autoencoder, "filling", {"views": ("noise",), "hide_rate": 0.35})


def test_epochs_that_are_given_are_trained_in_the_place_of_the_recipes_steps():
    made = resolve(Autoencoder, "filling", {"epochs": 50})
    assert (made.epochs, made.steps) == (50, 0)
    assert resolve(Autoencoder, "filling", {"steps": 10}).steps == 10
    with pytest.raises(InputError, match="epochs is 3; it must be left out unless steps is 0"):
        resolve(Autoencoder, "filling", {"epochs": 3, "steps": 10})


@pytest.mark.parametrize("function", [recipe_name, resolve])
def test_an_unknown_recipe_is_refused_with_those_that_there_are(function):
    message = "recipe 'fill': there is none of that name for autoencoder; there are seed, filling"
    with pytest.raises(InputError, match=message):
        function(Autoencoder, "fill")
    with pytest.raises(InputError, match=r"for simclr; there are seed, anomalies$"):
        function(SimCLRHyperparameters, "filling")


@pytest.mark.parametrize("value", [0, "8", -1.0, None])
def test_a_value_out_of_its_range_is_refused(value):
    with pytest.raises(InputError, match=r"^latent_dim is .*; it must be a whole number"):
        resolve(Autoencoder, "filling", {"latent_dim": value})
    with pytest.raises(InputError, match=r"^views is .*; it must be different names"):
        resolve(Autoencoder, "filling", {"views": value})  # which `unused` could not read


def test_what_the_first_recipe_sets_is_no_default_of_the_others():
    assert (Mine().hidden_dims, Mine().margin) == ((512,), 2.0)
    assert resolve(Mine) == resolve(Mine, "wide") == Mine()
    assert resolve(Mine, "long") == Mine(hidden_dims=(64,), margin=1.0, epochs=900)
    assert resolve(Mine, "narrow").margin == 1.0


@pytest.mark.parametrize(
    "recipes",
    [{}, {"seed": Recipe("", {})}, {"seed": Recipe("The seed's.", {}), "x": Recipe(" ", {})}],
)
def test_a_method_has_a_recipe_and_each_recipe_a_help(recipes):
    with pytest.raises(TypeError, match="Bare needs recipes, one at least, each with its help"):

        @hyperparameters(name="bare", title="Bare", recipes=recipes)
        class Bare(TrainingHyperparameters):
            pass
