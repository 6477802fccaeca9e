"""Heads on a pre-trained backbone as estimators: against scikit-learn, and as runs."""

import dataclasses
import pickle
from collections.abc import Iterator
from pathlib import Path

import jax
import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from numpy.exceptions import ComplexWarning
from scipy.sparse import issparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.preprocessing import StandardScaler

import jaxrep
from jaxrep.data import datasets
from jaxrep.data.columns import Columns
from jaxrep.data.fit import fit
from jaxrep.errors import DataWarning, InputError
from jaxrep.estimators import AutoencoderEmbedding, FineTunedClassifier, FineTunedRegressor
from jaxrep.estimators._conversion import Rows, default_names
from jaxrep.methods import Autoencoder, AutoencoderHyperparameters, abstract_network
from jaxrep.networks import get_weights
from jaxrep.runs import folder
from jaxrep.runs.finetune import finetune
from jaxrep.runs.folder import Run
from jaxrep.runs.predictions import predict
from jaxrep.runs.training_rows import held_out_rows
from tests.helpers.compilations import count_compilations
from tests.helpers.contract import FAILING, checks_of

KINDS = (FineTunedClassifier, FineTunedRegressor)
FEW = 200  # rows that all tests train on, so that they share programs

# All these compile, and few train for long.
pytestmark = pytest.mark.usefixtures("compiled_fast")


@pytest.fixture(scope="module")
def digits():
    """Rows, classes, and a backbone that has seen the rows without their classes."""
    frame = datasets.load("digits").to_pandas()
    y = frame.pop("target").astype(int).astype(str).to_numpy(str)
    settings = {"hidden_dims": (32,), "latent_dim": 16, "learning_rate": 3e-3, "epochs": 30}
    X = frame.to_numpy()
    with pytest.warns(DataWarning, match="'x0' .constant: only one value, 0., 'x32'"):
        backbone = AutoencoderEmbedding(**settings).fit(X)
    return X, y, backbone


def standardised(backbone, X):
    return StandardScaler().fit_transform(backbone.transform(X).astype(np.float64))


def same(a: Run, b: Run) -> bool:
    """Whether two runs have the same weights, bit for bit."""
    one, other = a.weights, b.weights
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)


CONVERGED = {"epochs": 3000, "batch_size": 512, "learning_rate": 0.03, "l2": 0.02}


# Adam comes as near as this to the optimum that scikit-learn's solvers find; a row or two between
# two classes may fall to the other.
@pytest.mark.parametrize("weighted", [False, True])
def test_a_linear_head_on_a_frozen_backbone_is_logistic_regression(digits, weighted):
    X, y, backbone = digits
    weights = np.random.default_rng(0).integers(1, 4, FEW).astype(float) if weighted else None
    X, y = X[:FEW], y[:FEW]
    head = FineTunedClassifier(backbone=backbone, **CONVERGED).fit(X, y, weights)
    z = standardised(backbone, X)
    total = weights.sum() if weighted else FEW
    peer = LogisticRegression(C=1 / (total * 0.02), tol=1e-8, max_iter=5000).fit(z, y, weights)
    np.testing.assert_allclose(head.predict_proba(X), peer.predict_proba(z), atol=1e-3)
    assert head.score(X, y) == pytest.approx(peer.score(z, y), abs=1e-2)
    assert head.predict(X).dtype == y.dtype


def test_a_linear_head_on_a_frozen_backbone_is_ridge_regression(digits):
    X, _, backbone = digits
    y = 40 - 3 * X[:FEW, 20:24].sum(axis=1)
    head = FineTunedRegressor(backbone=backbone, **CONVERGED).fit(X[:FEW], y)
    z = standardised(backbone, X[:FEW])
    peer = Ridge(alpha=FEW * 0.02).fit(z, y)
    np.testing.assert_allclose(head.predict(X[:FEW]), peer.predict(z), atol=1e-3 * y.std())


def test_rows_of_no_weight_are_as_if_they_were_not_there(digits):
    X, y, backbone = digits
    weights = np.tile([5.0, 0.0], FEW)
    head = FineTunedClassifier(backbone=backbone, epochs=2)
    found = clone(head).fit(X[: 2 * FEW], y[: 2 * FEW], weights)
    kept = slice(0, 2 * FEW, 2)
    alone = clone(head).fit(X[kept], y[kept], np.ones(FEW))
    assert same(found.run_, alone.run_)
    count = np.flatnonzero(y != "3")[FEW]
    gone = clone(head).fit(X[:count], y[:count], (y[:count] != "3").astype(int))
    assert len(gone.classes_) == 10 and gone.run_.config["result"]["rows"] == FEW


def test_a_frozen_backbone_keeps_its_bits_and_one_trained_on_does_not(digits):
    X, y, backbone = digits
    frozen, trained = (
        FineTunedClassifier(backbone=backbone, frozen=f, epochs=2).fit(X[:FEW], y[:FEW])
        for f in (True, False)
    )
    for name, array in backbone.run_.weights.items():
        kept, moved = (m.run_.weights[f"backbone.{name}"] for m in (frozen, trained))
        assert np.array_equal(kept, array), name
        assert np.array_equal(moved, array) != name.startswith("encoder"), name  # no decoder
    np.testing.assert_array_equal(frozen.transform(X), backbone.transform(X))
    assert not np.array_equal(trained.transform(X), backbone.transform(X))
    assert list(frozen.get_feature_names_out()) == [f"z{i}" for i in range(16)]


def test_a_backbone_trained_on_beats_a_frozen_one_on_digits_with_few_labels(digits):
    X, y, backbone = digits
    frozen, trained = [], []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(X))
        few, rest = order[:FEW], order[FEW:]
        for scores, given in ((frozen, True), (trained, False)):
            head = FineTunedClassifier(backbone=backbone, frozen=given, seed=seed)
            scores.append(head.fit(X[few], y[few]).score(X[rest], y[rest]))
    assert np.mean(trained) > np.mean(frozen) + 0.01
    assert np.mean(trained) > 0.88


def test_rows_held_out_are_measured_and_stop_the_training(digits):
    X, y, backbone = digits
    given = {"validation_fraction": 0.25, "split_seed": 3, "patience": 2, "learning_rate": 0.3}
    count = 4 * FEW // 3 + 1
    head = FineTunedClassifier(backbone=backbone, l2=1e-4, **given).fit(X[:count], y[:count])
    mask = held_out_rows(count, head.run_.method.hyperparameters)
    rest, labels = X[:count][mask], y[:count][mask]
    assert mask.sum() == count - FEW
    assert head.held_out_["accuracy"] == pytest.approx(head.score(rest, labels))
    loss = log_loss(labels, head.predict_proba(rest), labels=head.classes_)
    assert head.held_out_["log_loss"] == pytest.approx(loss)
    assert "validation_loss" in head.history_[-1] and len(head.history_) < 200
    assert FineTunedClassifier(backbone=backbone, epochs=2).fit(X[:FEW], y[:FEW]).held_out_ is None


@pytest.mark.parametrize("dtype", ["U3", "O", "int32", "bool", "float32", "category"])
def test_predictions_have_the_dtype_of_the_labels(digits, dtype):
    X, _, backbone = digits
    truth = X[:FEW, 20] > 8
    names = np.where(truth, "yes", "no")
    is_text = dtype in ("U3", "O", "category")
    y = pd.Series(names, dtype=dtype) if dtype == "category" else names if is_text else truth
    y = y.astype(dtype)
    head = FineTunedClassifier(backbone=backbone, epochs=2, learning_rate=0.3).fit(X[:FEW], y)
    made = head.predict(X[:FEW])
    assert made.dtype == head.classes_.dtype == np.asarray(y).dtype
    np.testing.assert_array_equal(head.classes_, np.unique(np.asarray(y)))
    assert head.score(X[:FEW], y) > 0.6


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_is_predicted_alike_whatever_rows_come_with_it(digits, dtype):
    X, y, backbone = digits
    X = X.astype(dtype)
    head = FineTunedClassifier(backbone=backbone, epochs=2).fit(X[:FEW], y[:FEW])
    together, alone = head.predict_proba(X), head.predict_proba(X[1100:1101])
    assert together.dtype == head.transform(X).dtype == dtype
    np.testing.assert_allclose(together[1100:1101], alone, atol=1e-7)
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=10 * np.finfo(dtype).eps)


def test_a_second_training_of_the_same_shapes_compiles_nothing(digits):
    X, y, backbone = digits
    head = FineTunedClassifier(backbone=backbone, frozen=False, epochs=2).fit(X[:FEW], y[:FEW])
    other = {"learning_rate": 0.1, "backbone_learning_rate": 1e-4, "l2": 0.3, "seed": 3}
    with jax.log_compiles(), count_compilations() as compiled:
        clone(head).set_params(**other).fit(X[FEW : 2 * FEW], y[FEW : 2 * FEW])
    assert not compiled


@pytest.mark.parametrize("kind", KINDS)
def test_saving_and_pickling_keep_all_and_a_seed_decides_all(digits, kind, tmp_path):
    X, y, backbone = digits
    y = y.astype(int)
    made = [
        kind(backbone=backbone, epochs=2, seed=seed).fit(X[:FEW], y[:FEW]) for seed in (0, 0, 1)
    ]
    first = made[0]
    assert same(first.run_, made[1].run_) and not same(first.run_, made[2].run_)
    first.save(tmp_path / "run")
    for copy in (kind.load(tmp_path / "run"), pickle.loads(pickle.dumps(first))):
        assert same(copy.run_, first.run_) and copy.history_ == first.history_
        predicted = copy.predict(X)
        np.testing.assert_array_equal(predicted, first.predict(X))
        assert predicted.dtype == first.predict(X).dtype and copy.held_out_ is None
    asked = kind.load(tmp_path / "run").get_params()
    own = {"backbone": None, "recipe": "seed"}  # the backbone was in memory
    assert asked == first.get_params() | first.hyperparameters_ | own
    with pytest.raises(InputError, match="load it with FineTuned"):
        next(k for k in KINDS if k is not kind).load(tmp_path / "run")
    with pytest.raises(InputError, match="load it with FineTuned"):
        AutoencoderEmbedding.load(tmp_path / "run")


def test_a_clone_has_the_parameters_the_fitted_backbone_and_nothing_else(digits):
    X, y, backbone = digits
    fitted = FineTunedClassifier(backbone=backbone, epochs=2, l2=0.5).fit(X[:FEW], y[:FEW])
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params() and copy.backbone is backbone
    assert not hasattr(copy, "classes_") and copy != fitted
    assert not {"classes", "hidden_dims", "latent_dim"} & set(copy.get_params())
    with pytest.raises(InputError, match="the backbone is trained already"):
        copy.set_params(backbone__latent_dim=3)


def test_a_grid_and_folds_find_that_an_mlp_head_learns_what_a_linear_one_cannot(digits):
    X, _, backbone = digits
    z = standardised(backbone, X[:FEW])
    y = z[:, 0] * z[:, 1] > 0
    folds = [(np.arange(FEW), np.arange(0, FEW, 2))]  # the shapes of the last fit
    search = GridSearchCV(
        FineTunedClassifier(backbone=backbone, epochs=400),
        {"l2": [1e-4, 30.0], "head_dims": [(), (32,)]},
        cv=folds,
        error_score="raise",
    ).fit(X[:FEW], y)
    assert search.best_params_ == {"l2": 1e-4, "head_dims": (32,)}
    linear = [p["head_dims"] == () for p in search.cv_results_["params"]]
    assert search.cv_results_["mean_test_score"][linear].max() < 0.85
    assert search.best_score_ > 0.95
    regressor = FineTunedRegressor(backbone=backbone, epochs=400)
    assert cross_val_score(regressor, X[:FEW], z[:, 0], cv=folds).min() > 0.9


def test_fit_gives_the_weights_that_the_command_line_gives(digits, tmp_path):
    X, y, backbone = digits
    run, source = tmp_path / "run", tmp_path / "digits.csv"
    backbone.save(run)
    X, y = X[: FEW + 50], pd.Series(y[: FEW + 50].astype(int), name="digit")
    pd.DataFrame(X, columns=default_names(64)).assign(digit=y).to_csv(source, index=False)
    settings = {"epochs": 3, "validation_fraction": 0.2, "class_weight": "balanced", "seed": 2}
    finetune(folder.load(run), str(source), tmp_path / "tuned", label="digit", settings=settings)
    loaded = FineTunedClassifier.load(tmp_path / "tuned")
    for below in (run, str(run), folder.load(run), backbone):
        made = FineTunedClassifier(backbone=below, **settings).fit(X, y)
        assert same(made.run_, loaded.run_) and made.history_ == loaded.history_
        assert made.held_out_ == loaded.held_out_ and made.run_.target == loaded.run_.target
    assert Path(loaded.backbone) == run.resolve()
    own = {"backbone": loaded.backbone, "recipe": "seed"}
    assert loaded.get_params() == made.get_params() | made.hyperparameters_ | own
    assert made.hyperparameters_ == loaded.hyperparameters_
    assert made.hyperparameters_.items() >= (settings | {"schedule": "cosine"}).items()
    assert same(clone(loaded).fit(X, y).run_, loaded.run_)
    made.save(tmp_path / "saved")
    for path in (tmp_path / "tuned", tmp_path / "saved"):
        told = predict(folder.load(path), str(source))["prediction"].to_numpy()
        np.testing.assert_array_equal(made.predict(X), told)


def test_tables_of_every_kind_are_taken_and_their_names_checked(digits):
    X, y, backbone = digits
    names = [f"pixel {i}" for i in range(64)]
    fitted = backbone.schema_
    columns, left_out = (
        tuple(msgspec.structs.replace(c, name=f"pixel {c.name[1:]}") for c in given)
        for given in (fitted.columns, fitted.left_out)
    )
    renamed = msgspec.structs.replace(fitted, columns=columns, left_out=left_out)
    run = dataclasses.replace(backbone.run_, schema=renamed)
    head = FineTunedClassifier(backbone=run, epochs=2)
    frame, y = pd.DataFrame(X[:FEW], columns=names), y[:FEW]
    tables = (frame, pl.from_pandas(frame), pa.Table.from_pandas(frame, preserve_index=False))
    learned = frame[list(renamed.names)].to_numpy()
    matrix = clone(head).fit(learned, y)
    for rows in tables:
        made = clone(head).fit(rows, y)
        assert same(made.run_, matrix.run_)
        assert list(made.feature_names_in_) == names and made.n_features_in_ == 64
        np.testing.assert_array_equal(made.predict(rows), matrix.predict(learned))
    assert not hasattr(matrix, "feature_names_in_") and matrix.n_features_in_ == 61
    with pytest.raises(ValueError, match="must be in the same order"):
        made.predict(frame[frame.columns[::-1]])
    with pytest.raises(ValueError, match="feature names should match"):
        head.fit(frame.rename(columns={"pixel 1": "length"}), y)
    with pytest.raises(ValueError, match="X has 3 features, but FineTunedClassifier is expecting"):
        head.fit(X[:FEW, :3], y)


def test_a_backbone_with_categories_takes_frames():
    frame = pd.DataFrame({"age": np.arange(30.0), "job": ["a", "b"] * 15, "y": 0})
    fitted = schema_of(frame.assign(age=frame["age"] / 7), label="y")
    y = np.where(frame["job"] == "a", "x", "z")
    head = FineTunedClassifier(backbone=untrained(fitted), epochs=50)
    with pytest.raises(InputError, match="of categories or times, by name: give a DataFrame"):
        head.fit(frame[["age"]].to_numpy(), y)
    head.fit(frame, y)
    assert head.score(frame[::-1], y[::-1]) == 1
    named = clone(head).fit(frame.drop(columns="y"), frame["job"])
    assert head.run_.target.name == "y"  # as the backbone's label was called
    assert named.run_.target.name == "job_"  # as y is called, were there no such column
    assert list(head.feature_names_in_) == list(frame.columns)


@pytest.mark.slow
def test_torchscript_predicts_what_the_estimator_predicts(digits, tmp_path):
    pytest.importorskip("torch_ref.methods.classifier")
    import torch

    from torch_ref.torchscript import load

    X, y, backbone = digits
    head = FineTunedClassifier(backbone=backbone, epochs=2).fit(X[:FEW], y[:FEW])
    head.export_torchscript(tmp_path / "head.pt")
    learned = X[:, [int(name[1:]) for name in head.schema_.names]]
    probabilities = load(str(tmp_path / "head.pt")).predict(torch.tensor(learned))
    np.testing.assert_allclose(probabilities, head.predict_proba(X), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "y", "message"),
    [
        ({}, ["a"] * 20, "all 20 rows are of one class, 'a'"),
        ({}, ["a"] * 19, "20 rows and y 19 values"),
        ({}, None, "requires y to be passed"),
        ({}, [None, *["a", "b"] * 9, "a"], "missing in 1 of 20"),
        ({}, [np.nan, *[0.0, 1.0] * 9, 1.0], "missing in 1 of 20"),
        ({}, [np.inf, *[0.0, 1.0] * 9, 1.0], "infinite"),
        ({}, np.linspace(0, 1, 20), "Unknown label type: continuous"),
        ({}, [f"r{i}" for i in range(20)], "looks like an id"),
        ({}, np.zeros((20, 2)), r"shape \(20, 2\)"),
        ({"l2": -1.0}, ["a", "b"] * 10, "l2 is -1.0"),
        ({"backbone_learning_rate": -1.0}, ["a", "b"] * 10, "backbone_learning_rate is -1.0"),
        ({"head_dims": (0,)}, ["a", "b"] * 10, r"head_dims is \(0,\)"),
        ({"epochs": -1}, ["a", "b"] * 10, "epochs is -1"),
        ({"frozen": "no"}, ["a", "b"] * 10, "frozen is 'no'"),
        ({"validation_fraction": 0.95}, ["a", "b"] * 10, "at least 2 are needed"),
        ({"backbone": 3}, ["a", "b"] * 10, "backbone is int"),
        ({"backbone": "nowhere"}, ["a", "b"] * 10, "not a run folder"),
        ({}, [object() for _ in range(20)], "neither all numbers nor all text"),
        ({}, pd.array([pd.NA, *["a", "b"] * 9, "a"], dtype="string"), "missing in 1 of 20"),
    ],
)
def test_a_classifier_says_what_is_wrong(digits, given, y, message):
    X, _, backbone = digits
    with pytest.raises(ValueError, match=message):
        FineTunedClassifier(**{"backbone": backbone} | given).fit(X[:20], y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["a", "b"] * 10, "is not a number"),
        ([1.0] * 20, "1 in all 20 rows"),
        ([np.inf, *[1.0, 2.0] * 9, 1.0], "infinite"),
        ([np.nan, *[1.0, 2.0] * 9, 1.0], "missing in 1 of 20"),
        (np.arange(20) * 1j, "Complex"),
    ],
)
def test_a_regressor_says_what_is_wrong(digits, y, message):
    X, _, backbone = digits
    with pytest.raises(ValueError, match=message):
        FineTunedRegressor(backbone=backbone).fit(X[:20], y)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(19), "20 rows and sample_weight 19;"),
        ([-1.0, *[1.0] * 19], "negative"),
        ([np.nan, *[1.0] * 19], "missing"),
        ([1.0, *[0.0] * 19], "zero in all but 1 of 20 rows"),
    ],
)
def test_bad_weights_are_refused(digits, weights, message):
    X, _, backbone = digits
    with pytest.raises(InputError, match=message):
        FineTunedClassifier(backbone=backbone).fit(X[:20], ["a", "b"] * 10, weights)


def test_a_backbone_must_be_trained_and_without_a_head(digits):
    X, y, backbone = digits
    head = FineTunedClassifier(backbone=backbone, epochs=2).fit(X[:FEW], y[:FEW])
    with pytest.raises(InputError, match="is fine-tuned already"):
        FineTunedClassifier(backbone=head.run_).fit(X[:FEW], y[:FEW])
    with pytest.raises(InputError, match="backbone is FineTunedClassifier"):
        FineTunedClassifier(backbone=head).fit(X[:FEW], y[:FEW])
    with pytest.raises(NotFittedError):
        FineTunedClassifier(backbone=AutoencoderEmbedding()).fit(X[:FEW], y[:FEW])
    for call in ("predict", "predict_proba", "transform"):
        with pytest.raises(NotFittedError):
            getattr(FineTunedClassifier(backbone=backbone), call)(X)


@pytest.mark.parametrize("unit", [1e300, 1e-300])
def test_a_regressor_predicts_numbers_of_any_size(digits, unit):
    X, _, backbone = digits
    target = X[:FEW, 10]
    head = FineTunedRegressor(backbone=backbone, epochs=2)
    ordinary = head.fit(X[:FEW], target).predict(X[:FEW])
    found = head.fit(X[:FEW], target * unit).predict(X[:FEW]) / unit
    np.testing.assert_allclose(found, ordinary, rtol=1e-4, atol=1e-4)


def test_numbers_of_numpy_are_numbers(digits, tmp_path):
    X, y, backbone = digits
    given = {"epochs": np.int64(2), "batch_size": np.int64(128), "l2": np.float32(0.5)}
    head = FineTunedClassifier(backbone=backbone, head_dims=[np.int64(32)], **given)
    head.fit(X[:FEW], y[:FEW] == "3").save(tmp_path / "run")
    assert FineTunedClassifier.load(tmp_path / "run").head_dims == (32,)


def test_progress_is_shown_on_request_alone(digits, capsys):
    X, y, backbone = digits
    head = FineTunedClassifier(backbone=backbone, epochs=2).fit(X[:FEW], y[:FEW])
    assert capsys.readouterr() == ("", "")
    head.set_params(verbose=True).fit(X[:FEW], y[:FEW])
    assert "FineTunedClassifier: 4 steps" in capsys.readouterr().err


def test_the_package_offers_them():
    assert jaxrep.FineTunedClassifier is FineTunedClassifier
    assert {kind.__name__ for kind in KINDS} <= set(dir(jaxrep))


def schema_of(X, names=(), **columns):
    """What a table's columns are."""
    return fit(lambda: Rows(X, names), source="X", columns=Columns(**columns)).schema


def untrained(fitted) -> Run:
    """A run whose network was never trained, and whose embedding keeps all of a row."""
    hyperparameters = AutoencoderHyperparameters(hidden_dims=(), latent_dim=16)
    method, rng = Autoencoder(hyperparameters), np.random.default_rng(0)
    shapes = get_weights(abstract_network(method, fitted.row_spec()))
    weights = {name: rng.normal(size=a.shape).astype(np.float32) for name, a in shapes.items()}
    return Run(Path(), method, weights, fitted, {}, [])


class OnAnyTable:
    """A backbone that suits whatever rows come: the checks of scikit-learn bring many."""

    def fit(self, X, y, sample_weight=None):
        self._rows = X
        return super().fit(X, y, sample_weight)

    def _read_backbone(self):
        X, is_frame = self.__dict__.pop("_rows"), False
        X = X.toarray() if issparse(X) else X
        try:
            x = np.nan_to_num(np.asarray(X, np.float64))
            is_frame = hasattr(X, "columns") and all(isinstance(c, str) for c in X.columns)
            names = list(X.columns) if is_frame else default_names(x.shape[1])
            fitted = schema_of(x, names)
        except (TypeError, ValueError, IndexError, ComplexWarning):  # which `fit` is to refuse
            names = ["x0", "x1"]
            fitted = schema_of(np.random.default_rng(0).normal(size=(9, 2)), names)
        return untrained(fitted), is_frame, names


class AnyClassifier(OnAnyTable, FineTunedClassifier):
    pass


class AnyRegressor(OnAnyTable, FineTunedRegressor):
    pass


def checks() -> Iterator[object]:
    for kind in (AnyClassifier, AnyRegressor):
        yield from checks_of(kind(backbone=None), failing=FAILING)


@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_scikit_learns_own_checks_pass(estimator, check):
    check(estimator)
