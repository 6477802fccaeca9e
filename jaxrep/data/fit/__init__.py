"""Fits a schema to a table of any length, block by block.

The first pass infers what the columns are, and computes mean and scale of plain numbers. Further
passes are made only for the columns that need them: text whose first block was all numbers and a
later one was not, dates and numbers in other formats, medians and most frequent levels that fill
gaps where that is asked for. Blocks have one length whatever the source, so that the same table
gives the same bits.
"""

import numpy as np
import numpy.typing as npt

from ..columns import Columns
from ._fitted import Fitted as Fitted
from ._passes import Fitting, Read


def fit(
    read: Read,
    *,
    source: str,
    columns: Columns = Columns(),  # noqa: B008  # it is frozen
    mask: npt.NDArray[np.bool_] | None = None,
) -> Fitted:
    """Infers what a table's columns are, and how to turn its rows into numbers and codes.

    Mean and population standard deviation are computed in float64 in two passes, so that values
    such as 1.7e9 ± 100 keep their digits. Missing cells do not count, or as the median that fills
    them.

    Args:
        read: returns the blocks of the table, from the start at every call.
        source: where the table comes from, for messages.
        columns: the kinds and roles that the user set.
        mask: which rows to learn from, `[N]`; None for all.

    Raises:
        InputError: a column named is not there or has two roles, no column is left to learn from,
            there are fewer than 2 rows, or a cell is not what its column is.

    Example:
        >>> import pyarrow as pa
        >>> table = pa.table({"age": [30, 50, 40], "sex": ["f", "m", "f"]})
        >>> people = fit(lambda: [table], source="example").schema
        >>> people.columns[0].mean, people.columns[1].levels
        (40.0, ('f', 'm'))
    """
    fitting = Fitting(read, source, columns, mask)
    fitting.see()
    return fitting.fitted()
