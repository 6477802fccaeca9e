"""JSON from an untrusted file: finite numbers, bounded memory, and the shape that was expected.

msgspec checks the shape: what is read is plain data, and `convert` compares it with a type. The
standard library reads the text, because a path that is not UTF-8 is written as half of a surrogate
pair, which msgspec's own reader refuses.
"""

import dataclasses
import json
import math
import re
import stat
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_type_hints

import msgspec

MAX_BYTES = 1 << 28
MAX_VALUES = 1 << 23  # a few for each of a million columns; together they take under 1 GB

_LONGEST_MESSAGE = 300
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)

_T = TypeVar("_T")


def loads(text: bytes | str) -> Any:
    """Returns what a JSON text says.

    Args:
        text: UTF-8, if bytes.

    Raises:
        ValueError: it is not JSON, holds NaN or a number beyond float64, is nested more deeply
            than Python can follow, or has more than 2²³ commas and brackets outside of strings.

    Example:
        >>> loads('{"a": [1, 2.5]}')
        {'a': [1, 2.5]}
        >>> loads("[1e999]")
        Traceback (most recent call last):
        ...
        ValueError: a number is beyond float64: 1e999
    """
    text = text.decode("utf-8") if isinstance(text, bytes) else text
    if _count_values(text) > MAX_VALUES and _count_values(_STRING.sub("", text)) > MAX_VALUES:
        raise ValueError(f"more than {MAX_VALUES} values")
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError("too many levels of arrays and objects") from None


def _count_values(text: str) -> int:
    return sum(map(text.count, ",[{"))


def dumps(data: Any) -> str:
    """Returns plain data as JSON text of several lines, in UTF-8 whatever its paths are.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    # A byte that is not UTF-8 in a path becomes \udcff, which `loads` reads back as it was.
    return text.encode("utf-8", "backslashreplace").decode()


def read(path: Path) -> Any:
    """Returns what a JSON file says.

    Raises:
        ValueError: as `loads`, or it is not a regular file, which might never end, or over 256 MiB.
        OSError: it is missing or cannot be read.
    """
    return loads(read_bytes(path, MAX_BYTES))


def read_bytes(path: Path, most: int) -> bytes:
    """Returns the bytes of a regular file.

    Args:
        path: of the file, or of a link to it.
        most: how many there may be.

    Raises:
        ValueError: it is not a regular file, which might never end, or larger.
        OSError: it is missing or cannot be read.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a regular file")
    if status.st_size > most:
        raise ValueError(f"{status.st_size} bytes, larger than it can be")
    return path.read_bytes()


def convert(data: Any, kind: type[_T]) -> _T:
    """Returns plain data as a type that msgspec knows; nothing is coerced but int to float.

    Args:
        data: what JSON says.
        kind: a `msgspec.Struct`, or a type of its fields.

    Raises:
        ValueError: says what must be where, in a message of bounded length.

    Example:
        >>> convert({"loss": 1}, dict[str, float])
        {'loss': 1.0}
        >>> convert(["a", 2], list[str])
        Traceback (most recent call last):
        ...
        ValueError: Expected `str`, got `int` - at `$[1]`
    """
    try:
        return msgspec.convert(data, kind)
    except ValueError as error:  # from msgspec, or a name that is half of a surrogate pair
        message = str(error)
    if len(message) > _LONGEST_MESSAGE:  # it quotes names and values, and ends with the place
        message = f"{message[: _LONGEST_MESSAGE // 2]} … {message[-_LONGEST_MESSAGE // 2 :]}"
    raise ValueError(message)


def convert_fields(data: Any, kind: type[_T]) -> _T:
    """Returns plain data as a dataclass, of which it must have every field and nothing else.

    Args:
        data: what JSON says.
        kind: the dataclass; whether a field has a default makes no difference.

    Raises:
        ValueError: as `convert`.

    Example:
        >>> @dataclasses.dataclass
        ... class Epochs:
        ...     count: int = 50
        >>> convert_fields({}, Epochs)
        Traceback (most recent call last):
        ...
        ValueError: Object missing required field `count`
    """
    hints = get_type_hints(kind)
    fields = [(field.name, hints[field.name]) for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    made = convert(data, msgspec.defstruct(kind.__name__, fields, forbid_unknown_fields=True))
    return kind(**msgspec.structs.asdict(made))


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"a number is beyond float64: {text[:40]}")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not valid JSON")
