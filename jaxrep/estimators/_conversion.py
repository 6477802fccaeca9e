"""What a caller gives as X, as blocks of a table, and a run's rows as what was given again."""

import contextlib
import datetime
import re
import sys
import warnings
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import sklearn
from scipy.sparse import issparse

import jaxrep
from jaxrep.batch import Batch, concatenate
from jaxrep.data import transform
from jaxrep.data.frames import Kind, as_table, blocks_of, kind_of, to_kind
from jaxrep.data.schema import Schema
from jaxrep.data.transform import Counts
from jaxrep.errors import DataWarning, InputError

FLOATS = (np.float64, np.float32)
SOURCE = "X"  # what messages call the table

_TEXT_OR_TIME = (str, datetime.date, datetime.time, datetime.timedelta)


def default_names(count: int) -> list[str]:
    """Returns the names that the columns of a matrix have in a run: x0, x1, …."""
    return [f"x{i}" for i in range(count)]


def is_frame(X: Any) -> bool:
    """Says whether columns have types of their own: a DataFrame, a table of Arrow."""
    return any(hasattr(X, f"__{name}__") for name in ("arrow_c_stream", "arrow_c_array"))


def names_of(X: Any) -> list[str] | None:
    """Returns the names of the columns of a frame; None where they have none.

    The columns of a matrix have none, nor have those of a frame that pandas has made of one.
    """
    if not is_frame(X):
        return None
    names = list(X.column_names if hasattr(X, "column_names") else X.columns)
    return names if any(isinstance(name, str) for name in names) else None


def is_mixed(X: Any) -> bool:
    """Says whether a matrix holds text or times, as a ColumnTransformer may give it."""
    if is_frame(X) or issparse(X):
        return False
    try:
        cells = np.asarray(X, object if isinstance(X, list | tuple) else None)
    except (TypeError, ValueError):  # which is to be refused in scikit-learn's words
        return False
    if cells.dtype.kind != "O":
        return cells.dtype.kind in "USTMm"
    return any(isinstance(cell, _TEXT_OR_TIME) for cell in cells.flat)


def is_numeric(schema: Schema) -> bool:
    """Says whether every column is a number, so that rows may be a matrix of them."""
    return all(column.kind in ("number", "count", "boolean") for column in schema.columns)


class Rows:
    """A caller's rows as the blocks of a table, as often as they are read.

    A sparse matrix stays one, and is densified block after block.

    Args:
        X: a matrix, sparse or not, or a frame, checked.
        names: of all columns, for a table whose columns have none, or others altogether, of which
            scikit-learn has warned.
        known: names that columns may have of themselves; None: any.

    Example:
        >>> rows = Rows(np.array([[1.0], [2.0]]), ["age"])
        >>> len(rows), [block.to_pydict() for block in rows]
        (2, [{'age': [1.0, 2.0]}])
    """

    def __init__(self, X: Any, names: Sequence[str], known: Collection[str] | None = None):
        own = names_of(X)
        are_others = known is not None and own is not None and not set(own) & set(known)
        self._names = list(names) if own is None or are_others else None
        if kind_of(X) == "pandas" and all(isinstance(name, int) for name in X.columns):
            X = X.set_axis(range(X.shape[1]), axis=1)  # some columns of a matrix's frame
        self._table = X.tocsr() if issparse(X) else as_table(X, source=SOURCE)

    def __len__(self) -> int:
        """Returns how many rows there are."""
        count: int = self._table.shape[0]
        return count

    def __iter__(self) -> Iterator[pa.Table]:
        """Yields the blocks."""
        for block in blocks_of(self._table, source=SOURCE):
            yield block if self._names is None else block.rename_columns(self._names)


def features_of(schema: Schema, rows: Rows) -> Batch:
    """Returns the features of rows, and warns of cells that could not be placed.

    Args:
        schema: of the run.
        rows: a caller's.

    Raises:
        InputError: they do not fit the run.

    Example:
        >>> from jaxrep.data.schema import CategoricalColumn
        >>> job = CategoricalColumn("job", ("clerk", "smith"), has_gaps=False)
        >>> features_of(Schema((job,)), Rows(pa.table({"job": ["smith"]}), ["job"])).codes
        array([[2]], dtype=int32)
    """
    counts = Counts()
    with in_python():
        parts = [x for _, x in transform.apply_blocks(schema, rows, source=SOURCE, counts=counts)]
    warn(counts.sentences(SOURCE))
    return concatenate(parts)


@contextlib.contextmanager
def in_python() -> Iterator[None]:
    """Has errors within say what to do with parameters in the place of the command line's flags.

    Example:
        >>> with in_python():
        ...     raise InputError("leave it out with --drop 'id'")
        Traceback (most recent call last):
        ...
        jaxrep.errors.InputError: leave it out with columns={'id': 'dropped'}
    """
    try:
        yield
    except InputError as error:
        message = str(error)
        for flag, parameter in _PARAMETERS:
            message = re.sub(flag, parameter, message)
        error.args = (message,)
        raise


_PARAMETERS = (
    (r"--column '([^'=]+)=([^']+)'", r"columns={'\1': '\2'}"),
    (r"--column or --schema", "columns"),
    (r"--drop '([^']+)'", r"columns={'\1': 'dropped'}"),
    (r"--na-values", "na_values of columns=Columns(na_values=...)"),
    (r"--calibration-fraction", "calibration_fraction"),
    (r"--recipe anomalies", "recipe='anomalies'"),
    (r"--impute refuse", "impute='refuse' of columns=Columns(...)"),
    (
        r"--column-likelihood (\S.*)=(squared|gaussian|bernoulli|poisson)\b",
        r"likelihoods={'\1': '\2'} of columns=Columns(...)",
    ),
    (r"--column-likelihood names", "likelihoods of columns=Columns(...) names"),
    (r"--scale '([^'=]+)=([^']+)'", r"scales={'\1': '\2'} of columns=Columns(...)"),
    (r"--scale names", "scales of columns=Columns(...) names"),
)


def warn(sentences: Iterator[str] | Sequence[str]) -> None:
    """Warns once of what a caller should know of the data, if there is anything."""
    if message := "; ".join(sentences):
        warnings.warn(message, DataWarning, stacklevel=_outside())


def _outside() -> int:
    """Returns how many calls lie between `warn` and the first one from another package."""
    packages = tuple(str(Path(p.__file__ or "").parent) for p in (jaxrep, sklearn))
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(packages):
        level, frame = level + 1, frame.f_back
    return level


def left_out(schema: Schema, named: Sequence[str]) -> Iterator[str]:
    """Yields what to say of the columns that were left out of training.

    Args:
        schema: of the run.
        named: columns whose kind or role the caller has set.
    """
    found = [column for column in schema.left_out if column.name not in named]
    if not found:
        return
    some = ", ".join(f"{column.name!r} ({column.kind}: {column.why})" for column in found[:10])
    more = f" and {len(found) - 10} more" if len(found) > 10 else ""
    first = {found[0].name: found[0].kind}
    yield (
        f"{SOURCE}: columns left out of training: {some}{more}. To learn from one, say what it is "
        f"in the parameter columns; columns={first} confirms the first without this warning"
    )


def to_rows(
    schema: Schema,
    features: Batch,
    kind: Kind,
    names: Sequence[str],
    dtype: Any,
    *,
    is_drawn: bool = False,
) -> Any:
    """Returns features as rows in the table's own units.

    Args:
        schema: of the run.
        features: N rows as the network gives them.
        kind: what to return.
        names: of all columns, which an array has, those left out too: a constant has its value in
            all rows, any other is missing.
        dtype: of an array of numbers; one with other columns is of objects.
        is_drawn: whether cells were drawn, as of `transform.invert`.

    Returns:
        A frame, with the types that the columns had; or an array, whose numbers are as the network
        gives them, not rounded.
    """
    raw = transform.to_values(schema, features, is_drawn=is_drawn)
    if kind != "array":
        return to_kind(transform.from_raw(schema, raw), kind)
    if is_numeric(schema):
        rows, columns = np.full((len(raw), len(names)), np.nan, dtype), raw
    else:
        rows = np.full((len(raw), len(names)), None, object)
        table = transform.from_raw(schema, raw)
        columns = np.empty(raw.shape, object)
        for i, column in enumerate(table.columns):
            columns[:, i] = column.to_pylist()
    places = {name: i for i, name in enumerate(names)}
    for column in schema.left_out:
        if column.name in places and column.value is not None:
            rows[:, places[column.name]] = column.value
    for i, name in enumerate(schema.names):
        rows[:, places[name]] = columns[:, i]
    return rows
