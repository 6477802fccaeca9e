"""A run of several seeds in its folder: one run for every command, whose members are all in it."""

import json

import numpy as np
import pytest

from jaxrep import VAEEmbedding
from jaxrep.cli import main
from jaxrep.errors import InputError
from jaxrep.methods import split_members
from jaxrep.parity._run import check_run
from jaxrep.runs import folder, outputs
from jaxrep.runs.reading import read_run
from jaxrep.runs.resume import resume
from jaxrep.runs.sweep import sweep
from jaxrep.runs.train import Columns, train
from jaxrep.training import Every, loop
from tests.helpers.heard import Heard
from tests.helpers.small import ROWS, SMALL, X, make

STOPPING = {"learning_rate": 0.1, "epochs": 12, "patience": 2, "validation_fraction": 0.2}
SETTINGS = SMALL | STOPPING


@pytest.fixture
def rows(tmp_path):
    np.save(tmp_path / "rows.npy", X)
    return str(tmp_path / "rows.npy")


def train_members(rows, out, *, members=3, **more):
    hyperparameters = make("vae", **SETTINGS, members=members).hyperparameters
    return train(rows, out, hyperparameters, Columns(), **more)


def assert_same_files(one, other, *names):
    for name in names:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.fixture
def finished(rows, tmp_path):
    result = train_members(rows, tmp_path / "run")
    return result, folder.load(tmp_path / "run")


def test_a_folder_holds_all_members_and_the_means_of_their_metrics(finished, rows, tmp_path):
    result, run = finished
    settings = make("vae", **SETTINGS).hyperparameters
    for i, weights in enumerate(split_members(run.weights, 3)):
        settings = make("vae", **SETTINGS, seed=i).hyperparameters
        lone = train(rows, tmp_path / f"lone{i}", settings, Columns())
        assert result.epoch[i] == lone.epoch
        for name, array in folder.load(tmp_path / f"lone{i}").weights.items():
            np.testing.assert_allclose(weights[name], array, rtol=1e-5, atol=1e-6)
    assert len(set(result.epoch)) > 1
    assert run.config["result"]["epoch"] == result.epoch
    logged = (run.path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in logged] == run.history
    told = f"3 members: epochs {min(result.epoch)} to {max(result.epoch)} of {result.epochs}"
    assert result.served.startswith(told) and result.served.endswith("stopped early")
    assert train_members(rows, run.path) == result  # nothing to do


def test_last_takes_the_last_weights_of_every_member(finished):
    result, run = finished
    last = read_run(run.path, last=True)
    assert len(last.config["result"]["epoch"]) == 3
    assert all(a >= b for a, b in zip(last.config["result"]["epoch"], result.epoch, strict=True))
    assert (last.weights["mu.kernel"] != run.weights["mu.kernel"]).any()


def test_a_run_that_is_killed_at_a_checkpoint_goes_on_to_the_same_files(
    finished, rows, monkeypatch, tmp_path
):
    class Killed(BaseException):
        """Nothing that a training would catch."""

    saves = []
    save = loop.Loop._save

    def dying(self):
        save(self)
        saves.append(self.step)
        if len(saves) == 3:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(loop.Loop, "_save", dying)
        train_members(rows, tmp_path / "again", every=Every(epochs=1))
    notes = []
    unfinished = read_run(tmp_path / "again", note=notes.append)
    assert "and 3 whole epochs" in notes[0]
    assert unfinished.weights["mu.kernel"].shape[0] == 3
    logged = []

    def look(progress):
        logged.append((tmp_path / "again" / "metrics.jsonl").read_text())

    resumed = resume(tmp_path / "again", callbacks=[Heard(on_progress=look)])
    assert logged[0] and (finished[1].path / "metrics.jsonl").read_text().startswith(logged[0])
    assert resumed.resumed_from_step == saves[-1]
    names = ("model.safetensors", "last.safetensors", "metrics.jsonl")
    assert_same_files(finished[1].path, tmp_path / "again", *names)
    train_members(rows, tmp_path / "now", every=Every(epochs=1))
    with pytest.raises(InputError, match="stopped after epoch"):
        resume(tmp_path / "now", epochs=20)


def test_finish_now_makes_a_run_of_all_members(rows, monkeypatch, tmp_path):
    class Killed(BaseException):
        """Nothing that a training would catch."""

    save = loop.Loop._save

    def dying(self):
        save(self)
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(loop.Loop, "_save", dying)
        train_members(rows, tmp_path / "run", every=Every(epochs=2))
    result = resume(tmp_path / "run", finish_now=True)
    assert (result.epochs, len(result.epoch)) == (2, 3)
    assert folder.load(tmp_path / "run").weights["mu.kernel"].shape[0] == 3


def test_scores_of_a_table_are_means_and_the_threshold_is_theirs(finished, rows, tmp_path):
    _, run = finished
    found = outputs.score(run, rows, contamination=0.1)
    assert found["anomaly"].to_numpy().mean() == pytest.approx(0.1, abs=0.06)
    x = outputs.read_rows(run, rows)[1]
    np.testing.assert_array_equal(found["score"], run.map("score", x))


def test_a_sweep_refuses_members_and_says_what_to_do(rows, tmp_path):
    shared = make("vae", members=2).hyperparameters
    for hyperparameters, varied in ((shared, {}), (make("vae").hyperparameters, {"members": [1]})):
        with pytest.raises(InputError, match=r"give --seeds .* train the best setting with"):
            sweep(rows, tmp_path / "sweep", hyperparameters, Columns(), varied=varied)
    assert not (tmp_path / "sweep").exists()


def test_a_run_of_members_passes_its_cross_check(finished):
    report = check_run(finished[1], X)
    assert report.passed, [check.message for check in report.failures]
    told = {check.case for check in report.checks if check.check.startswith("loss")}
    assert told == {f"16 rows, seed {seed}" for seed in range(3)}


@pytest.mark.end_to_end
def test_the_commands_take_a_run_of_members(rows, tmp_path, capsys):
    run, flags = str(tmp_path / "run"), ("--hidden-dims", "6", "--latent-dim", "3")
    settings = ("--epochs", "3", "--members", "2", "--validation-fraction", "0.2")
    assert main(["train", "autoencoder", rows, "--out", run, *flags, *settings]) == 0
    assert "serves 2 members: epoch" in capsys.readouterr().out
    assert main(["info", run, "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["hyperparameters"]["members"] == len(told["result"]["epoch"]) == 2
    assert main(["report", run]) == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "2; the scores are means, all else is the first one" in page
    assert "--members 2" in page and "means of what it serves" in page


def test_an_estimator_has_members_and_trains_them_on(tmp_path):
    made = VAEEmbedding(recipe="seed", **SMALL, epochs=2, members=2, warm_start=True).fit(X)
    assert made.run_.weights["mu.kernel"].shape == (2, 6, 3)
    before = made.run_.weights["mu.kernel"]
    made.fit(X)
    assert [epoch["epoch"] for epoch in made.history_] == [1, 2, 3, 4]
    assert (made.run_.weights["mu.kernel"] != before).all(axis=(1, 2)).all()
    told = made.run_.config["result"]
    assert told["rows_per_second"] == pytest.approx(2 * ROWS * 2 / told["seconds"])
    scores = made.score_samples(X)
    made.save(tmp_path / "run")
    np.testing.assert_array_equal(VAEEmbedding.load(tmp_path / "run").score_samples(X), scores)
    with pytest.raises(InputError, match="members was 2 and is 3"):
        made.set_params(members=3).fit(X)
