"""Which cells mean "missing"."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .._arrow import null_of, texts_to_arrow, to_arrow
from .._names import BLANKS
from ._keys import ANY_NUMBER, PLAIN, keys_of_texts

Numbers = npt.NDArray[np.float64]


class Missing:
    """Which cells mean "missing", besides null and NaN.

    Args:
        texts: the missing-value markers.
        marks: those of them that the user set; a number equal to one is missing too.

    Example:
        >>> marked = Missing(["", "?", "-999"], ["?", "-999"])
        >>> marked.arrow.to_pylist(), marked.keys.to_pylist(), marked.values
        (['', '-999', '?'], ['?', '-999'], array([-999.]))
    """

    def __init__(self, texts: Iterable[str], marks: Iterable[str]):
        marks = [mark.strip(BLANKS) for mark in marks]
        texts = {text.strip(BLANKS) for text in texts} | set(marks)
        self.arrow = texts_to_arrow(sorted(texts))
        """The markers."""
        self.keys = keys_of_texts(texts_to_arrow(marks))
        """The keys of the user's."""
        self.values = np.array([float(mark) for mark in marks if ANY_NUMBER.fullmatch(mark)])
        defaults = texts.difference(marks)
        self.has_number_texts = any(ANY_NUMBER.fullmatch(text) for text in defaults)
        """Whether a default marker is a number, which matches as it is written, not by value."""


def trimmed(cells: Any, missing: Missing) -> Any:
    """Returns text stripped of whitespace, null where it is a missing-value marker."""
    return _without(pc.utf8_trim(cells, characters=BLANKS), missing.arrow)


def without_keys(keys: Any, missing: Missing) -> Any:
    """Returns the keys of categories, null where one is that of a user's marker."""
    return _without(keys, missing.keys) if len(missing.keys) else keys


def _without(texts: Any, others: Any) -> Any:
    is_missing = pc.is_in(texts, value_set=others)
    if not pc.any(is_missing).as_py():
        return texts  # spares the copy
    return pc.if_else(is_missing, null_of(pa.string()), texts)


def without_marks(cells: Any, missing: Missing) -> Any:
    """Returns trimmed text, null where it is a number equal to a user's marker.

    Args:
        cells: an Array or ChunkedArray of strings.
        missing: which cells mean "missing".
    """
    if not len(missing.values):
        return cells
    none = null_of(pa.string())
    numbers = pc.if_else(pc.match_substring_regex(cells, PLAIN), cells, none)
    marks = to_arrow(missing.values)
    is_marked = pc.is_in(numbers.cast(pa.float64()), value_set=marks, skip_nulls=True)
    return pc.if_else(is_marked, none, cells)


def unmarked(values: Numbers, missing: Missing) -> Numbers:
    """Returns numbers, NaN where they are equal to a user's marker."""
    if not len(missing.values):
        return values
    return np.where(np.isin(values, missing.values), np.nan, values)
