"""Mixtures of Gaussians, fitted by expectation maximisation with a prior on their covariances.

As scikit-learn's `GaussianMixture`, but for that prior, and for two products of matrices in the
place of a loop over the Gaussians: log N(z; μ, Σ) is linear in z and in the products zᵢ zⱼ, and so
is what a step of maximisation sums.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

FLOOR = 1e-6
"""What is added to the variances of every Gaussian."""

_BLOCK = 1 << 21  # products of a block of rows


class Gaussians(NamedTuple):
    """A mixture of K Gaussians: Σₖ πₖ N(μₖ, Lₖ Lₖᵀ)."""

    shares: Numbers
    """πₖ, `[K]`."""

    means: Numbers
    """μₖ, `[K, Z]`."""

    factors: Numbers
    """Lₖ, lower triangles, `[K, Z, Z]`."""


class _Sums(NamedTuple):
    """What each Gaussian answers for: how many rows, and the sums of their z and zᵢ zⱼ."""

    rows: Numbers
    first: Numbers
    second: Numbers


def fit_gaussians(z: Numbers, means: Numbers, *, shrinkage: float, iterations: int) -> Gaussians:
    """Returns the mixture that expectation maximisation comes to.

    A covariance is (nₖ Sₖ + ν S) / (nₖ + ν), where Sₖ is that of the nₖ rows that its Gaussian
    answers for, and S the mean of all Sₖ, by their nₖ: few rows say little of Z² numbers.

    Args:
        z: rows, `[N, Z]`.
        means: where the Gaussians start, each with the rows next to it, `[K, Z]`.
        shrinkage: ν, in rows.
        iterations: of expectation and maximisation.

    References:
        Fraley and Raftery, Bayesian Regularization for Normal Mixture Estimation and Model-Based
        Clustering, 2007.

    Example:
        >>> z = np.array([[-1.0], [1.0], [7.0], [9.0]])
        >>> found = fit_gaussians(z, z[[0, 2]], shrinkage=0, iterations=5)
        >>> print(found.shares.round(2), found.means.T.round(2), found.factors.round(2).ravel())
        [0.5 0.5] [[0. 8.]] [1. 1.]
    """
    centre = z.mean(axis=0)  # about which products lose the fewest digits
    z, means = z - centre, means - centre
    size = z.shape[1]
    pairs = np.triu_indices(size)
    sums = _Sums(*(np.zeros((len(means), n)) for n in (1, size, len(pairs[0]))))
    for x, products in _blocks(z, pairs):
        distances = np.sum(means**2, axis=1) - 2 * x @ means.T
        nearest = np.eye(len(means))[distances.argmin(axis=1)]
        _add(sums, nearest, x, products)
    found = _maximised(sums, pairs, shrinkage)
    for _ in range(iterations):
        quadratic, linear, constant = _coefficients(found, pairs)
        sums = _Sums(*(np.zeros_like(part) for part in sums))
        for x, products in _blocks(z, pairs):
            scores = products @ quadratic.T + x @ linear.T + constant
            answers = np.exp(scores - scores.max(axis=1, keepdims=True))
            answers /= answers.sum(axis=1, keepdims=True)
            _add(sums, answers, x, products)
        found = _maximised(sums, pairs, shrinkage)
    return found._replace(means=found.means + centre)


def _blocks(z: Numbers, pairs: tuple[np.ndarray, ...]) -> Iterator[tuple[Numbers, Numbers]]:
    """Yields blocks of rows, and their products zᵢ zⱼ."""
    size = max(_BLOCK // len(pairs[0]), 64)
    for start in range(0, len(z), size):
        x = z[start : start + size]
        yield x, x[:, pairs[0]] * x[:, pairs[1]]


def _add(sums: _Sums, answers: Numbers, x: Numbers, products: Numbers) -> None:
    sums.rows[:, 0] += answers.sum(axis=0)
    sums.first[...] += answers.T @ x
    sums.second[...] += answers.T @ products


def _maximised(sums: _Sums, pairs: tuple[np.ndarray, ...], shrinkage: float) -> Gaussians:
    counts = np.maximum(sums.rows, 1e-12)
    shares, means = counts[:, 0] / counts.sum(), sums.first / counts
    upper = sums.second / counts - means[:, pairs[0]] * means[:, pairs[1]]
    upper = (counts * upper + shrinkage * (shares @ upper)) / (counts + shrinkage)
    covariances = np.empty((len(means), *[means.shape[1]] * 2))
    covariances[:, pairs[0], pairs[1]] = covariances[:, pairs[1], pairs[0]] = upper
    covariances += FLOOR * np.eye(means.shape[1])
    return Gaussians(shares, means, np.linalg.cholesky(covariances))


def _coefficients(
    mixture: Gaussians, pairs: tuple[np.ndarray, ...]
) -> tuple[Numbers, Numbers, Numbers]:
    """Returns what log πₖ N(z; μₖ, Σₖ) is made of: by zᵢ zⱼ, by zᵢ, and what is left of it."""
    inverse = np.linalg.inv(mixture.factors)
    precision = inverse.swapaxes(1, 2) @ inverse
    linear = (precision @ mixture.means[:, :, None])[:, :, 0]
    times = np.where(pairs[0] == pairs[1], 0.5, 1.0)
    spread = np.log(np.diagonal(mixture.factors, axis1=1, axis2=2)).sum(axis=1)
    constant = (
        np.log(mixture.shares)
        - 0.5 * np.sum(linear * mixture.means, axis=1)
        - spread
        - 0.5 * mixture.means.shape[1] * math.log(2 * math.pi)
    )
    return -times * precision[:, pairs[0], pairs[1]], linear, constant
