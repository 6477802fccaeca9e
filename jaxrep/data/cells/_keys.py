"""The key of a category: one text for all spellings of a value."""

import re
from collections.abc import Callable
from typing import Any

import pyarrow.compute as pc

from .._arrow import texts_to_arrow
from . import _times

PLAIN = r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$"
"""A number with a decimal point and without thousands separators."""

ANY_NUMBER = re.compile(PLAIN, re.ASCII)
_BOOLEAN = "^(?:[tT][rR][uU][eE]|[fF][aA][lL][sS][eE])$"
_NUMBER = r"^-?(?:0|[1-9]\d*)(?:\.\d*(?:[eE][+-]?\d+)?|[eE][+-]?\d+)$|^-0$"
"""A number that is not written as an integer is, nor as a code: zip codes begin with a zero."""

INTEGER_LIMIT = 2.0**63
"""From here on whole floats are written with an exponent."""


def key_of_text(text: str) -> str:
    """Returns the key of a trimmed text as a category.

    Example:
        >>> [key_of_text(text) for text in ("TRUE", "1.0", "007", "2024-01-01 00:00:00", "a")]
        ['true', '1', '007', '2024-01-01', 'a']
    """
    key: str = keys_of_texts(texts_to_arrow([text]))[0].as_py()
    return key


def keys_of_texts(texts: Any) -> Any:
    """Returns the keys of trimmed texts, as `key_of_text` does of one.

    Only texts whose key may be another text are looked at one by one.

    Args:
        texts: a pyarrow Array of strings; a null remains one.
    """
    texts = _replaced(texts, _BOOLEAN, pc.utf8_lower)
    texts = _replaced(texts, _NUMBER, _keys_of_numbers)
    return _replaced(texts, _times.ISO, _times.keys_of_dates)


def _replaced(texts: Any, pattern: str, function: Callable[[Any], Any]) -> Any:
    """Returns texts, those that match a pattern replaced by what a function gives for them."""
    fits = pc.match_substring_regex(texts, pattern)
    if not pc.any(fits).as_py():
        return texts
    return pc.replace_with_mask(texts, fits, function(texts.filter(fits)))


def _keys_of_numbers(texts: Any) -> Any:
    return texts_to_arrow([_key_of_number(float(text)) for text in texts.to_pylist()])


def _key_of_number(value: float) -> str:
    is_short = value.is_integer() and abs(value) < INTEGER_LIMIT
    return str(int(value)) if is_short else repr(value)
