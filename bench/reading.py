"""Rows per second of reading a table of floats: CSV, Parquet and npy, and the bare libraries.

`jaxrep` is `read_table`, which names columns and gives cells as they are, those of a CSV as text.
*pyarrow* and *numpy* read the same file into memory; pyarrow makes numbers of a CSV's cells. *To
features* reads, makes numbers of cells and standardises them, which is what training and scoring
wait for.
"""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from bench import blobs
from bench.measured import Figure, Measured, collect, interleave
from bench.timing import rate
from jaxrep import data
from jaxrep.batch import Batch

BARE: dict[str, Callable[[str], object]] = {
    "csv": pyarrow.csv.read_csv,
    "parquet": pyarrow.parquet.read_table,
    "npy": np.load,
}


def measure(*, quick: bool, rounds: int) -> Measured:
    """Reads each file on every side, in turn; the files are in the system's cache.

    Args:
        quick: 50,000 rows instead of 500,000.
        rounds: how often.

    Returns:
        Rows per second.
    """
    x = blobs.many(50_000 if quick else 500_000)
    sides: dict[tuple[str, str], Callable[[int], float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = _write(Path(folder), x)
        schema = data.fit(lambda: data.read_blocks(files["npy"]), source="rows").schema
        for kind, path in files.items():
            bare = "numpy" if kind == "npy" else "pyarrow"
            readers: dict[str, Callable[[str], object]] = {
                "jaxrep": data.read_table,
                "jaxrep, to features": functools.partial(_features, schema),
                f"{bare} alone": BARE[kind],
            }
            for side, read in readers.items():
                sides[kind, side] = functools.partial(_rate, len(x), read, path)
        samples = interleave(rounds, sides)
    return Measured(collect("rows/s", samples), {"rows": len(x), "features": x.shape[1]})


def figures(measured: Measured) -> list[Figure]:
    """Returns jaxrep's rows per second over the bare library's."""
    pairs = {"csv": "pyarrow alone", "parquet": "pyarrow alone", "npy": "numpy alone"}
    return [
        Figure(f"{kind}: over {side}", measured.ratio((kind, "jaxrep"), (kind, side)), "×")
        for kind, side in pairs.items()
    ]


def _features(schema: data.Schema, path: str) -> Batch:
    return data.apply(schema, data.read_table(path), source=path)


def _rate(rows: int, read: Callable[[str], object], path: str, _: int) -> float:
    return rate(rows, lambda: read(path))


def _write(folder: Path, x: np.ndarray) -> dict[str, str]:
    table = pa.table({f"x{i}": column for i, column in enumerate(x.T)})
    files = {kind: str(folder / f"rows.{kind}") for kind in BARE}
    pyarrow.csv.write_csv(table, files["csv"])
    pyarrow.parquet.write_table(table, files["parquet"])
    np.save(files["npy"], x)
    return files
