"""How many rows each category of a column has, and which categories are too rare for a level."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .._arrow import texts_to_arrow, to_arrow, to_numpy
from ..cells import Missing, keys_of_texts, spelled, without_keys
from ..schema import MOST

MANY_LEVELS = 1000
"""The most categories of which all are levels; of more, those that one row has are merged."""

ROWS_PER_LEVEL = 10
"""The rows that each of many categories must have on average, unless they are asked for."""

MOST_TEXT = 1 << 25
"""The most bytes of the levels of all columns: a model says them in its files."""

_PENDING = 1 << 16  # distinct values of blocks that are merged at a time, or more if there are more

_Rows = npt.NDArray[np.int64]


class Counted(NamedTuple):
    """The categories of a column, and how many rows each has.

    Attributes:
        keys: the keys, `[K]`, in no order; a pyarrow Array of strings.
        names: the spelling of each that is always spelled alike, else its key; the same.
        rows: the number of rows that each has, `[K]`.
        missing: the number of cells that are missing.
    """

    keys: Any
    names: Any
    rows: _Rows
    missing: int


class LevelCounts:
    """Counts the rows of each category of a column, block by block.

    Values are merged over all blocks before anything looks at their text. So the time goes with the
    rows in Arrow alone, and in Python with the distinct values of the whole column.

    Args:
        missing: which cells mean "missing".
        most: the most categories; where there are more, counting ends.
        most_text: the most bytes of their text.

    Example:
        >>> jobs = LevelCounts(Missing(["", "?"], []))
        >>> jobs.add(pa.chunked_array([["smith", "TRUE", "?"]]))
        >>> jobs.add(pa.chunked_array([["smith", "true", None]]))
        >>> counted = jobs.counted()
        >>> counted.names.to_pylist(), counted.rows, counted.missing
        (['smith', 'true'], array([2, 2]), 2)
    """

    def __init__(self, missing: Missing, *, most: int = MOST, most_text: int = MOST_TEXT):
        self._missing, self._most, self._most_text = missing, most, most_text
        self._nulls = 0
        self._distinct: dict[Any, _Distinct] = {}
        self._counted: Counted | None = None
        self._looked_at = most  # distinct values when their categories were last counted
        self.is_over = False
        """Whether there are more categories, or more of their text, than can be counted."""
        self.least = 0
        """How many categories there are at least, where they are too many."""
        self._repeated = False

    def add(self, cells: Any) -> None:
        """Adds a block.

        Args:
            cells: a ChunkedArray of any type but a dictionary's.
        """
        self._nulls += cells.null_count
        if self.is_over or cells.null_count == len(cells):
            return
        counted = pc.value_counts(cells.drop_null().combine_chunks())
        self.add_counted(counted.field(0), to_numpy(counted.field(1)))

    def add_counted(self, values: Any, rows: _Rows) -> None:
        """Adds distinct values, none of them null, and how many rows each has."""
        if self.is_over:
            return
        self._counted = None
        distinct = self._distinct.setdefault(values.type, _Distinct(values.type))
        if distinct.add(values, rows):
            self._check()

    def counted(self) -> Counted | None:
        """Returns what was counted; None where there is too much."""
        if self._counted is None and not self.is_over:
            for distinct in self._distinct.values():
                distinct.merge()
            self._counted = self._count()
            if len(self._counted.keys) > self._most or self._has_too_much_text():
                self._end(len(self._counted.keys))
        return self._counted

    @property
    def repeats(self) -> bool:
        """Whether a value is in more than one row, as far as they were counted.

        Values that are one category, such as 0E0 and 0E8, which are the same number, are two.
        """
        for distinct in self._distinct.values():
            distinct.merge()
        found = (bool((distinct.rows > 1).any()) for distinct in self._distinct.values())
        return self._repeated or any(found)

    @property
    def categories(self) -> int:
        """How many categories there are, or at least are where they are too many."""
        counted = self.counted()
        return self.least if counted is None else len(counted.keys)

    def _check(self) -> None:
        """Ends the counting where there is too much already."""
        if self._has_too_much_text():
            self._end(len(self._count().keys))
            return
        size = sum(len(distinct.values) for distinct in self._distinct.values())
        if size > self._looked_at:
            self._looked_at = 2 * size  # since several values may be one category
            categories = len(self._count().keys)
            if categories > self._most:
                self._end(categories)

    def _has_too_much_text(self) -> bool:
        return sum(distinct.text for distinct in self._distinct.values()) > self._most_text

    def _end(self, categories: int) -> None:
        self.is_over, self.least = True, categories
        self._repeated = self.repeats
        self._distinct, self._counted = {}, None

    def _count(self) -> Counted:
        """Returns the categories of all values that are merged."""
        parts = self._distinct.values()
        texts = [spelled(distinct.values, self._missing) for distinct in parts]
        found = pa.concat_arrays([*texts, texts_to_arrow([])])
        rows = np.concatenate([np.zeros(0, np.int64), *(distinct.rows for distinct in parts)])
        # By spelling, which several values may share, such as a number and a text; then by key.
        texts, rows, missing = _by_text(found, rows)
        keys = without_keys(keys_of_texts(texts), self._missing)
        one_each = np.ones(len(texts), np.int64)
        _, spellings, _ = _by_text(keys, one_each)
        names = _first(keys, texts)
        keys, rows, marked = _by_text(keys, rows)
        names = pc.if_else(to_arrow(spellings == 1), names, keys)
        return Counted(keys, names, rows, self._nulls + missing + marked)


class _Distinct:
    """The distinct values of one Arrow type, and how many rows each has."""

    def __init__(self, kind: Any):
        self.values = pa.nulls(0, kind)
        self.rows: _Rows = np.zeros(0, np.int64)
        self.text = 0
        """The bytes of their text, where they are text."""
        self._pending: list[tuple[Any, _Rows]] = []
        self._size = 0

    def add(self, values: Any, rows: _Rows) -> bool:
        """Adds distinct values; says whether they are merged with the others now."""
        self._pending.append((values, rows))
        self._size += len(values)
        is_due = self._size > max(len(self.values), _PENDING)
        if is_due:
            self.merge()
        return is_due

    def merge(self) -> None:
        """Merges all values that were added."""
        if not self._pending:
            return
        values = pa.concat_arrays([self.values, *(each for each, _ in self._pending)])
        rows = np.concatenate([self.rows, *(each for _, each in self._pending)])
        self._pending, self._size = [], 0
        self.values, self.rows, _ = _by_text(values, rows)
        if pa.types.is_string(values.type):
            self.text = int(to_numpy(pc.binary_length(self.values)).sum(dtype=np.int64))


def _by_text(values: Any, rows: _Rows) -> tuple[Any, _Rows, int]:
    """Returns the distinct values, how many rows each has, and how many have none of them."""
    encoded = values.dictionary_encode()
    if encoded.null_count:
        is_valid = encoded.is_valid()
        kept = rows[to_numpy(is_valid)]
        indices, missing = encoded.indices.filter(is_valid), int(rows.sum() - kept.sum())
    else:
        kept, indices, missing = rows, encoded.indices, 0
    found = np.bincount(to_numpy(indices), weights=kept, minlength=len(encoded.dictionary))
    return encoded.dictionary, found.astype(np.int64), missing


def _first(keys: Any, texts: Any) -> Any:
    """Returns the first text of each distinct key, in the order of a dictionary of the keys."""
    is_valid = keys.is_valid()
    encoded = keys.filter(is_valid).dictionary_encode()
    _, first = np.unique(to_numpy(encoded.indices), return_index=True)
    return texts.filter(is_valid).take(to_arrow(first))


def levels_of(counted: Counted) -> tuple[tuple[str, ...], int]:
    """Returns the levels of a column, sorted, and how many categories are merged into none.

    Of more than `MANY_LEVELS` categories those are merged that one row has.

    Example:
        >>> jobs = LevelCounts(Missing([], []))
        >>> jobs.add(pa.chunked_array([["smith", "clerk", "smith"]]))
        >>> levels_of(jobs.counted())
        (('clerk', 'smith'), 0)
    """
    names, merged = counted.names, 0
    if len(names) > MANY_LEVELS:
        is_kept = counted.rows > 1
        names, merged = names.filter(to_arrow(is_kept)), int((~is_kept).sum())
    return tuple(sorted(names.to_pylist())), merged


def are_too_many(categories: int, rows: int) -> bool:
    """Says whether text of many categories has too few rows of each to learn them from.

    Example:
        >>> are_too_many(1001, 10_010), are_too_many(1001, 10_009), are_too_many(1000, 1000)
        (False, True, False)
    """
    return categories > MANY_LEVELS and ROWS_PER_LEVEL * categories > rows
