"""Each loss: against loops in float64, in closed form, at extremes, and against its twin."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics
import torch

import jaxrep.losses
import torch_ref.losses
from tests.helpers import oracles
from tests.helpers.losses import CASES, draw
from tests.helpers.twins import TOLERANCE, TWINS, evaluate, normwise_error, rounded

SHAPES = ((1, 1), (3, 4), (6, 8))


def row_weights(batch: int) -> dict[str, np.ndarray | None]:
    fractions = np.random.default_rng(batch).uniform(0.1, 2.0, batch)
    some_zero = np.where(np.arange(batch) % 3 == 1, 0.0, fractions)
    return {"none": None, "fractions": fractions, "some zero": some_zero}


@pytest.mark.parametrize("weighting", ["none", "fractions", "some zero"])
@pytest.mark.parametrize(("batch", "width"), SHAPES)
@pytest.mark.parametrize(("name", "settings"), CASES)
@pytest.mark.parametrize("twin", TWINS)
def test_value_and_gradient_equal_the_loops(twin, name, settings, batch, width, weighting):
    arrays = draw(name, batch, width)
    weights = row_weights(batch)[weighting]
    found = evaluate(twin, name, arrays, weights=weights, **settings)
    oracle = getattr(oracles, name)
    assert found.value == pytest.approx(oracle(*arrays, weights=weights, **settings), rel=1e-12)
    expected = oracles.gradients(oracle, arrays, weights=weights, **settings)
    # Central differences of step h in float64: error ~ h²·f'''/6 + u·f/h, f''' ~ τ⁻³.
    tolerance = 1e-12 * settings.get("temperature", 1.0) ** -3 / 6 + 1e-8
    for gradient, difference in zip(found.gradients, expected, strict=True):
        assert np.max(np.abs(gradient - difference)) <= tolerance * max(1, abs(difference).max())


@pytest.mark.parametrize(
    ("batch", "dtype"), [(17, dtype) for dtype in TOLERANCE] + [(1, "float64"), (1, "float32")]
)
@pytest.mark.parametrize("weighting", ["none", "some zero"])
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_twins_agree_in_value_and_gradient(name, settings, batch, weighting, dtype):
    arrays = [rounded(array, dtype) for array in draw(name, batch, 8, seed=1)]
    weights = row_weights(batch)[weighting]
    ours = evaluate("jax", name, arrays, dtype=dtype, weights=weights, **settings)
    theirs = evaluate("torch", name, arrays, dtype=dtype, weights=weights, **settings)
    assert ours.value == pytest.approx(
        theirs.value, rel=TOLERANCE[dtype], abs=1e-6 * (dtype != "float64")
    )
    for a, b in zip(ours.gradients, theirs.gradients, strict=True):
        assert normwise_error(a, b) <= TOLERANCE[dtype] or np.abs(a - b).max() < 1e-7


@pytest.mark.parametrize("twin", TWINS)
def test_mse_of_a_constant_shift_is_its_square(twin):
    x = np.arange(12.0).reshape(3, 4)
    assert evaluate(twin, "mse_loss", [x, x + 3.0]).value == pytest.approx(9.0, rel=1e-14)


@pytest.mark.parametrize("twin", TWINS)
def test_kl_of_scaled_and_shifted_normals_has_its_closed_form(twin):
    # KL(N(m, s²) ‖ N(0, 1)) = (m² + s² − 1)/2 − log s for each latent.
    mu, sigma = np.full((4, 5), 1.5), 0.5
    log_var = np.full((4, 5), 2 * math.log(sigma))
    expected = 5 * ((1.5**2 + sigma**2 - 1) / 2 - math.log(sigma))
    assert evaluate(twin, "gaussian_kl", [mu, log_var]).value == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("twin", TWINS)
def test_elbo_weighs_the_kl_with_beta_alone(twin):
    x, mu = np.zeros((2, 3)), np.ones((2, 4))
    arrays = [x, x + 1.0, mu, np.zeros((2, 4))]  # 3 of reconstruction, 2 of KL
    for beta in (0.0, 1.0, 4.0):
        assert evaluate(twin, "elbo_loss", arrays, beta=beta).value == pytest.approx(3 + 2 * beta)


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01])
@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize("twin", TWINS)
def test_nt_xent_of_collinear_views_is_the_log_of_all_others(twin, batch, temperature):
    z = np.tile([[0.6, 0.8]], (batch, 1))
    found = evaluate(twin, "nt_xent_loss", [z, z], temperature=temperature)
    assert found.value == pytest.approx(math.log(2 * batch - 1), rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("twin", TWINS)
def test_nt_xent_of_a_single_row_is_exactly_zero(twin, dtype):
    for batch, weights in ((1, None), (3, np.array([0.0, 2.0, 0.0]))):
        arrays = draw("nt_xent_loss", batch, 7)
        found = evaluate(
            twin, "nt_xent_loss", arrays, dtype=dtype, weights=weights, temperature=0.1
        )
        assert found.value == 0.0
        assert all((gradient == 0).all() for gradient in found.gradients)


@pytest.mark.parametrize("twin", TWINS)
def test_nt_xent_does_not_change_when_the_views_are_swapped(twin):
    z1, z2 = draw("nt_xent_loss", 6, 5)
    one = evaluate(twin, "nt_xent_loss", [z1, z2], temperature=0.2).value
    other = evaluate(twin, "nt_xent_loss", [z2, z1], temperature=0.2).value
    assert one == pytest.approx(other, rel=1e-14)


EXTREMES = {
    "zero rows": [np.zeros((3, 4)), np.zeros((3, 4))],
    "one zero row": [np.eye(4)[:3] * [[0], [1], [1]], np.eye(4)[:3]],
    "identical rows": [np.tile(np.eye(4)[:1], (3, 1))] * 2,
    "opposite views": [np.eye(4)[:3], -np.eye(4)[:3]],
    "one row": [np.eye(4)[:1], np.eye(4)[1:2]],
}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.02, 0.01])
@pytest.mark.parametrize("case", EXTREMES)
@pytest.mark.parametrize("twin", TWINS)
def test_nt_xent_and_its_gradient_are_finite_at_extremes(twin, case, temperature, dtype):
    arrays = EXTREMES[case]
    found = evaluate(twin, "nt_xent_loss", arrays, dtype=dtype, temperature=temperature)
    expected = oracles.nt_xent_loss(*arrays, temperature=temperature)
    assert found.value == pytest.approx(expected, rel=TOLERANCE[dtype], abs=1e-6)
    assert all(np.isfinite(gradient).all() for gradient in found.gradients)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("twin", TWINS)
def test_kl_keeps_its_digits_close_to_the_prior(twin, dtype):
    # The textbook form is 2.7 % wrong in float32 at this scale, in both frameworks alike.
    arrays = [rounded(array, dtype) for array in draw("gaussian_kl", 16, 8, scale=1e-3)]
    found = evaluate(twin, "gaussian_kl", arrays, dtype=dtype)
    expected = oracles.gaussian_kl(*arrays)
    assert found.value == pytest.approx(expected, rel=1e-12 if dtype == "float64" else 1e-4)
    for gradient, array in zip(
        found.gradients, (arrays[0], 0.5 * np.expm1(arrays[1])), strict=True
    ):
        assert normwise_error(gradient, array / 16) <= (1e-12 if dtype == "float64" else 1e-6)


@pytest.mark.parametrize("name", ["gaussian_kl", "elbo_loss"])
@pytest.mark.parametrize("twin", TWINS)
def test_kl_is_finite_for_large_and_tiny_variances(twin, name):
    mu, log_var = np.full((2, 3), 100.0), np.array([[-80.0, 0.0, 80.0]] * 2)
    x = np.zeros((2, 4))
    arrays = [mu, log_var] if name == "gaussian_kl" else [x, x + 1e3, mu, log_var]
    settings = {} if name == "gaussian_kl" else {"beta": 1.0}
    found = evaluate(twin, name, arrays, dtype="float32", **settings)
    assert math.isfinite(found.value)
    assert all(np.isfinite(gradient).all() for gradient in found.gradients)


@pytest.mark.parametrize(("name", "settings"), CASES)
@pytest.mark.parametrize("twin", TWINS)
def test_weights_that_are_all_zero_give_zero_and_no_gradient(twin, name, settings):
    found = evaluate(twin, name, draw(name, 4, 5), weights=np.zeros(4), **settings)
    assert found.value == 0.0
    assert all((gradient == 0).all() for gradient in found.gradients)


@pytest.mark.parametrize(("name", "settings"), CASES)
@pytest.mark.parametrize("twin", TWINS)
def test_weights_count_only_relative_to_each_other(twin, name, settings):
    arrays, weights = draw(name, 5, 6), row_weights(5)["some zero"]
    one = evaluate(twin, name, arrays, weights=weights, **settings)
    other = evaluate(twin, name, arrays, weights=8.0 * weights, **settings)
    assert one.value == pytest.approx(other.value, rel=1e-14)


@pytest.mark.parametrize(("name", "settings"), [c for c in CASES if c[0] != "nt_xent_loss"])
@pytest.mark.parametrize("twin", TWINS)
def test_doubling_the_batch_changes_no_mean(twin, name, settings):
    arrays = draw(name, 4, 5)
    once = evaluate(twin, name, arrays, **settings)
    twice = evaluate(twin, name, [np.concatenate([a, a]) for a in arrays], **settings)
    assert once.value == pytest.approx(twice.value, rel=1e-14)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("twin", TWINS)
def test_cross_entropy_of_equal_logits_is_the_log_of_the_number_of_classes(twin, classes):
    arrays = [np.full((3, classes), 7.0), np.arange(3, dtype=np.int32) % classes]
    for label_smoothing in (0.0, 0.3, 1.0):
        found = evaluate(twin, "cross_entropy", arrays, label_smoothing=label_smoothing)
        assert found.value == pytest.approx(math.log(classes), rel=1e-14)


@pytest.mark.parametrize("twin", TWINS)
def test_cross_entropy_is_the_log_loss_of_scikit_learn(twin):
    logits, classes = draw("cross_entropy", 20, 4)
    weights = row_weights(20)["some zero"]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for given in (None, weights):
        found = evaluate(twin, "cross_entropy", [logits, classes], weights=given)
        expected = sklearn.metrics.log_loss(classes, p, sample_weight=given, labels=range(4))
        assert found.value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("twin", TWINS)
def test_cross_entropy_and_its_gradient_are_those_of_torch(twin, label_smoothing):
    arrays = draw("cross_entropy", 9, 4)
    logits = torch.tensor(arrays[0], requires_grad=True)
    classes = torch.from_numpy(arrays[1]).long()
    loss = torch.nn.functional.cross_entropy(logits, classes, label_smoothing=label_smoothing)
    loss.backward()
    found = evaluate(twin, "cross_entropy", arrays, label_smoothing=label_smoothing)
    assert found.value == pytest.approx(loss.item(), rel=1e-12)
    assert normwise_error(found.gradients[0], logits.grad.numpy()) <= 1e-12


@pytest.mark.parametrize("label_smoothing", [0.0, 0.125])
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("twin", TWINS)
def test_cross_entropy_of_extreme_logits_is_exact_and_finite(twin, dtype, label_smoothing):
    logits = np.array([[1e4, -1e4], [-1e4, 1e4], [1e4, 1e4], [0.0, -1e4]])
    logits, classes = rounded(logits, dtype), np.zeros(4, np.int32)
    settings = {"label_smoothing": label_smoothing}
    found = evaluate(twin, "cross_entropy", [logits, classes], dtype=dtype, **settings)
    expected = oracles.cross_entropy(logits, classes, **settings)
    assert found.value == pytest.approx(expected, rel=1e-6)
    [gradient] = oracles.cross_entropy_gradients(logits, classes, **settings)
    assert normwise_error(found.gradients[0], gradient) <= TOLERANCE[dtype]


@pytest.mark.parametrize("twin", TWINS)
def test_a_smoothing_of_a_half_type_still_makes_targets_that_sum_to_one(twin):
    # In bfloat16 1 − ε would be rounded.
    arrays, epsilon = draw("cross_entropy", 5, 3), 0.10009765625  # exact in bfloat16
    expected = oracles.cross_entropy(*arrays, label_smoothing=epsilon)
    if twin == "jax":
        inputs = jnp.asarray(arrays[0], "float32"), jnp.asarray(arrays[1])
        smoothing = jnp.asarray(epsilon, "bfloat16")
        found = jaxrep.losses.cross_entropy(*inputs, label_smoothing=smoothing)
    else:
        inputs = torch.tensor(arrays[0], dtype=torch.float32), torch.tensor(arrays[1])
        smoothing = torch.tensor(epsilon, dtype=torch.bfloat16)
        found = torch_ref.losses.cross_entropy(*inputs, label_smoothing=smoothing)
    assert float(found) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["cross_entropy", "half_squared_error"])
@pytest.mark.parametrize("twin", TWINS)
def test_a_row_of_weight_zero_changes_no_bit_whatever_its_target(twin, name):
    arrays, weights = draw(name, 4, 3), np.array([1.0, 0.0, 2.0, 0.5])
    changed = [array.copy() for array in arrays]
    changed[0][1], changed[1][1] = 1e4, -1  # -1: a class that is not known
    one, other = (evaluate(twin, name, each, weights=weights) for each in (arrays, changed))
    assert one.value == other.value
    for a, b in zip(one.gradients, other.gradients, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (b[1] == 0).all()


@pytest.mark.parametrize("twin", TWINS)
def test_half_squared_error_of_a_constant_shift_is_half_its_square(twin):
    targets = np.arange(4.0)
    found = evaluate(twin, "half_squared_error", [targets + 3.0, targets])
    assert found.value == pytest.approx(4.5, rel=1e-14)
    np.testing.assert_allclose(found.gradients[0], 3.0 / 4, rtol=1e-14)
    expected = sklearn.metrics.mean_squared_error(targets, targets + 3.0) / 2
    assert found.value == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("twin", TWINS)
def test_the_mean_over_rows_of_a_half_type_is_computed_in_float32(twin):
    rows = np.array([1.0, *[2.0**-8] * 255])  # of which bfloat16 would lose all but the first
    if twin == "jax":
        found = jaxrep.losses.mean_over_rows(jnp.asarray(rows, "bfloat16"), None)
        assert found.dtype == jnp.float32
    else:
        found = torch_ref.losses.mean_over_rows(torch.tensor(rows, dtype=torch.bfloat16), None)
        assert found.dtype == torch.float32
    assert float(found) == pytest.approx(rows.mean(), rel=1e-6)
