"""Rows taken apart and joined, with spikes and missing cells as codes, and a VAE's terms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from scipy import special, stats

import torch_ref.batch
import torch_ref.row_coding
from jaxrep.batch import MISSING, Batch, RowSpec
from jaxrep.methods import VAE, VAEHyperparameters
from jaxrep.row_coding import RowCoding, coded_rows

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


FLAGS = np.array([[1, 1], [1, 1], [1, 2], [2, 1]])


def of_twin(twin, rows=ROWS, **options):
    if twin == "jax":
        batch = Batch(jnp.asarray(NUMBERS), jnp.asarray(CODES))
        return RowCoding(rows, **options), batch
    coding = torch_ref.row_coding.RowCoding(torch_ref.batch.RowSpec(*rows), **options)
    return coding, torch_ref.batch.Batch(torch.tensor(NUMBERS), torch.tensor(CODES))


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("twin", TWINS)
def test_a_spike_is_a_code_and_its_number_missing(twin):
    coding, batch = of_twin(twin)
    found = coding.apart(batch)
    numbers = NUMBERS.copy()
    numbers[[1, 2], 0] = numbers[[0, 3], 2] = np.nan
    np.testing.assert_array_equal(np.asarray(found.numbers), numbers)
    np.testing.assert_array_equal(np.asarray(found.codes), np.concatenate([CODES, APART], axis=1))
    back = coding.joined(found)
    np.testing.assert_array_equal(np.asarray(back.numbers), NUMBERS)
    np.testing.assert_array_equal(np.asarray(back.codes), CODES)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("twin", TWINS)
def test_terms_of_a_number_and_its_spike_are_one(twin):
    coding, _ = of_twin(twin)
    terms = np.arange(12.0).reshape(2, 6)
    given = jnp.asarray(terms) if twin == "jax" else torch.tensor(terms)
    expected = terms[:, :4] + np.stack(
        [terms[:, 4], 0 * terms[:, 0], terms[:, 5], 0 * terms[:, 0]], 1
    )
    np.testing.assert_array_equal(np.asarray(coding.terms_joined(given)), expected)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("twin", TWINS)
def test_flags_say_which_cells_are_missing_and_a_joined_row_has_what_they_say(twin):
    coding, batch = of_twin(twin, flags_missing=True)
    found = coding.apart(batch)
    codes = np.concatenate([CODES, APART, FLAGS], axis=1)
    np.testing.assert_array_equal(np.asarray(found.codes), codes)
    back = coding.joined(found, with_missing=True)
    np.testing.assert_array_equal(np.asarray(back.numbers), NUMBERS)
    np.testing.assert_array_equal(np.asarray(back.codes), CODES)
    # What a decoder gives has no missing cell but by its flag.
    known = np.full((4, 3), 0.5), np.array([[3, 1, 1]] * 4, np.int32)
    known = known[0], np.concatenate([known[1], FLAGS], axis=1)
    make = jnp.asarray if twin == "jax" else torch.tensor
    made = batch._replace(numbers=make(known[0]), codes=make(known[1]))
    drawn, expected = coding.joined(made, with_missing=True), coding.joined(made)
    assert np.argwhere(np.isnan(np.asarray(drawn.numbers))).tolist() == [[3, 0]]
    assert np.asarray(drawn.codes).tolist() == [[3], [3], [MISSING], [3]]
    np.testing.assert_array_equal(np.asarray(expected.numbers), known[0])
    assert np.asarray(expected.codes).tolist() == [[3]] * 4


@pytest.mark.parametrize("twin", TWINS)
def test_flags_are_beside_codes_where_no_number_has_spikes(twin):
    plain = ROWS._replace(spikes=())
    assert coded_rows(plain, flags_missing=True).levels == (4, 3, 3)
    coding, batch = of_twin(twin, plain, flags_missing=True)
    found = coding.apart(batch)
    np.testing.assert_array_equal(np.asarray(found.numbers), np.asarray(batch.numbers))
    codes = np.concatenate([CODES, FLAGS], axis=1)
    np.testing.assert_array_equal(np.asarray(found.codes), codes)
    terms = np.arange(12.0).reshape(2, 6)
    given = jnp.asarray(terms) if twin == "jax" else torch.tensor(terms)
    np.testing.assert_array_equal(np.asarray(coding.terms_joined(given)), terms[:, :4])


@pytest.mark.parametrize("twin", TWINS)
def test_rows_without_spikes_stay_as_they_are(twin):
    plain = ROWS._replace(spikes=())
    assert coded_rows(plain) is plain
    coding, batch = of_twin(twin, plain)
    assert coding.apart(batch) is batch and coding.joined(batch) is batch
    complete = plain._replace(gaps=())
    assert coded_rows(complete, flags_missing=True) is complete


def test_a_row_s_terms_are_those_of_a_spike_or_of_another_number():
    with jax.enable_x64(True):
        method = VAE(VAEHyperparameters(hidden_dims=(5,), latent_dim=3, likelihood="by_kind"))
        network = method.init(ROWS, nnx.Rngs(0))
        batch = Batch(jnp.asarray(NUMBERS), jnp.asarray(CODES))
        z = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)))
        terms, outputs = network.terms(batch, z), np.asarray(network.decoder(z))
        of_flags = np.asarray(network.terms_apart(batch, z))[:, -2:]
        observed = np.asarray(network.observed(batch))
    # Outputs: three numbers, four levels; of the spikes one that never is, none, and each; of the
    # flags one that never is, there, and missing.
    logits = (
        special.log_softmax(outputs[:, 7:11], axis=1),
        special.log_softmax(outputs[:, 11:14], axis=1),
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
    flags = [special.log_softmax(outputs[:, i : i + 3], axis=1) for i in (14, 17)]
    chosen = [-logits[np.arange(4), FLAGS[:, k]] for k, logits in enumerate(flags)]
    np.testing.assert_allclose(of_flags, np.stack(chosen, axis=1), rtol=1e-6)
