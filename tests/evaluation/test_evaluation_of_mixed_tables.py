"""A run on a table of numbers, categories, one of them wide, and gaps beside its baselines."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from jaxrep.batch import take
from jaxrep.data.transform import one_hot
from jaxrep.evaluation import RawColumns, evaluate, split
from jaxrep.runs.default_table import rows_of
from jaxrep.runs.folder import load
from tests.helpers import mixed
from tests.helpers.commands import done


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return mixed.write(tmp_path_factory.mktemp("mixed") / "people.parquet")


@pytest.fixture(scope="module")
def run(source):
    out = source.parent / "run"
    done("train", "autoencoder", source, "--out", out, *mixed.FLAGS)
    return load(out)


@pytest.fixture(scope="module")
def found(run, source):
    return evaluate(run, str(source), rows=400, repeats=2)


def test_a_run_on_a_mixed_table_stands_beside_baselines_on_raw_columns(run, found):
    assert run.rows.levels == (mixed.TOWNS + 1, 4)
    by_name = {result.name: result for result in found.results}
    # 3 numbers, a flag of ages, 1,000 values of towns, and 5 of jobs, with "other" and missing.
    assert by_name["raw features"].size == 3 + 1 + 1000 + 5
    # PCA and the probes see that heights decide.
    assert by_name["raw features"].mean("linear_accuracy") > 0.8
    assert by_name["embedding"].size == 2


def test_errors_by_column_are_of_the_observed_cells_of_the_test_rows(run, found, source):
    columns = {column["name"]: column for column in found.columns}
    assert next(iter(columns)) == "town" and columns.keys() == {*run.schema.names}
    kinds = {name: column["kind"] for name, column in columns.items()}
    assert [name for name, kind in kinds.items() if kind == "categorical"] == ["town", "job"]
    for column in found.columns:
        assert all(np.isfinite(column[key]) for key in ("nats", "error", "pca_error", "mean_error"))
    ages = mixed.make_table()["age"].drop_null().to_numpy()
    # Of the test rows, about what it is of all rows.
    assert columns["age"]["mean_error"] == pytest.approx(ages.std(), rel=0.1)
    assert columns["job"]["mean_error"] == pytest.approx(2 / 3, abs=0.1)
    assert columns["town"]["nats"] == pytest.approx(np.log(mixed.TOWNS), abs=1)


def test_errors_by_column_are_those_of_a_loop_over_cells(run, source):
    found = evaluate(run, str(source), rows=mixed.ROWS, repeats=1, seed=3)
    columns = {column["name"]: column for column in found.columns}
    table = mixed.make_table()
    test = split(np.array(table["side"].to_pylist()), seed=3).test
    x = rows_of(run, str(source))
    restored, terms = run.map("reconstruct", x), run.map("score_by_column", x)
    for name, feature in (("age", 0), ("height", 1), ("job", 4)):
        cells, nats, errors = table[name].to_pylist(), [], []
        column = run.schema.columns[run.schema.column_order[feature]]
        assert column.name == name
        for row in test:
            if cells[row] is None:
                assert terms[row, feature] == 0
                continue
            nats.append(terms[row, feature])
            if name == "job":
                errors.append(column.levels[restored.codes[row, 1] - 1] != cells[row])
            else:
                made = restored.numbers[row, feature] * column.scale + column.mean
                errors.append((made - cells[row]) ** 2)
        assert len(nats) < len(test) or name == "height"
        assert columns[name]["nats"] == pytest.approx(np.mean(nats), rel=1e-5)
        error = np.mean(errors) if name == "job" else np.sqrt(np.mean(errors))
        assert columns[name]["error"] == pytest.approx(error, rel=1e-5)


def test_raw_columns_of_a_run_are_one_hot_where_no_category_is_wide(run, source):
    x = take(rows_of(run, str(source)), slice(0, 50))
    few = RawColumns.of(run.schema, x)
    assert few.matrix(x).shape[1] == one_hot(run.schema, x).shape[1] - (mixed.TOWNS + 1 - 1000)
    np.testing.assert_array_equal(few.rows(few.matrix(x)).codes[:, 0], x.codes[:, 0])


def test_scores_of_anomalies_stand_beside_distances_of_raw_columns(run, source):
    found = evaluate(run, str(source), anomalies=["tall"], rows=400, repeats=1)
    by_name = {result.name: result.mean("auroc") for result in found.results}
    assert all(np.isfinite(value) for value in by_name.values()) and len(by_name) == 8


def test_repetitions_are_measured_with_one_thread_of_blas(run, source):
    threads = []

    def watch(splits):
        for s in splits:
            threads.append(blas_threads())
            yield s

    with threadpool_limits(2, user_api="blas"):
        evaluate(run, str(source), rows=40, repeats=2, watch=watch)
        assert (threads, blas_threads()) == ([{1}, {1}], {2})


def blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
