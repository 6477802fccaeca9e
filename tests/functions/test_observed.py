"""Losses over observed cells: what is not observed changes neither value nor gradient by a bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import jaxrep.losses
import torch_ref.losses
from tests.helpers import oracles
from tests.helpers.twins import TWINS, normwise_error

pytestmark = pytest.mark.quick

RNG = np.random.default_rng(0)
ROWS, D, Z = 9, 5, 3
X, X_HAT = RNG.normal(size=(2, ROWS, D))
POSTERIOR = tuple(RNG.normal(size=(2, ROWS, Z)))
OBSERVED = RNG.uniform(size=(ROWS, D)) < 0.6
OBSERVED[2] = False  # a row of which nothing is known
OBSERVED[3] = True
WEIGHTS = np.where(np.arange(ROWS) == 5, 0.0, np.linspace(0.5, 2, ROWS))
LOSSES = ("mse_loss", "elbo_loss")


def evaluate(twin, name, x, observed=OBSERVED, weights=WEIGHTS, x_hat=X_HAT):
    """The value of a loss, and its gradients by all arrays."""
    arrays = [x, x_hat, *(POSTERIOR if name == "elbo_loss" else ())]
    settings = {"beta": 4.0} if name == "elbo_loss" else {}
    if twin == "jax":
        function = getattr(jaxrep.losses, name)

        def loss(arrays):
            return function(*arrays, observed=observed, weights=weights, **settings)

        with jax.enable_x64(True):
            value, gradients = jax.jit(jax.value_and_grad(loss))([jnp.asarray(a) for a in arrays])
            return float(value), [np.asarray(gradient) for gradient in gradients]
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    given = [None if a is None else torch.tensor(a) for a in (observed, weights)]
    loss = getattr(torch_ref.losses, name)(
        *tensors, observed=given[0], weights=given[1], **settings
    )
    loss.backward()
    return loss.item(), [tensor.grad.numpy() for tensor in tensors]


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("twin", TWINS)
def test_a_loss_is_the_mean_or_the_sum_over_the_observed_cells_of_a_row(twin, name, weights):
    squares = np.where(OBSERVED, (X - X_HAT) ** 2, 0).sum(axis=1)
    known = OBSERVED.any(axis=1) * (np.ones(ROWS) if weights is None else weights)
    if name == "mse_loss":
        expected = oracles.weighted_mean(squares / np.maximum(OBSERVED.sum(axis=1), 1), known)
    else:
        kl = oracles.gaussian_kl(*POSTERIOR, weights=known)
        expected = oracles.weighted_mean(squares, known) + 4.0 * kl
    found, _ = evaluate(twin, name, X, weights=weights)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("other", [np.nan, np.inf, 1e300, -1e300])
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("twin", TWINS)
def test_what_stands_where_nothing_is_observed_changes_no_bit_and_has_no_gradient(
    twin, name, other
):
    value, gradients = evaluate(twin, name, X)
    there = evaluate(twin, name, np.where(OBSERVED, X, other))
    decoded = evaluate(twin, name, X, x_hat=np.where(OBSERVED, X_HAT, other))
    for found, own in (there, decoded):
        assert found == value
        for a, b in zip(own, gradients, strict=True):
            np.testing.assert_array_equal(a, b)
    for gradient in gradients[:2]:
        assert (gradient[~OBSERVED] == 0).all()
        assert (gradient[OBSERVED & (WEIGHTS[:, None] > 0)] != 0).all()
    for gradient in gradients[2:]:  # the KL of a row of which nothing is known
        assert (gradient[2] == 0).all() and (gradient[3] != 0).all()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("twin", TWINS)
def test_all_observed_is_the_loss_without_a_mask(twin, name):
    (value, gradients), (expected, same) = (
        evaluate(twin, name, X, observed) for observed in (np.ones_like(OBSERVED), None)
    )
    assert value == pytest.approx(expected, rel=1e-14)
    for a, b in zip(gradients, same, strict=True):
        assert normwise_error(a, b) <= 1e-14


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("twin", TWINS)
def test_nothing_observed_at_all_is_a_loss_of_0_without_a_gradient(twin, name):
    value, gradients = evaluate(twin, name, np.full_like(X, np.nan), np.zeros_like(OBSERVED))
    assert value == 0
    assert all((gradient == 0).all() for gradient in gradients)
