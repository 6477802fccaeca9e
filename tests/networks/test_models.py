"""The networks: shapes, initial weights, and the flat dictionary between the twins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from scipy.stats import kstest

import jaxrep.models
import torch_ref.models
import torch_ref.weights
from jaxrep.models import get_weights, with_weights

pytestmark = pytest.mark.quick

ARCHITECTURES = [(5, (), 2), (6, (9, 8), 4), (4, (4, 4), 4)]
NAMES = ("Autoencoder", "VAE", "SimCLREncoder")


def build(name: str, input_dim: int, hidden_dims: tuple[int, ...], latent_dim: int):
    sizes = [input_dim, hidden_dims, latent_dim] + [6] * (name == "SimCLREncoder")
    ours = getattr(jaxrep.models, name)(*sizes, rngs=nnx.Rngs(0))
    generator = torch.Generator().manual_seed(1)
    theirs = getattr(torch_ref.models, name)(*sizes, generator=generator)
    return ours, theirs


def forward_inputs(name: str, input_dim: int, latent_dim: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(9, input_dim))]
    return inputs + [rng.normal(size=(9, latent_dim))] * (name == "VAE")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", NAMES)
def test_weights_survive_the_way_to_torch_and_back_bit_by_bit(name, architecture):
    ours, theirs = build(name, *architecture)
    weights = {key: np.asarray(array) for key, array in get_weights(ours).items()}
    torch_ref.weights.with_weights(theirs, weights)
    returned = torch_ref.weights.get_weights(theirs)
    assert list(returned) == list(weights)
    for key, array in weights.items():
        assert returned[key].shape == array.shape
        assert returned[key].flags.c_contiguous
        assert (returned[key] == array).all()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", NAMES)
def test_forward_passes_agree_in_float64(name, architecture, x64):
    ours, theirs = build(name, *architecture)
    weights = {key: array.astype("float64") for key, array in get_weights(ours).items()}
    ours = with_weights(ours, weights)
    torch_ref.weights.with_weights(
        theirs.double(), {key: np.asarray(array) for key, array in weights.items()}
    )
    inputs = forward_inputs(name, architecture[0], architecture[2])
    expected = theirs(*(torch.from_numpy(array) for array in inputs))
    for a, b in zip(ours(*(jnp.asarray(array) for array in inputs)), expected, strict=True):
        np.testing.assert_allclose(a, b.detach().numpy(), rtol=1e-12, atol=1e-13)


def initial_weights(twin: str) -> dict[str, np.ndarray]:
    ours, theirs = build("Autoencoder", 200, (300,), 100)
    if twin == "jax":
        return {key: np.asarray(array) for key, array in get_weights(ours).items()}
    return torch_ref.weights.get_weights(theirs)


@pytest.mark.parametrize("twin", ["jax", "torch"])
def test_linear_layers_start_uniform_within_one_over_root_fan_in(twin):
    weights = initial_weights(twin)
    for key, array in weights.items():
        fan_in = weights[key.replace("bias", "kernel")].shape[0]
        bound = fan_in**-0.5
        uniform = kstest(array.ravel(), "uniform", args=(-bound, 2 * bound))
        assert np.abs(array).max() <= bound
        assert uniform.pvalue > 1e-3 / len(weights), key  # 1e-3 for all arrays together


@pytest.mark.parametrize("twin", ["jax", "torch"])
def test_initial_weights_follow_the_distribution_of_torch_linear(twin):
    linear = torch.nn.Linear(200, 300)
    theirs = [linear.weight.detach().numpy(), linear.bias.detach().numpy()]
    ours = [initial_weights(twin)[f"encoder.0.{kind}"] for kind in ("kernel", "bias")]
    for a, b in zip(ours, theirs, strict=True):
        assert kstest(a.ravel(), b.ravel()).pvalue > 1e-3


@pytest.mark.parametrize("twin", ["jax", "torch"])
def test_projections_have_length_one(twin):
    ours, theirs = build("SimCLREncoder", 5, (7,), 3)
    x = np.random.default_rng(0).normal(size=(11, 5)).astype(np.float32)
    z = ours(jnp.asarray(x))[1] if twin == "jax" else theirs(torch.from_numpy(x))[1].detach()
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("twin", ["jax", "torch"])
def test_normalising_zero_gives_zero_and_a_finite_gradient(twin, dtype):
    if twin == "jax":
        v = jnp.zeros((1, 3), dtype)
        gradient = jax.grad(lambda v: jaxrep.losses.l2_normalize(v).sum())(v)
        value = jaxrep.losses.l2_normalize(v)
        assert bool(jnp.isfinite(gradient).all())
    else:
        v = torch.zeros(1, 3, dtype=getattr(torch, dtype), requires_grad=True)
        value = torch_ref.losses.l2_normalize(v)
        value.sum().backward()
        value = value.detach()
        assert bool(v.grad.isfinite().all())
    assert float(abs(value).max()) == 0.0


@pytest.mark.parametrize("twin", ["jax", "torch"])
def test_weights_of_another_name_or_shape_are_refused_by_name(twin):
    ours, theirs = build("VAE", 5, (7,), 3)
    load = (
        (lambda weights: with_weights(ours, weights))
        if twin == "jax"
        else (lambda weights: torch_ref.weights.with_weights(theirs, weights))
    )
    with pytest.raises(ValueError, match=r"no weights named \['sigma.kernel'\]"):
        load({"sigma.kernel": np.zeros((7, 3))})
    with pytest.raises(ValueError, match=r"mu\.kernel has shape \(3, 7\).*\(7, 3\)"):
        load({"mu.kernel": np.zeros((3, 7))})


def test_with_weights_leaves_the_first_model_alone():
    model, _ = build("VAE", 5, (7,), 3)
    before = np.asarray(get_weights(model)["mu.bias"])
    changed = with_weights(model, {"mu.bias": jnp.ones(3)})
    assert (np.asarray(get_weights(model)["mu.bias"]) == before).all()
    assert (np.asarray(get_weights(changed)["mu.bias"]) == 1).all()
