"""Reasons of a table's rows in its own names and units: by command, estimator, report, folder."""

import csv
import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import safetensors.numpy

from jaxrep import AutoencoderEmbedding, DenoiserEmbedding, SimCLREmbedding
from jaxrep.errors import InputError, ModelFormatError
from jaxrep.export import FORMATS, import_run
from jaxrep.report.page import write_report
from jaxrep.runs import folder
from tests.helpers.commands import call, done

SHORT = {"hidden_dims": (32,), "latent_dim": 32, "epochs": 0, "steps": 600}


def rows(count=400, seed=0):
    """The rent follows from rooms and city, the day from nothing."""
    draws = np.random.default_rng(seed)
    city, rooms = draws.choice(["Ulm", "Bonn"], count), draws.integers(1, 7, count)
    rent = 250.0 * rooms + 400.0 * (city == "Bonn") + draws.normal(0, 10, count)
    days = pd.Timestamp("2023-01-01") + pd.to_timedelta(draws.integers(0, 365, count), unit="D")
    return pd.DataFrame(
        {"id": range(count), "city": city, "rooms": rooms, "rent": rent, "day": days}
    )


@pytest.fixture(scope="module")
def wrong():
    """Five rows, whose rent, city, rooms and city are wrong; nothing is in the last."""
    table = rows(5, seed=1).astype({"rooms": float})
    table.loc[0, "rent"] += 1500
    table.loc[1, "city"] = "Rome"
    table.loc[2, "rooms"] = 7 - table.loc[2, "rooms"]
    table.loc[3, "city"] = "Ulm" if table.loc[3, "city"] == "Bonn" else "Bonn"
    table.loc[4, ["city", "rooms", "rent"]] = None
    return table


@pytest.fixture(scope="module")
def model():
    return DenoiserEmbedding(columns={"id": "id"}, **SHORT).fit(rows())


@pytest.fixture(scope="module")
def run(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("explained") / "run"
    model.save(path)
    return path


@pytest.mark.filterwarnings("ignore::jaxrep.errors.DataWarning")
def test_the_culprit_comes_first_with_what_was_expected_in_its_columns_unit(model, wrong):
    found = model.explain(wrong, k=None)
    assert list(found.columns) == [
        *("row", "column", "value", "expected", "probability", "share"),
    ]
    assert len(found) == 5 * 4
    np.testing.assert_allclose(found.groupby("row")["share"].sum(), 1)
    first = found.drop_duplicates("row").set_index("row")
    assert first["column"].tolist()[:2] == ["rent", "city"]
    assert first.loc[2, "column"] in ("rooms", "rent")  # either may be the wrong one of the two
    assert first.loc[0, "value"] == wrong.loc[0, "rent"]
    assert abs(first.loc[0, "expected"] - (wrong.loc[0, "rent"] - 1500)) < 500
    assert first.loc[1, "value"] == "Rome" and first.loc[1, "expected"] in ("Ulm", "Bonn")
    assert 0 < first.loc[1, "probability"] <= 1 and np.isnan(first.loc[0, "probability"])
    of_rooms = found[(found["row"] == 2) & (found["column"] == "rooms")].iloc[0]
    assert abs(of_rooms["expected"] - (7 - wrong.loc[2, "rooms"])) <= 1
    of_day = found[found["column"] == "day"]
    assert all(isinstance(value, datetime.datetime) for value in of_day["expected"])
    missing = found[(found["row"] == 4) & (found["column"] != "day")]
    assert (missing["share"] == 0).all() and missing["value"].isna().all()
    shares = found["share"].to_numpy().reshape(5, 4)
    assert (np.diff(shares, axis=1) <= 0).all()


@pytest.mark.filterwarnings("ignore::jaxrep.errors.DataWarning")
def test_the_command_writes_what_the_estimator_says(model, run, wrong, tmp_path):
    table, out = tmp_path / "wrong.csv", tmp_path / "out.csv"
    wrong.to_csv(table, index=False)
    told = done("score", run, table, "--explain", 2, "--out", out)
    assert told["rows"] == 5
    written = list(csv.DictReader(out.read_text("utf-8").splitlines()))
    reasons = [
        f"{name}_{k}"
        for k in (1, 2)
        for name in ("reason", "value", "expected", "probability", "share")
    ]
    assert list(written[0]) == ["id", "score", "anomaly", *reasons]
    found = model.explain(wrong, k=2)
    for i, row in enumerate(written):
        for k in (1, 2):
            said = found.iloc[2 * i + k - 1]
            assert row[f"reason_{k}"] == said["column"]
            assert float(row[f"share_{k}"]) == pytest.approx(said["share"], abs=1e-5)
    assert written[0]["expected_1"] == f"{found.iloc[0]['expected']:.6g}"
    assert written[1]["value_1"] == "Rome" and written[0]["probability_1"] == ""
    done("score", run, table, "--explain", 99, "--out", out)  # of four columns, all
    assert "share_4" in out.read_text() and "share_5" not in out.read_text()


def test_blocks_of_a_table_are_explained_alike(run, tmp_path, monkeypatch):
    from jaxrep.runs import outputs

    rows(60, seed=2).to_csv(tmp_path / "rows.csv", index=False)
    source, loaded = str(tmp_path / "rows.csv"), folder.load(run)
    (whole,) = outputs.score_blocks(loaded, source, reasons=1)
    table = outputs.read_table_of(loaded, source)
    pieces = [table.slice(0, 25), table.slice(25)]
    monkeypatch.setattr(outputs.read, "read_blocks", lambda *_: pieces)
    parts = pa.concat_tables(list(outputs.score_blocks(loaded, source, reasons=1)))
    assert parts["reason_1"].to_pylist() == whole["reason_1"].to_pylist()
    assert parts["value_1"].to_pylist() == whole["value_1"].to_pylist()


@pytest.mark.parametrize("count", [-1, 0])
def test_no_reasons_at_all_cannot_be_asked_of_an_estimator(model, count):
    with pytest.raises(InputError, match=rf"explain is {count}; it must be at least 1"):
        model.explain(rows(3), count)


@pytest.mark.parametrize("made", [SimCLREmbedding, AutoencoderEmbedding])
def test_a_method_that_predicts_no_hidden_cell_refuses_by_its_name(made, tmp_path):
    few = rows(40)[["rooms", "rent"]]
    model = made(hidden_dims=(4,), latent_dim=2, epochs=1).fit(few)
    with pytest.raises(
        InputError, match=rf"this {made.name} was not trained .* recipe='anomalies'"
    ):
        model.explain(few)
    model.save(tmp_path / "run")
    few.to_csv(tmp_path / "rows.csv", index=False)
    argv = ("score", tmp_path / "run", tmp_path / "rows.csv", "--out", tmp_path / "out.csv")
    code, _, err = call(*argv, "--explain", 2)
    assert code == 2 and f"--explain: this {made.name} was not" in err
    assert "--recipe anomalies" in err and not (tmp_path / "out.csv").exists()


def test_a_folder_keeps_what_reasons_need_and_notices_damage(model, run, tmp_path):
    model.save(tmp_path / "run")
    kept = folder.load(tmp_path / "run").reasons
    for name, array in model.run_.reasons.items():
        np.testing.assert_array_equal(kept[name], array)
    path = tmp_path / "run" / folder.REASONS
    kept["scale"][0] *= 2
    safetensors.numpy.save_file(kept, path)
    with pytest.raises(ModelFormatError, match="not what the manifest says"):
        folder.load(tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"df": np.ones(2, np.float32)}, "other arrays than the configuration implies: df"),
        ({"scale": np.zeros(3, np.float32)}, "scale holds numbers that are not above 0"),
        ({"df": np.full(3, np.nan, np.float32)}, "df holds numbers that are not finite"),
        ({"more": np.ones(1, np.float32)}, "implies: more"),
    ],
)
def test_statistics_that_cannot_be_are_refused(model, tmp_path, change, message):
    run = model.run_
    path = tmp_path / "run"
    folder.begin(path, run.config, run.schema)
    folder.append_metrics(path, *run.history)
    folder.finish(path, run.config, run.weights, None, {**run.reasons, **change})
    with pytest.raises(ModelFormatError, match=message):
        folder.load(path)


def test_an_imported_run_says_that_it_knows_no_reasons(run, tmp_path):
    FORMATS["safetensors"].write(folder.load(run), tmp_path / "model.safetensors")
    import_run(tmp_path / "model.safetensors", tmp_path / "imported")
    rows(3).to_csv(tmp_path / "rows.csv", index=False)
    argv = ("score", tmp_path / "imported", tmp_path / "rows.csv", "--out", tmp_path / "out.csv")
    code, _, err = call(*argv, "--explain", 2)
    assert code == 2 and "was imported" in err and "the run that it was exported from" in err


@pytest.mark.filterwarnings("ignore::jaxrep.errors.DataWarning")
def test_the_report_says_why_its_worst_rows_are_strange(run, wrong, tmp_path):
    wrong.to_csv(tmp_path / "wrong.csv", index=False)
    out = tmp_path / "report.html"
    write_report(folder.load(run), out, data=str(tmp_path / "wrong.csv"), parity=False)
    text = out.read_text("utf-8")
    assert "Why: columns of these rows that the other columns did not let expect" in text
    why = text[text.index("Why: columns of these rows") :]
    assert "Rome" in why[: why.index("</table>")]


def test_a_fine_tuned_report_tells_its_own_score_and_not_its_backbones(tmp_path):
    from jaxrep.networks import Mahalanobis, MeanScore
    from jaxrep.report.subject import of_run

    table = rows(60).drop(columns="id")
    table.to_csv(tmp_path / "rows.csv", index=False)
    flags = ("--epochs", 1, "--hidden-dims", 4, "--latent-dim", 3)
    done(
        "train",
        "denoiser",
        tmp_path / "rows.csv",
        "--out",
        tmp_path / "run",
        *flags,
        "--label",
        "city",
    )
    argv = ("finetune", tmp_path / "run", tmp_path / "rows.csv", "--label", "city")
    done(*argv, "--task", "classes", "--epochs", 1, "--out", tmp_path / "tuned")
    runs = [folder.load(tmp_path / name) for name in ("run", "tuned")]
    scoring = [of_run(run, None, 0.05, note=print).scoring for run in runs]
    assert scoring == [MeanScore, Mahalanobis]
