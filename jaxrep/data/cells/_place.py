"""Where cells come from, for messages."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jaxrep.errors import InputError

from .._messages import cell


@dataclass(frozen=True)
class Place:
    """Where cells come from, for messages."""

    source: str
    before: int = 0
    """The number of rows of the source before them."""

    rows: npt.NDArray[np.int64] | None = None
    """The index of each row in the source, if they are not consecutive."""

    def fault(self, column: str, row: int, what: str, advice: str) -> InputError:
        """Returns the error for a cell; `row` counts from 0 among these cells."""
        row = self.before + row if self.rows is None else int(self.rows[row])
        return InputError(f"{cell(self.source, column, row)}: {what}; {advice}")
