"""Numbers that are codes: zip codes, telephone numbers."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_CODE = r"^[+-]?0[0-9xX]|^\+[0-9]{6}"
"""How a number begins that is a code: a zip code, a telephone number."""

_ZERO, _MINUS, _PLUS, _X = np.frombuffer(b"0-+x", np.uint8)


def has_codes(texts: Any) -> bool:
    """Says whether a number is written as a code is: with leading zeros, as a telephone number.

    Args:
        texts: a pyarrow Array or ChunkedArray of strings.

    Example:
        >>> has_codes(pa.array(["0.5", "-1", "10"])), has_codes(pa.array(["01067", "10115"]))
        (False, True)
    """
    chunks = texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]
    # Most columns have no cell that begins so, which their bytes tell sooner than the expression.
    return any(_may_be_codes(chunk) and _has_match(chunk) for chunk in chunks)


def _may_be_codes(chunk: Any) -> bool:
    """Says whether a cell begins with a plus, or with a zero and no decimal point."""
    _, offsets, data = chunk.buffers()
    if data is None or not data.size:
        return False
    letters = np.frombuffer(data, np.uint8)
    starts = np.frombuffer(offsets, np.int32)[chunk.offset : chunk.offset + len(chunk)]
    first = letters.take(starts, mode="clip")
    if (first == _PLUS).any():
        return True
    is_minus = first == _MINUS
    if is_minus.any():
        starts = starts + is_minus
        first = letters.take(starts, mode="clip")
    following = letters.take(starts.compress(first == _ZERO) + 1, mode="clip")
    is_digit = (following - _ZERO) < 10  # as bytes, whose differences are never negative
    return bool(is_digit.any() or (following | 32 == _X).any())


def _has_match(texts: Any) -> bool:
    return bool(pc.any(pc.match_substring_regex(texts, _CODE), min_count=0).as_py())
