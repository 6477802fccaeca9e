"""Arrays and texts as pyarrow has them, without pandas.

`pa.array` imports pandas first where that is installed: 0.2 s of a start.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


def to_arrow(values: npt.NDArray[Any]) -> Any:
    """Returns numbers or booleans as a pyarrow array.

    Args:
        values: one-dimensional.

    Example:
        >>> to_arrow(np.array([True, False])).to_pylist()
        [True, False]
    """
    kind = pa.from_numpy_dtype(values.dtype)
    packed = np.packbits(values, bitorder="little") if values.dtype == bool else values
    buffer = pa.py_buffer(np.ascontiguousarray(packed))
    return pa.Array.from_buffers(kind, len(values), [None, buffer])


def null_of(kind: Any) -> Any:
    """Returns the null of an Arrow type; `pa.scalar` would import pandas.

    Example:
        >>> null_of(pa.int64())
        <pyarrow.Int64Scalar: None>
    """
    return pa.nulls(1, kind)[0]


def texts_to_arrow(texts: Sequence[str]) -> Any:
    """Returns texts as a pyarrow array of strings.

    Args:
        texts: none of them missing.

    Example:
        >>> texts_to_arrow(["", "ä"]).to_pylist()
        ['', 'ä']
    """
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.large_string(), len(encoded), buffers).cast(pa.string())


def to_numpy(values: Any) -> npt.NDArray[Any]:
    """Returns integers, floats or booleans of Arrow as NumPy has them; nulls become anything.

    Args:
        values: a pyarrow Array or ChunkedArray of a type that NumPy has.

    Example:
        >>> to_numpy(pa.chunked_array([[True], [False, True]]))
        array([ True, False,  True])
    """
    chunks = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
    is_boolean = pa.types.is_boolean(values.type)
    parts = [_chunk(c.cast(pa.uint8()) if is_boolean else c) for c in chunks if len(c)]
    dtype = np.uint8 if is_boolean else values.type.to_pandas_dtype()
    made = parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, dtype), *parts])
    return made == 1 if is_boolean else made


def _chunk(chunk: Any) -> npt.NDArray[Any]:
    buffers = [None, chunk.buffers()[1]]
    return np.from_dlpack(
        pa.Array.from_buffers(chunk.type, len(chunk), buffers, offset=chunk.offset)
    )


def to_float64(column: Any) -> Any:
    """Returns numbers or booleans of Arrow as the nearest float64, also beyond 2⁵³.

    Args:
        column: a pyarrow Array or ChunkedArray.

    Example:
        >>> to_float64(pa.array([2**53 + 1, None])).to_pylist()
        [9007199254740992.0, None]
    """
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.string())  # whose conversion to float64 rounds once
    return column.cast(pa.float64(), safe=False)


def as_array(column: Any) -> npt.NDArray[np.float64]:
    """Returns a ChunkedArray of float64 as NumPy has it, with NaN for null.

    As its `to_numpy` does, which imports pandas first where that is installed: 0.2 s of a start.
    """
    values, start = np.empty(len(column)), 0
    for chunk in filter(len, column.chunks):
        part, start = values[start : start + len(chunk)], start + len(chunk)
        without_nulls = [None, chunk.buffers()[1]]
        part[:] = np.from_dlpack(
            pa.Array.from_buffers(chunk.type, len(chunk), without_nulls, offset=chunk.offset)
        )
        if chunk.null_count:
            part[np.from_dlpack(chunk.is_null().cast(pa.uint8())) == 1] = np.nan
    return values


def codes_of_dictionary(encoded: Any) -> npt.NDArray[np.int64]:
    """Returns the index of each cell in the dictionary, −1 where it is null."""
    return indices_to_numpy(encoded.indices)


def indices_to_numpy(indices: Any) -> npt.NDArray[np.int64]:
    """Returns indices of Arrow as NumPy has them, −1 where they are null.

    Args:
        indices: a pyarrow Array of integers.
    """
    found: npt.NDArray[np.int64] = to_numpy(indices).astype(np.int64)
    if indices.null_count:
        found[to_numpy(indices.is_null())] = -1
    return found


def all_match(texts: Any, pattern: str) -> bool:
    """Says whether all texts that are not null match a regular expression; true of none.

    Example:
        >>> all_match(pa.array(["1", None]), "^[0-9]$"), all_match(pa.array(["1", "a"]), "^[0-9]$")
        (True, False)
    """
    return bool(pc.all(pc.match_substring_regex(texts, pattern), min_count=0).as_py())
