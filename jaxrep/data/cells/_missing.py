"""Which cells mean "missing"."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .._arrow import null_of, texts_to_arrow, to_arrow
from .._names import BLANKS
from ._keys import ANY_NUMBER, PLAIN, key_of_text

Numbers = npt.NDArray[np.float64]


class Missing:
    """Which cells mean "missing", besides null and NaN.

    Args:
        texts: the missing-value markers.
        marks: those of them that the user set; a number equal to one is missing too.

    Example:
        >>> marked = Missing(["", "?", "-999"], ["?", "-999"])
        >>> marked.is_text("?"), marked.is_key("-999"), marked.values
        (True, True, array([-999.]))
    """

    def __init__(self, texts: Iterable[str], marks: Iterable[str]):
        marks = [mark.strip(BLANKS) for mark in marks]
        self._texts = {text.strip(BLANKS) for text in texts} | set(marks)
        self._keys = {key_of_text(mark) for mark in marks}
        self.arrow = texts_to_arrow(sorted(self._texts))
        self.values = np.array([float(mark) for mark in marks if ANY_NUMBER.fullmatch(mark)])
        defaults = self._texts.difference(marks)
        self.has_number_texts = any(ANY_NUMBER.fullmatch(text) for text in defaults)
        """Whether a default marker is a number, which matches as it is written, not by value."""

    def is_text(self, text: str) -> bool:
        """Says whether a trimmed text is a missing-value marker."""
        return text in self._texts

    def is_key(self, key: str) -> bool:
        """Says whether a category's key is that of a user's marker."""
        return key in self._keys


def trimmed(cells: Any, missing: Missing) -> Any:
    """Returns text stripped of whitespace, null where it is a missing-value marker."""
    cells = pc.utf8_trim(cells, characters=BLANKS)
    is_missing = pc.is_in(cells, value_set=missing.arrow)
    if not pc.any(is_missing).as_py():
        return cells  # spares the copy
    return pc.if_else(is_missing, null_of(pa.string()), cells)


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
