"""How well scores tell anomalies from other rows, and scores that need no training at all."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

from ._pca import fit_pca, reconstruct

Rows = npt.NDArray[np.floating[Any]]
Scores = npt.NDArray[np.floating[Any]]

NEIGHBOURS = 5
LOCAL_NEIGHBOURS = 20


def auroc(scores: Scores, is_anomaly: npt.NDArray[Any]) -> float:
    """Returns the share of pairs (anomaly, other row) in which the anomaly has the higher score.

    Equal scores count one half: 0.5 is chance, 1 is perfect.

    Args:
        scores: `[N]`; higher is more anomalous.
        is_anomaly: `[N]`, true or 1 for anomalies; both kinds are there.

    Example:
        >>> auroc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([0, 0, 1, 1]))
        0.875
    """
    return float(roc_auc_score(is_anomaly, scores))


def average_precision(scores: Scores, is_anomaly: npt.NDArray[Any]) -> float:
    """Returns Σ (Rₙ − Rₙ₋₁) Pₙ over the thresholds, with precision P and recall R at each.

    Chance gives the share of anomalies.

    Args:
        scores: `[N]`; higher is more anomalous.
        is_anomaly: `[N]`, true or 1 for anomalies.

    Example:
        >>> average_precision(np.array([0.1, 0.4, 0.5, 0.9]), np.array([0, 1, 0, 1])).__round__(4)
        0.8333
    """
    return float(average_precision_score(is_anomaly, scores))


def neighbour_distance(x_train: Rows, x_test: Rows, *, neighbours: int = NEIGHBOURS) -> Scores:
    """Returns each test row's Euclidean distance to its k-th nearest training row, `[M]`.

    Args:
        x_train: rows, `[N, D]`.
        x_test: other rows, `[M, D]`.
        neighbours: k; N where that is less.

    References:
        Ramaswamy et al., Efficient Algorithms for Mining Outliers from Large Data Sets, 2000.

    Example:
        >>> neighbour_distance(np.array([[0.0], [1.0]]), np.array([[3.0]]), neighbours=1)
        array([2.])
    """
    k = min(neighbours, len(x_train))
    distances, _ = NearestNeighbors(n_neighbors=k).fit(x_train).kneighbors(x_test)
    farthest: Scores = distances[:, -1]
    return farthest


def local_outlier_factor(
    x_train: Rows, x_test: Rows, *, neighbours: int = LOCAL_NEIGHBOURS
) -> Scores:
    """Returns how much sparser the training rows lie around a test row than around its neighbours.

    It is the mean density of the k nearest training rows over the density at the row, `[M]`: near 1
    inside a cluster, more outside.

    Args:
        x_train: rows, `[N, D]`, two at least.
        x_test: other rows, `[M, D]`.
        neighbours: k; N − 1 where that is less.

    References:
        Breunig et al., LOF: Identifying Density-Based Local Outliers, 2000.

    Example:
        >>> rows = np.arange(10.0)[:, None]
        >>> local_outlier_factor(rows, np.array([[4.5], [20.0]]), neighbours=2).round(1)
        array([1. , 7.7])
    """
    k = min(neighbours, len(x_train) - 1)
    factors: Scores = -LocalOutlierFactor(k, novelty=True).fit(x_train).score_samples(x_test)
    return factors


def isolation_score(x_train: Rows, x_test: Rows, *, seed: int = 0) -> Scores:
    """Returns 2^(−h / c), h the mean depth at which 100 random trees isolate a test row, `[M]`.

    c is the mean depth in a random tree of as many rows, 256 at most, as each tree is grown on:
    0.5 is usual, and near 1 what a few cuts set apart.

    Args:
        x_train: rows, `[N, D]`.
        x_test: other rows, `[M, D]`.
        seed: decides the trees.

    References:
        Liu et al., Isolation Forest, 2008.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(200, 2))
        >>> near, far = isolation_score(rows, np.array([[0.0, 0.0], [9.0, 9.0]]))
        >>> bool(near < 0.5 < far)
        True
    """
    forest = IsolationForest(random_state=seed).fit(x_train)
    scores: Scores = -forest.score_samples(x_test)
    return scores


def anomaly_baselines(
    x_train: Rows,
    x_test: Rows,
    *,
    components: int = 8,
    seed: int = 0,
    pca: PCA | None = None,
) -> dict[str, Scores]:
    """Returns the scores that a learnt one must beat, higher for more anomalous rows.

    Args:
        x_train: standardised rows, `[N, D]`, of which no label is used.
        x_test: the rows to score, `[M, D]`.
        components: Z of the PCA; take the learnt representation's.
        seed: of the PCA and the isolation forest.
        pca: one that is fitted on `x_train` already.

    Returns:
        `knn_distance` (`neighbour_distance`), `local_outlier_factor`, `isolation_forest`
        (`isolation_score`), `pca_error` (the mean squared error of a PCA's reconstruction) and
        `squared_norm` (‖x‖²), `[M]` each. There is no `pca_error` where the PCA has as many
        components as there are features, and so no error.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(50, 3))
        >>> list(anomaly_baselines(rows, 10 * rows[:2], components=2))
        ['knn_distance', 'local_outlier_factor', 'isolation_forest', 'pca_error', 'squared_norm']
        >>> list(anomaly_baselines(rows, 10 * rows[:2], components=3))
        ['knn_distance', 'local_outlier_factor', 'isolation_forest', 'squared_norm']
    """
    wide = x_test.astype(np.float64)
    scores: dict[str, Scores] = {
        "knn_distance": neighbour_distance(x_train, x_test),
        "local_outlier_factor": local_outlier_factor(x_train, x_test),
        "isolation_forest": isolation_score(x_train, x_test, seed=seed),
    }
    pca = fit_pca(x_train, components, seed=seed) if pca is None else pca
    if pca.n_components_ < x_train.shape[1]:
        scores["pca_error"] = np.mean((wide - reconstruct(pca, wide)) ** 2, axis=1)
    return scores | {"squared_norm": np.sum(wide**2, axis=1)}
