"""Where a run's rows come from: a table in memory, a prepared folder, a table larger than memory.

What is small is trained on in memory, its rows shuffled as a whole. What is large is streamed from
a file of standardised rows: a prepared folder, or one that the run makes below its own.
"""

import dataclasses
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as pq

from jaxrep.batch import Batch, as_batch, empty
from jaxrep.data import datasets, read
from jaxrep.data.columns import Columns
from jaxrep.data.store import preparation
from jaxrep.data.store.held_out import RowsWithout, read_rows
from jaxrep.data.store.row_file import PreparedRows, is_prepared, open_prepared
from jaxrep.errors import InputError
from jaxrep.hyperparameters import TrainingHyperparameters
from jaxrep.runs.training_rows import (
    Prepared,
    calibration_rows,
    held_out_rows,
    prepare,
    warning,
)
from jaxrep.training import RowStore
from jaxrep.training.distributed import run_on_main

Stream = Literal["auto", "always", "never"]
SPOOL = "rows"  # the folder below a run's in which a large table's rows stand while it trains

# Features that are larger than this are streamed, unless asked otherwise.
STREAMED_BYTES = 512 << 20
_MOST_HELD_OUT = 1 << 18


@dataclasses.dataclass(frozen=True)
class Source:
    """A table to train on, found to be there, and how its rows will come."""

    name: str
    """The path or the name that it was asked for by."""

    columns: Columns
    """The kinds and roles that were set for its columns."""

    streamed: bool
    """Whether its rows are read block by block while training."""

    stored: PreparedRows | None
    """The prepared folder, where it is one."""

    def prepare(
        self, hyperparameters: TrainingHyperparameters, out: Path, note: Callable[[str], None]
    ) -> Prepared:
        """Returns the rows to train on, those held out, and those set apart.

        Args:
            hyperparameters: say how many rows to hold out and to set apart, and which.
            out: the run's folder, below which a large table's rows are written.
            note: called with warnings for the user.

        Raises:
            InputError: a column or a cell cannot be used, too few rows are left to train on, or
                rows are to be set apart from those of a prepared folder.
        """
        stored = self.stored
        if stored is not None and hyperparameters.calibration_fraction:
            raise InputError(
                f"calibration_fraction is {hyperparameters.calibration_fraction}: the columns of a "
                f"prepared folder have the scales and levels of all rows, and {self.name} has none "
                "that were set apart from them; train on the table that it was prepared from, with "
                "--stream always if it is larger than memory"
            )
        if stored is None and not self.streamed:
            blocks = list(read.read_blocks(self.name, note=note))
            return prepare(blocks, self.name, self.columns, hyperparameters, note, warning(note))
        if stored is None:
            note(f"{self.name} is large: its rows are written to {out / SPOOL} while it trains")
            run_on_main(lambda: self._spool(hyperparameters, out, note))
            stored = open_prepared(out / SPOOL)
        return _hold_out(stored, hyperparameters, note, streamed=self.streamed)

    def _spool(
        self, hyperparameters: TrainingHyperparameters, out: Path, note: Callable[[str], None]
    ) -> None:
        fraction, seed = hyperparameters.calibration_fraction, hyperparameters.split_seed
        preparation.prepare(
            self.name,
            out / SPOOL,
            columns=self.columns,
            split={"calibration_fraction": fraction, "split_seed": seed} if fraction else {},
            fitted_to=lambda rows: ~calibration_rows(rows, hyperparameters),
            replace_others=True,  # what is left there of a run that may go, or never began
            note=note,
        )


def find(source: str, columns: Columns, stream: Stream = "auto") -> Source:
    """Finds a table to train on.

    Args:
        source: a file, a folder, or the name of a bundled set.
        columns: the kinds and roles that the user set.
        stream: whether to stream the rows; auto does if their features exceed 512 MiB.

    Raises:
        InputError: there is no such table, or the columns of a prepared folder are named again.
    """
    stored = open_prepared(Path(source)) if is_prepared(Path(source)) else None
    if stored is not None and columns != Columns():
        raise InputError(
            f"{source}: the columns of a prepared folder were set when it was prepared; "
            "leave --column, --column-likelihood, --drop, --schema, --label, --id-column, "
            "--na-values, --impute and --scale out"
        )
    size = _size(source) if stored is None else 4 * stored.rows * stored.spec.columns
    streamed = stream == "always" or (stream == "auto" and size > STREAMED_BYTES)
    return Source(source, columns, streamed, stored)


def digest(source: str) -> str | None:
    """Returns the SHA-256 that tells a source's content from another; None of a bundled set."""
    if source in datasets.NAMES:
        return None
    if is_prepared(Path(source)):
        return open_prepared(Path(source)).sha256
    of_files = read.digests(source)
    if len(of_files) == 1 and not os.path.isdir(source):
        return next(iter(of_files.values()))
    listed = "".join(f"{value} {name}\n" for name, value in sorted(of_files.items()))
    return hashlib.sha256(listed.encode("utf-8", "surrogateescape")).hexdigest()


def remove_spool(out: Path) -> None:
    """Removes the rows that a run wrote for itself."""
    if is_prepared(out / SPOOL):
        shutil.rmtree(out / SPOOL, ignore_errors=True)


def _size(source: str) -> int:
    """Returns about how many bytes a table's features take, 4 for a cell, without reading it."""
    if source in datasets.NAMES:
        return 0
    path = Path(source)
    parquet = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    try:
        if path.is_dir() or source.lower().endswith(".parquet"):
            shapes = (pq.read_metadata(file) for file in parquet)
            return sum(4 * shape.num_rows * shape.num_columns for shape in shapes)
        # Numbers in a CSV take some 8 characters each; compressed files more when they are read.
        share = {".csv": 2, ".npy": 2}.get(path.suffix.lower(), 1)
        return path.stat().st_size // share
    except (OSError, ValueError):  # pyarrow's errors are of these kinds; reading says it better
        return 0


def _hold_out(
    stored: PreparedRows,
    hyperparameters: TrainingHyperparameters,
    note: Callable[[str], None],
    *,
    streamed: bool,
) -> Prepared:
    """Parts a prepared table's rows; mean and scale are those of all that are not set apart."""
    held_out = np.flatnonzero(held_out_rows(stored.rows, hyperparameters))
    set_apart = np.flatnonzero(calibration_rows(stored.rows, hyperparameters))
    if len(held_out) > _MOST_HELD_OUT and streamed:
        note(f"{len(held_out):,} rows held out are more than memory is for; {_MOST_HELD_OUT:,} are")
        held_out = held_out[:: -(-len(held_out) // _MOST_HELD_OUT)]
    if len(set_apart):
        note(f"{len(set_apart):,} rows are set apart for p-values")
    left_out = np.union1d(held_out, set_apart)
    rows = RowsWithout(stored, left_out) if len(left_out) else stored
    validation, calibration = (
        read_rows(stored, numbers) if len(numbers) else None for numbers in (held_out, set_apart)
    )
    training = as_batch(rows if streamed else whole(rows))
    return Prepared(stored.schema, training, validation, calibration, cells=stored.cells)


def whole(store: RowStore) -> Batch:
    """Returns all rows of a store."""
    x = empty(store.spec, store.rows)
    store.read_into(0, x)
    return x
