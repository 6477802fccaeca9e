"""Checks of JSON that may come from a stranger; every refusal names the key."""

import math
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from jaxrep.errors import ModelFormatError

MOST = 1_000_000
"""The most columns, and the most categories in all, that a preprocessing may have."""

_T = TypeVar("_T")


def wrong(key: str, what: str) -> ModelFormatError:
    """Returns the error for a key whose value cannot be."""
    return ModelFormatError(f"preprocessing: {key!r} is {what}")


def check_keys(data: Any, key: str, expected: Collection[str]) -> None:
    """Raises a ModelFormatError unless `data` is an object with exactly the expected keys."""
    if not isinstance(data, dict):
        raise wrong(key or "the whole", f"a {type(data).__name__}, not an object")
    prefix = f"{key}." if key else ""
    for name in expected:
        if name not in data:
            raise wrong(prefix + name, "missing")
    for name in data:
        if name not in expected:
            raise wrong(f"{prefix}{name}"[:100], "not a known key")


def items(data: Any, key: str, parse: Callable[[Any, str], _T]) -> list[_T]:
    """Returns the parsed items of a list of at most `MOST`."""
    if not isinstance(data, list):
        raise wrong(key, f"a {type(data).__name__}, not a list")
    if len(data) > MOST:
        raise wrong(key, f"a list of {len(data)} items, more than {MOST}")
    return [parse(item, f"{key}[{i}]") for i, item in enumerate(data)]


def string(data: Any, key: str) -> str:
    """Returns `data` if it is a string that can be written as UTF-8."""
    if not isinstance(data, str):
        raise wrong(key, f"a {type(data).__name__}, not a string")
    try:
        data.encode("utf-8")
    except UnicodeEncodeError:
        raise wrong(key, "a string that is not Unicode text") from None
    return data


def number(data: Any, key: str) -> float:
    """Returns `data` if it is a finite number."""
    if isinstance(data, bool) or not isinstance(data, int | float):
        raise wrong(key, f"a {type(data).__name__}, not a number")
    try:
        value = float(data)
    except OverflowError:
        raise wrong(key, "a number beyond float64") from None
    if not math.isfinite(value):
        raise wrong(key, f"{value}, not finite")
    return value


def boolean(data: Any, key: str) -> bool:
    """Returns `data` if it is true or false."""
    if not isinstance(data, bool):
        raise wrong(key, f"a {type(data).__name__}, not true or false")
    return data


def optional(data: Any, key: str, parse: Callable[[Any, str], _T]) -> _T | None:
    """Returns None for null, and otherwise the parsed value."""
    return None if data is None else parse(data, key)


def check_distinct(names: Collection[str], key: str) -> None:
    """Raises a ModelFormatError that quotes the first name that stands twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise wrong(key, f"wrong: {name[:100]!r} stands there twice")
        seen.add(name)
