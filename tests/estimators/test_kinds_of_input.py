"""What the command line takes, estimators take: columns of all kinds, in whatever holds them."""

import datetime
import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from jaxrep.cli import main
from jaxrep.data.columns import Columns
from jaxrep.errors import DataWarning, InputError
from jaxrep.estimators import (
    AutoencoderEmbedding,
    FineTunedClassifier,
    FineTunedRegressor,
    SimCLREmbedding,
    VAEEmbedding,
    _conversion,
)
from jaxrep.evaluation import observed

pytestmark = pytest.mark.usefixtures("compiled_fast")
SMALL = {"recipe": "seed", "hidden_dims": (), "latent_dim": 2, "epochs": 2}
ROWS = 60
KINDS = {
    "age": "count",
    "height": "number",
    "job": "category",
    "member": "boolean",
    "born": "datetime",
    "wait": "duration",
}
HOLDERS = {
    "pandas": lambda frame: frame,
    "polars": pl.from_pandas,
    "arrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
}


@pytest.fixture(scope="module")
def people():
    """People with a column of every kind, and gaps."""
    rng = np.random.default_rng(0)
    jobs = rng.choice(["clerk", "smith", "none of these"], ROWS)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 90, ROWS),
            "height": rng.normal(170, 10, ROWS),
            "job": jobs,
            "member": rng.random(ROWS) < 0.5,
            "born": pd.Timestamp("1990-01-01") + pd.to_timedelta(rng.integers(0, 9999, ROWS), "D"),
            "wait": pd.to_timedelta(rng.integers(0, 999, ROWS), "s"),
        }
    )
    frame.loc[3, "height"] = np.nan
    frame.loc[5, "job"] = None
    frame.loc[7, "born"] = pd.NaT
    return frame


def same(a, b):
    one, other = a.run_.weights, b.run_.weights
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


@pytest.mark.parametrize("holder", HOLDERS)
def test_columns_of_every_kind_are_learned_and_given_back_as_they_came(holder, people, tmp_path):
    X = HOLDERS[holder](people)
    vae = VAEEmbedding(**SMALL).fit(X)
    assert vae.schema_ is vae.run_.schema and vae.schema_.kinds() == KINDS
    same(vae, VAEEmbedding(**SMALL).fit(people))
    z = vae.transform(X)
    assert isinstance(z, np.ndarray) and z.shape == (ROWS, 2)
    vae.save(tmp_path / "run")
    for copy in (vae, pickle.loads(pickle.dumps(vae)), VAEEmbedding.load(tmp_path / "run")):
        assert list(copy.feature_names_in_) == list(people.columns)
        np.testing.assert_array_equal(copy.transform(X), z)
        first = X[:1] if holder != "arrow" else X.slice(0, 1)
        for rows in (copy.sample(5), copy.inverse_transform(z), copy.interpolate(first, first, 3)):
            assert type(rows) is type(X)
            table = pa.table(rows) if holder != "pandas" else pa.Table.from_pandas(rows)
            assert table.column_names == list(people.columns)
            assert pa.types.is_integer(table.schema.field("age").type)
            assert pa.types.is_boolean(table.schema.field("member").type)
            assert pa.types.is_timestamp(table.schema.field("born").type)
            assert pa.types.is_duration(table.schema.field("wait").type)
            assert set(table["job"].to_pylist()) <= {"clerk", "smith", "none of these"}
            assert table.num_rows and not any(column.null_count for column in table.columns)
    for name, kind in (("pandas", pd.DataFrame), ("polars", pl.DataFrame)):
        made = clone(vae).set_output(transform=name).fit(X).transform(X)
        assert isinstance(made, kind) and list(made.columns) == ["z0", "z1"]
        np.testing.assert_array_equal(made.to_numpy(), z)


@pytest.mark.parametrize("kind", [AutoencoderEmbedding, VAEEmbedding, SimCLREmbedding])
def test_missing_cells_are_seen_as_such_and_not_filled(kind, people):
    made = kind(**SMALL).fit(people)
    scores, has_gap = made.score_samples(people), people.isna().any(axis=1).to_numpy()
    assert np.isfinite(scores).all() and np.isfinite(made.transform(people)).all()
    usual = {
        "height": people["height"].median(),
        "job": people["job"].mode()[0],
        "born": people["born"].median(),
    }
    filled = people.fillna(usual)
    others = made.score_samples(filled)
    np.testing.assert_array_equal(others[~has_gap], scores[~has_gap])
    assert (others[has_gap] != scores[has_gap]).all() and has_gap.sum() == 3
    # With imputation, and only with it, the cells are those of a table that was filled before.
    imputing = kind(**SMALL, columns=Columns(impute="median")).fit(people)
    assert not imputing.run_.rows.gaps and made.run_.rows.gaps
    np.testing.assert_array_equal(imputing.score_samples(people), imputing.score_samples(filled))
    with pytest.raises(InputError, match=r"missing values in .*'height' \(1\)"):
        kind(**SMALL, columns=Columns(impute="refuse")).fit(people)


@pytest.mark.parametrize("kind", [AutoencoderEmbedding, VAEEmbedding])
def test_a_score_is_the_mean_of_the_terms_of_the_observed_cells(kind, people):
    made = kind(**SMALL).fit(people)
    x, _ = made._features(people)
    terms = made.run_.map("score_by_column", x)
    order = list(made.schema_.column_order)
    is_there = observed(made.schema_, x)
    np.testing.assert_array_equal(is_there, people.notna().to_numpy())
    assert (terms[~is_there[:, order]] == 0).all()
    means = terms.sum(axis=1) / is_there.sum(axis=1)
    np.testing.assert_allclose(-made.score_samples(people), means, rtol=1e-6)


@pytest.mark.parametrize("kind", [AutoencoderEmbedding, VAEEmbedding])
def test_the_likelihood_is_a_parameter_and_its_constants_are_the_schemas(kind, people, tmp_path):
    made = kind(**SMALL, likelihood="by_kind", warm_start=True).fit(people)
    names = dict(
        zip((c.name for c in made.schema_.numeric), made.run_.rows.likelihoods, strict=True)
    )
    assert names.pop("member") == "bernoulli" and set(names.values()) == {"gaussian"}

    def check(fitted):
        (member,) = [c for c in fitted.schema_.numeric if c.name == "member"]
        weights = fitted.run_.weights
        np.testing.assert_array_equal(weights["likelihood.mean"], [np.float32(member.mean)])
        np.testing.assert_array_equal(weights["likelihood.scale"], [np.float32(member.scale)])

    check(made)
    made.save(tmp_path / "run")
    loaded = kind.load(tmp_path / "run")
    assert loaded.likelihood == "by_kind"
    np.testing.assert_array_equal(loaded.score_samples(people), made.score_samples(people))
    head = FineTunedRegressor(backbone=loaded, epochs=2).fit(people, people["age"] % 7)
    assert head.predict(people).shape == (ROWS,)
    made.fit(people)  # goes on
    check(made)
    with pytest.raises(InputError, match="likelihood was by_kind and is squared"):
        made.set_params(likelihood="squared").fit(people)


def test_a_warm_start_refuses_a_view_that_makes_gaps_where_there_was_none(people):
    rows = people[["age", "wait"]]
    made = AutoencoderEmbedding(**SMALL, views=("hide",), hide_rate=0.0, warm_start=True).fit(rows)
    with pytest.raises(InputError, match=r"hide_rate was 0.0 and is 0.2; set warm_start=False"):
        made.set_params(hide_rate=0.2).fit(rows)
    assert AutoencoderEmbedding(**SMALL, views=("hide",)).fit(rows).transform(rows).shape == (
        ROWS,
        2,
    )


@pytest.mark.parametrize("holder", HOLDERS)
def test_subsets_and_other_orders_of_rows_get_the_same_bits(holder, people):
    vae = VAEEmbedding(**SMALL).fit(people)
    expected = vae.score_samples(people)
    order = np.random.default_rng(1).permutation(ROWS)
    for chosen in (order, order[:7], order[:1]):
        rows = HOLDERS[holder](people.iloc[chosen])
        np.testing.assert_array_equal(vae.score_samples(rows), expected[chosen])


def write_csv(path):
    """A table as the command line reads it: booleans, dates, gaps, and an id."""
    rng = np.random.default_rng(2)
    lines = ["name,income,member,born,smokes,code"]
    for i in range(ROWS):
        income = "-999" if i % 9 == 0 else f"{rng.normal(50, 9):.3f}"
        member = ("True", "False", "")[i % 3 if i % 4 else 0]
        born = datetime.date(1990, 1, 1) + datetime.timedelta(int(rng.integers(0, 9999)))
        lines.append(f"p{i},{income},{member},{born},{i // 3 % 2},{('07', '8', 'x')[i // 2 % 3]}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_a_frame_gives_the_bits_that_its_file_gives_the_command_line(tmp_path):
    source, run, out = tmp_path / "people.csv", tmp_path / "run", tmp_path / "out.parquet"
    write_csv(source)
    flags = ["--epochs", "2", "--latent-dim", "2", "--na-values", "-999", "--column", "code=text"]
    assert main(["train", "autoencoder", str(source), "--out", str(run), *flags]) == 0
    loaded, frame = AutoencoderEmbedding.load(run), pd.read_csv(source)
    assert loaded.columns == Columns({"code": "text"}, na_values=("-999",))
    with pytest.warns(DataWarning, match="left out of training: 'name' .id: 60 values"):
        made = clone(loaded).fit(frame)
    same(made, loaded)
    expected = {"income": "number", "member": "boolean", "born": "datetime", "smokes": "boolean"}
    assert {n: made.schema_.kinds()[n] for n in expected} == expected
    made.save(tmp_path / "saved")
    for path in (run, tmp_path / "saved"):
        assert main(["score", str(path), str(source), "--out", str(out)]) == 0
        scores = pa.parquet.read_table(out)["score"].to_numpy()
        for rows in (frame, pl.read_csv(source), frame.drop(columns=["name", "code"])):
            for estimator in (made, loaded):
                np.testing.assert_array_equal(-estimator.score_samples(rows), scores)


def test_cells_that_cannot_be_placed_are_warned_of_once(people):
    vae = VAEEmbedding(**SMALL).fit(people)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vae.transform(people)
    strange = people.assign(job="astronaut", age=None)
    with pytest.warns(DataWarning) as heard:
        vae.transform(strange)
    (only,) = heard
    assert "60 cells of 'job' are of no known category" in str(only.message)
    assert "60 cells of 'age' are missing" in str(only.message)
    assert only.filename == __file__
    other = people.assign(job=[*people["job"][:-1], "astronaut"])
    with pytest.warns(DataWarning, match="1 cell of 'job' is of no known category"):
        vae.score_samples(other)


def test_columns_left_out_are_warned_of_once(people):
    frame = people.assign(id=range(ROWS), one=1.0, note=[f"note {i} " * 20 for i in range(ROWS)])
    with pytest.warns(DataWarning) as heard:
        VAEEmbedding(**SMALL).fit(frame)
    (only,) = heard
    for said in ("'id' (id: whole numbers that count up)", "'one' (constant", "'note' (text"):
        assert said in str(only.message)
    assert only.filename == __file__
    with pytest.warns(DataWarning, match="training: 'one'"):
        VAEEmbedding(**SMALL, columns={"id": "id", "note": "dropped"}).fit(frame)
    columns = Columns(drop=("one", "note"), id_column="id")
    vae = VAEEmbedding(**SMALL, columns=columns).fit(frame)  # all of them on purpose
    assert list(vae.feature_names_in_) == list(frame.columns)
    np.testing.assert_array_equal(vae.transform(frame), vae.transform(people))
    with pytest.raises(ValueError, match="Feature names seen at fit time, yet now missing:\n- age"):
        vae.transform(people.drop(columns="age"))


def test_the_parameter_columns_says_what_columns_are(people, tmp_path):
    frame = people[["age", "height"]].assign(zip=np.arange(ROWS) % 7)
    vae = VAEEmbedding(**SMALL, columns={"zip": "category"}).fit(frame)
    assert vae.schema_.kinds()["zip"] == "category"
    vae.save(tmp_path / "run")
    assert VAEEmbedding.load(tmp_path / "run").columns == {"zip": "category"}
    matrix = VAEEmbedding(**SMALL, columns={"x2": "category"}).fit(frame.to_numpy())
    same(matrix, vae)
    assert matrix.inverse_transform(matrix.transform(frame.to_numpy())).shape == (ROWS, 3)
    with pytest.raises(InputError, match="'zap', which is not a column"):
        VAEEmbedding(columns={"zap": "category"}).fit(frame)
    with pytest.raises(InputError, match="column 'zip': 'town' is not a kind"):
        VAEEmbedding(columns={"zip": "town"}).fit(frame)


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_array, sparse.coo_array])
def test_sparse_rows_are_densified_block_by_block(form, monkeypatch):
    X = sparse.random(1000, 40, 0.1, random_state=0).toarray()
    dense = AutoencoderEmbedding(**SMALL).fit(X)
    largest = 0

    def as_table(rows, **options):
        nonlocal largest
        if sparse.issparse(rows):
            largest = max(largest, rows.shape[0])
        return original(rows, **options)

    from jaxrep.data import frames

    original = frames.as_table
    monkeypatch.setattr(frames, "as_table", as_table)
    monkeypatch.setattr(frames, "block_rows", lambda columns: 300)
    made = AutoencoderEmbedding(**SMALL).fit(form(X))
    assert 0 < largest <= 300
    np.testing.assert_array_equal(made.transform(form(X)), made.transform(X))
    same(dense, AutoencoderEmbedding(**SMALL).fit(X))


def test_sparse_rows_give_the_bits_of_dense_ones():
    X = sparse.random(100, 10, 0.3, random_state=0, format="csr")
    same(AutoencoderEmbedding(**SMALL).fit(X), AutoencoderEmbedding(**SMALL).fit(X.toarray()))


def transformer(people, *, one_hot, sparse_output=False, threshold=0.3):
    steps = [("numbers", StandardScaler(), ["age", "height"])]
    if one_hot:
        steps.append(("job", OneHotEncoder(sparse_output=sparse_output), ["job"]))
    else:
        steps.append(("others", "passthrough", ["job", "member", "born"]))
    return ColumnTransformer(steps, sparse_threshold=threshold)


@pytest.mark.parametrize(
    "settings",
    [{"one_hot": True}, {"one_hot": True, "sparse_output": True, "threshold": 1.0}, {"one_hot": 0}],
)
def test_what_a_column_transformer_gives_is_taken(settings, people):
    made = transformer(people, **settings)
    X = made.fit_transform(people)
    assert sparse.issparse(X) == ("threshold" in settings)
    vae = make_pipeline(made, VAEEmbedding(**SMALL)).fit(people)
    assert vae.transform(people).shape == (ROWS, 2)
    assert vae[-1].sample(3).shape == (3, X.shape[1])
    kinds = list(vae[-1].schema_.kinds().values())
    if not settings["one_hot"]:
        assert kinds == ["number", "number", "category", "boolean", "datetime"]
        same(vae[-1], VAEEmbedding(**SMALL).fit(X.tolist()))
        row = vae[-1].interpolate(X[0], X[1], 2)[0]
        assert isinstance(row[2], str) and isinstance(row[3], bool)
    order = np.random.default_rng(0).permutation(ROWS)
    np.testing.assert_array_equal(vae.transform(people.iloc[order]), vae.transform(people)[order])


def test_pipelines_searches_and_folds_take_frames(people):
    y = people["age"] > 50
    # A fold may lack a category or a gap that another has.
    warnings.simplefilter("ignore", DataWarning)
    pipeline = make_pipeline(VAEEmbedding(**SMALL), LogisticRegression())
    search = GridSearchCV(pipeline, {"vaeembedding__latent_dim": [1, 2]}, cv=2, error_score="raise")
    assert search.fit(people, y).predict(people).shape == (ROWS,)
    scores = cross_val_score(VAEEmbedding(**SMALL), people, cv=2, error_score="raise")
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_head_takes_the_frames_of_its_backbone(holder, people, tmp_path):
    X, y = HOLDERS[holder](people), np.where(people["age"] > 50, "old", "young")
    backbone = VAEEmbedding(**SMALL).fit(X)
    head = FineTunedClassifier(backbone=backbone, epochs=2).fit(X, y)
    assert head.schema_.columns == backbone.schema_.columns
    head.save(tmp_path / "run")
    loaded = FineTunedClassifier.load(tmp_path / "run")
    assert list(loaded.feature_names_in_) == list(people.columns)
    np.testing.assert_array_equal(loaded.predict_proba(X), head.predict_proba(people))


def test_frames_without_names_are_matrices(people):
    X = people[["age", "height"]].to_numpy()
    frame = pd.DataFrame(X)
    named = AutoencoderEmbedding(**SMALL).fit(frame.set_axis(["a", "b"], axis=1))
    made = AutoencoderEmbedding(**SMALL).fit(frame)
    same(named, made)
    assert not hasattr(made, "feature_names_in_")
    some = pd.DataFrame(np.c_[np.zeros(ROWS), X])[[1, 2]]
    np.testing.assert_array_equal(made.transform(some), made.transform(X))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        np.testing.assert_array_equal(named.transform(X), made.transform(X))


def test_a_series_is_a_row(people):
    vae = VAEEmbedding(**SMALL).fit(people)
    line = vae.interpolate(people.iloc[0], people.iloc[1], 3)
    pd.testing.assert_frame_equal(line, vae.interpolate(people[:1], people[1:2], 3))


def test_whatever_streams_arrow_is_read_more_than_once(people):
    table = HOLDERS["arrow"](people)
    reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(7))
    made = VAEEmbedding(**SMALL).fit(table)
    np.testing.assert_array_equal(made.transform(reader), made.transform(people))
    assert isinstance(made.sample(2), pa.Table)


def test_rows_are_read_anew():
    rows = _conversion.Rows(sparse.eye_array(3).tocoo(), ["a", "b", "c"])
    for _ in range(2):
        (block,) = rows
        assert block.to_pydict() == {"a": [1, 0, 0], "b": [0, 1, 0], "c": [0, 0, 1]}


@pytest.mark.parametrize(
    ("X", "advice"),
    [
        (pd.Series([1.0, 2.0]), "to_frame"),
        (pl.Series([1.0, 2.0]), "to_frame"),
        (pl.LazyFrame({"a": [1.0, 2.0]}), "collect"),
        (pd.DataFrame([[1.0, 2.0], [2.0, 3.0]], columns=["a", "a"]), "rename"),
    ],
)
def test_what_is_no_table_is_refused_with_what_to_give(X, advice):
    with pytest.raises(InputError, match=advice):
        AutoencoderEmbedding(epochs=1).fit(X)


def test_messages_name_parameters_and_not_flags():
    cells = [str(i) for i in range(60)]
    cells[3] = "?"
    frame = pd.DataFrame({"a": cells, "b": np.arange(60.0) / 7})
    with pytest.raises(InputError, match=r"'\?' is not a number") as caught:
        AutoencoderEmbedding(epochs=1).fit(frame)
    assert "--" not in str(caught.value)
    assert "columns={'a': 'category'}" in str(caught.value)
    fitted = AutoencoderEmbedding(epochs=1).fit(frame.assign(a=frame["b"] ** 2))
    with pytest.raises(InputError, match=r"'\?' is not a number") as caught:
        fitted.transform(frame)
    assert "--" not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (Columns(impute="mean"), "impute is 'mean'; it must be median, refuse or None"),
        (Columns(likelihoods={"a": "binomial"}), "column 'a': 'binomial' is not a likelihood"),
        (
            Columns(likelihoods={"a": "poisson"}),
            r"likelihoods={'a': 'poisson'} of columns=Columns\(...\): poisson is for counts",
        ),
        (
            Columns(likelihoods={"zap": "squared"}),
            r"X: likelihoods of .* names 'zap', which is not",
        ),
        (Columns(scale="square"), "'square' is not a scale; use standard"),
        (Columns(scales={"job": "robust"}), r"leave out scales={'job': 'robust'} of columns="),
    ],
)
def test_what_columns_cannot_say_is_refused_in_words_of_python(columns, message):
    frame = pd.DataFrame({"a": np.arange(60.0) / 7, "job": ["clerk", "smith"] * 30})
    with pytest.raises(InputError, match=message) as caught:
        AutoencoderEmbedding(epochs=1, columns=columns).fit(frame)
    assert "--" not in str(caught.value)


def test_scales_and_likelihoods_of_columns_are_parameters_that_a_folder_keeps(people, tmp_path):
    columns = Columns(
        likelihoods={"age": "gaussian"}, scale="robust", scales={"height": "quantile"}
    )
    made = AutoencoderEmbedding(**SMALL, columns=columns).fit(people)
    scales = {c.name: c.scaling.kind for c in made.schema_.numeric}
    assert scales["height"] == "quantile" and scales["age"] == "robust"
    assert made.run_.rows.number_likelihoods[0] == "gaussian"
    restored = made.inverse_transform(made.transform(people))
    assert restored["height"].between(people["height"].min(), people["height"].max()).all()
    made.save(tmp_path / "run")
    assert AutoencoderEmbedding.load(tmp_path / "run").columns == columns


def test_a_number_that_a_column_of_0_and_1_never_had_is_scored_and_said():
    X = np.random.default_rng(0).integers(0, 2, (ROWS, 3)).astype(float)
    model = AutoencoderEmbedding(**SMALL).fit(X)
    odd = X.copy()
    odd[0, 1] = 9.0
    with pytest.warns(DataWarning, match="1 cell of 'x1' is neither true nor false"):
        scores = model.score_samples(odd)
    assert scores.argmin() == 0
