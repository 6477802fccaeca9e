"""The way back: what was exported becomes a run again, with the same outputs, and nothing else."""

import dataclasses
import json
import os

import numpy as np
import pytest
import safetensors.numpy
import torch

import torch_ref.methods
import torch_ref.training
import torch_ref.weights
from jaxrep.cli import main
from jaxrep.data import transform
from jaxrep.export import export_run, import_run
from jaxrep.methods import VAEHyperparameters, resolve
from jaxrep.runs import folder, outputs
from jaxrep.runs.levels import flagging
from jaxrep.runs.train import Columns, train
from tests.helpers.exports import raw_rows, rewritten
from tests.helpers.small import SMALL
from torch_ref.batch import Batch
from torch_ref.description import row_spec
from torch_ref.files import read_safetensors, write_safetensors

pytestmark = pytest.mark.quick


@pytest.fixture
def exported(vae_run, vae_file):
    """A run, and the folder of its files `vae.safetensors` and `vae.pt`."""
    for format in ("safetensors", "torchscript"):
        vae_file(format)
    return vae_run, vae_run.path.parent


def imported(capsys, *arguments):
    code = main(["import", *map(str, arguments)])
    return code, capsys.readouterr()


@pytest.mark.parametrize("file", ["vae.safetensors", "vae.pt"])
def test_an_imported_run_gives_what_its_source_gave(exported, tmp_path, capsys, file):
    run, path = exported
    trust = ["--trust"] if file.endswith(".pt") else []
    code, captured = imported(capsys, path / file, "--out", tmp_path / "new" / "run", *trust)
    assert code == 0, captured.err
    again = folder.load(tmp_path / "new" / "run")
    assert again.schema == run.schema
    assert again.method.hyperparameters == run.method.hyperparameters
    assert again.history == run.history
    source = run.config["data"]["source"]
    for function in (outputs.embed, outputs.score, outputs.reconstruct):
        assert function(again, source).equals(function(run, source))
    assert main(["info", str(again.path)]) == 0


def test_a_torchscript_file_is_not_read_without_trust(exported, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.jit, "load", lambda *a, **k: pytest.fail("the file was read"))
    code, captured = imported(capsys, exported[1] / "vae.pt", "--out", tmp_path / "run")
    assert code == 2
    assert "runs code when it is read" in captured.err
    assert "--trust" in captured.err
    assert not (tmp_path / "run").exists()


def test_a_model_trained_in_torch_becomes_a_run(exported, tmp_path, capsys):
    run, _ = exported
    _, raw = raw_rows(run)
    features = transform.to_features(run.schema, raw, source="here")
    x = Batch(torch.from_numpy(features.numbers), torch.from_numpy(features.codes))
    settings = resolve(
        VAEHyperparameters, "seed", {"hidden_dims": (6,), "latent_dim": 3, "epochs": 2}
    )
    method = torch_ref.methods.VAE(**dataclasses.asdict(settings))
    schema = run.schema.to_json()
    network = torch_ref.training.fit(method, x, spec=row_spec(schema["columns"])).network
    described = {
        "method": "vae",
        "hyperparameters": dataclasses.asdict(settings),
        "schema": schema,
    }
    weights = torch_ref.weights.get_weights(network)
    write_safetensors(tmp_path / "torch.safetensors", described, weights)
    code, captured = imported(capsys, tmp_path / "torch.safetensors", "--out", tmp_path / "run")
    assert code == 0, captured.err
    made = folder.load(tmp_path / "run")
    with torch.no_grad():
        expected = network.embed(x).numpy()
    np.testing.assert_allclose(made.map("embed", features), expected, rtol=1e-5, atol=1e-6)
    assert main(["info", str(made.path)]) == 0
    capsys.readouterr()
    again = ["--format", "safetensors", "--out", str(tmp_path / "again.safetensors")]
    assert main(["export", str(made.path), *again]) == 0
    capsys.readouterr()
    assert main(["score", str(made.path), "x.csv", "--out", str(tmp_path / "s.csv")]) == 2
    assert "quantiles are missing" in capsys.readouterr().err


def test_safetensors_writes_transposed_views_in_their_own_order(tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    column = {"kind": "number", "name": "a", "mean": 5.0, "scale": 2.0, "fill": None}
    described = {
        "method": "vae",
        "hyperparameters": dataclasses.asdict(VAEHyperparameters()),
        "schema": {"schema_version": 3, "columns": [column]},
    }
    write_safetensors(tmp_path / "a.safetensors", described, {"a": array})
    np.testing.assert_array_equal(read_safetensors(tmp_path / "a.safetensors")[1]["a"], array)


def test_the_header_of_a_safetensors_file_is_in_order(exported):
    data = (exported[1] / "vae.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert length % 8 == 0
    assert list(header) == sorted(header)
    assert list(header["__metadata__"]) == ["jaxrep", "jaxrep.sha256"]


@pytest.mark.parametrize(
    "change",
    [
        lambda d, w: d["hyperparameters"].update(latent_dim=5),
        lambda d, w: d["hyperparameters"].update(latent_dim="many"),
        lambda d, w: d["hyperparameters"].update(unknown=1),
        lambda d, w: d.update(hyperparameters=None),
        lambda d, w: d.update(method="pca"),
        lambda d, w: d["schema"].update(columns=[{"kind": "number"}]),
        lambda d, w: d["schema"]["columns"].pop(),
        lambda d, w: d.update(schema=[]),
        lambda d, w: w.pop("mu.bias"),
        lambda d, w: w.update(extra=np.zeros(3, np.float32)),
        lambda d, w: w.update({"mu.bias": np.zeros(2, np.float64)}),
        lambda d, w: d.update(history=[{"epoch": "x"}]),
        lambda d, w: d.update(history=3),
        lambda d, w: d.update(method=["vae"]),
        lambda d, w: d.update(versions=None),
        lambda d, w: d.update(score_quantiles=None),
        lambda d, w: d["hyperparameters"].update(latent_dim=10**9),
    ],
)
def test_a_file_that_does_not_fit_together_is_refused_whole(exported, tmp_path, capsys, change):
    rewritten(exported[1] / "vae.safetensors", tmp_path / "odd.safetensors", change)
    code, captured = imported(capsys, tmp_path / "odd.safetensors", "--out", tmp_path / "run")
    assert code == 2, captured
    assert "odd.safetensors" in captured.err
    assert "Traceback" not in captured.err
    assert [path.name for path in tmp_path.iterdir()] == ["odd.safetensors"]


def test_a_damaged_weight_is_named(exported, tmp_path, capsys):
    data = bytearray((exported[1] / "vae.safetensors").read_bytes())
    data[-3] ^= 1
    (tmp_path / "damaged.safetensors").write_bytes(bytes(data))
    code, captured = imported(capsys, tmp_path / "damaged.safetensors", "--out", tmp_path / "run")
    assert code == 2
    assert "is damaged" in captured.err


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 64, b"PK", b"PK\x03\x04junk"])
def test_a_file_that_is_none_of_ours_is_refused(tmp_path, capsys, content):
    (tmp_path / "other").write_bytes(content)
    code, captured = imported(capsys, tmp_path / "other", "--out", tmp_path / "run", "--trust")
    assert code == 2
    assert str(tmp_path / "other") in captured.err


def test_safetensors_of_someone_else_are_refused(tmp_path, capsys):
    safetensors.numpy.save_file({"w": np.zeros(3, np.float32)}, tmp_path / "a.safetensors")
    code, captured = imported(capsys, tmp_path / "a.safetensors", "--out", tmp_path / "run")
    assert code == 2
    assert "has no 'jaxrep'" in captured.err


def test_the_folder_must_be_free(exported, tmp_path, capsys):
    run, path = exported
    (tmp_path / "file").write_text("mine")
    for out in (run.path, tmp_path):
        code, captured = imported(capsys, path / "vae.safetensors", "--out", out)
        assert code == 2
        assert "exists" in captured.err
    assert (tmp_path / "file").read_text() == "mine"
    code, _ = imported(capsys, path / "vae.safetensors", "--out", tmp_path / "run")
    assert code == 0
    code, _ = imported(capsys, path / "vae.safetensors", "--out", tmp_path / "run", "--overwrite")
    assert code == 0


def test_overwriting_replaces_a_run_and_nothing_else(exported, tmp_path, capsys, monkeypatch):
    file = exported[1] / "vae.safetensors"
    assert imported(capsys, file, "--out", tmp_path / "run")[0] == 0
    monkeypatch.chdir(tmp_path / "run")
    code, captured = imported(capsys, file, "--out", ".", "--overwrite")
    assert code == 0, captured.err
    before = (tmp_path / "run" / "config.json").read_bytes()
    inside = tmp_path / "run" / "a.safetensors"
    inside.write_bytes(file.read_bytes())
    code, captured = imported(capsys, inside, "--out", tmp_path / "run", "--overwrite")
    assert (code, "holds the file to import" in captured.err) == (2, True)
    code, captured = imported(capsys, file, "--out", tmp_path / "run", "--overwrite")
    assert (code, "a.safetensors, which is not part of a run" in captured.err) == (2, True)
    inside.unlink()
    (tmp_path / "bad").write_bytes(b"{}")
    code, _ = imported(capsys, tmp_path / "bad", "--out", tmp_path / "run", "--overwrite")
    assert code == 2
    (tmp_path / "link").symlink_to(tmp_path / "run")
    code, captured = imported(capsys, file, "--out", tmp_path / "link", "--overwrite")
    assert (code, "is a link" in captured.err) == (2, True)
    assert (tmp_path / "run" / "config.json").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"run", "bad", "link"}


def test_damage_to_the_description_is_noticed(exported, tmp_path, capsys):
    data = (exported[1] / "vae.safetensors").read_bytes()
    place = data.index(b"mean") + 9
    damaged = bytearray(data)
    damaged[place] ^= 1
    (tmp_path / "a.safetensors").write_bytes(bytes(damaged))
    code, captured = imported(capsys, tmp_path / "a.safetensors", "--out", tmp_path / "run")
    assert code == 2
    assert "description is damaged" in captured.err


@pytest.mark.parametrize(
    ("out", "reason"),
    [
        ("a" * 256, "File name too long"),
        ("made/" + "a" * 256, "File name too long"),
        ("dangling", "is a link"),
        ("dangling/run", "dangling is not a folder"),
        ("/dev/null/run", "/dev/null is not a folder"),
        ("pipe", "exists"),
    ],
)
def test_a_path_that_can_hold_no_run_is_refused_and_left_as_it_was(
    exported, tmp_path, capsys, out, reason
):
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "at all")
    os.mkfifo(tmp_path / "pipe")
    code, captured = imported(capsys, exported[1] / "vae.safetensors", "--out", tmp_path / out)
    assert code == 2
    assert captured.err.startswith("jaxrep: --out ")
    assert reason in captured.err
    assert {path.name for path in tmp_path.iterdir()} == {"dangling", "pipe"}
    assert (tmp_path / "dangling").is_symlink()
    assert (tmp_path / "pipe").is_fifo()


def test_a_folder_is_made_for_a_run_only(exported, tmp_path, capsys):
    (tmp_path / "bad").write_bytes((exported[1] / "vae.safetensors").read_bytes())
    rewritten(tmp_path / "bad", tmp_path / "bad", lambda d, w: d["schema"].update(na_values=3))
    code, _ = imported(capsys, tmp_path / "bad", "--out", tmp_path / "new" / "deep" / "run")
    assert code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["bad"]


def test_a_name_of_253_characters_is_no_obstacle(exported, tmp_path, capsys):
    out = tmp_path / ("é" * 100 + "a" * 53)  # 253 bytes
    code, captured = imported(capsys, exported[1] / "vae.safetensors", "--out", out)
    assert code == 0, captured.err
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_a_folder_is_open_to_whom_the_umask_lets_in(exported, tmp_path, capsys, umask):
    before = os.umask(umask)
    try:
        imported(capsys, exported[1] / "vae.safetensors", "--out", tmp_path / "new" / "run")
    finally:
        os.umask(before)
    for path in (tmp_path / "new", tmp_path / "new" / "run"):
        assert path.stat().st_mode & 0o777 == 0o777 & ~umask
    for path in (tmp_path / "new" / "run").iterdir():
        assert path.stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_refused(exported, tmp_path, capsys):
    tmp_path.chmod(0o500)
    code, captured = imported(capsys, exported[1] / "vae.safetensors", "--out", tmp_path / "run")
    assert code == 2
    assert "cannot be written" in captured.err


def test_a_missing_file_is_named(tmp_path, capsys):
    code, captured = imported(capsys, tmp_path / "nowhere", "--out", tmp_path / "run")
    assert code == 2
    assert "nowhere: cannot be read (No such file or directory)" in captured.err


@pytest.mark.parametrize("format", ["safetensors", "torchscript"])
def test_p_values_of_an_imported_run_are_those_of_its_source(tmp_path, format):
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(700, 5)))
    settings = VAEHyperparameters(**SMALL, steps=30, calibration_fraction=0.3)
    train(str(tmp_path / "rows.npy"), tmp_path / "run", settings, Columns())
    run, file = folder.load(tmp_path / "run"), tmp_path / f"vae.{format}"
    export_run(run, file, format=format)
    again = import_run(file, tmp_path / "again", trust=True)
    assert again.config["calibration_scores"] == run.config["calibration_scores"]
    for asked in ({"alpha": 0.1}, {"fdr": 0.3}, {"p_value": True}):
        one, other = (flagging(each, str(tmp_path / "rows.npy"), **asked) for each in (run, again))
        assert one.threshold == other.threshold
        np.testing.assert_array_equal(one.calibration, other.calibration)
