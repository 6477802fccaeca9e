"""The schema of a run's columns, which says what their cells mean, and the checks of it."""

from collections.abc import Callable, Mapping
from typing import Any

SCHEMA_VERSION = 3
_DECIMALS = (".", ",")
_THOUSANDS = ("", ",", ".", " ", "'")
_KINDS = ("number", "count", "boolean", "datetime", "duration", "category")


class EncodeError(ValueError):
    """A schema or a table cannot be used; the message says where and what to do."""


def check_schema(schema: Mapping[str, Any]) -> None:
    """Checks what the reading of cells needs of a schema.

    Args:
        schema: plain JSON, as `schema.json` holds it.

    Raises:
        EncodeError: names the first key that is missing or wrong.

    Example:
        >>> check_schema({"schema_version": 1})
        Traceback (most recent call last):
        ...
        torch_ref.schema.EncodeError: schema: schema_version is 1; it must be 3
    """
    if not isinstance(schema, Mapping):
        raise EncodeError(
            f"schema: it is a {type(schema).__name__}; give what schema.json holds, as json.load "
            "returns it"
        )
    _need(schema, "", "schema_version", f"{SCHEMA_VERSION}", lambda v: v == SCHEMA_VERSION)
    for name in ("missing", "marks"):
        _need(schema, "", name, "a list of texts", _is_list_of_texts)
    _need(schema, "", "columns", "a list of columns", lambda v: isinstance(v, list) and v != [])
    seen = set()
    for c, column in enumerate(schema["columns"]):
        _check_column(column, f"columns[{c}]")
        if column["name"] in seen:
            raise EncodeError(f"schema: columns[{c}].name is {column['name']!r} a second time")
        seen.add(column["name"])


def _check_column(column: Any, place: str) -> None:
    if not isinstance(column, Mapping):
        raise EncodeError(f"schema: {place} is {column!r:.60}; it must be an object")
    _need(column, place, "name", "a text", lambda v: isinstance(v, str))
    _need(column, place, "kind", f"one of {', '.join(_KINDS)}", lambda v: v in _KINDS)
    match column["kind"]:
        case "number" | "count":
            _need(column, place, "decimal", f"one of {_DECIMALS}", lambda v: v in _DECIMALS)
            _need(
                column,
                place,
                "thousands",
                f"one of {_THOUSANDS} and not the decimal mark",
                lambda v: v in _THOUSANDS and v != column["decimal"],
            )
        case "datetime":
            _need(column, place, "zoned", "true or false", lambda v: isinstance(v, bool))
            _need(column, place, "format", "a text or null", lambda v: isinstance(v, str | None))
        case "category":
            _need(
                column,
                place,
                "levels",
                "a list of texts, each once",
                lambda v: _is_list_of_texts(v) and len(set(v)) == len(v),
            )


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _need(
    values: Mapping[str, Any], place: str, name: str, wanted: str, holds: Callable[[Any], bool]
) -> None:
    """Checks one key of the schema."""
    path = f"{place}.{name}".lstrip(".")
    if name not in values:
        raise EncodeError(f"schema: {path} is missing; it must be {wanted}")
    if not holds(values[name]):
        raise EncodeError(f"schema: {path} is {values[name]!r:.60}; it must be {wanted}")
