"""Exported files of fine-tuned runs: they predict what the commands predict, and say of what."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch

import torch_ref.units
from jaxrep.data import transform
from jaxrep.errors import InputError, ModelFormatError, VerificationError
from jaxrep.export import FORMATS, export_run, import_run
from jaxrep.methods import Backbone, SimCLRHyperparameters, VAEHyperparameters
from jaxrep.runs import folder, predictions
from tests.helpers.exports import TARGETS, make_run, raw_rows, rewritten, run_verify
from tests.helpers.saved_runs import seal
from torch_ref import verify
from torch_ref.description import FileFormatError
from torch_ref.serving import serve

SHAPE = {"hidden_dims": (8,), "latent_dim": 2}
# The method, and what it stands on.
RUNS = {
    "classes": ("classifier", VAEHyperparameters(**SHAPE), {"frozen": False}),
    "numbers": ("regressor", SimCLRHyperparameters(**SHAPE), {"head_dims": (5,)}),
}
KINDS = tuple(RUNS)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run that predicts each of the kinds; tests do not change them."""

    def make(kind):
        method, below, settings = RUNS[kind]
        settings = {"backbone": Backbone.of(below)} | settings
        return make_run(tmp_path_factory.mktemp(kind), method, "mixed", **settings)

    return {kind: make(kind) for kind in KINDS}


@pytest.fixture(scope="module")
def files(runs):
    """What gives a run's file in a format; tests leave it alone."""

    def make(kind, format="safetensors"):
        path = runs[kind].path.parent / f"model.{format}"
        if not path.exists():
            FORMATS[format].write(runs[kind], path)
        return path

    return make


def predicted(contents, rows):
    """What a file of any format predicts of raw rows."""
    if contents.is_graph:
        return contents.module(rows)["predict.0"].numpy()
    return contents.module.predict(rows).numpy()


def expected_of(run):
    """A run's raw rows, and what it predicts of them."""
    table, raw = raw_rows(run)
    features = transform.apply(run.schema, table, source="here")
    return torch.from_numpy(raw), run.map("predict", features)


# Of TorchScript one kind stands for both, as tests/export/test_export.py has the other.
QUICK = [("classes", "safetensors"), ("numbers", "safetensors"), ("numbers", "torchscript")]
CASES = [
    pytest.param(kind, format, marks=[pytest.mark.slow] * ((kind, format) not in QUICK))
    for kind in KINDS
    for format in FORMATS
]


@pytest.mark.parametrize(("kind", "format"), CASES)
def test_a_file_predicts_what_the_run_predicts(runs, files, kind, format):
    run = runs[kind]
    rows, expected = expected_of(run)
    found = predicted(verify.read(files(kind, format)), rows)
    assert found.shape == expected.shape
    if kind == "classes":
        assert found.dtype == np.float32
        np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    else:
        assert found.dtype == np.float64
        in_units = run.target.decode(expected)
        assert np.ptp(in_units) > 1000
        np.testing.assert_allclose(found, in_units, atol=1e-5 * run.target.scale)


def test_a_file_is_verified_and_its_predictions_with_it(runs, tmp_path):
    said = export_run(runs["numbers"], tmp_path / "model", format="safetensors")
    assert said.rows_verified == 60
    code, out, err = run_verify(tmp_path / "model")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[1:-1]] == [
        "forward.0",
        "embed.0",
        "score.0",
        "predict.0",
    ]


@pytest.mark.parametrize(("kind", "format"), QUICK)
def test_an_imported_run_predicts_what_its_source_predicted(runs, files, tmp_path, kind, format):
    run = runs[kind]
    again = import_run(files(kind, format), tmp_path / "run", trust=True)
    assert again.target == run.target
    assert again.method.hyperparameters == run.method.hyperparameters
    source = run.config["data"]["source"]
    table = predictions.predict(again, source)
    assert table.equals(predictions.predict(run, source))
    assert {"prediction"} <= set(table.column_names)


def test_what_is_not_trained_is_exported_and_comes_back(runs, files, tmp_path):
    again = import_run(files("numbers"), tmp_path / "run")
    assert {name.partition(".")[0] for name in again.weights} == {
        *("backbone", "distance", "head", "standardisation"),
    }
    for name, array in runs["numbers"].weights.items():
        np.testing.assert_array_equal(again.weights[name], array)


# Faults


def wrongly(monkeypatch, forward):
    monkeypatch.setattr(torch_ref.units.Units, "forward", forward)


WRONG_UNITS = {
    "the scale left out": lambda self, t: t.double() + self.mean,
    "the mean left out": lambda self, t: t.double() * self.scale,
    "a variance for the scale": lambda self, t: t.double() * self.scale**2 + self.mean,
    "in float32": lambda self, t: (
        (t * self.scale.float() + self.mean.float() * 1e3) - self.mean.float() * 1e3 + self.mean
    ),
    "none": lambda self, t: t,
}


@pytest.mark.parametrize("fault", WRONG_UNITS)
def test_numbers_in_wrong_units_are_caught(files, monkeypatch, fault):
    contents = verify.read(files("numbers"))
    assert all(result.passed for result in verify.verify(contents))
    wrongly(monkeypatch, WRONG_UNITS[fault])
    assert [r.name for r in verify.verify(contents) if not r.passed] == ["predict.0"]


@pytest.mark.slow  # traces a graph
def test_a_file_of_numbers_in_wrong_units_is_not_written(runs, tmp_path, monkeypatch):
    wrongly(monkeypatch, WRONG_UNITS["the scale left out"])
    with pytest.raises(VerificationError, match=r"was not written: prediction is .* off at row"):
        export_run(runs["numbers"], tmp_path / "model", format="pt2")
    assert list(tmp_path.iterdir()) == []


def test_a_scale_that_lies_is_caught_by_the_golden_rows(files, tmp_path):
    def change(described, weights):
        described["target"]["scale"] *= 1.001

    rewritten(files("numbers"), tmp_path / "odd", change)
    code, out, _ = run_verify(tmp_path / "odd")
    assert code == 1
    assert "FAILED: predict.0 is" in out


def test_probabilities_that_are_logits_are_caught(files, monkeypatch):
    contents = verify.read(files("classes"))
    monkeypatch.setattr(
        type(contents.module.network), "predict", lambda self, batch: self.apply_head(batch)
    )
    assert [r.name for r in verify.verify(contents) if not r.passed] == ["predict.0"]


# Descriptions that lie


def backbone(described):
    return described["hyperparameters"]["backbone"]


LIES = {
    "no target": ("classes", lambda d: d.pop("target"), "target is missing"),
    "null for it": ("classes", lambda d: d.update(target=None), "at `$.target`"),
    "another kind": ("classes", lambda d: d["target"].update(kind="pixels"), "`$.target.kind`"),
    "no kind": ("classes", lambda d: d["target"].pop("kind"), "target"),
    "a class more": (
        "classes",
        lambda d: d["target"].update(labels=["a", "b", "c"]),
        "target is not what a network of 2 classes predicts",
    ),
    "a class alone": ("classes", lambda d: d["target"].update(labels=["a"]), "$.target.labels"),
    "1,001 classes": (
        "classes",
        lambda d: d["target"].update(labels=list(range(1001))),
        "Expected `array` of length <= 1000 - at `$.target.labels`",
    ),
    "classes not in order": (
        "classes",
        lambda d: d["target"].update(labels=["b", "a"]),
        "labels that are not in ascending order",
    ),
    "a class twice": (
        "classes",
        lambda d: d["target"].update(labels=[1, 1]),
        "labels that are not in ascending order",
    ),
    "classes of two types": (
        "classes",
        lambda d: d["target"].update(labels=[False, 1]),
        "labels of more than one type",
    ),
    "a class of 65 bits": (
        "classes",
        lambda d: d["target"].update(labels=[0, 1 << 64]),
        "$.target.labels[1]",
    ),
    "a list for a class": (
        "classes",
        lambda d: d["target"].update(labels=[["a"], ["b"]]),
        "$.target.labels[0]",
    ),
    "numbers for classes": (
        "classes",
        lambda d: d.update(target=TARGETS["numbers"].to_json()),
        "target is not what a network of 2 classes predicts",
    ),
    "classes for numbers": (
        "numbers",
        lambda d: d.update(target=TARGETS["classes"].to_json()),
        "target is not what a network of None classes predicts",
    ),
    "a scale of 0": ("numbers", lambda d: d["target"].update(scale=0.0), "`$.target.scale`"),
    "a scale below 0": ("numbers", lambda d: d["target"].update(scale=-1), "`$.target.scale`"),
    "a text for a scale": ("numbers", lambda d: d["target"].update(scale="1"), "`$.target.scale`"),
    "no mean": ("numbers", lambda d: d["target"].pop("mean"), "missing required field `mean`"),
    "a name that is none": ("numbers", lambda d: d["target"].update(name=3), "`$.target.name`"),
    "an unheard-of key": (
        "numbers",
        lambda d: d["target"].update(unheard_of=1),
        "unknown field `unheard_of`",
    ),
    "no backbone": (
        "classes",
        lambda d: d["hyperparameters"].pop("backbone"),
        "missing required field `backbone`",
    ),
    "null for a backbone": (
        "classes",
        lambda d: d["hyperparameters"].update(backbone=None),
        "$.backbone",
    ),
    "a text for one": (
        "classes",
        lambda d: d["hyperparameters"].update(backbone="vae"),
        "$.backbone",
    ),
    "an unheard-of backbone": (
        "classes",
        lambda d: backbone(d).update(method="pca"),
        "hyperparameters.backbone: no method 'pca'",
    ),
    "a backbone that is a list": (
        "classes",
        lambda d: backbone(d).update(method=["vae"]),
        "$.hyperparameters[...].method",
    ),
    "a backbone with more": (
        "classes",
        lambda d: backbone(d).update(unheard_of=1),
        "unknown field `unheard_of`",
    ),
    "a backbone on a backbone": (
        "classes",
        lambda d: backbone(d)["hyperparameters"].update(
            backbone={"method": "vae", "hyperparameters": {}}
        ),
        "$.hyperparameters[...].hyperparameters[...]",
    ),
    "other latents than the backbone's": (
        "classes",
        lambda d: d["hyperparameters"].update(latent_dim=3),
        "latent_dim is 3; the backbone's is 2",
    ),
    "other widths than the backbone's": (
        "classes",
        lambda d: d["hyperparameters"].update(hidden_dims=[8, 8]),
        "hidden_dims is (8, 8); the backbone's is [8]",
    ),
    "a backbone of 10⁹ units": (
        "classes",
        lambda d: widths(d, [10**9]),
        "hyperparameters.hidden_dims is beyond 1048576",
    ),
    "a backbone of 4 TiB": ("classes", lambda d: widths(d, [1 << 20, 1 << 20]), "described"),
    "a backbone of 65 layers": (
        "classes",
        lambda d: widths(d, [8] * 65),
        "hyperparameters.hidden_dims has 65 entries",
    ),
    "a backbone without β": (
        "classes",
        lambda d: backbone(d)["hyperparameters"].pop("beta"),
        "missing required field `beta`",
    ),
    "a backbone with what is not a hyperparameter": (
        "classes",
        lambda d: backbone(d)["hyperparameters"].update(unheard_of=3),
        "hyperparameters.unheard_of is not known",
    ),
    "a frozen text": (
        "classes",
        lambda d: d["hyperparameters"].update(frozen="yes"),
        "`$.frozen`",
    ),
    "1,001 classes of the head": (
        "classes",
        lambda d: d["hyperparameters"].update(classes=1001),
        "target is not what a network of 1001 classes predicts",
    ),
}


def widths(described, hidden_dims):
    for hyperparameters in (described["hyperparameters"], backbone(described)["hyperparameters"]):
        hyperparameters["hidden_dims"] = hidden_dims


@pytest.mark.parametrize("lie", LIES)
def test_a_description_that_lies_is_refused_before_anything_is_built(files, tmp_path, lie):
    kind, change, reason = LIES[lie]
    rewritten(files(kind), tmp_path / "odd", lambda described, weights: change(described))
    code, out, err = run_verify(tmp_path / "odd")
    assert (code, out) == (1, "")
    assert reason in err
    assert err.count("\n") == 1 and len(err) < 500
    with pytest.raises((InputError, ModelFormatError)):
        import_run(tmp_path / "odd", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_target_of_a_network_that_predicts_nothing_is_refused(vae_run, vae_file, tmp_path):
    def change(described, weights):
        described["target"] = TARGETS["numbers"].to_json()

    rewritten(vae_file("safetensors"), tmp_path / "odd", change)
    code, _, err = run_verify(tmp_path / "odd")
    assert code == 1
    assert "target is missing, or there is one and no output that predicts it" in err


def test_served_networks_without_outputs_in_their_description_need_a_target(runs):
    run = runs["classes"]
    described = {
        "method": run.method.name,
        "hyperparameters": dataclasses.asdict(run.method.hyperparameters),
        "schema": run.schema.to_json(),
    }
    with pytest.raises(FileFormatError, match="target is missing"):
        serve(described, run.weights)
    served = serve(described | {"target": run.target.to_json()}, run.weights)
    assert served.predict(torch.zeros(2, 3)).shape == (2, 2)


FOLDER_LIES = {
    "no widths": lambda below: below["hyperparameters"].pop("hidden_dims"),
    "a number of widths": lambda below: below["hyperparameters"].update(hidden_dims=8),
    "no hyperparameters": lambda below: below.update(hyperparameters={}),
    "an unheard-of method": lambda below: below.update(method="pca"),
    "a method that predicts": lambda below: below.update(method="classifier"),
    "a width of 10⁹": lambda below: below["hyperparameters"].update(hidden_dims=[10**9]),
    "β left out": lambda below: below["hyperparameters"].pop("beta"),
    "null": lambda below: below.update(hyperparameters=None),
}


@pytest.mark.parametrize("lie", FOLDER_LIES)
def test_a_run_folder_whose_backbone_lies_is_refused(runs, tmp_path, lie):
    shutil.copytree(runs["classes"].path, tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    FOLDER_LIES[lie](config["hyperparameters"]["backbone"])
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    seal(tmp_path / "run")
    with pytest.raises(ModelFormatError, match=r"config\.json: hyperparameters"):
        folder.load(tmp_path / "run")


def test_a_run_folder_keeps_its_backbone_whole(runs):
    config = folder.load(runs["classes"].path).config
    kept = config["hyperparameters"]["backbone"]["hyperparameters"]
    assert kept.keys() == {field.name for field in dataclasses.fields(VAEHyperparameters)}
