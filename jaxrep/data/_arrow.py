"""Arrays and texts as pyarrow has them, without pandas.

`pa.array` imports pandas first where that is installed: 0.2 s of a start.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


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
