"""Fits preprocessing to a table of any length, block by block."""

from collections.abc import Callable, Collection, Iterable
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jaxrep.errors import InputError

from ._features import numbers, refuse_missing, texts
from ._fitted import MOST, CategoricalColumn, NumericColumn, Preprocessing
from ._fitting import (
    categorical_column,
    check_present,
    check_rows,
    feature_names,
    numeric_column,
)
from ._statistics import IdCheck, Median, Moments

_MANY_COLUMNS = 64  # from which on the counts for their medians would take much memory


def fit_blocks(
    read: Callable[[], Iterable[pa.Table]],
    *,
    source: str,
    categorical: Collection[str] = (),
    label: str | None = None,
    id_column: str | None = None,
    na_values: Collection[str] = (),
    impute: Literal["median"] | None = None,
) -> tuple[Preprocessing, list[str], int]:
    """Learns what `fit` learns, from blocks, in memory that does not grow with the rows.

    One pass over the table; with `impute` four, or eight where it is wide: exact medians are found
    digit by digit.

    Args:
        read: begins to read the table anew, each time it is called.
        source: as for `fit`, and so all others.
        categorical: the columns that become one feature a category.
        label: a column to keep out of training.
        id_column: a column that is only passed through.
        na_values: stored for reading later tables in the same way.
        impute: "median" or None.

    Returns:
        The preprocessing, warnings, and the number of rows.

    Raises:
        InputError: as `fit`; or the categories are more than can be stored.

    Example:
        >>> blocks = [pa.table({"age": [30.0, 50.0]}), pa.table({"age": [40.0]})]
        >>> people, warnings, rows = fit_blocks(lambda: blocks, source="example")
        >>> people.columns[0].mean, warnings, rows
        (40.0, [], 3)
    """
    rows = 0
    columns: dict[str, _Numeric | _Categorical] = {}
    for block in read():
        if not columns:
            names = feature_names(block, source, categorical, label, id_column)
            bits = None if impute is None else 16 if len(names) <= _MANY_COLUMNS else 8
            columns = {n: _Categorical(n) if n in categorical else _Numeric(n, bits) for n in names}
        for column in columns.values():
            column.add(block, source, rows)
        _check_categories(columns.values(), source)
        rows += block.num_rows
    check_rows(rows, source)
    for column in columns.values():
        check_present(column.missing, rows, column.name, source)
    if impute is None:
        refuse_missing({c.name: c.missing for c in columns.values() if c.missing}, source)
    else:
        _find_medians(read, [c for c in columns.values() if isinstance(c, _Numeric)], source)
    fitted = [column.fitted(rows, impute is not None) for column in columns.values()]
    warnings = [f"{source}: {caution}" for _, cautions in fitted for caution in cautions]
    made = Preprocessing(tuple(c for c, _ in fitted), label, id_column, tuple(na_values))
    return made, warnings, rows


class _Numeric:
    """A numeric column, as far as it has been read."""

    def __init__(self, name: str, bits: int | None):
        self.name = name
        self.missing = 0
        self.median = None if bits is None else Median(bits)
        self._moments = Moments()
        self._ids = IdCheck()

    def add(self, block: pa.Table, source: str, before: int) -> None:
        values = numbers(block, self.name, source, before=before)
        self._ids.add(values)
        missing = np.isnan(values)
        count = int(missing.sum())
        self.missing += count
        present = values[~missing] if count else values
        self._moments.add(present)
        if self.median is not None:
            self.median.add(present)

    def fitted(self, rows: int, impute: bool) -> tuple[NumericColumn, list[str]]:
        fill = self.median.value if self.median is not None else None
        if fill is not None:
            self._moments.repeat(fill, self.missing)
        mean, deviation = self._moments.mean, self._moments.deviation
        return numeric_column(
            self.name, mean, deviation, fill, is_like_an_id=lambda: self._ids.found()
        )


class _Categorical:
    """A categorical column, as far as it has been read."""

    def __init__(self, name: str):
        self.name = name
        self.missing = 0
        self.values: set[str] = set()

    def add(self, block: pa.Table, source: str, before: int) -> None:
        words = texts(block, self.name, source)
        self.missing += words.null_count
        self.values.update(pc.unique(words.drop_null()).to_pylist())

    def fitted(self, rows: int, impute: bool) -> tuple[CategoricalColumn, list[str]]:
        return categorical_column(self.name, self.values, rows, impute=impute)


def _check_categories(columns: Iterable[_Numeric | _Categorical], source: str) -> None:
    counts = {c.name: len(c.values) for c in columns if isinstance(c, _Categorical)}
    if sum(counts.values()) > MOST:
        name = max(counts, key=lambda name: counts[name])
        raise InputError(
            f"{source}: column {name!r} has more than {counts[name]} categories, each a feature, "
            f"and there can be {MOST} in all; is it an id (--id-column)?"
        )


def _find_medians(
    read: Callable[[], Iterable[pa.Table]], columns: list[_Numeric], source: str
) -> None:
    medians = {column.name: column.median for column in columns if column.median is not None}
    for median in medians.values():
        median.end_showing()
    while not all(median.found for median in medians.values()):
        for block in read():
            for name, median in medians.items():
                values = numbers(block, name, source)
                median.add(values[~np.isnan(values)])
        for median in medians.values():
            median.end_showing()
