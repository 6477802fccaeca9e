"""Fine-tuned runs: made, resumed, streamed, swept and served as all are, and what they refuse."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from jaxrep.batch import take
from jaxrep.cli import main
from jaxrep.data import transform
from jaxrep.data.read import read_table
from jaxrep.data.targets import labels_of
from jaxrep.data.write import write_table
from jaxrep.errors import InputError
from jaxrep.runs import folder, pretrained
from jaxrep.runs.finetune import finetune
from jaxrep.runs.outputs import embed, score
from jaxrep.runs.predictions import predict
from jaxrep.runs.reading import read_run
from jaxrep.training import program, row_store
from tests.helpers import dying
from tests.helpers.interruptions import bits_of, interrupt_after, kill_and_resume, result_of
from tests.helpers.small import FEATURES, FLAGS

ROWS = 56  # 50 and 6 held out
KINDS = ("classes", "numbers")
SHORT = ("--batch-size", "16", "--epochs", "5", "--device", "cpu")
HELD_OUT = ("--validation-fraction", "0.1")


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A run, and the table that it was trained on with three labels, the last in some rows."""
    path = tmp_path_factory.mktemp("given")
    rng = np.random.default_rng(1)
    x = rng.normal(size=(ROWS, FEATURES))
    columns = dict(zip("abcde", x.T, strict=True))
    write_table(pa.table(columns), path / "x.csv")
    colour = np.where(x[:, 0] > 0.5, "red", np.where(x[:, 1] > 0, "green", "blue"))
    size = 40 + 9 * x[:, 0] + rng.normal(size=ROWS)
    some = [None if i % 4 == 0 else str(text) for i, text in enumerate(colour)]
    labelled = pa.table(columns | {"colour": colour, "size": size, "some": some})
    write_table(labelled.select([*"abcde", "colour"]), path / "classes.csv")
    write_table(labelled.select([*"abcde", "size"]), path / "numbers.csv")
    write_table(labelled.select([*"abcde", "some"]), path / "some.csv")
    train = ("train", "vae", str(path / "x.csv"), *FLAGS, "--epochs", "3", "--out")
    assert main([*train, str(path / "run")]) == 0
    return path


LABELS = {"classes": "colour", "numbers": "size", "some": "some"}


def command(given, kind, *flags):
    """The command that fine-tunes, all but `--out`."""
    table = str(given / f"{kind}.csv")
    return ("finetune", str(given / "run"), table, "--label", LABELS[kind], *SHORT, *flags)


@pytest.fixture(scope="module")
def fine_tuned(given, tmp_path_factory):
    """A fine-tuned run of each kind, with a frozen backbone and without."""
    made = {}
    for kind, flags in ((k, f) for k in KINDS for f in ((), ("--no-frozen",))):
        out = tmp_path_factory.mktemp("tuned") / f"{kind}{len(flags)}"
        assert main([*command(given, kind, *flags, *HELD_OUT), "--out", str(out)]) == 0
        made[kind, not flags] = folder.load(out)
    return made


def features(given, run, kind):
    """The rows of a labelled table as the run has them, and their labels."""
    table = read_table(str(given / f"{kind}.csv"))
    x = transform.apply(run.schema, table, source="t")
    return x, np.array(labels_of(table, LABELS[kind], "t").to_pylist())


@pytest.mark.parametrize("kind", KINDS)
def test_a_frozen_backbone_keeps_its_bits_and_another_does_not(given, fine_tuned, kind):
    before = folder.load(given / "run").weights
    for frozen in (True, False):
        weights = fine_tuned[kind, frozen].weights
        same = [
            np.array_equal(array, weights[f"backbone.{name}"])
            for name, array in before.items()
            if not name.startswith("prior.")  # which no prediction needs
        ]
        assert all(same) == frozen
        assert any(same)  # the decoder is not trained on


@pytest.mark.parametrize("kind", KINDS)
def test_a_linear_head_on_a_frozen_backbone_is_scikit_learns(given, tmp_path, kind):
    out = tmp_path / "run"
    flags = ("--batch-size", "64", "--epochs", "2000", "--learning-rate", "0.05", "--l2", "0.1")
    assert main([*command(given, kind), *flags, "--out", str(out)]) == 0
    run = folder.load(out)
    x, y = features(given, run, kind)
    z = run.map("embed", x).astype(np.float64)
    z = (z - z.mean(axis=0)) / z.std(axis=0)
    if kind == "classes":
        theirs = LogisticRegression(C=1 / (len(y) * 0.1), tol=1e-8, max_iter=1000).fit(z, y)
        assert theirs.classes_.tolist() == list(run.target.labels)
        np.testing.assert_allclose(run.map("predict", x), theirs.predict_proba(z), atol=2e-4)
    else:
        t = (y - y.mean()) / y.std()
        expected = Ridge(alpha=len(y) * 0.1).fit(z, t).predict(z)
        np.testing.assert_allclose(run.map("predict", x)[:, 0], expected, atol=2e-4)


def test_what_is_predicted_of_a_table(given, fine_tuned, tmp_path, capsys):
    run = fine_tuned["classes", True]
    found = predict(run, str(given / "x.csv"))  # which has no label
    assert found.column_names == ["prediction", "probability", "p_blue", "p_green", "p_red"]
    shares = np.stack([found[f"p_{label}"].to_numpy() for label in run.target.labels], axis=1)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    named = np.array(run.target.labels)[shares.argmax(axis=1)]
    assert found["prediction"].to_pylist() == named.tolist()
    assert found.equals(predict(run, str(given / "classes.csv")))
    numbers = predict(fine_tuned["numbers", True], str(given / "x.csv"))
    assert numbers.column_names == ["prediction"]
    assert 20 < np.mean(numbers["prediction"].to_numpy()) < 60  # in the label's own units
    out = tmp_path / "p.csv"
    result, _ = result_of(capsys, "predict", str(run.path), str(given / "x.csv"), "--out", str(out))
    assert (result["rows"], result["columns"]) == (ROWS, 5)
    assert read_table(str(out))["prediction"].to_pylist() == (found["prediction"].to_pylist())
    with pytest.raises(
        InputError, match=r"vae has no predict .*: classifier, regressor, which `jaxrep finetune"
    ):
        predict(folder.load(given / "run"), str(given / "x.csv"))


def test_a_fine_tuned_run_embeds_and_scores(given, fine_tuned):
    table = str(given / "x.csv")
    before = embed(folder.load(given / "run"), table)
    assert embed(fine_tuned["classes", True], table).equals(before)
    assert not embed(fine_tuned["classes", False], table).equals(before)
    scores = score(fine_tuned["classes", False], table)["score"].to_numpy()
    assert np.isfinite(scores).all() and len(np.unique(scores)) > ROWS // 2


@pytest.mark.parametrize("kind", KINDS)
def test_the_figures_of_the_rows_held_out_are_of_those_rows(given, fine_tuned, kind):
    run = fine_tuned[kind, True]
    x, y = features(given, run, kind)
    mask = np.zeros(ROWS, bool)
    mask[np.random.default_rng(0).permutation(ROWS)[:6]] = True
    predicted, found = run.map("predict", take(x, mask)), run.config["result"]["held_out"]
    truth = y[mask]
    if kind == "classes":
        right = np.array(run.target.labels)[predicted.argmax(axis=1)] == truth
        assert found["accuracy"] == pytest.approx(right.mean())
        recalls = [right[truth == label].mean() for label in np.unique(truth)]
        assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
        own = predicted[np.arange(6), [run.target.labels.index(label) for label in truth]]
        assert found["log_loss"] == pytest.approx(-np.log(own).mean(), rel=1e-5)
    else:
        errors = run.target.decode(predicted[:, 0]) - truth
        assert found["rmse"] == pytest.approx(np.sqrt((errors**2).mean()), rel=1e-5)
        assert found["mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-5)
        spread = ((truth - truth.mean()) ** 2).mean()
        assert found["r2"] == pytest.approx(1 - (errors**2).mean() / spread, rel=1e-5)


def test_rows_without_a_label_are_left_out_and_said(given, tmp_path, capsys):
    out = tmp_path / "run"
    result, said = result_of(capsys, *command(given, "some"), "--out", str(out))
    assert result["rows"] == 42
    assert "14 of 56 rows have no some, and are left out" in said
    assert "some is taken for classes; --task says otherwise" in said


def test_balanced_classes_weigh_alike(given, tmp_path):
    weighed = tmp_path / "weighed"
    flags = ("--class-weight", "balanced", "--label-smoothing", "0.1")
    assert main([*command(given, "classes", *flags), "--out", str(weighed)]) == 0
    assert main([*command(given, "classes"), "--out", str(tmp_path / "plain")]) == 0
    one, other = (folder.load(tmp_path / name) for name in ("weighed", "plain"))
    assert (one.weights["head.0.kernel"] != other.weights["head.0.kernel"]).any()


# Interruptions, streaming, sweeps, devices.


@pytest.mark.parametrize(
    ("kind", "flags"),
    [
        ("classes", ("--no-frozen",)),
        pytest.param("numbers", (), marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_run_ends_with_the_bits_of_one_left_alone(
    given, tmp_path, capsys, monkeypatch, kind, flags
):
    monkeypatch.setattr(program, "_MAX_STEPS_PER_CHUNK", 3)
    asked = command(given, kind, *flags, *HELD_OUT, "--patience", "4")
    cut, alone = tmp_path / "cut", tmp_path / "alone"
    result_of(capsys, *asked, "--out", str(alone))
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        assert main([*asked, "--out", str(cut)]) == 75
    assert (cut / pretrained.FOLDER).is_dir()
    table = str(given / "x.csv")
    unfinished = read_run(cut)
    assert unfinished.target == folder.load(alone).target
    assert predict(unfinished, table).num_rows == ROWS
    result, _ = result_of(capsys, "resume", str(cut))
    assert result["resumed_from_step"] > 0
    assert bits_of(cut) == bits_of(alone)
    assert not (cut / pretrained.FOLDER).exists()
    _, said = result_of(capsys, *asked, "--out", str(cut))
    assert "already holds this run, finished" in said


def test_a_run_killed_before_its_first_checkpoint_needs_no_backbone(
    given, tmp_path, capsys, monkeypatch
):
    asked = command(given, "classes")
    alone, cut = tmp_path / "alone", tmp_path / "cut"
    result_of(capsys, *asked, "--out", str(alone))
    with monkeypatch.context() as patch:
        interrupt_after(patch, 0)
        assert main([*asked, "--out", str(cut)]) == 75  # before the first step
    assert not list(cut.glob("checkpoints/*"))
    config = json.loads((cut / "config.json").read_text())
    config["finetuned"]["run"] = "/gone"
    (cut / "config.json").write_text(json.dumps(config))
    path = cut / pretrained.FOLDER / pretrained.WEIGHTS
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert main(["resume", str(cut)]) == 2
    assert "weights.safetensors has changed since it was written" in capsys.readouterr().err
    path.write_bytes(whole)
    result_of(capsys, "resume", str(cut))
    assert bits_of(cut) == bits_of(alone)


def test_more_epochs_continue_a_fine_tuning_of_constant_steps(given, tmp_path, capsys):
    asked = command(given, "numbers", "--schedule", "constant")
    short, long = tmp_path / "short", tmp_path / "long"
    result_of(capsys, *asked, "--out", str(short))
    result_of(capsys, "resume", str(short), "--epochs", "7")
    result_of(capsys, *asked, "--epochs", "7", "--out", str(long))
    assert bits_of(short) == bits_of(long)


@pytest.mark.slow
def test_a_streamed_table_gives_the_bits_of_a_prepared_one(given, tmp_path, capsys, monkeypatch):
    """Rows and labels of a table that is written below the run, and of a prepared folder."""
    run, prepared = tmp_path / "run", tmp_path / "prepared"
    table = str(given / "some.csv")
    result_of(capsys, "prepare", table, "--label", "some", "--out", str(prepared))
    train = ("train", "autoencoder", str(prepared), *FLAGS, "--epochs", "1")
    result_of(capsys, *train, "--out", str(run))
    monkeypatch.setattr(row_store, "BLOCK_BYTES", dying.BLOCK_BYTES)
    found = {}
    for name, source, stream in (
        ("memory", table, "never"),
        ("spooled", table, "always"),
        ("prepared", str(prepared), "always"),
    ):
        out = tmp_path / f"tuned {name}"
        tune = ("finetune", str(run), source, "--label", "some", *SHORT, "--stream", stream)
        tune = (*tune, "--epochs", "1000", "--learning-rate", "0.05", "--l2", "0.1")
        result, _ = result_of(capsys, *tune, *HELD_OUT, "--out", str(out))
        assert result["rows"] == 38
        found[name] = folder.load(out)
        assert not (out / "rows").exists()
    assert bits_of(found["spooled"].path) == bits_of(found["prepared"].path)
    # The same rows are trained on, and each with its own label. The last block's few rows are a
    # batch of their own in every epoch, so that heads and their losses are not the same.
    memory, spooled = found["memory"], found["spooled"]
    for name in ("standardisation.mean", "standardisation.scale"):
        np.testing.assert_allclose(spooled.weights[name], memory.weights[name], rtol=1e-5)
    losses = [run.history[-1]["cross_entropy"] for run in (memory, spooled)]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
    assert max(losses) < 0.8 * np.log(3)  # what labels of other rows would come to
    apart = given / "some.csv", tmp_path / "fewer.csv", tmp_path / "apart"
    apart[1].write_text("".join(apart[0].read_text().splitlines(keepends=True)[:-9]))
    result_of(capsys, "prepare", str(apart[1]), "--label", "some", "--out", str(apart[2]))
    other = ("finetune", str(given / "run"), str(apart[2]), "--label", "some", *SHORT)
    assert main([*other, "--out", str(tmp_path / "other")]) == 2
    assert "was prepared apart from the run" in capsys.readouterr().err


def test_a_sweep_saves_the_best_and_its_members_are_their_runs_alone(given, tmp_path, capsys):
    swept = tmp_path / "swept"
    asked = command(given, "classes", "--validation-fraction", "0.2")
    flags = ("--grid", "l2=0.001,0.1", "--seeds", "2", "--save-all")
    result, _ = result_of(capsys, *asked, *flags, "--out", str(swept))
    assert (result["members"], result["select"]) == (4, "validation_error")
    best = folder.load(swept)
    held_out = best.config["result"]["held_out"]
    assert result["best"]["validation_error"] == pytest.approx(1 - held_out["accuracy"])
    alone = tmp_path / "alone"
    result_of(capsys, *asked, "--l2", "0.1", "--seed", "1", "--out", str(alone))
    member, lone = folder.load(swept / "members" / "0003"), folder.load(alone)
    for name, array in lone.weights.items():
        np.testing.assert_allclose(member.weights[name], array, atol=1e-5, err_msg=name)
    assert member.target == lone.target
    assert predict(member, str(given / "x.csv")).num_rows == ROWS


@pytest.mark.end_to_end
def test_four_devices_fine_tune_as_one_does():
    process = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.helpers.finetuning_on_a_mesh"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout == "passed\n", process.stderr


@pytest.mark.end_to_end
def test_a_fine_tuning_that_is_killed_ends_with_the_bits_of_one_left_alone(given, tmp_path, capsys):
    asked = command(given, "classes", "--no-frozen", *HELD_OUT, "--epochs", "30")
    kill_and_resume((*asked, "--checkpoint-every", "1"), tmp_path, capsys, [("manifest", 1), None])


@pytest.mark.slow
def test_twenty_kills_change_nothing_of_where_patience_ends(given, tmp_path, capsys):
    flags = ("--no-frozen", "--patience", "60", "--epochs", "2000", "--schedule", "constant")
    rates = ("--learning-rate", "0.001", "--backbone-learning-rate", "0.001")
    asked = command(given, "classes", *flags, *rates, *HELD_OUT)
    run = kill_and_resume((*asked, "--checkpoint-every", "1"), tmp_path, capsys, [None] * 20)
    best = int(np.argmin([epoch["validation_loss"] for epoch in run.history])) + 1
    result = run.config["result"]
    assert (result["epoch"], result["epochs"], result["stopped_early"]) == (best, best + 60, True)
    # The weights that it serves are those of a run that ends there.
    out = tmp_path / "best"
    shorter = command(given, "classes", "--no-frozen", "--schedule", "constant", *rates, *HELD_OUT)
    result_of(capsys, *shorter, "--epochs", str(best), "--out", str(out))
    for name, array in folder.load(out).weights.items():
        assert array.tobytes() == run.weights[name].tobytes(), name


# What is refused.


@pytest.mark.parametrize(
    ("label", "flags", "message"),
    [
        ("size", ("--task", "classes"), "is not a whole number; classes are"),
        ("colour", ("--task", "numbers"), "is not a number; correct the cell, or fine-tune a"),
        ("colours", (), "no column 'colours'"),
        ("a", (), "--label a: the run has learnt from this column"),
        ("size", ("--task", "numbers", "--label-smoothing", "0.1"), "no hyperparameter of the reg"),
        ("colour", ("--l2", "-1"), "l2 is -1.0; it must be a finite number of at least 0"),
        ("colour", ("--backbone-learning-rate", "0.1"), "it must be left out unless frozen is"),
        ("colour", ("--patience", "3"), "no rows are held out"),
        ("colour", ("--grid", "classes=2,3"), "no hyperparameter of this method"),
        ("colour", ("--grid", "class_weight=none,balanced"), "all runs of a sweep train on the"),
    ],
)
def test_what_cannot_be_fine_tuned_is_refused_and_leaves_nothing(
    given, tmp_path, capsys, label, flags, message
):
    kind = "numbers" if label == "size" else "classes"
    table, out = str(given / f"{kind}.csv"), tmp_path / "run"
    asked = ("finetune", str(given / "run"), table, "--label", label, *SHORT, *flags)
    assert main([*asked, "--out", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_a_fine_tuned_run_is_no_backbone(fine_tuned, given, tmp_path):
    run = fine_tuned["classes", True]
    with pytest.raises(InputError, match=r"is fine-tuned already; give the run that it was made"):
        finetune(run, str(given / "classes.csv"), tmp_path / "again", label="colour")


def test_train_says_how_to_fine_tune(capsys):
    assert main(["train", "classifier", "iris", "--out", "r"]) == 2
    assert "`jaxrep finetune RUN DATA --label COLUMN --out RUN2`" in capsys.readouterr().err


def test_a_folder_of_another_fine_tuning_is_refused(given, fine_tuned, capsys):
    out = str(fine_tuned["classes", True].path)
    for flags, difference in (
        (("--no-frozen",), "frozen: True there"),
        (("--l2", "0.5"), "l2: 0.01 there"),
    ):
        capsys.readouterr()
        assert main([*command(given, "classes", *HELD_OUT, *flags), "--out", out]) == 2
        assert f"differs in {difference}" in capsys.readouterr().err
