"""A category of 100,000 levels: memory and time of `jaxrep train` and `jaxrep reconstruct`.

The table has 4 numbers and one category of 100,000 levels, 20 rows each, none of them merged:
2,000,000 rows of a Parquet file that is written before. `jaxrep train autoencoder`, 500 steps of it
(an epoch would be 15,625, each with the log-probabilities of 128 rows among 100,000 levels) and the
scores of all rows, and `jaxrep reconstruct` of all rows are processes of their own, run once, the
first with an empty cache of compiled programs: wall time, and the peak of resident memory as Linux
counts it, the interpreter and its libraries included.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from bench.measured import Figure, Measured, Series
from bench.processes import wall_seconds

LEVELS, QUICK_LEVELS = (100_000, 20, 500), (1_500, 13, 50)  # rows per level, steps
MOST_MEGABYTES = 1500


def measure(*, quick: bool, rounds: int) -> Measured:
    """Runs both commands.

    Args:
        quick: 1,500 levels instead of 100,000.
        rounds: counts for nothing; the commands run once.

    Returns:
        Their seconds and their peaks of resident memory.
    """
    del rounds
    levels, rows_per_level, steps = QUICK_LEVELS if quick else LEVELS
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
            series.append(Series("wall time", side, "s", [seconds]))
            series.append(Series("peak memory", side, "MB", [megabytes]))
        _check_levels(Path(run) / "schema.json", levels)
    return Measured(series, {"levels": levels, "rows": levels * rows_per_level, "steps": steps})


def figures(measured: Measured) -> list[Figure]:
    """Returns the memory that the commands took."""
    return [
        Figure(
            f"many levels: peak memory of {found.side}, MB",
            round(found.median),
            "",
            MOST_MEGABYTES,
            "most",
        )
        for found in measured.series
        if found.unit == "MB"
    ]


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


def _check_levels(schema: Path, levels: int) -> None:
    """Holds that the run learned every level: a column left out or merged would cost nothing."""
    columns = json.loads(schema.read_text(encoding="utf-8"))["columns"]
    (found,) = (len(column["levels"]) for column in columns if column["name"] == "item")
    assert found == levels, f"{found} of {levels} levels in the schema"
