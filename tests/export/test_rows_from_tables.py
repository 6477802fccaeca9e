"""From a table to outputs without JAX: an exported file and `torch_ref.encode`, alone."""

import json
import subprocess
import sys

import numpy as np
import pytest

from jaxrep.data import transform
from jaxrep.data.frames import as_table
from jaxrep.data.schema import KINDS, CategoricalColumn, Schema
from jaxrep.errors import VerificationError
from jaxrep.export import FORMATS
from jaxrep.export._expected import expected_outputs
from jaxrep.runs import outputs
from tests.helpers.exports import make_run, raw_rows

# What a server does that has neither jax nor jaxrep.
SERVER = """
import pathlib, sys
sys.modules["jax"] = sys.modules["jaxrep"] = None
import numpy as np
import pandas as pd
import torch
from torch_ref import verify
from torch_ref.encode import encode

file, source, folder = sys.argv[1:]
contents = verify.read(pathlib.Path(file))
tables = {
    "text": pd.read_csv(source, sep=";", dtype=str, keep_default_na=False),
    "typed": pd.read_csv(source, sep=";"),
    "dates": pd.read_csv(source, sep=";", parse_dates=["seen"]).convert_dtypes(),
}
for name, table in tables.items():
    rows = encode(contents.meta["schema"], table, source=source)
    given = torch.from_numpy(rows)
    with torch.no_grad():
        if contents.is_graph:
            made = contents.module(given)
            z, scores = made["embed.0"], made["score.0"]
        else:
            z, scores = contents.module.embed(given), contents.module.score(given)
    np.savez(f"{folder}/{name}.npz", rows=rows, embed=z.numpy(), score=scores.numpy())
"""
CARRIERS = ("text", "typed", "dates")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An untrained VAE on columns of all kinds; tests do not change it."""
    return make_run(tmp_path_factory.mktemp("kinds"), "vae", "kinds")


@pytest.fixture(scope="module", params=["torchscript", "safetensors", "pt2"])
def served(run, request):
    """What a process without JAX got of the run's own CSV, by the way that pandas read it."""
    folder = run.path.parent / request.param
    folder.mkdir()
    FORMATS[request.param].write(run, folder / "model")
    source = run.config["data"]["source"]
    command = [sys.executable, "-c", SERVER, str(folder / "model"), source, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {name: np.load(folder / f"{name}.npz") for name in CARRIERS}


def test_the_table_has_columns_of_all_kinds_and_gaps(run):
    assert set(run.schema.kinds().values()) == set(KINDS)
    assert np.isnan(raw_rows(run)[1]).any(axis=0).sum() == 2


@pytest.mark.parametrize("carrier", CARRIERS)
def test_raw_rows_are_those_of_jaxrep_bit_for_bit(run, served, carrier):
    _, expected = raw_rows(run)
    found = served[carrier]["rows"]
    assert (found.dtype, found.shape) == (np.float64, expected.shape)
    assert np.ascontiguousarray(found).tobytes() == np.ascontiguousarray(expected).tobytes()


@pytest.mark.parametrize("carrier", CARRIERS)
def test_outputs_are_those_of_the_commands(run, served, carrier):
    source = run.config["data"]["source"]
    z = outputs.embed(run, source)
    expected = {
        "embed": np.column_stack([z[name].to_numpy() for name in z.column_names]),
        "score": outputs.score(run, source)["score"].to_numpy(),
    }
    for name, values in expected.items():
        found = served[carrier][name]
        assert np.abs(found - values).max() <= 1e-5 * np.abs(values).max()


def test_cells_of_no_level_and_missing_ones_are_encoded_as_jaxrep_does(run, tmp_path):
    import pandas as pd

    from torch_ref.encode import encode_with_counts

    table = pd.read_csv(run.config["data"]["source"], sep=";", dtype=str, keep_default_na=False)
    table.loc[0, ["city", "zip"]] = ["Rom", "nan"]
    table.loc[1, ["income", "since", "wait"]] = [" ", "NULL", "n/a"]
    schema = json.loads(json.dumps(run.schema.to_json()))
    rows, counts = encode_with_counts(schema, table)
    expected = transform.to_raw(run.schema, as_table(table), source="here")
    np.testing.assert_array_equal(rows, expected)
    assert (counts.unknown["city"], counts.missing["zip"]) == (1, 1)
    assert rows[0, run.schema.names.index("city")] == -1


def test_a_code_that_only_a_float_would_take_for_a_level_is_unknown():
    import pyarrow as pa

    from torch_ref.encode import encode

    known, other = "12345678901234567890", "12345678901234567891"
    schema = Schema((CategoricalColumn("code", (known, "2.50"), has_gaps=False),))
    cells = [known, other, "+" + known, "2.5", "1e99999999999999999999"]
    expected = [[0], [-1], [0], [1], [-1]]
    assert transform.to_raw(schema, pa.table({"code": cells}), source="x").tolist() == expected
    assert encode(json.loads(json.dumps(schema.to_json())), {"code": cells}).tolist() == expected


@pytest.mark.parametrize("format", ["torchscript", "onnx"])
def test_columns_with_long_tails_come_out_as_jax_has_them(tmp_path, format):
    if format == "onnx":
        pytest.importorskip("onnxruntime")
    run = make_run(tmp_path, "vae", "tails")
    assert [c.scaling.kind for c in run.schema.columns] == [
        "log1p",
        "quantile",
        "quantile",
        "robust",
    ]
    FORMATS[format].write(run, tmp_path / "model")
    _, raw = raw_rows(run)
    expected = expected_outputs(run, raw, "tails.csv")
    FORMATS[format].verify(run, tmp_path / "model", expected)
    for prefix in ("jax", "exact"):
        expected[f"{prefix}.reconstruct.0"][7, 1] += 1e-4
    with pytest.raises(VerificationError, match="reconstruct"):
        FORMATS[format].verify(run, tmp_path / "model", expected)
