"""From a table that a package ships to its codes, scores, new rows and an export, with no flags."""

import csv
import subprocess
import sys

import pytest

from tests.helpers.real_tables import REFUSED, TABLES

pytestmark = [pytest.mark.slow, pytest.mark.end_to_end]

LEFT_OUT = {"id", "text", "constant"}


def jaxrep(*argv):
    command = [sys.executable, "-m", "jaxrep.cli", *map(str, argv)]
    return subprocess.run(command, capture_output=True, text=True)


def succeed(*argv):
    process = jaxrep(*argv)
    assert process.returncode == 0, f"jaxrep {argv[0]}: {process.stderr}"


def read(path):
    """The header of a CSV, and how many rows it has."""
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return header, len(rows)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_table_goes_through_every_command(table, tmp_path):
    data, run = table.path(tmp_path), tmp_path / "run"
    codes, scores, new = (tmp_path / f"{name}.csv" for name in ("codes", "scores", "new"))
    succeed("train", "vae", data, "--out", run, "--epochs", "2")
    succeed("embed", run, data, "--out", codes)
    succeed("score", run, data, "--out", scores)
    succeed("generate", run, "-n", "7", "--out", new)
    succeed("export", run, "--out", tmp_path / "model.pt")
    assert read(codes)[1] == table.rows
    assert read(scores)[1] == table.rows
    learned = [name for name, kind in table.columns.items() if kind not in LEFT_OUT]
    assert read(new) == (learned, 7)
    assert (tmp_path / "model.pt").stat().st_size


@pytest.mark.parametrize("table", REFUSED, ids=lambda table: table.name)
def test_a_table_with_a_mixed_column_trains_nothing(table, tmp_path):
    run = tmp_path / "run"
    process = jaxrep("train", "vae", table.path(tmp_path), "--out", run, "--epochs", "2")
    assert process.returncode == 2
    assert any(column in process.stderr for column in table.refused)
    assert "Traceback" not in process.stderr
    assert not run.exists()
