"""Applies a fitted preprocessing to tables, and inverts it."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jaxrep.errors import InputError

from ._arrow import texts_to_arrow, to_arrow
from ._features import MissingValuesError, numbers, refuse_missing, texts
from ._fitted import CategoricalColumn, NumericColumn, Preprocessing
from ._request import listed


def apply(
    preprocessing: Preprocessing, table: pa.Table, *, source: str, before: int = 0
) -> npt.NDArray[np.float32]:
    """Returns the features of a table: standardised numbers and one-hot categories.

    A numeric column x becomes (x − mean) / scale, computed in float64 and cast to float32 last.
    Columns are matched by name, in any order; label and id column may be there or not.

    Args:
        preprocessing: what `fit` returned.
        table: N rows, read with `read_table(source, numeric_columns=..., na_values=...)` and
            the properties of that name of `preprocessing`.
        source: where the table comes from, for messages.
        before: how many rows of the source stand before the table's, for messages.

    Returns:
        The features, (N, width), C-contiguous.

    Raises:
        InputError: columns are missing or too many, a column is of the wrong kind, a value is
            missing where nothing is imputed, infinite, or too large for float32.

    Example:
        >>> age = NumericColumn("age", mean=40.0, scale=10.0, fill=None)
        >>> sex = CategoricalColumn("sex", ("Female", "Male"), impute=False)
        >>> people = Preprocessing((age, sex), label=None, id_column=None, na_values=())
        >>> apply(people, pa.table({"sex": ["Male", "?"], "age": [30.0, 45.0]}), source="example")
        array([[-1. ,  0. ,  1. ,  0. ],
               [ 0.5,  0. ,  0. ,  1. ]], dtype=float32)
    """
    check_columns(preprocessing, table, source)
    features = np.empty((table.num_rows, preprocessing.width), np.float32)
    missing = {}
    start = 0
    for column in preprocessing.columns:
        block = features[:, start : start + column.width]
        if isinstance(column, NumericColumn):
            values = numbers(table, column.name, source, before=before)
            count = _standardise(column, values, block, source, before)
        else:
            count = _one_hot(column, texts(table, column.name, source), block)
        if count:
            missing[column.name] = count
        start += column.width
    refuse_missing(missing, source)
    return features


def apply_blocks(
    preprocessing: Preprocessing, blocks: Iterable[pa.Table], *, source: str
) -> Iterator[tuple[pa.Table, npt.NDArray[np.float32]]]:
    """Yields each block of a table with its features, as `apply` gives them.

    Args:
        preprocessing: what `fit` returned.
        blocks: the table, as `read_blocks` gives it.
        source: where the table comes from, for messages.

    Raises:
        InputError: as `apply`; missing values are counted to the end of the table.

    Example:
        >>> people = Preprocessing((NumericColumn("age", 40.0, 10.0, None),), None, None, ())
        >>> blocks = (pa.table({"age": [age]}) for age in (30.0, 45.0))
        >>> [x.tolist() for _, x in apply_blocks(people, blocks, source="example")]
        [[[-1.0]], [[0.5]]]
    """
    before = 0
    missing: Counter[str] = Counter()
    for block in blocks:
        try:
            x = apply(preprocessing, block, source=source, before=before)
        except MissingValuesError as error:
            missing.update(error.counts)
        else:
            if not missing:
                yield block, x
        before += block.num_rows
    refuse_missing(missing, source)


def invert(preprocessing: Preprocessing, x: npt.NDArray[np.floating[Any]]) -> pa.Table:
    """Returns features as a table in raw units: the inverse of `apply`.

    Args:
        preprocessing: what `fit` returned.
        x: features, (N, width), float32 or float64.

    Returns:
        N rows: numeric columns x · scale + mean in float64; categorical columns as text, the
        category with the largest feature, null where that is the bucket of unknown values; if
        no training row was unknown, only above one half.

    Raises:
        InputError: `x` has another shape.

    Example:
        >>> age = NumericColumn("age", mean=40.0, scale=10.0, fill=None)
        >>> sex = CategoricalColumn("sex", ("Female", "Male"), impute=False)
        >>> people = Preprocessing((age, sex), label=None, id_column=None, na_values=())
        >>> invert(people, np.array([[0.5, 0.1, 0.7, 0.2]])).to_pylist()
        [{'age': 45.0, 'sex': 'Male'}]
    """
    if x.ndim != 2 or x.shape[1] != preprocessing.width:
        raise InputError(f"features of shape {x.shape}; expected (rows, {preprocessing.width})")
    columns = {}
    start = 0
    for column in preprocessing.columns:
        block = x[:, start : start + column.width]
        if isinstance(column, NumericColumn):
            columns[column.name] = pa.array(
                block[:, 0].astype(np.float64) * column.scale + column.mean
            )
        else:
            values = pa.array([*column.categories, None], pa.string())
            if not column.impute:  # no training row was unknown: below half, the bucket is noise
                unknown = block[:, -1:] > 0.5
                block = np.concatenate(
                    [block[:, :-1], np.where(unknown, block[:, -1:], -np.inf)], 1
                )
            columns[column.name] = values.take(pa.array(block.argmax(axis=1)))
        start += column.width
    return pa.table(columns)


def check_columns(preprocessing: Preprocessing, table: pa.Table, source: str) -> None:
    """Raises an InputError unless a table has the preprocessing's columns, in any order."""
    names = [column.name for column in preprocessing.columns]
    there = set(table.column_names)
    faults = []
    if absent := [name for name in names if name not in there]:
        faults.append(f"missing columns {listed(absent)}")
    known = {*names, *preprocessing.ignored}
    if extra := [name for name in table.column_names if name not in known]:
        faults.append(f"extra columns {listed(extra)}")
    if faults:
        raise InputError(
            f"{source}: not the columns that the model was trained on: {'; '.join(faults)}"
        )
    if len(there) < table.num_columns:
        raise InputError(f"{source}: two columns have the same name; rename one")


def _standardise(
    column: NumericColumn,
    values: npt.NDArray[np.float64],
    block: npt.NDArray[np.float32],
    source: str,
    before: int,
) -> int:
    """Writes the feature of a column into `block`, (N, 1); returns how many values are missing."""
    missing = np.isnan(values)
    count = int(missing.sum())
    if count and column.fill is None:
        return count
    if column.fill is not None:
        values = np.where(missing, column.fill, values)
    with np.errstate(over="ignore"):
        standardised = values - column.mean
        standardised /= column.scale
        block[:, 0] = standardised
    if (bad := np.isinf(block[:, 0])).any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{source}: column {column.name!r}, data row {before + row + 1}: {values[row]:g} is "
            f"too far from the training data (mean {column.mean:g}, scale {column.scale:g}) "
            "for float32"
        )
    return 0


def _one_hot(column: CategoricalColumn, values: Any, block: npt.NDArray[np.float32]) -> int:
    """Writes the features of a column into `block`; returns how many values are missing."""
    if values.null_count and not column.impute:
        return int(values.null_count)
    unknown = to_arrow(np.array([len(column.categories)], np.int32))[0]
    found = pc.index_in(values, value_set=texts_to_arrow(column.categories))
    codes = pc.fill_null(found, unknown)
    block[:] = 0.0
    start = 0
    for chunk in codes.chunks:  # `to_numpy` of them all would import pandas
        rows = np.arange(start, start + len(chunk))
        block[rows, np.from_dlpack(chunk)] = 1.0
        start += len(chunk)
    return 0
