"""Why the rows of a table do not fit a run, in the table's own names, values and units."""

import datetime
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from jaxrep import reasons
from jaxrep.batch import Batch, RowSpec
from jaxrep.data import transform
from jaxrep.errors import InputError
from jaxrep.methods import AnyMethod
from jaxrep.runs.folder import Run
from jaxrep.runs.rows import with_gaps
from jaxrep.training import RowStore
from jaxrep.training.row_store import numbers_of

_MOST_ROWS = 1 << 16  # of a store that are read for statistics


class Reason(NamedTuple):
    """A cell that does not fit the others of its row."""

    row: int
    """Of the table, from 0."""

    column: str
    """Its name."""

    value: Any
    """What stands there; None if nothing does."""

    expected: Any
    """What the other columns let expect, in the column's own units: a number, or the likeliest
    category."""

    probability: float | None
    """That category's probability; None of a number."""

    share: float
    """Of the row's misfit; those of all columns sum to 1."""


def fitted(
    method: AnyMethod, weights: Mapping[str, np.ndarray], x: Batch, rows: RowSpec
) -> dict[str, np.ndarray] | None:
    """Returns what reasons need to know of the training rows; None where there can be none.

    Args:
        method: the trained method.
        weights: of its network, by name.
        x: the training rows as features, NumPy arrays or a store in the place of their numbers.
        rows: what every row holds.
    """
    if not reasons.can_explain(method, rows):
        return None
    store = numbers_of(x)
    some = store.sample(_MOST_ROWS) if isinstance(store, RowStore) else x
    return reasons.fit(method, weights, some, rows)


def statistics_of(run: Run, asking: str) -> dict[str, np.ndarray]:
    """Returns what a run knows of its training rows for reasons.

    Args:
        run: the trained run.
        asking: what needs it, for messages.

    Raises:
        InputError: the run has none, because its network predicts no column from the others, or
            because it was imported.
    """
    if run.reasons is not None:
        return run.reasons
    if reasons.can_explain(run.method, run.rows):
        raise InputError(
            f"{asking}: {run.path} was imported, and an exported file does not say how far cells "
            "lie from what is expected of them; ask the run that it was exported from"
        )
    raise InputError(
        f"{asking}: this {run.method.name} was not trained to predict a column from the others; "
        "train a denoiser, or an autoencoder with --recipe anomalies"
    )


def check_explaining(run: Run, count: int, asking: str) -> None:
    """Raises an InputError if a run gives no reasons, or `count` is not how many there can be."""
    statistics_of(run, asking)
    if count < 1:
        raise InputError(f"{asking} is {count}; it must be at least 1")


def reasons_of(
    run: Run, table: pa.Table, features: Batch, count: int, asking: str, first: int = 0
) -> list[Reason]:
    """Returns the cells of each row that fit the others least, row by row, the largest share first.

    Args:
        run: the trained run.
        table: N rows.
        features: of the same rows.
        count: how many cells of each row; of fewer columns, all.
        asking: what asks for it, for messages.
        first: number of the table's first row.

    Raises:
        InputError: as of `statistics_of`; or `count` is below 1.
    """
    check_explaining(run, count, asking)
    statistics = statistics_of(run, asking)
    rows, schema = run.rows, run.schema
    # What features have imputed is missing to the network, which can tell.
    is_missing = np.isnan(transform.to_raw(schema, table, source="the table"))
    features = with_gaps(features, is_missing[:, list(schema.column_order)])
    found = reasons.explain(
        run.method, run.weights, statistics, features, rows, min(count, rows.columns)
    )
    names = np.array(schema.names, object)[list(schema.column_order)]
    shape = found.columns.shape
    made = [np.full(shape, None, object) for _ in range(3)]
    values, expected, probability = made
    for feature in np.unique(found.columns):
        at = np.nonzero(found.columns == feature)
        values[at] = table[names[feature]].take(pa.array(at[0])).to_pylist()
        expected[at] = _in_units(run, int(feature), found, at)
        if feature >= rows.numbers:
            probability[at] = found.probability[at].tolist()
    shares = np.take_along_axis(found.shares, found.columns, axis=1)
    return [
        Reason(first + i, names[feature], values[i, k], expected[i, k], probability[i, k], share)
        for i in range(shape[0])
        for k, (feature, share) in enumerate(
            zip(found.columns[i].tolist(), shares[i].tolist(), strict=True)
        )
    ]


def _in_units(run: Run, feature: int, found: reasons.Reasons, at: Any) -> list[Any]:
    """Returns what is expected of some cells of one column, as its table would have them."""
    rows, size = run.rows, len(at[0])
    numbers: Any = np.zeros((size, rows.numbers), np.float32)
    codes: Any = np.ones((size, rows.codes), np.int32)
    if feature < rows.numbers:
        numbers[:, feature] = found.number[at]
    else:
        codes[:, feature - rows.numbers] = found.code[at]
    batch = Batch(numbers, codes if rows.codes else None)
    made = transform.from_raw(run.schema, transform.to_values(run.schema, batch))
    cells: list[Any] = made.column(run.schema.column_order[feature]).to_pylist()
    return cells


def columns_of(found: list[Reason], count: int) -> dict[str, pa.Array]:
    """Returns reasons as columns of the rows' table, five for each: text, and two numbers.

    Args:
        found: from `reasons_of`, `count` of each row.
        count: of each row.

    Example:
        >>> found = [Reason(0, "age", 300, 41.5, None, 0.9), Reason(0, "job", "x", "y", 0.5, 0.1)]
        >>> {name: column.to_pylist() for name, column in columns_of(found[:1], 1).items()}
        {'reason_1': ['age'], 'value_1': ['300'], 'expected_1': ['41.5'], 'probability_1': [None], \
'share_1': [0.9]}
    """
    columns: dict[str, pa.Array] = {}
    for k in range(count):
        own = found[k::count]
        columns |= {
            f"reason_{k + 1}": pa.array([reason.column for reason in own], pa.string()),
            f"value_{k + 1}": pa.array([as_text(reason.value) for reason in own], pa.string()),
            f"expected_{k + 1}": pa.array([as_text(r.expected) for r in own], pa.string()),
            f"probability_{k + 1}": pa.array([r.probability for r in own], pa.float64()),
            f"share_{k + 1}": pa.array([reason.share for reason in own], pa.float64()),
        }
    return columns


def as_text(value: Any) -> str | None:
    """Returns a cell as a person reads it: numbers to six digits, times as ISO 8601 has them.

    Example:
        >>> as_text(41.2345678), as_text(True), as_text(datetime.date(2024, 5, 1)), as_text(None)
        ('41.2346', 'true', '2024-05-01', None)
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else str(value)
