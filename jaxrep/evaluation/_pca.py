"""Principal components: the linear representation that a learnt one must beat."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA

Rows = npt.NDArray[np.floating[Any]]


def fit_pca(x: Rows, components: int, *, seed: int = 0) -> PCA:
    """Fits PCA of at most `components` components, in float64.

    Args:
        x: rows, `[N, D]`.
        components: Z; fewer where the rows or their features are fewer.
        seed: decides the random projections that scikit-learn uses for large tables.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(20, 3))
        >>> fit_pca(rows, 8).transform(rows).shape
        (20, 3)
    """
    return PCA(min(components, *x.shape), random_state=seed).fit(x.astype(np.float64))


def reconstruct(pca: PCA, x: Rows) -> Rows:
    """Returns rows as their components give them back, `[N, D]`."""
    x_hat: Rows = pca.inverse_transform(pca.transform(x.astype(np.float64)))
    return x_hat
