"""The rows of the trainings: the bundled blobs, 2,000 × 32, standardised."""

import numpy as np

from jaxrep import data


def rows() -> np.ndarray:
    """Returns them as float32, `[2000, 32]`."""
    table, columns = data.load("blobs"), data.Columns(label="label")
    schema = data.fit(lambda: [table], source="blobs", columns=columns).schema
    return np.asarray(data.apply(schema, table, source="blobs").numbers)


def many(count: int, features: int = 32) -> np.ndarray:
    """Returns rows drawn from N(0, 1), float32, `[count, features]`."""
    drawn = np.random.default_rng(0).standard_normal((count, features), np.float32)
    return drawn
