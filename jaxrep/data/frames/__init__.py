"""What a Python caller gives as a table, as Arrow tables in their own types, and back.

pandas, polars and SciPy are asked about an object only where the caller has imported them.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jaxrep.errors import InputError

from .._blocks import block_rows
from .._messages import listed
from .._names import check_count
from ._columns import check_dimensions, column_of, columns_of, is_a, is_sparse
from ._objects import plain

Kind = Literal["pandas", "polars", "arrow", "array"]


def as_table(X: Any, *, source: str = "X") -> pa.Table:
    """Returns a caller's table as an Arrow table, each column in its own type.

    Integers, floats, bools, decimals, dates, times, timestamps (their unit and zone) and durations
    stay what they are; categories and dictionaries are decoded; text is string, of whatever type
    it was. Objects are taken cell by cell: of one kind they get its type, in a mixture each becomes
    text. None, NaT, pandas' NA and, in objects, NaN are null; a NaN among floats stays. Memory is
    shared with `X` where Arrow can.

    Args:
        X: a pandas or polars DataFrame, a pyarrow Table or RecordBatch, anything else with
            `__arrow_c_stream__`, a mapping of names to columns, a 2-D array, a list of rows, a
            structured array, or a SciPy sparse matrix. The index of a pandas frame is not a column.
            The columns of an array, and of a frame whose columns were never named, are called
            x0, x1, ….
        source: what messages call it.

    Returns:
        The table, its columns perhaps in several chunks.

    Raises:
        InputError: `X` is none of these or not two-dimensional; a column's name is not a str, is
            empty or stands twice; a column holds complex numbers, lists, structs or maps. The
            message says which.

    Example:
        >>> as_table({"age": [39, None], "job": ["clerk", "none"]}).to_pylist()
        [{'age': 39, 'job': 'clerk'}, {'age': None, 'job': 'none'}]
        >>> as_table(np.zeros((1, 2), np.float32)).schema.names
        ['x0', 'x1']
    """
    names, columns = columns_of(X, source)
    _check_names(names, source)
    plain_columns = []
    for name, column in zip(names, columns, strict=True):
        try:
            plain_columns.append(plain(column_of(column, name, source), name, source))
        except (pa.ArrowException, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"{source}: column {name!r} cannot be read ({reason}); convert or remove it"
            ) from None
    lengths = {len(column) for column in plain_columns}
    if len(lengths) > 1:
        raise InputError(f"{source}: the columns have different lengths: {sorted(lengths)}")
    return pa.table(plain_columns, names=[str(name) for name in names])


def blocks_of(X: Any, rows: int | None = None, *, source: str = "X") -> Iterator[pa.Table]:
    """Yields a caller's table in blocks of rows; a sparse matrix is densified block after block.

    Args:
        X: as for `as_table`.
        rows: the rows of every block but the last; by default as many as `read_blocks` takes.
        source: what messages call it.

    Yields:
        The blocks in order; at least one, empty if the table is.

    Raises:
        InputError: as `as_table`.

    Example:
        >>> [block["x0"].to_pylist() for block in blocks_of(np.array([[1], [2], [3]]), 2)]
        [[1, 2], [3]]
    """
    if rows is not None and rows < 1:
        raise ValueError(f"rows is {rows}; a block has at least 1")
    if is_sparse(X):
        check_dimensions(X, source)
        by_rows = X.tocsr()
        step = rows or block_rows(X.shape[1])
        for start in range(0, max(X.shape[0], 1), step):
            yield as_table(by_rows[start : start + step], source=source)
        return
    table = as_table(X, source=source)
    step = rows or block_rows(table.num_columns)
    for start in range(0, max(table.num_rows, 1), step):
        yield table.slice(start, step)


def kind_of(X: Any) -> Kind:
    """Says as what kind of table the caller gave `X`; one with names is "arrow" if not a frame.

    Example:
        >>> kind_of(np.zeros((1, 2))), kind_of({"a": [1]})
        ('array', 'arrow')
    """
    if is_a(X, "pandas", "DataFrame"):
        return "pandas"
    if is_a(X, "polars", "DataFrame"):
        return "polars"
    is_arrow = hasattr(X, "__arrow_c_stream__") or hasattr(X, "__arrow_c_array__")
    return "arrow" if is_arrow or isinstance(X, Mapping) else "array"


def to_kind(table: pa.Table, kind: Kind) -> Any:
    """Returns a table as the kind that `kind_of` named.

    Args:
        table: the table.
        kind: "pandas": with pandas' default types and a plain index, dates as datetime64, integers
            with missing cells as floats if none is rounded, else as objects. "polars" and "arrow":
            with their own types. "array": `[rows, columns]`, float64 with NaN for missing if all
            columns are numbers or bools that float64 does not round, else objects with None.

    Raises:
        MissingPackageError: pandas or polars is asked for and not installed.

    Example:
        >>> to_kind(pa.table({"a": [1, None], "b": [True, False]}), "array")
        array([[ 1.,  1.],
               [nan,  0.]])
    """
    if kind == "pandas":
        return table.replace_schema_metadata(None).to_pandas(
            date_as_object=False,
            integer_object_nulls=any(
                pa.types.is_integer(column.type)
                and column.null_count
                and _as_float64(column) is None
                for column in table.columns
            ),
        )
    if kind == "polars":
        import polars

        return polars.from_arrow(table)
    return _to_array(table) if kind == "array" else table


def _to_array(table: pa.Table) -> npt.NDArray[Any]:
    numbers = [_as_float64(column) for column in table.columns]
    if all(column is not None for column in numbers):
        array = np.empty((table.num_rows, table.num_columns), np.float64)
        for i, column in enumerate(numbers):
            array[:, i] = column
        return array
    cells = np.empty((table.num_rows, table.num_columns), object)
    for i, column in enumerate(table.columns):
        cells[:, i] = column.to_pylist()
    return cells


def _as_float64(column: Any) -> npt.NDArray[Any] | None:
    """Returns a column's numbers; None if it has none or float64 would round its integers."""
    kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return None
    try:
        return np.asarray(column.cast(pa.float64()).to_numpy())
    except pa.ArrowInvalid:
        return None


def _check_names(names: Sequence[Any], source: str) -> None:
    if not names:
        raise InputError(f"{source}: the table has no columns")
    check_count(len(names), source)
    for name in names:
        if not isinstance(name, str):
            advice = (
                "join the levels: X.columns = ['_'.join(map(str, c)) for c in X.columns]"
                if isinstance(name, tuple)
                else f"rename it, to {str(name)!r} for one (all columns of a pandas frame: "
                "X.columns = X.columns.astype(str))"
            )
            kind = type(name).__name__
            raise InputError(f"{source}: a column's name is {name!r}, of type {kind}; {advice}")
        if not name.isascii() and name != name.encode(errors="replace").decode():
            raise InputError(f"{source}: the column's name {name!r} is not Unicode; rename it")
        if not name.strip():
            raise InputError(f"{source}: a column's name is empty; name every column")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise InputError(f"{source}: more than one column is named {listed(twice)}; rename them")
