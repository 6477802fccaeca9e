"""The likelihood of rows, in both twins: a term for each column, and none for missing cells."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from scipy import special, stats

import jaxrep.batch
import jaxrep.likelihoods
import jaxrep.likelihoods._rows
import jaxrep.losses
import jaxrep.networks
import torch_ref.batch
import torch_ref.likelihoods
import torch_ref.losses
import torch_ref.networks
import torch_ref.weights
from tests.helpers.twins import TWINS, normwise_error

pytestmark = pytest.mark.quick

RNG = np.random.default_rng(0)
B, WIDE = 13, 1200
# Codes of three and of two values, and between them a wide one.
SPEC = jaxrep.batch.RowSpec(
    numbers=5,
    levels=(3, WIDE, 2),
    gaps=(True,) * 8,
    likelihoods=("poisson", "squared", "gaussian", "bernoulli", "gaussian"),
)
SCALE, MEAN = np.array([2.5, 0.4]), np.array([3.0, 0.25])  # of the counts and the booleans
COUNTS, TRUTH = RNG.integers(0, 9, B), RNG.integers(0, 2, B)
NUMBERS = RNG.normal(size=(B, 5))
NUMBERS[:, 0] = (COUNTS - MEAN[0]) / SCALE[0]
NUMBERS[:, 3] = (TRUTH - MEAN[1]) / SCALE[1]
CODES = np.stack([RNG.integers(0, k, B) for k in SPEC.levels], axis=1).astype(np.int32)
OUTPUTS = RNG.normal(size=(B, 5 + 3 + 2 + 16))
HIDDEN = RNG.random((B, 8)) < 0.4
HIDDEN[0], HIDDEN[1] = True, False
WEIGHTS = {
    "likelihood.log_var": RNG.normal(size=2),
    "likelihood.mean": MEAN,
    "likelihood.scale": SCALE,
    "embeddings.0.table": RNG.normal(size=(WIDE + 1, 16)),
    "embeddings.0.bias": RNG.normal(size=WIDE),
}
COTANGENT = RNG.normal(size=(B, 8))


def evaluate(twin, numbers, codes, outputs=OUTPUTS, cotangent=COTANGENT):
    """Terms, what is observed, gradients of the weighted terms by outputs and weights, means."""
    if twin == "jax":
        with jax.enable_x64(True):
            return _evaluate_jax(numbers, codes, outputs, cotangent)
    spec = torch_ref.batch.RowSpec(*SPEC)
    embeddings = torch_ref.networks.Embeddings(spec, generator=torch.Generator())
    likelihood = torch_ref.likelihoods.RowLikelihood(spec)
    module = torch.nn.ModuleDict({"likelihood": likelihood, "embeddings": embeddings}).double()
    torch_ref.weights.with_weights(module, WEIGHTS)
    given = torch.tensor(outputs, requires_grad=True)
    batch = torch_ref.batch.Batch(torch.tensor(numbers), torch.tensor(codes))
    found = likelihood.terms(batch, given, embeddings())
    found.backward(torch.tensor(cotangent))
    slopes = {key: p.grad for key, p in module.named_parameters()}
    named = {torch_ref.weights.flat_name(key): grad.numpy() for key, grad in slopes.items()}
    means = likelihood.expectation(given.detach(), embeddings())
    observed = likelihood.observed(batch).numpy()
    return found.detach().numpy(), observed, {"outputs": given.grad.numpy(), **named}, means


def _evaluate_jax(numbers, codes, outputs, cotangent):
    class Network(nnx.Module):
        def __init__(self):
            self.likelihood = jaxrep.likelihoods.RowLikelihood(SPEC)
            self.embeddings = jaxrep.networks.Embeddings(SPEC, rngs=nnx.Rngs(0))

    network = nnx.eval_shape(Network)
    batch = jaxrep.batch.Batch(jnp.asarray(numbers), jnp.asarray(codes))
    every = {name: jnp.asarray(array) for name, array in WEIGHTS.items()}
    trained = {name: every[name] for name in every if name.split(".")[-1] not in ("mean", "scale")}

    @jax.jit
    def compute(outputs, trained):
        def terms(outputs, trained):
            filled = jaxrep.networks.with_weights(network, every | trained)
            return filled.likelihood.terms(batch, outputs, filled.embeddings)

        found, pull = jax.vjp(terms, outputs, trained)
        filled = jaxrep.networks.with_weights(network, every)
        means = filled.likelihood.expectation(outputs, filled.embeddings)
        return found, pull(jnp.asarray(cotangent)), filled.likelihood.observed(batch), means

    found, (by_outputs, by_weights), observed, means = compute(jnp.asarray(outputs), trained)
    slopes = {name: np.asarray(array) for name, array in by_weights.items()}
    return np.asarray(found), np.asarray(observed), {"outputs": by_outputs, **slopes}, means


def with_gaps():
    numbers = np.where(HIDDEN[:, :5], np.nan, NUMBERS)
    return numbers, np.where(HIDDEN[:, 5:], -1, CODES).astype(np.int32)


def expected_terms():
    log_var = WEIGHTS["likelihood.log_var"]
    sigma, x = np.exp(log_var / 2), NUMBERS
    wide = OUTPUTS[:, 10:] @ WEIGHTS["embeddings.0.table"][:WIDE].T + WEIGHTS["embeddings.0.bias"]
    logits = (OUTPUTS[:, 5:8], wide, OUTPUTS[:, 8:10])
    columns = [
        -stats.poisson(np.exp(OUTPUTS[:, 0])).logpmf(COUNTS),
        (x[:, 1] - OUTPUTS[:, 1]) ** 2,
        -stats.norm(OUTPUTS[:, 2], sigma[0]).logpdf(x[:, 2]),
        -special.log_expit(np.where(TRUTH == 1, OUTPUTS[:, 3], -OUTPUTS[:, 3])),
        -stats.norm(OUTPUTS[:, 4], sigma[1]).logpdf(x[:, 4]),
        *(
            -special.log_softmax(own, axis=1)[np.arange(B), CODES[:, c]]
            for c, own in enumerate(logits)
        ),
    ]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("twin", TWINS)
def test_every_column_has_the_term_of_its_likelihood(twin):
    found, observed, _, _ = evaluate(twin, NUMBERS, CODES)
    assert observed.all()
    np.testing.assert_allclose(found, expected_terms(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize(("number", "truth"), [(-4, 0), (7, 1)])
def test_a_number_among_booleans_has_the_term_of_the_nearer_one(twin, number, truth):
    mean, scale = (WEIGHTS[f"likelihood.{name}"][1] for name in ("mean", "scale"))
    numbers = NUMBERS.copy()
    numbers[:, 3] = (number - mean) / scale
    found, _, _, _ = evaluate(twin, numbers, CODES)
    expected = -special.log_expit(OUTPUTS[:, 3] if truth else -OUTPUTS[:, 3])
    np.testing.assert_allclose(found[:, 3], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("twin", TWINS)
def test_a_missing_cell_has_no_term_and_no_gradient(twin):
    whole, _, _, _ = evaluate(twin, NUMBERS, CODES)
    found, observed, slopes, _ = evaluate(twin, *with_gaps())
    assert (observed == ~HIDDEN).all()
    assert (found == np.where(HIDDEN, 0, whole)).all()
    by_column = [np.s_[0:1], np.s_[1:2], np.s_[2:3], np.s_[3:4], np.s_[4:5]]
    by_column += [np.s_[5:8], np.s_[10:26], np.s_[8:10]]
    for c, place in enumerate(by_column):
        assert (np.asarray(slopes["outputs"])[HIDDEN[:, c], place] == 0).all()
        assert (np.asarray(slopes["outputs"])[~HIDDEN[:, c], place] != 0).all()


@pytest.mark.parametrize("twin", TWINS)
def test_weights_get_no_gradient_from_missing_cells(twin):
    _, _, slopes, _ = evaluate(twin, *with_gaps())
    _, _, expected, _ = evaluate(twin, NUMBERS, CODES, cotangent=np.where(HIDDEN, 0, COTANGENT))
    for name, slope in slopes.items():
        assert np.isfinite(slope).all()
        assert normwise_error(np.asarray(slope), np.asarray(expected[name])) <= 1e-12, name


def test_the_twins_agree():
    ours, theirs = (evaluate(twin, *with_gaps()) for twin in TWINS)
    assert normwise_error(theirs[0], ours[0]) <= 1e-12
    for name, slope in ours[2].items():
        assert normwise_error(theirs[2][name], np.asarray(slope)) <= 1e-12, name
    assert normwise_error(theirs[3].numbers.numpy(), np.asarray(ours[3].numbers)) <= 1e-12
    assert (theirs[3].codes.numpy() == np.asarray(ours[3].codes)).all()


@pytest.mark.parametrize("twin", TWINS)
def test_expected_numbers_are_scaled_and_expected_codes_are_levels(twin):
    outputs = OUTPUTS.copy()
    outputs[:, 5] = 100.0  # "other" is likeliest, and never expected
    _, _, _, means = evaluate(twin, NUMBERS, CODES, outputs)
    numbers, codes = np.asarray(means.numbers), np.asarray(means.codes)
    rate, p = np.exp(outputs[:, 0]), special.expit(outputs[:, 3])
    np.testing.assert_allclose(numbers[:, 0], (rate - MEAN[0]) / SCALE[0], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(numbers[:, 3], (p - MEAN[1]) / SCALE[1], rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(numbers[:, [1, 2, 4]], outputs[:, [1, 2, 4]])
    wide = outputs[:, 10:] @ WEIGHTS["embeddings.0.table"][:WIDE].T + WEIGHTS["embeddings.0.bias"]
    for c, logits in enumerate((outputs[:, 5:8], wide, outputs[:, 8:10])):
        assert (codes[:, c] == 1 + logits[:, 1:].argmax(axis=1)).all()


@pytest.mark.parametrize("twin", TWINS)
def test_a_wide_code_is_the_same_in_pieces(twin, monkeypatch):
    whole = evaluate(twin, *with_gaps())
    if twin == "jax":
        monkeypatch.setattr(jaxrep.likelihoods._rows, "_MOST_LOGITS", 4 * WIDE)
    else:
        categorical = torch_ref.likelihoods.categorical
        for name in ("tied_terms", "tied_expectation"):
            function = getattr(categorical, name)
            monkeypatch.setattr(
                categorical, name, lambda *given, call=function: call(*given, 4 * WIDE)
            )
    found = evaluate(twin, *with_gaps())
    assert normwise_error(found[0], whole[0]) <= 1e-12
    for name, slope in found[2].items():
        assert normwise_error(np.asarray(slope), np.asarray(whole[2][name])) <= 1e-12, name
    assert (np.asarray(found[3].codes) == np.asarray(whole[3].codes)).all()


@pytest.mark.parametrize("twin", TWINS)
def test_a_mean_over_columns_is_that_of_the_observed_ones(twin):
    found, observed, _, _ = evaluate(twin, *with_gaps())
    losses, make = {
        "jax": (jaxrep.losses, jnp.asarray),
        "torch": (torch_ref.losses, torch.tensor),
    }[twin]
    rows = np.asarray(losses.mean_over_columns(make(found), make(observed)))
    weights = np.asarray(losses.observed_weights(None, make(observed)))
    assert (weights == ~HIDDEN.all(axis=1)).all() and weights[0] == 0
    for row, terms, cells in zip(rows, expected_terms(), ~HIDDEN, strict=True):
        np.testing.assert_allclose(row, terms[cells].mean() if cells.any() else 0, rtol=1e-5)
