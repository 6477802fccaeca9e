"""Files of runs with other scores than their method's usual one; what they keep of their rows."""

import numpy as np
import pytest
import safetensors.numpy

from jaxrep.errors import ModelFormatError
from jaxrep.export import FORMATS, export_run, import_run
from jaxrep.files import sha256
from jaxrep.runs import folder
from jaxrep.runs.kept import kept_of_data
from tests.helpers.exports import make_run, rewritten, run_verify
from torch_ref import verify
from torch_ref.description import FileFormatError

CASES = [
    ("autoencoder", "neighbours", 2),
    ("vae", "mahalanobis", 1),
    ("simclr", "neighbours", 1),
    ("denoiser", "reconstruction", 2),
    ("denoiser", "neighbours", 1),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(
        tmp_path_factory.mktemp("bank"), "autoencoder", "mixed", anomaly_score="neighbours"
    )


@pytest.mark.parametrize(("method", "score", "members"), CASES[:2])
def test_a_torchscript_file_gives_what_jax_gives(method, score, members, tmp_path):
    made = make_run(tmp_path, method, "mixed", anomaly_score=score, members=members)
    export_run(made, tmp_path / "model.pt")
    assert run_verify(tmp_path / "model.pt")[0] == 0


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("method", "score", "members"),
    [CASES[0], *(pytest.param(*case, marks=pytest.mark.slow) for case in CASES[1:])],
)
@pytest.mark.parametrize("format", list(FORMATS))
def test_every_format_gives_what_jax_gives(method, score, members, format, tmp_path):
    made = make_run(tmp_path, method, "mixed", anomaly_score=score, members=members)
    export_run(made, tmp_path / "model", format=format)
    assert verify.read(tmp_path / "model").meta["hyperparameters"]["anomaly_score"] == score


def test_a_file_becomes_a_run_again_with_its_bank(run, tmp_path):
    FORMATS["safetensors"].write(run, tmp_path / "model.safetensors")
    made = import_run(tmp_path / "model.safetensors", tmp_path / "run")
    bank = made.weights["distance.bank"]
    assert len(bank) > 1
    np.testing.assert_array_equal(bank, run.weights["distance.bank"])
    again = folder.load(tmp_path / "run")
    assert kept_of_data(again)["representations"] == {"distance.bank": len(bank)}


def test_a_bank_that_is_damaged_is_noticed(run, tmp_path):
    copy = make_run(tmp_path, "autoencoder", "mixed", anomaly_score="neighbours")
    path = copy.path / folder.MODEL
    weights = safetensors.numpy.load_file(path)
    weights["distance.bank"][3, 1] += 1e-3
    safetensors.numpy.save_file(weights, path)
    with pytest.raises(ModelFormatError, match="not what the manifest says"):
        folder.load(copy.path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda bank: bank[:, :1], "distance.bank"),
        (lambda bank: bank[:0], "distance.bank"),
        (lambda bank: bank.astype(np.float64), "distance.bank"),
    ],
)
def test_a_bank_of_other_rows_than_the_network_takes_is_refused(run, change, message, tmp_path):
    source, target = tmp_path / "model.safetensors", tmp_path / "odd.safetensors"
    FORMATS["safetensors"].write(run, source)

    def put(described, weights):
        weights["distance.bank"] = np.ascontiguousarray(change(weights["distance.bank"]))

    rewritten(source, target, put)
    with pytest.raises(FileFormatError, match=message):
        verify.read(target)
    assert sha256(source) != sha256(target)
