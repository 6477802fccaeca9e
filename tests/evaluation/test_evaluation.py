"""Probes, anomaly metrics, baselines and splits against hand counts, and a run beside baselines."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from jaxrep import evaluation
from jaxrep.batch import Batch
from jaxrep.data.schema import CategoricalColumn, Log1p, Number, Schema
from jaxrep.data.transform import one_hot
from jaxrep.evaluation import RawColumns, Result, split

pytestmark = pytest.mark.quick

RNG = np.random.default_rng(0)


def clusters(rows=120, classes=3, features=4, distance=6.0):
    """Gaussian clusters and their class."""
    y = np.arange(rows) % classes
    centers = np.random.default_rng(1).normal(size=(classes, features)) * distance
    return centers[y] + np.random.default_rng(2).normal(size=(rows, features)), y


def test_a_linear_probe_tells_clusters_apart_and_finds_nothing_in_noise():
    x, y = clusters()
    assert evaluation.linear_probe(x[:60], y[:60], x[60:], y[60:], seed=0) == 1.0
    noise = RNG.normal(size=(400, 4))
    labels = RNG.integers(0, 2, 400)
    accuracy = evaluation.linear_probe(noise[:200], labels[:200], noise[200:], labels[200:], seed=0)
    assert 0.35 < accuracy < 0.65


def test_a_linear_probe_is_indifferent_to_the_scale_of_a_column():
    x, y = clusters(distance=1.0)
    scaled = x * np.array([1e4, 1.0, 1e-4, 10.0])
    one, two = (
        evaluation.linear_probe(z[:60], y[:60], z[60:], y[60:], seed=0) for z in (x, scaled)
    )
    assert one == two


def test_the_strength_of_a_probe_is_chosen_by_the_training_rows_alone():
    x = RNG.normal(size=(60, 40))  # mostly noise: a strong penalty has to win
    y = (x[:, 0] + RNG.normal(size=60) > 0).astype(int)
    chosen = evaluation.fit_linear_probe(x, y, seed=0)[-1].C_
    assert chosen <= 0.1
    clear, classes = clusters()
    assert evaluation.fit_linear_probe(clear, classes, seed=0)[-1].C_ < 100
    # One row of a class leaves nothing to hold out.
    assert evaluation.fit_linear_probe(clear[:3], classes[:3], seed=0)[-1].C == 1.0


def test_a_linear_probe_is_fitted_with_one_thread_of_blas():
    x, y = clusters()
    threads = []

    class Read:
        """An array that notes how many threads BLAS has when it is read."""

        shape = x.shape

        def __array__(self, dtype=None, copy=None):
            pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
            threads.extend(pool["num_threads"] for pool in pools)
            return np.array(x, dtype)

    with threadpool_limits(2, user_api="blas"):
        evaluation.fit_linear_probe(Read(), y, seed=0)
    assert set(threads) == {1}


def test_a_strong_penalty_that_learns_nothing_does_not_end_the_search():
    x = np.random.default_rng(3).normal(size=(60, 7))
    y = (np.arange(60) % 4 == 0).astype(int)
    x[:, 0] += 6 * y  # found only once the penalty lets go of the most frequent class
    assert evaluation.fit_linear_probe(x, y, seed=0).score(x, y) > 0.95


def test_neighbours_vote_by_cosine_and_few_labels_are_not_outvoted():
    z = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.1], [0.0, 1.2]])
    y = np.array([0, 1, 1, 1])
    test = np.array([[100.0, 1.0]])  # near the first by its angle alone
    assert evaluation.knn_accuracy(z, y, test, np.array([0]), neighbours=1) == 1.0
    assert evaluation.knn_accuracy(z, y, test, np.array([0]), neighbours=4) == 0.0
    x, classes = clusters(rows=9)
    assert evaluation.knn_accuracy(x, classes, x, classes) > 0.7  # k is 3, not 20


def test_ridge_and_neighbours_predict_a_number_and_none_from_noise():
    x = RNG.normal(size=(200, 3))
    y = 3 * x[:, 0] - x[:, 1] + 5
    assert evaluation.ridge_probe(x[:100], y[:100], x[100:], y[100:]) > 0.999
    noise = RNG.normal(size=200)
    assert evaluation.ridge_probe(x[:100], noise[:100], x[100:], noise[100:]) < 0.2
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    assert evaluation.knn_r2(unit[:100], unit[:100, 0], unit[100:], unit[100:, 0]) > 0.5


def test_the_silhouette_is_that_of_its_formula():
    z, y = RNG.normal(size=(12, 2)), np.arange(12) % 3
    total = 0.0
    for i in range(12):
        distance = np.linalg.norm(z - z[i], axis=1)
        a = distance[y == y[i]].sum() / 3  # of three others
        b = min(distance[y == other].mean() for other in range(3) if other != y[i])
        total += (b - a) / max(a, b)
    assert evaluation.silhouette(z, y, seed=0) == pytest.approx(total / 12)
    assert np.isnan(evaluation.silhouette(z, np.zeros(12), seed=0))
    assert np.isnan(evaluation.silhouette(z, np.arange(12), seed=0))


def test_auroc_and_average_precision_count_pairs_and_ranks():
    scores, is_anomaly = RNG.integers(0, 8, 40), RNG.integers(0, 2, 40)
    ours, others = scores[is_anomaly == 1], scores[is_anomaly == 0]
    pairs = [(a > b) + 0.5 * (a == b) for a in ours for b in others]
    assert evaluation.auroc(scores, is_anomaly) == pytest.approx(np.mean(pairs))
    precisions = []
    for a in ours:
        precisions.append(np.mean(is_anomaly[scores >= a]))
    assert evaluation.average_precision(scores, is_anomaly) == pytest.approx(np.mean(precisions))


def test_the_baselines_are_what_their_names_say():
    x, new = RNG.normal(size=(30, 4)), RNG.normal(size=(5, 4))
    scores = evaluation.anomaly_baselines(x, new, components=2)
    np.testing.assert_allclose(scores["squared_norm"], (new**2).sum(axis=1))
    distances = np.sort(np.linalg.norm(new[:, None] - x[None], axis=2), axis=1)
    np.testing.assert_allclose(scores["knn_distance"], distances[:, 4])
    mean = x.mean(axis=0)
    _, _, directions = np.linalg.svd(x - mean)
    away = (new - mean) @ directions[2:].T
    np.testing.assert_allclose(scores["pca_error"], (away**2).sum(axis=1) / 4)


def test_the_local_outlier_factor_is_that_of_its_formula():
    x, new = RNG.normal(size=(30, 4)), RNG.normal(size=(5, 4))
    k = 7

    def neighbours(row, others):
        distances = np.linalg.norm(x[others] - row, axis=1)
        nearest = np.argsort(distances)[:k]
        return others[nearest], distances[nearest]

    def others(i):
        return np.delete(np.arange(30), i)

    k_distance = np.array([neighbours(x[i], others(i))[1][-1] for i in range(30)])

    def density(row, among):
        near, distances = neighbours(row, among)
        return 1 / np.mean(np.maximum(distances, k_distance[near]))

    densities = np.array([density(x[i], others(i)) for i in range(30)])
    every = np.arange(30)
    expected = [densities[neighbours(row, every)[0]].mean() / density(row, every) for row in new]
    found = evaluation.local_outlier_factor(x, new, neighbours=k)
    np.testing.assert_allclose(found, expected)
    by_default = evaluation.anomaly_baselines(x, new)["local_outlier_factor"]
    np.testing.assert_allclose(by_default, evaluation.local_outlier_factor(x, new, neighbours=20))
    assert np.isfinite(evaluation.local_outlier_factor(x[:2], new)).all()  # k is 1


def test_an_isolation_forest_finds_rows_far_out_and_its_trees_are_the_seeds():
    x = RNG.normal(size=(300, 4))
    new = np.concatenate([RNG.normal(size=(20, 4)), 8 + RNG.normal(size=(5, 4))])
    one, again, other = (
        evaluation.anomaly_baselines(x, new, seed=seed)["isolation_forest"] for seed in (0, 0, 1)
    )
    assert one[20:].min() > max(one[:20].max(), 0.5)
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_splits_share_no_row_and_hold_every_group():
    groups = np.array(["a"] * 20 + ["b"] * 7 + ["c"] * 2)
    for seed in range(20):
        train, labelled, test = split(groups, seed=seed, test_fraction=0.3, labels=5)
        assert sorted([*train, *test]) == list(range(29))
        assert set(labelled) <= set(train)
        assert len(labelled) == 5
        for rows in (train, labelled, test):
            assert set(groups[rows]) == {"a", "b", "c"}
    assert len(test) == 6 + 2 + 1
    again = split(groups, seed=19, test_fraction=0.3, labels=5)
    np.testing.assert_array_equal(again.labelled, labelled)
    assert not np.array_equal(split(groups, seed=1).test, split(groups, seed=2).test)
    assert len(split(groups, seed=0, labels=1000).labelled) == len(split(groups, seed=0).train)


# The table's order is not that of features: numbers come first.
JOB = CategoricalColumn("job", ("clerk", "smith"), has_gaps=True)
AGE = Number("age", mean=40.0, scale=10.0, fill=None, has_gaps=True)
WIDTH = Number("width", mean=1e15, scale=1e-3, fill=None)
PEOPLE = Schema((JOB, AGE, WIDTH))


def test_errors_of_columns_are_of_observed_cells_in_nats_and_in_their_own_units():
    nan = np.nan
    x = Batch(
        np.array([[0.0, 0.0], [nan, 1.0], [2.0, 0.0], [1.0, 0.0]]), np.array([[1], [2], [-1], [0]])
    )
    x_hat = Batch(
        np.array([[0.1, 0.5], [9.0, 1.0], [2.4, 0.5], [1.0, 0.0]]), np.array([[1], [1], [2], [1]])
    )
    terms = np.array([[1.0, 2.0, 3.0], [0.0, 2.0, 5.0], [3.0, 2.0, 0.0], [5.0, 2.0, 7.0]])
    errors = evaluation.column_errors(PEOPLE, x, x_hat, terms)
    assert errors.names == ("job", "age", "width")
    assert errors.kinds == ("categorical", "numeric", "numeric")
    np.testing.assert_allclose(errors.nats, [15 / 3, 9 / 3, 2])
    # Of three known jobs two are wrong: that of no level is never given back.
    age, width = 10 * np.sqrt((0.01 + 0.16) / 3), 1e-3 * np.sqrt(0.5 / 4)
    np.testing.assert_allclose(errors.own, [2 / 3, age, width])


def test_a_column_without_cells_has_no_error():
    x = Batch(np.array([[np.nan, 0.0]]), np.array([[-1]]))
    errors = evaluation.column_errors(
        PEOPLE, x, Batch(np.zeros((1, 2)), np.array([[1]])), np.array([[0.0, 0.5, 0.0]])
    )
    np.testing.assert_array_equal(errors.nats, [np.nan, np.nan, 0.5])
    np.testing.assert_array_equal(errors.own, [np.nan, np.nan, 0.0])


def test_raw_columns_are_one_hot_and_lead_back_to_rows():
    x = Batch(np.array([[0.5, 1.0], [np.nan, 2.0], [0.1, 3.0]]), np.array([[2], [1], [1]]))
    raw = RawColumns.of(PEOPLE, x)
    matrix = raw.matrix(x)
    np.testing.assert_array_equal(matrix, one_hot(PEOPLE, x))
    back = raw.rows(matrix)
    np.testing.assert_array_equal(back.codes, x.codes)
    np.testing.assert_array_equal(back.numbers, np.float32(np.nan_to_num(x.numbers)))
    # Neither "other" nor "missing" is a level that is given back, however large it is.
    strange = raw.matrix(Batch(np.zeros((2, 2)), np.array([[0], [-1]])))
    assert strange[:, 3:].argmax(axis=1).tolist() == [0, 3]
    assert set(raw.rows(strange).codes[:, 0]) <= {1, 2}


@pytest.mark.parametrize("fill", [None, "l7"])
def test_raw_columns_of_a_wide_category_are_those_of_its_most_frequent_levels(fill):
    levels = tuple(f"l{i}" for i in range(5000))
    town = CategoricalColumn("town", levels, has_gaps=True, fill=fill)
    schema = Schema((town, JOB))
    codes = np.concatenate([np.repeat(np.arange(3001, 4000), 2), np.arange(1, 3001), [0]])
    if fill is None:
        codes = np.append(codes, -1)
    rows = Batch(np.empty((len(codes), 0)), np.stack([codes, np.ones_like(codes)], 1))
    raw = RawColumns.of(schema, rows)
    matrix = raw.matrix(rows)
    assert matrix.shape == (len(codes), 1000 + (fill is None) + 4)
    assert (matrix[:, : 1000 + (fill is None)].sum(axis=1) == 1).all()
    is_frequent = (codes >= 3001) & (codes < 4000)
    np.testing.assert_array_equal(raw.rows(matrix).codes[is_frequent, 0], codes[is_frequent])
    np.testing.assert_array_equal(matrix[:, 0] == 1, ~is_frequent & (codes >= 0))
    others = Batch(np.empty((2, 0)), np.array([[4500, 1], [3001, 2]]))  # not among those looked at
    assert raw.matrix(others)[:, :2].tolist() == [[1, 0], [0, 1]]


def test_errors_of_a_column_of_logarithms_are_those_of_its_numbers():
    amount = Number("amount", mean=1.0, scale=2.0, fill=None, scaling=Log1p())
    x = (np.log1p([[3.0], [100.0]]) - 1) / 2
    x_hat = (np.log1p([[6.0], [96.0]]) - 1) / 2
    errors = evaluation.column_errors(Schema((amount,)), Batch(x), Batch(x_hat), (x - x_hat) ** 2)
    np.testing.assert_allclose(errors.nats, np.mean((x - x_hat) ** 2))
    np.testing.assert_allclose(errors.own, np.sqrt((3**2 + 4**2) / 2))


def test_a_result_has_the_sample_deviation_and_no_nan_in_json():
    result = Result("embedding", False, 2, {"auroc": (0.5, 0.7), "silhouette": (np.nan, 0.1)})
    assert result.mean("auroc") == pytest.approx(0.6)
    assert result.std("auroc") == pytest.approx(0.1 * np.sqrt(2))
    assert result.to_json()["metrics"]["silhouette"] == {
        "mean": None,
        "std": None,
        "values": [None, 0.1],
    }
