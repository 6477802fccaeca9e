"""Targets as plain data."""

from typing import Any, TypeVar

import msgspec

from jaxrep import strict_json
from jaxrep.errors import ModelFormatError

_Target = TypeVar("_Target", bound=msgspec.Struct)


def to_json(target: msgspec.Struct) -> dict[str, Any]:
    """Returns a target as JSON can hold it, its kind included."""
    plain: dict[str, Any] = msgspec.to_builtins(target)
    return plain


def from_json(data: Any, kind: type[_Target]) -> _Target:
    """Returns the target of a kind that `to_json` described, or raises a ModelFormatError."""
    try:
        if isinstance(data, dict) and "kind" not in data:  # a tag may be left out
            raise ValueError("Object missing required field `kind`")
        return strict_json.convert(data, kind)
    except ValueError as error:
        raise ModelFormatError(f"target: {error}") from None
