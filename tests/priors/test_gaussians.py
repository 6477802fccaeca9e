"""Mixtures of Gaussians, beside scikit-learn's, and what their prior on covariances does."""

import numpy as np
import pytest
import scipy.stats
from sklearn.mixture import GaussianMixture

from jaxrep.priors._gaussians import FLOOR, Gaussians, fit_gaussians

pytestmark = pytest.mark.quick


def rows(count=3000, size=4, seed=0):
    """Rows in five clouds, far from 0, that overlap."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(5, size, size)) / 2
    cloud = rng.integers(0, 5, count)
    apart = 50 + rng.normal(size=(5, size)) * 2
    z = apart[cloud] + (factors[cloud] @ rng.normal(size=(count, size, 1)))[:, :, 0]
    return z, z[:5] + 0.5


def covariances(found: Gaussians):
    return found.factors @ found.factors.swapaxes(1, 2)


@pytest.mark.parametrize("iterations", [1, 20])
def test_without_shrinkage_it_is_scikit_learns(iterations):
    z, start = rows()
    found = fit_gaussians(z, start, shrinkage=0, iterations=iterations)
    first = fit_gaussians(z, start, shrinkage=0, iterations=0)
    theirs = GaussianMixture(
        len(start),
        max_iter=iterations,
        tol=0,
        reg_covar=FLOOR,
        weights_init=first.shares,
        means_init=first.means,
        precisions_init=np.linalg.inv(covariances(first)),
    )
    with pytest.warns(match="converge"):
        theirs.fit(z)
    np.testing.assert_allclose(found.shares, theirs.weights_, rtol=1e-8)
    np.testing.assert_allclose(found.means, theirs.means_, rtol=1e-8)
    np.testing.assert_allclose(covariances(found), theirs.covariances_, rtol=1e-6, atol=1e-8)


def test_it_starts_with_the_rows_next_to_each_mean():
    z, start = rows()
    found = fit_gaussians(z, start, shrinkage=0, iterations=0)
    nearest = ((z[:, None] - start) ** 2).sum(axis=2).argmin(axis=1)
    for k in range(len(start)):
        own = z[nearest == k]
        assert found.shares[k] == pytest.approx(len(own) / len(z))
        np.testing.assert_allclose(found.means[k], own.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(
            covariances(found)[k],
            np.cov(own.T, bias=True) + FLOOR * np.eye(4),
            rtol=1e-8,
            atol=1e-9,
        )


def test_covariances_are_drawn_to_the_mean_of_all_by_as_many_rows():
    z, start = rows()
    plain = fit_gaussians(z, start, shrinkage=0, iterations=0)
    found = fit_gaussians(z, start, shrinkage=200, iterations=0)
    counts = (plain.shares * len(z))[:, None, None]
    own = covariances(plain) - FLOOR * np.eye(4)
    pooled = (counts * own).sum(axis=0) / len(z)
    expected = (counts * own + 200 * pooled) / (counts + 200) + FLOOR * np.eye(4)
    np.testing.assert_allclose(covariances(found), expected, rtol=1e-8)
    np.testing.assert_array_equal(found.means, plain.means)


def test_shrinkage_is_closer_to_other_rows_where_gaussians_are_alike_and_rows_are_few():
    rng = np.random.default_rng(0)
    z = 3 * rng.normal(size=(20, 8))[np.arange(1000) % 20] + rng.normal(size=(1000, 8))
    others, start = z[500:], z[:20]

    def density(shrinkage):
        found = fit_gaussians(z[:500], start, shrinkage=shrinkage, iterations=20)
        each = [
            np.log(share) + scipy.stats.multivariate_normal(mean, covariance).logpdf(others)
            for share, mean, covariance in zip(
                found.shares, found.means, covariances(found), strict=True
            )
        ]
        return np.mean(scipy.special.logsumexp(each, axis=0))

    assert density(40) > density(0) + 1


def test_rows_that_are_all_alike_are_a_gaussian_all_the_same():
    found = fit_gaussians(np.ones((50, 3)), np.ones((2, 3)), shrinkage=40, iterations=3)
    np.testing.assert_allclose(found.means[0], 1)
    np.testing.assert_allclose(covariances(found), FLOOR * np.eye(3)[None].repeat(2, 0))
