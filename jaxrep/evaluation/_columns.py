"""Reconstruction error column by column, in standardised units and in the table's own."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jaxrep.data.schema import NumericColumn, Robust, Schema, Standard
from jaxrep.data.transform import to_values

Rows = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class ColumnErrors:
    """How well the rows of a table's columns were reconstructed."""

    names: tuple[str, ...]
    """The columns."""

    kinds: tuple[str, ...]
    """`numeric` or `categorical`, of each."""

    standardised: npt.NDArray[np.float64]
    """Root mean squared error over rows and a column's features, in standardised units."""

    own: npt.NDArray[np.float64]
    """Numeric columns: the same in the column's own units. Categorical ones: the share of rows
    whose category is not the reconstruction's most likely one."""


def column_errors(schema: Schema, x: Rows, x_hat: Rows) -> ColumnErrors:
    """Compares features with their reconstruction, column by column.

    Args:
        schema: which features belong to which column.
        x: features, `[N, D]`.
        x_hat: their reconstructions, `[N, D]`.

    Example:
        >>> from jaxrep.data.schema import Number
        >>> people = Schema((Number("age", mean=40.0, scale=10.0, fill=None),))
        >>> errors = column_errors(people, np.zeros((2, 1)), np.array([[0.3], [-0.3]]))
        >>> errors.standardised.round(6).tolist(), errors.own.round(6).tolist()
        ([0.3], [3.0])
    """
    squares = (x_hat.astype(np.float64) - x) ** 2
    before, after = to_values(schema, x), to_values(schema, x_hat)
    standardised, own, kinds = [], [], []
    start = 0
    for i, column in enumerate(schema.columns):
        error = float(np.sqrt(squares[:, start : start + column.width].mean()))
        start += column.width
        standardised.append(error)
        if isinstance(column, NumericColumn):
            own.append(_in_own_units(column, error, after[:, i] - before[:, i]))
        else:
            ours, theirs = np.nan_to_num(before[:, i], nan=-1), np.nan_to_num(after[:, i], nan=-1)
            own.append(float(np.mean(ours != theirs)))
        kinds.append("numeric" if isinstance(column, NumericColumn) else "categorical")
    names = tuple(column.name for column in schema.columns)
    return ColumnErrors(names, tuple(kinds), np.array(standardised), np.array(own))


def _in_own_units(column: NumericColumn, error: float, differences: Any) -> float:
    """Returns the root mean squared error of a column in its own units."""
    if isinstance(column.scaling, Standard | Robust):
        return error * column.scale  # the digits of large values do not cancel
    with np.errstate(over="ignore"):
        return float(np.sqrt(np.mean(np.square(differences))))
