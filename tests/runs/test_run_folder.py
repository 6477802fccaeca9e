import copy
import dataclasses
import json

import numpy as np
import pytest
import safetensors.numpy

from jaxrep import files
from jaxrep.errors import InputError, ModelFormatError
from jaxrep.methods import VAEHyperparameters, names
from jaxrep.runs import folder
from jaxrep.runs.configuration import read_config
from jaxrep.runs.outputs import threshold
from tests.helpers.saved_runs import (
    EPOCHS,
    SCHEMA,
    configuration,
    results,
    save,
    seal,
    settings,
    untrained_weights,
)

pytestmark = pytest.mark.quick


@pytest.fixture
def run(tmp_path):
    save(tmp_path / "run")
    return tmp_path / "run"


def refused(path, *facts):
    with pytest.raises(ModelFormatError) as caught:
        folder.load(path)
    for fact in facts:
        assert fact in str(caught.value), str(caught.value)


def contents(path):
    return {p.name: p.read_bytes() if p.is_file() else None for p in sorted(path.rglob("*"))}


# What a path holds


def test_nothing_and_an_empty_folder_are_absent(tmp_path):
    assert folder.state(tmp_path / "none") == "absent"
    assert folder.state(tmp_path) == "absent"


def test_a_path_too_long_for_a_file_system_is_absent(tmp_path):
    assert folder.state(tmp_path / ("x" * 300)) == "absent"


def test_a_file_and_a_folder_of_other_things_are_unrecognised(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    assert folder.state(tmp_path / "notes.txt") == "unrecognised"
    assert folder.state(tmp_path) == "unrecognised"


@pytest.mark.parametrize("name", ["config.json", "manifest.json", "schema.json"])
@pytest.mark.parametrize("text", ['{"name": "my-app"}', "[]", "no json"])
def test_a_folder_with_a_file_of_the_same_name_from_elsewhere_is_unrecognised(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert folder.state(tmp_path) == "unrecognised"


def test_a_run_is_unfinished_from_begin_to_finish(tmp_path):
    folder.begin(tmp_path / "run", configuration("vae"), SCHEMA)
    assert folder.state(tmp_path / "run") == "unfinished"
    folder.append_metrics(tmp_path / "run", EPOCHS[0])
    assert folder.state(tmp_path / "run") == "unfinished"
    folder.finish(tmp_path / "run", configuration("vae"), untrained_weights("vae"))
    assert folder.state(tmp_path / "run") == "finished"


@pytest.mark.parametrize("damaged", ["config.json", "manifest.json"])
def test_a_finished_run_with_one_damaged_file_is_still_a_finished_run(run, damaged):
    (run / damaged).write_text("{")
    assert folder.state(run) == "finished"


# Writing


def test_begin_makes_parents_and_writes_no_model_and_no_manifest(tmp_path):
    folder.begin(tmp_path / "a" / "b", configuration("vae"), SCHEMA)
    assert sorted(contents(tmp_path / "a" / "b")) == [
        "config.json",
        "metrics.jsonl",
        "schema.json",
    ]


def test_begin_takes_an_earlier_run_away_and_leaves_other_files(run):
    (run / "plots").mkdir()
    for name in (*folder.PLOTS, "plots/mine.png", "notes.txt"):
        (run / name).write_text("x")
    folder.begin(run, configuration("simclr"), SCHEMA)
    assert sorted(contents(run)) == [
        "config.json",
        "metrics.jsonl",
        "mine.png",
        "notes.txt",
        "plots",
        "schema.json",
    ]
    assert (run / "metrics.jsonl").read_text() == ""
    assert folder.state(run) == "unfinished"


def test_begin_stops_being_a_finished_run_before_anything_else(run, monkeypatch):
    def fail(path, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_text", fail)
    with pytest.raises(InputError, match=r"--out .*run: cannot be written \(No space left"):
        folder.begin(run, configuration("vae"), SCHEMA)
    assert folder.state(run) == "unfinished"


def test_begin_names_the_path_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "run", tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match=f"--out {path}: cannot be written"):
            folder.begin(path, configuration("vae"), SCHEMA)
    assert sorted(contents(tmp_path)) == ["file"]


def test_a_finish_that_fails_leaves_an_unfinished_run(tmp_path, monkeypatch):
    folder.begin(tmp_path / "run", configuration("vae"), SCHEMA)
    before = contents(tmp_path / "run")

    def fail(arrays, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.numpy, "save_file", fail)
    with pytest.raises(OSError, match="No space"):
        folder.finish(tmp_path / "run", configuration("vae"), untrained_weights("vae"))
    assert contents(tmp_path / "run") == before


def test_weights_of_any_memory_layout_are_saved_as_they_are(tmp_path):
    weights = untrained_weights("autoencoder")
    folder.begin(tmp_path, configuration("autoencoder"), SCHEMA)
    folder.append_metrics(tmp_path, EPOCHS[0])
    fortran = {name: np.asfortranarray(array) for name, array in weights.items()}
    config = configuration("autoencoder") | results(tmp_path, "autoencoder")
    folder.finish(tmp_path, config, fortran)
    read = folder.load(tmp_path).weights
    for name, array in weights.items():
        np.testing.assert_array_equal(read[name], array)


def test_the_manifest_holds_the_digest_of_each_file(run):
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["sha256"] == {name: files.sha256(run / name) for name in folder.CONTENT}


def test_a_path_that_is_no_unicode_text_is_kept_as_it_is(tmp_path):
    config = configuration("vae")
    config["data"]["source"] = "/x/\udcff.csv"
    folder.begin(tmp_path, config, SCHEMA)
    assert read_config(tmp_path)["data"]["source"] == "/x/\udcff.csv"


# Reading


@pytest.mark.parametrize("method", names())
def test_a_run_comes_back_as_it_was_saved(tmp_path, method):
    weights = save(tmp_path, method)
    run = folder.load(tmp_path)
    assert run.method.name == method
    assert run.method.hyperparameters == settings(method)
    assert run.schema == SCHEMA
    assert run.history == EPOCHS
    assert run.config["data"]["source"] == "/x/π.csv"
    assert run.path == tmp_path
    assert run.weights.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(run.weights[name], array)


def test_what_is_no_run_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "none", tmp_path / "file", tmp_path):
        refused(path, str(path), "not a run folder")


def test_an_unfinished_run_is_refused_with_what_to_do(tmp_path):
    folder.begin(tmp_path, configuration("vae"), SCHEMA)
    refused(tmp_path, str(tmp_path), "not finished", "jaxrep train")


@pytest.mark.parametrize("name", folder.CONTENT)
@pytest.mark.parametrize("where", [0, 0.5, -1])
def test_a_flipped_bit_is_found_in_every_file(run, name, where):
    data = bytearray((run / name).read_bytes())
    data[where if where in (0, -1) else int(len(data) * where)] ^= 1
    (run / name).write_bytes(data)
    refused(run, str(run / name), "damaged")


@pytest.mark.parametrize("name", folder.CONTENT)
def test_a_missing_file_is_named(run, name):
    (run / name).unlink()
    refused(run, str(run / name), "missing")


@pytest.mark.parametrize("name", folder.CONTENT)
def test_a_folder_in_the_place_of_a_file_is_refused(run, name):
    (run / name).unlink()
    (run / name).mkdir()
    refused(run, str(run / name))


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "{",
        "[]",
        '{"schema_version": 1}',
        '{"sha256": {}}',
        '{"sha256": 3}',
        b"\xff",
        "[" * 10**5,
    ],
)
def test_a_manifest_that_is_not_one_is_named(run, manifest):
    (run / "manifest.json").write_bytes(
        manifest if isinstance(manifest, bytes) else manifest.encode()
    )
    refused(run, str(run / "manifest.json"))


@pytest.mark.parametrize("where", range(0, 390, 7))
def test_a_flipped_bit_in_the_manifest_never_passes(run, where):
    data = bytearray((run / "manifest.json").read_bytes())
    before = json.loads(data)
    data[where] ^= 1
    (run / "manifest.json").write_bytes(data)
    try:
        same = json.loads(data) == before
    except ValueError:
        same = False
    if same:
        folder.load(run)  # white space alone
    else:
        refused(run, str(run))


CONFIG_FAULTS = [
    (("schema_version",), 2, "schema_version"),
    (("method",), "pca", "method"),
    (("method",), ["vae"], "method"),
    (("method",), {}, "method"),
    (("method",), None, "method"),
    (("hyperparameters",), [], "hyperparameters"),
    (("data",), "d.csv", "data"),
    (("data", "source"), None, "source"),
    (("data", "columns"), [], "columns"),
    (("data", "sha256"), 3, "$.data.sha256"),
    (("data", "columns"), {}, "data.columns"),
    (("data", "columns", "kinds"), {"a": 3}, "data.columns: Expected `str`, got `int`"),
    (("data", "columns", "drop"), ["a", 3], "data.columns: Expected `str`, got `int`"),
    (("data", "columns", "impute"), "mean", "$.impute"),
    (("versions",), {"jaxrep": 1}, "$.versions"),
    (("device",), None, "$.device"),
    (("result",), {}, "result: Object missing required field `run`"),
    (("result", "rows"), "10", "result: Expected `int`, got `str` - at `$.rows`"),
    (("result", "more"), 1, "result: Object contains unknown field `more`"),
    (("sweep",), {}, "$.sweep"),
    (("unheard_of",), 1, "unknown field `unheard_of`"),
    (("hyperparameters", "unheard_of"), 1, "hyperparameters: Object contains unknown field"),
    (("hyperparameters", "latent_dim"), 0, "latent_dim"),
    (("hyperparameters", "latent_dim"), 3, "model.safetensors"),
    (("hyperparameters", "latent_dim"), "8", "latent_dim"),
    (("hyperparameters", "latent_dim"), 10**9, "latent_dim"),
    (("hyperparameters", "hidden_dims"), [8] * 65, "hidden_dims"),
    (("hyperparameters", "hidden_dims"), [[8]], "hidden_dims"),
    (("hyperparameters", "hidden_dims"), [1 << 20], "model.safetensors"),
    (("hyperparameters", "hidden_dims"), "8", "hidden_dims"),
    (("hyperparameters", "beta"), float("nan"), "NaN"),
    (("hyperparameters", "optimizer"), ["adam"], "optimizer"),
    (("hyperparameters", "__class__"), "x", "__class__"),
]


@pytest.mark.parametrize(("keys", "value", "fact"), CONFIG_FAULTS)
def test_a_configuration_that_cannot_be_is_refused(run, keys, value, fact):
    config = json.loads((run / "config.json").read_text())
    target = config
    for key in keys[:-1]:
        target = target[key]
    target[keys[-1]] = value
    (run / "config.json").write_text(json.dumps(config))
    seal(run)
    refused(run, str(run / "config.json") if "model" not in fact else str(run), fact)


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(VAEHyperparameters)])
def test_a_configuration_without_a_hyperparameter_is_refused(run, name):
    config = json.loads((run / "config.json").read_text())
    del config["hyperparameters"][name]
    (run / "config.json").write_text(json.dumps(config))
    seal(run)
    refused(run, "config.json", f"missing required field `{name}`", "train")


@pytest.mark.parametrize(
    "key", ["schema_version", "method", "hyperparameters", "data", "versions", "result"]
)
def test_a_configuration_without_a_key_is_refused(run, key):
    config = json.loads((run / "config.json").read_text())
    del config[key]
    (run / "config.json").write_text(json.dumps(config))
    seal(run)
    refused(run, "config.json", key)


def test_weights_of_another_method_are_refused(run, tmp_path):
    save(tmp_path / "other", "simclr")
    (tmp_path / "other" / "model.safetensors").rename(run / "model.safetensors")
    seal(run)
    refused(run, "model.safetensors", "mu.kernel")


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.float16])
def test_weights_of_another_type_are_refused(run, dtype):
    weights = {name: array.astype(dtype) for name, array in untrained_weights("vae").items()}
    safetensors.numpy.save_file(weights, run / "model.safetensors")
    seal(run)
    refused(run, "model.safetensors", "mu.kernel")


@pytest.mark.parametrize("data", [b"", b"x", b"\xff" * 8, b"\x08" + b"\0" * 7 + b"{}      "])
def test_a_model_that_is_no_safetensors_file_of_the_run_is_refused(run, data):
    (run / "model.safetensors").write_bytes(data)
    seal(run)
    refused(run, "model.safetensors")


@pytest.mark.parametrize(
    "line", ["x", "3", "{}", '{"epoch": 1}', '{"epoch": 1, "loss": "2"}', "[" * 10**5]
)
def test_metrics_that_are_none_are_refused_with_their_line(run, line):
    with (run / "metrics.jsonl").open("a") as file:
        file.write(line + "\n")
    seal(run)
    refused(run, "metrics.jsonl", "line 3")


def test_a_run_without_metrics_is_refused(run):
    (run / "metrics.jsonl").write_text("")
    seal(run)
    refused(run, "metrics.jsonl")


def test_a_schema_that_cannot_be_is_refused(run):
    good = json.loads((run / "schema.json").read_text())
    wrong = copy.deepcopy(good)
    wrong["columns"][0]["scale"] = 0
    for data in (wrong, good | {"columns": []}, {}, []):
        (run / "schema.json").write_text(json.dumps(data))
        seal(run)
        refused(run, "schema")


# The threshold of anomalies


def test_the_threshold_is_read_off_the_quantiles(run):
    loaded = folder.load(run)
    assert threshold(loaded, 0.5) == 1.0
    assert threshold(loaded, 0.25) == 3.0


@pytest.mark.parametrize("contamination", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_a_contamination_that_is_no_share_is_refused(run, contamination):
    with pytest.raises(InputError, match="--contamination"):
        threshold(folder.load(run), contamination)


@pytest.mark.parametrize(
    "quantiles",
    [
        None,
        [],
        "x",
        {},
        {"levels": [0.0, 1.0]},
        {"levels": [0.0], "scores": [1.0]},
        {"levels": [0.0, 1.0], "scores": [1.0]},
        {"levels": [0.0, 1.0], "scores": [1.0, None]},
        {"levels": [0.0, 1.0], "scores": [1.0, {}]},
        {"levels": [[0.0, 1.0]], "scores": [[1.0, 2.0]]},
        {"levels": [1.0, 0.0], "scores": [1.0, 2.0]},
    ],
)
def test_quantiles_that_are_none_are_refused(run, quantiles):
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"score_quantiles": quantiles}))
    seal(run)
    with pytest.raises(ModelFormatError, match="quantiles"):
        threshold(folder.load(run))
