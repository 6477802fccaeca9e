"""`jaxrep sweep`: its table, the run it chooses, what it writes, and what it refuses."""

import itertools
import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from jaxrep.methods import SimCLRHyperparameters, VAEHyperparameters
from jaxrep.runs import folder, grid, selection, sweep
from tests.helpers.commands import call, done
from tests.helpers.small import FEATURES, FLAGS, ROWS

SMALL = (*FLAGS, "--epochs", 3)
GRID = ("--grid", "beta=1,4", "--grid", "learning-rate=1e-2,1e38", "--seeds", 2, "--seed", 3)
SETTINGS = list(itertools.product([1.0, 4.0], [1e-2, 1e38], [3, 4]))
FINISHED = [i for i, (_, rate, _) in enumerate(SETTINGS) if rate < 1]


def refused(*argv):
    code, out, err = call("sweep", *argv)
    assert (code, out) == (2, "")
    assert err.startswith("jaxrep: ") and err.count("\n") == 1
    return err


def rows_of(path):
    return pq.read_table(path / "sweep.parquet").to_pylist()


def contents(path):
    return {p: p.is_file() and p.read_bytes() for p in path.rglob("*")}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "rows.npy"
    np.save(path, np.random.default_rng(0).normal(size=(ROWS, FEATURES)) * np.arange(1, 6))
    return path


@pytest.fixture(scope="module")
def argv(data):
    return ("vae", data, *SMALL, *GRID, "--save-all")


@pytest.fixture(scope="module")
def swept(argv, tmp_path_factory):
    """The folder of a sweep of eight runs, of which half diverge; tests do not change it."""
    path = tmp_path_factory.mktemp("swept") / "run"
    code, out, err = call("sweep", *argv, "--out", path, "--json")
    assert code == 0, err
    assert "warning: 4 of 8 runs have diverged\n" in err
    (path.parent / "printed.txt").write_text(out, encoding="utf-8")
    return path


def test_the_table_has_a_row_for_every_combination_and_seed(swept):
    rows = rows_of(swept)
    assert list(rows[0]) == [
        *("member", "beta", "learning_rate", "seed"),
        *("loss", "kl", "reconstruction", "validation_loss", "validation_error", "diverged"),
    ]
    found = [(row["beta"], row["learning_rate"], row["seed"]) for row in rows]
    assert found == SETTINGS
    assert [row["member"] for row in rows] == list(range(8))
    assert [i for i, row in enumerate(rows) if not row["diverged"]] == FINISHED
    assert {rows[2][name] for name in ("loss", "validation_loss", "validation_error")} == {None}


def test_a_member_is_the_run_that_train_makes_alone_with_the_same_rows_held_out(
    swept, data, tmp_path
):
    i = FINISHED[-1]
    beta, rate, seed = SETTINGS[i]
    flags = ("--beta", beta, "--learning-rate", rate, "--seed", seed)
    held_out = ("--validation-fraction", 0.1)
    done("train", "vae", data, *SMALL, *flags, *held_out, "--out", tmp_path / "alone")
    alone, member = folder.load(tmp_path / "alone"), folder.load(swept / f"members/{i:04d}")
    for name, array in alone.weights.items():
        np.testing.assert_allclose(member.weights[name], array, rtol=1e-6, atol=1e-6)
    for one, other in zip(member.history, alone.history, strict=True):
        assert one.keys() == other.keys()
        np.testing.assert_allclose(list(one.values()), list(other.values()), rtol=1e-6)
    assert member.schema == alone.schema
    assert member.config["hyperparameters"] == alone.config["hyperparameters"]
    row = rows_of(swept)[i]
    assert row["loss"] == pytest.approx(alone.history[-1]["loss"], rel=1e-6)
    levels = [run.config["score_quantiles"]["scores"] for run in (member, alone)]
    np.testing.assert_allclose(*levels, rtol=1e-5)


def test_the_folder_is_the_run_with_the_smallest_reconstruction_error(swept, data, tmp_path):
    rows = rows_of(swept)
    best = min(FINISHED, key=lambda i: rows[i]["validation_error"])
    run = folder.load(swept)
    beta, rate, seed = SETTINGS[best]
    hp = run.method.hyperparameters
    assert (hp.beta, hp.learning_rate, hp.seed) == (beta, rate, seed)
    assert run.config["sweep"]["member"] == best
    member = swept / f"members/{best:04d}"
    for name in ("model.safetensors", "metrics.jsonl", "schema.json"):
        assert (swept / name).read_bytes() == (member / name).read_bytes()
    assert done("info", swept)["result"]["run"] == str(swept)
    for command in ("embed", "score"):
        result = done(command, swept, data, "--out", tmp_path / f"{command}.csv")
        assert result["rows"] == 50


def test_the_validation_error_is_the_mean_score_of_the_rows_held_out(swept, data):
    x = np.load(data)
    held_out = x[np.random.default_rng(0).permutation(50)[:5]]
    for i in FINISHED:
        run = folder.load(swept / f"members/{i:04d}")
        columns = run.schema.columns
        features = (held_out - [c.mean for c in columns]) / [c.scale for c in columns]
        error = run.map("score", features.astype(np.float32)).mean()
        assert rows_of(swept)[i]["validation_error"] == pytest.approx(error, rel=1e-5)


def test_diverged_runs_are_not_saved(swept):
    assert sorted(p.name for p in (swept / "members").iterdir()) == [f"{i:04d}" for i in FINISHED]


def test_the_figures_are_printed_as_one_object(swept):
    result = json.loads((swept.parent / "printed.txt").read_text("utf-8").splitlines()[-1])
    rows = rows_of(swept)
    assert list(result) == [
        *("out", "method", "rows", "members", "diverged", "select", "best", "compiles"),
        *("seconds", "compile_seconds", "rows_per_second", "cells"),
    ]
    assert (result["members"], result["diverged"], result["compiles"]) == (8, 4, 1)
    assert (result["rows"], result["out"]) == (45, str(swept))
    assert result["best"] == rows[result["best"]["member"]]
    assert result["rows_per_second"] == pytest.approx(45 * 3 * 4 / result["seconds"])
    assert folder.load(swept).config["sweep"]["result"] == result
    shares = [folder.load(p).config["result"]["seconds"] for p in (swept / "members").iterdir()]
    assert sum(shares) == pytest.approx(result["seconds"])  # half of the runs have diverged


def test_the_runs_are_printed_best_first_and_their_seeds_together(swept):
    lines = (swept.parent / "printed.txt").read_text("utf-8").splitlines()
    rows = rows_of(swept)
    ordered = sorted(FINISHED, key=lambda i: rows[i]["validation_error"])
    start = 1 + next(n for n, line in enumerate(lines) if line.startswith("───"))
    printed = [line.split() for line in lines[start : start + 8]]
    assert [int(cells[0]) for cells in printed] == [*ordered, 2, 3, 6, 7]
    assert printed[0][1:4] == [f"{SETTINGS[ordered[0]][0]:g}", "0.01", str(SETTINGS[ordered[0]][2])]
    assert printed[0][4] == f"{rows[ordered[0]]['validation_error']:.5g}"
    assert printed[-1][4] == "diverged"
    errors = [rows[i]["validation_error"] for i in (0, 1)]
    spread = f"{np.mean(errors):.5g} ± {np.std(errors, ddof=1):.2g}"
    [line] = [line for line in lines if spread in line]
    assert line.split()[:2] == ["1", "0.01"] and line.endswith("2/2")
    assert sum(line.endswith("0/2") for line in lines) == 2


# The folder


def test_a_finished_sweep_is_not_trained_again(swept, argv):
    before = contents(swept)
    code, out, err = call("sweep", *argv, "--out", swept, "--json")
    assert code == 0
    assert err == f"{swept} already holds this run, finished: nothing to do\n"
    assert out == (swept.parent / "printed.txt").read_text("utf-8")
    assert contents(swept) == before


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--beta", 2), "beta: 1.0 there, 2.0 asked for"),
        (("--seeds", 3), "grid: {'beta': [1.0, 4.0], 'learning_rate': [0.01, 1e+38], 'seed'"),
        (("--select", "kl"), "select: 'validation_error' there, 'kl' asked for"),
        (("--latent-dim", 2), "latent_dim: 3 there, 2 asked for"),
    ],
)
def test_another_sweep_is_refused_with_the_key_that_differs(swept, argv, flags, said):
    before = contents(swept)
    assert f"differs in {said}" in refused(*argv, *flags, "--out", swept)
    assert contents(swept) == before


def test_a_run_and_a_sweep_are_not_taken_for_each_other(swept, argv, data, tmp_path):
    best = folder.load(swept).method.hyperparameters
    flags = ("--beta", best.beta, "--learning-rate", best.learning_rate, "--seed", best.seed)
    alone = ("train", "vae", data, *SMALL, *flags, "--validation-fraction", 0.1)
    code, _, err = call(*alone, "--out", swept)
    assert code == 2 and "differs in" in err and "None asked for" in err
    number = folder.load(swept).config["sweep"]["member"]
    member = tmp_path / "member"
    shutil.copytree(swept / f"members/{number:04d}", member)
    code, _, err = call(*alone, "--out", member)
    assert code == 0 and "nothing to do" in err
    assert "grid: None there" in refused(*argv[:2], *SMALL, "--out", member)


def test_overwriting_a_sweep_leaves_nothing_of_it_but_what_is_unrecognised(swept, data, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(swept, run)
    (run / "members" / "0000" / "notes.txt").write_text("mine")
    (run / "members" / "0001x").mkdir()
    flags = ("--validation-fraction", 0.1, "--overwrite")
    done("train", "vae", data, *SMALL, *flags, "--out", run)
    assert "sweep" not in folder.load(run).config
    shutil.rmtree(run / "checkpoints")
    left = {str(p.relative_to(run)) for p in run.rglob("*")}
    ours = {"config.json", "schema.json", "model.safetensors", "metrics.jsonl"}
    theirs = {"members", "members/0000", "members/0000/notes.txt", "members/0001x"}
    assert left == {*ours, *theirs, "manifest.json"}


def test_a_folder_of_other_files_is_never_touched(argv, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    for flags in ((), ("--overwrite",)):
        assert "is not a run folder" in refused(*argv, *flags, "--out", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_table_that_has_been_changed_is_refused(swept, argv, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(swept, run)
    (run / "sweep.parquet").write_bytes(b"PAR1")
    code, out, err = call("sweep", *argv, "--out", run)
    assert (code, out) == (2, "")
    assert "is not the table that a sweep has written" in err


def test_a_sweep_whose_runs_all_diverge_fails_and_leaves_an_unfinished_folder(data, tmp_path):
    flags = ("--grid", "learning_rate=1e38,2e38", "--seeds", 4)  # the shapes of the first sweep
    code, out, err = call("sweep", "vae", data, *SMALL, *flags, "--out", tmp_path / "run")
    assert (code, out) == (1, "")
    assert "all 8 runs of the sweep diverged" in err
    code, _, err = call("info", tmp_path / "run")
    assert code == 2 and "not finished" in err


def test_simclr_is_compared_under_one_temperature(data, tmp_path):
    argv = ("simclr", data, *SMALL, "--epochs", 1, "--grid", "temperature=0.001,0.5", "--seed", 4)
    result = done("sweep", *argv, "--out", tmp_path / "run")
    assert result["select"] == "common_loss"
    cold, warm = rows_of(tmp_path / "run")
    assert warm["common_loss"] == pytest.approx(warm["validation_loss"], rel=1e-6)
    assert abs(cold["common_loss"] - cold["validation_loss"]) > 0.1
    # After the few steps of an epoch the two differ little.
    assert abs(cold["common_loss"] - warm["common_loss"]) < 0.1


def test_widths_and_batch_sizes_vary_too_and_seeds_may_be_listed(data, tmp_path):
    argv = ("--grid", "hidden_dims=none,3x2", "--grid", "seed=7,5", "--select", "loss")
    flags = ("--epochs", 1, "--latent-dim", 2, "--validation-fraction", 0)
    result = done("sweep", "autoencoder", data, *flags, *argv, "--out", tmp_path / "run")
    rows = rows_of(tmp_path / "run")
    assert result["compiles"] == 2
    settings = [(row["hidden_dims"], row["seed"]) for row in rows]
    assert settings == [("none", 7), ("none", 5), ("3x2", 7), ("3x2", 5)]
    assert list(rows[0]) == ["member", "hidden_dims", "seed", "loss", "diverged"]
    assert result["best"]["loss"] == min(row["loss"] for row in rows)
    weights = load_file(tmp_path / "run" / "model.safetensors")
    kernel = (5, 2) if result["best"]["hidden_dims"] == "none" else (5, 3)
    assert weights["encoder.0.kernel"].shape == kernel


# What is refused


REFUSED = [
    (("--grid", "beta"), "--grid beta: has no =; write it as name=value,value"),
    (
        ("--grid", "gamma=1"),
        "--grid gamma: no hyperparameter of this method; there are anomaly_score",
    ),
    (("--grid", "beta=1,two"), "--grid beta: 'two' is not a number"),
    (("--grid", "beta=1,"), "--grid beta: '' is not a number"),
    (("--grid", "latent_dim=1.5"), "--grid latent_dim: '1.5' is not a whole number"),
    (("--grid", "hidden_dims=8x"), "--grid hidden_dims: '8x' is not a list of widths such as"),
    (("--grid", "optimizer=sgd"), "--grid optimizer: optimizer is 'sgd'; it must be one of adam"),
    (("--grid", "beta=1,-1"), "--grid beta: beta is -1.0; it must be a finite number of at least"),
    (("--grid", "latent_dim=0"), "--grid latent_dim: latent_dim is 0; it must be a whole number"),
    (("--grid", "beta=1", "--grid", "beta=2"), "--grid beta=2: beta is given twice"),
    (("--grid", "beta=1,2,1.0"), "--grid beta: 1 is there twice"),
    (("--grid", "split_seed=0,1"), "--grid split_seed: all runs of a sweep train on the same rows"),
    (("--grid", "validation_fraction=0.1,0.2"), "give one --validation-fraction for all"),
    (("--grid", "seed=0,1", "--seeds", 2), "--seeds 2: the grid gives the seeds already"),
    (("--seeds", 0), "--seeds is 0; it must be a whole number from 1 to 10000"),
    (("--seeds", 5000, "--grid", "beta=1,2,3"), "make 15,000 runs; a sweep holds at most 10,000"),
    (("--seeds", 2, "--seed", 2**32 - 1), "--grid seed: seed is 4294967296; it must be a whole"),
    (("--beta", -1), "beta is -1.0; it must be"),
    (("--select", "accuracy"), "there are loss, kl, reconstruction and, of the rows held out,"),
    (("--select", "common_loss"), "--select common_loss: no metric of this method"),
    (("--validation-fraction", 0), "--select validation_error: is computed from rows held out"),
    (
        ("--grid", "beta=1,2", "--select", "loss"),
        "losses of runs that differ in beta",
    ),
    (
        ("--grid", "beta=1,2", "--select", "validation_loss"),
        "leave --select out",
    ),
]


@pytest.mark.quick
@pytest.mark.parametrize(("flags", "said"), REFUSED, ids=str)
def test_what_is_wrong_is_named_before_anything_is_read_or_written(tmp_path, flags, said):
    out = tmp_path / "run"
    assert said in refused("vae", tmp_path / "nowhere.csv", *flags, "--out", out)
    assert not out.exists()


@pytest.mark.quick
@pytest.mark.parametrize("name", ["temperature", "batch_size", "noise_std", "drop_rate"])
def test_losses_of_simclr_do_not_compare_where_what_they_measure_varies(name):
    hyperparameters = SimCLRHyperparameters(validation_fraction=0.1)
    values = {"batch_size": [8, 16]}.get(name, [0.1, 0.2])
    for select in selection.LOSSES:
        with pytest.raises(ValueError, match=f"runs that differ in {name}"):
            selection.check_selection(select, hyperparameters, {name: values})
        selection.check_selection(select, hyperparameters, {name: values[:1]})
    selection.check_selection("common_loss", hyperparameters, {name: values})


def test_sweeps_from_python_are_held_to_the_same_rules(tmp_path):
    hyperparameters = VAEHyperparameters()
    for varied, said in (({"beta": [-1.0]}, "beta is -1"), ({"beta": []}, "there are no values")):
        with pytest.raises(ValueError, match=said):
            grid.complete(varied, hyperparameters, 1)
    with pytest.raises(ValueError, match="not a run folder"):
        sweep.read_members(tmp_path)


def test_the_text_of_a_value_reads_back_as_the_value():
    hyperparameters = VAEHyperparameters()
    written = {
        "hidden_dims": [(), (64,), (128, 64)],
        "learning_rate": [1e-3, 3e-4, 0.1],
        "latent_dim": [2, 1234567],
        "optimizer": ["adam", "adamw"],
    }
    texts = [f"{name}={','.join(map(grid.as_text, values))}" for name, values in written.items()]
    assert grid.parse(texts, hyperparameters) == written
