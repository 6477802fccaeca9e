"""A padded batch gives the value and the gradient of the batch without its padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from jaxrep.models import get_weights, with_weights
from torch_ref.hyperparameters import BY_METHOD as TORCH_BY_METHOD

import jaxrep.methods
import torch_ref.methods
from jaxrep.hyperparameters import BY_METHOD
from tests.helpers.losses import CASES, draw
from tests.helpers.twins import TWINS, evaluate, normwise_error


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


@pytest.mark.parametrize("method_name", list(BY_METHOD))
def test_padding_changes_no_gradient_of_a_jax_model(method_name, x64):
    settings = BY_METHOD[method_name](hidden_dims=(8,), latent_dim=3)
    method = jaxrep.methods.METHODS[method_name](settings)
    model = method.init_model(6, nnx.Rngs(0))
    model = with_weights(model, {k: v.astype("float64") for k, v in get_weights(model).items()})
    params = get_weights(model, nnx.Param)
    x = jax.random.normal(jax.random.key(0), (8, 6), "float64")
    noise = method.draw_noise(jax.random.key(1), x, x)

    def value_and_gradient(rows, weights):
        cut = {k: v[..., :rows, :] for k, v in noise.items()}

        def loss(params):
            return method.loss(with_weights(model, params), x[:rows], cut, weights)[0]

        return jax.jit(jax.value_and_grad(loss))(params)

    plain, expected = value_and_gradient(5, jnp.ones(5))
    padded, found = value_and_gradient(8, (jnp.arange(8) < 5).astype("float64"))
    assert padded == pytest.approx(float(plain), rel=1e-12)
    for name in params:
        assert normwise_error(np.asarray(found[name]), np.asarray(expected[name])) <= 1e-12


@pytest.mark.parametrize("method_name", list(BY_METHOD))
def test_padding_changes_no_gradient_of_a_torch_model(method_name):
    settings = TORCH_BY_METHOD[method_name](hidden_dims=(8,), latent_dim=3)
    method = torch_ref.methods.METHODS[method_name](settings)
    generator = torch.Generator().manual_seed(0)
    model = method.init_model(6, generator).double()
    x = torch.randn(8, 6, generator=generator, dtype=torch.float64)
    noise = method.draw_noise(generator, x, x)

    def value_and_gradient(rows, weights):
        cut = {k: v[..., :rows, :] for k, v in noise.items()}
        model.zero_grad()
        loss, _ = method.loss(model, x[:rows], cut, weights)
        loss.backward()
        return loss.item(), [p.grad.numpy().copy() for p in model.parameters()]

    plain, expected = value_and_gradient(5, torch.ones(5, dtype=torch.float64))
    padded, found = value_and_gradient(8, (torch.arange(8) < 5).double())
    assert padded == pytest.approx(plain, rel=1e-12)
    for a, b in zip(found, expected, strict=True):
        assert normwise_error(a, b) <= 1e-12
