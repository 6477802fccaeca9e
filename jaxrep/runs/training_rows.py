"""From a table to rows to train on: what its columns are, which rows are held out, and features."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from jaxrep.batch import Batch, as_batch
from jaxrep.data import datasets, preprocessing, tables, to_arrow
from jaxrep.data.targets import Target
from jaxrep.errors import InputError
from jaxrep.hyperparameters import TrainingHyperparameters


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are to training; all others are numbers to learn from."""

    categorical: tuple[str, ...] = ()
    """Columns of categories, one-hot encoded with a bucket for unknown ones."""

    label: str | None = None
    """Column kept out of training."""

    id_column: str | None = None
    """Column passed through to outputs, never trained on."""

    na_values: tuple[str, ...] = ()
    """Cells that mean "missing", besides empty ones and NA."""

    impute: Literal["median"] | None = None
    """How to fill missing numbers; None refuses them."""


@dataclass(frozen=True)
class Prepared:
    """A table made ready for training."""

    preprocessing: preprocessing.Preprocessing
    """Fitted to the training rows."""

    x: Batch
    """Training rows; their numbers may be in a store that is read while training."""

    validation: Batch | None
    """Rows held out; None where there are none."""

    target: Target | None = None
    """What is to be predicted, where the rows have targets."""


def with_known_label(source: str, columns: Columns) -> Columns:
    """Leaves the label of a bundled set out of training without being told."""
    known = datasets.LABELS.get(source)
    if known is None or columns.label or known in (columns.id_column, *columns.categorical):
        return columns
    return dataclasses.replace(columns, label=known)


def read(source: str, columns: Columns) -> pa.Table:
    """Reads a table to train on.

    Raises:
        InputError: the table cannot be read.
    """
    names = (*columns.categorical, columns.label, columns.id_column)
    text_columns = [name for name in names if name is not None]
    return tables.read_table(source, text_columns=text_columns, na_values=columns.na_values)


def prepare(
    table: pa.Table,
    source: str,
    columns: Columns,
    hyperparameters: TrainingHyperparameters,
    note: Callable[[str], None],
) -> Prepared:
    """Holds rows out, fits the preprocessing to the others, and turns both into features.

    Args:
        table: as `read` returns it.
        source: that it comes from, for messages.
        columns: what its columns are.
        hyperparameters: say how many rows to hold out, and which.
        note: called with warnings for the user.

    Raises:
        InputError: a column or a cell cannot be used, or too few rows are left to train on.
    """
    held_out = held_out_rows(table.num_rows, hyperparameters)
    training = table.filter(to_arrow(~held_out)) if held_out.any() else table
    fitted, warnings = preprocessing.fit(training, source=source, **dataclasses.asdict(columns))
    for warning in warnings:
        note(f"warning: {warning}")
    x = preprocessing.apply(fitted, training, source=source)
    if not held_out.any():
        return Prepared(fitted, as_batch(x), None)
    validation = preprocessing.apply(fitted, table.filter(to_arrow(held_out)), source=source)
    return Prepared(fitted, as_batch(x), as_batch(validation))


def held_out_rows(rows: int, hyperparameters: TrainingHyperparameters) -> np.ndarray:
    """Returns a mask of the rows held out: drawn by `split_seed`, at least one if any are asked.

    Args:
        rows: in the table.
        hyperparameters: `validation_fraction` and `split_seed` count.

    Raises:
        InputError: fewer than 2 rows are left to train on, or there is patience without rows held
            out.

    Example:
        >>> int(held_out_rows(10, TrainingHyperparameters(validation_fraction=0.3)).sum())
        3
    """
    fraction = hyperparameters.validation_fraction
    if hyperparameters.patience and not fraction:
        raise InputError(
            f"patience is {hyperparameters.patience}, and no rows are held out whose loss it could "
            "wait for; give validation_fraction as well, 0.1 for example"
        )
    count = max(round(fraction * rows), 1) if fraction > 0 else 0
    if count and rows - count < 2:
        raise InputError(
            f"validation_fraction is {fraction}: of {rows} rows it leaves {rows - count} to train "
            "on; at least 2 are needed"
        )
    mask = np.zeros(rows, bool)
    mask[np.random.default_rng(hyperparameters.split_seed).permutation(rows)[:count]] = True
    return mask
