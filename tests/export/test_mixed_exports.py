"""Files of networks on numbers and codes: narrow and wide ones, likelihoods, missing cells."""

import numpy as np
import pytest
import torch

from jaxrep.batch import RowSpec
from jaxrep.data import transform
from jaxrep.data.schema import CategoricalColumn
from jaxrep.errors import VerificationError
from jaxrep.export import FORMATS, export_run, import_run
from jaxrep.export._expected import expected_outputs, golden_outputs
from jaxrep.export._served import description
from jaxrep.networks import WIDE
from jaxrep.parity import check_run, decided_cells
from tests.helpers.exports import make_run, raw_rows, rewritten, run_verify
from torch_ref.comparison import are_levels, compare
from torch_ref.description import FileFormatError, described_network, row_spec
from torch_ref.files import read_safetensors
from torch_ref.torchscript import load

ROWS = RowSpec(
    numbers=4,
    levels=(4, 1051),
    gaps=(True, False, True, False, True, True),
    likelihoods=("gaussian", "poisson", "bernoulli", "gaussian"),
)
RUNS = {
    "vae": {"method": "vae", "likelihood": "by_kind"},
    "autoencoder": {"method": "autoencoder"},
    "hide": {"method": "autoencoder", "likelihood": "by_kind", "views": ("hide",)},
    "members": {"method": "vae", "likelihood": "by_kind", "members": 2},
    "spikes": {"method": "vae", "likelihood": "by_kind", "data": "spiked"},
    "simclr": {"method": "simclr"},
    "classifier": {"method": "classifier", "frozen": False},
}
QUICK = {("vae", "torchscript"), ("members", "safetensors"), ("hide", "safetensors")}
QUICK |= {
    ("spikes", "torchscript"),
    ("spikes", "pt2"),
    ("vae", "onnx"),
    ("classifier", "safetensors"),
    ("autoencoder", "pt2"),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    made = {}

    def of(name):
        if name not in made:
            made[name] = make_run(tmp_path_factory.mktemp(name), **{"data": "wide"} | RUNS[name])
        return made[name]

    return of


def test_the_table_has_what_these_tests_are_about(runs):
    assert runs("vae").rows == ROWS
    assert max(ROWS.levels) > WIDE
    likelihoods = runs("autoencoder").rows.number_likelihoods
    assert likelihoods == ("squared", "poisson", "squared", "squared")
    assert [isinstance(column, CategoricalColumn) for column in runs("vae").schema.columns] == [
        *(True, False, True, False, False, False)
    ]


@pytest.mark.parametrize(
    ("name", "format"),
    [
        pytest.param(name, format, marks=[] if (name, format) in QUICK else [pytest.mark.slow])
        for name in RUNS
        for format in FORMATS
    ],
)
def test_every_format_gives_what_jax_gives(runs, tmp_path, name, format):
    if format == "onnx":
        pytest.importorskip("onnxruntime")
    said = export_run(runs(name), tmp_path / "model", format=format)
    assert said.rows_verified == 1000
    assert run_verify(tmp_path / "model")[0] == 0


@pytest.mark.parametrize("name", ["vae", "hide", "members", "classifier"])
def test_both_frameworks_give_the_same_of_a_run(runs, name):
    run = runs(name)
    table, _ = raw_rows(run)
    report = check_run(run, transform.apply(run.schema, table.slice(0, 150), source="here"))
    assert report.passed, str(report)


@pytest.mark.parametrize("count", [8, 16, 64])
def test_drawn_rows_have_missing_and_unknown_cells_in_every_column(runs, count):
    run = runs("vae")
    rows = golden_outputs(run, count)["rows"]
    assert np.isnan(rows).any(axis=0).all()
    unknown = (rows == -1).any(axis=0)
    assert unknown[[isinstance(column, CategoricalColumn) for column in run.schema.columns]].all()


def test_scores_by_column_stand_in_the_columns_order(runs, tmp_path):
    run = runs("vae")
    FORMATS["torchscript"].write(run, tmp_path / "model.pt")
    table, raw = raw_rows(run)
    found = load(tmp_path / "model.pt").score_by_column(torch.from_numpy(raw)).numpy()
    terms = run.map("score_by_column", transform.apply(run.schema, table, source="here"))
    for feature, column in enumerate(run.schema.column_order):
        expected = terms[:, feature]
        assert np.abs(found[:, column] - expected).max() <= 1e-5 * np.abs(expected).max()
    assert (found[np.isnan(raw)] == 0).all()
    scores = run.map("score", transform.apply(run.schema, table, source="here"))
    observed = (~np.isnan(raw)).sum(axis=1)
    np.testing.assert_allclose(found.sum(axis=1) / observed, scores, rtol=1e-4)


def test_decoded_levels_are_those_of_jax_wherever_one_leads(runs):
    run = runs("vae")
    _, raw = raw_rows(run)
    expected = expected_outputs(run, raw[:200], "here")
    levels = [isinstance(column, CategoricalColumn) for column in run.schema.columns]
    for output in ("reconstruct.0", "decode.0"):
        exact = expected[f"exact.{output}"][:, levels]
        is_open = np.isnan(exact)
        assert is_open.mean() < 0.05
        assert (expected[f"jax.{output}"][:, levels] == exact)[~is_open].all()
        assert not np.isnan(expected[f"exact.{output}"][:, np.logical_not(levels)]).any()


def test_levels_that_are_equally_likely_are_open():
    from jaxrep.methods import Autoencoder, AutoencoderHyperparameters, abstract_network
    from jaxrep.networks import get_weights

    method = Autoencoder(AutoencoderHyperparameters(hidden_dims=(), latent_dim=1))
    rows = RowSpec(0, (4, WIDE + 1, 2))
    shapes = get_weights(abstract_network(method, rows))
    weights = {name: np.zeros(array.shape) for name, array in shapes.items()}
    weights["decoder.0.bias"][[1, 3]] = 1.0, 1.0 + 5e-5
    weights["embeddings.0.bias"][[0, 7, 9]] = 9.0, 1.0, 0.5  # "other" is never decoded
    assert (
        decided_cells(method, rows, weights, np.zeros((2, 1))).tolist() == [[False, True, True]] * 2
    )
    weights["decoder.0.bias"][3] = 1.1
    weights["embeddings.0.bias"][9] = 1.0
    assert (
        decided_cells(method, rows, weights, np.zeros((2, 1))).tolist() == [[True, False, True]] * 2
    )


@pytest.mark.parametrize("format", ["torchscript", "safetensors"])
def test_a_file_becomes_a_run_of_the_same_rows_again(runs, tmp_path, format):
    run = runs("vae")
    FORMATS[format].write(run, tmp_path / "model")
    made = import_run(tmp_path / "model", tmp_path / "run", trust=True)
    assert made.rows == ROWS
    assert made.schema == run.schema
    for name, array in run.weights.items():
        assert made.weights[name].tobytes() == array.tobytes()


def test_the_twin_reads_the_likelihoods_of_columns_as_jaxrep_does(runs):
    for name in RUNS:
        run = runs(name)
        settings = run.config["hyperparameters"]
        below = settings.get("backbone", {}).get("hyperparameters", settings)
        columns = run.schema.to_json()["columns"]
        assert row_spec(columns, likelihood=below.get("likelihood")) == tuple(run.rows)


@pytest.mark.parametrize(
    ("column", "likelihood", "message"),
    [
        (1, "poisson", "poisson is for counts"),
        (3, "bernoulli", "bernoulli is for booleans"),
        (1, "cauchy", "likelihood"),
        (1, "squared", "likelihood.log_var"),
    ],
)
def test_a_likelihood_that_a_column_cannot_have_is_refused(
    runs, tmp_path, column, likelihood, message
):
    FORMATS["safetensors"].write(runs("vae"), tmp_path / "model")

    def change(described, weights):
        described["schema"]["columns"][column]["likelihood"] = likelihood

    rewritten(tmp_path / "model", tmp_path / "other", change)
    if likelihood == "squared":  # of other weights
        assert message in run_verify(tmp_path / "other")[2]
        return
    with pytest.raises(FileFormatError, match=message):
        described_network(read_safetensors(tmp_path / "other")[0])


@pytest.mark.parametrize("output", ["reconstruct.0", "decode.0", "score_by_column.0"])
def test_a_file_that_gives_another_level_or_term_is_not_written(runs, tmp_path, output):
    run = runs("vae")
    FORMATS["safetensors"].write(run, tmp_path / "model")
    _, raw = raw_rows(run)
    expected = expected_outputs(run, raw[:20], "here")
    FORMATS["safetensors"].verify(run, tmp_path / "model", expected)
    place = np.flatnonzero(~np.isnan(expected[f"exact.{output}"][:, 2]))[0]
    for prefix in ("jax", "exact"):
        expected[f"{prefix}.{output}"][place, 2] += 1
    with pytest.raises(VerificationError, match=output.partition(".")[0]):
        FORMATS["safetensors"].verify(run, tmp_path / "model", expected)


def test_levels_do_not_widen_what_numbers_may_be_off(runs):
    run = runs("vae")
    _, raw = raw_rows(run)
    described, expected = description(run), expected_outputs(run, raw[:200], "here")
    jax, exact = (torch.from_numpy(expected[f"{kind}.decode.0"]) for kind in ("jax", "exact"))
    levels = are_levels("decode.0", described, exact)
    assert levels.tolist() == [True, False, True, False, False, False]
    found = torch.where(torch.isnan(exact), 0, exact)
    slack = torch.zeros(())
    assert compare("decode.0", found, jax, exact, levels=levels, slack=slack).passed
    assert float(exact[:, 2].nan_to_num().max()) > 500
    size = float(exact[:, ~levels].abs().max())
    for column, change in {1: 1e-4 * size, 2: 1.0}.items():
        row = int(np.flatnonzero(~np.isnan(exact[:, column].numpy()))[0])
        other = found.clone()
        other[row, column] += change
        result = compare("decode.0", other, jax, exact, levels=levels, slack=slack)
        assert (result.passed, result.row) == (False, row)


WEIGHTS = ("embeddings.0.table", "embeddings.0.bias", "likelihood.log_var", "likelihood.mean")


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_changed_weight_next_to_rows_is_noticed_by_the_golden_rows(runs, tmp_path, name):
    FORMATS["safetensors"].write(runs("vae"), tmp_path / "model")

    def change(described, weights):
        weights[name] = weights[name] + np.float32(0.01) * (
            1 + np.arange(weights[name].size)
        ).reshape(weights[name].shape).astype(np.float32)

    rewritten(tmp_path / "model", tmp_path / "other", change)
    code, out, _ = run_verify(tmp_path / "other")
    assert code == 1
    assert "FAILED" in out
