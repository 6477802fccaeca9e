"""The rows that a command works on when it is given a run and no table: the run's own."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from jaxrep.batch import Batch
from jaxrep.data import datasets, transform
from jaxrep.data.read import read_table
from jaxrep.data.store.row_file import is_prepared, open_prepared
from jaxrep.data.transform import Counts
from jaxrep.errors import InputError
from jaxrep.runs.folder import Run
from jaxrep.runs.sources import digest

Note = Callable[[str], None]

DRAWN = "drawn rows"  # the source of rows that come from a run's statistics
DRAWN_ROWS = 1000
SAMPLED_ROWS = 1 << 16  # at most, of a prepared folder


def table_of(
    run: Run, data: str | None = None, *, note: Note = lambda message: None
) -> tuple[pa.Table, np.ndarray, str]:
    """Returns a table with a run's columns: the one asked for, or the run's own data.

    A run does not hold its data. If the file that it was trained on is gone or has another content,
    rows are drawn from the statistics that the run does hold. Of a prepared folder, evenly spread
    rows are taken and turned back into a table; it has neither label nor ids.

    Args:
        run: the trained run.
        data: a table to take in the place of the run's own.
        note: called with a remark if rows had to be drawn, or cells could not be placed.

    Returns:
        The table; its raw rows, `[N, columns]`, as of `to_raw`; and where it comes from.

    Raises:
        InputError: `data` cannot be read, or does not fit the run.
    """
    source = run.config["data"]["source"] if data is None else data
    reason = None if data is not None else _unusable(source, run.config["data"].get("sha256"))
    if reason is None and is_prepared(Path(source)):
        stored = open_prepared(Path(source))
        raw = transform.to_values(stored.schema, stored.sample(SAMPLED_ROWS))
        return transform.from_raw(stored.schema, raw), raw, source
    if reason is None:
        table, counts = read_table(source), Counts()
        raw = transform.to_raw(run.schema, table, source=source, counts=counts)
        for sentence in counts.sentences(source):
            note(f"warning: {sentence}")
        return table, raw, source
    note(f"{source}, which the run was trained on, {reason}: taking drawn rows; or give --data")
    raw = transform.draw_raw(run.schema, DRAWN_ROWS)
    return transform.from_raw(run.schema, raw), raw, DRAWN


def raw_rows_of(
    run: Run, data: str | None = None, *, note: Note = lambda message: None
) -> tuple[np.ndarray, str]:
    """Returns the raw rows of `table_of`, and where they come from."""
    _, raw, source = table_of(run, data, note=note)
    return raw, source


def rows_of(run: Run, data: str | None = None, *, note: Note = lambda message: None) -> Batch:
    """Returns the rows of `table_of` as features."""
    raw, source = raw_rows_of(run, data, note=note)
    return transform.to_features(run.schema, raw, source=source)


def check_near(made: Mapping[str, np.ndarray | None], source: str) -> None:
    """Checks that what a run made of rows can be reckoned with: that no square is infinite.

    Args:
        made: rows or scores by what they are, `[N, ...]` each; None where a method makes none.
        source: the table that they come from.

    Raises:
        InputError: some rows lie too far from those that the run trained on.

    Example:
        >>> check_near({"score": np.float32([0, np.inf])}, "t.csv")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        jaxrep.errors.InputError: t.csv: 1 of 2 rows lie too far from the rows that the ...
    """
    for name, array in made.items():
        if array is None:
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            sizes = array if array.ndim == 1 else 8 * np.einsum("nd,nd->n", array, array)
        far = int(np.sum(~np.isfinite(sizes)))
        if far:
            raise InputError(
                f"{source}: {far} of {len(array)} rows lie too far from the rows that the run "
                f"trained on: {name} too large to square in float32; remove them or correct their "
                "values"
            )


def _unusable(source: str, recorded: object) -> str | None:
    """Says why a recorded source is not the data of the run any more, or None if it is."""
    if recorded is None and source in datasets.NAMES:
        return None
    if not os.path.exists(source):  # False, unlike Path.exists, where the name is too long
        return "is not there"
    try:
        found = digest(source)
    except InputError:
        return "cannot be read"
    return None if found == recorded else "has changed since"
