"""How well scores tell anomalies from other rows, and scores that need no training at all."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import NearestNeighbors

from ._pca import fit_pca, reconstruct

Rows = npt.NDArray[np.floating[Any]]
Scores = npt.NDArray[np.floating[Any]]

NEIGHBOURS = 5


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


def anomaly_baselines(
    x_train: Rows, x_test: Rows, *, components: int = 8, seed: int = 0
) -> dict[str, Scores]:
    """Returns the scores that a learnt one must beat, higher for more anomalous rows.

    Args:
        x_train: standardised rows, `[N, D]`, of which no label is used.
        x_test: the rows to score, `[M, D]`.
        components: Z of the PCA; take the learnt representation's.
        seed: of the PCA.

    Returns:
        `knn_distance` (`neighbour_distance`), `pca_error` (the mean squared error of a PCA's
        reconstruction) and `squared_norm` (‖x‖²), `[M]` each. There is no `pca_error` where the
        PCA has as many components as there are features, and so no error.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(50, 3))
        >>> sorted(anomaly_baselines(rows, 10 * rows[:2], components=2))
        ['knn_distance', 'pca_error', 'squared_norm']
        >>> sorted(anomaly_baselines(rows, 10 * rows[:2], components=3))
        ['knn_distance', 'squared_norm']
    """
    wide = x_test.astype(np.float64)
    scores: dict[str, Scores] = {"knn_distance": neighbour_distance(x_train, x_test)}
    pca = fit_pca(x_train, components, seed=seed)
    if pca.n_components_ < x_train.shape[1]:
        scores["pca_error"] = np.mean((wide - reconstruct(pca, wide)) ** 2, axis=1)
    return scores | {"squared_norm": np.sum(wide**2, axis=1)}
