"""What is kept and never trained: frozen parameters and standardisation, in both twins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import torch_ref.networks
import torch_ref.weights
from jaxrep.networks import (
    MLP,
    BatchNorm,
    Frozen,
    Standardisation,
    freeze,
    get_model_state,
    get_weights,
    with_weights,
)

pytestmark = pytest.mark.quick

X = np.random.default_rng(0).normal(2, 3, size=(7, 3))
STATISTICS = {"mean": np.array([1.0, -2.0, 0.5]), "scale": np.array([0.5, 2.0, 3.0])}


class Tuned(nnx.Module):
    """A standardised backbone and a head."""

    def __init__(self):
        self.standardisation = Standardisation(3)
        self.backbone = MLP((3, 4, 2), rngs=nnx.Rngs(0))
        self.head = nnx.Linear(2, 1, rngs=nnx.Rngs(1))

    def __call__(self, x):
        return self.head(self.backbone(self.standardisation(x)))


class TorchTuned(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.standardisation = torch_ref.networks.Standardisation(3)
        self.backbone = torch_ref.networks.MLP((3, 4, 2), generator=torch.Generator())
        self.head = torch.nn.Linear(2, 1)

    def forward(self, x):
        return self.head(self.backbone(self.standardisation(x)))


BACKBONE = ["backbone.0.bias", "backbone.0.kernel", "backbone.1.bias", "backbone.1.kernel"]
HEAD = ["head.bias", "head.kernel"]
KEPT = [*BACKBONE, "standardisation.mean", "standardisation.scale"]


def test_what_is_frozen_keeps_its_name_and_value_and_is_no_parameter():
    model = Tuned()
    before = get_weights(model)
    freeze(model.backbone)
    assert list(get_weights(model, nnx.Param)) == HEAD
    assert list(get_weights(model, Frozen)) == list(get_model_state(model)) == KEPT
    after = get_weights(model)
    assert list(after) == list(before)
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)


def test_freezing_again_changes_nothing_and_gradients_pass_through():
    model = Tuned()
    x, expected = jnp.asarray(X, "float32"), np.asarray(Tuned()(jnp.asarray(X, "float32")))
    freeze(model.backbone)
    freeze(model.backbone)
    np.testing.assert_array_equal(model(x), expected)
    assert jnp.any(jax.grad(lambda x: model(x).sum())(x) != 0)
    gradient = nnx.grad(lambda model: model(x).sum())(model)
    assert {path[0] for path, _ in nnx.to_flat_state(gradient)} == {"head"}


def test_a_copy_with_other_weights_is_as_frozen_as_the_first():
    model = nnx.eval_shape(frozen_model)
    weights = get_weights(frozen_model()) | {"backbone.1.bias": jnp.array([5.0, 7.0])}
    filled = with_weights(model, weights)
    np.testing.assert_array_equal(get_model_state(filled)["backbone.1.bias"], [5.0, 7.0])
    assert list(get_weights(filled, nnx.Param)) == HEAD


def frozen_model():
    model = Tuned()
    freeze(model.backbone)
    return model


def test_a_parameter_that_is_shared_stays_shared():
    model = nnx.Module()
    model.one = nnx.Param(jnp.ones(2))
    model.others = nnx.List([model.one, nnx.Param(jnp.zeros(2))])
    freeze(model)
    assert isinstance(model.one, Frozen)
    assert model.others[0] is model.one
    assert model.others[1] is not model.one


def test_parameters_that_cannot_be_reached_are_named():
    model = nnx.Module()
    model.plain = nnx.data([nnx.Param(jnp.ones(2))])
    with pytest.raises(ValueError, match=r"\['plain.0'\] are in a plain list or dictionary"):
        freeze(model)


def test_running_statistics_are_not_frozen_in_either_twin():
    ours, theirs = BatchNorm(3), torch_ref.networks.BatchNorm(3)
    freeze(ours)
    torch_ref.networks.freeze(theirs)
    ours.train()
    ours(jnp.asarray(X, "float32"))
    theirs(torch.tensor(X, dtype=torch.float32))
    np.testing.assert_allclose(ours.mean[...], 0.1 * X.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(theirs.mean, 0.1 * X.mean(axis=0), rtol=1e-5)


def test_the_torch_twin_trains_the_same_parameters():
    model = TorchTuned()
    torch_ref.networks.freeze(model.backbone)
    trained = [
        torch_ref.weights.flat_name(name)
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    ]
    assert sorted(trained) == HEAD


def test_weights_pass_to_torch_and_back_bit_by_bit():
    ours, theirs = Tuned(), TorchTuned()
    freeze(ours.backbone)
    torch_ref.networks.freeze(theirs.backbone)
    statistics = {
        f"standardisation.{key}": jnp.asarray(a, "float32") for key, a in STATISTICS.items()
    }
    ours = with_weights(ours, statistics)
    weights = {key: np.asarray(array) for key, array in get_weights(ours).items()}
    torch_ref.weights.with_weights(theirs, weights)
    returned = torch_ref.weights.get_weights(theirs)
    assert list(returned) == list(weights) == sorted(KEPT + HEAD)
    for name, array in weights.items():
        np.testing.assert_array_equal(returned[name], array)
    again = with_weights(frozen_model(), {k: jnp.asarray(v) for k, v in returned.items()})
    x = X.astype(np.float32)
    np.testing.assert_array_equal(again(jnp.asarray(x)), ours(jnp.asarray(x)))
    np.testing.assert_allclose(
        theirs(torch.from_numpy(x)).detach(), ours(jnp.asarray(x)), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("twin", ["jax", "torch"])
def test_standardisation_follows_its_formula_and_starts_as_the_identity(twin, x64):
    if twin == "jax":
        layer, array = Standardisation(3), jnp.asarray
        filled = with_weights(layer, {key: array(value) for key, value in STATISTICS.items()})
    else:
        layer, array = torch_ref.networks.Standardisation(3).double(), torch.from_numpy
        np.testing.assert_array_equal(layer(array(X)), X)
        assert list(layer.parameters()) == []
        filled = torch_ref.weights.with_weights(layer, STATISTICS)
    if twin == "jax":
        np.testing.assert_array_equal(layer(array(X)), X)
    expected = (X - STATISTICS["mean"]) / STATISTICS["scale"]
    np.testing.assert_allclose(filled(array(X)), expected, rtol=1e-14)


def test_standardisation_in_bfloat16_subtracts_in_more_digits():
    layer = with_weights(Standardisation(3), {"mean": jnp.full(3, 100.3)})
    x = jnp.full((1, 3), 100.5, jnp.bfloat16)
    found = layer(x)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(found, layer(x.astype(jnp.float32)).astype(jnp.bfloat16))
