"""Whether levels hold: rows flagged by p-value and by false discovery rate.

*Shuttle*: 9 numbers, normal is the class Rad.Flow, anomalies are all others. *Adult*: 6 numbers and
8 categories with missing cells; normal is every row of the training set, the class left out, and
an anomaly is a row of cells each of which is one of its column's values, rare or not, by a draw of
its own. *Cover*: 10 numbers with known anomalies.

A seed draws 10,000 normal rows, of which 1,000 are set apart (`calibration_fraction` 0.1) and 9,000
train a denoiser, for 300 steps alone: levels are to hold for bad models too. It draws 5,000 other
normal rows, all of which are judged by `predict` at `alpha` 0.05, and by the threshold that 5 % of
the training rows exceed (`contamination`), which is what there is without calibration rows. The
same seed is that of the split and of the training.

Of 1,800 of these rows and 200 anomalies `discoveries` takes rows at the rate 0.1. The share of
false ones among them (0 where nothing is found) is to be at most that in the mean, and *found* is
the share of the anomalies among them. 20 seeds, and data in the folder that `JAXREP_DATA` names.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from bench.data_files import data_folder
from bench.measured import Figure, Measured, Series
from jaxrep import DenoiserEmbedding
from jaxrep.runs.outputs import threshold

SEEDS, STEPS = 20, 300
ROWS, UNSEEN, PLANTED = 10_000, 5_000, 200
ALPHA, FDR, CALIBRATION = 0.05, 0.1, 0.1
TABLES = ("Shuttle", "Adult", "Cover")
BY_P_VALUE, BY_TRAINING = "p-value at most 0.05", "5 % of the training rows"
BY_RATE, OF_PLANTED = "false discovery rate 0.1", "planted, at the rate 0.1"
FLAGGED, FALSE, FOUND = "unseen rows flagged", "false among the found", "anomalies found"


class Table(NamedTuple):
    """Rows of two kinds."""

    normal: pa.Table
    """Rows in any order."""

    anomalies: pa.Table | None
    """Rows of another kind; None where they are made of the values of normal ones."""


def measure(*, quick: bool, rounds: int) -> Measured:
    """Trains on every table with every seed, and counts what is flagged.

    Args:
        quick: two seeds of 20 steps.
        rounds: of no use here; there are 20 seeds.

    Returns:
        The shares by table, one a seed.
    """
    folder = data_folder("shuttle.csv", "adult.data", "anomaly/10_cover.npz")
    seeds, steps = (2, 20) if quick else (SEEDS, STEPS)
    samples: dict[tuple[str, str, str], list[float]] = {}
    for name in TABLES:
        table = READERS[name](folder)
        for seed in range(seeds):
            for side, unit, value in one_seed(table, seed, steps):
                samples.setdefault((name, side, unit), []).append(value)
    series = [Series(case, side, unit, found) for (case, side, unit), found in samples.items()]
    return Measured(series, {"seeds": seeds, "steps": steps, "unseen": UNSEEN, "planted": PLANTED})


def one_seed(table: Table, seed: int, steps: int) -> Iterator[tuple[str, str, float]]:
    """Yields the shares that one seed gives, each with its side and what it is a share of."""
    draws = np.random.default_rng(seed)
    order = draws.permutation(len(table.normal))
    known, unseen, rest = (
        table.normal.take(rows) for rows in np.split(order, [ROWS, ROWS + UNSEEN])
    )
    model = DenoiserEmbedding(
        recipe="anomalies",
        steps=steps,
        calibration_fraction=CALIBRATION,
        alpha=ALPHA,
        seed=seed,
        split_seed=seed,
    ).fit(known)
    yield BY_P_VALUE, FLAGGED, float(np.mean(model.predict(unseen) == -1))
    limit = threshold(model.run_, ALPHA)
    yield BY_TRAINING, FLAGGED, float(np.mean(-model.score_samples(unseen) > limit))
    odd = entered_at_random(rest, draws) if table.anomalies is None else table.anomalies
    odd = odd.take(draws.choice(len(odd), PLANTED, replace=False))
    mixed = pa.concat_tables([unseen.slice(0, 9 * PLANTED), odd])
    found = model.discoveries(mixed, fdr=FDR)
    is_odd = np.arange(len(mixed)) >= 9 * PLANTED
    yield BY_RATE, FALSE, float((found & ~is_odd).sum() / max(found.sum(), 1))
    yield OF_PLANTED, FOUND, float(found[is_odd].mean())


def entered_at_random(rows: pa.Table, draws: np.random.Generator) -> pa.Table:
    """Returns as many rows whose cells are any of their columns' values, all alike likely.

    Example:
        >>> rows = pa.table({"a": [1, 1, 1, 2], "b": ["x", "x", None, "y"]})
        >>> made = entered_at_random(rows, np.random.default_rng(0))
        >>> made.shape, set(made["b"].to_pylist()) <= {"x", "y"}
        ((4, 2), True)
    """
    columns: dict[str, Any] = {}
    for name in rows.column_names:
        values = pc.unique(rows[name].drop_null())
        columns[name] = values.take(draws.integers(0, len(values), len(rows)))
    return pa.table(columns)


def _shuttle(folder: Path) -> Table:
    rows = pyarrow.csv.read_csv(folder / "shuttle.csv")
    is_normal = pc.equal(rows["Class"], "Rad.Flow")
    rows = rows.drop_columns(["Class"])
    return Table(rows.filter(is_normal), rows.filter(pc.invert(is_normal)))


def _adult(folder: Path) -> Table:
    return Table(read_adult(folder), None)


def read_adult(folder: Path, *, with_class: bool = False) -> pa.Table:
    """Reads the training set of Adult, its cells `?` as missing ones.

    Args:
        folder: that holds `adult.data`.
        with_class: whether the last column, the class, is among them.
    """
    lines = (folder / "adult.data").read_text("utf-8").splitlines()
    cells = [line.split(", ") for line in lines if line]
    columns = list(zip(*(row if with_class else row[:-1] for row in cells), strict=True))
    made: dict[str, Any] = {}
    for i, column in enumerate(columns):
        if all(cell.isdecimal() for cell in column):
            made[f"c{i}"] = pa.array([int(cell) for cell in column])
        else:
            made[f"c{i}"] = pa.array([None if cell == "?" else cell for cell in column])
    return pa.table(made)


def _cover(folder: Path) -> Table:
    with np.load(folder / "anomaly" / "10_cover.npz") as data:
        x, is_odd = data["X"], data["y"] == 1
    rows = pa.table({f"x{i}": column for i, column in enumerate(x.T)})
    return Table(rows.filter(~is_odd), rows.filter(is_odd))


READERS: dict[str, Callable[[Path], Table]] = {
    "Shuttle": _shuttle,
    "Adult": _adult,
    "Cover": _cover,
}


def figures(measured: Measured) -> list[Figure]:
    """Returns the means over the seeds, and what is promised of them."""
    made = []
    for table in dict.fromkeys(series.case for series in measured.series):
        flagged = _mean(measured, table, BY_P_VALUE, FLAGGED)
        off = abs(flagged - ALPHA)
        made += [
            Figure(f"{table}: {FLAGGED}, {BY_P_VALUE}", flagged, "%"),
            Figure(f"{table}: of these, distance from 5 %", off, "%", 0.005, "most"),
            Figure(
                f"{table}: {FLAGGED}, {BY_TRAINING}",
                _mean(measured, table, BY_TRAINING, FLAGGED),
                "%",
            ),
            Figure(
                f"{table}: {FALSE}, {BY_RATE}",
                _mean(measured, table, BY_RATE, FALSE),
                "%",
                FDR,
                "most",
            ),
            Figure(f"{table}: {FOUND}, {BY_RATE}", _mean(measured, table, OF_PLANTED, FOUND), "%"),
        ]
    return made


def _mean(measured: Measured, case: str, side: str, unit: str) -> float:
    found = [s for s in measured.series if (s.case, s.side, s.unit) == (case, side, unit)]
    return float(np.mean(found[0].samples)) if found else float("nan")
