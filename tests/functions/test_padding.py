"""A padded batch gives the value and the gradient of the batch without its padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import jaxrep.batch
import jaxrep.views
import torch_ref.batch
import torch_ref.views
from jaxrep import methods
from jaxrep.networks import get_weights, with_weights
from tests.helpers.losses import CASES, draw
from tests.helpers.twins import TWINS, evaluate, normwise_error, twin_of


def make(name):
    kind = methods.hyperparameters_of(name)
    return methods.make(kind(hidden_dims=(8,), latent_dim=3))


@pytest.mark.parametrize("weighting", ["ones", "fractions"])
@pytest.mark.parametrize(("name", "settings"), CASES)
@pytest.mark.parametrize("twin", TWINS)
def test_padding_changes_neither_loss_nor_gradient(twin, name, settings, weighting):
    rows, padded_rows = 5, 8
    padded = draw(name, padded_rows, 6)
    weights = np.ones(rows) if weighting == "ones" else np.linspace(0.5, 2.0, rows)
    zeros = np.zeros(padded_rows - rows)
    plain = evaluate(twin, name, [a[:rows] for a in padded], weights=weights, **settings)
    found = evaluate(twin, name, padded, weights=np.concatenate([weights, zeros]), **settings)
    assert found.value == pytest.approx(plain.value, rel=1e-12)
    for gradient, expected in zip(found.gradients, plain.gradients, strict=True):
        assert normwise_error(gradient[:rows], expected) <= 1e-12
        assert (gradient[rows:] == 0).all()


@pytest.mark.parametrize("name", methods.names())
def test_padding_changes_no_gradient_of_a_jax_model(name, x64):
    method = make(name)
    network = method.init(jaxrep.batch.RowSpec(6), nnx.Rngs(0))
    wide = {k: v.astype("float64") for k, v in get_weights(network).items()}
    network = with_weights(network, wide)
    params = get_weights(network, nnx.Param)
    x = jax.random.normal(jax.random.key(0), (8, 6), "float64")
    draws = jaxrep.views.Draws(jax.random.key(1), jaxrep.batch.Batch(x))
    noise = jaxrep.views.resolve(method.noise(draws, jaxrep.batch.Batch(x)))
    targets = jnp.arange(8) % 2

    def value_and_gradient(rows, weights):
        cut = {k: v[..., :rows, :] for k, v in noise.items()}

        batch = jaxrep.batch.Batch(x[:rows], targets=targets[:rows], weights=weights)

        def loss(params):
            return method.loss(with_weights(network, params), batch, cut)[0]

        return jax.jit(jax.value_and_grad(loss))(params)

    plain, expected = value_and_gradient(5, jnp.ones(5))
    padded, found = value_and_gradient(8, (jnp.arange(8) < 5).astype("float64"))
    assert padded == pytest.approx(float(plain), rel=1e-12)
    for key in params:
        assert normwise_error(np.asarray(found[key]), np.asarray(expected[key])) <= 1e-12


@pytest.mark.parametrize("name", methods.names())
def test_padding_changes_no_gradient_of_a_torch_model(name):
    method = twin_of(make(name))
    generator = torch.Generator().manual_seed(0)
    network = method.init(torch_ref.batch.RowSpec(6), generator).double()
    x = torch.randn(8, 6, generator=generator, dtype=torch.float64)
    batch = torch_ref.batch.Batch(x)
    noise = method.noise(torch_ref.views.Draws(generator, batch), batch)
    targets = torch.arange(8) % 2

    def value_and_gradient(rows, weights):
        cut = {k: v[..., :rows, :] for k, v in noise.items()}
        network.zero_grad()
        batch = torch_ref.batch.Batch(x[:rows], targets=targets[:rows], weights=weights)
        loss, _ = method.loss(network, batch, cut)
        loss.backward()
        trained = [p.grad for p in network.parameters() if p.grad is not None]
        return loss.item(), [gradient.numpy().copy() for gradient in trained]

    plain, expected = value_and_gradient(5, torch.ones(5, dtype=torch.float64))
    padded, found = value_and_gradient(8, (torch.arange(8) < 5).double())
    assert padded == pytest.approx(plain, rel=1e-12)
    for a, b in zip(found, expected, strict=True):
        assert normwise_error(a, b) <= 1e-12
