"""What accelerators would run: programs lowered for them, and the precision of their products."""

import functools
import re

import jax
import numpy as np
import pytest
import torch

import torch_ref.batch
import torch_ref.training
import torch_ref.weights
from jaxrep import inference
from jaxrep.batch import Batch
from jaxrep.inference import map_rows
from jaxrep.methods import abstract_network, names
from jaxrep.networks import get_weights
from jaxrep.training import Devices, fit, init_state, members, program
from tests.helpers import small
from tests.helpers.small import (
    BATCH,
    FEATURES,
    SPEC,
    X,
    compiled_draw,
    compiled_step,
    labelled,
    one_of_all,
)
from tests.helpers.twins import twin_of

CHUNK = 4
SHAPE = {"spec": SPEC, "batch_size": BATCH, "devices": Devices()}
PLATFORMS = ("cuda", "tpu")
PRECISIONS = ("highest", "default", "bfloat16")
# Noise, NT-Xent's rare case and weight decay: with everything that a program can hold.
FULL = {
    "autoencoder": {"noise_std": 0.1, "drop_rate": 0.1, "weight_decay": 0.1},
    "vae": {"weight_decay": 0.1},
    "simclr": {},
}


def make(name, **settings):
    return small.make(name, **FULL.get(name, {}) | settings)


def training_program(method):
    """The function and arguments of a chunk of steps."""
    state = init_state(method, SPEC, 0)
    steps = functools.partial(program.run_steps, **SHAPE, chunk=CHUNK)
    return steps, (method, np.uint32(0), state, labelled(method), Batch(X), 0, CHUNK)


def sweep_program(method):
    state = jax.tree.map(lambda a: np.zeros((2, *a.shape), a.dtype), init_state(method, SPEC, 0))
    steps = functools.partial(members.run_members, **SHAPE, chunk=CHUNK)
    return steps, (
        members.stack([method, method]),
        np.zeros(2, np.uint32),
        state,
        labelled(method),
        Batch(X),
        0,
        CHUNK,
    )


def validation_program(method):
    params = init_state(method, SPEC, 0).weights
    loss = functools.partial(program.validation_loss, **SHAPE)
    return loss, (method, 0, params, labelled(method))


def inference_program(method):
    shapes = get_weights(abstract_network(method, SPEC))
    weights = {name: np.zeros(array.shape, array.dtype) for name, array in shapes.items()}
    return functools.partial(inference._apply, output="score", part=0, rows=SPEC), (
        method,
        weights,
        Batch(X),
        (),
    )


def lowered(make_program, method, platforms):
    function, arguments = make_program(method)
    leaves, tree = jax.tree.flatten(arguments)  # what is exported takes arrays alone
    flat = jax.jit(lambda *leaves: function(*jax.tree.unflatten(tree, leaves)))
    return jax.export.export(flat, platforms=platforms)(*leaves)


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize(
    "make_program", [training_program, sweep_program, validation_program, inference_program]
)
def test_programs_lower_for_accelerators_without_host_callbacks_or_float64(make_program, name):
    exported = lowered(make_program, make(name), PLATFORMS)
    assert exported.platforms == PLATFORMS
    text = exported.mlir_module()
    assert "stablehlo.dot_general" in text
    assert not (float64(text) or to_the_host(text))


def float64(text):
    return re.findall(r"\bf64\b|xf64>", text)


def to_the_host(text):
    return re.findall(
        r"stablehlo\.(?:infeed|outfeed|send|recv)\b|custom_call @\w*callback\w*", text
    )


def test_the_search_sees_callbacks_and_float64():
    def with_callback(x):
        jax.debug.callback(lambda x: None, x)
        return x

    with jax.enable_x64(True):
        text = jax.jit(with_callback).lower(np.ones(2)).as_text()
    assert float64(text) and to_the_host(text)


def products(method):
    """Of every matrix product of a training program, its line."""
    text = lowered(training_program, method, PLATFORMS).mlir_module()
    lines = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
    assert lines
    return lines


@pytest.mark.parametrize("name", one_of_all("simclr"))
def test_every_product_has_the_precision_that_was_asked_for(name):
    proj = {"proj_dim": 7} if name == "simclr" else {}
    assert all("HIGHEST" in line for line in products(make(name, **proj)))
    default = products(make(name, precision="default", **proj))
    assert not any("HIGH" in line for line in default)
    half = products(make(name, precision="bfloat16", **proj))
    assert len(half) == len(default)
    both_half = r": \(tensor<\w+bf16>, tensor<\w+bf16>\)"
    exact = [line for line in half if not re.search(both_half, line)]
    if name == "simclr":  # the products of NT-Xent itself
        assert exact and all(re.search(r"<(32|32x32|32x7|224)xf32>", line) for line in exact)
    else:
        assert not exact


@pytest.mark.parametrize("name", names())
def test_in_bfloat16_weights_optimiser_and_losses_stay_float32(name):
    method = make(name, precision="bfloat16")
    state, metrics = compiled_step(
        method, init_state(method, SPEC, 0), *compiled_draw(method, 0, labelled(method), X, 0)
    )
    kinds = {leaf.dtype for leaf in jax.tree.leaves((state.params, metrics))}
    assert kinds == {np.dtype("float32")}
    assert {leaf.dtype for leaf in jax.tree.leaves(state.opt_state)} == {
        np.dtype("float32"),
        np.dtype("int32"),  # the count of steps
    }


@pytest.mark.parametrize("name", ["vae"])
def test_in_bfloat16_a_run_differs_by_no_more_than_its_digits(name):
    exact, half = (fit(make(name, precision=p), X) for p in ("highest", "bfloat16"))
    losses = [[epoch["loss"] for epoch in run.history] for run in (exact, half)]
    assert losses[0] != losses[1]
    np.testing.assert_allclose(*losses, rtol=2**-6)  # bfloat16 rounds by 2⁻⁹
    z = map_rows(make(name, precision="bfloat16"), "embed", half.weights, X, SPEC)
    assert z.dtype == np.float32
    exactly = map_rows(make(name), "embed", half.weights, X, SPEC)
    np.testing.assert_array_equal(z, exactly)  # what is served is computed in float32


@pytest.mark.parametrize("name", names())
def test_in_bfloat16_both_twins_take_the_same_step(name):
    method = make(name, precision="bfloat16")
    state, drawn = init_state(method, SPEC, 0), compiled_draw(method, 0, labelled(method), X, 0)
    theirs = twin_of(method)
    rows = torch_ref.batch.RowSpec(FEATURES)
    network = theirs.init(rows, torch.Generator().manual_seed(0))
    initial = torch_ref.weights.get_weights(network)
    params = {name: np.asarray(array) for name, array in state.weights.items()}
    network = torch_ref.weights.with_weights(network, initial | params)
    optimizer = theirs.optimizer()(network.named_parameters())
    batch, noise = jax.tree.map(lambda array: torch.tensor(np.asarray(array)), drawn)
    found = torch_ref.training.train_step(
        theirs, network, optimizer, torch_ref.batch.Batch(*batch), noise
    )
    _, expected = compiled_step(method, state, *drawn)
    _, exact = compiled_step(make(name), state, *drawn)
    for key, value in expected.items():
        assert found[key] == pytest.approx(float(value), rel=2**-7)
    assert found["loss"] != pytest.approx(float(exact["loss"]), rel=1e-6)
