"""A table as one matrix of raw numbers, as exported models take it, and back."""

import itertools

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ._features import numbers, texts
from ._fitted import NumericColumn, Preprocessing
from ._transform import check_columns


def to_raw(
    preprocessing: Preprocessing, table: pa.Table, *, source: str
) -> npt.NDArray[np.float64]:
    """Returns a table's feature columns as numbers: raw values, and categories as codes.

    Args:
        preprocessing: what `fit` returned.
        table: N rows with its columns, read as for `apply`.
        source: where the table comes from, for messages.

    Returns:
        `[N, columns]`. The code of a category is its place in the column's categories, that of a
        value that is none of them −1; what is missing is NaN.

    Raises:
        InputError: the columns are not those of the preprocessing, or of the wrong kind.

    Example:
        >>> from jaxrep.data.preprocessing import CategoricalColumn
        >>> sex = CategoricalColumn("sex", ("Female", "Male"), impute=False)
        >>> people = Preprocessing((sex,), label=None, id_column=None, na_values=())
        >>> to_raw(people, pa.table({"sex": ["Male", "?", None]}), source="example").T
        array([[ 1., -1., nan]])
    """
    check_columns(preprocessing, table, source)
    raw = np.empty((table.num_rows, len(preprocessing.columns)))
    for values, column in zip(raw.T, preprocessing.columns, strict=True):
        if isinstance(column, NumericColumn):
            values[:] = numbers(table, column.name, source)
        else:
            text = texts(table, column.name, source)
            found = pc.index_in(text, value_set=pa.array(column.categories, pa.string()))
            values[:] = pc.fill_null(found, -1).to_numpy()
            values[text.is_null().to_numpy()] = np.nan
    return raw


def from_raw(preprocessing: Preprocessing, raw: npt.NDArray[np.float64]) -> pa.Table:
    """Returns raw numbers as a table: the inverse of `to_raw`.

    Args:
        preprocessing: what `fit` returned.
        raw: `[N, columns]`; codes that are no category's become a text that is none.

    Example:
        >>> from jaxrep.data.preprocessing import CategoricalColumn
        >>> sex = CategoricalColumn("sex", ("Female", "Male"), impute=False)
        >>> people = Preprocessing((sex,), label=None, id_column=None, na_values=())
        >>> from_raw(people, np.array([[1.0], [-1.0]])).to_pylist()
        [{'sex': 'Male'}, {'sex': 'unknown'}]
    """
    columns = {}
    for values, column in zip(raw.T, preprocessing.columns, strict=True):
        missing = np.isnan(values)
        if isinstance(column, NumericColumn):
            columns[column.name] = pa.array(values, mask=missing)
        else:
            known = set(column.categories)
            names = itertools.chain(["unknown"], (f"unknown {i}" for i in itertools.count()))
            strange = next(name for name in names if name not in known)
            count = len(column.categories)
            codes = np.where((values >= 0) & (values < count), values, count).astype(np.int64)
            texts_of = pa.array([*column.categories, strange], pa.string())
            columns[column.name] = texts_of.take(pa.array(codes, mask=missing))
    return pa.table(columns)


def draw_raw(preprocessing: Preprocessing, count: int, *, seed: int = 0) -> npt.NDArray[np.float64]:
    """Draws rows that a preprocessing accepts, from its statistics alone.

    Numbers are normal with the column's mean and scale, categories any, unknown ones among them,
    and where missing values are filled in, a tenth is missing.

    Args:
        preprocessing: what `fit` returned.
        count: number of rows.
        seed: decides the draws.

    Returns:
        `[count, columns]`, as `to_raw` has them.

    Example:
        >>> age = NumericColumn("age", mean=40.0, scale=10.0, fill=None)
        >>> draw_raw(Preprocessing((age,), None, None, ()), 3).shape
        (3, 1)
    """
    rng = np.random.default_rng(seed)
    raw = np.empty((count, len(preprocessing.columns)))
    for values, column in zip(raw.T, preprocessing.columns, strict=True):
        if isinstance(column, NumericColumn):
            values[:] = column.mean + column.scale * rng.normal(size=count)
            fills = column.fill is not None
        else:
            values[:] = rng.integers(-1, len(column.categories), count)
            fills = column.impute
        values[(rng.random(count) < 0.1) & fills] = np.nan
    return raw
