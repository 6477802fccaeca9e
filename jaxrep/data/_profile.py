"""What is seen of a column's cells, block by block, from which its kind is told."""

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from . import _times
from ._arrow import as_array, texts_to_arrow, to_numpy
from ._cells import (
    CODE,
    PLAIN,
    Missing,
    Numbers,
    decoded,
    is_number_type,
    is_span_type,
    is_time_type,
    key_of_text,
    number_pattern,
    trimmed,
)
from ._statistics import IdCheck, Moments

MOST_LEVELS = 1000
"""The most different values that a column of text may have to be categories untold."""

NUMBER_FORMATS = (
    *((".", ","), (",", ""), (",", "."), (".", " "), (",", " "), (".", "'"), (",", "'")),
)
"""Decimal mark and thousands separator, in the order in which they are tried."""

_LARGEST_EXACT = 2.0**53


class NumberStatistics:
    """Of numbers: their moments, and what tells counts, truths and ids from other numbers."""

    def __init__(self) -> None:
        self.moments = Moments()
        self.least, self.greatest = np.inf, -np.inf
        self.missing = 0
        self.are_whole = self.are_binary = True
        self.ids = IdCheck()

    def add(self, values: Numbers, integers: npt.NDArray[np.int64] | None = None) -> None:
        """Adds a block of numbers, NaN where they are missing.

        Args:
            values: the numbers, `[N]`.
            integers: the same, where they come as integers and none is missing.
        """
        is_missing = np.isnan(values)
        count = int(is_missing.sum())
        self.missing += count
        present = values[~is_missing] if count else values
        self.ids.add(None if count else integers)
        if not len(present):
            return
        self.moments.add(present)
        self.least = min(self.least, float(present.min()))
        self.greatest = max(self.greatest, float(present.max()))
        self.are_whole = self.are_whole and bool((present == np.floor(present)).all())
        if self.are_binary:
            self.are_binary = bool(((present == 0) | (present == 1)).all())

    @property
    def are_inexact(self) -> bool:
        """Whether they are whole numbers that float64 does not hold."""
        return self.are_whole and max(abs(self.least), abs(self.greatest)) > _LARGEST_EXACT


class TextStatistics:
    """Of cells of text: what all of them could be read as, and how many are different."""

    def __init__(self, missing: Missing) -> None:
        self._missing = missing
        self.present = self.missing = self.characters = self.numbers = 0
        self.are_truths = True
        self.number_formats = list(NUMBER_FORMATS)
        self.date_formats: list[str | None] = [None, *(name for _, name in _times.FORMATS)]
        self.are_spans = True
        self.have_zones = self.lack_zones = self.have_times = False
        self.spelled: dict[str, set[str]] = {}
        self.are_many = False
        self.are_different = True
        self.others: list[tuple[int, str]] = []
        """Row and text of the first three different cells that are not plain numbers."""

    def add(self, cells: Any, rows: npt.NDArray[np.int64]) -> None:
        """Adds a block of trimmed text.

        Args:
            cells: a ChunkedArray of strings, null where they are missing.
            rows: the row of each in its table.
        """
        self.missing += cells.null_count
        counted = pc.value_counts(cells.drop_null().combine_chunks())
        texts, counts = counted.field(0), to_numpy(counted.field(1))
        count = int(counts.sum()) if len(counts) else 0
        if not count:
            return
        self.present += count
        self.characters += int((to_numpy(pc.utf8_length(texts)) * counts).sum())
        self.are_different &= len(texts) == count
        self._add_numbers(texts, counts, cells, rows)
        self._add_kinds(texts)
        self._add_levels(texts.to_pylist(), counts.tolist())

    def _add_numbers(
        self, texts: Any, counts: Any, cells: Any, rows: npt.NDArray[np.int64]
    ) -> None:
        is_number = to_numpy(pc.match_substring_regex(texts, PLAIN))
        self.numbers += int(counts[is_number].sum())
        strange = (texts[int(i)].as_py() for i in np.flatnonzero(~is_number))
        known = {text for _, text in self.others}
        for text in itertools.islice(strange, 4):
            if text not in known and len(self.others) < 3:
                self.others.append((int(rows[pc.index(cells, text).as_py()]), text))

    def _add_kinds(self, texts: Any) -> None:
        self.are_truths = self.are_truths and _all_match(texts, r"(?i)^(?:true|false)$")
        if self.number_formats:
            self.number_formats = [f for f in self.number_formats if _are_numbers(texts, *f)]
        if self.date_formats:
            self._add_dates(texts)
        self.are_spans = self.are_spans and _all_match(texts, _times.SPAN)

    def _add_dates(self, texts: Any) -> None:
        patterns = {name: pattern for pattern, name in _times.FORMATS} | {None: _times.ISO}
        kept = []
        for name in self.date_formats:
            if not _all_match(texts, patterns[name]):
                continue
            seconds, zoned = _times.dates_of_text(texts, name)
            if np.isnan(seconds).any():
                continue
            kept.append(name)
            self.have_zones |= bool(zoned.any())
            self.lack_zones |= not zoned.all()
            self.have_times |= bool((seconds % 86_400 != 0).any()) or bool(zoned.any())
        self.date_formats = kept

    def _add_levels(self, texts: list[str], counts: list[int]) -> None:
        if self.are_many:
            return
        for text, count in zip(texts, counts, strict=True):
            key = key_of_text(text)
            if self._missing.is_key(key):
                self.missing += count
                continue
            self.spelled.setdefault(key, set()).add(text)
            if len(self.spelled) > MOST_LEVELS:
                self.are_many = True
                return


class Profile:
    """What is seen of one column.

    Args:
        missing: which cells mean "missing".
        as_text: whether its text is known to be no plain numbers.
    """

    def __init__(self, missing: Missing, *, as_text: bool = False):
        self._missing = missing
        self.rows = 0
        self.stored: Any = None
        """The type that the cells come in."""
        self.numbers: NumberStatistics | None = NumberStatistics()
        """Of their numbers, or times as seconds; None where text is something else."""
        self.texts: TextStatistics | None = None
        """Of their text, unless all of it is plain numbers."""
        if as_text:
            self.numbers, self.texts = None, TextStatistics(missing)
        self.have_points = False
        """Whether a number of text is written with a decimal point or an exponent."""
        self.is_incomplete = False
        """Whether text turned out to be no numbers after the first block, so that a second pass
        has to see the first blocks again."""

    def add(self, cells: Any, rows: npt.NDArray[np.int64]) -> None:
        """Adds a block.

        Args:
            cells: a ChunkedArray of any type.
            rows: the row of each in its table.
        """
        cells = decoded(cells)
        if self.stored is None or pa.types.is_null(self.stored):
            self.stored = cells.type
        if cells.type == pa.string():
            self._add_text(trimmed(cells, self._missing), rows)
        elif self.numbers is not None:
            self._add_typed(cells)
        self.rows += len(cells)

    def _add_text(self, cells: Any, rows: npt.NDArray[np.int64]) -> None:
        if self.texts is None and self._add_plain(cells):
            return
        if self.texts is None:
            self.is_incomplete = self.rows > 0
            self.texts, self.numbers = TextStatistics(self._missing), None
        self.texts.add(cells, rows)

    def _add_plain(self, cells: Any) -> bool:
        """Adds text if all of it is numbers, and says whether it is."""
        assert self.numbers is not None
        try:
            values = as_array(cells.cast(pa.float64()))
        except pa.ArrowInvalid:
            return False
        if np.isinf(values).any() or int(np.isnan(values).sum()) > cells.null_count:
            return False
        if _any_match(cells, CODE):
            return False
        have_points = _any_match(cells, r"[.eE]") if not self.have_points else False
        self.have_points |= have_points
        integers = None
        if not self.have_points and not cells.null_count and self.numbers.ids.is_possible:
            integers = _integers(cells)
        self.numbers.add(self._unmarked(values), integers)
        return True

    def _unmarked(self, values: Numbers) -> Numbers:
        if not len(self._missing.values):
            return values
        return np.where(np.isin(values, self._missing.values), np.nan, values)

    def _add_typed(self, cells: Any) -> None:
        assert self.numbers is not None
        kind, integers = cells.type, None
        if pa.types.is_null(kind):
            values = np.full(len(cells), np.nan)
        elif is_time_type(kind) or is_span_type(kind):
            values = _times.of_arrow(cells)
        elif is_number_type(kind) or pa.types.is_boolean(kind):
            if pa.types.is_integer(kind) and self.numbers.ids.is_possible:
                integers = None if cells.null_count else _integers(cells)
            cells = cells.cast(pa.string()) if pa.types.is_decimal(kind) else cells
            values = self._unmarked(as_array(cells.cast(pa.float64(), safe=False)))
            values = np.where(np.isinf(values), np.nan, values)  # refused where they are used
        else:
            self.numbers = None
            return
        self.numbers.add(values, integers)


def _integers(cells: Any) -> npt.NDArray[np.int64] | None:
    """Returns cells as 64-bit integers; None where one is beyond them."""
    try:
        integers: npt.NDArray[np.int64] = to_numpy(cells.cast(pa.int64()))
    except pa.ArrowInvalid:
        return None
    return integers


def _are_numbers(texts: Any, decimal: str, thousands: str) -> bool:
    return _all_match(texts, number_pattern(decimal, thousands)) and not _any_match(texts, CODE)


def _all_match(texts: Any, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(texts, pattern), min_count=0).as_py())


def _any_match(texts: Any, pattern: str) -> bool:
    if pattern == CODE:  # most columns have no such beginning, which is faster to see
        first = pc.is_in(pc.utf8_slice_codeunits(texts, 0, 2), value_set=_BEGINNINGS)
        if not pc.any(first, min_count=0).as_py():
            return False
        texts = texts.filter(first)
    if pattern == r"[.eE]":
        return any(pc.any(pc.match_substring(texts, mark)).as_py() for mark in ".eE")
    return bool(pc.any(pc.match_substring_regex(texts, pattern), min_count=0).as_py())


_BEGINNINGS = texts_to_arrow(
    [*(f"0{digit}" for digit in range(10)), *(f"+{digit}" for digit in range(10)), "-0"]
)
