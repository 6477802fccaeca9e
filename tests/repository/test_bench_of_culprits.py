"""The benchmark of reasons: what it plants, what it compares with, and its figures."""

import numpy as np
import pyarrow as pa
import pytest

from bench import culprits
from bench.culprits import FIRST, REASONS, THREE, Z_SCORES
from bench.measured import Measured, Series


def table(count, seed=0):
    """A category and two numbers; the second follows from both, the first is missing at times."""
    draws = np.random.default_rng(seed)
    kind, x = draws.integers(0, 3, count), draws.normal(size=count)
    return pa.table(
        {
            "kind": pa.array(np.array(["a", "b", "c"])[kind]),
            "x": pa.array(x, mask=draws.random(count) < 0.05),
            "y": pa.array(10.0 * kind + x + 0.01 * draws.normal(size=count)),
        }
    )


def test_one_cell_of_each_row_is_another_rows_and_does_not_fit():
    train, test = table(600), table(150, seed=1)
    rows, culprit = culprits.plant(train, test, 60, np.random.default_rng(2))
    assert rows.schema == test.schema and len(rows) == len(culprit) == 60
    assert set(culprit) == {0, 1, 2}
    known = {tuple(row.values()) for row in test.to_pylist()}
    values = {
        name: set(column.to_pylist())
        for name, column in zip(
            train.column_names, pa.concat_tables([train, test]).columns, strict=True
        )
    }
    for row, column in zip(rows.to_pylist(), culprit, strict=True):
        assert tuple(row.values()) not in known
        name = rows.column_names[column]
        assert row[name] in values[name]  # which some other row has
        others = [
            other
            for other in test.to_pylist()
            if all(other[key] == row[key] for key in row if key != name)
        ]
        assert others
        if name == "y" and row["x"] is not None:
            right = 10.0 * "abc".index(row["kind"]) + row["x"]
            assert abs(row["y"] - right) > 0.1


def test_the_rarest_cells_come_first_by_column():
    train = pa.table({"a": ["x"] * 98 + ["y"] * 2, "b": np.linspace(-1, 1, 100)})
    rows = pa.table({"a": ["x", "y", None], "b": [9.0, 0.1, 0.0]})
    order = culprits.rarest(train, rows)
    assert order[:, 0].tolist() == [1, 0, 1]


def test_figures_are_means_over_seeds_with_targets_for_reasons_alone():
    series = [
        Series("nursery", side, unit, values)
        for side, unit, values in (
            (REASONS, FIRST, [0.5, 0.7]),
            (REASONS, THREE, [0.8, 0.82]),
            (Z_SCORES, FIRST, [0.1, 0.2]),
            (Z_SCORES, THREE, [0.3, 0.4]),
        )
    ]
    figures = {figure.name: figure for figure in culprits.figures(Measured(series, {}))}
    first = figures[f"nursery: {FIRST}, {REASONS}"]
    assert (first.value, first.verdict) == (pytest.approx(0.6), "met")
    assert figures[f"nursery: {THREE}, {REASONS}"].verdict == "missed"
    assert figures[f"nursery: {FIRST}, {Z_SCORES}"].target is None
