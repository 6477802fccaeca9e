"""A table with numbers, categories, one of them wide, and gaps; its label follows from a number."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS, TOWNS = 2400, 1200  # each town twice, so that none is merged with others
FLAGS = (
    *("--column", "town=category", "--label", "side", "--epochs", "3"),
    *("--hidden-dims", "8", "--latent-dim", "2"),
)


def make_table(rows=ROWS):
    """Rows of columns that stand in another order than numbers and codes do."""
    rng = np.random.default_rng(0)
    height = rng.normal(170, 10, rows)
    age = rng.integers(18, 90, rows)
    job = rng.choice(["clerk", "smith", "nurse"], rows)
    return pa.table(
        {
            "town": [f"town {i % TOWNS}" for i in range(rows)],
            "age": pa.array(age, mask=np.arange(rows) % 7 == 0),
            "job": pa.array(job, mask=np.arange(rows) % 5 == 0),
            "height": height,
            "member": rng.random(rows) < 0.5,
            "side": np.where(height > 170, "tall", "short"),
        }
    )


def write(path):
    """Writes the table as a Parquet file."""
    pq.write_table(make_table(), path)
    return path
