"""Probes, anomaly metrics, baselines and splits against hand counts, and a run beside baselines."""

import numpy as np
import pytest

from jaxrep import evaluation
from jaxrep.data.schema import CategoricalColumn, Log1p, Number, Schema
from jaxrep.evaluation import Result, split

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


def test_errors_of_columns_are_in_both_units_and_count_wrong_categories():
    age = Number("age", mean=40.0, scale=10.0, fill=None)
    job = CategoricalColumn("job", ("clerk", "smith"), has_gaps=False)
    x = np.array([[0.0, 1, 0, 0], [1.0, 0, 1, 0], [2.0, 0, 1, 0]])
    x_hat = np.array([[0.1, 0.9, 0.1, 0], [1.1, 0.2, 0.8, 0], [2.4, 0.7, 0.3, 0]])
    errors = evaluation.column_errors(Schema((age, job)), x, x_hat)
    assert errors.names == ("age", "job")
    squares = 0.01 + 0.01 + 0.16
    of_jobs = 2 * 0.01 + 2 * 0.04 + 2 * 0.49
    np.testing.assert_allclose(errors.standardised, np.sqrt([squares / 3, of_jobs / 9]))
    np.testing.assert_allclose(errors.own, [10 * np.sqrt(squares / 3), 1 / 3])


def test_errors_of_a_column_of_logarithms_are_those_of_its_numbers():
    amount = Number("amount", mean=1.0, scale=2.0, fill=None, scaling=Log1p())
    x = (np.log1p([[3.0], [100.0]]) - 1) / 2
    x_hat = (np.log1p([[6.0], [96.0]]) - 1) / 2
    errors = evaluation.column_errors(Schema((amount,)), x, x_hat)
    np.testing.assert_allclose(errors.standardised, np.sqrt(np.mean((x - x_hat) ** 2)))
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
