"""A prepared table without the rows that are held out of it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jaxrep.batch import Batch, RowSpec, empty, take

from ._parts import arrays_of
from .row_file import PreparedRows

_BYTES_AT_ONCE = 8 << 20


@dataclass(frozen=True)
class RowsWithout:
    """The rows of a prepared table that are not held out, numbered from 0 without gaps.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from jaxrep.data.columns import Columns
        >>> from jaxrep.data.store.preparation import prepare
        >>> folder = Path(tempfile.mkdtemp()) / "wine"
        >>> wine = prepare("wine", folder, columns=Columns(label="target"))
        >>> rest = RowsWithout(wine, np.array([0, 2]))
        >>> first = empty(rest.spec, 1)
        >>> rest.read_into(1, first)  # row 3 of the table
        >>> rest.rows, bool((first.numbers == read_rows(wine, np.array([3])).numbers).all())
        (176, True)
    """

    store: PreparedRows
    """The table."""

    held_out: npt.NDArray[np.int64]
    """Numbers of the rows held out, sorted, each once."""

    @property
    def rows(self) -> int:
        """Rows that are left."""
        return self.store.rows - len(self.held_out)

    @property
    def spec(self) -> RowSpec:
        """What every row holds."""
        return self.store.spec

    def read_into(self, start: int, buffer: Batch) -> None:
        """Fills a buffer of n rows with rows `start`, `start` + 1, …."""
        at_once = max(_BYTES_AT_ONCE // (4 * self.spec.columns), 1)
        count = len(buffer.numbers)
        for i in range(0, count, at_once):
            piece = take(buffer, slice(i, i + at_once))
            first, last = self._numbers(np.array([i, min(i + at_once, count) - 1]) + start)
            block = empty(self.spec, int(last - first) + 1)
            self.store.read_into(int(first), block)
            low, high = np.searchsorted(self.held_out, [first, last])
            left = self.held_out[low:high] - first
            for filled, rows in zip(arrays_of(piece), arrays_of(block), strict=True):
                filled[:] = np.delete(rows, left, axis=0)

    def sample(self, count: int) -> Batch:
        """Returns at most `count` rows, those of an even spacing that are not held out."""
        sampled = self.store.sample(count)
        step = -(-self.store.rows // count)
        kept = ~np.isin(np.arange(len(sampled.numbers)) * step, self.held_out)
        return take(sampled, kept) if kept.any() else sampled

    def _numbers(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Returns the numbers that rows have in the table."""
        gaps = self.held_out - np.arange(len(self.held_out))
        return rows + np.searchsorted(gaps, rows, side="right")


def read_rows(store: PreparedRows, rows: npt.NDArray[np.int64]) -> Batch:
    """Returns n rows of a prepared table by their numbers."""
    made = empty(store.spec, len(rows))
    for i, row in enumerate(rows):
        store.read_into(int(row), take(made, slice(i, i + 1)))
    return made
