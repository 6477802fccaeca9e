"""Statistics of a column's cells, block by block, from which its kind is inferred."""

import itertools
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .._arrow import all_match, as_array, texts_to_arrow, to_float64, to_numpy
from .._types import (
    decoded,
    is_bytes_type,
    is_datetime_type,
    is_duration_type,
    is_number_type,
)
from ..cells import (
    PLAIN,
    Missing,
    Numbers,
    _times,
    number_pattern,
    trimmed,
    typed_numbers,
    unmarked,
    without_marks,
)
from ._codes import has_codes
from ._levels import LevelCounts
from ._statistics import IdCheck, Moments

NUMBER_FORMATS = (
    *((".", ","), (",", ""), (",", "."), (".", " "), (",", " "), (".", "'"), (",", "'")),
)
"""Decimal mark and thousands separator, in the order in which they are tried."""

_DIGITS = r"\d[\d., '\x{00a0}]*"
QUANTITY = (
    rf"^[+\-−]?[$€£¥] ?[+\-−]?{_DIGITS}$|^\([$€£¥]?{_DIGITS}\)$|^−{_DIGITS}$"
    rf"|^[+\-−]?{_DIGITS} ?[%‰°$€£¥]$|^[+\-−]?{_DIGITS} (?:[A-Za-zµ]|°){{1,3}}[²³]?$"
)
"""A number with a unit or a sign of its own: 12%, $1,234.50, 3,50 €, (1,234), 70 kg."""

_LARGEST_EXACT = 2.0**53
_GROUPED = r"^[+-]?[0-9]{1,3}(?:\.[0-9]{3})*$"
_COMPARED = 10_000  # first texts of a column that those of later blocks are compared with
_MOST_LEVELS, _MOST_TEXT = 1 << 17, 1 << 23  # counted of every column, before its kind is known


class NumberStatistics:
    """Of numbers: their moments, and what distinguishes counts, booleans and ids."""

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
    """Of cells of text: what all of them can be read as, and how many are distinct."""

    def __init__(self, missing: Missing, *, decimal_commas: bool = False) -> None:
        self._missing = missing
        self.present = self.missing = self.characters = self.numbers = 0
        self.are_booleans = True
        self.number_formats = list(NUMBER_FORMATS)
        if decimal_commas:
            self.number_formats.sort(key=lambda marks: marks[0] != ",")
        self.date_patterns = {_times.ISO, *(pattern for pattern, _ in _times.FORMATS)}
        """What all are written like, be there such dates or not."""
        self.are_quantities = True
        """Whether all are numbers with a unit or a sign such as % or $ before or after them."""
        self.date_formats: list[str | None] = [None, *(name for _, name in _times.FORMATS)]
        self.are_durations = True
        self.have_zones = self.lack_zones = self.have_times = False
        self.levels = LevelCounts(missing, most=_MOST_LEVELS, most_text=_MOST_TEXT)
        """The categories that they would be."""
        self._are_different = True
        self._first = texts_to_arrow([])
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
        self._add_numbers(texts, counts, cells, rows)
        self._add_kinds(texts)
        self._compare(texts, count)
        self.levels.add_counted(texts, counts)

    @property
    def are_different(self) -> bool:
        """Whether no text repeats, as far as it was compared.

        Each is compared with all that were counted, with its block, and with the first ones.
        """
        return self._are_different and not self.levels.repeats

    def _compare(self, texts: Any, count: int) -> None:
        if not self._are_different:
            return
        repeats = pc.any(pc.is_in(texts, value_set=self._first)).as_py()
        if repeats or len(texts) < count:
            self._are_different = False
        elif len(self._first) < _COMPARED:
            more = texts.slice(0, _COMPARED - len(self._first))
            self._first = pa.concat_arrays([self._first, more])

    def _add_numbers(
        self, texts: Any, counts: Any, cells: Any, rows: npt.NDArray[np.int64]
    ) -> None:
        is_number = to_numpy(pc.match_substring_regex(texts, PLAIN))
        self.numbers += int(counts[is_number].sum())
        others = (texts[int(i)] for i in np.flatnonzero(~is_number))
        known = {text for _, text in self.others}
        for text in itertools.islice(others, 4):  # of Arrow's: Python's would import pandas
            if text.as_py() not in known and len(self.others) < 3:
                self.others.append((int(rows[pc.index(cells, text).as_py()]), text.as_py()))

    def _add_kinds(self, texts: Any) -> None:
        if self.number_formats:
            self.number_formats = [f for f in self.number_formats if _are_numbers(texts, *f)]
        texts = without_marks(texts, self._missing).drop_null()
        self.are_booleans = self.are_booleans and all_match(texts, r"(?i)^(?:true|false)$")
        self.date_patterns = {p for p in self.date_patterns if all_match(texts, p)}
        if self.date_formats:
            self._add_dates(texts)
        if self.are_durations and all_match(texts, _times.DURATION):
            self.are_durations = not np.isnan(_times.durations_of_text(texts)).any()
        else:
            self.are_durations = False
        self.are_quantities = self.are_quantities and all_match(texts, QUANTITY)

    def _add_dates(self, texts: Any) -> None:
        patterns = {name: pattern for pattern, name in _times.FORMATS} | {None: _times.ISO}
        kept = []
        for name in self.date_formats:
            if not all_match(texts, patterns[name]):
                continue
            seconds, zoned = _times.dates_of_text(texts, name)
            if np.isnan(seconds).any():
                continue
            kept.append(name)
            self.have_zones |= bool(zoned.any())
            self.lack_zones |= not zoned.all()
            self.have_times |= bool((seconds % 86_400 != 0).any()) or bool(zoned.any())
        self.date_formats = kept


class Profile:
    """Statistics of one column.

    Args:
        missing: which cells mean "missing".
        as_text: whether its text is known to be no plain numbers.
        decimal_commas: whether a comma in a number of text rather is a decimal mark.
    """

    def __init__(self, missing: Missing, *, as_text: bool = False, decimal_commas: bool = False):
        self._missing, self._decimal_commas = missing, decimal_commas
        self.rows = 0
        self.stored: Any = None
        """The type that the cells come in."""
        self.numbers: NumberStatistics | None = NumberStatistics()
        """Of their numbers, or times as seconds; None where text is something else."""
        self.texts: TextStatistics | None = None
        """Of their text, unless all of it is plain numbers."""
        if as_text:
            self.numbers = None
            self.texts = TextStatistics(missing, decimal_commas=decimal_commas)
        self.have_points = False
        """Whether a number of text is written with a decimal point or an exponent, or is a whole
        one beyond 64 bits."""
        self.are_grouped = decimal_commas
        """Whether points in them may stand between thousands: they come where commas are decimal
        marks, and three digits follow each."""
        self.are_digits = True
        """Whether all numbers of text are written with digits alone."""
        self.is_unreadable = False
        """Whether a block holds bytes that are no text."""
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
        if self.is_unreadable:
            return
        if is_bytes_type(cells.type):
            self.stored, self.is_unreadable = cells.type, True
            return
        if pa.types.is_null(cells.type) and self.texts is not None:
            cells = cells.cast(pa.string())
        if self.stored is None or pa.types.is_null(self.stored):
            self.stored = cells.type
        if cells.type == pa.string():
            self._add_text(cells, rows)
        elif self.numbers is not None:
            self._add_typed(cells)
        self.rows += len(cells)

    def _add_text(self, cells: Any, rows: npt.NDArray[np.int64]) -> None:
        # A default marker that is a number matches as it is written, which the cast would lose.
        if self.texts is None and not self._missing.has_number_texts and self._add_plain(cells):
            return
        cells = trimmed(cells, self._missing)
        if self.texts is None and self._add_plain(cells):
            return
        if self.texts is None:
            self.is_incomplete = self.rows > 0
            self.texts = TextStatistics(self._missing, decimal_commas=self._decimal_commas)
            self.numbers = None
        self.texts.add(cells, rows)

    def _add_plain(self, cells: Any) -> bool:
        """Adds text if all of it is numbers, and says whether it is."""
        assert self.numbers is not None
        integers = None if self.have_points else _integers(cells)
        try:
            numbers = cells if integers is None else integers
            values = as_array(to_float64(numbers))
        except pa.ArrowInvalid:
            return False
        if np.isinf(values).any() or int(np.isnan(values).sum()) > cells.null_count:
            return False
        if has_codes(cells):
            return False
        if integers is None:
            self.have_points = True
            self.are_grouped = self.are_grouped and all_match(cells, _GROUPED)
            self.are_digits = self.are_digits and not _any_match(cells, "[.eE]")
        is_whole = integers is not None and not cells.null_count
        values = unmarked(values, self._missing)
        self.numbers.add(values, to_numpy(integers) if is_whole else None)
        return True

    def _add_typed(self, cells: Any) -> None:
        assert self.numbers is not None
        kind, integers = cells.type, None
        if pa.types.is_null(kind):
            values = np.full(len(cells), np.nan)
        elif is_datetime_type(kind) or is_duration_type(kind):
            values = _times.of_arrow(cells)
        elif is_number_type(kind) or pa.types.is_boolean(kind):
            if pa.types.is_integer(kind) and self.numbers.ids.is_possible and not cells.null_count:
                whole = _integers(cells)
                integers = None if whole is None else to_numpy(whole)
            values = typed_numbers(cells, self._missing)
            values = np.where(np.isinf(values), np.nan, values)  # refused where they are used
        else:
            self.numbers = None
            return
        self.numbers.add(values, integers)


def _integers(cells: Any) -> Any:
    """Returns cells as 64-bit integers; None where one is none, or beyond them."""
    try:
        return cells.cast(pa.int64())
    except pa.ArrowInvalid:
        return None


def _are_numbers(texts: Any, decimal: str, thousands: str) -> bool:
    if not all_match(texts, number_pattern(decimal, thousands)) or has_codes(texts):
        return False
    # Nobody writes 125 as 0,125: there the comma is a decimal mark.
    return not thousands or not _any_match(texts, rf"^[+-]?0+{re.escape(thousands)}")


def _any_match(texts: Any, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(texts, pattern), min_count=0).as_py())
