"""JSON from a stranger: finite numbers, few levels, and only so much memory as its bytes allow."""

import json
import math
import stat
from pathlib import Path
from typing import Any, NoReturn

MAX_BYTES = 1 << 28
MAX_DEPTH = 64
MAX_VALUES = 1 << 23  # a few for each of a million columns; together they take under 1 GB


def loads(text: bytes | str) -> Any:
    """Returns what a JSON text says.

    Args:
        text: UTF-8, if bytes.

    Raises:
        ValueError: it is no JSON, holds NaN or a number beyond float64, more than 64 levels of
            arrays and objects, or more than 2²³ commas and brackets.

    Example:
        >>> loads('{"a": [1, 2.5]}')
        {'a': [1, 2.5]}
        >>> loads("[1e999]")
        Traceback (most recent call last):
        ...
        ValueError: a number is beyond float64: 1e999
    """
    text = text.decode("utf-8") if isinstance(text, bytes) else text
    if sum(map(text.count, ",[{")) > MAX_VALUES:
        raise ValueError(f"more than {MAX_VALUES} values")
    try:
        data = json.loads(
            text, parse_constant=_refuse_constant, parse_float=_number, parse_int=_whole
        )
    except RecursionError:
        raise ValueError(f"more than {MAX_DEPTH} levels") from None
    _check_depth(data)
    return data


def read(path: Path) -> Any:
    """Returns what a JSON file says.

    Raises:
        ValueError: as `loads`, or it is no regular file, which might never end, or over 256 MiB.
        OSError: it is missing or cannot be read.
    """
    return loads(read_bytes(path, MAX_BYTES))


def read_bytes(path: Path, most: int) -> bytes:
    """Returns the bytes of a regular file.

    Args:
        path: of the file, or of a link to it.
        most: how many there may be.

    Raises:
        ValueError: it is no regular file, which might never end, or larger.
        OSError: it is missing or cannot be read.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a regular file")
    if status.st_size > most:
        raise ValueError(f"{status.st_size} bytes, larger than it can be")
    return path.read_bytes()


def _check_depth(data: Any) -> None:
    """Raises a ValueError if there are too many levels for the functions that walk down them."""
    level = [data]
    for _ in range(MAX_DEPTH + 1):
        nested = [x for x in level if isinstance(x, dict | list)]
        level = [y for x in nested for y in (x.values() if isinstance(x, dict) else x)]
        if not nested:
            return
    raise ValueError(f"more than {MAX_DEPTH} levels")


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"a number is beyond float64: {text[:40]}")
    return value


def _whole(text: str) -> int:
    _number(text)  # before int(), which takes time that grows with the square of the digits
    return int(text)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
