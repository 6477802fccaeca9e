"""Conditions on cells, as `--where` takes them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jaxrep.data.schema import CategoricalColumn, Schema
from jaxrep.errors import InputError

_COMPARE = {
    "<=": pc.less_equal,
    ">=": pc.greater_equal,
    "!=": pc.not_equal,
    "=": pc.equal,
    "<": pc.less,
    ">": pc.greater,
}
_ONE = re.compile(r"\A([^<>=!]+)(<=|>=|!=|=|<|>)(.*)\Z", re.DOTALL)
_NEXT = re.compile(r",(?=[^<>=!,]+(?:<=|>=|!=|=|<|>))")


@dataclass(frozen=True)
class Condition:
    """A column, a comparison, and what to compare its cells with."""

    column: str
    comparison: str
    value: str

    def __str__(self) -> str:
        """Writes it as it is read."""
        return f"{self.column}{self.comparison}{self.value}"


def parse_conditions(texts: Sequence[str]) -> tuple[Condition, ...]:
    """Returns the conditions that texts list, COLUMN=VALUE,COLUMN>=VALUE and so on.

    Args:
        texts: each of one condition or several, between commas. The comparisons are = != < <= > >=.

    Raises:
        InputError: a part of a text is none.

    Example:
        >>> [str(each) for each in parse_conditions(["country=France,age>=60", "job != clerk"])]
        ['country=France', 'age>=60', 'job!=clerk']
        >>> [str(each) for each in parse_conditions(["town=Paris, Texas"])]
        ['town=Paris, Texas']
    """
    found = []
    for part in (part for text in texts for part in _NEXT.split(text)):
        match = _ONE.match(part)
        if match is None:
            raise InputError(
                f"--where {part!r}: must be COLUMN=VALUE, or with != < <= > >= in the place of ="
            )
        found.append(Condition(*(piece.strip() for piece in match.groups())))
    return tuple(found)


def hold(conditions: Sequence[Condition], schema: Schema, table: pa.Table) -> npt.NDArray[np.bool_]:
    """Returns for which rows all conditions hold, `[N]`; none holds of a missing cell.

    Args:
        conditions: from `parse_conditions`.
        schema: of the table.
        table: with the schema's columns, in their own units and types.

    Raises:
        InputError: there is no such column or category, or the column cannot be compared so.
    """
    found = np.ones(table.num_rows, bool)
    for condition in conditions:
        found &= np.asarray(_holds(condition, schema, table).fill_null(False))
    return found


def _holds(condition: Condition, schema: Schema, table: pa.Table) -> Any:
    columns = {column.name: column for column in schema.columns}
    column = columns.get(condition.column)
    if column is None:
        known = ", ".join(columns)
        if condition.column in schema.ignored:
            raise InputError(
                f"--where {condition}: column {condition.column!r} was left out of training, and "
                f"new rows have none; they have {known:.200}"
            )
        raise InputError(
            f"--where {condition}: there is no column {condition.column!r}; there are {known:.200}"
        )
    cells, value = table[column.name], condition.value
    if isinstance(column, CategoricalColumn):
        if condition.comparison not in ("=", "!="):
            raise InputError(
                f"--where {condition}: {column.name!r} holds categories, which = and != compare"
            )
        if value not in column.levels:
            raise InputError(
                f"--where {condition}: {value!r} is none of the {len(column.levels):,} values that "
                f"{column.name!r} had in training"
            )
        cells = cells.cast(pa.string())
    try:
        scalar = _scalar(value, cells.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError):
        raise InputError(
            f"--where {condition}: {value!r} is no {column.kind}, which {column.name!r} holds"
        ) from None
    return _COMPARE[condition.comparison](cells, scalar)


def _scalar(value: str, type_: pa.DataType) -> Any:
    if pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_):
        return pa.scalar(float(value))  # of whole numbers, too: age>=59.5
    return pa.scalar(value).cast(type_)
