"""How much of a label a representation holds: linear and nearest-neighbour probes, silhouette.

All take arrays and return a number; what is random in them is decided by `seed`. Shape letters:
N rows, Z representation.
"""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, RidgeCV
from sklearn.metrics import r2_score, silhouette_score
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

Rows = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[Any]

# scikit-learn's C, the inverse strength of L2, that cross-validation chooses from.
INVERSE_STRENGTHS = tuple(10.0**power for power in range(-4, 3))
FOLDS = 5
NEIGHBOURS = 20
SILHOUETTE_ROWS = 2_000
_MAX_ITERATIONS = 1_000


def fit_linear_probe(z_train: Rows, y_train: Labels, *, seed: int) -> Pipeline:
    """Fits a logistic regression on standardised representations.

    The strength of its L2 is chosen by stratified cross-validation on the rows given, in at most 5
    folds, for the best mean accuracy; of equals the strongest. Where a class has one row alone
    there is nothing to hold out, and C is 1. A fit that has not converged after 1,000 iterations is
    taken as it is.

    Args:
        z_train: labelled representations, `[N, Z]`.
        y_train: their classes, `[N]`, of at least two kinds.
        seed: decides the folds.

    Returns:
        A fitted scikit-learn pipeline of scaler and classifier.
    """
    _, counts = np.unique(y_train, return_counts=True)
    folds = min(FOLDS, int(counts.min()))
    regression: LogisticRegression | LogisticRegressionCV
    if folds < 2:
        regression = LogisticRegression(max_iter=_MAX_ITERATIONS)
    else:
        regression = LogisticRegressionCV(
            Cs=INVERSE_STRENGTHS,
            l1_ratios=(0.0,),
            cv=StratifiedKFold(folds, shuffle=True, random_state=seed),
            scoring="accuracy",
            max_iter=_MAX_ITERATIONS,
            use_legacy_attributes=False,
        )
    # One thread: a step multiplies by as many columns as there are classes, and BLAS's threads wait
    # for one another longer than that takes.
    with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return make_pipeline(StandardScaler(), regression).fit(z_train, y_train)


def linear_probe(
    z_train: Rows, y_train: Labels, z_test: Rows, y_test: Labels, *, seed: int
) -> float:
    """Returns the accuracy of a linear probe: the share of test rows it classifies correctly.

    Args:
        z_train: labelled representations, `[N, Z]`.
        y_train: their classes, `[N]`.
        z_test: other representations, `[M, Z]`.
        y_test: their classes, `[M]`.
        seed: decides the folds that choose the regularisation.

    References:
        Alain and Bengio, Understanding Intermediate Layers Using Linear Classifier Probes, 2016.

    Example:
        >>> z = np.array([[0.0], [0.1], [0.2], [1.0], [1.1], [1.2]])
        >>> y = np.array(list("aaabbb"))
        >>> linear_probe(z, y, z, y, seed=0)
        1.0
    """
    return float(fit_linear_probe(z_train, y_train, seed=seed).score(z_test, y_test))


def fit_ridge_probe(z_train: Rows, y_train: Rows) -> Pipeline:
    """Fits a ridge regression on standardised representations.

    Its strength is chosen from 13 between 1e-3 and 1e9 by leave-one-out on the rows given.

    Args:
        z_train: labelled representations, `[N, Z]`.
        y_train: their numbers, `[N]`.

    Returns:
        A fitted scikit-learn pipeline of scaler and regression.
    """
    return make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 9, 13))).fit(z_train, y_train)


def ridge_probe(z_train: Rows, y_train: Rows, z_test: Rows, y_test: Rows) -> float:
    """Returns R² of a ridge regression: 1 − Σ(y − ŷ)² / Σ(y − ȳ)² over the test rows.

    Args:
        z_train: labelled representations, `[N, Z]`.
        y_train: their numbers, `[N]`.
        z_test: other representations, `[M, Z]`.
        y_test: their numbers, `[M]`.

    Example:
        >>> z = np.linspace(0, 1, 20)[:, None]
        >>> round(ridge_probe(z, 3 * z[:, 0], z, 3 * z[:, 0]), 4)
        1.0
    """
    return float(r2_score(y_test, fit_ridge_probe(z_train, y_train).predict(z_test)))


def knn_accuracy(
    z_train: Rows, y_train: Labels, z_test: Rows, y_test: Labels, *, neighbours: int | None = None
) -> float:
    """Returns the accuracy of a vote among the nearest labelled rows by cosine similarity.

    Args:
        z_train: labelled representations, `[N, Z]`.
        y_train: their classes, `[N]`.
        z_test: other representations, `[M, Z]`.
        y_test: their classes, `[M]`.
        neighbours: k; by default 20, or the mean number of labelled rows a class where that is
            less, so that few labels are not outvoted.

    Example:
        >>> z = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
        >>> knn_accuracy(z, np.array([0, 0, 1, 1]), 5 * z, np.array([0, 0, 1, 0]))
        0.75
    """
    k = neighbours or _neighbours(len(z_train) // len(np.unique(y_train)))
    vote = KNeighborsClassifier(k, metric="cosine").fit(z_train, y_train)
    return float(vote.score(z_test, y_test))


def knn_r2(
    z_train: Rows, y_train: Rows, z_test: Rows, y_test: Rows, *, neighbours: int | None = None
) -> float:
    """Returns R² of the mean over the nearest labelled rows by cosine similarity.

    Args:
        z_train: labelled representations, `[N, Z]`.
        y_train: their numbers, `[N]`.
        z_test: other representations, `[M, Z]`.
        y_test: their numbers, `[M]`.
        neighbours: k; by default 20, or what there is.

    Example:
        >>> z = np.array([[1.0, 0.0], [0.0, 1.0]])
        >>> knn_r2(z, np.array([1.0, 2.0]), z, np.array([1.0, 2.0]), neighbours=1)
        1.0
    """
    k = neighbours or _neighbours(len(z_train))
    mean = KNeighborsRegressor(k, metric="cosine").fit(z_train, y_train)
    return float(r2_score(y_test, mean.predict(z_test)))


def silhouette(z: Rows, y: Labels, *, seed: int) -> float:
    """Returns the mean silhouette (b − a) / max(a, b) of rows grouped by their class.

    a is a row's mean Euclidean distance to the rows of its class, b to those of the nearest other.

    Args:
        z: representations, `[N, Z]`.
        y: their classes, `[N]`.
        seed: decides which 2,000 rows are taken where there are more.

    Returns:
        From −1 to 1; NaN where the rows taken have one class, or none shared by two rows.

    References:
        Rousseeuw, Silhouettes, 1987.

    Example:
        >>> z = np.array([[0.0], [0.0], [1.0], [1.0]])
        >>> silhouette(z, np.array([0, 0, 1, 1]), seed=0)
        1.0
    """
    if len(z) > SILHOUETTE_ROWS:
        taken = np.random.default_rng(seed).choice(len(z), SILHOUETTE_ROWS, replace=False)
        z, y = z[taken], y[taken]
    if not 2 <= len(np.unique(y)) < len(y):
        return float("nan")
    return float(silhouette_score(z, y))


def _neighbours(fitting: int) -> int:
    return max(1, min(NEIGHBOURS, fitting))
