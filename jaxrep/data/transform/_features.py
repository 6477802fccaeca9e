"""Raw rows as features, and back."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jaxrep.batch import MISSING, Batch, RowSpec, empty
from jaxrep.errors import InputError

from .._gaps import MissingValuesError, refuse_missing
from .._threads import for_each
from ..cells import Numbers, Place
from ..schema import CategoricalColumn, NumericColumn, Schema
from ._counts import Counts
from ._raw import aligned, count_cells, from_raw, missing_of, values_of_column
from ._scaling import among_others, drawn, scaled, unscaled


def to_features(
    schema: Schema,
    raw: Numbers,
    *,
    source: str,
    before: int = 0,
    rows: npt.NDArray[np.int64] | None = None,
) -> Batch:
    """Returns raw rows as features: scaled numbers, and codes of categories.

    A number x becomes what `scaled` returns, computed in float64 and cast to float32 last. The
    category i becomes the code i + 1, an unknown one the code 0. A missing cell stays missing,
    NaN or `MISSING`, where the training rows had gaps; else it becomes the number 0, which is the
    mean on the standard scale, or the code 0. What a column imputes comes before that.

    Args:
        schema: what `fit` returned.
        raw: `[N, columns]`, as of `to_raw`.
        source: where the rows come from, for messages.
        before: the number of rows of the source before them, for messages.
        rows: the index of each row in the source, if they are not consecutive.

    Returns:
        NumPy arrays: numbers float32 `[N, D]`, codes int32 `[N, C]` or None, both C-contiguous.

    Raises:
        InputError: a value is missing in a column that refuses it, or too large for float32.

    Example:
        >>> from jaxrep.data.schema import CategoricalColumn, Number, Schema
        >>> age = Number("age", mean=40.0, scale=10.0, fill=None, has_gaps=True)
        >>> sex = CategoricalColumn("sex", ("Female", "Male"), has_gaps=False)
        >>> raw = np.array([[1, 30.0], [-1, 45.0], [0, np.nan]])
        >>> rows = to_features(Schema((sex, age)), raw, source="example")
        >>> rows.numbers.T, rows.codes.T
        (array([[-1. ,  0.5,  nan]], dtype=float32), array([[2, 0, 1]], dtype=int32))
    """
    return _features(schema, len(raw), lambda i: raw[:, i], Place(source, before, rows))


def _features(
    schema: Schema, count: int, values_of: Callable[[int], Numbers], place: Place
) -> Batch:
    """Returns the features of columns whose raw values a function gives by index."""
    features = empty(schema.row_spec(), count)

    def write(at: tuple[int, Any]) -> int:
        """Writes a column's feature, and returns how many missing cells it refuses."""
        i, feature = at
        column, values = schema.columns[i], values_of(i)
        if column.refuses and (gaps := int(np.isnan(values).sum())):
            return gaps
        if isinstance(column, CategoricalColumn):
            feature[:] = _codes(column, values)
            return 0
        far = _write_scaled(column, values, feature)
        if far is not None:
            raise _too_far(column, float(values[far]), far, place)
        return 0

    places = dict(zip(schema.column_order, _by_column(features), strict=True))
    # In the table's order, in which the first error is found.
    refused = for_each(write, sorted(places.items(), key=itemgetter(0)), cells=count * len(places))
    names = (column.name for column in schema.columns)
    missing = {name: gaps for name, gaps in zip(names, refused, strict=True) if gaps}
    refuse_missing(missing, place.source)
    return features


def _by_column(features: Batch) -> Iterator[Any]:
    """Yields a view of each number and then of each code of all rows."""
    yield from features.numbers.T
    if features.codes is not None:
        yield from features.codes.T


def apply(
    schema: Schema,
    table: pa.Table,
    *,
    source: str,
    before: int = 0,
    rows: npt.NDArray[np.int64] | None = None,
    counts: Counts | None = None,
) -> Batch:
    """Returns the features of a table, as of `to_features`; arguments and errors as of `to_raw`.

    Example:
        >>> from jaxrep.data.schema import Number, Schema
        >>> age = Number("age", mean=40.0, scale=10.0, fill=None)
        >>> apply(Schema((age,)), pa.table({"age": ["30", " 45"]}), source="example").numbers
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
) -> Iterator[tuple[pa.Table, Batch]]:
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
        >>> [x.numbers.tolist() for _, x in apply_blocks(people, blocks, source="example")]
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


def to_values(schema: Schema, features: Batch, *, is_drawn: bool = False) -> Numbers:
    """Returns features as raw rows: the inverse of `to_features`, computed in float64.

    Args:
        schema: what `fit` returned.
        features: numbers `[N, D]` and codes `[N, C]`.
        is_drawn: whether numbers were drawn, so that scores become values as of `drawn`.

    Returns:
        Numbers as of `unscaled`, in float64; of categories −1 for the code 0, which is of no level.
        NaN is what is missing.

    Raises:
        InputError: the features have another shape, or a code is of none of its column's values.

    Example:
        >>> from jaxrep.data.schema import CategoricalColumn, Number, Schema
        >>> age = Number("age", mean=40.0, scale=10.0, fill=None)
        >>> sex = CategoricalColumn("sex", ("Female", "Male"), has_gaps=False)
        >>> to_values(Schema((age, sex)), Batch(np.array([[0.5]]), np.array([[2]])))
        array([[45.,  1.]])
    """
    _check(schema.row_spec(), features)
    raw = np.empty((len(schema.columns), len(features.numbers))).T
    for feature, i in zip(_by_column(features), schema.column_order, strict=True):
        column = schema.columns[i]
        if isinstance(column, CategoricalColumn):
            raw[:, i] = np.where(feature == MISSING, np.nan, feature - 1.0)
        else:
            raw[:, i] = drawn(column, feature) if is_drawn else unscaled(column, feature)
    return raw


def _check(rows: RowSpec, features: Batch) -> None:
    """Raises an InputError if features are not those of such rows."""
    shape, count = features.numbers.shape, len(features.numbers)
    if shape != (count, rows.numbers):
        raise InputError(f"numbers of shape {shape}; expected (rows, {rows.numbers})")
    codes = features.codes
    if codes is None or not rows.codes:
        if codes is not None or rows.codes:
            there = "no codes" if codes is None else f"codes of shape {codes.shape}"
            raise InputError(f"{there}; expected {rows.codes} for each row")
        return
    if codes.shape != (count, rows.codes):
        raise InputError(f"codes of shape {codes.shape}; expected ({count}, {rows.codes})")
    if bool(((codes < MISSING) | (codes >= np.array(rows.levels))).any()):
        raise InputError("a code is of none of its column's values")


def invert(schema: Schema, features: Batch, *, is_drawn: bool = False) -> pa.Table:
    """Returns features as a table in the columns' own units and types: the inverse of `apply`.

    Args:
        schema: what `fit` returned.
        features: numbers `[N, D]` and codes `[N, C]`.
        is_drawn: as of `to_values`.

    Example:
        >>> from jaxrep.data.schema import Count, Schema
        >>> age = Count("age", mean=40.0, scale=10.0, fill=None, stored="int64")
        >>> invert(Schema((age,)), Batch(np.array([[0.52], [-9.0], [np.nan]]))).to_pylist()
        [{'age': 45}, {'age': 0}, {'age': None}]
    """
    return from_raw(schema, to_values(schema, features, is_drawn=is_drawn))


def one_hot(schema: Schema, features: Batch) -> npt.NDArray[np.float32]:
    """Returns features as one matrix, for what knows of no codes: PCA, neighbours, linear probes.

    Args:
        schema: what `fit` returned.
        features: numbers `[N, D]` and codes `[N, C]`.

    Returns:
        `[N, W]`: the numbers, 0 where they are missing, and spikes among the others; 1 or 0 for
        each number that may be missing, whether it is; and for each code 1 or 0 for each of its
        values, whether it is that one, with `MISSING` as the last of them where a cell may be
        missing.

    Example:
        >>> from jaxrep.data.schema import CategoricalColumn, Number, Schema
        >>> age = Number("age", mean=40.0, scale=10.0, fill=None, has_gaps=True)
        >>> sex = CategoricalColumn("sex", ("f",), has_gaps=True)
        >>> one_hot(Schema((age, sex)), Batch(np.array([[0.5], [np.nan]]), np.array([[1], [-1]])))
        array([[0.5, 0. , 0. , 1. , 0. ],
               [0. , 1. , 0. , 0. , 1. ]], dtype=float32)
    """
    rows = schema.row_spec()
    _check(rows, features)
    is_missing = np.isnan(features.numbers)
    numbers: Any = features.numbers
    if rows.spikes:
        columns = zip(schema.numeric, np.asarray(numbers).T, strict=True)
        numbers = np.stack([among_others(column, x) for column, x in columns], axis=1)
    may_be_missing = np.array(rows.number_gaps, bool)
    blocks: list[Any] = [np.where(is_missing, 0, numbers), is_missing[:, may_be_missing]]
    if features.codes is not None:
        each = zip(np.asarray(features.codes).T, rows.levels, rows.code_gaps, strict=True)
        for codes, values, has_gaps in each:
            taken = np.where(codes == MISSING, values, codes)
            blocks.append(taken[:, None] == np.arange(values + has_gaps))
    return np.concatenate(blocks, axis=1, dtype=np.float32)


def _write_scaled(column: NumericColumn, values: Numbers, feature: Any) -> int | None:
    """Writes a column's numbers into `feature`, `[N]`; returns the first row too far."""
    gaps = np.isnan(values)
    if gaps.any() and column.fill is not None:
        values = np.where(gaps, column.fill, values)
    with np.errstate(over="ignore"):
        feature[:] = scaled(column, values)
    if gaps.any() and column.fill is None and not column.keeps_gaps:
        feature[gaps] = 0
    bad = np.isinf(feature)
    return int(np.flatnonzero(bad)[0]) if bad.any() else None


def _codes(column: CategoricalColumn, values: Numbers) -> Numbers:
    """Returns the codes of a column's raw values, `[N]`."""
    missing = 0
    if column.keeps_gaps:
        missing = MISSING
    elif column.fill is not None:
        missing = column.levels.index(column.fill) + 1
    return np.where(np.isnan(values), missing, values + 1)


def _too_far(column: NumericColumn, value: float, row: int, place: Place) -> InputError:
    return place.fault(
        column.name,
        row,
        f"{value:g} is too far from the training data (mean {column.mean:g}, scale "
        f"{column.scale:g}) for float32",
        "correct it or remove the row",
    )
