"""Writes a large Parquet table, in row groups, in memory that its rows do not grow.

    python -m bench.big_table OUT.parquet --rows 20000000 --columns 32 --seed 0

Four Gaussian clusters as in the bundled blobs, whose column j lies 100·j from 0, in float32. A row
group's numbers depend on the seed and on its place alone, so a shorter table is the beginning of a
longer one. The default is 20 million rows of 32 columns: 2.5 GB.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from jaxrep import files

ROW_GROUP = 1 << 17
_CLUSTERS = 4


def groups(rows: int, columns: int, seed: int) -> Iterator[pa.Table]:
    """Yields the table, a row group at a time."""
    centers = np.random.default_rng(seed).uniform(-10, 10, (_CLUSTERS, columns))
    centers = (centers + 100 * np.arange(columns)).astype(np.float32)
    names = [f"x{i}" for i in range(columns)]
    for number, start in enumerate(range(0, rows, ROW_GROUP)):
        draws = np.random.default_rng((seed, number))
        # Columns are contiguous, as a table wants them.
        x = draws.standard_normal((columns, ROW_GROUP), np.float32)
        x += centers[draws.integers(_CLUSTERS, size=ROW_GROUP)].T
        yield pa.table(dict(zip(names, x[:, : rows - start], strict=True)))


def write(path: Path, rows: int, columns: int, seed: int) -> None:
    """Writes the table, whole or not at all."""
    first, *_ = groups(1, columns, seed)
    with (
        files.replacing(path) as temporary,
        # Noise does not compress, and trying takes time.
        pyarrow.parquet.ParquetWriter(
            temporary, first.schema, compression="none", use_dictionary=False
        ) as writer,
    ):
        for group in groups(rows, columns, seed):
            writer.write_table(group)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.big_table",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--columns", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    if min(asked.rows, asked.columns) < 1 or asked.seed < 0:
        parser.error("--rows and --columns must be at least 1, --seed at least 0")
    try:
        files.check_writable(asked.out)
        write(asked.out, asked.rows, asked.columns, asked.seed)
    except (ValueError, OSError) as error:
        print(f"big_table: {error}", file=sys.stderr)
        return 2
    print(f"wrote {asked.rows} rows × {asked.columns} columns to {asked.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
