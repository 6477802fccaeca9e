"""What a caller gives as X, as features of a run, and a run's rows as arrays again."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from jaxrep.data import to_arrow, transform
from jaxrep.data.schema import CategoricalColumn, NumericColumn, Schema
from jaxrep.errors import InputError

FLOATS = (np.float64, np.float32)
SOURCE = "X"  # what messages call the table


def to_table(rows: np.ndarray, names: Sequence[str]) -> pa.Table:
    """Returns a matrix as a table with a column a feature.

    Args:
        rows: `[N, D]`, floats.
        names: D names.

    Example:
        >>> to_table(np.ones((2, 1)), ["a"]).to_pydict()
        {'a': [1.0, 1.0]}
    """
    columns = [to_arrow(column) for column in rows.T]
    return pa.Table.from_arrays(columns, names=list(names))


def default_names(count: int) -> list[str]:
    """Returns the names that the columns of a matrix have in a run: x0, x1, …."""
    return [f"x{i}" for i in range(count)]


def is_numeric(fitted: Schema) -> bool:
    """Says whether every column is a number, so that rows may be a matrix."""
    return all(isinstance(column, NumericColumn) for column in fitted.columns)


def may_be_missing(fitted: Schema) -> bool:
    """Says whether missing numbers are filled, in every column or in none."""
    return any(isinstance(c, NumericColumn) and c.fill is not None for c in fitted.columns)


def frame_features(fitted: Schema, frame: Any) -> np.ndarray:
    """Returns the features of a DataFrame whose categories are text.

    Args:
        fitted: of the run.
        frame: of pandas or polars, or a table of pyarrow; the order of its columns does not matter.

    Raises:
        InputError: it is none of these, or does not fit the run.

    Example:
        >>> job = CategoricalColumn("job", ("clerk", "smith"), impute=False)
        >>> fitted = Schema((job,), label=None, id_column=None, na_values=())
        >>> frame_features(fitted, pa.table({"job": ["smith"]}))
        array([[0., 1., 0.]], dtype=float32)
    """
    categorical = [c.name for c in fitted.columns if isinstance(c, CategoricalColumn)]
    if not hasattr(frame, "__arrow_c_stream__"):
        raise InputError(
            f"{SOURCE} is {type(frame).__name__}; this run has the categorical column "
            f"{categorical[0]!r}: give a DataFrame with the columns that it was trained on"
        )
    # An index of pandas would become a column.
    table = pa.table(frame.reset_index(drop=True) if hasattr(frame, "reset_index") else frame)
    for name in set(categorical) & set(table.column_names):
        text = table[name].cast(pa.string())
        table = table.set_column(table.column_names.index(name), name, text)
    return transform.apply(fitted, table, source=SOURCE)


def to_rows(fitted: Schema, features: np.ndarray, dtype: Any) -> np.ndarray:
    """Returns features as rows in the table's own units, `[N, columns]`.

    Args:
        fitted: of the run.
        features: `[N, D]`.
        dtype: of the rows; where a column is of categories they are objects.
    """
    table = transform.invert(fitted, features)
    made = np.empty(
        (table.num_rows, table.num_columns), dtype if is_numeric(fitted) else np.dtype(object)
    )
    for i, column in enumerate(table.columns):
        made[:, i] = column.to_numpy()
    return made
