"""The missing cells of a table, filled with values, and all other cells as they are."""

from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jaxrep.errors import InputError

from .._arrow import texts_to_arrow, to_arrow
from .._types import decoded, is_text_type
from ..cells import Numbers, to_stored
from ..schema import Boolean, CategoricalColumn, Column, Datetime, Number, Schema
from ..write._csv_cells import csv_cells
from ._raw import aligned


def fill(
    schema: Schema, table: pa.Table, raw: Numbers, values: Numbers, *, source: str
) -> tuple[pa.Table, Counter[str]]:
    """Fills the missing cells of a table's columns, those that the schema learns from.

    A filled cell has the type of its column: whole numbers are rounded, and text is written as the
    column's cells are, dates in their format and numbers with their decimal mark. A column without
    any value has no type, and gets that of the training table.

    Args:
        schema: what `fit` returned.
        table: N rows, each column of any type.
        raw: its raw rows, `[N, columns]`, as of `to_raw`; NaN where a cell is missing.
        values: raw rows of which the missing cells are taken, `[N, columns]`.
        source: where the table comes from, for messages.

    Returns:
        The table, and how many cells were filled, by column.

    Raises:
        InputError: a value does not fit the type of its column.

    Example:
        >>> from jaxrep.data.schema import Count, Schema
        >>> people = Schema((Count("age", 40.0, 10.0, None, stored="int64"),))
        >>> ages = pa.table({"age": ["30", "NA"]})
        >>> raw, values = np.array([[30.0], [np.nan]]), np.array([[31.0], [41.7]])
        >>> filled, counts = fill(people, ages, raw, values, source="people.csv")
        >>> filled.to_pydict(), dict(counts)
        ({'age': ['30', '42']}, {'age': 1})
    """
    names = aligned(schema, table, source).column_names
    counts: Counter[str] = Counter()
    for i, column in enumerate(schema.columns):
        gaps = np.isnan(raw[:, i]) & ~np.isnan(values[:, i])
        if not gaps.any():
            continue
        at = names.index(column.name)
        filled = _filled(column, table.column(at), gaps, values[gaps, i], source)
        table = table.set_column(at, table.column_names[at], filled)
        counts[column.name] = int(gaps.sum())
    return table, counts


def _filled(column: Column, cells: Any, gaps: Any, values: Numbers, source: str) -> Any:
    """Returns the cells of a column, those of the gaps with values in their place."""
    kind = cells.type
    cells = decoded(cells).combine_chunks()
    if pa.types.is_null(kind):
        made = to_stored(column, values)
        kind, cells = made.type, cells.cast(made.type)
    elif is_text_type(cells.type):
        made = _texts(column, values, _spelled(column, cells))
    else:
        made = to_stored(msgspec.structs.replace(column, stored=str(cells.type)), values)
    try:
        filled = pc.replace_with_mask(cells, to_arrow(gaps), made.cast(cells.type))
        return filled.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(
            f"{source}: column {column.name!r} is {kind}, and a missing cell cannot be filled with "
            f"a value of that type ({error!s:.100}); convert the column to text"
        ) from None


def _texts(column: Column, values: Numbers, spelled: dict[bool, str]) -> Any:
    """Returns raw values as a column of text that is read as them."""
    if isinstance(column, CategoricalColumn):
        return to_stored(msgspec.structs.replace(column, stored="string"), values)
    made = to_stored(column, values)
    if isinstance(column, Boolean) and pa.types.is_boolean(made.type):
        return texts_to_arrow([spelled[value] for value in made.to_pylist()])
    if isinstance(column, Datetime) and column.format is not None:
        format = column.format
        return texts_to_arrow([moment.strftime(format) for moment in made.to_pylist()])
    texts = csv_cells(pa.table({column.name: made}), spreadsheet_safe=False)[column.name]
    texts = texts.cast(pa.string()).combine_chunks()
    is_comma = isinstance(column, Number) and column.decimal == ","
    return pc.replace_substring(texts, ".", ",") if is_comma else texts


def _spelled(column: Column, cells: Any) -> dict[bool, str]:
    """Returns how a column of text spells true and false."""
    found = {True: "true", False: "false"}
    if isinstance(column, Boolean):
        texts = pc.unique(cells).drop_null().to_pylist()
        for text in texts:
            for value, word in found.items():
                if text.strip().lower() == word:
                    found[value] = text.strip()
    return found
