"""`jaxrep evaluate` on real files: what it prints, and one message for every wrong input."""

import csv
import json
import os
import pty
import threading
from contextlib import contextmanager, redirect_stderr, suppress

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jaxrep.cli import main
from jaxrep.runs.folder import load
from tests.helpers.commands import call
from tests.helpers.small import FEATURES, FLAGS, ROWS

HEADER = ("a", "b", "k", "job", "y")
SMALL = ("--recipe", "seed", "--hidden-dims", "8", "--latent-dim", "2", "--epochs", "20")
# The shapes are those of test_command_line.py, so that nothing is compiled twice.
OF_METHOD = {"autoencoder": ("--validation-fraction", "0.25", "--batch-size", "16"), "simclr": ()}
ROLES = ("--column", "job=category", "--label", "y")


def make_rows(count=60):
    """Rows of two clusters, told apart by a, with a constant column k and the class y."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(count):
        a = rng.normal() + 6 * (i % 4 == 0)
        job = ("clerk", "smith")[i % 2]
        rows.append([a, rng.normal(), 3.0, job, "odd" if i % 4 == 0 else "even"])
    return rows


def write_csv(path, rows, header=HEADER):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def evaluated(*argv):
    code, out, err = call("evaluate", *argv, "--json")
    assert code == 0, err
    return json.loads(out.splitlines()[-1]), out


def means(result, metric):
    """The metric's mean by representation, of those that have it."""
    results = {entry["name"]: entry["metrics"] for entry in result["results"]}
    return {name: found[metric]["mean"] for name, found in results.items() if metric in found}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A table, and an autoencoder and a SimCLR trained on it."""
    folder = tmp_path_factory.mktemp("evaluate")
    data = write_csv(folder / "people.csv", make_rows())
    for method, flags in OF_METHOD.items():
        argv = ("train", method, data, "--out", folder / method, *SMALL, *flags, *ROLES)
        code, _, err = call(*argv)
        assert code == 0, err
    return folder


def test_classes_are_measured_beside_the_baselines(folder, tmp_path):
    out = tmp_path / "result.json"
    argv = (folder / "autoencoder", folder / "people.csv", "--label", "y", "--repeats", "3")
    result, printed = evaluated(*argv, "--out", out)
    assert json.loads(out.read_text("utf-8")) == result
    assert (result["task"], result["classes"]) == ("classification", {"even": 45, "odd": 15})
    assert (result["rows"], result["labelled_rows"], result["test_rows"]) == (60, 45, 15)
    assert result["trained_on_data"] is True
    accuracy = means(result, "linear_accuracy")
    assert list(accuracy) == ["embedding", "raw features", "PCA", "most frequent class"]
    assert accuracy["most frequent class"] == 11 / 15
    assert accuracy["raw features"] > 0.95
    assert [r["size"] for r in result["results"]] == [2, 5, 2, None]  # without k
    for entry in result["results"]:
        for metric in entry["metrics"].values():
            assert len(metric["values"]) == 3
    assert "linear probe" in printed and "45 labelled rows, 15 test rows" in printed
    again, _ = evaluated(*argv)
    assert again == result


def test_the_seed_and_the_number_of_labels_change_what_is_measured(folder):
    argv = (folder / "autoencoder", folder / "people.csv", "--repeats", "2")
    one, _ = evaluated(*argv)
    other, _ = evaluated(*argv, "--seed", "5")
    assert means(one, "silhouette") != means(other, "silhouette")
    few, _ = evaluated(*argv, "--labels", "4")
    assert few["labelled_rows"] == 4
    assert few["test_rows"] == one["test_rows"]
    sampled, _ = evaluated(*argv, "--rows", "40")
    assert (sampled["rows"], sampled["table_rows"]) == (40, 60)


def test_anomalies_are_measured_by_the_score(folder):
    argv = (folder / "autoencoder", folder / "people.csv", "--anomaly", "odd", "--repeats", "2")
    result, _ = evaluated(*argv)
    assert result["task"] == "anomalies"
    found = means(result, "auroc")
    assert list(found) == [
        "score of the autoencoder",
        "kNN distance, embedding",
        "kNN distance, raw features",
        "local outlier factor",
        "isolation forest",
        "PCA reconstruction error",
        "‖x‖²",
        "chance",
    ]
    assert found["chance"] == 0.5
    assert found["‖x‖²"] > 0.8  # they lie far out
    assert found["isolation forest"] > 0.6
    assert means(result, "average_precision")["chance"] == 4 / 15


def test_a_terminal_shows_how_many_splits_are_measured_and_a_file_nothing(folder, monkeypatch):
    argv = ("evaluate", folder / "autoencoder", folder / "people.csv", "--anomaly", "odd")
    assert call(*argv, "--repeats", "2")[2] == ""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    with shown_in_a_terminal() as shown:
        assert main([*map(str, argv), "--repeats", "2"]) == 0
    assert "2/2 splits measured" in b"".join(shown).decode()


@contextmanager
def shown_in_a_terminal():
    """Makes stderr a terminal; what it is sent is in the list when it is left."""
    ours, theirs = pty.openpty()
    shown = []

    def read():
        with suppress(OSError):  # the other end is closed
            while block := os.read(ours, 4096):
                shown.append(block)

    reader = threading.Thread(target=read)
    reader.start()
    with open(theirs, "w", encoding="utf-8") as terminal, redirect_stderr(terminal):
        yield shown
    reader.join()
    os.close(ours)


def test_baselines_are_fitted_on_the_training_rows_where_other_rows_are_given(folder, tmp_path):
    other = write_csv(tmp_path / "other.csv", make_rows(40))
    run = folder / "autoencoder"
    argv = (run, other, "--anomaly", "odd", "--repeats", "2")
    default, _ = evaluated(*argv)
    assert default["reference"] == str((folder / "people.csv").resolve())
    assert (default["reference_rows"], default["trained_on_data"]) == (60, False)
    normal = [row for row in make_rows(60) if row[-1] == "even"]
    clean, _ = evaluated(*argv, "--reference", write_csv(tmp_path / "normal.csv", normal))
    assert clean["reference_rows"] == 45
    name = "kNN distance, raw features"
    assert means(clean, "auroc")[name] > means(default, "auroc")[name]


def test_numbers_are_predicted(folder, tmp_path):
    rows = [[*row[:4], 2.0 * row[0] + 1] for row in make_rows()]
    data = write_csv(tmp_path / "numbers.csv", rows, (*HEADER[:4], "t"))
    argv = (folder / "autoencoder", data, "--label", "t", "--repeats", "2")
    result, printed = evaluated(*argv, "--reference", data)  # whose column t is not a feature
    assert (result["task"], result["classes"]) == ("regression", None)
    found = means(result, "linear_r2")
    assert found["raw features"] > 0.99 > 0.1 > found["mean"]
    assert "linear R²" in printed


def test_every_column_has_its_error_beside_pca_and_the_mean(folder):
    argv = (folder / "autoencoder", folder / "people.csv", "--repeats", "2")
    result, printed = evaluated(*argv)
    columns = {column["name"]: column for column in result["columns"]}
    assert columns.keys() == {"a", "b", "job"}
    nats = [column["nats"] for column in result["columns"]]
    assert nats == sorted(nats, reverse=True)
    schema = load(folder / "autoencoder").schema
    for column in schema.numeric:
        found = columns[column.name]
        # The deviation of a few rows that are not those that the scale is of.
        assert found["mean_error"] == pytest.approx(column.scale, rel=0.3)
        # The squared error of scaled numbers is what the nats are; both are means over splits.
        assert found["error"] == pytest.approx(column.scale * found["nats"] ** 0.5, rel=0.1)
    assert 0 <= columns["job"]["error"] <= 1 and columns["job"]["pca_error"] <= 1
    assert "wrong" in printed


def test_without_a_decoder_the_error_is_left_out_and_that_is_said(folder):
    argv = (folder / "simclr", folder / "people.csv", "--repeats", "2")
    result, printed = evaluated(*argv)
    assert result["columns"] is None
    assert "simclr has no decoder" in printed


def test_a_column_that_lies_far_from_the_training_rows_is_a_note(folder, tmp_path):
    rows = [[row[0], row[1] + 100, *row[2:]] for row in make_rows()]
    data = write_csv(tmp_path / "varies.csv", rows)
    _, printed = evaluated(folder / "autoencoder", data, "--repeats", "1")
    assert "note: column 'b' lies far" in printed


def test_rows_without_a_label_are_left_out_where_asked_for(folder, tmp_path):
    rows = make_rows()
    rows[3][-1] = rows[7][-1] = ""
    data = write_csv(tmp_path / "some.csv", rows)
    argv = (folder / "autoencoder", data, "--repeats", "1")
    result, _ = evaluated(*argv, "--skip-unlabelled")
    assert (result["rows"], result["unlabelled_rows"]) == (58, 2)


def with_label(values):
    return [[*row[:4], value] for row, value in zip(make_rows(len(values)), values, strict=True)]


@pytest.mark.parametrize(
    ("labels", "flags", "facts"),
    [
        (["x"] * 9, (), ("label 'y'", "all 9 rows have the value 'x'")),
        (["x", "z"] * 4, ("--label", "yy"), ("no column 'yy'", "did you mean 'y'?", "'job', 'y'")),
        (["x", "", "z", ""] * 3, (), ("missing in 6 of 12 rows", "--skip-unlabelled")),
        (["1", "NA", "2", "1"] * 3, (), ("missing in 3 of 12 rows", "--skip-unlabelled")),
        (["x"], (), ("1 row with a label", "at least 4")),
        (["x", "z", "w"], (), ("one row alone of 'w', 'x', 'z' (3 of 3 classes)",)),
        (["x", "x", "z", "z", "w"], (), ("one row alone of 'w' (1 of 3 classes)",)),
        (["x", "z"] * 4, ("--labels", "1"), ("--labels is 1", "from 2")),
        (["x", "z", "w"] * 4, ("--labels", "2"), ("--labels is 2", "3 classes")),
        (["x", "z"] * 4, ("--anomaly", "v"), ("--anomaly v", "There are 'x', 'z'")),
        (["x", "z"] * 4, ("--anomaly", "x", "--anomaly", "z"), ("0 of 8 rows not anomalous",)),
        (["x", *["z"] * 7], ("--anomaly", "x"), ("1 of 8 rows anomalous", "--rows")),
        (["x", "z"] * 4, ("--anomaly", "x", "--labels", "4"), ("--labels is for probes",)),
        (["x", "z"] * 4, ("--task", "regression"), ("'x' is not a number",)),
        (["x", "z"] * 4, ("--label", "a"), ("trained on this column",)),
        (["x", "z"] * 4, ("--repeats", "0"), ("--repeats is 0",)),
        (["x", "z"] * 4, ("--rows", "1"), ("--rows is 1",)),
        (["x", "z"] * 4, ("--test-fraction", "1"), ("--test-fraction is 1",)),
        (["x", "z"] * 4, ("--seed", "-1"), ("--seed is -1",)),
        (["x", "z"] * 4, ("--reference", "gone.csv"), ("gone.csv", "no such file")),
        (["x", "z"] * 4, ("--out", "gone/a.json"), ("there is no folder gone",)),
        (["x", "z"] * 4, ("--anomaly", "v"), ("has that value. There are",)),
        (["x", "z"] * 4, ("--label", ""), ("no column ''",)),
        ([f"{i}e300" for i in range(30)], (), ("label 'y'", "2.9e+301 is too large to square")),
    ],
)
def test_what_cannot_be_evaluated_is_one_message(folder, tmp_path, labels, flags, facts):
    data = write_csv(tmp_path / "rows.csv", with_label(labels))
    code, out, err = call("evaluate", folder / "autoencoder", data, *flags)
    assert (code, out) == (2, ""), err
    assert err.startswith("jaxrep: ") and err.count("\n") == 1, err
    for fact in facts:
        assert fact in err


@pytest.mark.parametrize("flags", [(), ("--anomaly", "odd")])
def test_rows_too_far_to_square_are_counted_and_refused(folder, tmp_path, flags):
    rows = make_rows(12)
    rows[3][0], rows[5][0] = 1e38, -1e25
    data = write_csv(tmp_path / "far.csv", rows)
    code, out, err = call("evaluate", folder / "simclr", data, *flags)
    assert (code, out) == (2, "")
    assert "far.csv: 2 of 12 rows lie too far from the rows that the run trained on" in err


def test_a_reference_of_one_row_is_refused(folder, tmp_path):
    one = write_csv(tmp_path / "one.csv", make_rows(1))
    code, _, err = call("evaluate", folder / "simclr", folder / "people.csv", "--reference", one)
    assert code == 2
    assert "one.csv: 1 row; at least 2" in err


def test_the_largest_seed_serves_more_than_one_split(folder):
    argv = (folder / "simclr", folder / "people.csv", "--anomaly", "odd", "--repeats", "2")
    assert evaluated(*argv, "--seed", 2**32 - 1)[0]["repeats"] == 2


def test_neither_a_table_that_is_read_nor_the_run_is_written_over(folder, tmp_path):
    run, data = folder / "simclr", folder / "people.csv"
    (tmp_path / "parts").mkdir()
    pq.write_table(pa.table({"a": [1.0]}), tmp_path / "parts" / "a.parquet")
    other = write_csv(tmp_path / "other.csv", make_rows(12))
    for argv, out, said in (
        ((data,), folder / "." / "people.csv", "is the table to read"),
        ((other,), data, "is the table to read"),  # which the baselines are fitted on
        ((data, "--reference", other), other, "is the table to read"),
        ((tmp_path / "parts",), tmp_path / "parts" / "b.parquet", "is inside the table to read"),
        ((data,), run / "model.safetensors", "is a file of the run"),
        ((data,), run / "checkpoints" / "a.json", "checkpoints"),
    ):
        before = out.read_bytes() if out.exists() else None
        (run / "checkpoints").mkdir(exist_ok=True)
        code, _, err = call("evaluate", run, *argv, "--out", out)
        assert (code, said in err, err.count("\n")) == (2, True, 1), err
        assert (out.read_bytes() if out.exists() else None) == before
    for out, said in ((data, "is the table to read"), (run / "config.json", "a file of the run")):
        before = out.read_bytes()
        code, _, err = call("parity", run, "--data", other, "--out", out)
        assert (code, said in err, out.read_bytes()) == (2, True, before), err


def test_names_that_a_terminal_would_obey_are_printed_as_escapes(tmp_path):
    rows = [[*row[:2], row[-1]] for row in make_rows(24)]
    data = write_csv(tmp_path / "odd.csv", rows, ("a\x1b[31m", "new\nline", "y"))
    argv = ("train", "autoencoder", data, "--out", tmp_path / "run", "--label", "y")
    assert call(*argv, "--epochs", "1", "--hidden-dims", "8", "--latent-dim", "1")[0] == 0
    code, out, _ = call("evaluate", tmp_path / "run", data, "--repeats", "1", "--anomaly", "odd")
    assert code == 0
    assert "\x1b" not in out
    assert r"a\x1b[31m" in out and r"new\nline" in out


def test_a_table_without_the_columns_of_the_run_is_refused(folder, tmp_path):
    rows = [[row[0], row[-1]] for row in make_rows()]
    data = write_csv(tmp_path / "narrow.csv", rows, ("a", "y"))
    code, _, err = call("evaluate", folder / "autoencoder", data)
    assert code == 2
    assert "missing columns 'b', 'job'" in err


def test_a_run_without_a_label_asks_for_one(tmp_path):
    source = tmp_path / "rows.npy"
    np.save(source, np.random.default_rng(0).normal(size=(ROWS, FEATURES)))
    argv = ("train", "autoencoder", source, "--out", tmp_path / "r", *FLAGS, "--epochs", "1")
    code, _, err = call(*argv)
    assert code == 0, err
    code, _, err = call("evaluate", tmp_path / "r", source)
    assert code == 2
    assert "no label column; name one with --label" in err
