"""The rows that a command works on when it is given a run and no table: the run's own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from jaxrep import files
from jaxrep.data import datasets
from jaxrep.data.preprocessing import NumericColumn, Preprocessing
from jaxrep.runs.folder import Run
from jaxrep.runs.outputs import read_rows

DRAWN_ROWS = 1000


def rows_of(
    run: Run, data: str | None = None, *, note: Callable[[str], None] = lambda message: None
) -> np.ndarray:
    """Returns rows as a run's features, `[N, D]`: of a table, or of the run's own data.

    A run does not hold its data. If the file that it was trained on is gone or has another content,
    rows are drawn from the statistics that it does hold.

    Args:
        run: the trained run.
        data: a table to take in the place of the run's own.
        note: called with a remark if rows had to be drawn.

    Raises:
        InputError: `data` cannot be read, or does not fit the run.
    """
    if data is not None:
        return read_rows(run, data)[1]
    recorded = run.config["data"]
    source, digest = recorded["source"], recorded["sha256"]
    if digest is None and source in datasets.NAMES:
        return read_rows(run, source)[1]
    if not Path(source).is_file():
        note(f"{source}, which the run was trained on, is not there: taking drawn rows; or --data")
    elif files.sha256(Path(source)) != digest:
        note(f"{source} has changed since the run was trained on it: taking drawn rows; or --data")
    else:
        return read_rows(run, source)[1]
    return draw_rows(run.preprocessing, DRAWN_ROWS)


def draw_rows(preprocessing: Preprocessing, count: int, *, seed: int = 0) -> np.ndarray:
    """Draws features as a preprocessing would give them: numbers from N(0, 1), any category.

    Args:
        preprocessing: of a run.
        count: number of rows.
        seed: decides the draws.

    Returns:
        Features, `[count, D]`, float32.

    Example:
        >>> age = NumericColumn("age", mean=40.0, scale=10.0, fill=None)
        >>> draw_rows(Preprocessing((age,), None, None, ()), 3).shape
        (3, 1)
    """
    rng = np.random.default_rng(seed)
    blocks = []
    for column in preprocessing.columns:
        if isinstance(column, NumericColumn):
            blocks.append(rng.normal(size=(count, 1)))
        else:
            blocks.append(np.eye(column.width)[rng.integers(column.width, size=count)])
    return np.concatenate(blocks, axis=1).astype(np.float32)
