"""Cells that could not be placed: every command counts them, warns of them, and drops no row."""

import csv
import json

import numpy as np
import pytest

from jaxrep.data.store import _plan, _row_writer
from tests.helpers.commands import call, done

HEADER = ("id", "a", "b", "c", "job", "y")
# The shapes are those of test_command_line.py, so that nothing is compiled twice.
SMALL = ("--recipe", "seed", "--hidden-dims", "8", "--latent-dim", "2", "--epochs", "3")
ROLES = ("--label", "y", "--id-column", "id")
STRANGE = {"unknown": {"job": 2}, "filled": {"a": 1}, "missing": {"b": 2}}


def make_rows(count=60):
    """Rows of the columns id, a, b, c, job, y, of which b has a gap in row 4."""
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(count, 3)).round(4).tolist()
    jobs = rng.choice(["clerk", "smith"], count).tolist()
    rows = [[f"r{i}", *numbers[i], jobs[i], i % 2] for i in range(count)]
    rows[4][2] = ""
    return rows


def strange_rows():
    """Rows with two unknown jobs, and a gap more in b and in a, where there was none."""
    rows = make_rows()
    rows[0][4] = rows[7][4] = "baker"
    rows[2][1] = rows[5][2] = "NA"
    return rows


def write_csv(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return path


def cells_of(*argv):
    """What a command says of cells, in its result and on stderr."""
    code, out, err = call(*argv, "--json")
    assert code == 0, err
    said = [line for line in err.splitlines() if line.startswith("warning: ")]
    return json.loads(out.splitlines()[-1])["cells"], said


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A table, one with strange cells, an autoencoder and a classifier that was made of it."""
    path = tmp_path_factory.mktemp("cells")
    write_csv(path / "people.csv", make_rows())
    write_csv(path / "strange.csv", strange_rows())
    train = ("train", "autoencoder", path / "people.csv", "--out", path / "run", *SMALL, *ROLES)
    assert cells_of(*train) == ({"missing": {"b": 1}}, [])
    tune = ("finetune", path / "run", path / "people.csv", "--label", "y", "--epochs", "1")
    assert cells_of(*tune, "--out", path / "tuned") == ({"missing": {"b": 1}}, [])
    return path


def warnings_of(source):
    return [
        f"warning: {source}: 2 cells of 'job' are of no known category",
        f"warning: {source}: 1 cell of 'a' is missing, though none was when the model was fitted; "
        "they are filled as if they were usual",
    ]


@pytest.mark.parametrize("command", ["embed", "score", "reconstruct", "predict"])
def test_a_command_that_writes_a_table_counts_the_cells(folder, tmp_path, command):
    run = folder / ("tuned" if command == "predict" else "run")
    source = folder / "strange.csv"
    argv = (command, run, source, "--out", tmp_path / "out.csv")
    assert cells_of(*argv) == (STRANGE, warnings_of(source))
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 61
    usual = cells_of(command, run, folder / "people.csv", "--out", tmp_path / "out.csv")
    assert usual == ({"missing": {"b": 1}}, [])


def test_a_table_without_such_cells_has_an_empty_object(folder, tmp_path):
    source = write_csv(tmp_path / "whole.csv", make_rows()[5:])
    assert cells_of("embed", folder / "run", source, "--out", tmp_path / "z.csv") == ({}, [])


def test_evaluate_counts_the_cells_of_the_whole_table_and_warns_of_the_reference(folder):
    source = folder / "strange.csv"
    argv = ("evaluate", folder / "run", source, "--repeats", "1", "--rows", "40")
    assert cells_of(*argv) == (STRANGE, warnings_of(source))
    other = ("evaluate", folder / "run", folder / "people.csv", "--reference", source)
    assert cells_of(*other, "--repeats", "1") == ({"missing": {"b": 1}}, warnings_of(source))


@pytest.mark.parametrize("flags", [(), ("--stream", "always"), ("--grid", "l2=0,0.1")])
def test_finetune_counts_the_cells_of_its_table(folder, tmp_path, flags):
    source = folder / "strange.csv"
    argv = ("finetune", folder / "run", source, "--label", "y", "--epochs", "1")
    assert cells_of(*argv, "--out", tmp_path / "tuned", *flags) == (STRANGE, warnings_of(source))


def test_a_category_of_held_out_rows_alone_is_counted_and_kept_with_the_run(folder, tmp_path):
    rows = make_rows()
    rows[0][4] = "baker"
    held_out = np.random.default_rng(3).permutation(60)[:15]  # as split_seed 3 draws them
    rows[0], rows[held_out[0]] = rows[held_out[0]], rows[0]
    source = write_csv(tmp_path / "some.csv", rows)
    argv = ("train", "autoencoder", source, "--out", tmp_path / "run", *SMALL, *ROLES)
    argv = (*argv, "--validation-fraction", "0.25", "--split-seed", "3", "--batch-size", "16")
    cells, said = cells_of(*argv)
    assert cells["unknown"] == {"job": 1}
    assert f"warning: {source}: 1 cell of 'job' is of no known category" in said
    assert done("info", tmp_path / "run")["result"]["cells"] == cells
    assert done(*argv)["cells"] == cells  # finished: nothing to do


def test_prepare_counts_them_too_and_its_folder_keeps_the_counts(tmp_path, monkeypatch):
    source = write_csv(tmp_path / "people.csv", make_rows())
    out = tmp_path / "rows"
    monkeypatch.setattr(_plan, "block_rows", lambda width: 7)
    append, left = _row_writer._append, iter(range(3))

    def fail_after_three(*arguments):
        next(left)
        return append(*arguments)

    with monkeypatch.context() as patch, pytest.raises(StopIteration):
        patch.setattr(_row_writer, "_append", fail_after_three)
        call("prepare", source, "--out", out, *ROLES)
    assert cells_of("prepare", source, "--out", out, *ROLES)[0] == {"missing": {"b": 1}}
    assert done("prepare", source, "--out", out, *ROLES)["cells"] == {"missing": {"b": 1}}
    train = ("train", "autoencoder", out, "--out", tmp_path / "run", *SMALL)
    assert done(*train)["cells"] == {"missing": {"b": 1}}


@pytest.mark.parametrize("command", [("train", "autoencoder"), ("prepare",)])
def test_a_mark_that_matches_no_cell_is_said(tmp_path, command):
    rows = make_rows()
    rows[3][1], rows[8][3], rows[9][4] = -999, " ? ", "TRUE"
    source = write_csv(tmp_path / "people.csv", rows)
    marks = ("?", "-999.0", "true", "-1", "FALSE", "clerck")
    flags = [word for mark in marks for word in (f"--na-values={mark}",)]
    small = SMALL if command[0] == "train" else ()
    cells, said = cells_of(*command, source, "--out", tmp_path / "out", *small, *ROLES, *flags)
    assert cells == {"missing": {"a": 1, "b": 1, "c": 1, "job": 1}}
    assert said == [
        f"warning: {source}: --na-values {mark!r} matched no cell"
        for mark in ("-1", "FALSE", "clerck")
    ]


def test_info_says_what_a_run_holds_of_its_data(folder, tmp_path):
    rows = [[*row[:3], 7, *row[4:]] for row in make_rows()]
    source = write_csv(tmp_path / "people.csv", rows)
    done("train", "autoencoder", source, "--out", tmp_path / "run", *SMALL, *ROLES, "--drop", "a")
    held = done("info", tmp_path / "run")["kept_of_training_data"]
    b = np.array([row[2] for i, row in enumerate(rows) if i != 4])
    assert held["categories"] == {"job": 2}
    assert held["numbers"] == {
        "b": {
            "mean": pytest.approx(b.mean()),
            "scale": pytest.approx(b.std()),
            "why": "numbers",
        }
    }
    assert held["constants"] == {"c": 7.0}
    imputed = ("--drop", "a", "--impute", "median")
    done("train", "autoencoder", source, "--out", tmp_path / "imputed", *SMALL, *ROLES, *imputed)
    filled = np.append(b, np.median(b))
    numbers = done("info", tmp_path / "imputed")["kept_of_training_data"]["numbers"]["b"]
    assert numbers["mean"] == pytest.approx(filled.mean())
    assert numbers["median"] == np.median(b)
    assert held["target"] is None and held["rows"] == []
    assert held["score_quantiles"] == 1402
    text = call("info", tmp_path / "run")[1]
    assert "kept_of_training_data:" in text and "job: 2" in text
    tuned = done("info", folder / "tuned")["kept_of_training_data"]
    assert tuned["target"] == {"name": "y", "classes": [0, 1]}


def test_info_says_the_scales_and_how_many_quantiles_are_kept(folder, tmp_path):
    argv = ("train", "autoencoder", folder / "people.csv", "--out", tmp_path / "run", *SMALL)
    done(*argv, *ROLES, "--scale", "quantile", "--scale", "a=log1p")
    numbers = done("info", tmp_path / "run")["kept_of_training_data"]["numbers"]
    schema = json.loads((tmp_path / "run" / "schema.json").read_text())
    kept = {column["name"]: column.get("scaling") for column in schema["columns"]}
    assert numbers["a"]["scaling"] == "log1p" and "quantiles" not in numbers["a"]
    assert numbers["b"]["scaling"] == "quantile"
    assert numbers["b"]["quantiles"] == len(kept["b"]["values"]) > 2


def test_info_names_the_files_that_show_rows(folder, tmp_path):
    argv = ("train", "autoencoder", folder / "people.csv", "--out", tmp_path / "run", *SMALL)
    done(*argv, *ROLES, "--plots")
    done("report", tmp_path / "run", "--no-parity")
    held = done("info", tmp_path / "run")["kept_of_training_data"]
    assert held["rows"] == ["report.html", "plots/embedding.png"]
