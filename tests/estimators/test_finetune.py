"""Heads on a pre-trained backbone: against scikit-learn, against float64, frozen and trained on."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from jaxrep import finetune
from jaxrep.batch import RowSpec
from jaxrep.data import datasets, preprocessing
from jaxrep.errors import InputError
from jaxrep.finetune import Backbone, FineTunedClassifier, FineTunedRegressor
from jaxrep.inference import map_rows
from jaxrep.methods import Autoencoder, AutoencoderHyperparameters
from jaxrep.runs import folder
from jaxrep.runs.train import Columns, train
from jaxrep.training import fit
from tests.helpers.compilations import count_compilations

SETTINGS = {"hidden_dims": (32,), "latent_dim": 16, "learning_rate": 3e-3}


def table(name):
    """A bundled set as standardised rows, and its label as text."""
    whole = datasets.load(name)
    y = np.array(whole[datasets.LABELS[name]].to_pylist())
    prepared, _ = preprocessing.fit(whole, source=name, label=datasets.LABELS[name])
    return preprocessing.apply(prepared, whole, source=name), y


@pytest.fixture(scope="module")
def digits():
    """Rows, classes, and a backbone that has seen the rows without their classes."""
    x, y = table("digits")
    method = Autoencoder(AutoencoderHyperparameters(epochs=30, **SETTINGS))
    return x, y, Backbone(method, fit(method, x).weights, RowSpec(x.shape[1]))


@pytest.fixture(scope="module")
def diabetes():
    x, y = table("diabetes")
    method = Autoencoder(AutoencoderHyperparameters(epochs=30, hidden_dims=(16,), latent_dim=8))
    backbone = Backbone(method, fit(method, x).weights, RowSpec(x.shape[1]))
    return x, y.astype(float), backbone


def embedded(backbone, x):
    z = map_rows(backbone.method, "embed", backbone.weights, x, backbone.rows)
    return StandardScaler().fit_transform(z.astype(np.float64))


CONVERGED = {"epochs": 3000, "batch_size": 512, "learning_rate": 0.03, "l2": 0.02}


# Adam on batches comes as near as this to the optimum that scikit-learn's solvers find; a row or
# two between two classes may fall to the other.
def test_a_linear_head_on_a_frozen_backbone_is_logistic_regression_of_its_embedding(digits):
    x, y, backbone = digits
    x, y = x[:300], y[:300]
    head = FineTunedClassifier(backbone=backbone, **CONVERGED).fit(x, y)
    z = embedded(backbone, x)
    peer = LogisticRegression(C=1 / (len(x) * 0.02), tol=1e-8, max_iter=5000).fit(z, y)
    np.testing.assert_allclose(head.predict_proba(x), peer.predict_proba(z), atol=1e-3)
    assert head.score(x, y) == pytest.approx(peer.score(z, y), abs=1e-2)


def test_a_linear_head_on_a_frozen_backbone_is_ridge_regression_of_its_embedding(diabetes):
    x, y, backbone = diabetes
    head = FineTunedRegressor(backbone=backbone, **CONVERGED).fit(x, y)
    z = embedded(backbone, x)
    peer = Ridge(alpha=len(x) * 0.02).fit(z, y)
    np.testing.assert_allclose(head.predict(x), peer.predict(z), atol=1e-3 * y.std())


def test_a_frozen_backbone_keeps_its_bits_and_one_trained_on_does_not(digits):
    x, y, backbone = digits
    frozen, trained = (
        FineTunedClassifier(backbone=backbone, frozen=f, epochs=2).fit(x[:150], y[:150])
        for f in (True, False)
    )
    for name, array in backbone.weights.items():
        assert np.asarray(array).tobytes() == frozen.backbone_weights_[name].tobytes(), name
        moved = np.asarray(array).tobytes() != trained.backbone_weights_[name].tobytes()
        assert moved == name.startswith("encoder"), name  # nothing reaches the decoder


def test_a_backbone_learning_rate_of_zero_is_a_frozen_backbone(digits):
    x, y, backbone = digits
    still, frozen = (
        FineTunedClassifier(backbone=backbone, epochs=2, **given).fit(x[:150], y[:150])
        for given in ({"frozen": False, "backbone_learning_rate": 0.0}, {"frozen": True})
    )
    np.testing.assert_allclose(still.predict_proba(x), frozen.predict_proba(x), atol=1e-5)


@pytest.mark.quick
@pytest.mark.parametrize("target", ["classes", "numbers"])
def test_the_gradient_of_the_head_is_that_of_float64(target):
    rng = np.random.default_rng(0)
    z, weights = rng.normal(size=(7, 3)), np.array([1, 1, 1, 1, 1, 0, 0])
    kernel, bias = rng.normal(size=(3, 4)), rng.normal(size=4)
    y = rng.integers(0, 4, 7) if target == "classes" else rng.normal(size=7)

    def loss(kernel, bias):
        total = 0.0
        for row, label, weight in zip(z, y, weights, strict=True):
            out = row @ kernel + bias
            of_classes = target == "classes"
            one = (
                np.log(np.exp(out).sum()) - out[label] if of_classes else (out[0] - label) ** 2 / 2
            )
            total += weight * one / weights.sum()
        return total + 0.15 * (kernel**2).sum()

    def slope(i):
        def shifted(sign):
            flat = np.concatenate([kernel.ravel(), bias])
            flat[i] += sign * 1e-6
            return loss(flat[:12].reshape(3, 4), flat[12:])

        return (shifted(1) - shifted(-1)) / 2e-6

    head = {"0.kernel": jnp.float32(kernel), "0.bias": jnp.float32(bias)}
    typed = jnp.int32(y) if target == "classes" else jnp.float32(y)
    value, gradient = jax.value_and_grad(finetune.head_loss)(
        head, jnp.float32(z), typed, jnp.float32(weights), 0.3, dims=(3, 4)
    )
    found = np.concatenate([np.ravel(gradient["0.kernel"]), gradient["0.bias"]])
    assert float(value) == pytest.approx(loss(kernel, bias), rel=1e-6)
    np.testing.assert_allclose(found, [slope(i) for i in range(16)], atol=2e-6)


def test_a_backbone_trained_on_beats_a_frozen_one_on_digits_with_few_labels(digits):
    x, y, backbone = digits
    frozen, trained = [], []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(x))
        few, rest = order[:200], order[200:]
        for scores, given in ((frozen, True), (trained, False)):
            head = FineTunedClassifier(backbone=backbone, frozen=given, seed=seed)
            scores.append(head.fit(x[few], y[few]).score(x[rest], y[rest]))
    assert np.mean(trained) > np.mean(frozen) + 0.01
    assert np.mean(trained) > 0.88


def test_an_mlp_head_learns_what_a_linear_one_cannot(digits):
    _, _, backbone = digits
    x = np.random.default_rng(0).normal(size=(400, 64)).astype(np.float32)
    z = embedded(backbone, x)
    y = z[:, 0] * z[:, 1] > 0
    scores = [
        FineTunedClassifier(backbone=backbone, head_dims=dims, l2=1e-4).fit(x, y).score(x, y)
        for dims in ((), (32,))
    ]
    assert scores[0] < 0.8 < 0.95 < scores[1]


@pytest.mark.parametrize("kind", [FineTunedClassifier, FineTunedRegressor])
def test_the_same_seed_gives_the_same_bits_and_another_does_not(digits, kind):
    x, y, backbone = digits
    y = y.astype(int)
    made = [
        kind(backbone=backbone, frozen=False, epochs=2, seed=seed).fit(x[:150], y[:150])
        for seed in (0, 0, 1)
    ]
    one, two, other = (m.backbone_weights_["encoder.0.kernel"].tobytes() for m in made)
    assert one == two != other
    again = pickle.loads(pickle.dumps(made[0])).predict(x)
    np.testing.assert_array_equal(again, made[0].predict(x))


def test_a_clone_has_the_parameters_and_nothing_fitted(digits):
    x, y, backbone = digits
    fitted = FineTunedClassifier(backbone=backbone, epochs=2, l2=0.5).fit(x[:150], y[:150])
    copy = clone(fitted)
    assert copy.get_params()["l2"] == 0.5
    assert copy.get_params().keys() == fitted.get_params().keys()
    assert not hasattr(copy, "classes_")
    copy.set_params(epochs=2).fit(x[:150], y[:150])
    assert len(copy.loss_curve_) == 2


def test_a_second_training_of_the_same_shapes_compiles_nothing(digits):
    x, y, backbone = digits
    FineTunedClassifier(backbone=backbone, frozen=False, epochs=2).fit(x[:150], y[:150])
    other = {"learning_rate": 0.1, "backbone_learning_rate": 1e-4, "l2": 0.3, "seed": 3}
    with jax.log_compiles(), count_compilations() as compiled:
        FineTunedClassifier(backbone=backbone, frozen=False, epochs=2, **other).fit(
            x[:150], y[:150]
        )
    assert not compiled


def test_a_row_is_predicted_alike_whatever_rows_come_with_it(digits):
    x, y, backbone = digits
    head = FineTunedClassifier(backbone=backbone, epochs=2).fit(x[:150], y[:150])
    together, alone = head.predict_proba(x), head.predict_proba(x[1100:1101])
    np.testing.assert_allclose(together[1100:1101], alone, atol=1e-7)
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-6)


def test_a_run_takes_the_table_in_its_own_units_as_an_array_and_by_name(tmp_path):
    train("iris", tmp_path / "run", AutoencoderHyperparameters(epochs=5), Columns())
    whole = datasets.load("iris")
    y = whole["target"].to_pylist()
    features = whole.drop_columns(["target"])
    raw = np.stack([column.to_numpy() for column in features.columns], axis=1)
    by_name = features.select(features.column_names[::-1])
    head = FineTunedClassifier(backbone=tmp_path / "run", epochs=50).fit(raw, y)
    assert head.score(raw, y) > 0.85
    np.testing.assert_array_equal(head.predict(raw), head.predict(by_name))
    loaded = FineTunedClassifier(backbone=folder.load(tmp_path / "run"), epochs=50).fit(by_name, y)
    np.testing.assert_array_equal(head.predict_proba(raw), loaded.predict_proba(raw))
    with pytest.raises(InputError, match="missing columns 'sepal length"):
        head.predict(pa.table({"a": [1.0]}))


@pytest.mark.parametrize(
    ("given", "y", "message"),
    [
        ({}, ["a"] * 20, "one class alone, 'a'"),
        ({}, ["a"] * 19, "20 rows and y 19 values"),
        ({}, [None, *["a", "b"] * 9, "a"], "missing in 1 of 20"),
        ({}, np.zeros((20, 2)), r"shape \(20, 2\)"),
        ({"l2": -1.0}, ["a", "b"] * 10, "l2 is -1.0"),
        ({"backbone_learning_rate": -1.0}, ["a", "b"] * 10, "backbone_learning_rate is -1.0"),
        ({"head_dims": (0,)}, ["a", "b"] * 10, r"head_dims is \(0,\)"),
        ({"epochs": 0}, ["a", "b"] * 10, "epochs is 0"),
        ({"backbone": 3}, ["a", "b"] * 10, "backbone is int"),
        ({"frozen": "no"}, ["a", "b"] * 10, "frozen is 'no'"),
        ({}, [object() for _ in range(20)], "cannot be sorted"),
        ({}, pd.array([pd.NA, *["a", "b"] * 9, "a"], dtype="string"), "missing in 1 of 20"),
        ({"backbone": "nowhere"}, ["a", "b"] * 10, "not a run folder"),
    ],
)
def test_a_classifier_says_what_is_wrong(digits, given, y, message):
    x, _, backbone = digits
    with pytest.raises(InputError, match=message):
        FineTunedClassifier(**{"backbone": backbone} | given).fit(x[:20], y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["a", "b"] * 10, "y must be numbers"),
        ([1.0] * 20, "y is 1 in all rows"),
        ([np.inf, *[1.0, 2.0] * 9, 1.0], "infinite"),
        ([np.nan, *[1.0, 2.0] * 9, 1.0], "missing in 1 of 20"),
        (np.arange(20) * 1j, "y must be numbers"),
    ],
)
def test_a_regressor_says_what_is_wrong(digits, y, message):
    x, _, backbone = digits
    with pytest.raises(InputError, match=message):
        FineTunedRegressor(backbone=backbone).fit(x[:20], y)


@pytest.mark.parametrize("unit", [1e300, 1e-300])
def test_a_regressor_predicts_numbers_of_any_size(digits, unit):
    x, _, backbone = digits
    target = x[:40, 10].astype(np.float64)
    head = FineTunedRegressor(backbone=backbone, epochs=2)
    ordinary = head.fit(x[:40], target).predict(x[:40])
    found = head.fit(x[:40], target * unit).predict(x[:40]) / unit
    np.testing.assert_allclose(found, ordinary, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [FineTunedClassifier, FineTunedRegressor])
def test_predicting_before_fit_is_scikit_learns_error(digits, kind):
    x, _, backbone = digits
    with pytest.raises(NotFittedError):
        kind(backbone=backbone).predict(x[:2])


def test_numbers_of_numpy_are_numbers(digits):
    x, y, backbone = digits
    given = {"epochs": np.int64(2), "batch_size": np.int64(8), "l2": np.float32(0.5)}
    head = FineTunedClassifier(backbone=backbone, head_dims=[np.int64(3)], **given)
    assert head.fit(x[:20], y[:20]).loss_curve_.shape == (2,)


def test_rows_that_do_not_fit_the_backbone_are_refused(digits):
    x, y, backbone = digits
    head = FineTunedClassifier(backbone=backbone)
    with pytest.raises(InputError, match="X is NoneType"):
        head.fit(None, y[:20])
    with pytest.raises(InputError, match="beyond float32"):
        head.fit(x[:20].astype(np.float64) + 1e300, y[:20])
    fitted = FineTunedClassifier(backbone=backbone, epochs=1).fit(x[:20], y[:20])
    with pytest.raises(InputError, match="0 samples"):
        fitted.predict(x[:0])
    with pytest.raises(InputError, match=r"must be \(rows, 64\)"):
        head.fit(x[:20, :3], y[:20])
    with pytest.raises(InputError, match="missing, infinite"):
        head.fit(np.full((20, 64), np.nan), ["a", "b"] * 10)
    with pytest.raises(InputError, match="1 sample"):
        head.fit(x[:1], y[:1])


@pytest.mark.quick
def test_an_epoch_holds_every_row_once_and_padding_weighs_nothing():
    key, orders = jax.random.key(0), []
    for epoch in range(2):
        rows, weights = [], []
        for place in range(3):
            one, inside = finetune._rows_of_step(key, epoch, place, size=50, batch_size=20)
            rows += one.tolist()
            weights += inside.tolist()
        orders.append([row for row, weight in zip(rows, weights, strict=True) if weight])
        assert sorted(orders[-1]) == list(range(50))
        assert weights == [1.0] * 50 + [0.0] * 10
    assert orders[0] != orders[1]
    head = {"0.kernel": jnp.ones((3, 2)), "0.bias": jnp.ones(2)}
    z, y = jnp.arange(12.0).reshape(4, 3), jnp.int32([0, 1, 1, 0])
    padded = finetune.head_loss(head, z, y, jnp.float32([1, 1, 0, 0]), 0.1, dims=(3, 2))
    alone = finetune.head_loss(head, z[:2], y[:2], jnp.ones(2), 0.1, dims=(3, 2))
    assert float(padded) == pytest.approx(float(alone))
