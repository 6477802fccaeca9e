"""Rows set apart for p-values: which they are, that nothing sees them, and that levels hold."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from jaxrep import conformal
from jaxrep.cli import main
from jaxrep.data.store.preparation import prepare
from jaxrep.errors import InputError, ModelFormatError
from jaxrep.hyperparameters import TrainingHyperparameters
from jaxrep.methods import hyperparameters_of
from jaxrep.runs import folder, outputs
from jaxrep.runs.configuration import read_config
from jaxrep.runs.levels import calibration_of, flagging
from jaxrep.runs.reading import read_run
from jaxrep.runs.resume import resume
from jaxrep.runs.sweep import sweep
from jaxrep.runs.train import Columns, train
from jaxrep.runs.training_rows import calibration_rows, held_out_rows
from tests.helpers.small import SMALL

ROWS = 700
APART = {"calibration_fraction": 0.3}
SPLIT = APART | {"validation_fraction": 0.1, "patience": 3, "learning_rate": 0.3, "epochs": 20}


def settings(name="autoencoder", **given):
    return hyperparameters_of(name)(**SMALL | {"epochs": 2} | given)


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(ROWS, 5)).round(4)


@pytest.fixture(scope="module")
def table(x, tmp_path_factory):
    return write(tmp_path_factory.mktemp("levels") / "rows.csv", x)


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "run"
    train(table, path, settings(**SPLIT), Columns())
    return folder.load(path)


def write(path, x, jobs=None):
    jobs = np.array(["clerk", "smith"])[np.arange(len(x)) % 2] if jobs is None else jobs
    lines = [",".join([*map(str, row), job]) for row, job in zip(x, jobs, strict=True)]
    path.write_text("\n".join(["a,b,c,d,e,job", *lines]))
    return str(path)


# Which rows


def test_calibration_rows_are_others_than_those_held_out_and_move_none_of_them():
    plain = TrainingHyperparameters(validation_fraction=0.2)
    both = dataclasses.replace(plain, calibration_fraction=0.25)
    np.testing.assert_array_equal(held_out_rows(1000, plain), held_out_rows(1000, both))
    found = calibration_rows(1000, both)
    assert found.sum() == 250 and not (found & held_out_rows(1000, both)).any()
    alone = dataclasses.replace(both, validation_fraction=0.0)
    np.testing.assert_array_equal(found, calibration_rows(1000, alone))
    assert (found != calibration_rows(1000, dataclasses.replace(both, split_seed=1))).any()
    np.testing.assert_array_equal(
        found, calibration_rows(1000, dataclasses.replace(both, seed=1, batch_size=7))
    )
    assert not calibration_rows(1000, plain).any()


def test_at_most_ten_thousand_rows_are_set_apart():
    made = TrainingHyperparameters(calibration_fraction=0.5)
    assert calibration_rows(30_000, made).sum() == 10_000


@pytest.mark.parametrize(
    ("rows", "given", "message"),
    [
        (1000, {"calibration_fraction": 0.1}, "of 1,000 rows it sets 100 apart.*give 0.2 or more"),
        (300, {"calibration_fraction": 0.5}, "of 300 rows it sets 150 apart.*give more rows"),
        (
            400,
            {"calibration_fraction": 0.6, "validation_fraction": 0.5},
            "validation_fraction is 0.5 and calibration_fraction is 0.6: of 400 rows they leave 0",
        ),
        (1000, {"patience": 3, "calibration_fraction": 0.3}, "no rows are held out"),
    ],
)
def test_too_few_rows_are_refused(rows, given, message):
    made = TrainingHyperparameters(**given)
    with pytest.raises(InputError, match=message):
        held_out_rows(rows, made)
        calibration_rows(rows, made)


# What is kept


def test_a_run_keeps_the_scores_of_its_calibration_rows_for_both_weights(run, table):
    is_apart = calibration_rows(ROWS, run.method.hyperparameters)
    assert run.config["result"]["rows"] == ROWS - 210 - 70
    for made in (run, read_run(run.path, last=True)):
        scores = np.asarray(outputs.score(made, table)["score"])
        np.testing.assert_array_equal(calibration_of(made, "a test"), np.sort(scores[is_apart]))
    assert run.last_weights is not None
    assert run.config["calibration_scores"] != run.config["last"]["calibration_scores"]


def test_a_run_without_calibration_rows_keeps_none(table, tmp_path):
    train(table, tmp_path / "run", settings(), Columns())
    run = folder.load(tmp_path / "run")
    assert "calibration_scores" not in run.config
    for asked in ({"alpha": 0.05}, {"fdr": 0.1}, {"p_value": True}):
        name = next(iter(asked)).replace("_", "-")
        with pytest.raises(InputError, match=f"--{name}: .*train with --calibration-fraction"):
            flagging(run, table, **asked)


@pytest.mark.parametrize("stream", ["never", "always"])
def test_nothing_sees_a_calibration_row(x, table, tmp_path, stream):
    """Neither training, nor early stopping, nor means, scales and levels: other rows, same run."""
    made = settings(**SPLIT)
    is_apart = calibration_rows(ROWS, made)
    others = np.where(is_apart[:, None], 3 * x + 100, x)
    jobs = np.where(is_apart, "cook", np.array(["clerk", "smith"])[np.arange(ROWS) % 2])
    changed = write(tmp_path / "others.csv", others, jobs)
    runs = []
    for name, source in (("one", table), ("two", changed)):
        train(source, tmp_path / name, made, Columns(), stream=stream)
        runs.append(folder.load(tmp_path / name))
    one, two = runs
    assert one.schema == two.schema and one.history == two.history
    for name in one.weights:
        np.testing.assert_array_equal(one.weights[name], two.weights[name])
    assert one.config["score_quantiles"] == two.config["score_quantiles"]
    assert min(two.config["calibration_scores"]) > max(one.config["calibration_scores"])
    np.testing.assert_array_equal(
        calibration_of(one, "a test"),
        np.sort(np.asarray(outputs.score(one, table)["score"])[is_apart]),
    )


@pytest.mark.parametrize("split", [{}, {"calibration_fraction": 0.4, "split_seed": 0}])
def test_rows_that_were_written_for_another_split_are_not_taken(table, tmp_path, split):
    out = tmp_path / "run"
    left = prepare(  # by a run that was killed early
        table, out / "rows", columns=Columns(), split=split, fitted_to=lambda n: np.arange(n) < 400
    )
    train(table, out, settings(**APART), Columns(), stream="always")
    train(table, tmp_path / "other", settings(**APART), Columns(), stream="always")
    run, other = folder.load(out), folder.load(tmp_path / "other")
    assert run.schema == other.schema != left.schema
    assert run.config["calibration_scores"] == other.config["calibration_scores"]


def test_rows_that_differ_are_replaced_only_by_those_who_ask(table, tmp_path):
    prepare(table, tmp_path / "rows", columns=Columns())
    split = {"calibration_fraction": 0.3}
    with pytest.raises(InputError, match="differ in the rows set apart"):
        prepare(table, tmp_path / "rows", columns=Columns(), split=split)


def test_a_prepared_folder_is_refused(table, tmp_path):
    prepare(table, tmp_path / "rows", columns=Columns())
    with pytest.raises(InputError, match=r"calibration_fraction is 0.3: .*that it was prepared"):
        train(str(tmp_path / "rows"), tmp_path / "run", settings(**APART), Columns())
    assert not (tmp_path / "run").exists()


def test_a_longer_run_has_the_scores_of_its_new_weights(table, tmp_path):
    train(table, tmp_path / "run", settings(**APART), Columns())
    before = folder.load(tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "asked")
    folder.ask_for_more(tmp_path / "asked", epochs=4)
    assert not {*folder.KEPT_SCORES} & read_config(tmp_path / "asked").keys()
    resume(tmp_path / "run", epochs=4)
    train(table, tmp_path / "whole", settings(**APART, epochs=4), Columns(), stream="never")
    after, whole = folder.load(tmp_path / "run"), folder.load(tmp_path / "whole")
    assert after.config["calibration_scores"] == whole.config["calibration_scores"]
    assert after.config["calibration_scores"] != before.config["calibration_scores"]


def test_the_best_run_of_a_sweep_has_its_own_scores(table, tmp_path):
    made = settings(**APART, validation_fraction=0.1)
    sweep(table, tmp_path / "sweep", made, Columns(), varied={"learning_rate": [1e-3, 0.05]})
    best = folder.load(tmp_path / "sweep")
    chosen = dataclasses.replace(
        made, learning_rate=best.config["hyperparameters"]["learning_rate"]
    )
    train(table, tmp_path / "alone", chosen, Columns())
    alone = folder.load(tmp_path / "alone").config["calibration_scores"]
    np.testing.assert_allclose(best.config["calibration_scores"], alone, rtol=1e-4)


def test_info_says_how_many_scores_are_kept_and_lists_none(run, capsys):
    assert main(["info", str(run.path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["kept_of_training_data"]["calibration_scores"] == 210
    assert "calibration_scores" not in told and "calibration_scores" not in told["last"]


@pytest.mark.parametrize("stored", [[], [1.0] * 199, [2.0, *[1.0] * 200], [1.0] * 200 + [1e300]])
def test_damaged_scores_are_refused(run, table, stored):
    config = run.config | {"calibration_scores": stored}
    with pytest.raises(ModelFormatError, match=r"calibration scores in config\.json are damaged"):
        flagging(dataclasses.replace(run, config=config), table, alpha=0.1)


# Whether levels hold


def drawn(count, seed):
    return np.random.default_rng(seed).normal(size=(count, 5))


def test_the_share_of_unseen_rows_is_the_level_and_with_training_rows_scores_it_is_not(tmp_path):
    """A network that knows its 60 rows by heart: their scores are no measure of other rows'."""
    unseen = drawn(4000, 99)
    np.save(tmp_path / "unseen.npy", unseen)
    flagged, wrongly = [], []
    for seed in range(6):
        source = tmp_path / f"{seed}.npy"
        np.save(source, drawn(1060, seed))
        made = hyperparameters_of("autoencoder")(
            hidden_dims=(64,),
            latent_dim=4,
            epochs=150,
            batch_size=16,
            learning_rate=1e-2,
            calibration_fraction=1000 / 1060,
            split_seed=seed,
            seed=seed,
        )
        train(str(source), tmp_path / f"run{seed}", made, Columns())
        run = folder.load(tmp_path / f"run{seed}")
        scores = np.asarray(outputs.score(run, str(tmp_path / "unseen.npy"))["score"])
        flagged.append(conformal.p_values(scores, calibration_of(run, "a test")) <= 0.1)
        known = np.asarray(outputs.score(run, str(source))["score"])
        known = known[~calibration_rows(1060, made)]
        assert len(known) == 60
        wrongly.append(conformal.p_values(scores, conformal.sorted_scores(known)) <= 0.1)
    # Of one run the share scatters by 0.0095, for 1,000 calibration rows.
    assert abs(np.mean(flagged) - 0.1) < 3 * 0.0095 / np.sqrt(6)
    assert np.mean(wrongly) > 0.15


def test_rows_are_flagged_by_one_rule(run, table):
    with pytest.raises(InputError, match="--contamination and --fdr each say"):
        flagging(run, table, contamination=0.1, fdr=0.1)
    with pytest.raises(InputError, match=r"--alpha is 0.001, .*210 calibration rows .*1/211"):
        flagging(run, table, alpha=0.001)
    with pytest.raises(InputError, match=r"--fdr is 0.001, .*1/211"):
        flagging(run, table, fdr=0.001)
    with pytest.raises(InputError, match="--alpha is 2; it must be above 0 and below 1"):
        flagging(run, table, alpha=2)
