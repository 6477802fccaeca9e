"""What a caller gives as X, as blocks of a table, and a run's rows as what was given again."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from jaxrep.data import transform
from jaxrep.data.frames import Kind, blocks_of, to_kind
from jaxrep.data.schema import CategoricalColumn, Schema
from jaxrep.data.transform import Counts
from jaxrep.errors import DataWarning

FLOATS = (np.float64, np.float32)
SOURCE = "X"  # what messages call the table


def default_names(count: int) -> list[str]:
    """Returns the names that the columns of a matrix have in a run: x0, x1, …."""
    return [f"x{i}" for i in range(count)]


def is_frame(X: Any) -> bool:
    """Says whether columns have names and types of their own: a DataFrame, a table of Arrow."""
    return hasattr(X, "__arrow_c_stream__") or hasattr(X, "__dataframe__")


def is_numeric(schema: Schema) -> bool:
    """Says whether every column is a number, so that rows may be a matrix."""
    return not any(isinstance(column, CategoricalColumn) for column in schema.columns)


def features_of(schema: Schema, X: Any) -> np.ndarray:
    """Returns the features of rows, and warns of cells that could not be placed.

    Args:
        schema: of the run.
        X: a matrix, sparse or not, or a DataFrame, checked.

    Raises:
        InputError: it does not fit the run.

    Example:
        >>> job = CategoricalColumn("job", ("clerk", "smith"), has_gaps=False)
        >>> features_of(Schema((job,)), pa.table({"job": ["smith"]}))
        array([[0., 1., 0.]], dtype=float32)
    """
    counts = Counts()
    blocks: Iterator[pa.Table] = blocks_of(X, source=SOURCE)
    parts = [x for _, x in transform.apply_blocks(schema, blocks, source=SOURCE, counts=counts)]
    warn(list(counts.sentences(SOURCE)))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def warn(sentences: Sequence[str]) -> None:
    """Warns of what a caller should know of the data."""
    for sentence in sentences:
        warnings.warn(sentence, DataWarning, stacklevel=_outside())


def _outside() -> int:
    """Returns how many calls lie between `warn` and the first one from outside the package."""
    import sys

    level, frame = 1, sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("jaxrep."):
        level, frame = level + 1, frame.f_back
    return level


def to_rows(
    schema: Schema, features: np.ndarray, kind: Kind, names: Sequence[str], dtype: Any
) -> Any:
    """Returns features as rows in the table's own units.

    Args:
        schema: of the run.
        features: `[N, D]`.
        kind: what to return; of an array the rows have all columns of the training, those that were
            constant with their value.
        names: of these columns.
        dtype: of an array; where a column is of categories it is of objects.
    """
    raw = transform.to_values(schema, features)
    if kind != "array":
        return to_kind(transform.from_raw(schema, raw), kind)
    if not is_numeric(schema):
        return to_kind(transform.from_raw(schema, raw), kind)
    places = {name: i for i, name in enumerate(names)}
    rows = np.full((len(raw), len(names)), np.nan, dtype)
    for left_out in schema.left_out:
        if left_out.name in places and left_out.value is not None:
            rows[:, places[left_out.name]] = left_out.value
    for values, column in zip(raw.T, schema.columns, strict=True):
        rows[:, places[column.name]] = values
    return rows
