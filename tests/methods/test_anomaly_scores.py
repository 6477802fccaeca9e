"""Every anomaly score that a method offers: what it is, and that the row alone decides it."""

import dataclasses
import functools

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from jaxrep import AutoencoderEmbedding, methods
from jaxrep.batch import take
from jaxrep.hyperparameters import declaration
from jaxrep.inference import map_errors, map_rows
from jaxrep.training import fit
from tests.helpers.small import MIXED, MIXED_X, Store, make, mixed

OFFERED = [
    (name, score)
    for name in methods.names()
    for field in dataclasses.fields(methods.hyperparameters_of(name))
    if field.name == "anomaly_score"
    for score in declaration(field).range.options
]
NEW = mixed(40, seed=1)


@functools.cache
def trained(name, score):
    method = make(name, anomaly_score=score)
    return method, fit(method, MIXED_X, spec=MIXED).weights


def of(name, score, output, x):
    method, weights = trained(name, score)
    return map_rows(method, output, weights, x, MIXED).astype(np.float64)


def test_scores_that_methods_offer_have_their_usual_one_first():
    first = {name: score for name, score in reversed(OFFERED)}
    assert first == {
        "autoencoder": "reconstruction",
        "vae": "reconstruction",
        "simclr": "mahalanobis",
        "denoiser": "levels_and_distance",
    }
    assert {name for name, score in OFFERED if score == "neighbours"} == set(first)


@pytest.mark.parametrize(
    ("name", "score"), [case for case in OFFERED if not case[1].startswith("levels")]
)
def test_a_score_is_what_its_name_says(name, score):
    found = of(name, score, "score", NEW)
    if score == "reconstruction":
        terms = of(name, score, "score_by_column", NEW)
        is_there = np.concatenate([~np.isnan(NEW.numbers), NEW.codes >= 0], axis=1)
        expected = np.where(is_there, terms, 0).sum(axis=1) / is_there.sum(axis=1)
    else:
        z, known = (of(name, score, "embed", x) for x in (NEW, MIXED_X))
        if score == "neighbours":
            nearest = NearestNeighbors(n_neighbors=5).fit(known).kneighbors(z)[0][:, -1]
            expected = nearest / np.sqrt(z.shape[1])
        else:
            values, vectors = np.linalg.eigh(np.cov(known.T, bias=True))
            inverse = vectors / (values + 1e-3 * values.mean() + 1e-6) @ vectors.T
            apart = z - known.mean(axis=0)
            expected = np.einsum("ni,ij,nj->n", apart, inverse, apart) / z.shape[1]
    # The whitening is an inverse root in float32, whose eigenvalues lie a thousandfold apart.
    rtol = 2e-3 if score == "mahalanobis" else 1e-5
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-6)


def test_levels_and_distance_count_alike():
    levels, distance = (
        [of("denoiser", score, "score", x) for x in (MIXED_X, NEW)]
        for score in ("levels", "mahalanobis")
    )
    distance = [np.log(scores) for scores in distance]
    expected = np.mean(
        [(new - known.mean()) / known.std() for known, new in (levels, distance)], axis=0
    )
    found = of("denoiser", "levels_and_distance", "score", NEW)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [name for name, score in OFFERED if score == "neighbours"])
def test_the_score_changes_nothing_that_is_trained(name):
    usual = next(score for known, score in OFFERED if known == name)
    (_, one), (_, other) = trained(name, usual), trained(name, "neighbours")
    assert other["distance.bank"].shape[0] == len(MIXED_X.numbers)
    both = one.keys() & other.keys() - {"distance.bank"}
    assert len(both) > 3
    for key in both:
        np.testing.assert_array_equal(one[key], other[key])


@pytest.mark.parametrize(("name", "score"), OFFERED)
def test_a_row_has_the_same_score_in_any_batch(name, score):
    whole = of(name, score, "score", NEW)
    for rows in (slice(0, 1), slice(7, 30)):
        np.testing.assert_array_equal(of(name, score, "score", take(NEW, rows)), whole[rows])


@pytest.mark.parametrize(
    ("name", "score"),
    [
        ("denoiser", "levels_and_distance"),
        ("denoiser", "levels"),
        ("denoiser", "neighbours"),
        ("simclr", "neighbours"),
    ],
)
def test_a_streamed_table_gives_the_same_scores(name, score):
    method, weights = trained(name, score)
    streamed = fit(method, Store(MIXED_X, MIXED), spec=MIXED).weights
    assert streamed.keys() == weights.keys()
    for key, array in weights.items():
        np.testing.assert_array_equal(streamed[key], array)


@pytest.mark.parametrize("name", ["autoencoder", "denoiser"])
def test_runs_of_other_scores_compare_by_the_same_error(name):
    usual = next(score for known, score in OFFERED if known == name)
    errors = []
    for score in (usual, "neighbours"):
        method, weights = trained(name, score)
        errors.append(map_errors(method, weights, NEW, MIXED))
    np.testing.assert_array_equal(*errors)
    reconstruction = of(name, "reconstruction", "score", NEW)
    np.testing.assert_allclose(errors[0], reconstruction, rtol=1e-5, atol=1e-6)


def test_an_estimators_score_for_selection_is_its_error_whatever_its_anomaly_score():
    x = np.random.default_rng(0).normal(size=(60, 4))
    small = {"hidden_dims": (6,), "latent_dim": 3, "epochs": 2}
    one, other = (
        AutoencoderEmbedding(anomaly_score=score, **small).fit(x)
        for score in ("reconstruction", "neighbours")
    )
    assert one.score(x) == other.score(x)
    assert one.score(x) == pytest.approx(one.score_samples(x).mean(), rel=1e-5)
    assert not np.allclose(other.score_samples(x), one.score_samples(x), rtol=0.1)
