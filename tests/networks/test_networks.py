"""The networks: outputs, initial weights, and the flat dictionary between the twins."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from scipy.stats import kstest

import jaxrep.losses
import torch_ref.losses
import torch_ref.methods
import torch_ref.networks
import torch_ref.weights
from jaxrep import methods
from jaxrep.batch import Batch, RowSpec
from jaxrep.networks import Mahalanobis, get_weights, with_weights
from jaxrep.outputs import OUTPUTS
from jaxrep.parity._models import of_shape
from torch_ref.batch import Batch as TorchBatch

pytestmark = pytest.mark.quick

ARCHITECTURES = [(5, (), 2), (6, (9, 8), 4), (4, (4, 4), 4)]
NAMES = methods.names()


def build(name: str, numbers: int, hidden_dims: tuple[int, ...], latent_dim: int):
    hyperparameters = of_shape(name, hidden_dims, latent_dim)
    rows = RowSpec(numbers)
    ours = methods.make(hyperparameters).init(rows, nnx.Rngs(0))
    twin = torch_ref.methods.get(name)(**dataclasses.asdict(hyperparameters))
    return ours, twin.init(rows, torch.Generator().manual_seed(1))


def in_float64(ours, theirs):
    """Both networks with the first one's weights."""
    weights = {key: array.astype("float64") for key, array in get_weights(ours).items()}
    arrays = {key: np.asarray(array) for key, array in weights.items()}
    return with_weights(ours, weights), torch_ref.weights.with_weights(theirs.double(), arrays)


def results(found, output: str) -> tuple:
    """The arrays that an output gives: of rows, their numbers."""
    found = found if len(OUTPUTS[output].gives) > 1 else (found,)
    return tuple(getattr(each, "numbers", each) for each in found)


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
def test_every_output_that_is_declared_agrees_in_float64(name, architecture, x64):
    ours, theirs = in_float64(*build(name, *architecture))
    rng = np.random.default_rng(0)
    rows, codes = rng.normal(size=(9, architecture[0])), rng.normal(size=(9, architecture[2]))
    for output in ours.outputs:
        if OUTPUTS[output].takes == "rows":
            given, same = Batch(jnp.asarray(rows)), TorchBatch(torch.from_numpy(rows))
        else:
            taken = rng.normal(size=(9, ours.draws)) if OUTPUTS[output].takes == "draws" else codes
            given, same = jnp.asarray(taken), torch.from_numpy(taken)
        found, expected = getattr(ours, output)(given), getattr(theirs, output)(same)
        for a, b in zip(results(found, output), results(expected, output), strict=True):
            np.testing.assert_allclose(a, b.detach().numpy(), rtol=1e-12, atol=1e-13)


def test_sampling_passes_of_the_vae_agree_in_float64(x64):
    ours, theirs = in_float64(*build("vae", 6, (9, 8), 4))
    rng = np.random.default_rng(0)
    x, eps = rng.normal(size=(9, 6)), rng.normal(size=(9, 4))
    expected = theirs.sample(TorchBatch(torch.from_numpy(x)), torch.from_numpy(eps))
    for a, b in zip(ours.sample(Batch(jnp.asarray(x)), jnp.asarray(eps)), expected, strict=True):
        np.testing.assert_allclose(a, b.detach().numpy(), rtol=1e-12, atol=1e-13)


def initial_weights(twin: str) -> dict[str, np.ndarray]:
    ours, theirs = build("autoencoder", 200, (300,), 100)
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
    ours, theirs = build("simclr", 5, (7,), 3)
    x = np.random.default_rng(0).normal(size=(11, 5)).astype(np.float32)
    z = (
        ours.project(Batch(jnp.asarray(x)))
        if twin == "jax"
        else theirs.project(TorchBatch(torch.from_numpy(x))).detach()
    )
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
    ours, theirs = build("vae", 5, (7,), 3)
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
    model, _ = build("vae", 5, (7,), 3)
    before = np.asarray(get_weights(model)["mu.bias"])
    changed = with_weights(model, {"mu.bias": jnp.ones(3)})
    assert (np.asarray(get_weights(model)["mu.bias"]) == before).all()
    assert (np.asarray(get_weights(changed)["mu.bias"]) == 1).all()


@pytest.mark.parametrize("kind", [Mahalanobis, torch_ref.networks.Mahalanobis])
def test_statistics_whiten_the_rows_they_are_of(kind):
    h = np.random.default_rng(1).normal(size=(500, 3)) @ [[2, 1, 0], [0, 1, 0], [0, 0, 1]] + 7
    fitted = kind.fit(h.astype(np.float32))
    white = (h - fitted["mean"]) @ fitted["whitening"]
    np.testing.assert_allclose(white.T @ white / len(h), np.eye(3), atol=1e-2)


def test_statistics_of_the_twins_agree():
    h = np.maximum(np.random.default_rng(1).normal(size=(50, 4)), 0) * [1, 2, 3, 0]
    ours, theirs = (
        network.fit_statistics(Batch(h), lambda *_: h.astype(np.float32))
        for network in build("simclr", 5, (), 4)
    )
    assert ours.keys() == theirs.keys() == {"distance.mean", "distance.whitening"}
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [Mahalanobis, torch_ref.networks.Mahalanobis])
def test_units_that_relu_has_silenced_count_moderately(kind):
    statistics = kind.fit(np.zeros((20, 3), np.float32))
    assert np.abs(statistics["whitening"]).max() <= 1e3 * (1 + 1e-6)


def test_simclr_scores_training_rows_one_on_average_and_far_rows_higher():
    network, _ = build("simclr", 5, (32,), 8)
    batch = Batch(jnp.asarray(np.random.default_rng(2).normal(size=(500, 5)), jnp.float32))
    h = np.asarray(network.embed(batch))
    network = with_weights(network, network.fit_statistics(batch, lambda *_: h))
    scores = network.score(batch)
    # Raised eigenvalues take a little off each unit.
    varies = float((h.std(axis=0) > 0).mean())  # ReLU may have silenced a unit for all rows
    assert varies > 0 and float(scores.mean()) == pytest.approx(varies, rel=0.05)
    assert float(network.score(batch._replace(numbers=20 * batch.numbers)).mean()) > 10
