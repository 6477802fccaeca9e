"""Two or three tables as raw rows under one schema, that of the real one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from jaxrep import data
from jaxrep.data.schema import Boolean, CategoricalColumn, Column, Count, Schema
from jaxrep.data.transform import aligned, to_raw

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Cells:
    """The rows of a table as numbers and as codes, column by column."""

    schema: Schema
    """Of the real table."""

    raw: Numbers
    """`[N, columns]`: numbers in their own units, and for categories the index of the level, −1 for
    one that the real table does not have; NaN where a cell is missing."""

    def __len__(self) -> int:
        """Returns how many rows there are."""
        return len(self.raw)

    def take(self, rows: npt.NDArray[np.int64]) -> "Cells":
        """Returns some of the rows."""
        return Cells(self.schema, self.raw[rows])

    def drawn(self, most: int, draws: np.random.Generator) -> "Cells":
        """Returns that many rows, drawn without replacement, or all if there are no more."""
        if len(self) <= most:
            return self
        return self.take(np.sort(draws.choice(len(self), most, replace=False)))

    def matrix(self) -> Any:
        """Returns numbers on the real table's scale beside one-hot categories, sparse `[N, W]`.

        A missing number is 0, the mean, and a missing category a level of its own: cells that are
        missing in both of two rows do not separate them. Levels that differ separate two rows by
        1, as numbers do that are one scale apart.
        """
        parts, every = [], np.arange(len(self))
        for column, values in zip(self.schema.columns, self.raw.T, strict=True):
            if isinstance(column, CategoricalColumn):
                codes = np.where(np.isnan(values), -2, values).astype(np.int64) + 2
                ones, shape = np.full(len(self), 0.5**0.5), (len(self), len(column.levels) + 2)
                parts.append(sparse.csr_array((ones, (every, codes)), shape=shape))
            else:
                scaled = (values - column.mean) / column.scale
                parts.append(sparse.csr_array(np.nan_to_num(scaled)[:, None]))
        return sparse.hstack(parts, format="csr")


def is_discrete(column: Column) -> bool:
    """Says whether a column is compared by its levels: a category or a boolean."""
    return isinstance(column, CategoricalColumn | Boolean)


def is_whole(column: Column, values: Numbers) -> bool:
    """Says whether a column of the real table holds whole numbers only."""
    return isinstance(column, Count) or bool((values == np.rint(values)).all())


def cells_of(schema: Schema, table: pa.Table, source: str, real: str) -> Cells:
    """Returns a table's rows under a schema.

    Args:
        schema: of the real table.
        table: with the schema's columns.
        source: where the table comes from, for messages.
        real: where the real table does.

    Raises:
        InputError: columns are missing or unexpected, or a cell does not fit its column's kind.
    """
    table = aligned(schema, table, source, whose=f"of {real}")
    return Cells(schema, to_raw(schema, table, source=source))


def schema_of(tables: Sequence[pa.Table], source: str, columns: data.Columns) -> Schema:
    """Infers the schema of the real table."""
    return data.fit(lambda: tables, source=source, columns=columns).schema
