"""Raw rows as features, and back."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jaxrep.errors import InputError

from .._gaps import MissingValuesError, refuse_missing
from .._threads import for_each
from ..cells import Numbers, Place
from ..schema import CategoricalColumn, NumericColumn, Schema
from ._counts import Counts
from ._raw import aligned, count_cells, from_raw, missing_of, values_of_column
from ._scaling import scaled, unscaled

Features = npt.NDArray[np.float32]


def to_features(
    schema: Schema,
    raw: Numbers,
    *,
    source: str,
    before: int = 0,
    rows: npt.NDArray[np.int64] | None = None,
) -> Features:
    """Returns raw rows as features: standardised numbers and one-hot categories.

    A number x becomes what `scaled` returns, computed in float64 and cast to float32 last.

    Args:
        schema: what `fit` returned.
        raw: `[N, C]`, as of `to_raw`.
        source: where the rows come from, for messages.
        before: the number of rows of the source before them, for messages.
        rows: the index of each row in the source, if they are not consecutive.

    Returns:
        `[N, D]`, C-contiguous.

    Raises:
        InputError: a value is missing in a column without a fill value, or too large for float32.

    Example:
        >>> from jaxrep.data.schema import CategoricalColumn, Number, Schema
        >>> age = Number("age", mean=40.0, scale=10.0, fill=None)
        >>> sex = CategoricalColumn("sex", ("Female", "Male"), has_gaps=False)
        >>> to_features(Schema((sex, age)), np.array([[1, 30.0], [-1, 45.0]]), source="example")
        array([[ 0. ,  1. ,  0. , -1. ],
               [ 0. ,  0. ,  1. ,  0.5]], dtype=float32)
    """
    return _features(schema, len(raw), lambda i: raw[:, i], Place(source, before, rows))


def _features(
    schema: Schema, count: int, values_of: Callable[[int], Numbers], place: Place
) -> Features:
    """Returns the features of columns whose raw values a function gives by index."""
    features = np.empty((count, schema.width), np.float32)
    starts = np.cumsum([0, *(column.width for column in schema.columns)]).tolist()

    def write(i: int) -> int:
        """Writes a column's features, and returns how many missing cells it refuses."""
        column, values = schema.columns[i], values_of(i)
        block = features[:, starts[i] : starts[i + 1]]
        if isinstance(column, CategoricalColumn):
            refused = 0 if column.fills else int(np.isnan(values).sum())
            if not refused:
                _one_hot(column, values, block)
            return refused
        gaps = np.isnan(values)
        if gaps.any():
            if column.fill is None:
                return int(gaps.sum())
            values = np.where(gaps, column.fill, values)
        bad = _scale(column, values, block)
        if bad is not None:
            raise _too_far(column, float(values[bad]), bad, place)
        return 0

    refused = for_each(write, range(len(schema.columns)), cells=count * len(schema.columns))
    names = (column.name for column in schema.columns)
    missing = {name: gaps for name, gaps in zip(names, refused, strict=True) if gaps}
    refuse_missing(missing, place.source)
    return features


def apply(
    schema: Schema,
    table: pa.Table,
    *,
    source: str,
    before: int = 0,
    rows: npt.NDArray[np.int64] | None = None,
    counts: Counts | None = None,
) -> Features:
    """Returns the features of a table, `[N, D]`; arguments and errors as of `to_raw`.

    Example:
        >>> from jaxrep.data.schema import Number, Schema
        >>> age = Number("age", mean=40.0, scale=10.0, fill=None)
        >>> apply(Schema((age,)), pa.table({"age": ["30", " 45"]}), source="example")
        array([[-1. ],
               [ 0.5]], dtype=float32)
    """
    table = aligned(schema, table, source)
    missing, place = missing_of(schema), Place(source, before, rows)
    counted = [Counts() for _ in schema.columns]

    def values_of(i: int) -> Numbers:
        values = values_of_column(schema.columns[i], table, missing, place)
        count_cells(schema.columns[i], values, counted[i])
        return values

    features = _features(schema, table.num_rows, values_of, place)
    if counts is not None:
        for each in counted:
            counts.add(each)
    return features


def apply_blocks(
    schema: Schema,
    blocks: Iterable[pa.Table],
    *,
    source: str,
    counts: Counts | None = None,
) -> Iterator[tuple[pa.Table, Features]]:
    """Yields each block of a table with its features, as of `apply`.

    Args:
        schema: what `fit` returned.
        blocks: the table, as `read_blocks` gives it.
        source: where the table comes from, for messages.
        counts: updated with the cells that are unknown or missing.

    Raises:
        InputError: as `apply`; missing values are counted to the end of the table.

    Example:
        >>> from jaxrep.data.schema import Number, Schema
        >>> people = Schema((Number("age", 40.0, 10.0, None),))
        >>> blocks = (pa.table({"age": [age]}) for age in (30.0, 45.0))
        >>> [x.tolist() for _, x in apply_blocks(people, blocks, source="example")]
        [[[-1.0]], [[0.5]]]
    """
    before = 0
    missing: Counter[str] = Counter()
    for block in blocks:
        try:
            x = apply(schema, block, source=source, before=before, counts=counts)
        except MissingValuesError as error:
            missing.update(error.counts)
        else:
            if not missing:
                yield block, x
        before += block.num_rows
    refuse_missing(missing, source)


def to_values(schema: Schema, x: npt.NDArray[np.floating[Any]]) -> Numbers:
    """Returns features as raw rows, `[N, C]`: the inverse of `to_features`.

    Args:
        schema: what `fit` returned.
        x: features, `[N, D]`, float32 or float64.

    Returns:
        Numbers as of `unscaled`, in float64; of categories the code of the largest feature. That is
        NaN where the feature of no level is the largest and, if no training cell was missing, also
        above one half.

    Raises:
        InputError: `x` has another shape.

    Example:
        >>> from jaxrep.data.schema import CategoricalColumn, Number, Schema
        >>> age = Number("age", mean=40.0, scale=10.0, fill=None)
        >>> sex = CategoricalColumn("sex", ("Female", "Male"), has_gaps=False)
        >>> to_values(Schema((age, sex)), np.array([[0.5, 0.1, 0.7, 0.2]]))
        array([[45.,  1.]])
    """
    if x.ndim != 2 or x.shape[1] != schema.width:
        raise InputError(f"features of shape {x.shape}; expected (rows, {schema.width})")
    raw = np.empty((len(schema.columns), len(x))).T
    start = 0
    for values, column in zip(raw.T, schema.columns, strict=True):
        block = x[:, start : start + column.width]
        start += column.width
        if isinstance(column, CategoricalColumn):
            codes = _likeliest(column, block)
            values[:] = np.where(codes == len(column.levels), np.nan, codes)
        else:
            values[:] = unscaled(column, block[:, 0])
    return raw


def _likeliest(column: CategoricalColumn, block: Any) -> npt.NDArray[np.intp]:
    if not column.has_gaps:  # no training cell was of no level: below half, the feature is noise
        none = np.where(block[:, -1:] > 0.5, block[:, -1:], -np.inf)
        block = np.concatenate([block[:, :-1], none], axis=1)
    likeliest: npt.NDArray[np.intp] = block.argmax(axis=1)
    return likeliest


def invert(schema: Schema, x: npt.NDArray[np.floating[Any]]) -> pa.Table:
    """Returns features as a table in the columns' own units and types: the inverse of `apply`.

    Args:
        schema: what `fit` returned.
        x: features, `[N, D]`.

    Example:
        >>> from jaxrep.data.schema import Count, Schema
        >>> age = Count("age", mean=40.0, scale=10.0, fill=None, stored="int64")
        >>> invert(Schema((age,)), np.array([[0.52], [-9.0]])).to_pylist()
        [{'age': 45}, {'age': 0}]
    """
    return from_raw(schema, to_values(schema, x))


def _scale(column: NumericColumn, values: Numbers, block: Features) -> int | None:
    """Writes the feature of a column into `block`, `[N, 1]`; returns the first row too far."""
    with np.errstate(over="ignore"):
        block[:, 0] = scaled(column, values)
    bad = np.isinf(block[:, 0])
    return int(np.flatnonzero(bad)[0]) if bad.any() else None


def _too_far(column: NumericColumn, value: float, row: int, place: Place) -> InputError:
    return place.fault(
        column.name,
        row,
        f"{value:g} is too far from the training data (mean {column.mean:g}, scale "
        f"{column.scale:g}) for float32",
        "correct it or remove the row",
    )


def _one_hot(column: CategoricalColumn, codes: Numbers, block: Features) -> None:
    """Writes the features of a column into `block`, `[N, levels + 1]`."""
    block[:] = 0.0
    places = np.where(codes >= 0, codes, len(column.levels)).astype(np.intp)  # NaN is not ≥ 0
    block[np.arange(len(codes)), places] = 1.0
