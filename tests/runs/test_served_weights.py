"""Which weights a run serves, and what there is of a run that has not finished."""

import json

import numpy as np
import pytest

from jaxrep.cli import main
from jaxrep.data.read import read_table
from jaxrep.data.transform import apply
from jaxrep.errors import InputError, ModelFormatError
from jaxrep.estimators import AutoencoderEmbedding
from jaxrep.inference import map_rows
from jaxrep.report.page import write_report
from jaxrep.runs import folder, train
from jaxrep.runs.reading import read_run
from jaxrep.training import program
from tests.helpers.small import FEATURES, FLAGS

# A validation loss that falls and rises again.
FALLS_AND_RISES = (*FLAGS, "--learning-rate", "0.3", "--device", "cpu")
HELD_OUT = ("--validation-fraction", "0.1")


@pytest.fixture
def table(tmp_path):
    x = np.random.default_rng(1).normal(size=(56, FEATURES))  # 50 rows and 6 held out
    np.savetxt(tmp_path / "t.csv", x, delimiter=",", header="a,b,c,d,e", comments="", fmt="%.6f")
    return str(tmp_path / "t.csv")


def result_of(capsys, *command):
    assert main([*command, "--json"]) == 0, capsys.readouterr().err
    captured = capsys.readouterr()
    return json.loads(captured.out.splitlines()[-1]), captured


@pytest.fixture
def stopped(table, tmp_path, capsys):
    """A run that stopped early, what was printed of it, and its folder."""
    command = ("train", "vae", table, *FALLS_AND_RISES, *HELD_OUT, "--epochs", "40")
    run = tmp_path / "run"
    result, captured = result_of(capsys, *command, "--patience", "3", "--out", str(run))
    assert result["epoch"] < result["epochs"] < 40 and result["stopped_early"]
    return result, captured, run


def interrupt_after(monkeypatch, chunks):
    """Has SIGTERM come to the run that is trained next, between two chunks of 3 steps."""
    monkeypatch.setattr(program, "_MAX_STEPS_PER_CHUNK", 3)
    asked = iter(range(chunks))

    class Listening:
        def __enter__(self):
            return lambda: next(asked, None) is None

        def __exit__(self, *error):
            pass

    monkeypatch.setattr(train, "listening", Listening)


def test_the_command_info_and_the_report_say_which_epoch_is_served(stopped, table, capsys):
    result, captured, run = stopped
    said = (
        f"epoch {result['epoch']} of {result['epochs']}, of the lowest validation loss "
        f"({result['validation_loss']:.6g}); stopped early"
    )
    assert f"serves {said}" in captured.out
    info, printed = result_of(capsys, "info", str(run))
    assert info["result"]["epoch"] == result["epoch"]
    assert info["last"].keys() == {"epoch", "loss", "validation_loss"}
    assert info["last"]["epoch"] == result["epochs"]
    assert len(printed.out) < 6000
    loaded = folder.load(run)
    assert loaded.history[result["epoch"] - 1]["validation_loss"] == result["validation_loss"]
    page = write_report(loaded, run / "report.html", table, parity=False).out.read_text()
    assert said in page and f"epoch {result['epoch']}, whose weights it serves" in page


@pytest.mark.parametrize("command", ["embed", "score", "reconstruct"])
def test_last_takes_the_weights_after_the_last_step(command, stopped, table, tmp_path, capsys):
    run = stopped[-1]
    tables = {}
    for name, flags in (("served", ()), ("last", ("--last",))):
        out = tmp_path / f"{name}.npy"
        result, _ = result_of(capsys, command, str(run), table, "--out", str(out), *flags)
        tables[name] = np.load(out), result
    loaded = folder.load(run)
    x = np.genfromtxt(table, delimiter=",", names=True)
    assert len(tables["last"][0]) == len(x)
    assert (tables["last"][0] != tables["served"][0]).any()
    if command == "embed":
        last = read_run(run, last=True)
        rows = np.load(tmp_path / "last.npy")
        features = apply(last.schema, read_table(table), source=table)
        for weights, found in ((loaded.last_weights, rows), (loaded.weights, tables["served"][0])):
            made = map_rows(last.method, "embed", weights, features, last.rows)
            np.testing.assert_array_equal(made, found)
    if command == "score":
        assert tables["last"][1]["threshold"] != tables["served"][1]["threshold"]


def test_last_of_a_run_that_serves_it_anyway_is_that_run(table, tmp_path, capsys):
    run = tmp_path / "run"
    result, captured = result_of(
        capsys, "train", "autoencoder", table, *FLAGS, "--epochs", "3", "--out", str(run)
    )
    assert (result["epoch"], result["epochs"], result["validation_loss"]) == (3, 3, None)
    assert "serves epoch 3 of 3, the last" in captured.out
    assert not (run / folder.LAST).exists()
    assert read_run(run, last=True).config == read_run(run).config
    assert main(["parity", "--last"]) == 2
    assert "--last goes with RUN" in capsys.readouterr().err


def test_patience_without_rows_held_out_is_refused(table, tmp_path, capsys):
    train_it = ["train", "vae", table, *FLAGS, "--patience", "3", "--out", str(tmp_path / "run")]
    assert main(train_it) == 2
    assert "no rows are held out whose loss it could wait for" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="no rows are held out"):
        AutoencoderEmbedding(patience=2).fit(np.eye(9))


def test_a_run_that_stopped_early_is_not_trained_longer(stopped, capsys):
    assert main(["resume", str(stopped[-1]), "--epochs", "50"]) == 2
    assert "would stop there again" in capsys.readouterr().err
    assert folder.state(stopped[-1]) == "finished"


def test_damaged_last_weights_are_refused(stopped):
    run = stopped[-1]
    path = run / folder.LAST
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(ModelFormatError, match=r"last\.safetensors: the file is not what"):
        folder.load(run)
    path.unlink()
    with pytest.raises(ModelFormatError, match=r"last\.safetensors: the file is missing"):
        folder.load(run)
    manifest = json.loads((run / folder.MANIFEST).read_text())
    del manifest["sha256"][folder.LAST]
    (run / folder.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ModelFormatError, match=r"last\.safetensors: config\.json and manifest"):
        folder.load(run)


def test_an_estimator_serves_the_best_epoch_and_keeps_the_last(tmp_path):
    x = np.random.default_rng(1).normal(size=(56, FEATURES))
    settings = {"hidden_dims": (6,), "latent_dim": 3, "batch_size": 16, "learning_rate": 0.3}
    made = AutoencoderEmbedding(
        **settings, epochs=40, patience=3, validation_fraction=0.1, seed=0
    ).fit(x)
    assert 3 < len(made.history_) < 40
    best = int(np.argmin([m["validation_loss"] for m in made.history_])) + 1
    made.save(tmp_path / "run")
    run = folder.load(tmp_path / "run")
    assert run.config["result"]["epoch"] == best < len(made.history_)
    np.testing.assert_array_equal(
        AutoencoderEmbedding.load(tmp_path / "run").transform(x), made.transform(x)
    )
    assert read_run(tmp_path / "run", last=True).config["result"]["epoch"] == len(made.history_)


@pytest.fixture
def unfinished(table, tmp_path, capsys, monkeypatch):
    """A run interrupted after 23 of 24 steps, and its command."""
    run = tmp_path / "unfinished"
    command = ("train", "simclr", table, *FALLS_AND_RISES, *HELD_OUT, "--epochs", "6")
    with monkeypatch.context() as patch:
        interrupt_after(patch, 11)
        assert main([*command, "--out", str(run)]) == 75
    capsys.readouterr()
    assert folder.state(run) == "unfinished"
    return run, command


def test_an_unfinished_run_is_used_as_its_newest_checkpoint_has_it(unfinished, table, capsys):
    run, command = unfinished
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    scored, captured = result_of(capsys, "score", str(run), table, "--out", str(run / "s.npy"))
    said = "has not finished; this is its newest checkpoint, after step 23 and 5 whole epochs"
    assert said in captured.err
    assert np.isfinite(scored["threshold"])
    result_of(capsys, "embed", str(run), table, "--out", str(run / "e.npy"))
    made = np.load(run / "e.npy")
    for name in ("s.npy", "e.npy"):
        (run / name).unlink()
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before
    # The same as a run made of it, which resuming still ends as if nothing had happened.
    result, _ = result_of(capsys, "resume", str(run), "--finish-now")
    assert result["epochs"] == 6 and result["resumed_from_step"] == 23
    assert folder.state(run) == "finished"
    result_of(capsys, "embed", str(run), table, "--out", str(run / "e.npy"))
    np.testing.assert_array_equal(np.load(run / "e.npy"), made)
    (run / "e.npy").unlink()
    more, _ = result_of(capsys, "resume", str(run), "--epochs", "8")
    assert more["resumed_from_step"] == 23 and more["epochs"] == 8
    whole = run.parent / "whole"
    result_of(capsys, *command[:-1], "8", "--out", str(whole))
    for name in (folder.MODEL, folder.METRICS):
        assert (run / name).read_bytes() == (whole / name).read_bytes()


def test_finish_now_says_what_it_cannot_do(unfinished, table, tmp_path, capsys):
    run, _ = unfinished
    assert main(["resume", str(run), "--finish-now", "--epochs", "9"]) == 2
    assert "--finish-now goes without --epochs" in capsys.readouterr().err
    (tmp_path / "t.csv").write_text((tmp_path / "t.csv").read_text() + "1,2,3,4,5\n")
    for command in (["resume", str(run), "--finish-now"], ["info", str(run)]):
        assert main(command) == 2
        assert "another" in capsys.readouterr().err
    for checkpoint in (run / folder.CHECKPOINTS).iterdir():
        (checkpoint / "manifest.json").unlink()
    (tmp_path / "t.csv").write_text("".join((tmp_path / "t.csv").read_text().splitlines(True)[:-1]))
    assert main(["resume", str(run), "--finish-now"]) == 2
    assert "has no checkpoint to make a run of" in capsys.readouterr().err
    assert main(["info", str(run)]) == 2
    assert "has no checkpoint yet; wait for the first" in capsys.readouterr().err
    assert folder.state(run) == "unfinished"


def test_a_run_of_steps_is_resumed_by_steps(table, tmp_path, capsys):
    run, whole = tmp_path / "run", tmp_path / "whole"
    command = ("train", "autoencoder", table, *FLAGS)
    result, _ = result_of(capsys, *command, "--steps", "6", "--out", str(run))
    assert (result["steps"], result["epochs"], result["epoch"]) == (6, 2, 2)
    more, _ = result_of(capsys, "resume", str(run), "--steps", "11")
    assert (more["resumed_from_step"], more["steps"]) == (6, 11)
    result_of(capsys, *command, "--steps", "11", "--out", str(whole))
    for name in (folder.MODEL, folder.METRICS):
        assert (run / name).read_bytes() == (whole / name).read_bytes()
    for flags, said in {
        ("--epochs", "9"): "trains by steps; give --steps",
        ("--steps", "5"): "was to train for 11 steps already",
        ("--steps", "12", "--epochs", "9"): "give one of them",
    }.items():
        assert main(["resume", str(run), *flags]) == 2
        assert said in capsys.readouterr().err
    assert main([*command, "--steps", "6", "--epochs", "9", "--out", str(tmp_path / "no")]) == 2
    assert "epochs is 9; it must be left out unless steps is 0" in capsys.readouterr().err
