"""A label column of numbers."""

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from jaxrep.errors import InputError

from ..fit._statistics import moments
from ..schema import Finite, Scale, Text
from ._labels import (
    count_labelled,
    finite_numbers,
    number_column,
    place,
    present_labels,
)
from ._plain_data import from_json, to_json


class Numbers(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="numbers"
):
    """A column of numbers y, standardised as (y − mean) / scale.

    Attributes:
        name: the column's name.
        mean: the mean of the training rows, in the column's units.
        scale: their population standard deviation.

    Example:
        >>> price = Numbers("price", mean=100.0, scale=20.0)
        >>> price.encode(np.array([80, 110])), price.decode(np.array([0.5]))
        (array([-1. ,  0.5], dtype=float32), array([110.]))
    """

    name: Text
    mean: Finite
    scale: Scale

    def encode(self, values: Any, *, source: str = "values") -> npt.NDArray[np.float32]:
        """Returns the standardised number of each row, `[N]`.

        Args:
            values: an Arrow column or an array, `[N]`, none missing.
            source: where they come from, for messages.

        Raises:
            InputError: a value is missing, infinite, no number, or too far from the mean.
        """
        column = number_column(values, self.name, source)
        numbers = finite_numbers(present_labels(column, self.name, source), self.name, source)
        exponent, mean, scale = self._in_units()
        standardised: npt.NDArray[np.float32]
        with np.errstate(over="ignore", invalid="ignore"):
            standardised = ((np.ldexp(numbers, -exponent) - mean) / scale).astype(np.float32)
        if (bad := ~np.isfinite(standardised)).any():
            row = int(np.flatnonzero(bad)[0])
            raise InputError(
                f"{place(source, self.name)}: {numbers[row]:g} (row {row}, from 0) is too far "
                f"from the training rows (mean {self.mean:g}, scale {self.scale:g}) for float32; "
                "correct the cell or leave the row out"
            )
        return standardised

    def decode(self, prediction: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
        """Returns standardised numbers in the column's units, `[N]`."""
        exponent, mean, scale = self._in_units()
        decoded: npt.NDArray[np.float64]
        with np.errstate(over="ignore"):
            decoded = np.ldexp(prediction.astype(np.float64) * scale + mean, exponent)
        return decoded

    def _in_units(self) -> tuple[int, float, float]:
        """Returns an exponent e, and mean and scale in units of 2ᵉ, in which no sum overflows."""
        exponent = int(np.frexp(self.scale)[1])
        with np.errstate(over="ignore"):  # where the mean is beyond all float32 from zero
            mean, scale = np.ldexp([self.mean, self.scale], -exponent)
        return exponent, float(mean), float(scale)

    def to_json(self) -> dict[str, Any]:
        """Returns plain data that JSON can hold, from which `from_json` rebuilds it."""
        return to_json(self)

    @classmethod
    def from_json(cls, data: Any) -> "Numbers":
        """Returns what `to_json` described, trusting nothing in it.

        Raises:
            ModelFormatError: a key is missing, unknown, or has a value that cannot be.

        Example:
            >>> Numbers.from_json({"kind": "numbers", "name": "y", "mean": 0.0})
            Traceback (most recent call last):
            ...
            jaxrep.errors.ModelFormatError: target: Object missing required field `scale`
        """
        return from_json(data, cls)


def fit_numbers(values: Any, name: str, source: str, *, skip_missing: bool = False) -> Numbers:
    """Learns mean and scale of a column of numbers, in two passes, safe from overflow.

    Booleans count as 0 and 1, dates as seconds; text must be numbers.

    Args:
        values: an Arrow column or an array, `[N]`.
        name: the column's name.
        source: where it comes from, for messages.
        skip_missing: leave rows without a number out; otherwise they are refused.

    Raises:
        InputError: values are missing, infinite, no numbers or all equal, or there are fewer
            than 2.

    Example:
        >>> fit_numbers(np.array([2.0, 4.0]), "price", "example")
        Numbers(name='price', mean=3.0, scale=1.0)
    """
    column = number_column(values, name, source)
    rows = count_labelled(column, name, source, skip_missing=skip_missing)
    numbers = finite_numbers(column, name, source)
    numbers = numbers[~np.isnan(numbers)]
    exponent, mean, _, variance = moments(numbers)
    deviation = np.sqrt(max(variance, 0.0))
    scale = float(np.ldexp(deviation, exponent))
    # Numbers that differ by rounding alone are equal.
    if deviation <= 10 * np.finfo(np.float64).eps * abs(mean) or scale == 0:
        raise InputError(
            f"{place(source, name)}: {numbers[0]:g} in all {rows} rows; there is nothing to "
            "predict: choose another label, or a table with other rows too"
        )
    return Numbers(name, float(np.ldexp(mean, exponent)), scale)
