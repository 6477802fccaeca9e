"""Exact order statistics of values that come in blocks, in memory that the rows do not grow."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

_Values = npt.NDArray[np.float64]
_Integers = npt.NDArray[np.int64]
_SIGN = np.uint64(1 << 63)


class Ranks:
    """The values of given ranks, and their ties, among values that are shown several times.

    The bits of a float64, its sign turned, order as the numbers do. Each showing counts one digit
    of them among the values that share the digits found so far, and so finds the next. It also
    collects the distinct values among these, which ends the search once they are few.

    Args:
        ranks_of: returns the ranks, from 0 and ascending, for the number of values.
        bits: of the first digit. A showing counts up to 2ᵇⁱᵗˢ digits and distinct values, or two
            digits for each rank where that is more.

    Attributes:
        found: whether enough has been shown.
        count: the number of values.
        values: the value of each rank.
        below: for each rank how many values are less than its own.
        equal: for each rank how many values equal its own.
        distinct: all distinct values, ascending, and how often each occurs; None if there are more
            than 2ᵇⁱᵗˢ.

    Example:
        >>> ranks = Ranks(lambda count: np.array([0, count // 2]), 16)
        >>> while not ranks.found:
        ...     ranks.add(np.array([7.0, -1.0, 2.5, 2.5]))
        ...     ranks.end_showing()
        >>> ranks.values.tolist(), ranks.below.tolist(), ranks.equal.tolist()
        ([-1.0, 2.5], [0, 1], [1, 2])
    """

    def __init__(self, ranks_of: Callable[[int], _Integers], bits: int):
        self._ranks_of, self._bits = ranks_of, bits
        self.found = False
        self.count = 0
        self.values: _Values = np.zeros(0)
        self.below = self.equal = np.zeros(0, np.int64)
        self.distinct: tuple[_Values, _Integers] | None = None
        self._is_first = True
        self._ranks = np.zeros(0, np.int64)
        self._prefixes = np.zeros(1, np.uint64)  # digits found, ascending
        self._owners = np.zeros(0, np.int64)  # of each rank the index of its prefix
        self._rests = np.zeros(0, np.int64)  # and its rank among the values of that
        self._shift = 64
        self._begin_showing()

    def _begin_showing(self) -> None:
        many = (len(self._prefixes) - 1).bit_length()
        self._digit = min(max(self._bits - many, 1), self._shift)
        self._shift -= self._digit
        self._counts = np.zeros(len(self._prefixes) << self._digit, np.int64)
        self._keys: npt.NDArray[np.uint64] | None = np.zeros(0, np.uint64)
        self._times = np.zeros(0, np.int64)

    def add(self, values: _Values) -> None:
        """Adds a block of finite values to the showing."""
        keys = _keys_of(values)
        places = np.zeros(len(keys), np.int64)
        if not self._is_first:
            heads = keys >> np.uint64(self._shift + self._digit)
            places = np.searchsorted(self._prefixes, heads).clip(max=len(self._prefixes) - 1)
            is_here = self._prefixes[places] == heads
            keys, places = keys[is_here], places[is_here]
        digits = keys >> np.uint64(self._shift) & np.uint64((1 << self._digit) - 1)
        cells = places << self._digit | digits.astype(np.int64)
        self._counts += np.bincount(cells, minlength=len(self._counts))
        if self._keys is not None:
            self._collect(keys)

    def _collect(self, keys: npt.NDArray[np.uint64]) -> None:
        """Adds to the distinct values, or gives them up once they are too many."""
        assert self._keys is not None
        new, times = np.unique(keys, return_counts=True)
        both, places = np.unique(np.concatenate([self._keys, new]), return_inverse=True)
        if len(both) > 1 << self._bits:
            self._keys = None
            return
        summed = np.zeros(len(both), np.int64)
        np.add.at(summed, places, np.concatenate([self._times, times]))
        self._keys, self._times = both, summed

    def end_showing(self) -> None:
        """Finds the next digit, once all values have been shown."""
        if self._is_first:
            self.count = int(self._counts.sum())
            self._ranks = self._ranks_of(self.count)
            self._rests, self._owners = self._ranks.copy(), np.zeros_like(self._ranks)
            if self._keys is not None:
                self.distinct = _values_of(self._keys), self._times
        if self._keys is not None:
            digits = self._shift + self._digit
            first = self._prefixes << np.uint64(digits) if digits < 64 else self._prefixes
            starts = np.searchsorted(self._keys, first)
            places = self._advance(self._times, starts)
            self._finish(self._keys[places], self._times[places])
            return
        starts = np.arange(len(self._prefixes)) << self._digit
        places = self._advance(self._counts, starts)
        digits_found = (places - starts[self._owners]).astype(np.uint64)
        heads = self._prefixes[self._owners] << np.uint64(self._digit) | digits_found
        if not self._shift:
            self._finish(heads, self._counts[places])
            return
        self._prefixes, self._owners = np.unique(heads, return_inverse=True)
        self._is_first = False
        self._begin_showing()

    def _advance(self, counts: _Integers, starts: _Integers) -> _Integers:
        """Returns the cell of each rank, and leaves of the ranks what they are within the cells."""
        cumulated = np.concatenate([[0], np.cumsum(counts)])
        before = cumulated[starts][self._owners]
        places = np.searchsorted(cumulated, before + self._rests, side="right") - 1
        self._rests -= cumulated[places] - before
        return places

    def _finish(self, keys: npt.NDArray[np.uint64], equal: _Integers) -> None:
        self.values, self.equal = _values_of(keys), equal
        self.below = self._ranks - self._rests
        self.found = True
        self._keys, self._counts = None, np.zeros(0, np.int64)


class Median(Ranks):
    """The exact median: of an even number of values the mean of both in the middle.

    Args:
        bits: as of `Ranks`.

    Example:
        >>> median = Median(16)
        >>> while not median.found:
        ...     median.add(np.array([7.0, -1.0, 2.5, 3.5]))
        ...     median.end_showing()
        >>> median.value
        3.0
    """

    def __init__(self, bits: int):
        super().__init__(lambda count: np.array([(count - 1) // 2, count // 2]), bits)

    @property
    def value(self) -> float:
        """The median, once it is found."""
        return float(np.mean(self.values))


def _keys_of(values: _Values) -> npt.NDArray[np.uint64]:
    """Returns integers that order as the values do."""
    bits = (values + 0.0).view(np.uint64)  # −0 is 0
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _values_of(keys: npt.NDArray[np.uint64]) -> _Values:
    return np.where(keys & _SIGN, keys ^ _SIGN, ~keys).view(np.float64)
