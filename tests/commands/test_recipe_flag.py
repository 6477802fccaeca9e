"""`--recipe NAME`: which values a flag leaves to it, and what a run keeps of it."""

import dataclasses
import json
import shlex

import numpy as np
import pytest

from jaxrep import methods
from jaxrep.hyperparameters import Recipe, declaration
from jaxrep.report.origin import command_of
from jaxrep.runs import folder
from tests.helpers.commands import call, done
from tests.helpers.small import FEATURES, ROWS

FILLING = {**methods.hyperparameters_of("autoencoder").recipes["filling"].values}
SHORT = ("--hidden-dims", 8, "--steps", 4)  # else it would train for a minute


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "rows.npy"
    np.save(path, np.random.default_rng(0).normal(size=(ROWS, FEATURES)))
    return path


@pytest.fixture(scope="module")
def filling(data, tmp_path_factory):
    """The folder of a run of the recipe, but for a code as wide as the default."""
    path = tmp_path_factory.mktemp("runs") / "filling"
    flags = ("--recipe", "filling", *SHORT, "--latent-dim", 8)
    done("train", "autoencoder", data, "--out", path, *flags)
    return path


def config_of(path):
    return json.loads((path / "config.json").read_text(encoding="utf-8"))


def test_flags_win_over_the_recipe_and_that_over_the_defaults(filling):
    config = config_of(filling)
    assert config["recipe"] == "filling"
    assert list(config["hyperparameters"]) == list(
        vars(methods.resolve(methods.AutoencoderHyperparameters))
    )
    expected = FILLING | {"hidden_dims": [8], "steps": 4, "latent_dim": 8, "views": ["hide"]}
    assert config["hyperparameters"].items() >= expected.items()


def test_without_a_recipe_the_first_one_is_taken_and_named(data, tmp_path):
    argv = ("train", "vae", data, "--epochs", 1, "--hidden-dims", 8, "--out", tmp_path / "run")
    done(*argv)
    config = config_of(tmp_path / "run")
    assert (config["recipe"], config["hyperparameters"]["latent_dim"]) == ("generation", 24)
    assert config["data"]["columns"]["scale"] == "spikes"
    code, _, err = call(*argv, "--recipe", "generation")  # the same run
    assert code == 0 and "nothing to do" in err


def test_info_the_report_and_the_command_that_repeats_a_run_name_its_recipe(filling, data):
    assert done("info", filling)["recipe"] == "filling"
    assert "\nrecipe: filling\n" in call("info", filling)[1]
    command = command_of(folder.load(filling).config, str(filling))
    assert "--recipe filling" in command and "--hide-rate" not in command
    assert "--latent-dim 8" in command  # which is the default, and not the recipe's
    code, _, err = call(*shlex.split(command)[1:])
    assert code == 0 and "nothing to do" in err
    done("report", filling, "--no-parity")
    page = (filling / "report.html").read_text(encoding="utf-8")
    assert '<th scope="row">recipe</th><td>filling</td>' in page


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_an_unknown_recipe_is_refused_with_those_of_the_method(command, data, tmp_path):
    argv = (command, "autoencoder", data, "--out", tmp_path / "run", "--recipe", "fill")
    code, out, err = call(*argv)
    assert (code, out) == (2, "") and not (tmp_path / "run").exists()
    assert err == (
        "jaxrep: recipe 'fill': there is none of that name for autoencoder; there are seed, "
        "filling, anomalies\n"
    )


def test_resuming_keeps_the_recipe_and_its_values(filling, data, tmp_path):
    path = tmp_path / "run"
    flags = ("--recipe", "filling", "--schedule", "constant", *SHORT)
    done("train", "autoencoder", data, "--out", path, *flags)
    before = config_of(path)
    done("resume", path, "--steps", 7)
    after = config_of(path)
    assert after["recipe"] == "filling" and after["result"]["steps"] == 7
    assert after["hyperparameters"] == before["hyperparameters"] | {"steps": 7}


def test_the_runs_of_a_sweep_have_the_recipe_and_hold_rows_out(data, tmp_path):
    argv = ("sweep", "autoencoder", data, "--recipe", "filling", *SHORT)
    grid = ("--grid", "latent_dim=2,64", "--save-all")
    done(*argv, *grid, "--out", tmp_path / "run")
    for i, width in enumerate((2, 64)):
        config = config_of(tmp_path / "run" / "members" / f"000{i}")
        told = config["hyperparameters"]
        assert (config["recipe"], told["latent_dim"], told["hide_rate"]) == ("filling", width, 0.35)
        assert told["validation_fraction"] == 0.1
    assert config_of(tmp_path / "run")["recipe"] == "filling"
    code, _, err = call(*argv, *grid, "--out", tmp_path / "all", "--validation-fraction", 0)
    assert code == 2 and "validation_error" in err  # 0 was asked for, though it is a default


def test_finetuning_has_recipes_of_its_own(filling, tmp_path):
    rows = np.random.default_rng(0).normal(size=(40, FEATURES))
    source, out = tmp_path / "labelled.csv", tmp_path / "head"
    names = ",".join([*(f"x{i}" for i in range(FEATURES)), "y"])
    table = np.column_stack([rows, rows[:, 0] > 0])
    np.savetxt(source, table, delimiter=",", header=names, comments="", fmt="%g")
    argv = ("finetune", filling, source, "--label", "y", "--task", "classes", "--epochs", 2)
    done(*argv, "--out", out, "--no-frozen")
    config = config_of(out)
    assert config["recipe"] == "seed" and config["hyperparameters"]["schedule"] == "cosine"
    assert config["hyperparameters"]["frozen"] is False
    done(*argv, "--out", tmp_path / "frozen", "--frozen")
    assert config_of(tmp_path / "frozen")["hyperparameters"]["frozen"] is True
    code, _, err = call(*argv, "--out", tmp_path / "no", "--recipe", "filling")
    assert code == 2 and "for classifier; there are seed" in err
    code, _, err = call(*argv, "--out", tmp_path / "no", "--frozen", "--no-frozen")
    assert code == 2 and "--frozen and --no-frozen: give one of them" in err
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("name", methods.without_labels())
def test_the_help_lists_the_recipes_and_each_value_under_the_first(name):
    code, out, _ = call("train", name, "--help")
    told = " ".join(line.strip("│ ") for line in out.splitlines())
    kind = methods.hyperparameters_of(name)
    for recipe, made in kind.recipes.items():
        assert f"{recipe}: {made.help}" in told
    assert code == 0 and f"(default: {next(iter(kind.recipes))}) --hidden-dims" in told
    (epochs,) = (field for field in dataclasses.fields(kind) if field.name == "epochs")
    assert f"{declaration(epochs).help} (default: {kind().epochs})" in told


@pytest.mark.parametrize(
    ("flag", "value"), [("--clean-anchor", True), ("--no-clean-anchor", False)]
)
def test_a_flag_without_a_value_wins_over_a_recipe_that_says_the_opposite(
    flag, value, data, tmp_path, monkeypatch
):
    kind = methods.hyperparameters_of("simclr")
    opposite = Recipe("the opposite.", {"clean_anchor": not value})
    monkeypatch.setattr(kind, "recipes", {**kind.recipes, "opposite": opposite})
    argv = ("train", "simclr", data, "--recipe", "opposite", "--epochs", 1, "--hidden-dims", 8)
    done(*argv, flag, "--out", tmp_path / "run")
    assert config_of(tmp_path / "run")["hyperparameters"]["clean_anchor"] is value
