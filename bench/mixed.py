"""Rows of numbers and categories: as numbers and codes, and as the one-hot matrix of before.

The table has 20 numbers and 20 categories of 50 levels, independent of each other. *Numbers and
codes* is what jaxrep trains on: a code is looked up in the first layer's kernel, and its
reconstruction compared by its log-probability. *One-hot matrix* is how the first edition trained:
the same rows as 20 + 20·51 numbers (a category takes one value more, for those that training did
not know), compared by squared error. Both are trained by `training.fit` with the seed's settings,
in turn; compilation is not counted.

*Many levels* is a table of 4 numbers and one category of 100,000 levels, 20 rows each, none of
them merged: 2,000,000 rows of a Parquet file that is written before. `jaxrep train autoencoder`,
500 steps of it (an epoch would be 15,625, each with the log-probabilities of 128 rows among
100,000 levels), and `jaxrep reconstruct` of all rows are processes of their own, run once, the
first with an empty cache of compiled programs: wall time, and the peak of resident memory as Linux
counts it, the interpreter and its libraries included.
"""

import functools
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from bench.measured import Figure, Measured, Series, collect, interleave
from bench.processes import wall_seconds
from bench.seed_methods import seed_method
from jaxrep.batch import Batch, RowSpec
from jaxrep.training import fit

SPEC = RowSpec(20, (51,) * 20)
CODES, ONE_HOT = "numbers and codes", "one-hot matrix"
TARGETS = {"autoencoder": 1.4, "vae": 1.4, "simclr": 3.0}
ROWS_IN_MEMORY = "the rows"
LEVELS, QUICK_LEVELS = (100_000, 20, 500), (1_500, 13, 50)  # rows per level, steps
MOST_MEGABYTES = 1500


def measure(*, quick: bool, rounds: int) -> Measured:
    """Trains every method on both forms of the rows, and runs the commands on many levels.

    Args:
        quick: 5,000 rows instead of 100,000, and 1,500 levels instead of 100,000.
        rounds: how often; the commands run once.

    Returns:
        Rows per second and megabytes of both forms; seconds and megabytes of the commands; seconds
        of compilation as a fact.
    """
    count, epochs = (5_000, 4) if quick else (100_000, 1)
    batch = rows(count)
    forms: dict[str, tuple[Batch | np.ndarray, RowSpec | None]] = {
        CODES: (batch, SPEC),
        ONE_HOT: (as_one_hot(batch, SPEC), None),
    }
    series: list[Series] = []
    compile_seconds: dict[str, dict[str, float]] = {}
    for name in TARGETS:
        sides: dict[tuple[str, str], Callable[[int], float]] = {}
        for side, (x, spec) in forms.items():
            first = fit(seed_method(name, epochs=epochs), x, spec=spec)
            compile_seconds.setdefault(name, {})[side] = first.compile_seconds
            sides[name, side] = functools.partial(_rows_per_second, name, epochs, x, spec)
        series += collect("rows/s", interleave(rounds, sides))
    for side, (x, _) in forms.items():
        series.append(Series(ROWS_IN_MEMORY, side, "MB", [_bytes(x) / 1e6]))
    series += _many_levels(*QUICK_LEVELS) if quick else _many_levels(*LEVELS)
    facts = {"rows": count, "epochs": epochs, "compile_seconds": compile_seconds}
    return Measured(series, facts)


def figures(measured: Measured) -> list[Figure]:
    """Returns what codes gain over the one-hot matrix, and the memory that the commands took."""
    made = [
        Figure(
            f"{name}: {CODES} over the {ONE_HOT}",
            measured.ratio((name, CODES), (name, ONE_HOT)),
            "×",
            target,
        )
        for name, target in TARGETS.items()
    ]
    share = measured.ratio((ROWS_IN_MEMORY, CODES), (ROWS_IN_MEMORY, ONE_HOT))
    name = f"bytes of the rows, {CODES} over the {ONE_HOT}"
    made.append(Figure(name, share, "%", 0.25, "most"))
    for found in measured.series:
        if found.unit == "MB" and found.case != ROWS_IN_MEMORY:
            name, value = f"{found.case} of {found.side}, MB", round(found.median)
            made.append(Figure(name, value, "", MOST_MEGABYTES, "most"))
    return made


def rows(count: int) -> Batch:
    """Returns rows of `SPEC`: standard normal numbers and levels with equal chances.

    Example:
        >>> batch = rows(100)
        >>> batch.numbers.shape, batch.codes.shape
        ((100, 20), (100, 20))
    """
    draws = np.random.default_rng(0)
    numbers: Any = draws.standard_normal((count, SPEC.numbers), np.float32)
    codes: Any = draws.integers(1, SPEC.levels, (count, SPEC.codes), np.int32)  # 0 is "other"
    return Batch(numbers, codes)


def as_one_hot(batch: Batch, spec: RowSpec) -> np.ndarray:
    """Returns the numbers, and a column of 0 and 1 for each value of each code, float32.

    Example:
        >>> numbers, codes = np.ones((2, 1)), np.array([[0, 1], [2, 1]])
        >>> as_one_hot(Batch(numbers, codes), RowSpec(1, (3, 2)))
        array([[1., 1., 0., 0., 0., 1.],
               [1., 0., 0., 1., 0., 1.]], dtype=float32)
    """
    starts = spec.numbers + np.cumsum((0, *spec.levels))
    codes = np.asarray(batch.codes)
    matrix = np.zeros((len(codes), starts[-1]), np.float32)
    matrix[:, : spec.numbers] = batch.numbers
    np.put_along_axis(matrix, starts[:-1] + codes, 1, axis=1)
    return matrix


def table_of_many_levels(levels: int, rows_per_level: int) -> pa.Table:
    """Returns a table of a category `item`, as text, and four numbers that depend on it.

    Example:
        >>> table = table_of_many_levels(30, 2)
        >>> table.num_rows, table.column_names, len(table["item"].unique())
        (60, ['item', 'x0', 'x1', 'x2', 'x3'], 30)
    """
    draws = np.random.default_rng(0)
    item = draws.permutation(np.repeat(np.arange(levels, dtype=np.int32), rows_per_level))
    names = pa.array([f"item {i:06d}" for i in range(levels)])
    columns = {"item": names.take(pa.array(item))}
    for i in range(4):
        means = draws.standard_normal(levels, np.float32)
        columns[f"x{i}"] = pa.array(means[item] + draws.standard_normal(len(item), np.float32))
    return pa.table(columns)


def _rows_per_second(
    name: str, epochs: int, x: Batch | np.ndarray, spec: RowSpec | None, seed: int
) -> float:
    return fit(seed_method(name, epochs=epochs, seed=seed), x, spec=spec).rows_per_second


def _bytes(x: Batch | np.ndarray) -> int:
    if isinstance(x, np.ndarray):
        return x.nbytes
    return sum(part.nbytes for part in x if part is not None)


def _many_levels(levels: int, rows_per_level: int, steps: int) -> list[Series]:
    """Runs both commands, and returns their seconds and their peaks of resident memory."""
    with tempfile.TemporaryDirectory() as folder:
        table, run, out = (str(Path(folder) / name) for name in ("t.parquet", "run", "out.parquet"))
        pyarrow.parquet.write_table(table_of_many_levels(levels, rows_per_level), table)
        commands = {
            "train": ["train", "autoencoder", table, "--out", run, "--steps", str(steps)],
            "reconstruct": ["reconstruct", run, table, "--out", out],
        }
        series = []
        for name, arguments in commands.items():
            command = [sys.executable, "-m", "bench.resident", *arguments]
            cache = str(Path(folder) / "cache")
            seconds, printed = wall_seconds(command, JAXREP_CACHE_DIR=cache)
            megabytes = int(printed.splitlines()[-1]) / 1e6
            side = f"jaxrep {name}"
            series.append(Series(f"{levels:,} levels, wall time", side, "s", [seconds]))
            series.append(Series(f"{levels:,} levels, peak memory", side, "MB", [megabytes]))
        _check_levels(Path(run) / "schema.json", levels)
    return series


def _check_levels(schema: Path, levels: int) -> None:
    """Holds that the run learned every level: a column left out or merged would cost nothing."""
    columns = json.loads(schema.read_text(encoding="utf-8"))["columns"]
    (found,) = (len(column["levels"]) for column in columns if column["name"] == "item")
    assert found == levels, f"{found} of {levels} levels in the schema"
