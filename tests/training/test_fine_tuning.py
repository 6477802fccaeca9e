"""A method with a frozen part and two learning rates: trained, resumed, swept, and in torch."""

import dataclasses

import jax
import numpy as np
import pytest
import torch

import torch_ref.batch
import torch_ref.methods
import torch_ref.networks
import torch_ref.training
import torch_ref.weights
from jaxrep.batch import RowSpec
from jaxrep.methods import Autoencoder, AutoencoderHyperparameters
from jaxrep.networks import freeze
from jaxrep.training import Checkpoints, Every, draw_batch, fit, init_state, sweep
from jaxrep.training.step import train_step

X = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
SPEC = RowSpec(5)
FROZEN = ["encoder.0.bias", "encoder.0.kernel"]


def rates(method):
    rate = method.hyperparameters.learning_rate
    return {"encoder": 0.1 * rate, "decoder": rate}


class Tuned(Autoencoder):
    """Keeps the encoder's first layer, and trains its second slowly."""

    def init(self, rows, rngs):
        network = super().init(rows, rngs)
        freeze(network.encoder.layers[0])
        return network

    def learning_rates(self):
        return rates(self)


class TorchTuned(torch_ref.methods.Autoencoder):
    def init(self, rows, generator):
        network = super().init(rows, generator)
        torch_ref.networks.freeze(network.encoder.layers[0])
        return network

    def learning_rates(self):
        return rates(self)


def make(**settings):
    shape = {"hidden_dims": (6,), "latent_dim": 3, "batch_size": 16, "epochs": 2}
    return Tuned(AutoencoderHyperparameters(**shape | {"learning_rate": 0.01} | settings))


def test_what_is_frozen_is_carried_and_served_as_it_was():
    state = init_state(make(), SPEC, seed=0)
    assert sorted(state.model_state) == FROZEN
    assert not set(FROZEN) & set(state.params)
    run = fit(make(), X)
    for name, array in state.weights.items():
        assert np.array_equal(run.weights[name], array) == (name in FROZEN), name


def test_a_run_is_resumed_with_the_bits_of_one(tmp_path):
    whole = fit(make(), X)
    checkpoints = Checkpoints(tmp_path, Every(epochs=1))
    fit(make(epochs=1), X, checkpoints=checkpoints)
    pieces = fit(make(), X, start=checkpoints.newest(make(), SPEC), checkpoints=checkpoints)
    assert pieces.resumed_from_step == 3
    for name, array in whole.weights.items():
        np.testing.assert_array_equal(pieces.weights[name], array)


def test_members_of_a_sweep_learn_at_rates_of_their_own():
    methods = [make(learning_rate=0.01), make(learning_rate=0.1)]
    for method, member in zip(methods, sweep(methods, X).members, strict=True):
        alone = fit(method, X).weights
        for name in alone:
            np.testing.assert_allclose(member.weights[name], alone[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"schedule": "cosine", "clip_norm": 0.1}], ids=str)
def test_the_torch_twin_takes_the_same_steps(settings, x64):
    method = make(optimizer="adamw", weight_decay=0.1, **settings)
    state = jax.tree.map(
        lambda array: array.astype("float64") if array.dtype == "float32" else array,
        init_state(method, SPEC, seed=0),
    )
    theirs = TorchTuned(**dataclasses.asdict(method.hyperparameters))
    network = theirs.init(torch_ref.batch.RowSpec(5), torch.Generator()).double()
    start = {name: np.asarray(array) for name, array in state.weights.items()}
    torch_ref.weights.with_weights(network, start)
    x, steps, given = np.asarray(X, np.float64), 4, []
    step = jax.jit(train_step, static_argnames="spec")
    for at in range(steps):
        batch, noise = draw_batch(method, 0, x, x, at, batch_size=16)
        state, _ = step(method, state, batch, noise, spec=SPEC, steps=steps)
        given.append((jax.tree.map(lambda a: torch.tensor(np.asarray(a)), batch), {}))
    for _ in torch_ref.training.replay(
        theirs, network, [(torch_ref.batch.Batch(*b), n) for b, n in given], steps
    ):
        pass
    found = torch_ref.weights.get_weights(network)
    for name, array in state.weights.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-9, atol=1e-12, err_msg=name)
        assert np.array_equal(found[name], start[name]) == (name in FROZEN), name
