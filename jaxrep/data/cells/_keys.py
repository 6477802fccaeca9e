"""The key of a category: one text for all spellings of a value."""

import re

from . import _times

PLAIN = r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$"
"""A number with a decimal point and without thousands separators."""

ANY_NUMBER = re.compile(PLAIN, re.ASCII)
_KEY_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d*)?(?:[eE][+-]?\d+)?", re.ASCII)
_ISO = re.compile(_times.ISO, re.ASCII)
_INTEGER_LIMIT = 2.0**63  # from which on whole floats are written with an exponent


def key_of_text(text: str) -> str:
    """Returns the key of a trimmed text as a category.

    Example:
        >>> [key_of_text(text) for text in ("TRUE", "1.0", "007", "2024-01-01 00:00:00", "a")]
        ['true', '1', '007', '2024-01-01', 'a']
    """
    if not text or text[0].isalpha():
        lower = text.lower()
        return lower if lower in ("true", "false") else text
    if _KEY_NUMBER.fullmatch(text):
        return _key_of_number(text)
    if _ISO.fullmatch(text):
        return _times.key_of_date(text)
    return text


def _key_of_number(text: str) -> str:
    if text.lstrip("-").isdecimal():
        return "0" if text == "-0" else text
    value = float(text)
    return str(int(value)) if is_short_integer(value) else repr(value)


def is_short_integer(value: float) -> bool:
    """Says whether a category that is this float is written as an integer."""
    return value.is_integer() and abs(value) < _INTEGER_LIMIT
