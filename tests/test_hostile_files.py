"""Run folders, exported files and tables made to break a reader: refused, in bounded memory."""

import json
import os

import numpy as np
import pytest
import safetensors.numpy
from mutations import dumps, raw
from test_run_folder import configuration, save, seal, untrained_weights

import torch_ref.hyperparameters
from jaxrep import hyperparameters, strict_json
from jaxrep.cli import main
from jaxrep.errors import ModelFormatError
from jaxrep.runs import folder, outputs, rows


@pytest.fixture
def run(tmp_path):
    save(tmp_path / "run")
    return tmp_path / "run"


def with_config(run, **changes):
    config = json.loads((run / "config.json").read_text())
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict):
            value = config[key] | value
        config[key] = value
    (run / "config.json").write_text(dumps(config))
    seal(run)


def refused_by_info(run, capsys, *facts):
    for flags in ((), ("--json",)):
        assert main(["info", str(run), *flags]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("jaxrep: ") and captured.err.count("\n") == 1
        assert len(captured.err) < 1000
        for fact in facts:
            assert fact in captured.err


# Numbers


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay", "beta", "validation_fraction"])
def test_a_hyperparameter_beyond_float64_is_refused(run, capsys, name):
    with_config(run, hyperparameters={name: 10**400})
    refused_by_info(run, capsys, "config.json", "beyond float64")


@pytest.mark.parametrize("value", [10**400, 1e308])
def test_quantiles_that_overflow_are_refused(run, capsys, value):
    with_config(run, score_quantiles={"levels": [0, 0.5, 1], "scores": [-1e308, -1e308, value]})
    refused_by_info(run, capsys, "config.json")


@pytest.mark.parametrize("views", [[["noise"]], [{}], {"noise": 1}, "noise", [None]])
def test_views_that_are_no_names_are_refused(tmp_path, capsys, views):
    save(tmp_path / "run", "autoencoder")
    with_config(tmp_path / "run", hyperparameters={"views": views})
    refused_by_info(tmp_path / "run", capsys, "config.json", "views is")


@pytest.mark.parametrize("package", [hyperparameters, torch_ref.hyperparameters])
def test_both_packages_refuse_a_whole_number_beyond_float64(package):
    with pytest.raises(ValueError, match="beta is 1000"):
        package.check(package.VAEHyperparameters(beta=10**400))


@pytest.mark.parametrize("levels", [[0, 0.5, "x"], [[0], [1], [2]], [0, 1], {"a": 1}, None])
def test_quantiles_that_are_no_list_of_numbers_are_refused(run, capsys, levels):
    with_config(run, score_quantiles={"levels": levels})
    refused_by_info(run, capsys, "config.json")


@pytest.mark.parametrize("text", ["NaN", "1e999", "-Infinity", "9" * 5000])
def test_a_number_that_json_cannot_write_again_is_refused(run, capsys, text):
    with_config(run, anything=raw(text))
    refused_by_info(run, capsys, "config.json", "beyond float64" if text[0] in "19" else text)


# Levels and sizes


@pytest.mark.parametrize("depth", [65, 900, 100_000])
def test_nesting_is_limited(run, capsys, depth):
    with_config(run, anything=raw("[" * depth + "]" * depth))
    refused_by_info(run, capsys, "config.json", "64 levels")


def test_a_long_value_does_not_become_a_long_message(run, capsys):
    for changes in ({"method": "a" * 10**6}, {"schema_version": "a" * 10**6}):
        with_config(run, **changes)
        refused_by_info(run, capsys, "config.json")
        with_config(run, **configuration("vae"))
    with_config(run, hyperparameters={"hidden_dims": [0] * 10**5, "a" * 10**5: 1})
    refused_by_info(run, capsys, "config.json")


def test_more_values_than_any_file_has_are_refused_before_they_are_made():
    with pytest.raises(ValueError, match="values"):
        strict_json.loads("[" + "[]," * strict_json.MAX_VALUES + "[]]")


@pytest.mark.parametrize("name", (*folder.CONTENT, folder.MANIFEST))
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_file_that_never_ends_is_not_read(run, capsys, name, kind):
    (run / name).unlink()
    if kind == "pipe":
        os.mkfifo(run / name)
    else:
        (run / name).symlink_to("/dev/zero")
    refused_by_info(run, capsys, "run")


def test_metrics_larger_than_any_run_has_are_not_read(run, capsys):
    with (run / "metrics.jsonl").open("r+b") as file:
        file.truncate(folder.MAX_METRICS_BYTES + 1)
    seal(run)
    refused_by_info(run, capsys, "metrics.jsonl", "larger")


@pytest.mark.parametrize("loss", ["NaN", "1e999", "true", "9" * 400])
def test_metrics_that_are_no_finite_numbers_are_refused(run, capsys, loss):
    (run / "metrics.jsonl").write_text('{"epoch": 1, "loss": ' + loss + "}\n")
    seal(run)
    refused_by_info(run, capsys, "metrics.jsonl", "line 1")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(run, capsys, value):
    weights = untrained_weights("vae")
    weights["mu.bias"] = np.full_like(weights["mu.bias"], value)
    safetensors.numpy.save_file(weights, run / "model.safetensors")
    seal(run)
    refused_by_info(run, capsys, "model.safetensors", "mu.bias")


@pytest.mark.parametrize("digest", [None, 3, "no digest", {}])
def test_the_rows_of_a_run_that_says_no_digest_are_drawn(run, digest):
    config = json.loads((run / "config.json").read_text())
    config["data"]["sha256"] = digest
    if digest is None:
        del config["data"]["sha256"]
    (run / "config.json").write_text(json.dumps(config))
    seal(run)
    assert len(rows.rows_of(folder.load(run))) == rows.DRAWN_ROWS


def test_a_source_that_is_no_path_is_taken_for_one_that_is_not_there(run):
    for source in ("a\0b", "x" * 5000, "\udcff"):
        with_config(run, data={"source": source})
        assert len(rows.rows_of(folder.load(run))) == rows.DRAWN_ROWS


def test_levels_beyond_float64_are_refused(run):
    loaded = folder.load(run)
    loaded.config["score_quantiles"] = {"levels": [0, 10**400], "scores": [0, 1]}
    with pytest.raises(ModelFormatError, match="quantiles"):
        outputs.threshold(loaded)
