"""The estimators keep scikit-learn's contract, and are the runs that the command line makes."""

import dataclasses
import json
import pickle
import re
from collections.abc import Iterator

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import jaxrep
from jaxrep.cli import main
from jaxrep.data.read import read_table
from jaxrep.errors import DataWarning, InputError, ModelFormatError
from jaxrep.estimators import AutoencoderEmbedding, SimCLREmbedding, VAEEmbedding
from jaxrep.inference import map_rows
from jaxrep.methods import hyperparameters_of, resolve
from jaxrep.runs import folder
from tests.helpers.contract import FAILING, checks_of

ALL = (AutoencoderEmbedding, VAEEmbedding, SimCLREmbedding)
ROWS, COLUMNS = 60, 4
PARAMETERS = {
    "alpha",
    "columns",
    "contamination",
    "random_state",
    "recipe",
    "verbose",
    "warm_start",
}
OUTPUTS = ("transform", "score_samples", "decision_function", "predict")


@pytest.fixture(scope="module")
def X() -> np.ndarray:
    """Rows whose columns have means and scales of their own."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 2)) @ rng.normal(size=(2, COLUMNS))
    return (x + 0.1 * rng.normal(size=x.shape)) * [1, 10, 100, 1e-3] + [0, 5, -300, 1]


@pytest.fixture(scope="module")
def fitted(X):
    """Each of the three, fitted once."""
    return {kind: small(kind).fit(X) for kind in ALL}


def small(kind, **parameters):
    """An estimator that trains and compiles fast."""
    return kind(
        **{"recipe": "seed", "hidden_dims": (8,), "latent_dim": 2, "epochs": 3} | parameters
    )


def same(a, b) -> bool:
    """Whether two fitted estimators have the same weights, bit for bit."""
    one, other = a.run_.weights, b.run_.weights
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)


# The checks fit tables of thirteen shapes, and compile for each: no layer is hidden. What they ask
# of an estimator that trains is the code that all share, and asked of the first; of the others at
# `make test-slow`. A row's result in any batch is compared once more below, with the programs that
# users run.
def checks() -> Iterator[object]:
    for kind in ALL:
        yield from checks_of(
            kind(hidden_dims=(), epochs=3), all_are_quick=kind is ALL[0], failing=FAILING
        )


@pytest.mark.usefixtures("compiled_fast")
@pytest.mark.filterwarnings("ignore::jaxrep.errors.DataWarning")
@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_scikit_learns_own_checks_pass(estimator, check):
    check(estimator)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_gets_the_same_result_in_every_batch(kind, dtype, fitted, X):
    estimator, rng = fitted[kind], np.random.default_rng(1)
    many = np.tile(X, (17, 1))[:1000].astype(dtype) + rng.normal(size=(1000, 1)).astype(dtype)
    order = rng.permutation(1000)
    for name in OUTPUTS:
        function = getattr(estimator, name)
        expected = function(many)
        np.testing.assert_allclose(function(many[order]), expected[order], rtol=0, atol=1e-7)
        for size in (1, 2, 7):
            parts = [function(many[i : i + size]) for i in range(0, 70, size)]
            np.testing.assert_allclose(
                np.concatenate(parts)[:70], expected[:70], rtol=0, atol=1e-7, err_msg=name
            )


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outputs_have_the_dtype_of_the_input(kind, dtype, fitted, X):
    estimator = fitted[kind]
    for name in OUTPUTS[:3]:
        assert getattr(estimator, name)(X.astype(dtype)).dtype == dtype
    if hasattr(estimator, "inverse_transform"):
        assert estimator.inverse_transform(np.zeros((1, 2), dtype)).dtype == dtype
        row = X[0].astype(dtype)
        assert estimator.interpolate(row, row, 2).dtype == dtype


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (AutoencoderEmbedding, {"validation_fraction": 0.2}),
        (VAEEmbedding, {}),
        (SimCLREmbedding, {}),
    ],
)
def test_fit_gives_the_weights_that_train_gives(kind, options, X, tmp_path):
    np.save(tmp_path / "x.npy", X)
    flags = ["--recipe", "seed", "--hidden-dims", "8", "--latent-dim", "2", "--epochs", "3"]
    flags += ["--seed", "5"]
    flags += [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    run = tmp_path / "run"
    assert main(["train", kind.name, str(tmp_path / "x.npy"), "--out", str(run), *flags]) == 0
    estimator = small(kind, seed=5, **options).fit(X)
    loaded = kind.load(run)
    assert same(estimator, loaded) and estimator.history_ == loaded.history_
    assert estimator.hyperparameters_ == loaded.hyperparameters_
    assert not hasattr(loaded, "feature_names_in_")
    for name in OUTPUTS:
        np.testing.assert_array_equal(getattr(loaded, name)(X), getattr(estimator, name)(X))


@pytest.mark.parametrize(
    "kind", [ALL[0], *(pytest.param(k, marks=pytest.mark.slow) for k in ALL[1:])]
)
def test_the_command_line_uses_a_saved_estimator(kind, fitted, X, tmp_path, capsys):
    estimator, run, out = fitted[kind], tmp_path / "run", str(tmp_path / "out.parquet")
    estimator.save(run)
    data = tmp_path / "x.npy"
    np.save(data, X)
    assert main(["info", str(run)]) == 0 and "a table in memory" in capsys.readouterr().out
    assert main(["embed", str(run), str(data), "--out", out]) == 0
    z = pa.parquet.read_table(out).to_pandas().to_numpy()
    np.testing.assert_array_equal(z, estimator.transform(X))
    assert main(["score", str(run), str(data), "--out", out]) == 0
    scores = pa.parquet.read_table(out)
    np.testing.assert_array_equal(scores["anomaly"].to_numpy(), estimator.predict(X) == -1)
    np.testing.assert_array_equal(scores["score"].to_numpy(), -estimator.score_samples(X))
    if kind is VAEEmbedding:
        assert main(["generate", str(run), "-n", "5", "--seed", "3", "--out", out]) == 0
        made = pa.parquet.read_table(out).to_pandas().to_numpy()
        np.testing.assert_array_equal(made, estimator.sample(5, seed=3))
    assert main(["export", str(run), "--out", str(tmp_path / "model.pt")]) == 0


def test_torchscript_takes_the_rows_as_they_are(fitted, X, tmp_path):
    import torch

    from torch_ref.torchscript import load

    fitted[VAEEmbedding].export_torchscript(tmp_path / "vae.pt")
    scores = load(str(tmp_path / "vae.pt")).score(torch.tensor(X))
    np.testing.assert_allclose(scores, -fitted[VAEEmbedding].score_samples(X), rtol=1e-5)


@pytest.mark.parametrize("kind", ALL)
def test_an_estimator_survives_saving_and_pickling(kind, X, tmp_path):
    frame = pd.DataFrame(X, columns=["x0", "b", "=c", "ü d"])
    estimator = small(kind, contamination=0.2, warm_start=True).fit(frame)
    estimator.save(tmp_path / "run")
    joblib.dump(estimator, tmp_path / "estimator.joblib")
    copies = [
        kind.load(tmp_path / "run"),
        pickle.loads(pickle.dumps(estimator)),
        joblib.load(tmp_path / "estimator.joblib"),
    ]
    for copy in copies:
        assert same(copy, estimator) and copy.history_ == estimator.history_
        assert copy.offset_ == estimator.offset_ and copy.contamination == 0.2
        assert list(copy.feature_names_in_) == list(frame.columns)
        for name in OUTPUTS:
            np.testing.assert_array_equal(
                getattr(copy, name)(frame), getattr(estimator, name)(frame)
            )
    assert all(isinstance(array, np.ndarray) for array in estimator.run_.weights.values())


def test_default_names_in_a_frame_survive_saving(fitted, X, tmp_path):
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(COLUMNS)])
    small(VAEEmbedding).fit(frame).save(tmp_path / "run")
    assert list(VAEEmbedding.load(tmp_path / "run").feature_names_in_) == list(frame.columns)


@pytest.mark.parametrize("kind", ALL)
def test_hyperparameters_are_parameters(kind, fitted):
    fields = set(hyperparameters_of(kind.name).__dataclass_fields__)
    assert set(kind().get_params()) == fields | PARAMETERS
    copied = clone(fitted[kind])
    assert copied.get_params() == fitted[kind].get_params()
    assert not hasattr(copied, "run_") and copied != clone(copied)
    assert repr(kind(latent_dim=3)) == f"{kind.__name__}(latent_dim=3)"
    assert repr(kind(recipe="seed")) == f"{kind.__name__}(recipe='seed')"
    assert len({kind(), kind()}) == 2


@pytest.mark.parametrize("kind", ALL)
def test_a_hyperparameter_is_the_recipes_unless_it_is_given(kind, fitted, tmp_path):
    usual = dataclasses.asdict(resolve(hyperparameters_of(kind.name), "seed"))
    parameters = kind().get_params()
    assert {parameters[name] for name in [*usual, "recipe"]} == {None}
    estimator = fitted[kind]
    assert estimator.latent_dim == 2 and estimator.learning_rate is None
    trained = usual | {"hidden_dims": (8,), "latent_dim": 2, "epochs": 3}
    assert estimator.hyperparameters_ == trained
    assert estimator.run_.config["recipe"] == "seed"
    estimator.save(tmp_path / "run")
    loaded = kind.load(tmp_path / "run")
    assert loaded.get_params() == estimator.get_params() | trained | {"recipe": "seed"}
    assert loaded.hyperparameters_ == trained
    assert clone(loaded).get_params() == loaded.get_params()


def test_a_recipe_is_chosen_by_name_and_what_is_given_wins(X, tmp_path):
    given = {"hidden_dims": (8,), "latent_dim": 8, "steps": 4}  # a code of 8 is the default
    estimator = AutoencoderEmbedding(recipe="filling", **given)
    assert clone(estimator).get_params() == estimator.get_params()
    estimator.fit(X)
    filling = hyperparameters_of("autoencoder").recipes["filling"].values
    assert estimator.hyperparameters_.items() >= {**filling, **given}.items()
    assert estimator.get_params()["views"] is None
    estimator.save(tmp_path / "run")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["recipe"] == "filling"
    loaded = AutoencoderEmbedding.load(tmp_path / "run")
    assert (loaded.recipe, loaded.views, loaded.latent_dim) == ("filling", ("hide",), 8)
    assert same(clone(loaded).fit(X), estimator)
    with pytest.raises(ValueError, match=r"recipe 'anomaly': .*; there are seed, filling"):
        estimator.set_params(recipe="anomaly").fit(X)


def test_a_recipe_is_searched_over(X):
    search = GridSearchCV(
        AutoencoderEmbedding(hidden_dims=(), epochs=2, schedule="constant"),
        {"recipe": ["seed", "filling"], "latent_dim": [None, 2]},
        cv=[(np.arange(ROWS), np.arange(0, ROWS, 2))],
        error_score="raise",
    ).fit(X)
    assert len(set(search.cv_results_["mean_test_score"])) == 4
    assert search.best_estimator_.recipe == search.best_params_["recipe"]


def test_numbers_of_numpy_are_numbers(fitted, X, tmp_path):
    parameters = {
        "latent_dim": np.int64(2),
        "beta": np.int64(1),
        "hidden_dims": [np.int64(8)],
        "learning_rate": np.float32(1e-3).astype(np.float64),
    }
    made = small(VAEEmbedding, **parameters).fit(X)
    made.save(tmp_path / "run")
    assert same(VAEEmbedding.load(tmp_path / "run"), made)
    assert type(made.run_.method.hyperparameters.beta) is float


def test_a_warm_start_goes_on_from_the_weights(X, tmp_path):
    estimator = small(VAEEmbedding, warm_start=True, learning_rate=1e-2).fit(X)
    before = dict(estimator.run_.weights)
    first = estimator.history_
    estimator.set_params(epochs=2, learning_rate=1e-9).fit(X)
    for name, array in before.items():  # so small a step stays where the last fit ended
        np.testing.assert_allclose(estimator.run_.weights[name], array, atol=1e-6)
    assert not same(estimator, small(VAEEmbedding, learning_rate=1e-2).fit(X))
    assert [epoch["epoch"] for epoch in estimator.history_] == [1, 2, 3, 4, 5]
    assert estimator.history_[:3] == first
    estimator.save(tmp_path / "run")
    assert VAEEmbedding.load(tmp_path / "run").epochs == 5
    estimator.set_params(learning_rate=1e-2, epochs=60).fit(X)
    assert estimator.history_[-1]["loss"] < first[-1]["loss"]


def test_a_cold_start_forgets(X):
    estimator = small(AutoencoderEmbedding).fit(X)
    once = pickle.loads(pickle.dumps(estimator))
    assert same(estimator.fit(X), once) and len(estimator.history_) == 3


def test_a_warm_start_keeps_the_standardisation_and_refuses_another_network(X, tmp_path):
    small(AutoencoderEmbedding).fit(X).save(tmp_path / "run")
    estimator = AutoencoderEmbedding.load(tmp_path / "run").set_params(warm_start=True)
    earlier = estimator.schema_
    estimator.set_params(validation_fraction=0.2).fit(X * 2)
    assert estimator.run_.schema is earlier
    assert "validation_loss" in estimator.history_[-1]
    with pytest.raises(ValueError, match="latent_dim was 2 and is 3"):
        estimator.set_params(latent_dim=3).fit(X)
    with pytest.raises(ValueError, match="expecting 4 features"):
        estimator.set_params(latent_dim=2).fit(X[:, :3])
    with pytest.raises(ValueError, match="with warm_start=True it must be 'constant'"):
        estimator.set_params(schedule="cosine").fit(X)


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_grid_search_finds_the_larger_code(jobs, X):
    search = GridSearchCV(
        VAEEmbedding(recipe="seed", hidden_dims=(), epochs=40, learning_rate=1e-2),
        {"latent_dim": [1, 2], "beta": [0.1, 10.0]},
        cv=[(np.arange(ROWS), np.arange(0, ROWS, 2))],  # the shapes of the last fit
        n_jobs=jobs,
        error_score="raise",
    ).fit(X)
    assert search.best_params_ == {"latent_dim": 2, "beta": 0.1}
    best = search.best_estimator_
    error = best.inverse_transform(best.transform(X)) - X
    in_units = np.mean((error / X.std(axis=0)) ** 2)
    assert best.score(X) == pytest.approx(-in_units, rel=1e-4)


def test_a_pipeline_ends_in_a_classifier(X):
    y = (X[:, 0] > 0).astype(int)
    pipeline = make_pipeline(small(SimCLREmbedding), LogisticRegression()).fit(X, y)
    assert pipeline.predict(X).shape == (ROWS,)


def test_a_column_transformer_hands_over_numbers_and_names_the_outcome(X):
    frame = pd.DataFrame(X, columns=list("abcd")).assign(job=["clerk", "smith"] * (ROWS // 2))
    transformer = ColumnTransformer(
        [
            ("vae", small(VAEEmbedding), list("abcd")),
            ("job", OneHotEncoder(sparse_output=False), ["job"]),
        ]
    ).set_output(transform="pandas")
    made = transformer.fit_transform(frame)
    assert list(made.columns) == ["vae__z0", "vae__z1", "job__job_clerk", "job__job_smith"]


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames_come_out_as_they_are_asked_for(frame, X):
    rows = frame(dict(zip("abcd", X.T, strict=True)))
    estimator = small(AutoencoderEmbedding).fit(rows)
    assert list(estimator.feature_names_in_) == list("abcd")
    plain = estimator.transform(rows)
    assert isinstance(plain, np.ndarray)
    for name, kind in (("pandas", pd.DataFrame), ("polars", pl.DataFrame)):
        made = estimator.set_output(transform=name).transform(rows)
        assert isinstance(made, kind) and list(made.columns) == ["z0", "z1"]
        np.testing.assert_array_equal(made.to_numpy(), plain)
        restored = estimator.inverse_transform(made)
        assert restored.shape == X.shape


def test_labels_are_ignored(fitted, X):
    assert same(small(VAEEmbedding).fit(X, np.full(ROWS, "nothing")), fitted[VAEEmbedding])


def test_samples_and_lines_are_in_the_tables_units(fitted, X):
    vae = fitted[VAEEmbedding]
    made = vae.sample(500, seed=1)
    assert abs(made.mean(axis=0) - X.mean(axis=0)).max() / X.std(axis=0).max() < 1
    np.testing.assert_array_equal(vae.sample(500, seed=1), made)
    assert not np.array_equal(vae.sample(500, seed=2), made)
    line = vae.interpolate(X[0], X[1], 5)
    ends = vae.inverse_transform(vae.transform(X[:2]))
    np.testing.assert_allclose(line[[0, -1]], ends, rtol=1e-6)
    middle = vae.inverse_transform(vae.transform(X[:2]).mean(axis=0, keepdims=True))
    np.testing.assert_allclose(line[[2]], middle, rtol=1e-6)


def test_only_what_a_method_can_do_is_there():
    offered = {
        kind: [
            name for name in ("inverse_transform", "interpolate", "sample") if hasattr(kind(), name)
        ]
        for kind in ALL
    }
    assert offered == {
        AutoencoderEmbedding: ["inverse_transform", "interpolate"],
        VAEEmbedding: ["inverse_transform", "interpolate", "sample"],
        SimCLREmbedding: [],
    }


def test_the_share_of_outliers_is_the_contamination(X):
    for share in (0.05, 0.1, 0.5):
        made = small(AutoencoderEmbedding, contamination=share).fit(X)
        assert (made.predict(X) == -1).sum() == ROWS * share
        np.testing.assert_array_equal(made.fit_predict(X), made.predict(X))


@pytest.mark.parametrize("kind", [AutoencoderEmbedding, VAEEmbedding])
def test_a_row_that_overflows_the_network_is_an_outlier(kind, fitted, X):
    estimator = pickle.loads(pickle.dumps(fitted[kind]))
    run, undefined = estimator.run_, 0
    x = estimator._features(X)[0]
    for size in (1e11, 1e13, 1e16, 1e19, 1e25):
        huge = {name: np.float32(size) * array for name, array in run.weights.items()}
        raw = map_rows(run.method, "score", huge, x, run.rows)
        estimator.run_ = dataclasses.replace(run, weights=huge)
        undefined += np.isnan(raw).sum()
        assert np.isneginf(estimator.score_samples(X)[~np.isfinite(raw)]).all()
        assert (estimator.predict(X) == -1).all()
    assert undefined  # ∞ − ∞


def test_progress_is_shown_on_request_alone(X, capsys):
    X = np.c_[X, np.ones(ROWS)]
    said = "left out of training: 'x4' .constant: only one value, 1"
    with pytest.warns(DataWarning, match=said):
        small(AutoencoderEmbedding).fit(X)
    assert capsys.readouterr() == ("", "")
    small(AutoencoderEmbedding, columns={"x4": "constant"}, verbose=True).fit(X)
    out, err = capsys.readouterr()
    assert not out and "x0  number" in err and "x4  left out (constant)" in err
    assert re.search(r"AutoencoderEmbedding: 3 steps · loss .+ · [\d,]+ rows/s", err)


def test_a_run_with_categories_takes_frames(tmp_path):
    lines = ["age,job,id,label", *(f"{20 + i % 7},{'ab'[i % 2]},r{i},{i % 3}" for i in range(30))]
    (tmp_path / "people.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    flags = ["--column", "job=category", "--id-column", "id", "--label", "label", "--epochs", "2"]
    source, run, out = str(tmp_path / "people.csv"), tmp_path / "run", str(tmp_path / "z.parquet")
    assert main(["train", "vae", source, "--out", str(run), *flags]) == 0
    assert main(["embed", str(run), source, "--out", out]) == 0
    z = pa.parquet.read_table(out).drop_columns(["id"]).to_pandas().to_numpy()
    vae = VAEEmbedding.load(run)
    frame = pd.read_csv(source)
    for rows in (
        frame,
        frame.set_index("id"),
        pl.read_csv(source),
        read_table(source),
    ):
        np.testing.assert_array_equal(vae.transform(rows), z)
    assert vae.schema_.kinds()["job"] == "category"
    assert set(vae.sample(4)["job"]) <= {"a", "b"}
    assert vae.interpolate(frame[:1], frame[1:2], 3).shape == (3, 2)
    with pytest.raises(InputError, match="of categories or times, by name: give a DataFrame"):
        vae.transform(np.ones((2, 2)))


def test_a_run_that_imputes_takes_missing_numbers(tmp_path, X):
    holes = X.copy()
    holes[3, 1] = np.nan
    np.save(tmp_path / "x.npy", holes)
    flags = ["--impute", "median", "--epochs", "2", "--out", str(tmp_path / "run")]
    assert main(["train", "autoencoder", str(tmp_path / "x.npy"), *flags]) == 0
    loaded = AutoencoderEmbedding.load(tmp_path / "run")
    filled = np.where(np.isnan(holes), np.nanmedian(holes, axis=0), holes)
    np.testing.assert_array_equal(loaded.transform(holes), loaded.transform(filled))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.ones((1, 3)), "1 sample"),
        (np.array([[1.0, np.inf], [2.0, 3.0]]), "Input X contains infinity"),
        (pd.DataFrame({"a": ["x", "x"]}), "no column is left to learn from"),
        (pd.DataFrame({"a": [[1], [2]]}), "column 'a'.* is not a single value"),
        (pd.DataFrame(np.ones((3, 2)), columns=["a", "a"]), "more than one column is named"),
    ],
)
def test_bad_rows_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        VAEEmbedding(epochs=1).fit(rows)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"beta": -1.0}, "beta is -1.0; it must be a finite number of at least 0"),
        ({"latent_dim": 2.5}, "latent_dim is 2.5; it must be a whole number"),
        ({"epochs": True}, "epochs is True; it must be a whole number"),
        ({"hidden_dims": 8}, "hidden_dims is 8; it must be at most"),
        ({"seed": "0"}, "seed is '0'; it must be a whole number"),
        ({"contamination": 1.0}, "contamination is 1.0; it must be above 0 and below 1"),
        ({"contamination": "auto"}, "contamination is 'auto'; it must be above 0 and below 1"),
        ({"validation_fraction": 0.99}, "at least 2 are needed"),
    ],
)
def test_bad_parameters_are_refused(parameters, message, X):
    with pytest.raises(ValueError, match=message):
        VAEEmbedding(**parameters).fit(X)


def test_bad_arguments_are_refused(fitted, X, tmp_path):
    vae = fitted[VAEEmbedding]
    with pytest.raises(ValueError, match="X has 3 features, but VAEEmbedding is expecting 4"):
        vae.transform(X[:, :3])
    with pytest.raises(ValueError, match="Z has 3 features; the representation has 2"):
        vae.inverse_transform(X[:, :3])
    with pytest.raises(ValueError, match="Z contains NaN"):
        vae.inverse_transform([[np.nan, 1.0]])
    with pytest.raises(ValueError, match="too large for float32"):
        vae.inverse_transform([[1e300, 1.0]])
    with pytest.raises(ValueError, match="n is True"):
        vae.sample(True)
    with pytest.raises(ValueError, match=r"row 1 \(from 0\): 1e\+300 is too far"):
        vae.transform(np.vstack([X[:1], np.full((1, COLUMNS), 1e300)]))
    with pytest.raises(ValueError, match="n is 0; it must be a whole number from 1"):
        vae.sample(0)
    with pytest.raises(ValueError, match="seed is -1"):
        vae.sample(1, seed=-1)
    with pytest.raises(ValueError, match="steps is 1; it must be a whole number from 2"):
        vae.interpolate(X[0], X[1], 1)
    with pytest.raises(ValueError, match="one row at each end, not 2"):
        vae.interpolate(X[:2], X[1], 3)
    with pytest.raises(ValueError, match="input_features"):
        vae.get_feature_names_out(["a"])
    for call in ("sample", "get_feature_names_out"):
        with pytest.raises(NotFittedError):
            getattr(VAEEmbedding(), call)()
    with pytest.raises(NotFittedError):
        VAEEmbedding().save(tmp_path / "run")


def test_folders_are_neither_replaced_unasked_nor_read_wrongly(fitted, tmp_path):
    vae, run = fitted[VAEEmbedding], tmp_path / "run"
    vae.save(run)
    with pytest.raises(InputError, match=r"holds a run; .* overwrite=True"):
        vae.save(run)
    vae.save(run, overwrite=True)
    (tmp_path / "note.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="not a run folder"):
        vae.save(tmp_path, overwrite=True)
    with pytest.raises(InputError, match="not autoencoder; load it with VAEEmbedding"):
        AutoencoderEmbedding.load(run)
    with pytest.raises(ModelFormatError):
        VAEEmbedding.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "stored", [[], {"contamination": 2.0}, {"contamination": "much"}, {"feature_names": "yes"}]
)
def test_what_a_folder_says_of_the_estimator_is_checked(stored, fitted, tmp_path):
    run = fitted[VAEEmbedding].run_
    config = run.config | {"estimator": stored}
    folder.begin(tmp_path / "run", config, run.schema)
    folder.append_metrics(tmp_path / "run", *run.history)
    folder.finish(tmp_path / "run", config, run.weights)
    with pytest.raises(ModelFormatError, match="estimator"):
        VAEEmbedding.load(tmp_path / "run")


def test_an_imported_run_without_scores_has_no_threshold(fitted, X, tmp_path):
    run = fitted[VAEEmbedding].run_
    config = {key: value for key, value in run.config.items() if key != "score_quantiles"}
    folder.begin(tmp_path / "run", config, run.schema)
    folder.append_metrics(tmp_path / "run", *run.history)
    folder.finish(tmp_path / "run", config, run.weights)
    loaded = VAEEmbedding.load(tmp_path / "run")
    assert len(loaded.score_samples(X)) == ROWS
    with pytest.raises(InputError, match="there is no threshold"):
        loaded.predict(X)


def test_the_package_offers_the_estimators():
    assert jaxrep.VAEEmbedding is VAEEmbedding
    assert {kind.__name__ for kind in ALL} <= set(dir(jaxrep))
