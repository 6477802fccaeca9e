"""Normalisation: both twins against PyTorch's own layers and against the formula in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import jaxrep.networks
import torch_ref.networks
from jaxrep.networks import get_model_state, get_weights, with_weights
from tests.helpers.twins import TWINS

pytestmark = pytest.mark.quick

ROWS, WIDTH = 7, 3
X = np.random.default_rng(0).normal(2, 3, size=(ROWS, WIDTH))
COTANGENT = np.random.default_rng(1).normal(size=(ROWS, WIDTH))
START = {
    "scale": np.array([0.5, 1.0, 2.0]),
    "bias": np.array([1.0, 0.0, -1.0]),
    "mean": np.array([0.1, -0.2, 0.3]),
    "var": np.array([2.0, 0.5, 1.0]),
}
EQUAL, FRACTIONS = np.full(ROWS, 2.0), np.array([0.0, 0.5, 1.0, 2.0, 0.0, 3.0, 0.25])


def normalise(twin, kind, x, weights=None, training=True, start=START, cotangent=COTANGENT):
    """The result, the gradients by x, scale and bias, and what the layer keeps, in float64."""
    if twin == "jax":
        with jax.enable_x64(True):
            return _in_jax(kind, x, weights, training, start, cotangent)
    layer = getattr(torch_ref.networks, kind)(x.shape[1]).double().train(training)
    layer.load_state_dict({key: torch.tensor(start[key]) for key in layer.state_dict()})
    rows = torch.tensor(x, requires_grad=True)
    given = () if weights is None else (torch.tensor(weights),)
    found = layer(rows, *given)
    found.backward(torch.tensor(cotangent))
    gradients = [rows.grad, layer.scale.grad, layer.bias.grad]
    kept = {key: buffer.numpy() for key, buffer in layer.named_buffers()}
    return found.detach().numpy(), [array.numpy() for array in gradients], kept


def _in_jax(kind, x, weights, training, start, cotangent):
    layer = getattr(jaxrep.networks, kind)(x.shape[1])
    if training:
        layer.train()
    every = {key: jnp.asarray(start[key]) for key in get_weights(layer)}

    @jax.jit
    def compute(x, trained):
        def call(x, trained):
            model = with_weights(layer, every | trained)
            given = () if weights is None else (jnp.asarray(weights),)
            return model(x, *given), get_model_state(model)

        found, pull, kept = jax.vjp(call, x, trained, has_aux=True)
        return found, pull(jnp.asarray(cotangent)), kept

    trained = {key: every[key] for key in ("scale", "bias")}
    found, (by_x, by_trained), kept = compute(jnp.asarray(x), trained)
    gradients = [by_x, by_trained["scale"], by_trained["bias"]]
    return found, gradients, {key: np.asarray(array) for key, array in kept.items()}


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


def torchs_own(layer, x, training=True):
    layer = layer.double().train(training)
    state = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}
    own = layer.state_dict()
    layer.load_state_dict(
        {key: torch.tensor(START[state[key]]) if key in state else own[key] for key in own}
    )
    rows = torch.tensor(x, requires_grad=True)
    found = layer(rows)
    found.backward(torch.tensor(COTANGENT))
    gradients = [rows.grad.numpy(), layer.weight.grad.numpy(), layer.bias.grad.numpy()]
    return found.detach().numpy(), gradients, layer


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("weights", [None, EQUAL], ids=["without weights", "with equal weights"])
@pytest.mark.parametrize("twin", TWINS)
def test_batch_norm_of_equal_rows_is_that_of_torch(twin, weights, training):
    expected, gradients, layer = torchs_own(torch.nn.BatchNorm1d(WIDTH), X, training)
    found, ours, kept = normalise(twin, "BatchNorm", X, weights, training)
    assert_close(found, expected)
    for a, b in zip(ours, gradients, strict=True):
        assert_close(a, b)
    assert_close(kept["mean"], layer.running_mean)
    assert_close(kept["var"], layer.running_var)


@pytest.mark.parametrize("twin", TWINS)
def test_weights_of_rows_weigh_what_batch_norm_counts(twin):
    share = FRACTIONS / FRACTIONS.sum()
    mean = share @ X
    var = share @ (X - mean) ** 2
    found, _, kept = normalise(twin, "BatchNorm", X, FRACTIONS)
    assert_close(found, (X - mean) / np.sqrt(var + 1e-5) * START["scale"] + START["bias"])
    assert_close(kept["mean"], 0.9 * START["mean"] + 0.1 * mean)
    assert_close(kept["var"], 0.9 * START["var"] + 0.1 * var / (1 - (share**2).sum()))


def test_gradients_with_weights_agree_between_the_twins():
    for a, b in zip(
        *(normalise(twin, "BatchNorm", X, FRACTIONS)[1] for twin in TWINS), strict=True
    ):
        assert_close(a, b)


@pytest.mark.parametrize("twin", TWINS)
def test_padding_changes_nothing_of_batch_norm(twin):
    plain = normalise(twin, "BatchNorm", X[:5], np.ones(5), cotangent=COTANGENT[:5])
    padded_rows = np.concatenate([X[:5], np.full((2, WIDTH), 1e3)])
    cotangent = np.where(np.arange(ROWS)[:, None] < 5, COTANGENT, 0)
    weights = (np.arange(ROWS) < 5).astype(float)
    padded = normalise(twin, "BatchNorm", padded_rows, weights, cotangent=cotangent)
    assert_close(padded[0][:5], plain[0])
    assert_close(padded[1][0][:5], plain[1][0])
    assert (np.asarray(padded[1][0])[5:] == 0).all()
    for key, array in plain[2].items():
        assert_close(padded[2][key], array)


@pytest.mark.parametrize("weights", [np.zeros(ROWS), np.eye(ROWS)[2]], ids=["none", "one"])
@pytest.mark.parametrize("twin", TWINS)
def test_a_batch_of_at_most_one_row_leaves_the_running_statistics(twin, weights):
    found, gradients, kept = normalise(twin, "BatchNorm", X, weights)
    for array in (found, *gradients):
        assert np.isfinite(array).all()
    for key in ("mean", "var"):
        assert_close(kept[key], START[key])


@pytest.mark.parametrize("twin", TWINS)
def test_a_serving_batch_norm_depends_on_the_row_alone(twin):
    found, _, kept = normalise(twin, "BatchNorm", X, FRACTIONS, training=False)
    scale = START["scale"] / np.sqrt(START["var"] + 1e-5)
    assert_close(found, (X - START["mean"]) * scale + START["bias"])
    for key in ("mean", "var"):
        np.testing.assert_array_equal(kept[key], START[key])


@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize("twin", TWINS)
def test_layer_norm_is_that_of_torch(twin, offset):
    expected, gradients, _ = torchs_own(torch.nn.LayerNorm(WIDTH), X + offset)
    found, ours, kept = normalise(twin, "LayerNorm", X + offset)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-11)
    for a, b in zip(ours, gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)
    assert kept == {}


@pytest.mark.parametrize("kind", ["BatchNorm", "LayerNorm"])
def test_in_bfloat16_statistics_are_of_more_digits(kind):
    layer = getattr(jaxrep.networks, kind)(WIDTH)
    layer.train()
    x = jnp.asarray(X + 100, jnp.bfloat16)
    found = layer(x)
    assert found.dtype == jnp.bfloat16
    same = getattr(jaxrep.networks, kind)(WIDTH)
    same.train()
    np.testing.assert_array_equal(found, same(x.astype(jnp.float32)).astype(jnp.bfloat16))
