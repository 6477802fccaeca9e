"""The values of a column and what makes them unusable: shared by fit and apply."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jaxrep.errors import InputError

from ._conform import as_numbers, is_text
from ._request import infinite, joined


def numbers(table: pa.Table, name: str, source: str) -> npt.NDArray[np.float64]:
    """Returns a column as float64, (rows,), with NaN for missing values.

    Raises:
        InputError: the column holds text, or an infinite value.
    """
    values: npt.NDArray[np.float64] = as_numbers(table[name], name, source).to_numpy()
    if (bad := np.isinf(values)).any():
        raise infinite(source, name, int(np.flatnonzero(bad)[0]) + 1)
    return values


def texts(table: pa.Table, name: str, source: str) -> Any:
    """Returns a column as a pyarrow ChunkedArray of strings.

    Raises:
        InputError: the column holds something else; numbers have lost how they were written.
    """
    column = table[name]
    if not is_text(column.type):
        raise InputError(
            f"{source}: column {name!r} is categorical but was read as {column.type}; "
            "read it as text (read_table's text_columns)"
        )
    return column.cast(pa.string())


def refuse_missing(missing: Mapping[str, int], source: str) -> None:
    """Raises an InputError with the number of missing values of each column, if there are any."""
    if missing:
        parts = [f"{name!r} ({count})" for name, count in missing.items()]
        raise InputError(
            f"{source}: missing values in {joined(parts)}; fill them in, leave the columns out, "
            "or train with --impute median"
        )
