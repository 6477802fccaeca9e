"""Tables to the rows that a served model takes, without JAX: numbers, and codes of categories.

It needs the standard library and numpy alone, and reads every cell as `jaxrep` does.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from torch_ref import carriers, cells
from torch_ref.carriers import Cell, UnreadableCellError
from torch_ref.schema import EncodeError as EncodeError
from torch_ref.schema import check_schema
from torch_ref.times import Duration, Instant


@dataclass(frozen=True)
class Counts:
    """How many cells of each column the model has no number for."""

    unknown: dict[str, int]
    """Categories that training did not know, encoded as −1, by column; 0 in columns of numbers."""

    missing: dict[str, int]
    """Missing cells, encoded as NaN, by column."""


def encode(
    schema: Mapping[str, Any], cells: Any, *, source: str = "cells"
) -> npt.NDArray[np.float64]:
    """Returns the rows that a served model takes.

    Args:
        schema: what `schema.json` of a run holds, also found in an exported file's description.
        cells: a mapping from a column's name to its cells; or a pandas or polars frame, an Arrow
            table, or anything else with columns by name; or a sequence of rows, each a mapping.
            Columns that the model does not use, such as the label, may be there.
        source: what messages call the table.

    Returns:
        Rows `[B, C]` with the columns in the schema's order: numbers, seconds since 1970 or of a
        duration, 0 and 1, or codes of categories with −1 for one that training did not know. NaN is
        a missing cell.

    Raises:
        EncodeError: the schema is not one, columns are missing or of different lengths, or a cell
            means nothing in its column.

    Example:
        >>> number = {"kind": "number", "name": "age", "decimal": ".", "thousands": ""}
        >>> category = {"kind": "category", "name": "city", "levels": ["Oslo", "Rome"]}
        >>> schema = {
        ...     "schema_version": 3,
        ...     "columns": [number, category],
        ...     "missing": ["", "?"],
        ...     "marks": ["?"],
        ... }
        >>> encode(schema, {"city": ["Rome", "Bonn", "?"], "age": ["31", " 4e1 ", None]})
        array([[31.,  1.],
               [40., -1.],
               [nan, nan]])
    """
    return encode_with_counts(schema, cells, source=source)[0]


def encode_with_counts(
    schema: Mapping[str, Any], cells: Any, *, source: str = "cells"
) -> tuple[npt.NDArray[np.float64], Counts]:
    """Returns what `encode` returns, and how many cells are unknown or missing.

    Args:
        schema: as in `encode`.
        cells: as in `encode`.
        source: as in `encode`.

    Raises:
        EncodeError: as `encode`.

    Example:
        >>> category = {"kind": "category", "name": "city", "levels": ["Oslo", "Rome"]}
        >>> schema = {"schema_version": 3, "columns": [category], "missing": [""], "marks": []}
        >>> rows, counts = encode_with_counts(schema, [{"city": "Bonn"}, {"city": ""}])
        >>> counts
        Counts(unknown={'city': 1}, missing={'city': 1})
    """
    check_schema(schema)
    columns = schema["columns"]
    names = [column["name"] for column in columns]
    table = _columns_of(cells, names, source)
    _check_lengths(table, source)
    rows = np.empty((len(table[names[0]]), len(names)))
    for c, column in enumerate(columns):
        rows[:, c] = _encode_column(_reader(column, schema), table[names[c]], names[c], source)
    kinds = {column["name"]: column["kind"] for column in columns}
    unknown = {
        name: int((rows[:, c] == -1).sum()) if kinds[name] == "category" else 0
        for c, name in enumerate(names)
    }
    missing = {name: int(np.isnan(rows[:, c]).sum()) for c, name in enumerate(names)}
    return rows, Counts(unknown, missing)


def _columns_of(table: Any, names: Sequence[str], source: str) -> dict[str, list[Any]]:
    """The cells of the columns that are asked for, by name."""
    if isinstance(table, Sequence) and not isinstance(table, str | bytes):
        return _columns_of_rows(table, names, source)
    try:
        there = carriers.column_names(table)
    except TypeError as error:
        raise EncodeError(
            f"{source}: {error}; give a mapping from names to cells, a data frame, an Arrow table, "
            "or a list of rows that are mappings"
        ) from error
    _check_names([str(name) for name in there], names, source)
    columns = {}
    for name in names:
        own = next(each for each in there if str(each) == name)  # pandas' may be whole numbers
        try:
            columns[name] = carriers.column_cells(table[own])
        except TypeError as error:
            raise EncodeError(f"{source}: column {name!r}: {error}; give a list") from error
    return columns


def _columns_of_rows(
    rows: Sequence[Any], names: Sequence[str], source: str
) -> dict[str, list[Any]]:
    for i, row in enumerate(rows):
        where = f"{source}: row {i} (from 0)"
        if not isinstance(row, Mapping):
            raise EncodeError(
                f"{where} is a {type(row).__name__}; give rows as mappings from names to cells"
            )
        if not row.keys() >= set(names):
            _check_names(list(row), names, where)
    return {name: [row[name] for row in rows] for name in names}


def _check_names(there: list[str], names: Sequence[str], where: str) -> None:
    missing = [name for name in names if name not in there]
    if missing:
        raise EncodeError(
            f"{where}: columns are missing: {', '.join(map(repr, missing))}; "
            "give all columns that the model was trained on"
        )
    for name in names:
        if there.count(name) > 1:
            raise EncodeError(f"{where}: {there.count(name)} columns are named {name!r}; keep one")


def _check_lengths(columns: Mapping[str, list[Any]], source: str) -> None:
    first, *others = columns
    for name in others:
        if len(columns[name]) != len(columns[first]):
            raise EncodeError(
                f"{source}: column {name!r} has {len(columns[name])} cells and {first!r} has "
                f"{len(columns[first])}; give every column one cell per row"
            )


def _encode_column(
    read: Callable[[Any], float], column: list[Any], name: str, source: str
) -> npt.NDArray[np.float64]:
    values = np.empty(len(column))
    known: dict[str | int, float] = {}  # every text and whole number is read once
    row = 0
    try:
        for row, cell in enumerate(column):
            if type(cell) is not str and type(cell) is not int:
                values[row] = read(cell)
                continue
            if cell not in known:
                known[cell] = read(cell)
            values[row] = known[cell]
    except UnreadableCellError as error:
        raise EncodeError(
            f"{source}: column {name!r}, row {row} (from 0): {error}. Correct it, or leave the "
            "cell empty if the value is not known"
        ) from error
    return values


def _reader(column: Mapping[str, Any], schema: Mapping[str, Any]) -> Callable[[Any], float]:
    """What maps the cells of a column, as they come, to numbers and codes."""
    marks = [mark.strip(cells.BLANKS) for mark in schema["marks"]]
    meaning, is_marked = _meaning(column), _is_marked(column["kind"], marks)
    missing = {text.strip(cells.BLANKS) for text in schema["missing"]} | set(marks)
    mark_values = _values(marks) if column["kind"] in ("number", "count") else set()

    def read(given: Any) -> float:
        cell = carriers.plain(given)
        if isinstance(cell, str):
            cell = cell.strip(cells.BLANKS)
        if cell is None or (isinstance(cell, str) and cell in missing) or is_marked(cell):
            return math.nan
        value = meaning(cell)
        # A text is compared by what it means here: "999.000" may be 999 or 999000.
        return math.nan if value in mark_values and not isinstance(cell, bool) else value

    return read


def _meaning(column: Mapping[str, Any]) -> Callable[[Cell], float]:
    match column["kind"]:
        case "number" | "count":
            return lambda cell: cells.number(cell, column["decimal"], column["thousands"])
        case "boolean":
            return cells.boolean
        case "datetime":
            return lambda cell: cells.seconds_since_1970(cell, column["format"], column["zoned"])
        case "duration":
            return cells.duration
    return _codes(tuple(column["levels"]))


@lru_cache(maxsize=64)
def _codes(levels: tuple[str, ...]) -> Callable[[Cell], float]:
    """Returns the code of a cell, as a function; kept for the next rows of the same model."""
    code_of_key = {cells.key(level): code for code, level in enumerate(levels)}
    code_of_value: dict[Any, int] = {}
    for code, level in enumerate(levels):
        value = cells.exact_value(level)
        if value is not None:  # levels of equal value cannot be distinguished by it
            code_of_value[value] = -1 if value in code_of_value else code

    def code_of(cell: Cell) -> float:
        code = code_of_key.get(cells.key(cell))
        if code is None:
            code = code_of_value.get(cells.exact_value(cell), -1)
        return float(code)

    return code_of


def _values(marks: Sequence[str]) -> set[float | None]:
    """The finite numbers among missing-value markers."""
    return {cells.plain_number(mark) for mark in marks} - {None, math.inf, -math.inf}


def _is_marked(kind: str, marks: Sequence[str]) -> Callable[[Cell], bool]:
    """Returns whether a cell equals one of the user's own missing-value markers, as a function."""
    if kind == "category":
        keys = {cells.key(mark) for mark in marks}
        return lambda cell: bool(keys) and cells.key(cell) in keys
    values = _values(marks)
    is_number = kind in ("number", "count")

    def is_marked(cell: Cell) -> bool:
        if not values or isinstance(cell, bool | Instant | Duration):
            return False
        if is_number and isinstance(cell, str):
            return False  # its value depends on the column's decimal mark
        try:
            value = cells.plain_number(cell) if isinstance(cell, str) else float(cell)  # type: ignore[arg-type]
        except OverflowError:
            return False
        return value in values

    return is_marked
