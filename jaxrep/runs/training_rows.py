"""From a table to rows to train on: what its columns are, which rows are held out, and features."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from jaxrep.batch import Batch, concatenate, take
from jaxrep.data import datasets, transform
from jaxrep.data.columns import Columns, Scale
from jaxrep.data.fit import fit
from jaxrep.data.schema import Schema
from jaxrep.data.targets import Target
from jaxrep.data.transform import Counts
from jaxrep.errors import InputError
from jaxrep.hyperparameters import CALIBRATION, TrainingHyperparameters

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

    calibration: Batch | None = None
    """Rows set apart, whose scores p-values are computed by; None where there are none."""

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


def with_scale(columns: Columns, hyperparameters: TrainingHyperparameters, recipe: str) -> Columns:
    """Returns columns whose numbers have the scale of a recipe, where the user names none.

    A column that is asked to have the Poisson likelihood stays in its own units, which that takes.

    Args:
        columns: what the user says.
        hyperparameters: of the method that the recipe is of.
        recipe: its name.

    Example:
        >>> from jaxrep.methods import VAEHyperparameters
        >>> with_scale(Columns(), VAEHyperparameters(), "generation").scale
        'spikes'
    """
    if columns.scale is not None or recipe not in hyperparameters.recipes:
        return columns
    scale = hyperparameters.recipes[recipe].scale
    counts = [name for name, likelihood in columns.likelihoods.items() if likelihood == "poisson"]
    own: dict[str, Scale] = {name: "standard" for name in counts if scale != "standard"}
    return dataclasses.replace(columns, scale=scale, scales={**own, **columns.scales})


def has_scale(schema: Schema, hyperparameters: TrainingHyperparameters, recipe: str) -> bool:
    """Says whether numbers have the scale of a recipe, some of them at least, if there are any.

    Args:
        schema: of a prepared folder, which has its scales already.
        hyperparameters: of the method that the recipe is of.
        recipe: its name.

    Example:
        >>> from jaxrep.data.schema import Number
        >>> from jaxrep.methods import VAEHyperparameters
        >>> people = Schema((Number("age", 40.0, 13.5, None),))
        >>> has_scale(people, VAEHyperparameters(), "generation")
        False
    """
    known = hyperparameters.recipes
    scales = {column.scaling.kind for column in schema.numeric if column.kind != "boolean"}
    return not scales or recipe not in known or known[recipe].scale in scales


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
    """Holds rows out and sets rows apart, fits a schema to the others, and makes features of all.

    Args:
        blocks: the table, as `read_blocks` gives it, anew each time that it is iterated.
        source: that it comes from, for messages.
        columns: what the user says of its columns.
        hyperparameters: say how many rows to hold out and to set apart, and which.
        note: called with what the columns are, line by line.
        warn: called with what could not be placed.
        schema: the one to apply; None: it is fitted.
        weights: how much each row counts, `[N]`; None if all count alike. Rows of weight 0 are
            neither trained on nor held out nor set apart.

    Raises:
        InputError: a column or a cell cannot be used, too few rows are left to train on, or too few
            would be set apart.
    """
    count = sum(block.num_rows for block in blocks) if weights is None else len(weights)
    counted = np.ones(count, bool) if weights is None else weights > 0
    held_out, set_apart = np.zeros(count, bool), np.zeros(count, bool)
    held_out[counted] = held_out_rows(int(counted.sum()), hyperparameters)
    set_apart[counted] = calibration_rows(int(counted.sum()), hyperparameters)
    training = counted & ~held_out & ~set_apart
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
    calibration = take(rows, set_apart) if set_apart.any() else None
    if calibration is not None:
        note(f"{set_apart.sum():,} rows of {source} are set apart for p-values")
    rows = rows if training.all() else take(rows, training)
    return Prepared(schema, rows, validation, calibration, cells=counts.to_json())


def held_out_rows(rows: int, hyperparameters: TrainingHyperparameters) -> np.ndarray:
    """Returns a mask of the rows held out: drawn by `split_seed`, at least one if any are asked.

    Args:
        rows: in the table.
        hyperparameters: `validation_fraction`, `calibration_fraction` and `split_seed` count.

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
    set_apart = calibration_count(rows, hyperparameters)
    if (count or set_apart) and rows - count - set_apart < 2:
        shares = {"validation_fraction": fraction}
        shares |= (
            {"calibration_fraction": hyperparameters.calibration_fraction} if set_apart else {}
        )
        said = " and ".join(f"{name} is {share}" for name, share in shares.items() if share)
        leave = "they leave" if said.count(" is ") > 1 else "it leaves"
        raise InputError(
            f"{said}: of {rows} rows {leave} {max(rows - count - set_apart, 0)} to train on; at "
            "least 2 are needed"
        )
    return _drawn(rows, slice(count), hyperparameters)


def calibration_rows(rows: int, hyperparameters: TrainingHyperparameters) -> np.ndarray:
    """Returns a mask of the rows set apart for p-values: drawn by `split_seed`, none held out.

    They are the same whatever share is held out.

    Args:
        rows: in the table.
        hyperparameters: `calibration_fraction` and `split_seed` count.

    Raises:
        InputError: they would be too few.

    Example:
        >>> hyperparameters = TrainingHyperparameters(
        ...     validation_fraction=0.3, calibration_fraction=0.2
        ... )
        >>> set_apart = calibration_rows(2000, hyperparameters)
        >>> int(set_apart.sum()), bool((set_apart & held_out_rows(2000, hyperparameters)).any())
        (400, False)
    """
    count = calibration_count(rows, hyperparameters)
    return _drawn(rows, slice(rows - count, rows), hyperparameters)


def calibration_count(rows: int, hyperparameters: TrainingHyperparameters) -> int:
    """Returns how many rows are set apart for p-values; arguments as of `calibration_rows`.

    Raises:
        InputError: they would be too few.
    """
    fraction = hyperparameters.calibration_fraction
    least, most = CALIBRATION
    count = min(round(fraction * rows), most)
    if not fraction or count >= least:
        return count
    advice = (
        f"give {math.ceil(1000 * least / rows) / 1000:g} or more"
        if rows > 2 * least
        else ("give more rows, or 0 for none")
    )
    raise InputError(
        f"calibration_fraction is {fraction}: of {rows:,} rows it sets {count} apart; p-values "
        f"need at least {least}: {advice}"
    )


def _drawn(rows: int, places: slice, hyperparameters: TrainingHyperparameters) -> np.ndarray:
    """Returns a mask of the rows in some places of the order that `split_seed` draws."""
    mask = np.zeros(rows, bool)
    if places != slice(0) and places != slice(rows, rows):
        drawn = np.random.default_rng(hyperparameters.split_seed).permutation(rows)
        mask[drawn[places]] = True
    return mask
