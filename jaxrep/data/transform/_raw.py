"""A table as raw rows, and back."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jaxrep.batch import FIRST_SPIKE
from jaxrep.errors import InputError

from .._messages import listed
from .._names import BLANKS
from .._threads import for_each
from ..cells import Missing, Numbers, Place, codes_of, is_neither, numbers_of, to_stored
from ..schema import Boolean, CategoricalColumn, Column, NumericColumn, Schema, Spikes
from ._counts import Counts
from ._scaling import unscaled


def missing_of(schema: Schema) -> Missing:
    """Returns the missing-value markers of a schema."""
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
    """Returns a table's columns as numbers: raw values, and codes of categories.

    Columns are matched by name, in any order; those that the schema leaves out are optional.

    Args:
        schema: what `fit` returned.
        table: N rows, each column of any type.
        source: where the table comes from, for messages.
        before: the number of rows of the source before the table's, for messages.
        rows: the index of each row in the source, if they are not consecutive.
        counts: updated with the cells that are unknown or missing.

    Returns:
        `[N, columns]`. A category is its index among the levels, −1 if it is unknown; missing
        cells are NaN.

    Raises:
        InputError: columns are missing or unexpected, or a cell does not fit its column's kind.

    Example:
        >>> from jaxrep.data.schema import CategoricalColumn, Schema
        >>> sex = CategoricalColumn("sex", ("Female", "Male"), has_gaps=False)
        >>> people = Schema((sex,))
        >>> to_raw(people, pa.table({"sex": ["Male", "?", None]}), source="example").T
        array([[ 1., -1., nan]])
    """
    table = aligned(schema, table, source)
    missing, place = missing_of(schema), Place(source, before, rows)
    raw = np.empty((len(schema.columns), table.num_rows)).T

    def read(i: int) -> None:
        raw[:, i] = values_of_column(schema.columns[i], table, missing, place)

    for_each(read, range(len(schema.columns)), cells=raw.size)
    if counts is not None:
        for column, values in zip(schema.columns, raw.T, strict=True):
            count_cells(column, values, counts)
    return raw


def values_of_column(column: Column, table: pa.Table, missing: Missing, place: Place) -> Numbers:
    """Returns a column's cells as numbers or codes, `[N]`."""
    if isinstance(column, CategoricalColumn):
        return codes_of(column, table[column.name], missing, place)
    return numbers_of(column, table[column.name], missing, place)


def count_cells(column: Column, values: Numbers, counts: Counts) -> None:
    if gaps := int(np.isnan(values).sum()):
        (counts.missing if column.has_gaps else counts.filled)[column.name] += gaps
    if isinstance(column, CategoricalColumn) and (unknown := int((values == -1).sum())):
        counts.unknown[column.name] += unknown
    if isinstance(column, Boolean) and (neither := int(is_neither(values).sum())):
        counts.neither[column.name] += neither


def from_raw(schema: Schema, raw: Numbers) -> pa.Table:
    """Returns raw rows as a table whose columns have the types that the schema was fitted to.

    Whole numbers are rounded, booleans cut at one half, and seconds become dates and times again.

    Args:
        schema: what `fit` returned.
        raw: `[N, columns]`.

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


def draw_raw(schema: Schema, count: int, *, seed: int = 0) -> Numbers:
    """Draws raw rows that a schema accepts, from its statistics alone.

    Numbers are normal on the column's scale, or any spike, categories any of the levels and a tenth
    of them unknown, and a tenth of the cells of every column that does not refuse it is missing.

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
            features = rng.normal(size=count)
            if isinstance(column.scaling, Spikes):
                places = rng.integers(-1, len(column.scaling.spikes), count)
                features = np.where(places < 0, features, places + FIRST_SPIKE)
            values[:] = unscaled(column, features)
        else:
            # Of so many levels as there may be, one among them would hardly ever be drawn.
            levels = rng.integers(0, len(column.levels), count)
            values[:] = np.where(rng.random(count) < 0.1, -1, levels)
        values[(rng.random(count) < 0.1) & (not column.refuses)] = np.nan
    return raw


def aligned(
    schema: Schema, table: pa.Table, source: str, *, whose: str = "that the model was trained on"
) -> pa.Table:
    """Returns a table with the schema's columns, in any order, under the schema's names.

    A name that differs only by whitespace around it, which readers of CSVs treat in different ways,
    is the same name.

    Args:
        schema: what `fit` returned.
        table: of the columns of the training table.
        source: where it comes from, for messages.
        whose: what says in messages whose columns the schema has.

    Raises:
        InputError: columns are missing or too many.

    Example:
        >>> from jaxrep.data.schema import Number, Schema
        >>> people = Schema((Number("age", 40.0, 10.0, None),))
        >>> aligned(people, pa.table({" age": [30]}), "people.csv").column_names
        ['age']
    """
    known = {*schema.names, *schema.ignored}
    there = set(table.column_names)
    alike = {name.strip(BLANKS): name for name in known - there}
    names = [
        name if name in known else alike.get(name.strip(BLANKS), name)
        for name in table.column_names
    ]
    faults, cures = [], []
    if absent := [name for name in schema.names if name not in names]:
        faults.append(f"missing columns {listed(absent)}")
        cures.append("add the missing ones, with empty cells where nothing is known")
    if extra := [name for name in names if name not in known]:
        faults.append(f"extra columns {listed(extra)}")
        cures.append("remove the extra ones")
    if faults:
        raise InputError(
            f"{source}: not the columns {whose}: {'; '.join(faults)}; {' and '.join(cures)}"
        )
    if len(set(names)) < len(names):
        raise InputError(f"{source}: two columns have the same name; rename one")
    return table if names == table.column_names else table.rename_columns(names)
