"""Likelihoods of cells: values against scipy, gradients against derivatives, extremes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from scipy import special, stats

import jaxrep.likelihoods
import torch_ref.likelihoods
from tests.helpers.twins import TWINS, normwise_error

pytestmark = pytest.mark.quick

RNG = np.random.default_rng(0)
SIZE, LEVELS = 200, 7
X, MEAN = RNG.normal(size=(2, SIZE))
LOG_VAR = RNG.uniform(-11, 11, SIZE)
LOGIT = RNG.normal(scale=20, size=SIZE)
TRUTH = RNG.integers(0, 2, SIZE).astype(np.float64)
LOG_RATE = RNG.uniform(-5, 5, SIZE)  # beyond, λ and k · log λ cancel
COUNT = np.concatenate([np.arange(40.0), RNG.poisson(np.exp(LOG_RATE[40:]))])
LOGITS = RNG.normal(scale=5, size=(SIZE, LEVELS))
CODES = RNG.integers(0, LEVELS, SIZE)

# The arguments of each likelihood's `terms`; the first is data, the others have gradients.
ARGUMENTS = {
    "squared": (X, MEAN),
    "gaussian": (X, MEAN, LOG_VAR),
    "bernoulli": (TRUTH, LOGIT),
    "poisson": (COUNT, LOG_RATE),
    "categorical": (CODES, LOGITS),
}
KINDS = tuple(ARGUMENTS)


def terms(twin, kind, arguments, dtype="float64"):
    """The terms, and the gradients of their sum by all arguments but the data."""
    data, *parameters = arguments
    data = data if data.dtype.kind == "i" else data.astype(dtype)
    parameters = [array.astype(dtype) for array in parameters]
    if twin == "jax":
        with jax.enable_x64(dtype == "float64"):
            return _terms_in_jax(kind, data, parameters)
    module = getattr(torch_ref.likelihoods, kind)
    tensors = [torch.tensor(array, requires_grad=True) for array in parameters]
    found = module.terms(torch.tensor(data), *tensors)
    found.sum().backward()
    return found.detach().numpy(), [tensor.grad.numpy() for tensor in tensors]


def _terms_in_jax(kind, data, parameters):
    module = getattr(jaxrep.likelihoods, kind)

    @jax.jit
    def compute(*parameters):
        found, pull = jax.vjp(lambda *given: module.terms(jnp.asarray(data), *given), *parameters)
        return found, pull(jnp.ones_like(found))

    found, gradients = compute(*(jnp.asarray(array) for array in parameters))
    return np.asarray(found), [np.asarray(array) for array in gradients]


def log_p(kind, data, *parameters):
    """The logarithm of the density or probability, by scipy."""
    match kind:
        case "squared":
            return stats.norm(parameters[0], np.sqrt(0.5)).logpdf(data) + 0.5 * np.log(np.pi)
        case "gaussian":
            return stats.norm(parameters[0], np.exp(parameters[1] / 2)).logpdf(data)
        case "bernoulli":  # log p and log (1 − p), neither of which may be computed from p
            return special.log_expit(np.where(data == 1, parameters[0], -parameters[0]))
        case "poisson":
            return stats.poisson(np.exp(parameters[0])).logpmf(data)
        case "categorical":
            return special.log_softmax(parameters[0], axis=1)[np.arange(len(data)), data]


def derivatives(kind, data, *parameters):
    """The derivatives of −log p by each parameter, on paper."""
    match kind:
        case "squared":
            return [2 * (parameters[0] - data)]
        case "gaussian":
            mean, log_var = parameters
            z = (data - mean) / np.exp(log_var / 2)
            return [-z / np.exp(log_var / 2), 0.5 * (1 - z**2)]
        case "bernoulli":
            return [
                np.where(data == 1, -special.expit(-parameters[0]), special.expit(parameters[0]))
            ]
        case "poisson":
            return [np.exp(parameters[0]) - data]
        case "categorical":
            return [special.softmax(parameters[0], axis=1) - np.eye(LEVELS)[data]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("twin", TWINS)
def test_terms_are_minus_the_log_probability(twin, kind):
    found, _ = terms(twin, kind, ARGUMENTS[kind])
    np.testing.assert_allclose(found, -log_p(kind, *ARGUMENTS[kind]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("twin", TWINS)
def test_gradients_are_the_derivatives(twin, kind):
    _, gradients = terms(twin, kind, ARGUMENTS[kind])
    for found, expected in zip(gradients, derivatives(kind, *ARGUMENTS[kind]), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_the_twins_agree(kind):
    ours, theirs = (terms(twin, kind, ARGUMENTS[kind]) for twin in TWINS)
    for a, b in zip((ours[0], *ours[1]), (theirs[0], *theirs[1]), strict=True):
        assert normwise_error(a, b) <= 1e-12


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("twin", TWINS)
def test_terms_in_float32_are_float32(twin, kind):
    found, gradients = terms(twin, kind, ARGUMENTS[kind], "float32")
    exact, exact_gradients = terms(twin, kind, ARGUMENTS[kind])
    for a, b in zip((found, *gradients), (exact, *exact_gradients), strict=True):
        assert a.dtype == np.float32
        assert normwise_error(a, b) <= 1e-5


FAR = np.array([-1e4, -100.0, -1.0, 0.0, 1.0, 100.0, 1e4])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("twin", TWINS)
def test_extremes_are_finite(twin, kind, dtype):
    a, b = (grid.ravel() for grid in np.meshgrid(FAR, FAR))
    arguments = {
        "squared": (a, b),
        "gaussian": (a, np.zeros_like(a), b),
        "bernoulli": ((a > 0).astype(np.float64), b),
        "poisson": (np.abs(a), b),
        "categorical": ((a > 0).astype(np.int64), np.stack([a, b], axis=1)),
    }[kind]
    found, gradients = terms(twin, kind, arguments, dtype)
    assert all(np.isfinite(array).all() for array in (found, *gradients))


@pytest.mark.parametrize("twin", TWINS)
def test_a_log_variance_beyond_twelve_has_no_gradient(twin):
    x, mean, log_var = np.ones(4), np.zeros(4), np.array([-30.0, -11.9, 11.9, 30.0])
    found, (_, gradient) = terms(twin, "gaussian", (x, mean, log_var))
    assert (gradient == 0).tolist() == [True, False, False, True]
    limits, _ = terms(twin, "gaussian", (x[:1], mean[:1], np.array([-12.0])))
    assert found[0] == limits[0]


@pytest.mark.parametrize("twin", TWINS)
def test_factorials_have_all_their_digits(twin):
    count = np.concatenate([np.arange(100.0), np.logspace(2, 9, 50).round()])
    found, _ = terms(twin, "poisson", (count, np.zeros_like(count)))
    np.testing.assert_allclose(found, 1 + special.gammaln(count + 1), rtol=1e-13)


@pytest.mark.parametrize("twin", TWINS)
def test_a_log_rate_beyond_thirty_has_no_gradient(twin):
    found, (gradient,) = terms(twin, "poisson", (np.ones(2), np.array([29.9, 300.0])))
    assert gradient[0] > 0 and gradient[1] == 0
    np.testing.assert_allclose(found[1], np.exp(30) - 30, rtol=1e-12)


@pytest.mark.parametrize("twin", TWINS)
def test_expectations_are_means_and_the_likeliest_level(twin):
    module = {"jax": jaxrep.likelihoods, "torch": torch_ref.likelihoods}[twin]
    make = {"jax": jnp.asarray, "torch": torch.tensor}[twin]

    def expectation(kind, parameter):
        return np.asarray(getattr(module, kind).expectation(make(parameter.astype(np.float32))))

    np.testing.assert_array_equal(expectation("squared", MEAN), MEAN.astype(np.float32))
    np.testing.assert_array_equal(expectation("gaussian", MEAN), MEAN.astype(np.float32))
    np.testing.assert_allclose(expectation("bernoulli", LOGIT), special.expit(LOGIT), rtol=1e-4)
    np.testing.assert_allclose(expectation("poisson", LOG_RATE), np.exp(LOG_RATE), rtol=1e-5)
    logits = np.array([[9.0, 1.0, 2.0, 2.0], [0.0, -1.0, -2.0, -3.0]])
    assert expectation("categorical", logits).tolist() == [2, 1]  # never 0; of equals the first


@pytest.mark.parametrize("count", [2, 255, 511, 512, 513, 768, 1000])
def test_of_many_logits_the_first_of_the_greatest_is_found(count):
    """They are looked at in blocks; in the first one logit 0 does not count."""
    draws = np.random.default_rng(count)
    logits = draws.integers(0, 3 * count, (40, 3, count)).astype(np.float32)
    logits[:5, :, 0] = 9 * count
    logits[5:9, :, -1] = 5 * count
    found = jaxrep.likelihoods.categorical.expectation(jnp.asarray(logits))
    np.testing.assert_array_equal(found, 1 + np.argmax(logits[..., 1:], axis=-1))
