"""Writes tables, whole or not at all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jaxrep import files
from jaxrep.errors import InputError

from ._conform import is_text

_FORMULA = r"^[=+\-@\t\r]"
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"


def check_output(path: Path) -> None:
    """Checks that a table could be written to `path`, so that a command can fail before work.

    Args:
        path: the file to be written; it may exist, its folder must.

    Raises:
        InputError: the suffix is unknown, `path` is a folder, or its folder is missing or
            cannot be written.

    Example:
        >>> check_output(Path("z.txt"))
        Traceback (most recent call last):
        ...
        jaxrep.errors.InputError: z.txt: cannot write '.txt'; use .csv, .parquet, .npy, .npz
    """
    _writer(path)
    files.check_writable(path)


def write_table(table: pa.Table, path: Path) -> None:
    """Writes a table as .csv, .parquet, .npy or .npz, by the suffix of `path`.

    Numbers keep their precision: in CSV each is written with the fewest digits that read back
    as the same value of its type, bools as 0 and 1. Text in CSV, names of columns included,
    that a spreadsheet would take for a formula (it begins with = + - @, a tab or a carriage
    return, and is not a number) gets a leading apostrophe. Arrays hold the columns side by
    side, missing values as NaN; in a .npz the array is called X.

    Args:
        table: the table.
        path: the file to write; one that exists is replaced once the new one is whole.

    Raises:
        InputError: as `check_output`; a text column in an array; or the writing failed.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "z.csv"
        >>> write_table(pa.table({"z0": pa.array([0.1], pa.float32()), "id": ["=1+1"]}), path)
        >>> print(path.read_text(), end="")
        "z0","id"
        0.1,"'=1+1"
    """
    check_output(path)
    write = _writer(path)
    try:
        with files.replacing(path) as temporary:
            write(table, temporary)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: the table cannot be written ({error})") from None


def _writer(path: Path) -> Callable[[pa.Table, Path], None]:
    writers = {
        ".csv": _write_csv,
        ".parquet": _write_parquet,
        ".npy": _write_npy,
        ".npz": _write_npz,
    }
    suffix = path.suffix.lower()
    if suffix not in writers:
        raise InputError(f"{path}: cannot write {suffix!r}; use {', '.join(writers)}")
    return writers[suffix]


def _write_csv(table: pa.Table, path: Path) -> None:
    from pyarrow import csv

    columns = [_csv_column(table[i], table.num_columns) for i in range(table.num_columns)]
    names = _neutralised(pa.array(table.column_names, pa.string())).to_pylist()
    csv.write_csv(pa.table(columns, names=names), path)


def _csv_column(column: Any, columns: int) -> Any:
    if is_text(column.type):
        # Written as "", which is read as missing again; a bare empty line would be no row.
        return pc.fill_null(_neutralised(column.cast(pa.string())), "")
    if columns == 1 and pa.types.is_floating(column.type):
        return pc.fill_null(column, float("nan"))  # likewise
    return column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column


def _neutralised(text: Any) -> Any:
    risky = pc.and_not(
        pc.match_substring_regex(text, _FORMULA), pc.match_substring_regex(text, _NUMBER)
    )
    return pc.if_else(risky, pc.binary_join_element_wise("'", text, ""), text)


def _write_parquet(table: pa.Table, path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(table, path)


def _write_npy(table: pa.Table, path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, _matrix(table), allow_pickle=False)


def _write_npz(table: pa.Table, path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, X=_matrix(table))


def _matrix(table: pa.Table) -> npt.NDArray[Any]:
    for name in table.column_names:
        kind = table.schema.field(name).type
        if not np.issubdtype(kind.to_pandas_dtype(), np.number) and not pa.types.is_boolean(kind):
            raise InputError(
                f"column {name!r} is {kind} and an array holds numbers only; write .csv or .parquet"
            )
    return np.column_stack([column.to_numpy() for column in table.columns])
