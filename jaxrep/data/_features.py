"""The values of a column and what makes them unusable: shared by fit and apply."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jaxrep.errors import InputError

from ._conform import as_numbers, is_text
from ._request import infinite, joined


class MissingValuesError(InputError):
    """Values are missing where nothing is imputed; `counts` are their numbers by column."""

    def __init__(self, counts: Mapping[str, int], source: str):
        parts = [f"{name!r} ({count})" for name, count in counts.items()]
        super().__init__(
            f"{source}: missing values in {joined(parts)}; fill them in, leave the columns out, "
            "or train with --impute median"
        )
        self.counts = counts


def numbers(table: pa.Table, name: str, source: str, *, before: int = 0) -> npt.NDArray[np.float64]:
    """Returns a column as float64, (rows,), with NaN for missing values.

    Args:
        table: the table.
        name: of the column.
        source: where the table comes from, for messages.
        before: how many rows of the source stand before the table's.

    Raises:
        InputError: the column holds text, or an infinite value.
    """
    values = as_array(as_numbers(table[name], name, source))
    if (bad := np.isinf(values)).any():
        raise infinite(source, name, before + int(np.flatnonzero(bad)[0]) + 1)
    return values


def as_array(column: Any) -> npt.NDArray[np.float64]:
    """Returns a ChunkedArray of float64 as NumPy has it, with NaN for null.

    As its `to_numpy` does, which imports pandas first where that is installed: 0.2 s of a start.
    """
    values, start = np.empty(len(column)), 0
    for chunk in filter(len, column.chunks):
        part, start = values[start : start + len(chunk)], start + len(chunk)
        without_nulls = [None, chunk.buffers()[1]]
        part[:] = np.from_dlpack(
            pa.Array.from_buffers(chunk.type, len(chunk), without_nulls, offset=chunk.offset)
        )
        if chunk.null_count:
            part[np.from_dlpack(chunk.is_null().cast(pa.uint8())) == 1] = np.nan
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
    """Raises a MissingValuesError if there are any."""
    if missing:
        raise MissingValuesError(missing, source)
