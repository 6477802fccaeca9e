"""What one cell of a table means: a number, seconds, or the key of a category.

Written cell by cell and exactly, to be read rather than to be fast.
"""

import math
import re
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

from torch_ref.carriers import Cell, UnreadableCellError
from torch_ref.times import (
    Duration,
    Instant,
    canonical,
    duration_of_text,
    instant_by_format,
    instant_of_text,
    to_seconds,
)

BLANKS = " \t\r\n\f\v\u00a0"
"""What is trimmed off both ends of a text."""

_SPACES = " \u00a0\u202f"
_PLAIN = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
# As a number is written that is not an identifier such as 007: two texts of one value, one key.
_CANONICAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][+-]?[0-9]+)?")
_TRUE = {"true", "t", "yes", "y", "1", "1.0"}
_FALSE = {"false", "f", "no", "n", "0", "0.0"}


def plain_number(text: str) -> float | None:
    """Returns the number that a trimmed text is with a decimal point and no thousands separator.

    Example:
        >>> plain_number("-1.5e3"), plain_number("1,5"), plain_number("inf")
        (-1500.0, None, None)
    """
    return float(text) if _PLAIN.fullmatch(text) else None


def number(cell: Cell, decimal: str = ".", thousands: str = "") -> float:
    """Returns the float64 nearest to a cell.

    Args:
        cell: of `plain`, not missing; a text is trimmed.
        decimal: the decimal mark of numbers in text, "." or ",".
        thousands: what may stand between groups of three digits in text, "" if nothing.

    Raises:
        UnreadableCellError: it is not a number, or beyond float64.

    Example:
        >>> number("1.234.567,5", decimal=",", thousands=".")
        1234567.5
    """
    if isinstance(cell, Instant | Duration):
        raise UnreadableCellError("a time is not a number")
    if isinstance(cell, str):
        value = _number_of_text(cell, decimal, thousands)
        if value is None:
            raise UnreadableCellError(
                f"{cell!r:.60} is not a number with decimal mark {decimal!r} and "
                + (f"thousands separator {thousands!r}" if thousands else "no thousands separator")
            )
    else:
        assert cell is not None
        try:
            value = float(cell)  # type: ignore[arg-type,unused-ignore]  # numpy's floats
        except OverflowError:
            value = math.inf
    if math.isinf(value):
        raise UnreadableCellError(f"{shown(cell)} is infinite, or beyond the range of float64")
    return value


def _number_of_text(text: str, decimal: str, thousands: str) -> float | None:
    if thousands:
        separator = f"[{_SPACES}]" if thousands in _SPACES else re.escape(thousands)
        point = re.escape(decimal)
        if re.fullmatch(f"[+-]?[0-9]{{1,3}}({separator}[0-9]{{3}})+({point}[0-9]*)?", text):
            return float(re.sub(separator, "", text).replace(decimal, "."))
    if decimal == ",":
        if "." in text:
            return None
        text = text.replace(",", ".")
    return plain_number(text)


def boolean(cell: Cell) -> float:
    """Returns 1.0 for true, 0.0 for false, and any other number as what it is.

    Raises:
        UnreadableCellError: it is none of these.

    Example:
        >>> boolean("Yes"), boolean(0), boolean(True), boolean(3)
        (1.0, 0.0, 1.0, 3.0)
    """
    if isinstance(cell, str):
        if cell.lower() in _TRUE | _FALSE:
            return float(cell.lower() in _TRUE)
        if plain_number(cell) is not None:
            return number(cell) + 0.0  # false is no −0, here and below
    elif not isinstance(cell, Instant | Duration):
        return number(cell) + 0.0
    raise UnreadableCellError(f"{shown(cell)} is neither true nor false")


def seconds_since_1970(cell: Cell, format: str | None, zoned: bool) -> float:
    """Returns seconds since 1970-01-01 UTC.

    Args:
        cell: of `plain`, not missing; a text is trimmed.
        format: of texts, as `strptime` takes it; None for ISO 8601.
        zoned: whether cells have a time zone.

    Raises:
        UnreadableCellError: it is not a date, or has a time zone where `zoned` is false, or none
            where it is true.

    Example:
        >>> seconds_since_1970("1970-01-02 00:00:00.25", None, zoned=False)
        86400.25
    """
    instant: Cell = cell
    if isinstance(cell, str):
        instant = instant_of_text(cell) if format is None else instant_by_format(cell, format)
        if instant is None:
            wanted = "ISO 8601" if format is None else f"the format {format!r}"
            raise UnreadableCellError(f"{cell!r:.60} is not a date in {wanted}")
    if not isinstance(instant, Instant):
        raise UnreadableCellError(f"{shown(cell)} is not a date: a number has no unit of time")
    if instant.zoned != zoned:
        has, had = ("no", "one") if zoned else ("a", "none")
        raise UnreadableCellError(f"{shown(cell)} has {has} time zone, and in training had {had}")
    return to_seconds(instant)


def duration(cell: Cell) -> float:
    """Returns seconds.

    Raises:
        UnreadableCellError: it is neither a duration nor a time of day.

    Example:
        >>> duration("01:30:00"), duration("-1 days +23:59:59.5"), duration("P1DT2M")
        (5400.0, -0.5, 86520.0)
    """
    value: Cell = cell
    if isinstance(cell, str):
        value = duration_of_text(cell)
        if value is None:
            raise UnreadableCellError(
                f"{cell!r:.60} is not a duration such as '01:30:00', '1 days 01:30:00' or 'PT90M'"
            )
    if not isinstance(value, Duration):
        raise UnreadableCellError(f"{shown(cell)} is not a duration: a number has no unit of time")
    return to_seconds(value)


def key(cell: Cell) -> str:
    """Returns the text by which a category is known, the same for every type it may come in.

    Raises:
        UnreadableCellError: a duration, which cannot be a category.

    Example:
        >>> key("3.0"), key(3), key(np.float32(0.1)), key("007"), key(True), key("2024-01-05T00:00")
        ('3', '3', '0.1', '007', 'true', '2024-01-05')
    """
    match cell:
        case str():
            return _key_of_text(cell)
        case bool():
            return str(cell).lower()
        case int():
            return str(cell)
        case Decimal():
            return _key_of_text(format(cell, "f"))
        case Instant():
            return canonical(cell)
        case float() | np.floating():
            return _key_of_float(float(cell), float(str(cell)))
    raise UnreadableCellError(f"{shown(cell)} is a duration, which cannot be a category")


def _key_of_text(text: str) -> str:
    if text.lower() in ("true", "false"):
        return text.lower()
    if _CANONICAL.fullmatch(text):
        if text.lstrip("-").isdigit():
            return "0" if text == "-0" else text
        return _key_of_float(float(text), float(text))
    instant = instant_of_text(text)
    return text if instant is None else canonical(instant)


def _key_of_float(value: float, shortest: float) -> str:
    """`shortest` has the value's digits as they are written in its own precision."""
    if value.is_integer() and abs(value) < 2**63:
        return str(int(value))
    return repr(shortest)


def exact_value(cell: Cell) -> Decimal | None:
    """Returns the exact value of a number as it is written, or None for any other cell.

    Example:
        >>> exact_value("+007.50") == exact_value(7.5) == exact_value(np.float32(7.5))
        True
        >>> exact_value("seven")
    """
    text: Any = cell if isinstance(cell, str | Decimal) else None
    if isinstance(cell, int | float | np.floating) and not isinstance(cell, bool):
        text = key(cell)
    if text is None or (isinstance(text, str) and not _PLAIN.fullmatch(text)):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of nineteen digits
        return None


def shown(cell: Cell) -> str:
    """Returns a cell as a message has it."""
    match cell:
        case Instant():
            return canonical(cell)
        case Duration():
            return f"{to_seconds(cell)} s"
        case str() | bool():
            return f"{cell!r:.60}"
    return f"{cell!s:.60}"
