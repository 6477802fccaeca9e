"""Checks of what scikit-learn passes along: rows, their weights, a random state."""

from collections import Counter
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.sparse import issparse
from sklearn.utils import check_random_state
from sklearn.utils.validation import column_or_1d, validate_data

from jaxrep.data._messages import listed
from jaxrep.data.frames import kind_of
from jaxrep.data.schema import Schema
from jaxrep.errors import InputError
from jaxrep.estimators._conversion import (
    FLOATS,
    SOURCE,
    default_names,
    is_frame,
    is_mixed,
    is_numeric,
    names_of,
)


def check_rows(
    estimator: Any, X: Any, *, at_least: int, reset: bool = False, schema: Schema | None = None
) -> Any:
    """Returns rows that scikit-learn has found good: a matrix as floats, or a frame.

    Args:
        estimator: that takes them.
        X: what the caller gives.
        at_least: how many rows there must be.
        reset: whether their columns are those to expect from now on.
        schema: that the rows are for; None: a new one.

    Raises:
        InputError: the run's columns are no matrix.
        ValueError: too few rows, other columns, or in a matrix values that are infinite.
    """
    _refuse_no_table(X)
    if is_frame(X):
        return _check_frame(estimator, X, at_least, reset, schema)
    mixed = is_mixed(X)
    if schema is not None and not is_numeric(schema) and not issparse(X):
        named = estimator._columns != default_names(len(estimator._columns))
        if named and not reset:
            raise InputError(
                f"{SOURCE} is {type(X).__name__}; this run has columns of categories or times, by "
                "name: give a DataFrame with the columns that it was trained on"
            )
    return validate_data(
        estimator,
        np.asarray(X, object) if mixed and isinstance(X, list | tuple) else X,
        reset=reset,
        dtype=None if mixed else FLOATS,
        accept_sparse="csr",
        ensure_all_finite=False if mixed else "allow-nan",
        ensure_min_samples=at_least,
    )


def _refuse_no_table(X: Any) -> None:
    """Raises an InputError for what pandas and polars have beside tables, and for equal names."""
    module, name = type(X).__module__.partition(".")[0], type(X).__name__
    if module in ("pandas", "polars") and name in ("Series", "LazyFrame"):
        advice = "call .collect()" if name == "LazyFrame" else "give X.to_frame()"
        raise InputError(f"{SOURCE} is a {name} of {module} and not a table; {advice}")
    names = list(getattr(X, "columns", ())) if module == "pandas" else []
    if twice := [str(each) for each, count in Counter(names).items() if count > 1]:
        raise InputError(f"{SOURCE}: more than one column is named {listed(twice)}; rename them")


def _check_frame(estimator: Any, X: Any, at_least: int, reset: bool, schema: Schema | None) -> Any:
    if kind_of(X) == "arrow" and not isinstance(X, pa.Table):
        X = pa.table(X)  # which can be read more than once
    if reset or not _differ_in_ignored(estimator, X, schema):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
    if (rows := X.shape[0]) < at_least:
        raise ValueError(
            f"Found array with {rows} sample(s) (shape={X.shape}) while a minimum of {at_least} is "
            "required."
        )
    return X


def _differ_in_ignored(estimator: Any, X: Any, schema: Schema | None) -> bool:
    """Says whether columns differ from those of `fit` only in some that are not learned from."""
    names, expected = names_of(X), getattr(estimator, "feature_names_in_", None)
    if names is None or expected is None or schema is None:
        return False
    differing = set(names) ^ set(expected)
    return bool(differing) and differing <= set(schema.ignored)


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


def check_share(name: str, share: Any) -> None:
    """Raises a ValueError unless a parameter is a number between 0 and 1."""
    if isinstance(share, bool) or not isinstance(share, float | np.floating) or not 0 < share < 1:
        raise ValueError(f"{name} is {share!r}; it must be above 0 and below 1")


def seed_of(random_state: Any) -> int:
    """Returns the seed that a `random_state` of scikit-learn's stands for.

    Example:
        >>> seed_of(7), seed_of(np.random.default_rng(0)) == seed_of(np.random.default_rng(0))
        (7, True)
    """
    if isinstance(random_state, Integral) and not isinstance(random_state, bool):
        return int(random_state)
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**32))
    return int(check_random_state(random_state).randint(2**32, dtype=np.uint32))
