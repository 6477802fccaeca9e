"""Rows whose numbers have spikes: taken apart and joined, and what a VAE's terms are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from scipy import special, stats

import torch_ref.batch
import torch_ref.spikes
from jaxrep.batch import MISSING, Batch, RowSpec
from jaxrep.methods import VAE, VAEHyperparameters
from jaxrep.spikes import Spikes, rows_apart

ROWS = RowSpec(
    3,
    (4,),
    (True, False, False, True),
    ("gaussian", "squared", "gaussian"),
    (2, 0, 1),
)
NUMBERS = np.array(
    [
        [0.5, 1.0, 8.0],
        [8.0, 2.0, -1.5],
        [9.0, 8.0, 0.25],  # the second number has no spikes, whatever it is
        [np.nan, 0.0, 8.0],
    ]
)
CODES = np.array([[0], [3], [MISSING], [2]], np.int32)
APART = np.array([[1, 2], [2, 1], [3, 1], [MISSING, 2]])
TWINS = ("jax", "torch")


def of_twin(twin):
    if twin == "jax":
        return Spikes(ROWS), Batch(jnp.asarray(NUMBERS), jnp.asarray(CODES))
    spikes = torch_ref.spikes.Spikes(torch_ref.batch.RowSpec(*ROWS))
    return spikes, torch_ref.batch.Batch(torch.tensor(NUMBERS), torch.tensor(CODES))


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("twin", TWINS)
def test_a_spike_is_a_code_and_its_number_missing(twin):
    spikes, batch = of_twin(twin)
    found = spikes.apart(batch)
    numbers = NUMBERS.copy()
    numbers[[1, 2], 0] = numbers[[0, 3], 2] = np.nan
    np.testing.assert_array_equal(np.asarray(found.numbers), numbers)
    np.testing.assert_array_equal(np.asarray(found.codes), np.concatenate([CODES, APART], axis=1))
    back = spikes.joined(found)
    np.testing.assert_array_equal(np.asarray(back.numbers), NUMBERS)
    np.testing.assert_array_equal(np.asarray(back.codes), CODES)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("twin", TWINS)
def test_terms_of_a_number_and_its_spike_are_one(twin):
    spikes, _ = of_twin(twin)
    terms = np.arange(12.0).reshape(2, 6)
    given = jnp.asarray(terms) if twin == "jax" else torch.tensor(terms)
    expected = terms[:, :4] + np.stack(
        [terms[:, 4], 0 * terms[:, 0], terms[:, 5], 0 * terms[:, 0]], 1
    )
    np.testing.assert_array_equal(np.asarray(spikes.terms_joined(given)), expected)


@pytest.mark.parametrize("twin", TWINS)
def test_rows_without_spikes_stay_as_they_are(twin):
    plain = ROWS._replace(spikes=())
    assert rows_apart(plain) is plain
    batch = of_twin(twin)[1]
    spikes = Spikes(plain) if twin == "jax" else torch_ref.spikes.Spikes(plain)
    assert spikes.apart(batch) is batch and spikes.joined(batch) is batch


def test_a_row_s_terms_are_those_of_a_spike_or_of_another_number():
    with jax.enable_x64(True):
        method = VAE(VAEHyperparameters(hidden_dims=(5,), latent_dim=3, likelihood="by_kind"))
        network = method.init(ROWS, nnx.Rngs(0))
        batch = Batch(jnp.asarray(NUMBERS), jnp.asarray(CODES))
        z = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)))
        terms, outputs = network.terms(batch, z), np.asarray(network.decoder(z))
        observed = np.asarray(network.observed(batch))
    # Outputs: three numbers, four levels; of the spikes one that never is, none, and each.
    logits = (
        special.log_softmax(outputs[:, 7:11], axis=1),
        special.log_softmax(outputs[:, 11:], axis=1),
    )
    expected = np.stack(
        [
            -logits[0][np.arange(4), np.maximum(APART[:, 0], 0)],
            (NUMBERS[:, 1] - outputs[:, 1]) ** 2,
            -logits[1][np.arange(4), APART[:, 1]],
        ],
        axis=1,
    )
    expected[0, 0] -= stats.norm(outputs[0, 0]).logpdf(0.5)
    expected[1:3, 2] -= stats.norm(outputs[1:3, 2]).logpdf(NUMBERS[1:3, 2])
    expected[3, 0] = 0  # it is missing
    np.testing.assert_allclose(np.asarray(terms)[:, :3], expected, rtol=1e-6)
    assert observed.tolist() == [[True] * 4, [True] * 4, [True] * 3 + [False], [False] + [True] * 3]
