"""jaxrep and torch_ref are one design: the same names, signatures and fields, by a mapping."""

import dataclasses
import importlib
import inspect
import typing

import jax
import numpy as np
import pytest
import torch

import jaxrep.batch
import jaxrep.hyperparameters
import jaxrep.methods
import jaxrep.networks
import jaxrep.outputs
import jaxrep.views
import torch_ref.batch
import torch_ref.methods
import torch_ref.networks
import torch_ref.outputs
import torch_ref.views

CELLS = ("squared", "gaussian", "categorical", "bernoulli", "poisson")
LIKELIHOODS = ("likelihoods", *(f"likelihoods.{name}" for name in CELLS))
PURE = ("losses", "nt_xent", "optim", "views", "networks", "row_coding", *LIKELIHOODS)
METHODS = tuple(torch_ref.methods.names())
SHARED = ("_backbone", "_finetuning", "_list", "_method", "_reconstruction")
ROOM = tuple(f"methods.{name}" for name in (*SHARED, *METHODS))
MIRRORED = (*PURE, "priors", "batch", "outputs", "methods", *ROOM, "training")

# What one twin calls by another name, because the frameworks draw random numbers differently.
RENAMED = {"rngs": "generator", "key": "generator"}
# Defaults, recipes, and what labels a method learns from, are jaxrep's.
LISTED = {"hyperparameters_of", "predicting", "without_labels"}
RECIPES = {"recipe_name", "resolve"}
# What only one twin can have.
ONLY_JAX = {
    # torch_ref trains on batches that it is given, or plain ones of its own.
    "batch": {"concatenate", "empty", "zeros_like"},
    "likelihoods": {"natural_numbers"},  # of the statistics that a run begins with
    "nt_xent": {"TilePlan", "tile_plan", "devices"},  # torch's loops need no plan, and have no mesh
    "optim": {"scale_by_adam"},  # torch's own Adam is exact
    # Buffers, requires_grad and torch_ref.weights; torch.autocast casts from outside.
    "networks": {
        *("FittedRows", "FittedStatistic", "Frozen", "shapes_like"),
        *("get_model_state", "get_weights", "with_weights"),
        *("compute_in", "InitialDraws"),
    },
    "priors": {"velocity_loss"},  # of torch's a method
    # torch compiles no program that would draw bits again for every array that comes of them.
    "views": {"Deferred", "resolve", "draw_noise_and_dropout"},
    # torch_ref.weights joins the weights of members, and takes them apart.
    "methods": LISTED
    | RECIPES
    | {"abstract_network", "training_network", "members_of", "join_members", "split_members"},
    "methods._backbone": {"Backbones"},  # a range, as all ranges are jaxrep's
    "methods._list": LISTED,
    "methods._method": {"abstract_network", "members_of", "training_network"},
    "training": {
        *("Callback", "Progress", "DivergedError", "TrainState", "draw_batch", "init_state"),
        *("sweep", "Sweep", "Trained", "with_prior"),  # torch compiles no program that it could map
        *("Checkpoints", "Every", "Snapshot", "RowStore", "Devices", "mesh_of"),
    },
}
ONLY_TORCH = {
    "optim": {"Optimizer", "clipped"},  # optax has them
    "views": {"draw_noise", "draw_dropout"},
    # TorchScript takes no module for an argument: what reads the embeddings is given their tables.
    "networks": {"Tables"},
    # JAX has `terms` as an object that knows its gradient.
    "likelihoods.categorical": {"terms", "tied_terms", "tied_expectation"},
    "methods": {"file_of", "TrainingHyperparameters", "ViewHyperparameters"},
    "methods._list": {"file_of"},
    "methods._method": {"TrainingHyperparameters", "ViewHyperparameters"},
    "training": {"replay"},
}
# jaxrep's methods are trees to JAX and set its precision; torch's take values and know no defaults.
ONLY_JAX_FUNCTIONS = {"tree_flatten_with_keys", "tree_unflatten", "matmul_precision"} | {
    *("before_last", "apart"),  # a decoder's products, which torch computes as one
    *("draws", "draw"),  # of a score, over which torch has a loop
    *("fit_prior", "posterior"),  # jaxrep fits what rows are drawn from
}
OTHER_ARGUMENTS = {"make", "Method.__init__"}
OTHER_FUNCTIONS = {"Embedding", "Embeddings"}
# torch keeps state in its objects; its plain training neither validates, nor reports, nor saves.
ONLY_JAX_PARAMETERS = {
    "train_step": {"state", "steps", "spec"},
    "fit": {
        *("validation", "callbacks", "start", "weights", "checkpoints"),
        *("interrupted", "keep_interrupted", "mesh", "shard_parameters", "until"),
    },
}
ONLY_TORCH_PARAMETERS = {"train_step": {"network", "optimizer"}}


def public(package, module):
    """The functions and classes of a module that are its own; jaxrep.methods loads some late."""
    found = importlib.import_module(f"{package}.{module}")
    named = {**vars(found), **{name: getattr(found, name) for name in vars(found).get("_LAZY", ())}}
    return {
        name: value
        for name, value in named.items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__.startswith(f"{package}.{module}")
    }


def parameters(function):
    signature = inspect.signature(function)
    return [(RENAMED.get(p.name, p.name), p.kind, p.default) for p in signature.parameters.values()]


def both(module):
    """What both twins have of a module, by name."""
    ours, theirs = public("jaxrep", module), public("torch_ref", module)
    return {name: (ours[name], theirs[name]) for name in ours.keys() & theirs.keys()}


def in_both(module, is_kind):
    return {name: pair for name, pair in both(module).items() if is_kind(pair[0])}


@pytest.mark.parametrize("module", MIRRORED)
def test_both_twins_have_the_same_public_names(module):
    ours = set(public("jaxrep", module)) - ONLY_JAX.get(module, set())
    theirs = set(public("torch_ref", module)) - ONLY_TORCH.get(module, set())
    assert ours == theirs != set()


@pytest.mark.parametrize("module", [*PURE, "methods"])
def test_functions_have_equal_signatures(module):
    for name, (ours, theirs) in in_both(module, inspect.isfunction).items():
        if name not in OTHER_ARGUMENTS:
            assert parameters(ours) == parameters(theirs), name


@pytest.mark.parametrize("module", ["networks", "likelihoods", *ROOM])
def test_classes_have_the_same_functions_with_equal_signatures(module):
    for name, (ours, theirs) in in_both(module, inspect.isclass).items():
        ours_public, theirs_public = functions(ours, "jaxrep"), functions(theirs, "torch_ref")
        if dataclasses.is_dataclass(ours) or name in OTHER_FUNCTIONS:
            continue  # hyperparameters: only jaxrep's have more than fields
        assert ours_public.keys() == theirs_public.keys(), name
        for function in ours_public:
            if f"{name}.{function}" not in OTHER_ARGUMENTS:
                assert parameters(ours_public[function]) == parameters(theirs_public[function]), (
                    f"{name}.{function}"
                )


def functions(kind, package):
    """The functions that a class defines itself; `__call__` in flax is `forward` in torch."""
    spelled = {"__call__": "forward"}
    own = {name: getattr(value, "__func__", value) for name, value in vars(kind).items()}
    return {
        spelled.get(name, name): value
        for name, value in own.items()
        if inspect.isfunction(value)
        and value.__module__.startswith(package)
        and name not in ONLY_JAX_FUNCTIONS
        and (not name.startswith("_") or name in ("__init__", "__call__"))
    }


@pytest.mark.parametrize("name", ["batch.Batch", "batch.RowSpec", "views.Draws"])
def test_tuples_have_the_same_fields_and_defaults(name):
    module, _, kind = name.partition(".")
    ours, theirs = both(module)[kind]
    assert [RENAMED.get(field, field) for field in ours._fields] == list(theirs._fields)
    assert ours._field_defaults == theirs._field_defaults


def test_views_are_the_same_in_the_same_order_under_the_same_rates():
    ours, theirs = jaxrep.views.VIEWS, torch_ref.views.VIEWS
    assert [(name, view.rate) for name, view in ours.items()] == [
        (name, view.rate) for name, view in theirs.items()
    ]


def test_the_vocabulary_of_outputs_is_one():
    ours, theirs = jaxrep.outputs.OUTPUTS, torch_ref.outputs.OUTPUTS
    assert [(name, dataclasses.astuple(output)) for name, output in ours.items()] == [
        (name, dataclasses.astuple(output)) for name, output in theirs.items()
    ]


@pytest.mark.parametrize("method", METHODS)
def test_networks_of_both_twins_declare_the_same_outputs(method):
    ours, theirs = jaxrep.methods.get(method), torch_ref.methods.get(method)
    assert ours.network_type.outputs == theirs.network_type.outputs
    assert jaxrep.methods.hyperparameters_of(method).name == theirs.name


@pytest.mark.parametrize("package", [jaxrep.networks, torch_ref.networks])
@pytest.mark.parametrize(
    ("outputs", "functions", "reason"),
    [
        (("embed", "score", "guess"), ("embed", "score"), "declares the output guess; there are"),
        (("embed", "score"), ("embed",), "declares the output score and has no method of that"),
        (("embed",), ("embed",), "must declare the output score"),
    ],
)
def test_a_network_declares_only_outputs_that_exist(package, outputs, functions, reason):
    body = {"outputs": outputs} | dict.fromkeys(functions, lambda self, batch: batch)
    with pytest.raises(TypeError, match=reason):
        type(package.Network)("Wrong", (package.Network,), body)


def test_training_functions_have_equal_signatures_but_for_what_one_twin_alone_can_have():
    common = in_both("training", inspect.isfunction)
    assert set(common) == {"train_step", "fit"}
    for name, (ours, theirs) in common.items():
        left = [p for p in parameters(ours) if p[0] not in ONLY_JAX_PARAMETERS[name]]
        only_torch = ONLY_TORCH_PARAMETERS.get(name, set())
        assert left == [p for p in parameters(theirs) if p[0] not in only_torch], name


@pytest.mark.parametrize("method", METHODS)
def test_hyperparameters_have_the_same_names_and_types_and_defaults_in_jaxrep_alone(method):
    ours = jaxrep.methods.hyperparameters_of(method)
    theirs = torch_ref.methods.get(method).hyperparameters_type
    types = [typing.get_type_hints(kind) for kind in (ours, theirs)]
    for hints in types:
        hints.pop("views", None)  # jaxrep names those that there are
        if "backbone" in hints:  # a class of each twin's own
            assert hints.pop("backbone").__name__ == "Backbone"
    assert [(f.name, types[0].get(f.name)) for f in dataclasses.fields(ours)] == [
        (f.name, types[1].get(f.name)) for f in dataclasses.fields(theirs)
    ]
    assert all(f.default is dataclasses.MISSING for f in dataclasses.fields(theirs))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("change", "name"), [({"temprature": 1.0}, "temprature"), ({"epochs": None}, "epochs")]
)
def test_a_value_that_is_missing_or_unknown_is_named(method, change, name):
    values = dataclasses.asdict(jaxrep.methods.hyperparameters_of(method)()) | change
    given = {key: value for key, value in values.items() if value is not None}
    with pytest.raises(TypeError, match=name):
        torch_ref.methods.get(method)(**given)


RATES = (
    {},
    {"noise_std": 0.3, "drop_rate": 0.2},
    {"views": ("scarf",)},
    {"views": ("swap", "noise"), "noise_std": 0.3},
    {"views": ("hide", "dropout"), "drop_rate": 0.2},
)


@pytest.mark.parametrize(
    ("method", "rates"),
    [
        ("vae", {}),
        *(("autoencoder", rates) for rates in RATES),
        *(("simclr", rates) for rates in RATES),
        ("simclr", {"clean_anchor": True}),
    ],
    ids=str,
)
@pytest.mark.parametrize("codes", [None, np.ones((5, 2), np.int32)], ids=["numbers", "codes"])
def test_noise_has_the_same_names_shapes_and_dtypes(method, rates, codes):
    hyperparameters = jaxrep.methods.hyperparameters_of(method)(**rates)
    ours = jaxrep.methods.make(hyperparameters)
    theirs = torch_ref.methods.get(method)(**dataclasses.asdict(hyperparameters))
    x = np.ones((5, 3), np.float32)
    batch = jax.tree.map(jax.numpy.asarray, jaxrep.batch.Batch(x, codes))
    tensors = None if codes is None else torch.from_numpy(codes)
    rows = torch_ref.batch.Batch(torch.from_numpy(x), tensors)
    drawn = jaxrep.views.resolve(ours.noise(jaxrep.views.Draws(jax.random.key(0), batch), batch))
    other = theirs.noise(torch_ref.views.Draws(torch.Generator(), rows), rows)
    assert {k: (v.shape, v.dtype) for k, v in drawn.items()} == {
        k: (tuple(v.shape), v.numpy().dtype) for k, v in other.items()
    }
