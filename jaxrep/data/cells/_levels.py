"""The levels of a category, found by the keys of cells."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow.compute as pc

from .._arrow import indices_to_numpy, texts_to_arrow, to_arrow, to_numpy
from ._keys import PLAIN, keys_of_texts
from ._missing import Numbers


class Levels:
    """The levels of a category, found by the keys of cells.

    Args:
        levels: as they are spelled.

    Example:
        >>> zips = Levels(["01067", "10115"])
        >>> zips.codes(texts_to_arrow(["10115", "10115.5", "1067", "20095"]))
        array([ 1., -1.,  0., -1.])
    """

    def __init__(self, levels: Sequence[str]):
        self._texts = texts_to_arrow(levels)
        encoded = keys_of_texts(self._texts).dictionary_encode()
        self._keys = encoded.dictionary
        # Of levels with one key the last counts. The code behind all is that of no level.
        self._codes = np.full(len(self._keys) + 1, -1.0)
        self._codes[to_numpy(encoded.indices)] = np.arange(len(levels))

    def codes(self, keys: Any) -> Numbers:
        """Returns the code of each key, −1 if no level has it, NaN if it is null.

        Args:
            keys: a pyarrow Array of strings.
        """
        codes: Numbers = self._codes[indices_to_numpy(pc.index_in(keys, value_set=self._keys))]
        if keys.null_count:
            codes[to_numpy(keys.is_null())] = np.nan
        unknown = np.flatnonzero(codes == -1)
        if len(unknown) and self._by_value:
            others = keys.take(to_arrow(unknown))
            is_number = pc.match_substring_regex(others, PLAIN)
            for row, text in zip(
                unknown[to_numpy(is_number)], others.filter(is_number).to_pylist(), strict=True
            ):
                codes[row] = self._by_value.get(_exact_value(text), -1)
        return codes

    @cached_property
    def _by_value(self) -> dict[Decimal | None, int]:
        """The codes of levels that are numbers, by their values."""
        is_number = pc.match_substring_regex(self._texts, PLAIN)
        texts = self._texts.filter(is_number).to_pylist()
        found: dict[Decimal | None, int] = {}
        for code, text in zip(np.flatnonzero(to_numpy(is_number)).tolist(), texts, strict=True):
            value = _exact_value(text)
            # Levels of equal value cannot be distinguished by it.
            found[value] = -1 if value in found else code
        found[None] = -1
        return found if len(found) > 1 else {}


def _exact_value(text: str) -> Decimal | None:
    """Returns the value of a number as it is written: long ones are not rounded to each other."""
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of nineteen digits
        return None
