"""jaxrep and torch_ref are one design: the same names, signatures and defaults, by a mapping."""

import dataclasses
import importlib
import inspect

import pytest

import jaxrep.hyperparameters
import torch_ref.hyperparameters

PURE = ("losses", "nt_xent", "augment", "optim")
MIRRORED = (*PURE, "views", "hyperparameters", "models", "methods", "training")

# What one twin calls by another name, because the frameworks draw random numbers differently.
RENAMED = {"rngs": "generator", "key": "generator"}
# What only one twin can have.
ONLY_JAX = {
    "nt_xent": {"Schedule", "schedule", "devices"},  # torch's loops need no plan, and have no mesh
    "optim": {"scale_by_adam"},  # torch's own Adam is exact
    # Buffers and torch_ref.weights; torch.autocast casts from outside.
    "models": {"FittedStatistic", "get_weights", "with_weights", "compute_in"},
    # torch compiles no program that a rate of 0 could shape, or that would draw a word twice.
    "views": {"is_off", "draw_words", "noise_of"},
    "methods": {"abstract_model", "training_model"},
    "training": {
        *("Progress", "DivergedError", "TrainState", "draw_batch", "init_state"),
        *("sweep", "Sweep", "Member"),  # torch compiles no program that it could map
        *("Checkpoints", "Every", "Snapshot", "RowStore", "Devices", "mesh_of"),
    },
}
ONLY_TORCH = {"training": {"replay"}}
# torch keeps state in its objects; its plain training neither validates, nor reports, nor saves.
ONLY_JAX_PARAMETERS = {
    "train_step": {"state"},
    "fit": {
        *("validation", "on_epoch", "on_progress", "start", "weights", "checkpoints"),
        *("interrupted", "mesh", "shard_parameters"),
    },
}
ONLY_TORCH_PARAMETERS = {"train_step": {"model", "optimizer"}}


def public(package: str, module: str) -> dict[str, object]:
    found = importlib.import_module(f"{package}.{module}")
    return {
        name: value
        for name, value in vars(found).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__.startswith(f"{package}.{module}")
    }


def parameters(function: object) -> list[tuple[str, object, object]]:
    signature = inspect.signature(function)
    return [(RENAMED.get(p.name, p.name), p.kind, p.default) for p in signature.parameters.values()]


@pytest.mark.parametrize("module", MIRRORED)
def test_both_twins_have_the_same_public_names(module):
    ours = set(public("jaxrep", module)) - ONLY_JAX.get(module, set())
    theirs = set(public("torch_ref", module)) - ONLY_TORCH.get(module, set())
    assert ours == theirs


@pytest.mark.parametrize("module", [*PURE, "views"])
def test_pure_functions_have_equal_signatures(module):
    ours, theirs = public("jaxrep", module), public("torch_ref", module)
    for name in set(ours) & set(theirs):
        assert parameters(ours[name]) == parameters(theirs[name]), name


@pytest.mark.parametrize("module", ["models", "methods"])
def test_classes_have_the_same_functions_with_equal_signatures(module):
    ours, theirs = public("jaxrep", module), public("torch_ref", module)
    for name in set(ours) & set(theirs):
        ours_public = functions(ours[name], f"jaxrep.{module}")
        theirs_public = functions(theirs[name], f"torch_ref.{module}")
        assert ours_public.keys() == theirs_public.keys(), name
        for function in ours_public:
            assert parameters(ours_public[function]) == parameters(theirs_public[function]), (
                f"{name}.{function}"
            )


def test_training_functions_have_equal_signatures_but_for_what_one_twin_alone_can_have():
    ours, theirs = public("jaxrep", "training"), public("torch_ref", "training")
    common = [name for name in set(ours) & set(theirs) if inspect.isfunction(ours[name])]
    assert set(common) == {"train_step", "fit"}
    for name in common:
        left = [p for p in parameters(ours[name]) if p[0] not in ONLY_JAX_PARAMETERS[name]]
        only_torch = ONLY_TORCH_PARAMETERS.get(name, set())
        assert left == [p for p in parameters(theirs[name]) if p[0] not in only_torch], name


def functions(kind: type, module: str) -> dict[str, object]:
    """The functions that a class defines itself; `__call__` in flax is `forward` in torch."""
    spelled = {"__call__": "forward"}
    jax_only = {"tree_flatten_with_keys", "tree_unflatten", "__init_subclass__", "matmul_precision"}
    jax_only |= {"draw_words", "noise_of"}
    return {
        spelled.get(name, name): value
        for name, value in vars(kind).items()
        if inspect.isfunction(value)
        and value.__module__ == module
        and name not in jax_only
        and (not name.startswith("_") or name in ("__init__", "__call__"))
    }


@pytest.mark.parametrize("method", list(jaxrep.hyperparameters.BY_METHOD))
def test_hyperparameters_have_the_same_names_types_and_defaults(method):
    def fields(module):
        kind = module.BY_METHOD[method]
        return [(f.name, f.type, f.default) for f in dataclasses.fields(kind)]

    assert fields(jaxrep.hyperparameters) == fields(torch_ref.hyperparameters)


def test_hyperparameters_have_the_same_text():
    texts = [inspect.getsource(m) for m in (jaxrep.hyperparameters, torch_ref.hyperparameters)]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("method", list(jaxrep.hyperparameters.BY_METHOD))
@pytest.mark.parametrize(
    "rates",
    [{}, {"noise_std": 0.3, "drop_rate": 0.2}, {"views": ("scarf",)}, {"views": ("swap", "noise")}],
    ids=str,
)
def test_noise_has_the_same_names_shapes_and_dtypes(method, rates):
    import jax
    import numpy as np
    import torch

    import jaxrep.methods
    import torch_ref.methods

    if rates and method == "vae":
        pytest.skip("a VAE corrupts no input")
    ours = jaxrep.methods.METHODS[method](jaxrep.hyperparameters.BY_METHOD[method](**rates))
    theirs = torch_ref.methods.METHODS[method](torch_ref.hyperparameters.BY_METHOD[method](**rates))
    x = np.ones((5, 3), np.float32)
    tensor = torch.from_numpy(x)
    drawn = ours.draw_noise(jax.random.key(0), jax.numpy.asarray(x), jax.numpy.asarray(x))
    other = theirs.draw_noise(torch.Generator(), tensor, tensor)
    assert {k: (v.shape, v.dtype) for k, v in drawn.items()} == {
        k: (tuple(v.shape), v.numpy().dtype) for k, v in other.items()
    }
