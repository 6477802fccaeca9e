"""Every command on real files: what it prints, what it writes, and that the numbers agree."""

import contextlib
import csv
import io
import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
from matplotlib.image import imread
from pyarrow import feather

from jaxrep.cli import main
from jaxrep.data.read import read_table
from tests.helpers.commands import call, done

METHODS = ("autoencoder", "vae", "simclr")
ROLES = ("--column", "job=category", "--label", "y", "--id-column", "id")
SMALL = ("--recipe", "seed", "--hidden-dims", "8", "--latent-dim", "2", "--epochs", "20", *ROLES)
FAST = ("--learning-rate", "0.02")
# 60 rows: rows held out and several batches with a smaller last one; less than a batch; again.
# The shapes are those of test_bad_input.py, so that nothing is compiled twice.
OF_METHOD = {
    "autoencoder": (*("--validation-fraction", "0.25", "--batch-size", "16"), *FAST),
    "vae": FAST,
    "simclr": FAST,
}
METRICS = {
    "autoencoder": {"epoch", "loss", "validation_loss"},
    "vae": {"epoch", "loss", "reconstruction", "kl"},
    "simclr": {"epoch", "loss"},
}
HEADER = ("id", "a", "b", "c", "job", "y")
DECODERS = ("autoencoder", "vae")


def make_rows(count=60):
    """Rows of the columns id, a, b, c, job, y."""
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(count, 3)).round(4).tolist()
    jobs = rng.choice(["clerk", "smith"], count).tolist()
    return [[f"r{i}", *numbers[i], jobs[i], i % 2] for i in range(count)]


def write_csv(path, rows=None, header=HEADER):
    rows = make_rows() if rows is None else rows
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def train_argv(method, data, out, *flags):
    return ("train", method, data, "--out", out, *SMALL, *OF_METHOD[method], *flags)


def columns_of(path):
    """The columns of a file that a command wrote, text as text."""
    table = read_table(str(path))
    columns = {name: table[name].to_numpy() for name in table.column_names}
    for name in {"z0", "z1", "score", "a", "b", "c"} & columns.keys():
        columns[name] = columns[name].astype(float)
    if "anomaly" in columns:
        assert set(columns["anomaly"]) <= {"true", "false"}
        columns["anomaly"] = columns["anomaly"] == "true"
    return columns


def numbers_of(path, names="abc"):
    columns = columns_of(path)
    return np.column_stack([columns[name] for name in names])


def in_a_process(*argv, **options):
    command = [sys.executable, "-m", "jaxrep.cli", *map(str, argv)]
    return subprocess.run(command, capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with people.csv and a run of each method; tests do not change it."""
    path = tmp_path_factory.mktemp("trained")
    data = write_csv(path / "people.csv")
    for method in METHODS:
        result = done(*train_argv(method, data, path / method, "--plots"))
        (path / f"{method}.json").write_text(json.dumps(result))
    return path


@pytest.fixture
def data(tmp_path):
    return write_csv(tmp_path / "people.csv")


# train


@pytest.mark.parametrize("method", METHODS)
def test_train_prints_the_figures_of_the_run(folder, method):
    result = json.loads((folder / f"{method}.json").read_text())
    assert list(result) == [
        "run",
        "method",
        "rows",
        "epochs",
        "steps",
        "epoch",
        "stopped_early",
        "loss",
        "validation_loss",
        "held_out",
        "seconds",
        "compile_seconds",
        "rows_per_second",
        "resumed_from_step",
        "cells",
    ]
    rows = 45 if method == "autoencoder" else 60
    assert result["run"] == str(folder / method)
    assert (result["method"], result["rows"], result["epochs"]) == (method, rows, 20)
    assert result["resumed_from_step"] == 0
    assert 0 < result["loss"] < 100
    assert result["seconds"] > 0 and result["compile_seconds"] > 0
    assert result["rows_per_second"] == pytest.approx(rows * 20 / result["seconds"])


@pytest.mark.parametrize("method", METHODS)
def test_train_logs_one_object_an_epoch(folder, method):
    lines = (folder / method / "metrics.jsonl").read_text().splitlines()
    epochs = [json.loads(line) for line in lines]
    assert [metrics["epoch"] for metrics in epochs] == list(range(1, 21))
    for metrics in epochs:
        assert metrics.keys() == METRICS[method]
        assert np.isfinite(list(metrics.values())).all()
    result = json.loads((folder / f"{method}.json").read_text())
    assert epochs[result["epoch"] - 1]["loss"] == result["loss"]
    assert epochs[-1]["loss"] < epochs[0]["loss"]


@pytest.mark.parametrize("method", METHODS)
def test_train_writes_the_files_of_a_run(folder, method):
    files = {p.name for p in (folder / method).iterdir()}
    assert files - {"last.safetensors"} == {  # there where the last epoch is not the best
        "config.json",
        "schema.json",
        "model.safetensors",
        "metrics.jsonl",
        "manifest.json",
        "checkpoints",
        "plots",
    }


@pytest.mark.parametrize("method", METHODS)
def test_plots_are_two_pictures_with_something_in_them(folder, method):
    for name in ("loss.png", "embedding.png"):
        picture = imread(folder / method / "plots" / name)[..., :3]
        assert min(picture.shape[:2]) > 400
        coloured = np.ptp(picture, axis=-1) > 0.3  # lines and points; axes are black
        assert 0.001 < coloured.mean() < 0.5


def test_the_same_command_gives_the_same_bytes_in_another_process(folder, tmp_path):
    argv = train_argv("autoencoder", folder / "people.csv", tmp_path / "again")
    process = in_a_process(*argv)
    assert process.returncode == 0, process.stderr
    assert "Traceback" not in process.stderr
    assert process.stdout.splitlines()[-1] == f"saved in {tmp_path / 'again'}"
    for name in ("model.safetensors", "metrics.jsonl", "schema.json"):
        first, second = folder / "autoencoder" / name, tmp_path / "again" / name
        assert first.read_bytes() == second.read_bytes(), name


@pytest.mark.parametrize("method", METHODS)
def test_the_seed_changes_the_run(folder, tmp_path, method):
    argv = train_argv(method, folder / "people.csv", tmp_path / "run", "--seed", "1")
    done(*argv)
    first, second = folder / method, tmp_path / "run"
    assert (first / "model.safetensors").read_bytes() != (second / "model.safetensors").read_bytes()


def test_train_and_embed_read_parquet_and_arrays(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 6))
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", X=x, y=np.zeros(60))
    table = read_table(str(tmp_path / "x.npy")).rename_columns(list("abcdef"))
    pq.write_table(table, tmp_path / "x.parquet")
    flags = (*SMALL[:6], *OF_METHOD["autoencoder"])
    losses = []
    for kind in ("npy", "npz", "parquet"):
        source, run = tmp_path / f"x.{kind}", tmp_path / f"run_{kind}"
        losses.append(done("train", "autoencoder", source, "--out", run, *flags)["loss"])
        result = done("embed", run, source, "--out", tmp_path / "z.parquet")
        assert (result["rows"], result["columns"]) == (60, 2)
    assert losses[0] == losses[1] == losses[2]


def test_a_bundled_set_is_trained_on_without_its_label(tmp_path):
    done("train", "autoencoder", "iris", "--out", tmp_path / "run", "--hidden-dims", "--epochs", 1)
    assert done("info", tmp_path / "run")["numbers"] == 4
    result = done("embed", tmp_path / "run", "iris", "--out", tmp_path / "z.parquet")
    assert (result["rows"], result["columns"]) == (150, 8)


def test_a_training_that_diverges_is_one_message_and_an_unfinished_run(data, tmp_path):
    argv = train_argv("vae", data, tmp_path / "run")
    code, out, err = call(*argv, "--learning-rate", "1e38")
    assert (code, out) == (1, "")
    assert "the loss is no longer finite, at epoch 2" in err
    code, _, err = call("info", tmp_path / "run")
    assert code == 1 and "not finished" in err and "training row is not finite" in err


# train, where the folder exists


def test_an_empty_folder_takes_a_run(data, tmp_path):
    (tmp_path / "run").mkdir()
    assert done(*train_argv("vae", data, tmp_path / "run"))["epochs"] == 20


def test_a_folder_is_made_with_its_parents(data, tmp_path):
    done(*train_argv("vae", data, tmp_path / "a" / "b" / "run"))
    assert (tmp_path / "a" / "b" / "run" / "manifest.json").exists()


@pytest.fixture
def run(folder, tmp_path):
    """A copy of the VAE's run, and the command that made it."""
    shutil.copytree(folder / "vae", tmp_path / "run")
    return tmp_path / "run", train_argv("vae", folder / "people.csv", tmp_path / "run")


def contents(path):
    return {p: (p.stat().st_mtime_ns, p.is_file() and p.read_bytes()) for p in path.rglob("*")}


def test_a_finished_run_of_the_same_configuration_is_not_trained_again(folder, run):
    path, argv = run
    before = contents(path)
    code, out, err = call(*argv, "--json")
    assert code == 0
    assert err == f"{path} already holds this run, finished: nothing to do\n"
    earlier = json.loads((folder / "vae.json").read_text())
    assert json.loads(out.splitlines()[-1]) == earlier | {"run": str(path)}
    assert contents(path) == before


def test_the_same_data_at_another_path_is_the_same_run(run, data):
    path, argv = run
    before = contents(path)
    code, _, err = call("train", "vae", data, *argv[3:])
    assert code == 0 and "nothing to do" in err
    assert contents(path) == before


DIFFERENCES = [
    (("--beta", "4"), "beta: 1.0 there, 4.0 asked for"),
    (("--epochs", "4"), "epochs: 20 there, 4 asked for"),
    (("--hidden-dims", "8", "4"), "hidden_dims: [8] there, [8, 4] asked for"),
    (("--label", "a"), "label: 'y' there, 'a' asked for"),
    (("--impute", "refuse"), "impute: None there, 'refuse' asked for"),
    (("--drop", "c"), "drop: [] there, ['c'] asked for"),
]


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(("flags", "said"), DIFFERENCES)
def test_another_configuration_is_refused_with_the_key_that_differs(run, finished, flags, said):
    path, argv = run
    if not finished:
        (path / "manifest.json").unlink()
    before = contents(path)
    code, out, err = call(*argv, *flags)
    assert (code, out) == (2, "")
    assert "differs in" in err and "--overwrite" in err
    assert said in err
    assert ("unfinished" in err) is not finished
    assert contents(path) == before


@pytest.mark.parametrize("finished", [True, False])
def test_other_data_and_another_method_are_refused(run, tmp_path, finished):
    path, argv = run
    if not finished:
        (path / "manifest.json").unlink()
    other = write_csv(tmp_path / "other.csv", make_rows()[:-1])
    before = contents(path)
    for changed, said in (
        (("train", "vae", other, *argv[3:]), "differs in the data"),
        (("train", "autoencoder", *argv[2:]), "differs in method: 'vae' there"),
    ):
        code, _, err = call(*changed)
        assert code == 2 and said in err
    assert contents(path) == before


def test_an_unfinished_run_of_the_same_configuration_finishes(folder, run):
    path, argv = run
    (path / "manifest.json").unlink()
    (path / "model.safetensors").unlink()
    (path / "metrics.jsonl").write_text('{"epoch": 1, "loss": 2.0}\n{"epo')
    assert done(*argv)["epochs"] == 20
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (path / name).read_bytes() == (folder / "vae" / name).read_bytes()
    done("info", path)


def test_overwrite_replaces_a_run_and_its_pictures(run):
    path, argv = run
    (path / "notes.txt").write_text("mine")
    done(*argv, "--beta", "4", "--overwrite")
    assert done("info", path)["hyperparameters"]["beta"] == 4.0
    assert len((path / "metrics.jsonl").read_text().splitlines()) == 20
    assert list((path / "plots").iterdir()) == []
    assert (path / "notes.txt").read_text() == "mine"


def test_overwrite_replaces_a_damaged_run(run):
    path, argv = run
    (path / "config.json").write_text("{")
    done(*argv, "--overwrite")
    done("info", path)


def test_plots_of_a_finished_run_are_drawn_without_training(run):
    path, argv = run
    shutil.rmtree(path / "plots")
    model = (path / "model.safetensors").stat().st_mtime_ns
    code, _, err = call(*argv, "--plots")
    assert code == 0 and err.count("drew ") == 2
    assert {p.name for p in (path / "plots").iterdir()} == {"loss.png", "embedding.png"}
    assert (path / "model.safetensors").stat().st_mtime_ns == model


# info


@pytest.mark.parametrize("method", METHODS)
def test_info_says_what_a_run_is(folder, method):
    code, text, _ = call("info", folder / method)
    summary = done("info", folder / method)
    assert code == 0
    assert f"method: {method}" in text and "latent_dim: 2" in text
    assert summary["hyperparameters"]["hidden_dims"] == [8]
    assert summary["data"]["source"] == str(folder / "people.csv")
    assert summary["data"]["columns"]["label"] == "y"
    assert (summary["numbers"], summary["codes"]) == (3, 1) and summary["parameters"] > 50
    assert summary["result"] == json.loads((folder / f"{method}.json").read_text())
    assert np.isfinite(summary["score_threshold"])


# embed


@pytest.mark.parametrize("method", METHODS)
def test_embed_writes_the_id_and_the_codes_and_not_the_label(folder, tmp_path, method):
    out = tmp_path / "z.csv"
    result = done("embed", folder / method, folder / "people.csv", "--out", out)
    assert result == {
        "run": str(folder / method),
        "out": str(out),
        "rows": 60,
        "columns": 3,
        "cells": {},
    }
    columns = columns_of(out)
    assert list(columns) == ["id", "z0", "z1"]
    assert columns["id"].tolist() == [f"r{i}" for i in range(60)]
    assert np.isfinite(columns["z0"]).all() and np.isfinite(columns["z1"]).all()


@pytest.mark.parametrize(
    "header",
    [
        ("y", "job", "c", "id", "b", "a"),
        ("id", "a", "b", "c", "job"),
        ("c", "a", "job", "b"),
    ],
)
def test_columns_may_stand_in_any_order_and_label_and_id_be_absent(folder, tmp_path, header):
    rows = [[dict(zip(HEADER, row, strict=True))[name] for name in header] for row in make_rows()]
    write_csv(tmp_path / "other.csv", rows, header)
    for source, out in ((folder / "people.csv", "first.csv"), (tmp_path / "other.csv", "z.csv")):
        done("embed", folder / "vae", source, "--out", tmp_path / out)
        done("score", folder / "vae", source, "--out", tmp_path / f"score_{out}")
    first, second = columns_of(tmp_path / "first.csv"), columns_of(tmp_path / "z.csv")
    assert list(second) == (["id", "z0", "z1"] if "id" in header else ["z0", "z1"])
    np.testing.assert_array_equal(first["z0"], second["z0"])
    np.testing.assert_array_equal(first["z1"], second["z1"])
    scores = [columns_of(tmp_path / f"score_{out}")["score"] for out in ("first.csv", "z.csv")]
    np.testing.assert_array_equal(*scores)


def test_a_row_alone_has_the_embedding_that_it_has_among_others(folder, tmp_path):
    write_csv(tmp_path / "one.csv", make_rows()[7:8])
    for source, out in ((folder / "people.csv", "all.csv"), (tmp_path / "one.csv", "one_z.csv")):
        done("embed", folder / "simclr", source, "--out", tmp_path / out)
    alone, among = (numbers_of(tmp_path / f, ("z0", "z1")) for f in ("one_z.csv", "all.csv"))
    np.testing.assert_array_equal(alone[0], among[7])


def test_an_unknown_category_is_embedded(folder, tmp_path):
    rows = make_rows()
    rows[0][4] = "baker"
    write_csv(tmp_path / "other.csv", rows)
    assert done("embed", folder / "vae", tmp_path / "other.csv", "--out", tmp_path / "z.csv")


def test_every_kind_of_output_holds_the_same_numbers(folder, tmp_path):
    source = write_csv(tmp_path / "other.csv", [row[1:] for row in make_rows()], HEADER[1:])
    arrays = []
    for kind in ("csv", "csv.gz", "parquet", "feather", "npy", "npz"):
        done("embed", folder / "vae", source, "--out", tmp_path / f"z.{kind}")
    for name in ("z.csv", "z.csv.gz"):
        arrays.append(numbers_of(tmp_path / name, ("z0", "z1")).astype(np.float32))
    columns = feather.read_table(tmp_path / "z.feather").columns
    arrays.append(np.column_stack([c.to_numpy() for c in columns]))
    arrays.append(np.column_stack([c.to_numpy() for c in pq.read_table(tmp_path / "z.parquet")]))
    arrays.append(np.load(tmp_path / "z.npy"))
    arrays.append(np.load(tmp_path / "z.npz")["X"])
    for array in arrays:
        assert array.shape == (60, 2)
        np.testing.assert_array_equal(array, arrays[0])


# reconstruct, decode, interpolate, generate


@pytest.mark.parametrize("method", DECODERS)
def test_reconstruct_writes_the_tables_own_columns_and_not_the_label(folder, tmp_path, method):
    done("reconstruct", folder / method, folder / "people.csv", "--out", tmp_path / "x.csv")
    columns = columns_of(tmp_path / "x.csv")
    assert list(columns) == ["id", "a", "b", "c", "job"]
    assert columns["id"].tolist() == [f"r{i}" for i in range(60)]
    assert set(columns["job"]) <= {"clerk", "smith"}
    assert np.isfinite(numbers_of(tmp_path / "x.csv")).all()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("method", DECODERS)
def test_decoding_the_embedding_is_reconstructing(folder, tmp_path, method, kind):
    run, source = folder / method, folder / "people.csv"
    done("embed", run, source, "--out", tmp_path / f"z.{kind}")
    done("decode", run, tmp_path / f"z.{kind}", "--out", tmp_path / "decoded.csv")
    done("reconstruct", run, source, "--out", tmp_path / "x.csv")
    decoded, x = columns_of(tmp_path / "decoded.csv"), columns_of(tmp_path / "x.csv")
    assert list(decoded) == list(x)
    assert decoded["id"].tolist() == x["id"].tolist()
    assert decoded["job"].tolist() == x["job"].tolist()
    first, second = numbers_of(tmp_path / "decoded.csv"), numbers_of(tmp_path / "x.csv")
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-5)


def test_codes_come_from_arrays_and_in_any_order_of_columns(folder, tmp_path):
    z = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    np.save(tmp_path / "z.npy", z)
    write_csv(tmp_path / "z.csv", z[:, ::-1].tolist(), ("z1", "z0"))
    for kind in ("npy", "csv"):
        done("decode", folder / "vae", tmp_path / f"z.{kind}", "--out", tmp_path / f"{kind}.csv")
    assert (tmp_path / "npy.csv").read_bytes() == (tmp_path / "csv.csv").read_bytes()
    assert list(columns_of(tmp_path / "csv.csv")) == ["a", "b", "c", "job"]


@pytest.mark.parametrize("method", DECODERS)
def test_the_ends_of_an_interpolation_are_the_reconstructions(folder, tmp_path, method):
    run, source = folder / method, folder / "people.csv"
    argv = ("interpolate", run, source, "--rows", "41", "3", "--steps", "5")
    result = done(*argv, "--out", tmp_path / "path.csv")
    assert (result["rows"], result["columns"]) == (5, 4)
    done("reconstruct", run, source, "--out", tmp_path / "x.csv")
    path, x = numbers_of(tmp_path / "path.csv"), numbers_of(tmp_path / "x.csv")
    np.testing.assert_allclose(path[[0, -1]], x[[41, 3]], rtol=0, atol=1e-5)
    jobs = columns_of(tmp_path / "x.csv")["job"]
    assert columns_of(tmp_path / "path.csv")["job"][[0, -1]].tolist() == jobs[[41, 3]].tolist()


def test_an_interpolation_decodes_the_middle_of_two_codes(folder, tmp_path):
    run, source = folder / "vae", folder / "people.csv"
    done("embed", run, source, "--out", tmp_path / "z.csv")
    z = numbers_of(tmp_path / "z.csv", ("z0", "z1"))
    np.save(tmp_path / "middle.npy", z[[41, 3]].mean(axis=0, keepdims=True))
    done("decode", run, tmp_path / "middle.npy", "--out", tmp_path / "middle.csv")
    argv = ("interpolate", run, source, "--rows", "41", "3", "--steps", "3")
    done(*argv, "--out", tmp_path / "path.csv")
    middle, path = numbers_of(tmp_path / "middle.csv"), numbers_of(tmp_path / "path.csv")
    np.testing.assert_allclose(path[1:2], middle, rtol=0, atol=1e-5)


def test_generate_is_decided_by_its_seed(folder, tmp_path):
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        argv = ("generate", folder / "vae", "-n", "40", "--seed", seed)
        result = done(*argv, "--out", tmp_path / f"{name}.csv")
        assert (result["rows"], result["columns"]) == (40, 4)
    first, again, other = (
        (tmp_path / f"{name}.csv").read_bytes() for name in ("first", "again", "other")
    )
    assert first == again != other
    columns = columns_of(tmp_path / "first.csv")
    assert list(columns) == ["a", "b", "c", "job"]
    assert set(columns["job"]) <= {"clerk", "smith"}
    assert len(np.unique(columns["a"])) > 30


# score


@pytest.mark.parametrize("method", ["vae", "simclr"])
def test_the_anomalies_are_five_percent_of_the_training_rows(folder, tmp_path, method):
    out = tmp_path / "s.csv"
    result = done("score", folder / method, folder / "people.csv", "--out", out)
    columns = columns_of(out)
    assert list(columns) == ["id", "score", "anomaly"]
    limit = np.percentile(columns["score"], 95)
    assert result["anomalies"] == columns["anomaly"].sum()
    assert result["anomalies"] == 3 or method == "simclr"  # whose rows may share a score
    assert result["threshold"] == pytest.approx(limit, rel=1e-6)
    np.testing.assert_array_equal(columns["anomaly"], columns["score"] > limit)
    assert done("info", folder / method)["score_threshold"] == result["threshold"]


def test_the_score_is_higher_for_a_row_unlike_the_others(folder, tmp_path):
    rows = make_rows()
    rows[7][1:4] = [30.0, -30.0, 30.0]
    write_csv(tmp_path / "odd.csv", rows)
    for method in DECODERS:  # SimCLR's two ReLU latents may be 0 for any row
        argv = ("score", folder / method, tmp_path / "odd.csv", "--out", tmp_path / "s.csv")
        done(*argv)
        columns = columns_of(tmp_path / "s.csv")
        assert columns["score"].argmax() == 7 and columns["anomaly"][7] == 1


def test_a_row_at_the_threshold_is_no_anomaly(folder, tmp_path):
    # Of 45 training rows the middle one has the median itself.
    argv = ("score", folder / "autoencoder", folder / "people.csv", "--contamination", "0.5")
    limit = done(*argv, "--out", tmp_path / "s.parquet")["threshold"]
    table = pq.read_table(tmp_path / "s.parquet")
    score, anomaly = table["score"].to_numpy(), table["anomaly"].to_numpy()
    assert (score == limit).sum() == 1
    np.testing.assert_array_equal(anomaly, score > limit)


def test_contamination_moves_the_threshold(folder, tmp_path):
    argv = ("score", folder / "vae", folder / "people.csv", "--out", tmp_path / "s.parquet")
    found = [done(*argv, "--contamination", share)["anomalies"] for share in (0.01, 0.2, 0.5)]
    assert found == [1, 12, 30]


# Standard output


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1"])
def test_a_table_on_stdout_has_it_for_itself(folder, tmp_path, name):
    argv = ("score", folder / "vae", folder / "people.csv", "--out")
    result = done(*argv, tmp_path / "s.csv")
    for flags in ((), ("--json",)):
        process = in_a_process(*argv, name, *flags, cwd=tmp_path)
        assert process.returncode == 0, process.stderr
        assert process.stdout == (tmp_path / "s.csv").read_text()
        said = process.stderr.splitlines()
        if flags:
            assert json.loads(said.pop()) == result | {"out": name}
        assert said[-2] == "wrote 60 rows × 3 columns to standard output"
        assert said[-1].startswith("3 anomalies above the threshold of ")
    assert os.listdir(tmp_path) == ["s.csv"]


def test_stdout_that_python_has_replaced_gets_the_table_too(folder, tmp_path):
    argv = ("embed", folder / "vae", folder / "people.csv", "--out")
    done(*argv, tmp_path / "z.csv")
    code, out, err = call(*argv, "-")
    assert (code, out) == (0, (tmp_path / "z.csv").read_text())
    assert err.endswith("wrote 60 rows × 3 columns to standard output\n")


def test_a_reader_of_a_table_that_leaves_ends_the_command_quietly(folder):
    argv = [str(a) for a in ("generate", folder / "vae", "-n", "50000", "--mean", "--out", "-")]
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "jaxrep.cli", *argv]
    process = subprocess.Popen(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert os.read(reader, 4) == b'"a",'
    os.close(reader)
    _, said = process.communicate(timeout=100)
    assert process.returncode == 141
    assert all(line.startswith("warning: ") for line in said.splitlines())


# The process


def test_help_takes_less_than_three_tenths_of_a_second():
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        process = in_a_process("--help")
        seconds.append(time.perf_counter() - started)
        assert process.returncode == 0 and "interpolate" in process.stdout
    assert min(seconds) < 0.3, seconds


@pytest.mark.parametrize(
    "code",
    [
        "import jaxrep",
        "from jaxrep.cli import main; main(['--help'])",
        "from jaxrep.cli import main; main(['train', 'vae', '--help'])",
        "from jaxrep.cli import main; main(['report', '--help'])",
    ],
)
def test_importing_and_help_load_nothing_heavy(code):
    heavy = {"jax", "torch", "flax", "orbax", "matplotlib", "pyarrow", "sklearn", "jinja2"}
    script = f"import sys\n{code}\nprint(*sorted({heavy} & set(sys.modules)), file=sys.stderr)"
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (process.returncode, process.stderr.strip()) == (0, "")


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("name", "flags"),
    [("t.npy", ()), ("t.csv", ("--column", "c=category", "--validation-fraction", "0.3"))],
)
def test_training_spares_itself_the_import_of_pandas(name, flags, tmp_path):
    x = np.arange(40.0).reshape(20, 2)
    np.save(tmp_path / "t.npy", x)
    lines = [f"{a},{b},{'xy'[i % 2]}" for i, (a, b) in enumerate(x)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,c", *lines]))
    script = "import sys; from jaxrep.cli import main; code = main(); "
    script += "print('pandas' in sys.modules); sys.exit(code)"
    arguments = [
        "train",
        "vae",
        "--recipe",
        "seed",
        tmp_path / name,
        "--epochs",
        "1",
        "--out",
        tmp_path / "run",
        *flags,
    ]
    command = [sys.executable, "-c", script, *map(str, arguments)]
    process = subprocess.run(command, capture_output=True)
    assert (process.returncode, process.stdout.splitlines()[-1]) == (0, b"False"), process.stderr


@pytest.mark.parametrize("method", METHODS)
def test_the_help_of_train_lists_the_hyperparameters(method):
    code, out, _ = call("train", method, "--help")
    assert code == 0
    for flag in ("--latent-dim", "--learning-rate", "--column", "--overwrite"):
        assert flag in out
    assert ("--beta " in out) == (method == "vae")
    assert ("--temperature" in out) == (method == "simclr")


def test_a_reader_that_leaves_is_no_traceback():
    shell = f"set -o pipefail; {sys.executable} -m jaxrep.cli --help | head -1"
    process = subprocess.run(["bash", "-c", shell], capture_output=True, text=True)
    assert process.stdout.startswith("usage: jaxrep") and process.stderr == ""
    for argv in (["--help"], ["train", "vae", "--help"]):
        reader, writer = os.pipe()
        os.close(reader)
        command = [sys.executable, "-m", "jaxrep.cli", *argv]
        process = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
        os.close(writer)
        assert (process.returncode, process.stderr) == (141, "")


def test_a_terminal_of_another_encoding_and_a_path_that_is_no_text_are_printed(folder, tmp_path):
    process = in_a_process("train", "--help", env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert process.returncode == 0, process.stderr
    argv = ("embed", folder / "vae", folder / "people.csv", "--out", tmp_path / "β.csv")
    with io.TextIOWrapper(io.BytesIO(), encoding="ascii") as out:
        with contextlib.redirect_stdout(out):
            assert main([str(argument) for argument in argv]) == 0
        assert b"60 rows \\xd7 3 columns" in out.buffer.getvalue()
    done(*train_argv("vae", folder / "people.csv", tmp_path / "run\udcff"))
    code, out, _ = call("info", tmp_path / "run\udcff")
    assert code == 0 and "method: vae" in out
