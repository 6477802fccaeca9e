"""The columns of a table of any kind that a Python caller gives."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jaxrep.errors import InputError

from .._arrow import null_of, to_arrow
from ._objects import from_cells, from_numpy_times, plain

_ACCEPTED = (
    "a DataFrame of pandas or polars, a pyarrow Table, a mapping of names to columns, or a 2-D "
    "array"
)


def columns_of(X: Any, source: str) -> tuple[Sequence[Any], Sequence[Any]]:
    """Returns the names of a table, as they are, and its columns, which `column_of` makes Arrow's.

    Raises:
        InputError: `X` is not a table, not two-dimensional, or holds no rows yet.

    Example:
        >>> columns_of([[1, "a"], [2, "b"]], "X")
        (['x0', 'x1'], [[1, 2], ['a', 'b']])
    """
    if is_a(X, "polars", "LazyFrame"):
        raise InputError(f"{source}: a LazyFrame of polars, without rows yet; call .collect()")
    if is_a(X, "pandas", "DataFrame"):
        return _names_of_pandas(X.columns), [column for _, column in X.items()]
    if is_sparse(X):
        check_dimensions(X, source)
        return _numbered(X.shape[1]), list(X.toarray(order="F").T)
    if isinstance(X, Mapping):
        return list(X), list(X.values())
    if hasattr(X, "to_frame"):
        raise InputError(f"{source}: a {type(X).__name__}, one column alone; give X.to_frame()")
    if hasattr(X, "__arrow_c_stream__") or hasattr(X, "__arrow_c_array__"):
        return _columns_of_arrow(X, source)
    if isinstance(X, (list, tuple)):
        return _columns_of_rows(X, source)
    if hasattr(X, "__array__"):
        return _columns_of_array(X if isinstance(X, np.ma.MaskedArray) else np.asarray(X), source)
    raise InputError(f"{source}: a {type(X).__name__} is not a table; give {_ACCEPTED}")


def _names_of_pandas(columns: Any) -> Sequence[Any]:
    if is_a(columns, "pandas", "RangeIndex") and (columns.start, columns.step) == (0, 1):
        return _numbered(len(columns))  # the frame of a matrix, whose columns nobody has named
    return list(columns)


def _columns_of_arrow(X: Any, source: str) -> tuple[Sequence[Any], Sequence[Any]]:
    if is_a(X, "polars", "DataFrame"):
        for name, kind in X.schema.items():
            # Of objects polars would export addresses in memory.
            if str(kind) in ("Object", "Int128", "UInt128"):
                raise InputError(
                    f"{source}: column {name!r} is of polars' type {kind}, which Arrow has not; "
                    "cast it, to String for one"
                )
    try:
        table = X if isinstance(X, pa.Table) else pa.table(X)
    except (pa.ArrowException, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{source}: a {type(X).__name__} that Arrow cannot read as a table ({reason}); give "
            f"{_ACCEPTED}"
        ) from None
    return table.column_names, table.columns


def _columns_of_rows(X: Sequence[Any], source: str) -> tuple[Sequence[Any], Sequence[Any]]:
    is_row = (list, tuple, np.ndarray)
    if not X or not all(isinstance(row, is_row) for row in X):
        raise InputError(f"{source}: a {type(X).__name__} that holds no rows; give {_ACCEPTED}")
    widths = {len(row) for row in X}
    if len(widths) > 1:
        raise InputError(f"{source}: the rows have different lengths: {sorted(widths)}")
    return _numbered(len(X[0])), [list(column) for column in zip(*X, strict=True)]


def _columns_of_array(
    X: npt.NDArray[Any], source: str
) -> tuple[Sequence[Any], Sequence[npt.NDArray[Any]]]:
    if X.dtype.names is not None and X.ndim == 1:
        return X.dtype.names, [X[name] for name in X.dtype.names]
    check_dimensions(X, source)
    return _numbered(X.shape[1]), list(X.T)


def column_of(column: Any, name: str, source: str) -> Any:
    """Returns one column, of whatever kind, as an Arrow Array or ChunkedArray of any type.

    Raises:
        InputError: it is not a column, not one-dimensional, or holds what Arrow has no type for.

    Example:
        >>> column_of(np.array([1.5, 2.5], np.float32), "a", "X").type
        DataType(float)
    """
    if isinstance(column, (pa.Array, pa.ChunkedArray)):
        return column
    if is_a(column, "pandas", "Series") or is_a(column, "pandas", "Index"):
        return _column_of_pandas(column, name, source)
    if is_a(column, "polars", "Series"):
        return _columns_of_arrow(column.to_frame(), source)[1][0]
    if hasattr(column, "__arrow_c_stream__"):
        return pa.chunked_array(column)
    if isinstance(column, np.ma.MaskedArray):
        shown = plain(column_of(column.data, name, source), name, source)
        hidden = pa.array(np.ma.getmaskarray(column))
        return pc.if_else(hidden, null_of(shown.type), shown)
    if hasattr(column, "__array__"):
        return _column_of_array(np.asarray(column), name, source)
    if isinstance(column, Sequence) and not isinstance(column, (str, bytes)):
        return from_cells(column, name, source)
    raise InputError(
        f"{source}: column {name!r} is a {type(column).__name__}; give a list or an array"
    )


def _column_of_pandas(column: Any, name: str, source: str) -> Any:
    pandas = sys.modules["pandas"]
    dtype = column.dtype
    if isinstance(dtype, pandas.CategoricalDtype):
        levels = plain(column_of(column.array.categories, name, source), name, source)
        codes = to_arrow(np.array(column.array.codes, np.int64))
        return pc.take(levels, pc.if_else(pc.less(codes, 0), null_of(pa.int64()), codes))
    if isinstance(dtype, pandas.SparseDtype):
        return _column_of_array(np.asarray(column.array), name, source)
    if isinstance(dtype, np.dtype):
        return _column_of_array(column.to_numpy(), name, source)
    if isinstance(dtype, pandas.DatetimeTZDtype):
        return pa.array(column, from_pandas=True)
    if hasattr(column.array, "__arrow_array__"):
        given = column.array.__arrow_array__()
        if not isinstance(given.type, pa.BaseExtensionType):
            return given
    return from_cells(list(column), name, source)  # periods and intervals, for two


def _column_of_array(values: npt.NDArray[Any], name: str, source: str) -> Any:
    if values.ndim != 1:
        raise InputError(f"{source}: column {name!r} is {values.ndim}-D; it must be 1-D")
    kind = values.dtype.kind
    if kind in "biuf":
        native = values.dtype.newbyteorder("=")
        # Arrow has no floats that are longer. What is beyond float64 becomes infinite, and refused.
        with np.errstate(over="ignore"):
            return to_arrow(
                values.astype(np.float64 if native.itemsize > 8 else native, copy=False)
            )
    if kind in "Mm":
        return from_numpy_times(values)
    if kind in "OUST":
        return from_cells(values.tolist(), name, source)
    what = "complex numbers" if kind == "c" else f"the dtype {values.dtype}"
    raise InputError(
        f"{source}: column {name!r} has {what}; jaxrep reads numbers, dates, times and text: "
        "convert or remove the column"
    )


def is_a(X: Any, module: str, name: str) -> bool:
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(X, kind)


def is_sparse(X: Any) -> bool:
    sparse = sys.modules.get("scipy.sparse")
    return sparse is not None and bool(sparse.issparse(X))


def _numbered(columns: int) -> list[str]:
    return [f"x{i}" for i in range(columns)]


def check_dimensions(X: Any, source: str) -> None:
    if X.ndim != 2:
        advice = "; X.reshape(-1, 1) is one column" if X.ndim == 1 else ""
        raise InputError(
            f"{source}: {X.ndim}-D with shape {X.shape}; it must be 2-D, (rows, columns){advice}"
        )
