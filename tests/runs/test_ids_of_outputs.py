"""Ids in outputs: the type and the values that they have in the table, so that a join finds all."""

import datetime
import decimal

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from jaxrep.data.read import read_table
from jaxrep.runs import folder
from jaxrep.runs.outputs import read_rows
from tests.helpers.commands import call, done
from tests.helpers.small import FEATURES, FLAGS

ROWS = 12
NAMES = "abcde"[:FEATURES]
EPOCHS = ("--batch-size", "16", "--epochs", "1", "--device", "cpu")
COMMANDS = ("embed", "score", "reconstruct", "decode", "predict")
TEXTS = ("@ab", "=1+1", "-5x", "+", 'a "b"', "a,b", "a\nb", " a", "007", "NA", "?", "1.0")
FROM = datetime.datetime(2020, 1, 2, 3, 4, 5, 6)

IDS = {
    "int64": pa.array(range(20_000_000_000_000_001, 20_000_000_000_000_001 + ROWS), pa.int64()),
    "uint64": pa.array(range(2**64 - ROWS, 2**64), pa.uint64()),
    "float64": pa.array([0.1 + i for i in range(ROWS - 1)] + [np.inf]),
    "timestamp": pa.array([FROM + datetime.timedelta(i) for i in range(ROWS)]),
    "zoned": pa.array(range(ROWS), pa.timestamp("ns", "UTC")),
    "date": pa.array([FROM.date() + datetime.timedelta(i) for i in range(ROWS)]),
    "decimal": pa.array([decimal.Decimal(f"{i}.50") for i in range(ROWS)]),
    "text": pa.array(TEXTS),
    "empty": pa.array(["", None, *TEXTS[2:]]),
}


@pytest.fixture(scope="module")
def numbers():
    x = np.random.default_rng(0).normal(size=(ROWS, FEATURES))
    return dict(zip(NAMES, x.T, strict=True))


@pytest.fixture(scope="module")
def runs(tmp_path_factory, numbers):
    """The folder of an autoencoder and of a classifier that was made of it, with ids of text."""
    path = tmp_path_factory.mktemp("runs")
    label = pa.array(["+", "-"] * (ROWS // 2))
    table = pa.table({"id": IDS["text"], "y": label, **numbers})
    pq.write_table(table, path / "t.parquet")
    roles = ("--id-column", "id", "--label", "y", "--na-values", "?")
    train = ("train", "autoencoder", path / "t.parquet", "--out", path / "run", *FLAGS, *EPOCHS)
    done(*train, *roles)
    tune = ("finetune", path / "run", path / "t.parquet", "--label", "y", "--out", path / "tuned")
    done(*tune, *EPOCHS)
    return path


def write(runs, command, source, out, *flags):
    """Writes what a command makes of a table; decode takes the codes that embed made of it."""
    if command == "decode":
        codes = out.with_name("codes.csv" if source.suffix == ".csv" else "codes.parquet")
        source = write(runs, "embed", source, codes)
    done(command, runs / ("tuned" if command == "predict" else "run"), source, "--out", out, *flags)
    return out


@pytest.mark.parametrize("kind", IDS)
@pytest.mark.parametrize("command", COMMANDS)
def test_ids_of_parquet_keep_type_and_value_in_parquet(runs, numbers, tmp_path, command, kind):
    pq.write_table(pa.table({"id": IDS[kind], **numbers}), tmp_path / "t.parquet")
    for name, read in (("o.parquet", pq.read_table), ("o.feather", feather.read_table)):
        out = write(runs, command, tmp_path / "t.parquet", tmp_path / name)
        column = read(out)["id"]
        assert column.type == IDS[kind].type
        assert column.to_pylist() == IDS[kind].to_pylist()


def test_dictionaries_of_ids_become_what_they_stand_for(runs, numbers, tmp_path):
    for ids in (IDS["text"], IDS["int64"]):
        coded = pa.table({"id": ids.dictionary_encode(), **numbers})
        pq.write_table(coded, tmp_path / "t.parquet")
        out = write(runs, "score", tmp_path / "t.parquet", tmp_path / "o.parquet")
        assert pq.read_table(out)["id"].combine_chunks().equals(ids)


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet", ".feather"])
@pytest.mark.parametrize("command", COMMANDS)
def test_ids_of_a_csv_keep_their_text(runs, numbers, tmp_path, command, suffix):
    texts = [*TEXTS[:-2], "20000000000000001", "1.50"]
    pa.csv.write_csv(pa.table({"id": texts, **numbers}), tmp_path / "t.csv")
    out = write(runs, command, tmp_path / "t.csv", tmp_path / f"o{suffix}")
    found = feather.read_table(out) if suffix == ".feather" else read_table(str(out))
    assert found["id"].type == pa.string()
    assert found["id"].to_pylist() == texts


@pytest.mark.parametrize("kind", ["int64", "uint64", "date", "decimal", "text"])
def test_ids_of_parquet_are_exact_in_a_csv(runs, numbers, tmp_path, kind):
    pq.write_table(pa.table({"id": IDS[kind], **numbers}), tmp_path / "t.parquet")
    out = write(runs, "embed", tmp_path / "t.parquet", tmp_path / "o.csv")
    found = read_table(str(out))["id"].to_pylist()
    assert found == [str(value) for value in IDS[kind].to_pylist()]


def test_ids_that_an_array_would_round_are_refused(runs, numbers, tmp_path):
    pq.write_table(pa.table({"id": IDS["int64"], **numbers}), tmp_path / "t.parquet")
    code, _, err = call("embed", runs / "run", tmp_path / "t.parquet", "--out", tmp_path / "z.npy")
    assert code == 2 and "'id'" in err and "round" in err
    assert not (tmp_path / "z.npy").exists()


def test_tables_in_memory_keep_ids_too(runs, numbers, tmp_path):
    pq.write_table(pa.table({"id": IDS["int64"], **numbers}), tmp_path / "t.parquet")
    table, x = read_rows(folder.load(runs / "run"), str(tmp_path / "t.parquet"))
    assert table["id"].combine_chunks().equals(IDS["int64"])
    assert x.numbers.shape == (ROWS, FEATURES)


def test_apostrophes_are_written_only_if_asked_for(runs, tmp_path):
    source = runs / "t.parquet"
    for flags, mark in (((), ""), (("--spreadsheet-safe",), "'")):
        out = write(runs, "predict", source, tmp_path / "o.csv", *flags)
        found = read_table(str(out))
        assert found["id"].to_pylist()[:3] == [f"{mark}{text}" for text in TEXTS[:3]]
        assert set(found["prediction"].to_pylist()) <= {f"{mark}+", f"{mark}-"}
