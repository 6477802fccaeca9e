"""A table trains, scores and fine-tunes to the same bits, whatever file or frame carries it."""

import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest

from jaxrep import AutoencoderEmbedding
from jaxrep.cli import main
from jaxrep.data.read import read_table
from jaxrep.runs import folder
from jaxrep.runs.outputs import score
from tests.helpers.small import FLAGS

ROWS = 60
SHORT = (*FLAGS, "--epochs", "2")
CARRIERS = ("csv", "semicolons.csv", "csv.gz", "parquet", "folder", "feather", "pandas.csv")


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """One table in files of several formats, with gaps, and a label."""
    path = tmp_path_factory.mktemp("carriers")
    draws = np.random.default_rng(0)
    start = dt.datetime(2024, 1, 1)
    job = [None if i == 4 else str(text) for i, text in enumerate(draws.choice(["a", "b"], ROWS))]
    born = [dt.date(1970, 1, 1) + dt.timedelta(int(d)) for d in draws.integers(0, 9000, ROWS)]
    table = pa.table(
        {
            "amount": pa.array(draws.integers(-800, 800, ROWS) / 64, mask=np.arange(ROWS) == 7),
            "children": draws.integers(0, 6, ROWS),
            "member": draws.random(ROWS) < 0.5,
            "job": job,
            "born": born,
            "seen": [
                start + dt.timedelta(milliseconds=int(m)) for m in draws.integers(0, 10**9, ROWS)
            ],
            "bought": draws.choice(["no", "yes"], ROWS),
        }
    )
    pa.csv.write_csv(table, path / "t.csv")
    options = pa.csv.WriteOptions(delimiter=";")
    pa.csv.write_csv(table, path / "t.semicolons.csv", options)
    with pa.output_stream(path / "t.csv.gz", compression="gzip") as stream:
        pa.csv.write_csv(table, stream)
    pa.parquet.write_table(table, path / "t.parquet")
    (path / "t.folder").mkdir()
    for part in range(3):
        rows = table.slice(part * 20, 20)
        pa.parquet.write_table(rows, path / "t.folder" / f"{part}.parquet")
    pa.feather.write_feather(table, path / "t.feather")
    pd.read_csv(path / "t.csv").to_csv(path / "t.pandas.csv")  # with its unnamed index
    train = ("train", "autoencoder", str(path / "t.csv"), "--label", "bought", *SHORT)
    assert main([*train, "--out", str(path / "run")]) == 0
    tune = (
        "finetune",
        str(path / "run"),
        str(path / "t.csv"),
        "--label",
        "bought",
        "--epochs",
        "2",
    )
    assert main([*tune, "--out", str(path / "tuned")]) == 0
    return path


def same_weights(one, other):
    a, b = folder.load(one), folder.load(other)
    assert a.weights.keys() == b.weights.keys()
    assert all(np.array_equal(a.weights[name], b.weights[name]) for name in a.weights)
    return a, b


@pytest.mark.parametrize("carrier", CARRIERS[1:])
def test_training(tables, tmp_path, carrier):
    source = str(tables / f"t.{carrier}")
    train = ("train", "autoencoder", source, "--label", "bought", *SHORT)
    assert main([*train, "--out", str(tmp_path / "run")]) == 0
    one, other = same_weights(tables / "run", tmp_path / "run")
    assert one.schema.kinds() == other.schema.kinds()


@pytest.mark.parametrize("carrier", CARRIERS[1:])
def test_scores(tables, carrier):
    run = folder.load(tables / "run")
    assert score(run, str(tables / f"t.{carrier}"))["score"].equals(
        score(run, str(tables / "t.csv"))["score"]
    )


@pytest.mark.parametrize("carrier", CARRIERS[1:])
def test_fine_tuning(tables, tmp_path, carrier):
    tune = ("finetune", str(tables / "run"), str(tables / f"t.{carrier}"), "--label", "bought")
    assert main([*tune, "--epochs", "2", "--out", str(tmp_path / "tuned")]) == 0
    same_weights(tables / "tuned", tmp_path / "tuned")


def test_fine_tuning_on_a_prepared_folder(tables, tmp_path):
    prepare = ("prepare", str(tables / "t.parquet"), "--label", "bought")
    assert main([*prepare, "--out", str(tmp_path / "rows")]) == 0
    train = ("train", "autoencoder", str(tmp_path / "rows"), *SHORT)
    assert main([*train, "--out", str(tmp_path / "run")]) == 0
    same_weights(tables / "run", tmp_path / "run")
    tune = ("finetune", str(tmp_path / "run"), str(tmp_path / "rows"), "--label", "bought")
    assert main([*tune, "--epochs", "2", "--out", str(tmp_path / "tuned")]) == 0
    same_weights(tables / "tuned", tmp_path / "tuned")


def frames(tables):
    table = read_table(str(tables / "t.parquet"))
    yield "pandas", table.to_pandas()
    yield "of read_csv", pd.read_csv(tables / "t.csv")
    yield "of Arrow's types", table.to_pandas(types_mapper=pd.ArrowDtype)
    yield "polars", pl.from_arrow(table)
    yield "polars' read_csv", pl.read_csv(tables / "t.csv")
    yield "Arrow", table


def test_frames(tables):
    wanted = score(folder.load(tables / "run"), str(tables / "t.csv"))["score"].to_numpy()
    loaded = AutoencoderEmbedding.load(tables / "run")
    params = loaded.get_params()
    for name, frame in frames(tables):
        assert np.array_equal(-loaded.score_samples(frame), wanted), name
        fitted = AutoencoderEmbedding(**params).fit(frame)
        assert np.array_equal(-fitted.score_samples(frame), wanted), name
