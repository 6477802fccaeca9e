"""Rows of numbers and categories: as numbers and codes, and as the one-hot matrix of before.

The table has 20 numbers and 20 categories of 50 levels, independent of each other. *Numbers and
codes* is what jaxrep trains on: a code is looked up in the first layer's kernel, and its
reconstruction compared by its log-probability. *One-hot matrix* is how the first edition trained:
the same rows as 20 + 20·51 numbers (a category takes one value more, for those that training did
not know), compared by squared error. Both are trained by `training.fit` with the seed's settings,
in turn; compilation is not counted.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.measured import Figure, Measured, Series, collect, interleave
from bench.seed_methods import seed_method
from jaxrep.batch import Batch, RowSpec
from jaxrep.training import fit

SPEC = RowSpec(20, (51,) * 20)
CODES, ONE_HOT = "numbers and codes", "one-hot matrix"
TARGETS = {"autoencoder": 1.4, "vae": 1.4, "simclr": 3.0}
ROWS_IN_MEMORY = "the rows"


def measure(*, quick: bool, rounds: int) -> Measured:
    """Trains every method on both forms of the rows.

    Args:
        quick: 5,000 rows instead of 100,000.
        rounds: how often.

    Returns:
        Rows per second and megabytes of both forms; seconds of compilation as a fact.
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
    facts = {"rows": count, "epochs": epochs, "compile_seconds": compile_seconds}
    return Measured(series, facts)


def figures(measured: Measured) -> list[Figure]:
    """Returns what codes gain over the one-hot matrix."""
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


def _rows_per_second(
    name: str, epochs: int, x: Batch | np.ndarray, spec: RowSpec | None, seed: int
) -> float:
    return fit(seed_method(name, epochs=epochs, seed=seed), x, spec=spec).rows_per_second


def _bytes(x: Batch | np.ndarray) -> int:
    if isinstance(x, np.ndarray):
        return x.nbytes
    return sum(part.nbytes for part in x if part is not None)
