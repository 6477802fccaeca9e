"""Tables written to files and read again; and files that cannot be read or written."""

import datetime
import decimal
import gzip
import os

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from jaxrep.data import NAMES, check_output, read_table, write_blocks, write_table
from jaxrep.data.schema import MISSING
from jaxrep.errors import InputError

pytestmark = pytest.mark.quick


@pytest.fixture
def csv(tmp_path):
    """Writes a CSV and returns its path as the string that `read_table` takes."""

    def write(text):
        path = tmp_path / "people.csv"
        path.write_text(text)
        return str(path)

    return write


def refused(*facts, source):
    """Checks that reading fails with one message that holds every fact, and the file's name."""
    with pytest.raises(InputError) as caught:
        read_table(source)
    message = str(caught.value)
    assert source in message
    for fact in facts:
        assert fact in message, message
    assert "\n" not in message.replace(source, "")


# Sources


@pytest.mark.parametrize(
    ("source", "facts"),
    [
        ("blob", ["did you mean blobs?"]),
        ("IRIS", ["did you mean iris?"]),
        ("data.cvs", ["did you mean .csv?"]),
        ("data.xlsx", [*NAMES]),
    ],
)
def test_unknown_source_is_refused_with_those_there_are(source, facts):
    refused(*facts, source=source)


def test_file_that_is_missing_empty_or_no_file_is_refused(tmp_path):
    refused("no such file", source=str(tmp_path / "gone.csv"))
    (tmp_path / "folder.csv").mkdir()
    refused("folder", source=str(tmp_path / "folder.csv"))
    refused("folder", source=str(tmp_path))
    (tmp_path / "empty.parquet").touch()
    refused("file is empty", source=str(tmp_path / "empty.parquet"))
    refused("cannot be opened", source=str(tmp_path / ("x" * 300 + ".csv")))
    with pytest.raises(InputError, match="zero byte"):
        read_table("a\0.csv")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_file_without_permission_is_refused(csv):
    source = csv("a\n1\n")
    os.chmod(source, 0)
    refused("cannot be opened", "Permission denied", source=source)


def test_file_that_cannot_be_opened_is_refused(csv, monkeypatch):
    def deny(*_):
        raise PermissionError(13, "Permission denied")

    source = csv("a\n1\n")
    monkeypatch.setattr("pathlib.Path.open", deny)
    refused("cannot be opened", "Permission denied", source=source)


# Writing


TABLE = pa.table(
    {
        "z0": pa.array([0.1, 1 / 3], pa.float32()),
        "z1": pa.array([0.1, None], pa.float64()),
        "n": pa.array([1, 2]),
    }
)


def test_csv_holds_the_shortest_digits_of_each_type(tmp_path):
    write_table(TABLE, tmp_path / "t.csv")
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines == ['"z0","z1","n"', "0.1,0.1,1", "0.33333334,,2"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_csv_numbers_read_back_as_the_same(tmp_path, dtype):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=1000) * 10.0 ** rng.integers(-30, 30, 1000)).astype(dtype)
    write_table(pa.table({"x": x}), tmp_path / "t.csv")
    cells = read_table(str(tmp_path / "t.csv"))["x"].to_pylist()
    np.testing.assert_array_equal(np.array(cells, dtype), x)


FORMULAS = ("+", "-", "@ab", "=1+1", "-5x", "'=x")
CELLS = (*FORMULAS, 'a "b"', "a,b", "a\nb", "\rx\r\n", "  a ", "\tx", "007")


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
@pytest.mark.parametrize("encoded", [False, True])
def test_text_and_names_of_columns_come_back_as_they_were(tmp_path, suffix, encoded):
    cells = pa.array(CELLS)
    table = pa.table({f"{cell}!": cells for cell in CELLS})
    columns = {name: cells.dictionary_encode() for name in table.column_names}
    path = tmp_path / f"t{suffix}"
    write_table(pa.table(columns) if encoded else table, path)
    assert read_table(str(path)).equals(table)


@pytest.mark.parametrize("cell", ["=1+1", "+cmd", "-2+3", "@sum", "\tx", "\rx", "=", "-", "-1e"])
def test_csv_text_that_could_be_a_formula_is_neutralised_if_asked_for(tmp_path, cell):
    table = pa.table({"t": [cell], f"{cell}!": ["x"]})
    write_table(table, tmp_path / "t.csv", spreadsheet_safe=True)
    table = pa.csv.read_csv(tmp_path / "t.csv")
    assert table["t"].to_pylist() == ["'" + cell]
    assert table.column_names == ["t", f"'{cell}!"]


@pytest.mark.parametrize("cell", ["-1", "+49", "-1.5e-3", "-.5", "a=b", "plain", " =x", "'=x"])
def test_csv_text_that_is_harmless_or_a_number_stays(tmp_path, cell):
    table = pa.table({"t": pa.array([cell]).dictionary_encode()})
    write_table(table, tmp_path / "t.csv", spreadsheet_safe=True)
    assert read_table(str(tmp_path / "t.csv"))["t"].to_pylist() == [cell]


def test_csv_bools_are_true_and_false(tmp_path):
    write_table(pa.table({"anomaly": [True, False]}), tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text().split() == ['"anomaly"', "true", "false"]


@pytest.mark.parametrize("values", [pa.array(["a", None, "b"]), pa.array([1.5, None, 2.5])])
def test_csv_of_one_column_keeps_the_row_of_a_missing_value(tmp_path, values):
    write_table(pa.table({"c": values}), tmp_path / "t.csv")
    assert "\n\n" not in (tmp_path / "t.csv").read_text()
    found = read_table(str(tmp_path / "t.csv"))["c"].to_pylist()
    expected = [None if value is None else str(value) for value in values.to_pylist()]
    assert [None if cell in MISSING else cell for cell in found] == expected


def test_parquet_is_written_with_its_types(tmp_path):
    write_table(TABLE, tmp_path / "t.parquet")
    assert pq.read_table(tmp_path / "t.parquet").equals(TABLE)


def test_feather_is_written_with_its_types(tmp_path):
    table = TABLE.append_column("t", pa.chunked_array([["a"], ["b"]]).dictionary_encode())
    write_blocks([table, table.slice(1)], tmp_path / "t.feather")
    assert feather.read_table(tmp_path / "t.feather").to_pylist() == [
        *table.to_pylist(),
        *table.slice(1).to_pylist(),
    ]
    assert feather.read_table(tmp_path / "t.feather").schema == table.schema


def test_csv_gz_is_the_csv_compressed_and_the_same_bytes_again(tmp_path):
    for name in ("a.csv", "a.csv.gz", "b.CSV.GZ"):
        write_table(TABLE, tmp_path / name)
    packed = (tmp_path / "a.csv.gz").read_bytes()
    assert gzip.decompress(packed) == (tmp_path / "a.csv").read_bytes()
    assert packed == (tmp_path / "b.CSV.GZ").read_bytes()


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".NPY"])
def test_array_holds_the_numeric_columns_with_nan_for_missing(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    write_table(TABLE, path)
    array = np.load(path)["X"] if suffix == ".npz" else np.load(path)
    np.testing.assert_array_equal(
        array, [[np.float32(0.1), 0.1, 1], [np.float32(1 / 3), np.nan, 2]]
    )
    assert os.listdir(tmp_path) == [path.name]


def test_array_of_float32_columns_is_float32(tmp_path):
    write_table(TABLE.select(["z0"]), tmp_path / "x.npy")
    assert np.load(tmp_path / "x.npy").dtype == np.float32


@pytest.mark.parametrize("first", [1, None])
def test_array_that_would_round_integers_is_refused(tmp_path, first):
    ids = pa.array([first, 2**53 + 1], pa.int64())
    table = pa.table({"id": ids, "z0": pa.array([0.5, 1.5], pa.float32())})
    with pytest.raises(InputError, match=r"x\.npy: column 'id' .*float64 may round.*\.csv"):
        write_blocks([table.slice(0, 1), table.slice(1)], tmp_path / "x.npy")
    assert not os.listdir(tmp_path)
    write_table(table.slice(1).select(["id"]), tmp_path / "x.npy")
    assert np.load(tmp_path / "x.npy").tolist() == [[2**53 + 1]]


OTHERS = (["a"], [decimal.Decimal(1)], [datetime.date(1970, 1, 1)], [datetime.timedelta(1)])


@pytest.mark.parametrize("column", OTHERS)
def test_array_of_other_columns_is_refused(tmp_path, column):
    with pytest.raises(InputError, match=r"x\.npy: column 'job'.*\.csv"):
        write_table(pa.table({"job": column}), tmp_path / "x.npy")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("t.xlsx", ".csv, .csv.gz, .csv.bz2, .csv.zst, .parquet, .feather, .arrow, .npy, .npz"),
        ("t.txt.gz", ".csv.gz"),
        (".csv", ".csv"),
        ("t", ".csv"),
        ("gone/t.csv", "gone"),
        ("file/t.csv", "not a folder"),
        ("folder.csv", "a folder"),
    ],
)
@pytest.mark.parametrize("write", [check_output, lambda path: write_table(TABLE, path)])
def test_output_that_cannot_be_written_is_refused(tmp_path, name, fact, write):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError) as caught:
        write(tmp_path / name)
    assert fact in str(caught.value) and str(tmp_path / name) in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.csv"]


def test_output_folder_without_permission_is_refused(tmp_path, monkeypatch):
    def deny(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", deny)
    with pytest.raises(InputError, match="cannot be written"):
        check_output(tmp_path / "t.csv")


def test_output_may_exist(tmp_path):
    (tmp_path / "t.csv").write_text("old")
    check_output(tmp_path / "t.csv")
    write_table(TABLE, tmp_path / "t.csv")
    assert read_table(str(tmp_path / "t.csv")).shape == (2, 3)


def test_failed_writing_is_refused_and_leaves_the_old_file(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    (tmp_path / "t.csv").write_text("old")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="No space left"):
        write_table(TABLE, tmp_path / "t.csv")
    assert os.listdir(tmp_path) == ["t.csv"]
    assert (tmp_path / "t.csv").read_text() == "old"


def test_csv_of_a_type_without_text_form_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"t\.csv"):
        write_table(pa.table({"l": [[1]]}), tmp_path / "t.csv")


@pytest.mark.parametrize("shape", [(0, 10**12), (10**12, 0)])
def test_an_empty_npy_that_claims_a_huge_side_is_refused_at_once(tmp_path, shape):
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(InputError, match="the table has no rows"):
        read_table(str(tmp_path / "a.npy"))
