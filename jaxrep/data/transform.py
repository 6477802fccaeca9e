"""Applies a fitted schema to tables, and inverts it.

Cells become raw rows, float64 `[N, C]` with one value per column: numbers as they are, categories
as codes (−1 of no level), NaN where a cell is missing. Raw rows become features, float32 `[N, D]`:
standardised numbers and one-hot levels.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jaxrep.errors import InputError

from ._messages import joined, listed
from ._threads import for_each
from .cells import Missing, Numbers, Place, codes_of, numbers_of
from .cells._stored import to_stored
from .fit import MissingValuesError, refuse_missing
from .schema import CategoricalColumn, Column, NumericColumn, Schema

Features = npt.NDArray[np.float32]


@dataclass
class Counts:
    """What could not be placed in a table's cells, by column.

    Attributes:
        unknown: cells whose category is of no level.
        filled: missing cells of columns that had none when the schema was fitted.
        missing: missing cells of the other columns.

    Example:
        >>> counts = Counts()
        >>> counts.unknown["job"] += 2
        >>> counts.to_json(), list(counts.sentences("people.csv"))[0]
        ({'unknown': {'job': 2}}, "people.csv: 2 cells of 'job' are of no known category")
    """

    unknown: Counter[str] = field(default_factory=Counter)
    filled: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Counts") -> None:
        """Adds what other cells were counted as."""
        self.unknown += other.unknown
        self.filled += other.filled
        self.missing += other.missing

    def to_json(self) -> dict[str, dict[str, int]]:
        """Returns what is above zero."""
        found = {"unknown": self.unknown, "filled": self.filled, "missing": self.missing}
        return {name: dict(counts) for name, counts in found.items() if counts}

    def sentences(self, source: str) -> Iterator[str]:
        """Yields what a user should know."""
        if self.unknown:
            yield f"{source}: {_cells_of(self.unknown)} of no known category"
        if self.filled:
            yield (
                f"{source}: {_cells_of(self.filled)} missing, though none was when the model was "
                "fitted; they are filled as if they were usual"
            )


def _cells_of(counts: Counter[str]) -> str:
    parts = [f"{count:,} of {name!r}" for name, count in counts.items()]
    one = len(parts) == 1
    if one:
        ((name, count),) = counts.items()
        return f"{count:,} cell{'s' * (count > 1)} of {name!r} {'are' if count > 1 else 'is'}"
    return f"cells ({joined(parts)}) are"


def missing_of(schema: Schema) -> Missing:
    """Returns which cells of a table mean "missing"."""
    return Missing(schema.missing, schema.marks)


def to_raw(
    schema: Schema,
    table: pa.Table,
    *,
    source: str,
    before: int = 0,
    rows: npt.NDArray[np.int64] | None = None,
    counts: Counts | None = None,
) -> Numbers:
    """Returns a table's columns as numbers: raw values, and categories as codes.

    Columns are matched by name, in any order; those that are left out may be there or not.

    Args:
        schema: what `fit` returned.
        table: N rows, each column of any type.
        source: where the table comes from, for messages.
        before: how many rows of the source stand before the table's, for messages.
        rows: the row of each in the source, where they do not follow one another.
        counts: takes the cells that could not be placed.

    Returns:
        `[N, C]`. The code of a category is its place among the levels, that of a value that is none
        of them −1; what is missing is NaN.

    Raises:
        InputError: columns are missing or too many, or a cell is not what its column is.

    Example:
        >>> from jaxrep.data.schema import CategoricalColumn, Schema
        >>> sex = CategoricalColumn("sex", ("Female", "Male"), has_gaps=False)
        >>> people = Schema((sex,))
        >>> to_raw(people, pa.table({"sex": ["Male", "?", None]}), source="example").T
        array([[ 1., -1., nan]])
    """
    check_columns(schema, table, source)
    missing, place = missing_of(schema), Place(source, before, rows)
    raw = np.empty((len(schema.columns), table.num_rows)).T

    def read(i: int) -> None:
        raw[:, i] = _values(schema.columns[i], table, missing, place)

    for_each(read, range(len(schema.columns)), cells=raw.size)
    if counts is not None:
        for column, values in zip(schema.columns, raw.T, strict=True):
            _count(column, values, counts)
    return raw


def _values(column: Column, table: pa.Table, missing: Missing, place: Place) -> Numbers:
    """Returns a column's cells as numbers or codes, `[N]`."""
    if isinstance(column, CategoricalColumn):
        return codes_of(column, table[column.name], missing, place)
    return numbers_of(column, table[column.name], missing, place)


def _count(column: Column, values: Numbers, counts: Counts) -> None:
    if gaps := int(np.isnan(values).sum()):
        (counts.missing if column.has_gaps else counts.filled)[column.name] += gaps
    if isinstance(column, CategoricalColumn) and (strange := int((values == -1).sum())):
        counts.unknown[column.name] += strange


def to_features(
    schema: Schema,
    raw: Numbers,
    *,
    source: str,
    before: int = 0,
    rows: npt.NDArray[np.int64] | None = None,
) -> Features:
    """Returns raw rows as features: standardised numbers and one-hot categories.

    A number x becomes (x − mean) / scale, computed in float64 and cast to float32 last.

    Args:
        schema: what `fit` returned.
        raw: `[N, C]`, as of `to_raw`.
        source: where the rows come from, for messages.
        before: how many rows of the source stand before them, for messages.
        rows: the row of each in the source, where they do not follow one another.

    Returns:
        `[N, D]`, C-contiguous.

    Raises:
        InputError: a value is missing where that is refused, or too large for float32.

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
    """Returns the features of columns whose values a function gives by their places."""
    features = np.empty((count, schema.width), np.float32)
    starts = np.cumsum([0, *(column.width for column in schema.columns)]).tolist()

    def write(i: int) -> int:
        """Writes a column's features, and returns how many cells are missing against its will."""
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
        bad = _standardise(column, values, block)
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
    check_columns(schema, table, source)
    missing, place = missing_of(schema), Place(source, before, rows)
    counted = [Counts() for _ in schema.columns]

    def values_of(i: int) -> Numbers:
        values = _values(schema.columns[i], table, missing, place)
        _count(schema.columns[i], values, counted[i])
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
    """Yields each block of a table with its features, as `apply` gives them.

    Args:
        schema: what `fit` returned.
        blocks: the table, as `read_blocks` gives it.
        source: where the table comes from, for messages.
        counts: takes the cells that could not be placed.

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
        Numbers x · scale + mean in float64; of categories the code of the largest feature, NaN
        where that is the one of no level; if no training cell was missing, only above one half.

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
            values[:] = block[:, 0].astype(np.float64) * column.scale + column.mean
    return raw


def _likeliest(column: CategoricalColumn, block: Any) -> npt.NDArray[np.intp]:
    if not column.has_gaps:  # no training cell was of no level: below half, the feature is noise
        none = np.where(block[:, -1:] > 0.5, block[:, -1:], -np.inf)
        block = np.concatenate([block[:, :-1], none], axis=1)
    likeliest: npt.NDArray[np.intp] = block.argmax(axis=1)
    return likeliest


def from_raw(schema: Schema, raw: Numbers) -> pa.Table:
    """Returns raw rows as a table whose columns have the types that the schema was fitted to.

    Whole numbers are rounded, truths cut at one half, and times are dates again.

    Args:
        schema: what `fit` returned.
        raw: `[N, C]`.

    Example:
        >>> from jaxrep.data.schema import CategoricalColumn, Datetime, Schema
        >>> born = Datetime("born", 0.0, 1e8, None, stored="date32[day]")
        >>> sex = CategoricalColumn("sex", ("f", "m"), has_gaps=False)
        >>> from_raw(Schema((born, sex)), np.array([[86_000.0, 1], [np.nan, -1]])).to_pylist()
        [{'born': datetime.date(1970, 1, 2), 'sex': 'm'}, {'born': None, 'sex': None}]
    """
    columns = {
        column.name: to_stored(column, values)
        for values, column in zip(raw.T, schema.columns, strict=True)
    }
    return pa.table(columns)


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


def draw_raw(schema: Schema, count: int, *, seed: int = 0) -> Numbers:
    """Draws raw rows that a schema accepts, from its statistics alone.

    Numbers are normal with the column's mean and scale, categories any, unknown ones among them,
    and where missing values are filled in, a tenth is missing.

    Args:
        schema: what `fit` returned.
        count: number of rows.
        seed: decides the draws.

    Example:
        >>> from jaxrep.data.schema import Number, Schema
        >>> draw_raw(Schema((Number("age", mean=40.0, scale=10.0, fill=None),)), 3).shape
        (3, 1)
    """
    rng = np.random.default_rng(seed)
    raw = np.empty((count, len(schema.columns)))
    for values, column in zip(raw.T, schema.columns, strict=True):
        if isinstance(column, NumericColumn):
            values[:] = column.mean + column.scale * rng.normal(size=count)
            fills = column.fill is not None
        else:
            values[:] = rng.integers(-1, len(column.levels), count)
            fills = column.fills
        values[(rng.random(count) < 0.1) & fills] = np.nan
    return raw


def check_columns(schema: Schema, table: pa.Table, source: str) -> None:
    """Raises an InputError unless a table has the schema's columns, in any order."""
    there = set(table.column_names)
    faults, cures = [], []
    if absent := [name for name in schema.names if name not in there]:
        faults.append(f"missing columns {listed(absent)}")
        cures.append("add what is missing, with empty cells where nothing is known")
    known = {*schema.names, *schema.ignored}
    if extra := [name for name in table.column_names if name not in known]:
        faults.append(f"extra columns {listed(extra)}")
        cures.append("take the extra ones out")
    if faults:
        raise InputError(
            f"{source}: not the columns that the model was trained on: {'; '.join(faults)}; "
            f"{' and '.join(cures)}"
        )
    if len(there) < table.num_columns:
        raise InputError(f"{source}: two columns have the same name; rename one")


def _standardise(column: NumericColumn, values: Numbers, block: Features) -> int | None:
    """Writes the feature of a column into `block`, `[N, 1]`; returns the first row too far."""
    with np.errstate(over="ignore"):
        standardised = values - column.mean
        standardised /= column.scale
        block[:, 0] = standardised
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
