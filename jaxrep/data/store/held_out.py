"""A prepared table without the rows that are held out of it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
        >>> first = np.empty((1, rest.width), np.float32)
        >>> rest.read_into(1, first)  # row 3 of the table
        >>> rest.rows, bool((first == read_rows(wine, np.array([3]))).all())
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
    def width(self) -> int:
        """Features of a row."""
        return self.store.width

    def read_into(self, start: int, buffer: npt.NDArray[np.float32]) -> None:
        """Fills a float32 buffer `[n, width]` with rows `start`, `start` + 1, …."""
        at_once = max(_BYTES_AT_ONCE // (4 * self.width), 1)
        for i in range(0, len(buffer), at_once):
            part = buffer[i : i + at_once]
            first, last = self._numbers(np.array([start + i, start + i + len(part) - 1]))
            block = np.empty((last - first + 1, self.width), np.float32)
            self.store.read_into(int(first), block)
            low, high = np.searchsorted(self.held_out, [first, last])
            part[:] = np.delete(block, self.held_out[low:high] - first, axis=0)

    def sample(self, count: int) -> npt.NDArray[np.float32]:
        """Returns at most `count` rows, those of an even spacing that are not held out."""
        sampled = self.store.sample(count)
        step = -(-self.store.rows // count)
        kept = ~np.isin(np.arange(len(sampled)) * step, self.held_out)
        return sampled[kept] if kept.any() else sampled

    def _numbers(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Returns the numbers that rows have in the table."""
        gaps = self.held_out - np.arange(len(self.held_out))
        return rows + np.searchsorted(gaps, rows, side="right")


def read_rows(store: PreparedRows, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Returns rows of a prepared table by their numbers, `[n, width]`."""
    made = np.empty((len(rows), store.width), np.float32)
    for i, row in enumerate(rows):
        store.read_into(int(row), made[i : i + 1])
    return made
