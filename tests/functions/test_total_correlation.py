"""The total correlation: against loops in float64, its gradients, row weights, and its limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import torch

import jaxrep.losses
import torch_ref.losses
from tests.helpers.twins import TWINS

pytestmark = pytest.mark.quick

ROWS, Z = 7, 3


def draw(seed=0):
    rng = np.random.default_rng(seed)
    mu, log_var = rng.normal(size=(ROWS, Z)), rng.normal(size=(ROWS, Z))
    z = mu + np.exp(0.5 * log_var) * rng.normal(size=(ROWS, Z))
    return z, mu, log_var


def value_and_gradients(twin, z, mu, log_var, weights=None):
    if twin == "jax":

        def loss(*arrays):
            return jaxrep.losses.total_correlation(*arrays, weights=weights)

        value, gradients = jax.value_and_grad(loss, (0, 1, 2))(*map(jnp.asarray, (z, mu, log_var)))
        return float(value), [np.asarray(g) for g in gradients]
    tensors = [torch.tensor(a, requires_grad=True) for a in (z, mu, log_var)]
    of_rows = None if weights is None else torch.from_numpy(weights)
    value = torch_ref.losses.total_correlation(*tensors, weights=of_rows)
    value.backward()
    return value.item(), [t.grad.numpy() for t in tensors]


def by_loops(z, mu, log_var, weights=None):
    """The definition, a density at a time."""
    weights = np.ones(len(z)) if weights is None else weights
    shares = weights / weights.sum()
    total = 0.0
    for i, own in enumerate(z):
        density = scipy.stats.norm(mu, np.exp(0.5 * log_var)).pdf(own)  # (B, Z)
        joint = np.log((shares * density.prod(axis=1)).sum())
        single = np.log((shares[:, None] * density).sum(axis=0)).sum()
        total += shares[i] * (joint - single)
    return total


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("seed", range(3))
def test_it_is_what_the_definition_says(twin, seed, x64):
    arrays = draw(seed)
    assert value_and_gradients(twin, *arrays)[0] == pytest.approx(by_loops(*arrays), rel=1e-12)


@pytest.mark.parametrize("twin", TWINS)
def test_its_gradients_are_those_of_finite_differences(twin, x64):
    arrays, weights = draw(), np.array([1.0, 0.5, 2.0, 0.0, 1.0, 3.0, 0.0])
    _, gradients = value_and_gradients(twin, *arrays, weights)
    for k, gradient in enumerate(gradients):
        for place in np.ndindex(gradient.shape):
            moved = [[a.copy() for a in arrays] for _ in range(2)]
            for sign, copies in zip((1, -1), moved, strict=True):
                copies[k][place] += sign * 1e-6
            slope = (by_loops(*moved[0], weights) - by_loops(*moved[1], weights)) / 2e-6
            assert gradient[place] == pytest.approx(slope, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("twin", TWINS)
def test_rows_of_weight_0_change_neither_value_nor_gradient(twin, x64):
    arrays = draw()
    padded = [np.concatenate([a, np.full((2, Z), 1e3)]) for a in arrays]
    value, gradients = value_and_gradients(twin, *arrays)
    found, of_all = value_and_gradients(twin, *padded, np.r_[np.ones(ROWS), 0.0, 0.0])
    assert found == pytest.approx(value, rel=1e-12)
    for gradient, whole in zip(gradients, of_all, strict=True):
        np.testing.assert_allclose(whole[:ROWS], gradient, rtol=1e-10, atol=1e-14)
        assert (whole[ROWS:] == 0).all()


@pytest.mark.parametrize("twin", TWINS)
def test_a_batch_without_weight_has_value_and_gradient_0(twin, x64):
    value, gradients = value_and_gradients(twin, *draw(), np.zeros(ROWS))
    assert value == 0 and all((gradient == 0).all() for gradient in gradients)


@pytest.mark.parametrize("twin", TWINS)
def test_of_independent_latents_it_is_near_0_and_of_equal_ones_their_entropy(twin, x64):
    rng = np.random.default_rng(1)
    z = rng.normal(size=(1500, 2))
    wide = np.zeros((1500, 2))  # posteriors as wide as the spread of their means: much is smoothed
    assert abs(value_and_gradients(twin, z, z * 0, wide)[0]) < 1e-12
    levels = np.repeat(np.arange(8.0) * 10, 20)[:, None] * np.ones((1, 2))
    value, _ = value_and_gradients(twin, levels, levels, np.full(levels.shape, -2.0))
    assert value == pytest.approx(np.log(8), rel=1e-9)


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_types_are_computed_in_float32(twin, dtype):
    arrays = [a.astype(np.float32) for a in draw()]
    if twin == "jax":
        found = jaxrep.losses.total_correlation(*(jnp.asarray(a, dtype) for a in arrays))
        assert found.dtype == jnp.float32
        rounded = [np.asarray(jnp.asarray(a, dtype), np.float64) for a in arrays]
    else:
        tensors = [torch.from_numpy(a).to(getattr(torch, dtype)) for a in arrays]
        found = torch_ref.losses.total_correlation(*tensors)
        assert found.dtype == torch.float32
        rounded = [t.double().numpy() for t in tensors]
    assert float(found) == pytest.approx(by_loops(*rounded), rel=1e-5)
