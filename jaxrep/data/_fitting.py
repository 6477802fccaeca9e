"""Fits preprocessing to a training table."""

from collections.abc import Callable, Collection
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jaxrep.errors import InputError

from ._features import numbers, refuse_missing, texts
from ._fitted import CategoricalColumn, NumericColumn, Preprocessing
from ._request import listed

_MANY_CATEGORIES = 1_000


def fit(
    table: pa.Table,
    *,
    source: str,
    categorical: Collection[str] = (),
    label: str | None = None,
    id_column: str | None = None,
    na_values: Collection[str] = (),
    impute: Literal["median"] | None = None,
) -> tuple[Preprocessing, list[str]]:
    """Learns from a training table how to turn rows into standardised features.

    Mean and population standard deviation are computed in float64 in two passes, so that values
    such as 1.7e9 ± 100 keep their digits. With `impute` they are those of the filled column.

    Args:
        table: at least 2 rows; the categorical columns as text (read_table's `text_columns`).
        source: where the table comes from, for messages.
        categorical: the columns that become one feature a category.
        label: a column to keep out of training.
        id_column: a column that is only passed through.
        na_values: stored for reading later tables in the same way.
        impute: "median" fills missing numbers, now and later, with the column's median, and
            counts missing categories as unknown; None refuses them.

    Returns:
        The preprocessing, and warnings: sentences about constant columns, columns that look
        like an id, and categorical columns with very many categories.

    Raises:
        InputError: a column named is not there or has two roles, no feature is left, there are
            fewer than 2 rows, or a value is missing, text where numbers are due, or infinite.

    Example:
        >>> table = pa.table({"age": [30.0, 50.0, 40.0], "sex": ["f", "m", "f"]})
        >>> people, warnings = fit(table, source="example", categorical=["sex"])
        >>> people.columns[0].mean, people.columns[1].categories, warnings
        (40.0, ('f', 'm'), [])
    """
    names = feature_names(table, source, categorical, label, id_column)
    check_rows(table.num_rows, source)
    one_hot = frozenset(categorical)
    columns, missing, warnings = [], {}, []
    for name in names:
        column, count, cautions = _fit_column(table, name, source, name in one_hot, impute)
        columns.append(column)
        warnings += [f"{source}: {caution}" for caution in cautions]
        if count:
            missing[name] = count
    refuse_missing(missing, source)
    made = Preprocessing(tuple(columns), label, id_column, tuple(na_values))
    return made, warnings


def feature_names(
    table: pa.Table,
    source: str,
    categorical: Collection[str],
    label: str | None,
    id_column: str | None,
) -> list[str]:
    """Returns the names of a table's feature columns.

    Raises:
        InputError: a column named is not there or has two roles, or no feature is left.
    """
    _check_roles(table, source, categorical, label, id_column)
    names = [name for name in table.column_names if name not in (label, id_column)]
    if not names:
        raise InputError(f"{source}: no feature column is left besides --label and --id-column")
    return names


def check_rows(rows: int, source: str) -> None:
    """Raises an InputError unless there are rows enough to standardise columns."""
    if rows < 2:
        raise InputError(
            f"{source}: at least 2 rows are needed to standardise columns; "
            f"given: {rows} sample{'' if rows == 1 else 's'}"
        )


def check_present(missing: int, rows: int, name: str, source: str) -> None:
    """Raises an InputError if all values of a column are missing."""
    if missing == rows:
        raise InputError(f"{source}: column {name!r} has no values at all; leave it out")


def _check_roles(
    table: pa.Table,
    source: str,
    categorical: Collection[str],
    label: str | None,
    id_column: str | None,
) -> None:
    roles = [(name, "--categorical") for name in dict.fromkeys(categorical)]
    roles += [(label, "--label")] if label is not None else []
    roles += [(id_column, "--id-column")] if id_column is not None else []
    flags: dict[str, str] = {}
    for name, flag in roles:
        if name not in table.column_names:
            raise InputError(
                f"{source}: {flag} names {name!r}, which is not a column; "
                f"the columns are {listed(table.column_names)}"
            )
        if name in flags:
            raise InputError(
                f"{source}: column {name!r} is named by both {flags[name]} and {flag}; choose one"
            )
        flags[name] = flag
    if len(set(table.column_names)) < table.num_columns:
        raise InputError(f"{source}: two columns have the same name; rename one")


def _fit_column(
    table: pa.Table, name: str, source: str, categorical: bool, impute: str | None
) -> tuple[NumericColumn | CategoricalColumn, int, list[str]]:
    """Returns the fitted column, how many values are missing without remedy, and warnings."""
    values: Any = texts(table, name, source) if categorical else numbers(table, name, source)
    missing = int(values.null_count if categorical else np.isnan(values).sum())
    check_present(missing, table.num_rows, name, source)
    fitting = _fit_categorical if categorical else _fit_numeric
    column, warnings = fitting(name, values, impute is not None)
    return column, missing if impute is None else 0, warnings


def _fit_categorical(name: str, words: Any, impute: bool) -> tuple[CategoricalColumn, list[str]]:
    categories = pc.unique(words.drop_null()).to_pylist()
    return categorical_column(name, categories, len(words), impute=impute)


def categorical_column(
    name: str, values: Collection[str], rows: int, *, impute: bool
) -> tuple[CategoricalColumn, list[str]]:
    """Returns the column with these different values in its rows, and warnings about it."""
    categories = tuple(sorted(values))
    warnings = []
    if len(categories) == 1:
        warnings.append(f"column {name!r} is constant ({categories[0]!r})")
    if len(categories) > _MANY_CATEGORIES or len(categories) == rows:
        warnings.append(
            f"column {name!r} has {len(categories)} categories in {rows} rows, each a "
            "feature; is it an id (--id-column)?"
        )
    return CategoricalColumn(name, categories, impute), warnings


def _fit_numeric(
    name: str, values: npt.NDArray[np.float64], impute: bool
) -> tuple[NumericColumn, list[str]]:
    missing = np.isnan(values)
    present = values[~missing] if missing.any() else values
    fill = float(np.median(present)) if impute else None
    values = present if fill is None else np.where(missing, fill, values)
    exponent, mean, _, variance = moments(values)
    return numeric_column(
        name,
        float(np.ldexp(mean, exponent)),
        float(np.ldexp(np.sqrt(variance), exponent)),
        fill,
        is_like_an_id=lambda: not missing.any() and _is_like_an_id(values),
    )


def numeric_column(
    name: str,
    mean: float,
    deviation: float,
    fill: float | None,
    *,
    is_like_an_id: Callable[[], bool],
) -> tuple[NumericColumn, list[str]]:
    """Returns the column of this mean and standard deviation, and warnings about it."""
    # Cells that differ by rounding alone are one value.
    constant = deviation <= 10 * np.finfo(np.float64).eps * abs(mean)
    column = NumericColumn(name, mean, 1.0 if constant else deviation, fill)
    if constant:
        return column, [f"column {name!r} is constant ({mean:g})"]
    if is_like_an_id():
        return column, [f"column {name!r} looks like an id or a row number; is it (--id-column)?"]
    return column, []


def moments(
    values: npt.NDArray[np.float64],
) -> tuple[int, np.float64, np.float64, np.float64]:
    """Returns mean and population variance, in two passes, safe from overflow.

    Args:
        values: finite, at least one.

    Returns:
        An exponent e; the mean in units of 2ᵉ, as a float64 and what that lacks; the variance in
        units of 4ᵉ.
    """
    exponent = int(np.frexp(np.abs(values).max())[1])
    units = np.ldexp(values, -exponent)  # below 1, and exact, since by a power of two
    mean = units.mean()
    mean += (units - mean).mean()
    residuals = units - mean
    # The mean's own rounding counts where the deviation is as small.
    rest = residuals.mean()
    return exponent, mean, rest, np.square(residuals).mean() - rest**2


def _is_like_an_id(values: npt.NDArray[np.float64]) -> bool:
    """Returns whether more than 2 values are integers that count up, or on sorting would."""
    if len(values) <= 2 or (values != np.floor(values)).any():
        return False
    consecutive = values.max() - values.min() == len(values) - 1
    ordered = np.sort(values) if consecutive else values
    return bool((np.diff(ordered) > 0).all())
