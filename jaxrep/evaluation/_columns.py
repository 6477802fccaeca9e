"""Reconstruction error column by column: in nats, and as a table's readers see it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jaxrep.batch import Batch
from jaxrep.data.schema import NumericColumn, Robust, Schema, Standard
from jaxrep.data.transform import to_values

Rows = npt.NDArray[np.floating[Any]]
Errors = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ColumnErrors:
    """How well the observed cells of a table's columns were reconstructed."""

    names: tuple[str, ...]
    """The columns, in the table's order."""

    kinds: tuple[str, ...]
    """`numeric` or `categorical`, of each."""

    nats: Errors
    """The mean of the network's terms, −log p, over a column's cells."""

    own: Errors
    """Numeric columns: the root mean squared error in the column's own units. Categorical ones: the
    share of cells whose level is not the reconstruction's. NaN of a column without cells."""


def column_errors(schema: Schema, x: Batch, x_hat: Batch, terms: Rows) -> ColumnErrors:
    """Compares rows with their reconstruction, column by column; missing cells do not count.

    Args:
        schema: what `fit` returned.
        x: N rows.
        x_hat: their reconstructions.
        terms: of the output `score_by_column`, `[N, D + C]`: numbers first, then codes.

    Example:
        >>> from jaxrep.data.schema import Number
        >>> people = Schema((Number("age", mean=40.0, scale=10.0, fill=None),))
        >>> x, x_hat = Batch(np.zeros((2, 1))), Batch(np.array([[0.3], [-0.3]]))
        >>> errors = column_errors(people, x, x_hat, np.array([[0.09], [0.09]]))
        >>> errors.nats.round(6).tolist(), errors.own.round(6).tolist()
        ([0.09], [3.0])
    """
    names = tuple(column.name for column in schema.columns)
    kinds = tuple(
        "numeric" if isinstance(column, NumericColumn) else "categorical"
        for column in schema.columns
    )
    found = in_table_order(schema, terms).astype(np.float64)
    counts = observed(schema, x).sum(axis=0)
    nats = np.full(len(names), np.nan)
    np.divide(found.sum(axis=0), counts, out=nats, where=counts > 0)  # a missing cell's term is 0
    return ColumnErrors(names, kinds, nats, own_errors(schema, x, x_hat))


def own_errors(schema: Schema, x: Batch, x_hat: Batch) -> Errors:
    """Returns the errors of rows in their columns' own units, as `ColumnErrors.own`.

    Args:
        schema: what `fit` returned.
        x: N rows.
        x_hat: what is given in their place, without missing cells.
    """
    before, after = to_values(schema, x), to_values(schema, x_hat)
    places = dict(zip(schema.column_order, range(len(schema.columns)), strict=True))
    errors = np.full(len(schema.columns), np.nan)
    for i, column in enumerate(schema.columns):
        there = ~np.isnan(before[:, i])
        if not there.any():
            continue
        if isinstance(column, NumericColumn):
            difference, unit = after[there, i] - before[there, i], 1.0
            if isinstance(column.scaling, Standard | Robust):
                # Of scaled values, so that the digits of large ones do not cancel.
                scaled, restored = (rows.numbers[there, places[i]] for rows in (x, x_hat))
                difference, unit = np.asarray(restored, np.float64) - scaled, column.scale
            with np.errstate(over="ignore"):
                errors[i] = np.sqrt(np.mean(np.square(difference))) * unit
        else:
            errors[i] = np.mean(before[there, i] != after[there, i])
    return errors


def observed(schema: Schema, x: Batch) -> npt.NDArray[np.bool_]:
    """Returns which cells of rows are not missing, `[N, columns]` in the table's order.

    Example:
        >>> from jaxrep.data.schema import CategoricalColumn, Number
        >>> age, sex = Number("age", 40.0, 10.0, None), CategoricalColumn("sex", ("f",), True)
        >>> x = Batch(np.array([[0.5], [np.nan]]), np.array([[-1], [0]], np.int32))
        >>> observed(Schema((sex, age)), x).tolist()
        [[False, True], [True, False]]
    """
    parts: list[Any] = [~np.isnan(x.numbers)]
    if x.codes is not None:
        parts.append(np.asarray(x.codes) >= 0)
    found: npt.NDArray[np.bool_] = in_table_order(schema, np.concatenate(parts, axis=1))
    return found


def in_table_order(schema: Schema, by_column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns what there is of each number and then each code, `[N, D + C]`, in the table's order.

    Example:
        >>> from jaxrep.data.schema import CategoricalColumn, Number
        >>> age, sex = Number("age", 40.0, 10.0, None), CategoricalColumn("sex", ("f",), False)
        >>> in_table_order(Schema((sex, age)), np.array([[1.0, 2.0]]))
        array([[2., 1.]])
    """
    return by_column[:, np.argsort(schema.column_order)]
