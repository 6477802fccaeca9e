"""Files of `torch.export` and ONNX give what JAX gives, and hold nothing of the data."""

import dataclasses
import functools
import importlib.util
import json
import sys

import numpy as np
import pytest
import torch

from jaxrep import methods
from jaxrep.data import transform
from jaxrep.data.transform import to_raw
from jaxrep.errors import MissingPackageError, VerificationError
from jaxrep.export import _graph, _onnx, _pt2
from jaxrep.export._expected import expected_outputs
from jaxrep.export._served import description, served_network
from jaxrep.runs import folder, outputs
from jaxrep.runs.finetune import finetune
from jaxrep.runs.train import train
from jaxrep.runs.training_rows import Columns
from torch_ref.graphs import graph_outputs, trace

pytestmark = pytest.mark.end_to_end

WITHOUT_ONNX = any(importlib.util.find_spec(name) is None for name in _onnx._PACKAGES)
onnx_only = pytest.mark.skipif(WITHOUT_ONNX, reason="the packages of the extra `onnx` are missing")
FORMATS = {"pt2": _pt2, "onnx": _onnx}
BOTH = [pytest.param("pt2"), pytest.param("onnx", marks=onnx_only)]
SECRET = 3.14159e77
SECRET_ID = "moonlit-aardvark"


def write_people(path):
    """Times, a category, gaps, a label, and one row with a number and an id nowhere else."""
    rng = np.random.default_rng(0)
    lines = ["id,time,job,age,load,sold"]
    for i in range(50):
        time, load = 1_700_000_000 + 1000 * rng.normal(), rng.normal()
        job, age = rng.choice(["clerk", "smith", "baker", ""]), rng.choice(["", "30.5", "41"])
        name = SECRET_ID if i == 7 else f"row {i}"
        lines.append(f"{name},{time:.3f},{job},{age},{SECRET if i == 7 else load},{i % 2}")
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What gives a run of a method, the table it learnt from, and what JAX gives for it."""
    path, found = tmp_path_factory.mktemp("runs"), {}
    write_people(path / "people.csv")
    columns = Columns(id_column="id", label="sold")
    table = str(path / "people.csv")

    def make(method):
        if method not in found:
            made = methods.hyperparameters_of(method)
            if made.predicts is None:
                settings = made(steps=6, hidden_dims=(8,), latent_dim=2)
                train(table, path / method, settings, columns)
            else:
                below, settings = make("autoencoder")[0], {"epochs": 2}
                out, kind = path / method, made.predicts
                finetune(below, table, out, label="sold", task=kind, settings=settings)
            run = folder.load(path / method)
            rows = outputs.read_table_of(run, table)
            raw = to_raw(run.schema, rows, source="people.csv")
            found[method] = run, rows, expected_outputs(run, raw, "people.csv")
        return found[method]

    return make


@pytest.fixture(scope="module")
def files(made, tmp_path_factory):
    """What gives the file of a method, the autoencoder by default, in a format."""
    path = tmp_path_factory.mktemp("files")

    @functools.cache
    def make(format, method="autoencoder"):
        file = path / f"{method}.{format}"
        FORMATS[format].write(made(method)[0], file)
        return file

    return make


def load(format, path):
    """The texts in a file, and a function from rows to outputs by name."""
    if format == "pt2":
        texts = {_graph.META: "", _graph.GOLDEN: ""}
        module = torch.export.load(path, extra_files=texts).module()
        return texts, lambda rows: {n: t.numpy() for n, t in module(torch.tensor(rows)).items()}
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    texts = session.get_modelmeta().custom_metadata_map
    return texts, lambda rows: dict(zip(names, session.run(names, {"rows": rows}), strict=True))


# The fresh process of `pt2` takes seconds to import PyTorch's exporter.
QUICK = {("vae", "pt2"), ("simclr", "onnx"), ("classifier", "onnx")}
CASES = [
    pytest.param(
        method,
        format,
        marks=[onnx_only] * (format == "onnx")
        + [pytest.mark.slow] * ((method, format) not in QUICK),
    )
    for method in methods.names()
    for format in FORMATS
]


@pytest.mark.parametrize(("method", "format"), CASES)
def test_a_file_gives_what_jax_gives_and_making_it_prints_nothing(
    made, files, capfd, method, format
):
    run, table, against = made(method)
    capfd.readouterr()
    FORMATS[format].verify(run, files(format, method), against)
    assert capfd.readouterr() == ("", "")
    _, model = load(format, files(format, method))
    found = model(against["rows"])
    assert set(found) == set(graph_outputs(run.method.network_type.outputs))
    features = transform.apply(run.schema, table, source="here")
    for name, function in (("embedding", "embed"), ("score", "score")):
        expected = run.map(function, features)
        assert np.abs(found[name] - expected).max() <= 1e-5 * np.abs(expected).max()
    if "reconstruction" in found:
        assert found["reconstruction"].dtype == np.float64
        np.testing.assert_allclose(found["reconstruction"][:, 0], 1.7e9, atol=1e4)
        assert set(found["reconstruction"][:, 1]) <= {-1.0, 0.0, 1.0, 2.0}


@pytest.mark.parametrize("format", BOTH)
def test_any_number_of_rows_from_none_on(made, files, format):
    rows = made("autoencoder")[2]["rows"]
    _, model = load(format, files(format))
    whole = model(rows)
    for count in (0, 1, 2, 33):
        for name, output in model(rows[:count]).items():
            np.testing.assert_allclose(output, whole[name][:count], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("format", BOTH)
def test_a_row_that_cannot_be_used_is_nan_and_leaves_the_others_as_they_are(made, files, format):
    rows = made("autoencoder")[2]["rows"].copy()
    _, model = load(format, files(format))
    before = model(rows)
    rows[3, 0], rows[5, 1], rows[6, 3] = np.inf, -np.inf, 1e300
    usable = np.isin(np.arange(len(rows)), (3, 6), invert=True)
    usable[5] = True  # an unknown category, as any code that is none
    for name, output in model(rows).items():
        assert np.isnan(output[~usable]).all()
        assert not np.isnan(output[usable]).any()
        same = usable & (np.arange(len(rows)) != 5)
        np.testing.assert_array_equal(output[same], before[name][same])


@pytest.mark.parametrize("format", BOTH)
def test_rows_of_another_width_or_dtype_are_refused(made, files, format):
    _, model = load(format, files(format))
    rows = made("autoencoder")[2]["rows"]
    for wrong in (rows[:, 1:], np.zeros((3, rows.shape[1]), np.float32)):
        with pytest.raises(Exception, match=r"(?i)guard|mismatch|dimension|data type"):
            model(wrong)


@pytest.mark.parametrize("format", BOTH)
def test_nothing_of_the_data_and_no_path_is_in_a_file(made, files, format):
    run, table, against = made("autoencoder")
    assert str(SECRET) in table["load"].to_pylist()
    data = files(format).read_bytes()
    for value in (np.float64(SECRET), np.float32(SECRET / 1e60), against["rows"][7, 0]):
        assert value.tobytes() not in data
    for text in (SECRET_ID, repr(SECRET), str(run.path), ".py", sys.prefix):
        assert text.encode() not in data
    texts, _ = load(format, files(format))
    rows = np.array(json.loads(texts[_graph.GOLDEN])["rows"], float)
    assert not set(rows[:, 0]) & set(against["rows"][:, 0])


@pytest.mark.parametrize("format", BOTH)
def test_a_file_says_what_it_is_and_is_the_same_wherever_it_is_made(made, files, tmp_path, format):
    run = made("autoencoder")[0]
    meta = json.loads(load(format, files(format))[0][_graph.META])
    said = json.loads(json.dumps(description(run)))
    assert {name: meta[name] for name in said} == said
    assert meta["schema_version"] == 1
    FORMATS[format].write(run, tmp_path / f"other.{format}")
    assert (tmp_path / f"other.{format}").read_bytes() == files(format).read_bytes()


@pytest.mark.parametrize("format", BOTH)
def test_a_wrong_weight_is_found(made, files, format):
    run, table, _ = made("autoencoder")
    weights = {name: array.copy() for name, array in run.weights.items()}
    weights["decoder.1.bias"][0] += 1e-4
    raw = to_raw(run.schema, table, source="people.csv")
    against = expected_outputs(dataclasses.replace(run, weights=weights), raw, "people.csv")
    with pytest.raises(VerificationError, match=r"reconstruction is .* off at row \d+, .* allowed"):
        FORMATS[format].verify(run, files(format), against)


@onnx_only
def test_rows_that_a_file_carries_are_replayed(made, files, tmp_path):
    import onnx

    run, _, against = made("autoencoder")
    model = onnx.load(files("onnx"))
    [golden] = (entry for entry in model.metadata_props if entry.key == _graph.GOLDEN)
    texts = json.loads(golden.value)
    for precision in ("jax", "exact"):
        texts[f"{precision}.score.0"][4] *= 1.001
    golden.value = json.dumps(texts)
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(VerificationError, match=r"score is .* off at row 4 of those it carries"):
        _onnx.verify(run, tmp_path / "other.onnx", against)


@onnx_only
def test_a_file_that_cannot_be_loaded_fails_with_the_reason(made, tmp_path):
    run, _, against = made("autoencoder")
    (tmp_path / "no.onnx").write_bytes(b"no model")
    with pytest.raises(VerificationError, match=r"the file cannot be used: .*\S"):
        _onnx.verify(run, tmp_path / "no.onnx", against)


@onnx_only
def test_an_onnx_file_passes_the_checker_of_onnx(files):
    import onnx

    onnx.checker.check_model(onnx.load(files("onnx")), full_check=True)


@pytest.mark.parametrize("package", _onnx._PACKAGES)
def test_a_missing_package_is_named_with_how_to_install_it(made, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"{package}.*pip install 'jaxrep\[onnx\]'"):
        _onnx.write(None, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize("method", methods.names())
def test_a_graph_computes_what_its_outputs_share_once(made, method):
    run, _, _ = made(method)
    served = served_network(run)
    taken = [
        node.args[1].name for node in trace(served).graph.nodes if "linear" in str(node.target)
    ]
    modules = served.network.named_modules()
    linear = [name for name, module in modules if isinstance(module, torch.nn.Linear)]
    used = [name for name in linear if not name.startswith("backbone.decoder")]  # below a head
    assert len(set(taken)) == len(used)
    # A denoiser's score goes through it once more at each of six draws, two a level.
    repeated = 6 * (len(used) - 1) + 3 if method == "denoiser" else 0
    assert len(taken) == len(used) + repeated
