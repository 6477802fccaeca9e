"""The index that pandas stores beside a table's columns."""

import json
from collections.abc import Callable

import pyarrow as pa

from .._messages import listed
from .._names import check_names


def table_columns(schema: pa.Schema, source: str) -> list[str]:
    """Returns a stored table's columns, without a pandas index.

    Raises:
        InputError: there are none, or names are missing or stand twice.
    """
    check_names(schema.names, source)
    index = _index(schema)
    names = [name for name in schema.names if name not in index]
    check_names(names, source)
    return names


def note_index(schema: pa.Schema, note: Callable[[str], None]) -> None:
    """Says which columns `table_columns` leaves out."""
    if index := _index(schema):
        which = "index {} is not a column" if len(index) == 1 else "indices {} are not columns"
        note(f"the pandas {which.format(listed(index))}; reset_index() before saving makes it one")


def _index(schema: pa.Schema) -> list[str]:
    try:
        stored = json.loads((schema.metadata or {})[b"pandas"])["index_columns"]
    except (KeyError, ValueError, TypeError):
        return []
    if not isinstance(stored, list):
        return []
    return [name for name in stored if isinstance(name, str) and name in schema.names]
