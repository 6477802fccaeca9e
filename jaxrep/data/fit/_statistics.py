"""What is learnt of a column from blocks of its values, in memory that the rows do not grow."""

from fractions import Fraction

import numpy as np
import numpy.typing as npt

_Values = npt.NDArray[np.float64]


def moments(
    values: npt.NDArray[np.float64],
) -> tuple[int, np.float64, np.float64, np.float64]:
    """Returns mean and population variance, in two passes, safe from overflow.

    Args:
        values: finite, at least one.

    Returns:
        An exponent e; the mean in units of 2ᵉ, as a float64 and what that lacks; the variance in
        units of 4ᵉ.
    """
    exponent = int(np.frexp(np.abs(values).max())[1])
    units = np.ldexp(values, -exponent)  # below 1, and exact, since by a power of two
    mean = units.mean()
    mean += (units - mean).mean()
    residuals = units - mean
    # The mean's own rounding counts where the deviation is as small.
    rest = residuals.mean()
    return exponent, mean, rest, np.square(residuals).mean() - rest**2


class Moments:
    """Mean and standard deviation of values that come in blocks.

    A block's own are computed in two passes, and the blocks' are put together as fractions, which
    round nothing: however many blocks there are, no digit is lost between them.

    Example:
        >>> heights = Moments()
        >>> heights.add(np.array([1.0, 2.0])), heights.add(np.array([3.0, 6.0]))
        (None, None)
        >>> heights.mean, round(heights.deviation**2, 12)
        (3.0, 3.5)
    """

    def __init__(self) -> None:
        self.count = 0
        self._sum = Fraction(0)
        self._squares = Fraction(0)

    def add(self, values: _Values) -> None:
        """Adds a block of finite values; it may be empty."""
        if not len(values):
            return
        exponent, mean, rest, variance = moments(values)
        unit = Fraction(2) ** exponent
        exact = (Fraction(float(mean)) + Fraction(float(rest))) * unit
        self._put(len(values), exact, Fraction(float(variance)) * unit**2)

    def repeat(self, value: float, count: int) -> None:
        """Adds one value many times."""
        self._put(count, Fraction(value), Fraction(0))

    def _put(self, count: int, mean: Fraction, variance: Fraction) -> None:
        self.count += count
        self._sum += count * mean
        self._squares += count * (variance + mean**2)

    @property
    def mean(self) -> float:
        """The mean of all values added, of which there must be one."""
        return float(self._sum / self.count)

    @property
    def deviation(self) -> float:
        """Their population standard deviation."""
        variance = max(self._squares / self.count - (self._sum / self.count) ** 2, Fraction(0))
        # Neither the square of a large number nor that of a small one is a float64.
        exponent = (variance.numerator.bit_length() - variance.denominator.bit_length()) // 2
        units = float(variance / Fraction(4) ** exponent)
        return float(np.ldexp(np.sqrt(units), exponent))


class IdCheck:
    """Whether more than 2 values are integers that count up, or on sorting would.

    The order of integers without gaps is not kept: a sum of their hashes is compared with that of
    the integers from the least to the greatest, which other values reach once in 2⁶⁴.

    Example:
        >>> check = IdCheck()
        >>> check.add(np.array([3, 1])), check.add(np.array([2]))
        (None, None)
        >>> check.found()
        True
    """

    def __init__(self) -> None:
        self.is_possible = True
        """Whether the values so far can be ids."""
        self._increasing = True
        self._count = 0
        self._least, self._greatest, self._last = 0, 0, 0
        self._hash = 0

    def add(self, values: npt.NDArray[np.int64] | None) -> None:
        """Adds a block of values; None where one is missing, or no integer."""
        if values is None:
            self.is_possible = False
        if values is None or not self.is_possible or not len(values):
            return
        least, greatest = int(values.min()), int(values.max())
        follows = not self._count or int(values[0]) > self._last
        self._increasing &= follows and bool((values[1:] > values[:-1]).all())
        self._least = min(self._least, least) if self._count else least
        self._greatest = max(self._greatest, greatest) if self._count else greatest
        self._count += len(values)
        self._last = int(values[-1])
        # Once more values have come than there are integers between them, two are the same.
        self.is_possible = self._increasing or self._greatest - self._least >= self._count - 1
        self._hash += _hash_sum(values)

    def found(self) -> bool:
        """Returns whether the values so far are like an id."""
        if not self.is_possible or self._count <= 2:
            return False
        if self._increasing or self._greatest - self._least != self._count - 1:
            return self._increasing
        expected = 0
        for start in range(0, self._count, 1 << 20):
            stop = min(start + (1 << 20), self._count)
            expected += _hash_sum(self._least + np.arange(start, stop))
        return (self._hash - expected) % 2**64 == 0


def _hash_sum(values: npt.NDArray[np.int64]) -> int:
    """Returns the sum modulo 2⁶⁴ of the values' hashes (splitmix64)."""
    x = values.astype(np.int64).view(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return int((x ^ x >> np.uint64(31)).sum())
