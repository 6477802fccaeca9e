"""The bench of categories and missing cells, and how memory of a process is taken."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from bench import filling, many_levels, mixed, resident
from bench.__main__ import main
from bench.data_files import data_folder, packaged
from bench.filling import Cells, Hidden
from bench.measured import Measured, Series
from jaxrep.batch import Batch, RowSpec


def table(rows: int = 40) -> Cells:
    """Two numbers of which one gives the other, and two categories that say the sign of one."""
    x = np.random.default_rng(0).standard_normal(rows)
    sign = (x > 0).astype(int)
    codes = np.stack([sign, 2 * sign], axis=1)
    return Cells(np.stack([x, 3 * x + 5], axis=1), codes, (("no", "yes"), ("a", "b", "c")))


def test_the_one_hot_matrix_has_a_one_for_the_value_of_each_code():
    batch = mixed.rows(50)
    matrix = mixed.as_one_hot(batch, mixed.SPEC)
    assert matrix.shape == (50, 20 + 20 * 51)
    assert np.array_equal(matrix[:, :20], batch.numbers)
    parts = matrix[:, 20:].reshape(50, 20, 51)
    assert np.array_equal(parts.argmax(2), batch.codes) and (parts.sum(2) == 1).all()


def test_codes_of_different_columns_do_not_share_a_column():
    numbers = np.zeros((6, 0))
    codes = np.stack(np.meshgrid([0, 1], [0, 1, 2]), axis=-1).reshape(6, 2)
    matrix = mixed.as_one_hot(Batch(numbers, codes), RowSpec(0, (2, 3)))
    assert len(np.unique(matrix, axis=0)) == 6


def test_every_level_has_its_rows_and_says_something_of_the_numbers():
    made = many_levels.table_of_many_levels(50, 40)
    values, counts = np.unique(made["item"].to_numpy(), return_counts=True)
    assert len(values) == 50 and (counts == 40).all()
    means = made.group_by("item").aggregate([("x0", "mean")])["x0_mean"].to_numpy()
    assert np.std(means) > 0.7  # without levels it is 40^-½


def test_the_figures_of_mixed_rows_are_ratios_of_their_sides():
    found = [
        Series("vae", mixed.CODES, "rows/s", [30.0]),
        Series("vae", mixed.ONE_HOT, "rows/s", [20.0]),
        Series(mixed.ROWS_IN_MEMORY, mixed.CODES, "MB", [30.0]),
        Series(mixed.ROWS_IN_MEMORY, mixed.ONE_HOT, "MB", [100.0]),
    ]
    made = {f.name: (f.text, f.verdict) for f in mixed.figures(Measured(found))}
    assert made.pop("vae: numbers and codes over the one-hot matrix") == ("1.50 ×", "met")
    assert made.pop("bytes of the rows, numbers and codes over the one-hot matrix") == (
        "30.0 %",
        "missed",
    )
    assert set(made.values()) == {("not measured", "")}


@pytest.mark.end_to_end
def test_commands_on_many_levels_say_their_time_and_memory(monkeypatch):
    monkeypatch.setattr(many_levels, "QUICK_LEVELS", (1_010, 10, 3))
    found = many_levels.measure(quick=True, rounds=1)
    for side in ("jaxrep train", "jaxrep reconstruct"):
        (peak,) = (s for s in found.series if (s.side, s.unit) == (side, "MB"))
        (seconds,) = (s for s in found.series if (s.side, s.unit) == (side, "s"))
        assert 100 < peak.median < 1500 and 0.5 < seconds.median < 200
    assert {figure.verdict for figure in many_levels.figures(found)} == {"met"}


def test_a_run_that_merged_levels_is_not_measured(tmp_path):
    schema = tmp_path / "schema.json"
    schema.write_text('{"columns": [{"name": "x0"}, {"name": "item", "levels": ["a", "b"]}]}')
    many_levels._check_levels(schema, 2)
    with pytest.raises(AssertionError, match="2 of 3 levels"):
        many_levels._check_levels(schema, 3)


def test_the_peak_of_a_process_counts_what_it_takes_and_not_what_its_parent_had():
    script = (
        "from bench.resident import peak\n"
        "before = peak()\n"
        "taken = b'1' * (100 << 20)\n"
        "del taken\n"
        "print(before, peak() - before)\n"
    )
    taken = np.ones(50 << 20)  # 400 MB here
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    before, added = map(int, ran.stdout.split())
    assert before < taken.nbytes / 4 and 95 << 20 < added < 110 << 20


def test_the_peak_is_the_last_line_after_the_command(capsys):
    assert resident.main(["info", "no-such-folder"]) == 2
    assert int(capsys.readouterr().out.splitlines()[-1]) > 1 << 20


def test_cells_are_hidden_only_where_there_are_any():
    cells = table(1000)
    cells.numbers[::2, 0] = np.nan
    cells.codes[::2, 1] = -1
    holed, hidden = filling.hide(cells, seed=3)
    assert not hidden.numbers[::2, 0].any() and not hidden.codes[::2, 1].any()
    assert np.array_equal(np.isnan(holed.numbers), np.isnan(cells.numbers) | hidden.numbers)
    assert np.array_equal(holed.codes < 0, (cells.codes < 0) | hidden.codes)
    assert 0.15 < hidden.numbers[:, 1].mean() < 0.25 and 0.15 < hidden.codes[:, 0].mean() < 0.25
    other = filling.hide(cells, seed=4)[1]
    assert not np.array_equal(hidden.numbers, other.numbers)


def test_errors_are_of_hidden_cells_alone_and_means_over_columns():
    cells = table()
    hidden = Hidden(np.zeros((40, 2), bool), np.zeros((40, 2), bool))
    hidden.numbers[:4, 0] = hidden.numbers[:8, 1] = True
    hidden.codes[:4] = True
    holed = dataclasses.replace(cells, numbers=np.where(hidden.numbers, np.nan, cells.numbers))
    deviations = np.nanstd(holed.numbers, axis=0)
    filled = dataclasses.replace(cells, numbers=cells.numbers.copy(), codes=cells.codes.copy())
    filled.numbers[:4, 0] += [1, 1, 1, -5]
    filled.numbers[:8, 1] += 6
    filled.numbers[10:] += 100
    filled.codes[0, 0] += 1
    filled.codes[10:] = -1
    expected = (np.sqrt(7) / deviations[0] + 6 / deviations[1]) / 2
    error = filling.error_of_numbers(cells, holed, filled, hidden)
    assert error == pytest.approx(expected, rel=1e-12)
    assert filling.share_right(cells, filled, hidden) == (0.75 + 1) / 2
    filled.numbers[0, 0] = np.nan
    with pytest.raises(ValueError, match="missing"):
        filling.error_of_numbers(cells, holed, filled, hidden)


def test_rivals_fill_what_is_missing_and_leave_the_rest():
    cells = table(400)
    holed, hidden = filling.hide(cells, seed=0)
    errors = {}
    for fill in (filling.fill_by_column, filling.fill_by_neighbours):
        filled = fill(holed)
        assert np.allclose(filled.numbers[~hidden.numbers], cells.numbers[~hidden.numbers])
        assert np.array_equal(filled.codes[~hidden.codes], cells.codes[~hidden.codes])
        assert (filled.codes >= 0).all()
        errors[fill] = (
            filling.error_of_numbers(cells, holed, filled, hidden),
            filling.share_right(cells, filled, hidden),
        )
    (column, plain), (neighbours, near) = errors.values()
    assert 0.9 < column < 1.2 and neighbours < 0.8 * column
    assert 0.35 < plain < 0.65 and near > 0.9


@pytest.mark.end_to_end
def test_the_commands_fill_what_is_missing_and_leave_the_rest(tmp_path):
    cells = table(200)
    holed, hidden = filling.hide(cells, seed=0)
    flags = ("--hidden-dims", "16", "--steps", "60", "--learning-rate", "0.01")
    filled = filling.fill_by_command(tmp_path, flags, holed, seed=0)
    assert np.array_equal(filled.numbers[~hidden.numbers], cells.numbers[~hidden.numbers])
    assert np.array_equal(filled.codes[~hidden.codes], cells.codes[~hidden.codes])
    assert filling.error_of_numbers(cells, holed, filled, hidden) < 0.8
    assert filling.share_right(cells, filled, hidden) > 0.8


def test_the_figures_of_filling_count_the_tables_by_means_over_the_seeds():
    found = []
    for name, ours in (("a", [0.5, 0.7]), ("b", [0.6, 0.8]), ("c", [0.1, 0.9])):
        found.append(Series(f"{name}, numbers", filling.OURS, "standard deviations", ours))
        found.append(Series(f"{name}, numbers", filling.KNN, "standard deviations", [0.6, 0.6]))
    found.append(Series("c, categories", filling.OURS, "share right", [0.5, 0.7]))
    found.append(Series("c, categories", filling.PLAIN, "share right", [0.6, 0.6]))
    made = {figure.name: figure for figure in filling.figures(Measured(found))}
    assert made["a, numbers: autoencoder, mean"].value == 0.6
    assert made["a, numbers: autoencoder, standard deviation"].value == 0.1
    numbers = made["tables whose numbers are filled at least as well as by kNN"]
    assert (numbers.value, numbers.verdict) == (2, "met")
    better = made["tables whose categories are filled better than without a model"]
    assert (better.value, better.verdict) == (0, "missed")


def test_adult_is_read_with_its_missing_cells(tmp_path):
    path = tmp_path / "adult.data"
    path.write_text("39, State-gov, 7, <=50K\n50, ?, 13, >50K\n38, Private, 9, <=50K\n\n")
    cells = filling._adult(path)
    assert np.array_equal(cells.numbers, [[39, 7], [50, 13], [38, 9]])
    assert cells.levels == (("Private", "State-gov"),)
    assert cells.codes.tolist() == [[1], [-1], [0]]


def test_data_that_is_not_there_is_asked_for(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("JAXREP_DATA", raising=False)
    assert main(["--quick", "--only", "filling"]) == 2
    error = capsys.readouterr().err
    assert "JAXREP_DATA names no folder" in error and "adult.data" in error
    monkeypatch.setenv("JAXREP_DATA", str(tmp_path))
    (tmp_path / "a-ubyte.gz").touch()
    assert data_folder("*-ubyte.gz") == tmp_path
    with pytest.raises(ValueError, match=r"b\.csv missing"):
        data_folder("*-ubyte.gz", "b.csv")
    with pytest.raises(ValueError, match=r"pip install 'jaxrep\[tables\]'"):
        packaged("no_such_package", "a.csv")
    with pytest.raises(ValueError, match=r"numpy has no file a\.csv"):
        packaged("numpy", "a.csv")
