"""Hyperparameters: what a field must declare, what is refused, and that each of them counts."""

import dataclasses
import functools

import jax
import pytest

from jaxrep import methods
from jaxrep.batch import Batch
from jaxrep.hyperparameters import (
    Flag,
    Names,
    Number,
    OneOf,
    Recipe,
    TrainingHyperparameters,
    Whole,
    Widths,
    check,
    declaration,
    hyperparameter,
    hyperparameters,
)
from jaxrep.methods import (
    AutoencoderHyperparameters,
    Backbone,
    SimCLRHyperparameters,
    VAEHyperparameters,
    resolve,
)
from jaxrep.methods._backbone import Backbones
from jaxrep.training import fit, init_state
from jaxrep.training.program import abstract_state
from tests.helpers.small import (
    MIXED,
    MIXED_X,
    SPEC,
    X,
    compiled_draw,
    compiled_step,
    labelled,
    make,
)

# For every hyperparameter of every method another value than its default, and what else it takes
# to see the difference: weight decay shows once weights have moved, its kind only with it.
OTHER_VALUES = {
    "hidden_dims": (4, 4),
    "latent_dim": 2,
    "epochs": 3,
    "steps": 7,
    "batch_size": 6,
    "learning_rate": 3e-3,
    "optimizer": "adamw",
    "precision": "bfloat16",
    "weight_decay": 0.3,
    "schedule": "warmup_cosine",
    "warmup_fraction": 0.5,
    "clip_norm": 1e-3,
    "beta2": 0.9,
    "validation_fraction": 0.25,
    "calibration_fraction": 0.25,
    "patience": 1,
    "seed": 1,
    "split_seed": 1,
    "members": 2,
    "noise_std": 0.7,
    "drop_rate": 0.6,
    "views": ("swap",),
    "corruption_rate": 0.2,
    "swap_rate": 0.7,
    "beta": 4.0,
    "total_correlation": 3.0,
    "temperature": 0.2,
    "proj_dim": 7,
    "clean_anchor": True,
    "draw_missing": True,
    "microbatch": 4,
    "backbone": Backbone.of(AutoencoderHyperparameters(hidden_dims=(4, 4), latent_dim=2)),
    "head_dims": (4,),
    "frozen": False,
    "backbone_learning_rate": 3e-3,
    "l2": 0.5,
    "classes": 3,
    "label_smoothing": 0.2,
    "other_rate": 0.5,
    "hide_rate": 0.5,
    "likelihood": "by_kind",
    "anomaly_score": "neighbours",
    "prior": "mixture",
    "initial_weights": "he",
    "class_weight": "balanced",
}
# The rates of views that are not taken by default count where they are, and so for schedules.
WITH = {
    "corruption_rate": {"views": ("scarf",)},
    "swap_rate": {"views": ("swap",)},
    "hide_rate": {"views": ("hide",)},
    "warmup_fraction": {"schedule": "warmup_cosine"},
    "epochs": {"steps": 0},
    "backbone_learning_rate": {"frozen": False},
    # Numbers alone have no categories that could be other.
    "other_rate": {"other_rate": 0.01},
    # Nor are some of their cells missing.
    "draw_missing": {"other_rate": 0.01},
}
# What follows from another hyperparameter, whatever is given, or stays as it is.
FOLLOWING = {"hidden_dims", "latent_dim", "calibration_fraction"}
FIELDS = [
    (name, field)
    for name in methods.names()
    for field in dataclasses.fields(methods.hyperparameters_of(name))
    if not (declaration(field).is_derived and field.name in FOLLOWING)
]
KNOBS = [
    (name, field.name)
    for name, field in FIELDS
    # A microbatch changes no parameter, but memory: tests/functions/test_nt_xent.py. Members train
    # as one would, several of them: tests/training/test_members.py. A likelihood is that of rows,
    # as their RowSpec has it: tests/estimators/test_kinds_of_input.py. A score is computed when
    # training is over: tests/methods/test_anomaly_scores.py, and so is a prior: tests/priors.
    if declaration(field).kind not in ("host", "rows")
    and field.name not in ("microbatch", "members", "likelihood", "anomaly_score", "prior")
]


# Each of these takes a program of its own. They mean the same for every method that has them, so
# that one stands for the others: the VAE for the engine's, SimCLR for those of views.
ONE_FOR_ALL = dict.fromkeys(
    ("optimizer", "precision", "schedule", "warmup_fraction", "clip_norm", "beta2"), "vae"
) | dict.fromkeys(("views", "drop_rate", "corruption_rate", "swap_rate", "hide_rate"), "simclr")


def with_it(name, knob):
    """The settings beside which a hyperparameter counts, of those that the method has."""
    known = {field.name for field in dataclasses.fields(methods.hyperparameters_of(name))}
    return {key: value for key, value in WITH.get(knob, {}).items() if key in known}


@functools.cache
def trained(name, **settings):
    return fit(make(name, **settings), X).weights


def after_steps(name, **settings):
    """The parameters after three steps: Adam's first goes by the signs of the gradient alone."""
    method = make(name, **settings)
    spec, rows = (MIXED, MIXED_X) if "other_rate" in settings else (SPEC, Batch(X))
    state, x = init_state(method, spec, 0), rows._replace(targets=labelled(method).targets)
    for i in range(3):
        drawn = compiled_draw(method, 0, x, rows, i)
        state, _ = compiled_step(method, state, *drawn, spec=spec, steps=9)
    return state.params


def shapes(name, **settings):
    spec = MIXED if "other_rate" in settings else SPEC
    params = abstract_state(make(name, **settings), spec).params
    return {key: array.shape for key, array in params.items()}


@pytest.mark.parametrize(
    ("method", "knob"),
    [
        pytest.param(
            method, knob, marks=[pytest.mark.slow] * (ONE_FOR_ALL.get(knob, method) != method)
        )
        for method, knob in KNOBS
    ],
)
def test_every_hyperparameter_changes_the_shapes_or_the_numbers_of_what_is_trained(method, knob):
    settings = {"epochs": 1, "weight_decay": 0.1} | with_it(method, knob)
    changed = settings | {knob: OTHER_VALUES[knob]}
    if shapes(method, **settings) == shapes(method, **changed):
        one, other = after_steps(method, **settings), after_steps(method, **changed)
        assert any((one[name] != other[name]).any() for name in one)


@pytest.mark.parametrize("knob", ["epochs", "batch_size", "seed"])
def test_what_the_host_alone_reads_changes_a_training(knob):
    one, other = trained("vae"), trained("vae", **{knob: OTHER_VALUES[knob]})
    assert any((one[name] != other[name]).any() for name in one)


@pytest.mark.parametrize(("method", "field"), FIELDS)
def test_every_hyperparameter_has_a_range_a_kind_and_a_help(method, field):
    told = declaration(field)
    assert isinstance(told.range, Whole | Number | Flag | OneOf | Widths | Names | Backbones)
    assert told.kind in ("traced", "shaping", "host", "rows")
    assert told.help.endswith(".") and len(told.help) > 10
    assert told.range.problem(field.default) is None
    # What is traced is a number; what shapes or the host reads may be all else. The logarithm of β₂
    # is taken in float64, on the host.
    is_number = isinstance(told.range, Number)
    assert (
        (told.kind == "traced") == is_number
        or told.kind in ("host", "rows")
        or field.name == "beta2"
    )


def test_the_kind_of_a_field_is_where_its_value_goes():
    for name, field in FIELDS:
        kind = declaration(field).kind
        settings = with_it(name, field.name)
        one = make(name, **settings | {"weight_decay": 0.1})
        hp = dataclasses.replace(one.hyperparameters, **{field.name: OTHER_VALUES[field.name]})
        other = type(one)(hp)
        leaves = {key[0].name for key, _ in jax.tree.leaves_with_path(other)}
        same_structure = jax.tree.structure(one) == jax.tree.structure(other)
        assert (field.name in leaves) == (kind == "traced"), (name, field.name)
        if field.name not in (
            "noise_std",
            "drop_rate",
            "clip_norm",
            "label_smoothing",
            "total_correlation",
        ):  # from 0, which is not a leaf, to a leaf
            assert same_structure == (kind != "shaping"), (name, field.name)


@pytest.mark.parametrize("name", methods.names())
def test_check_knows_a_range_for_every_hyperparameter(name):
    impossible = {
        **{"hidden_dims": (0,), "head_dims": (0,)},
        **{"optimizer": "sgd", "precision": "double", "likelihood": "laplace"},
    }
    kind = methods.hyperparameters_of(name)
    for field in (field for method, field in FIELDS if method == name):
        plain = kind(**with_it(name, field.name))
        check(dataclasses.replace(plain, **{field.name: OTHER_VALUES[field.name]}))
        for value in (impossible.get(field.name, -1), float("nan"), "1", None):
            wrong = dataclasses.replace(plain, **{field.name: value})
            with pytest.raises(ValueError, match=f"^{field.name} is "):
                check(wrong)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0.0),
        ("drop_rate", 1.0),
        ("latent_dim", 0),
        ("latent_dim", 2.5),
        ("epochs", True),
        ("clean_anchor", 1),
        ("learning_rate", 10**400),
        ("seed", 2**32),
        ("split_seed", 2**32),
        ("hidden_dims", (1 << 21,)),
        ("hidden_dims", (8,) * 65),
    ],
)
def test_check_refuses_values_at_the_edge(name, value):
    with pytest.raises(ValueError, match=f"^{name} is .*; it must be "):
        check(SimCLRHyperparameters(**{name: value}))


def test_hyperparameters_of_the_seed_are_the_defaults():
    assert AutoencoderHyperparameters() == AutoencoderHyperparameters(
        hidden_dims=(64,), latent_dim=8, epochs=50, batch_size=128, learning_rate=1e-3
    )
    assert resolve(VAEHyperparameters, "seed") == VAEHyperparameters(
        **{"hidden_dims": (64,), "latent_dim": 8, "epochs": 80, "steps": 0, "beta": 1.0},
        **{
            "schedule": "constant",
            "likelihood": "squared",
            "prior": "normal",
            "draw_missing": False,
            "initial_weights": "pytorch",
        },
    )
    assert SimCLRHyperparameters() == SimCLRHyperparameters(
        epochs=60, weight_decay=1e-4, temperature=0.5, proj_dim=32, noise_std=0.1, drop_rate=0.1
    )
    for name in methods.names():
        kind = methods.hyperparameters_of(name)
        assert kind() == kind(**next(iter(kind.recipes.values())).values)


field_of = functools.partial(
    hyperparameter, Number(above=0), default=1.0, kind="traced", help="Margin."
)


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        ({"range": None}, "None is not a range; it must have a method `problem`"),
        ({"range": (0, 1)}, r"\(0, 1\) is not a range"),
        ({"kind": None}, "kind is None; it must be traced, shaping, host or rows"),
        ({"kind": "static"}, "kind is 'static'"),
        ({"help": None}, "help is empty; say what the hyperparameter means"),
        ({"help": " "}, "help is empty"),
    ],
)
def test_a_field_without_a_range_a_kind_or_a_help_fails_where_its_class_is_defined(
    left_out, message
):
    declared = {"range": Number(above=0), "default": 1.0, "kind": "traced", "help": "Margin."}
    with pytest.raises(TypeError, match=message):

        @hyperparameters(name="mine", title="Mine")
        class Mine(TrainingHyperparameters):
            margin: float = hyperparameter(**declared | left_out)


@pytest.mark.parametrize("missing", ["range", "kind", "help"])
def test_a_field_that_leaves_one_of_them_out_fails_as_well(missing):
    declared = {"range": Number(above=0), "kind": "traced", "help": "Margin."}
    del declared[missing]
    with pytest.raises(TypeError, match=missing):
        hyperparameter(default=1.0, **declared)


@pytest.mark.parametrize("default", [3, dataclasses.field(default=3)], ids=["plain", "a field"])
def test_a_plain_field_fails_where_its_class_is_defined(default):
    with pytest.raises(TypeError, match=r"Mine.x has no range, kind and help; make it by `hyperp"):

        @hyperparameters(name="mine", title="Mine")
        class Mine(TrainingHyperparameters):
            x: int = default


@pytest.mark.parametrize(
    ("recipes", "message"),
    [
        ({"seed": {"epoch": 3}}, "recipe seed of Mine: .*unexpected keyword argument 'epoch'"),
        ({"seed": {"epochs": -1}}, "recipe seed of Mine: epochs is -1; it must be a whole number"),
        ({"seed": {}, "wide": {"margin": -1.0}}, "recipe wide of Mine: margin is -1.0; it must be"),
        ({"seed": {"margin": -1.0}}, "recipe seed of Mine: margin is -1.0"),
    ],
)
def test_a_recipe_of_an_unknown_name_or_a_value_out_of_range_fails(recipes, message):
    recipes = {name: Recipe("for a test.", values) for name, values in recipes.items()}
    with pytest.raises(TypeError, match=message):

        @hyperparameters(name="mine", title="Mine", recipes=recipes)
        class Mine(TrainingHyperparameters):
            margin: float = field_of()


def test_the_first_recipe_gives_the_defaults_and_changes_no_other_class():
    recipes = {
        "wide": Recipe("wide.", {"epochs": 7, "margin": 2.0}),
        "seed": Recipe("the defaults.", {}),
    }

    @hyperparameters(name="mine", title="Mine", recipes=recipes, changes_loss=("batch_size",))
    class Mine(TrainingHyperparameters):
        margin: float = field_of()

    assert (Mine().epochs, Mine().margin, Mine.name, Mine.title) == (7, 2.0, "mine", "Mine")
    assert TrainingHyperparameters().epochs == 50
    told = {field.name: declaration(field) for field in dataclasses.fields(Mine)}
    assert told["batch_size"].changes_loss and not told["epochs"].changes_loss
    shared = {field.name: declaration(field) for field in dataclasses.fields(VAEHyperparameters)}
    assert not shared["batch_size"].changes_loss
