"""From a table to rows to train on: what its columns are, which rows are held out, and features."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from jaxrep.batch import Batch, concatenate, take
from jaxrep.data import datasets, transform
from jaxrep.data.columns import Columns
from jaxrep.data.fit import fit
from jaxrep.data.schema import Schema
from jaxrep.data.targets import Target
from jaxrep.data.transform import Counts
from jaxrep.errors import InputError
from jaxrep.hyperparameters import TrainingHyperparameters

Note = Callable[[str], None]


@dataclass(frozen=True)
class Prepared:
    """A table made ready for training."""

    schema: Schema
    """Fitted to the training rows."""

    x: Batch
    """Training rows; a store that is read while training may be in the place of their numbers."""

    validation: Batch | None
    """Rows held out; None where there are none."""

    target: Target | None = None
    """What is to be predicted, where the rows have targets."""

    cells: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """The cells that could not be placed, by column, as of `Counts.to_json`."""


def with_known_label(source: str, columns: Columns) -> Columns:
    """Leaves the label of a bundled set out of training without being told."""
    known = datasets.LABELS.get(source)
    named = (columns.id_column, *columns.kinds, *columns.drop)
    if known is None or columns.label or known in named:
        return columns
    return dataclasses.replace(columns, label=known)


def warning(note: Note) -> Note:
    """Returns a function that passes warnings on to a `note`."""
    return lambda sentence: note(f"warning: {sentence}")


def prepare(
    blocks: Iterable[pa.Table],
    source: str,
    columns: Columns,
    hyperparameters: TrainingHyperparameters,
    note: Note,
    warn: Note,
    schema: Schema | None = None,
    weights: np.ndarray | None = None,
) -> Prepared:
    """Holds rows out, fits a schema to the others, and turns both into features.

    Args:
        blocks: the table, as `read_blocks` gives it, anew each time that it is iterated.
        source: that it comes from, for messages.
        columns: what the user says of its columns.
        hyperparameters: say how many rows to hold out, and which.
        note: called with what the columns are, line by line.
        warn: called with what could not be placed.
        schema: the one to apply; None: it is fitted.
        weights: how much each row counts, `[N]`; None if all count alike. Rows of weight 0 are
            neither trained on nor held out.

    Raises:
        InputError: a column or a cell cannot be used, or too few rows are left to train on.
    """
    count = sum(block.num_rows for block in blocks) if weights is None else len(weights)
    counted = np.ones(count, bool) if weights is None else weights > 0
    held_out = np.zeros(count, bool)
    held_out[counted] = held_out_rows(int(counted.sum()), hyperparameters)
    training = counted & ~held_out
    is_fitted = schema is None
    if schema is None:
        fitted = fit(
            lambda: blocks,
            source=source,
            columns=columns,
            mask=None if training.all() else training,
        )
        for line in fitted.lines(source):
            note(line)
        for sentence in fitted.warnings(source):
            warn(sentence)
        schema = fitted.schema
    counts = Counts()
    parts = [x for _, x in transform.apply_blocks(schema, blocks, source=source, counts=counts)]
    counts = counts.without_merged(schema) if is_fitted else counts
    for sentence in counts.sentences(source):
        warn(sentence)
    rows = concatenate(parts)._replace(weights=weights)  # type: ignore[arg-type]
    validation = take(rows, held_out) if held_out.any() else None
    rows = rows if training.all() else take(rows, training)
    return Prepared(schema, rows, validation, cells=counts.to_json())


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
