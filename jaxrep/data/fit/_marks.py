"""Which of the user's missing-value markers no cell of a table matches."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .._arrow import as_array, texts_to_arrow, to_float64, to_numpy
from .._names import BLANKS
from .._types import decoded, is_number_type
from ..cells import PLAIN, Missing, _times, key_of_text, keys_of

_ISO = re.compile(_times.ISO, re.ASCII)


class Unmatched:
    """The missing-value markers that no cell has matched yet.

    Args:
        marks: as the user wrote them.

    Example:
        >>> marks = Unmatched(["?", "-999", "none"])
        >>> marks.add(pa.table({"age": [30.0, -999.0], "job": [" ?", "clerk"]}))
        >>> marks.left
        ('none',)
    """

    def __init__(self, marks: Iterable[str]):
        self.left = tuple(marks)

    def add(self, table: pa.Table) -> None:
        """Removes the markers that a cell of a table matches, whatever its column is."""
        for cells in table.columns:
            if not self.left:
                return
            matched = set(_matched(self.left, decoded(cells)))
            self.left = tuple(mark for mark in self.left if mark not in matched)


def _matched(marks: tuple[str, ...], cells: Any) -> Iterator[str]:
    """Yields the markers that a cell of a column matches; lists and structs match none."""
    if pa.types.is_nested(cells.type):
        return
    texts = {mark: mark.strip(BLANKS) for mark in marks}
    keys = {mark: key_of_text(text) for mark, text in texts.items()}
    numbers = {mark: Missing((), (mark,)).values for mark in marks}
    if is_number_type(cells.type):
        yield from _equal(numbers, cells)
        return
    if cells.type == pa.string():
        trimmed = pc.utf8_trim(cells, characters=BLANKS)
        if any(map(len, numbers.values())):
            yield from _equal(numbers, trimmed.filter(pc.match_substring_regex(trimmed, PLAIN)))
        # Booleans and dates can be written in several ways, which takes longer to compare.
        if not any(key in ("true", "false") or _ISO.fullmatch(key) for key in keys.values()):
            cells = trimmed.filter(pc.is_in(trimmed, texts_to_arrow([*texts.values()])))
    written = texts_to_arrow([*keys.values()])
    found = to_numpy(pc.is_in(written, value_set=keys_of(cells, Missing((), ())).keys))
    yield from (mark for mark, is_there in zip(keys, found, strict=True) if is_there)


def _equal(numbers: dict[str, Any], cells: Any) -> Iterator[str]:
    """Yields the markers that are numbers equal to a cell."""
    values = as_array(to_float64(cells))
    yield from (mark for mark, number in numbers.items() if np.isin(number, values).any())
