"""Draws of cells: the quantiles of what is drawn, by scipy, and the shares that many draws have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from scipy import special, stats

import jaxrep.likelihoods
import torch_ref.likelihoods
from tests.helpers.twins import TWINS

pytestmark = pytest.mark.quick

RNG = np.random.default_rng(0)
SIZE, LEVELS = 500, 6
NORMAL, MEAN = RNG.normal(size=(2, SIZE))
LOG_VAR = RNG.uniform(-11, 11, SIZE)
LOGIT = RNG.normal(scale=3, size=SIZE)
LOG_RATE = RNG.uniform(-5, 7, SIZE)
LOGITS = RNG.normal(scale=2, size=(SIZE, LEVELS))
OUTPUTS = {
    "squared": (MEAN,),
    "gaussian": (MEAN, LOG_VAR),
    "bernoulli": (LOGIT,),
    "poisson": (LOG_RATE,),
    "categorical": (LOGITS,),
}


def drawn(twin, kind, normal=NORMAL, outputs=None):
    outputs = OUTPUTS[kind] if outputs is None else outputs
    if twin == "torch":
        given = [torch.tensor(array) for array in (*outputs, normal)]
        return getattr(torch_ref.likelihoods, kind).draw(*given).numpy()
    with jax.enable_x64(True):
        given = [jnp.asarray(array) for array in (*outputs, normal)]
        return np.asarray(jax.jit(getattr(jaxrep.likelihoods, kind).draw)(*given))


def quantiles(kind, normal=NORMAL):
    """What has the probability Φ(ε) up to it, by scipy."""
    u = stats.norm.cdf(normal)
    match kind:
        case "squared":
            return stats.norm(MEAN, np.sqrt(0.5)).ppf(u)
        case "gaussian":
            return stats.norm(MEAN, np.exp(LOG_VAR / 2)).ppf(u)
        case "bernoulli":
            return (u < special.expit(LOGIT)).astype(float)
        case "poisson":
            return stats.poisson(np.exp(LOG_RATE)).ppf(u)
        case "categorical":
            below = np.cumsum(special.softmax(LOGITS[:, 1:], axis=1), axis=1)
            return (below < u[:, None]).sum(axis=1) + 1


@pytest.mark.parametrize("kind", OUTPUTS)
@pytest.mark.parametrize("twin", TWINS)
def test_a_draw_is_the_quantile_of_its_normal_one(twin, kind):
    found, expected = drawn(twin, kind), quantiles(kind)
    if kind == "poisson":  # by an expansion where the rate is above 30
        is_many = np.exp(LOG_RATE) > 30
        assert (found[~is_many] == expected[~is_many]).all()
        assert np.abs(found - expected)[is_many].max() <= 1
        assert (found == expected)[is_many].mean() > 0.95
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", OUTPUTS)
def test_the_twins_agree(kind):
    ours, theirs = (drawn(twin, kind) for twin in TWINS)
    np.testing.assert_allclose(theirs, ours, rtol=1e-12, atol=1e-12)
    assert ours.dtype == theirs.dtype


def test_code_0_is_never_drawn_and_the_last_one_ends_the_probabilities():
    logits = np.array([[50.0, 0.0, 0.0]] * 3)
    for twin in TWINS:
        codes = drawn(twin, "categorical", np.array([-40.0, 0.1, 40.0]), (logits,))
        assert codes.tolist() == [1, 2, 2]


@pytest.mark.parametrize("kind", ["bernoulli", "poisson", "categorical"])
def test_many_draws_have_the_shares_that_they_should(kind):
    normal = np.random.default_rng(1).normal(size=40_000)
    outputs = {"bernoulli": 0.4, "poisson": np.log(3.2), "categorical": LOGITS[0]}[kind]
    found = drawn("jax", kind, normal, (np.broadcast_to(outputs, (40_000, *np.shape(outputs))),))
    values = np.arange(1, LEVELS) if kind == "categorical" else np.arange(8)
    expected = {
        "bernoulli": stats.bernoulli(special.expit(0.4)).pmf(values),
        "poisson": stats.poisson(3.2).pmf(values),
        "categorical": special.softmax(LOGITS[0, 1:]),
    }[kind]
    shares = np.array([(found == value).mean() for value in values])
    error = np.sqrt(expected * (1 - expected) / 40_000)
    assert (np.abs(shares - expected) <= 4 * error).all()
