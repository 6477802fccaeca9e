"""Checks of what scikit-learn passes along with rows."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import column_or_1d

from jaxrep.errors import InputError


def check_weights(given: Any, rows: int) -> npt.NDArray[np.float64]:
    """Returns the weights of rows as shares of the largest, `[rows]`; 1 where none are given."""
    if given is None:
        return np.ones(rows)
    weights: npt.NDArray[np.float64] = column_or_1d(given, dtype=np.float64)
    if len(weights) != rows:
        raise InputError(
            f"X has {rows} rows and sample_weight {len(weights)}; they must be as many"
        )
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise InputError("sample_weight has values that are negative, infinite or missing")
    if (count := np.count_nonzero(weights)) < 2:
        raise InputError(
            f"sample_weight is zero in all but {count} of {rows} rows; at least 2 are needed"
        )
    shares: npt.NDArray[np.float64] = weights / weights.max()
    return shares
