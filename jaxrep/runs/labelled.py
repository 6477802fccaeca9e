"""Labelled rows for a run that is fine-tuned: its features, and what is to be predicted of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from jaxrep.batch import Batch, as_batch, take
from jaxrep.data import read, to_arrow, transform
from jaxrep.data.columns import Columns
from jaxrep.data.schema import Schema
from jaxrep.data.store import preparation
from jaxrep.data.store.held_out import RowsWithout, read_rows
from jaxrep.data.store.row_file import PreparedRows, open_prepared
from jaxrep.data.targets import (
    Target,
    balanced_weights,
    check_label,
    fit_classes,
    fit_numbers,
    labelled,
    labels_of,
)
from jaxrep.data.transform import Counts
from jaxrep.errors import InputError
from jaxrep.hyperparameters import Predicts, TrainingHyperparameters
from jaxrep.runs import sources
from jaxrep.runs.sources import SPOOL, Stream, whole
from jaxrep.runs.training_rows import Prepared, held_out_rows
from jaxrep.training.distributed import run_on_main

Note = Callable[[str], None]


@dataclass(frozen=True)
class Labelled:
    """Rows of a table that have a label."""

    source: str
    """Where they come from."""

    schema: Schema
    """From the table to their features."""

    features: Callable[[Note], Batch | PreparedRows]
    """Returns the features of all rows of the table, or the store that they are in."""

    kept: np.ndarray
    """Numbers of the rows that have a label, sorted, `[n]`."""

    labels: Any
    """Their labels, an Arrow column or an array, `[n]`."""

    weights: np.ndarray | None = None
    """How much each of them counts, `[n]`; None if all count alike."""

    streamed: bool = False
    """Whether features are read block by block while training."""

    cells: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """The cells that could not be placed, of rows in memory; a store of rows has its own."""

    def fit(self, kind: Predicts, name: str) -> Target:
        """Learns what is to be predicted.

        Args:
            kind: what the labels are.
            name: of their column.

        Raises:
            InputError: the labels are not of that kind.
        """
        if kind == "classes":
            return fit_classes(self.labels, name, self.source)
        return fit_numbers(self.labels, name, self.source)

    def prepare(
        self, target: Target, hyperparameters: TrainingHyperparameters, note: Note
    ) -> Prepared:
        """Returns the rows to train on, and those held out.

        Args:
            target: what is to be predicted.
            hyperparameters: say how many rows to hold out, and which, and how classes count.
            note: called with remarks for the user.

        Raises:
            InputError: too few rows are left to train on.
        """
        held_out = held_out_rows(len(self.kept), hyperparameters)
        targets = target.encode(self.labels, source=self.source)
        rows = Batch(
            self.kept,  # type: ignore[arg-type]  # in the place of the features, which may be many
            targets=targets,  # type: ignore[arg-type]
            weights=self._weights(targets, hyperparameters),  # type: ignore[arg-type]
        )
        features = self.features(note)
        training = self._with_features(take(rows, ~held_out), features, self.streamed)
        validation = None
        if held_out.any():
            validation = self._with_features(take(rows, held_out), features, streamed=False)
        cells = self.cells if isinstance(features, Batch) else features.cells
        return Prepared(self.schema, training, validation, target=target, cells=cells)

    def _weights(
        self, targets: np.ndarray, hyperparameters: TrainingHyperparameters
    ) -> np.ndarray | None:
        if getattr(hyperparameters, "class_weight", "none") == "none":
            return self.weights
        balanced = balanced_weights(targets, hyperparameters.classes)  # type: ignore[attr-defined]
        return balanced if self.weights is None else balanced * self.weights

    def _with_features(self, rows: Batch, features: Batch | PreparedRows, streamed: bool) -> Batch:
        """Returns rows with their features, or a store of them, in the place of their indices."""
        indices = np.asarray(rows.numbers)
        if isinstance(features, Batch):
            found = take(features, indices)
        elif not streamed and len(indices) < features.rows // 2:
            found = read_rows(features, indices)
        else:
            others = np.setdiff1d(np.arange(features.rows), indices)
            store = RowsWithout(features, others) if len(others) else features
            found = as_batch(store) if streamed else whole(store)
        return rows._replace(numbers=found.numbers, codes=found.codes)


def read_labelled(
    source: str,
    label: str,
    fitted: Schema,
    out: Path,
    note: Note,
    stream: Stream = "auto",
) -> Labelled:
    """Reads a table's rows that have a label.

    Args:
        source: a file, a folder, or the name of a bundled set.
        label: the label's column.
        fitted: the schema of the run that is fine-tuned.
        out: the run's folder, below which a large table's rows are written.
        note: called with a remark on rows without a label, which are left out.
        stream: whether to read the features block by block while training.

    Raises:
        InputError: the table cannot be read, does not fit the run, has no such column, or the run
            has learnt from it.
    """
    if label in [column.name for column in fitted.columns]:
        raise InputError(
            f"--label {label}: the run has learnt from this column, and would predict what it "
            f"sees; train a run with --label {label} first"
        )
    schema = with_label(fitted, label)
    found = sources.find(source, Columns(), stream)
    features: Callable[[Note], Batch | PreparedRows]
    counts = Counts()
    if found.stored is not None:
        stored = found.stored
        _check_prepared(stored, schema, source)
        labels = stored.labels()
        features = lambda note: stored  # noqa: E731
    elif found.streamed:
        labels = _read_labels(source, label, schema)
        features = lambda note: _spool(source, out, schema, note)  # noqa: E731
    else:
        table = read.read_table(source, note=note)
        labels = labels_of(table, label, source, schema.marks)
        x = transform.apply(schema, table, source=source, counts=counts)
        for sentence in counts.sentences(source):
            note(f"warning: {sentence}")
        features = lambda note: x  # noqa: E731
    present = labelled(labels)
    if missing := len(present) - int(present.sum()):
        note(f"{source}: {missing:,} of {len(present):,} rows have no {label}, and are left out")
    return Labelled(
        source,
        schema,
        features,
        np.flatnonzero(present),
        labels.filter(to_arrow(present)),
        streamed=found.streamed,
        cells=counts.to_json(),
    )


def with_label(fitted: Schema, label: str) -> Schema:
    """Returns a schema of the same features and of another label, left out before or not."""
    left_out = tuple(column for column in fitted.left_out if column.name != label)
    return msgspec.structs.replace(fitted, label=label, left_out=left_out)


def _check_prepared(stored: PreparedRows, fitted: Schema, source: str) -> None:
    """Refuses a prepared folder whose rows are standardised otherwise, or have other labels."""
    there = stored.schema
    if there.label != fitted.label:
        raise InputError(
            f"--label {fitted.label}: {source} was prepared with "
            f"{f'--label {there.label}' if there.label else 'no label'}; prepare it with this one"
        )
    if there.columns != fitted.columns:
        raise InputError(
            f"{source}: was prepared apart from the run, whose columns are other ones, or are "
            "scaled otherwise; give the table that it was prepared from"
        )


def _read_labels(source: str, label: str, fitted: Schema) -> Any:
    """Reads the label column alone of a table that is larger than memory.

    Blocks cannot agree on what a CSV's cells are, so they are text until all have been seen.
    """
    parts = []
    for block in read.read_blocks(source):
        check_label(label, block.column_names, source)
        parts.append(block.select([label]))
    return labels_of(pa.concat_tables(parts), label, source, fitted.marks)


def _spool(source: str, out: Path, fitted: Schema, note: Note) -> PreparedRows:
    """Writes a large table's features below the run's folder, as its schema has them."""
    note(f"{source} is large: its rows are written to {out / SPOOL} while it trains")

    def prepare() -> None:
        preparation.prepare(
            source,
            out / SPOOL,
            columns=Columns(label=fitted.label),
            fitted=fitted,
            note=note,
        )

    run_on_main(prepare)
    return open_prepared(out / SPOOL)
