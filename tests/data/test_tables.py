import datetime
import decimal
import gzip
import io
import os
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from jaxrep.data import NAMES, check_output, read_table, write_blocks, write_table
from jaxrep.errors import InputError

pytestmark = pytest.mark.quick


@pytest.fixture
def csv(tmp_path):
    """Writes a CSV and returns its path as the string that `read_table` takes."""

    def write(text):
        path = tmp_path / "people.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def save_npy(tmp_path, array):
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    return str(tmp_path / "x.npy")


def save_parquet(tmp_path, columns, names=None):
    table = pa.table(columns, names=names) if names else pa.table(columns)
    pq.write_table(table, tmp_path / "t.parquet")
    return str(tmp_path / "t.parquet")


def refused(*facts, source, **options):
    """Checks that reading fails with one message that holds every fact, and the file's name."""
    with pytest.raises(InputError) as caught:
        read_table(source, **options)
    message = str(caught.value)
    assert source in message
    for fact in facts:
        assert fact in message, message
    assert "\n" not in message.replace(source, "")
    return message


# CSV: what is read


def test_csv_columns_are_float64_and_text_columns_are_strings(csv):
    text = "age,job,weight\n39,clerk,1.5e1\n-2,x,+.5\n"
    table = read_table(csv(text), text_columns=["job"])
    assert table.schema.types == [pa.float64(), pa.string(), pa.float64()]
    assert table.to_pydict() == {"age": [39.0, -2.0], "job": ["clerk", "x"], "weight": [15.0, 0.5]}


def test_csv_text_stays_exactly_as_it_is_written(csv):
    table = read_table(csv('a,b\n 007 ,"x, ""y""\nz"\n2.50,NA\n'), text_columns=["a", "b"])
    assert table.to_pydict() == {"a": [" 007 ", "2.50"], "b": ['x, "y"\nz', "NA"]}


@pytest.mark.parametrize("cell", ["", '""', "NA", "N/A", "NaN", "nan", "null", "NULL", " NA "])
def test_csv_number_is_missing(csv, cell):
    table = read_table(csv(f"a,b\n{cell},1\n2,3\n"))
    assert table["a"].to_pylist() == [None, 2.0]


@pytest.mark.parametrize("cell", ["", '""', "?"])
def test_csv_text_is_missing_where_empty_or_named(csv, cell):
    table = read_table(csv(f"a,b\n{cell},1\nNA,3\n"), text_columns=["a"], na_values=["?"])
    assert table["a"].to_pylist() == [None, "NA"]


def test_csv_na_values_are_missing_by_their_text_and_by_their_number(csv):
    table = read_table(csv("a\n?\n-999\n-999.0\n1\n"), na_values=["?", "-999"])
    assert table["a"].to_pylist() == [None, None, None, 1.0]


def test_csv_empty_line_is_an_empty_cell_in_one_column_and_nothing_in_several(csv):
    assert read_table(csv("a\n1\n\n2\n"))["a"].to_pylist() == [1.0, None, 2.0]
    assert read_table(csv("a,b\n1,2\n\n3,4\n\n"))["a"].to_pylist() == [1.0, 3.0]


@pytest.mark.parametrize(
    "text", ["a,b\r\n1,2\r\n", "\ufeffa,b\n1,2\n", "a,b\n1,2", '"a",b\n"1",2\n']
)
def test_csv_dialect_is_understood(csv, text):
    assert read_table(csv(text)).to_pydict() == {"a": [1.0], "b": [2.0]}


def test_csv_gz_is_decompressed(tmp_path):
    path = tmp_path / "t.CSV.gz"
    path.write_bytes(gzip.compress(b"a\n1.5\n"))
    assert read_table(str(path))["a"].to_pylist() == [1.5]


def test_csv_row_may_be_longer_than_a_megabyte(csv):
    names = [f"gene{i}" for i in range(70_000)]
    row = ",".join(["0.123456789012345678"] * len(names))
    table = read_table(csv(f"{','.join(names)}\n{row}\n{row}\n"))
    assert table.shape == (2, 70_000)


def test_numeric_columns_read_all_others_as_text_and_none_has_to_be_there(csv):
    table = read_table(csv("a,b\n1,x\n"), numeric_columns=["a", "gone"])
    assert table.to_pydict() == {"a": [1.0], "b": ["x"]}


@pytest.mark.parametrize("lines", [2, 7, 40])
def test_csv_text_may_hold_line_breaks_anywhere(csv, lines):
    cell = "\n" * lines
    table = read_table(csv("t,v\n" + f'"{cell}",1\n' * 100_000), text_columns=["t"])
    assert table["t"].to_pylist() == [cell] * 100_000


# CSV: what is refused


@pytest.mark.parametrize("value", ["?", "1,234", "clerk", "0x10", "true", "1_000", "=1+1"])
def test_csv_text_in_a_number_is_refused_with_column_row_value_and_advice(csv, value):
    source = csv(f'age,pay\n1,2\n\n"3",4\n5,"{value}"\n6,also bad\n')
    refused("'pay'", "data row 3", repr(value), "--categorical", "--label", "--id-column",
            "--na-values", source=source)  # fmt: skip


def test_csv_bad_cell_is_the_first_by_row(csv):
    refused("'b'", "data row 1:", "'x'", source=csv("a,b,c\n1,x,2\ny,z,3\n"))


def test_csv_bad_cell_is_found_behind_the_first_block_and_quoted_line_breaks(csv):
    rows = '"a\nb",1.25\n' * 200_000
    message = refused("'v'", "'bad'", source=csv(f"t,v\n{rows}c,bad\n"), text_columns=["t"])
    assert "data row 200001:" in message


def test_csv_blanks_around_numbers_and_missing_cells_are_no_bad_cells(csv):
    source = csv("a,b\n 1 ,\n\t2, NA\n3,?\n4,x\n")
    refused("'b'", "data row 4:", "'x'", source=source, na_values=["?"])


def test_csv_long_value_is_shortened(csv):
    assert len(refused("'xxx", source=csv("a\n" + "x" * 10_000 + "\n"))) < 500


@pytest.mark.parametrize("value", ["inf", "-Inf", "infinity", "1e999", "-1e400"])
def test_csv_infinite_number_is_refused_with_column_and_row(csv, value):
    refused("'b'", "data row 2:", "infinite", source=csv(f"a,b\n1,2\n3,{value}\n"))


@pytest.mark.parametrize(("row", "cells"), [("3", 1), ("3,4,5", 3)])
def test_csv_ragged_row_is_refused_with_its_number(csv, row, cells):
    text = "a,b\n" + '"1\n",2\n' + "1,2\n" * 300_000 + row + "\n1,2\n"
    refused("data row 300002:", f"cells: {cells}", "header: 2", source=csv(text),
            text_columns=["a"])  # fmt: skip


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("", "empty"),
        ("\n\n", "first line is empty"),
        ("\na,b\n1,2\n", "first line is empty"),
        ("a,b", "no rows"),
        ("a,b\n\n", "no rows"),
        ("a,b,a\n1,2,3\n", "named 'a'"),
        ("a,, ,c\n1,2,3,4\n", "column number 2, 3"),
        ("1,2.5,-3e2\n3,4,5\n", "no header line"),
        ("a;b\n1;2\n", "no comma"),
        ('a,b\n"1,2\n' + "3,4\n" * 3, "data row 1"),
    ],
)
def test_csv_that_is_no_table_is_refused(csv, text, fact):
    refused(fact, source=csv(text))


def test_csv_header_of_names_that_only_begin_like_numbers_is_read(csv):
    assert read_table(csv("2019_01,2020_02\n1,2\n")).column_names == ["2019_01", "2020_02"]


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ("a,é\n1,2\n".encode("latin-1"), "line 1 "),
        (b"a,b\n" + b"1,2\n" * 50_000 + "x,é\n".encode("latin-1"), "line 50002 "),
        ("a,b\n1,2\n".encode("utf-16"), "line 1 "),
    ],
)
def test_csv_that_is_not_utf8_is_refused_with_its_line(csv, data, line):
    refused("UTF-8", line, source=csv(data), text_columns=() if "1 " in line else ["a"])


def test_csv_gz_that_is_broken_is_refused(tmp_path):
    whole = gzip.compress(os.urandom(5_000).hex().encode())
    for data in (whole[:300], b"a,b\n1,2\n"):
        (tmp_path / "t.csv.gz").write_bytes(data)
        refused("broken", source=str(tmp_path / "t.csv.gz"))


def test_text_column_that_is_no_column_is_refused_with_those_there_are(csv):
    refused("'jobs'", "'age', 'job'", source=csv("age,job\n1,x\n"), text_columns=["jobs"])


# Parquet


def test_parquet_numbers_and_dates_become_float64(tmp_path):
    day = datetime.date(1970, 1, 2)
    noon = datetime.datetime(1970, 1, 1, 12, 0, 0, 500_000)
    columns = {
        "int": pa.array([2, None], pa.int8()),
        "uint": pa.array([2**64 - 1, 0], pa.uint64()),
        "half": pa.array([0.5, 1], pa.float16()),
        "bool": [True, None],
        "decimal": [decimal.Decimal("1.25"), None],
        "date": [day, None],
        "ms": pa.array([noon, None], pa.timestamp("ms")),
        "us": pa.array([noon, None], pa.timestamp("us")),
        "ns": pa.array([noon, None], pa.timestamp("ns", "UTC")),
        "null": pa.nulls(2),
    }
    table = read_table(save_parquet(tmp_path, columns))
    assert set(table.schema.types) == {pa.float64()}
    first = [column[0].as_py() for column in table.columns]
    assert first == [2, 2.0**64, 0.5, 1, 1.25, 86_400, *[43_200.5] * 3, None]


def test_parquet_text_columns_become_strings(tmp_path):
    columns = {
        "dictionary": pa.array(["a", ""]).dictionary_encode(),
        "large": pa.array(["?", "b"], pa.large_string()),
        "id": [2**62 + 1, 7],
    }
    source = save_parquet(tmp_path, columns)
    table = read_table(source, text_columns=list(columns), na_values=["?"])
    assert set(table.schema.types) == {pa.string()}
    assert table.to_pydict() == {
        "dictionary": ["a", None],
        "large": [None, "b"],
        "id": [str(2**62 + 1), "7"],
    }


def test_parquet_text_in_a_number_is_refused_with_column_row_and_value(tmp_path):
    source = save_parquet(tmp_path, {"a": [1, 2], "job": [None, "clerk"]})
    refused("'job'", "data row 2:", "'clerk'", "--categorical", source=source)


def test_parquet_text_without_values_in_a_number_is_refused(tmp_path):
    source = save_parquet(tmp_path, {"job": pa.nulls(2, pa.string())})
    refused("'job'", "--label", source=source)


@pytest.mark.parametrize("cell", [[1], {"a": 1}, b"1", datetime.time(1), datetime.timedelta(1)])
def test_parquet_column_of_another_type_is_refused(tmp_path, cell):
    source = save_parquet(tmp_path, {"odd": [cell]})
    refused("'odd'", "type", source=source)


@pytest.mark.parametrize("cell", [[1], b"1"])
def test_parquet_text_column_of_another_type_is_refused(tmp_path, cell):
    refused("'odd'", source=save_parquet(tmp_path, {"odd": [cell]}), text_columns=["odd"])


def test_parquet_duplicate_names_infinite_numbers_and_no_rows_are_refused(tmp_path):
    refused("'a'", source=save_parquet(tmp_path, [pa.array([1]), pa.array([2])], ["a", "a"]))
    refused("'a'", "data row 2:", source=save_parquet(tmp_path, {"a": [1.0, -np.inf]}))
    refused("no rows", source=save_parquet(tmp_path, {"a": pa.array([], pa.float64())}))


def test_parquet_that_is_broken_is_refused(tmp_path):
    source = save_parquet(tmp_path, {"a": list(range(1000))})
    with open(source, "rb+") as file:
        file.truncate(2_000)
    refused("broken", source=source)


# Arrays


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i8", "?", "<f2", np.longdouble])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_columns_are_named_and_float64(tmp_path, dtype, order):
    array = np.array([[0, 1, 1], [1, 0, 1]], dtype, order=order)
    table = read_table(save_npy(tmp_path, array))
    assert table.schema == pa.schema({name: pa.float64() for name in ("x0", "x1", "x2")})
    np.testing.assert_array_equal(np.column_stack(table.columns), array)


def test_npy_text_columns_become_strings_and_na_values_missing(tmp_path):
    table = read_table(save_npy(tmp_path, np.array([[1, -9], [2, 4]])), text_columns=["x0"],
                       na_values=["-9", "2"])  # fmt: skip
    assert table.to_pydict() == {"x0": ["1", None], "x1": [None, 4.0]}


@pytest.mark.parametrize(
    ("array", "facts"),
    [
        (np.zeros(3), ["1-D", "(3,)", "reshape"]),
        (np.zeros((2, 2, 2)), ["3-D"]),
        (np.zeros((2, 2), complex), ["complex128", "numeric"]),
        (np.array([["a"]]), ["numeric"]),
        (np.zeros((0, 2)), ["no rows"]),
        (np.array([[1.0, 2.0], [3.0, np.inf]]), ["'x1'", "data row 2:"]),
    ],
)
def test_npy_of_another_kind_is_refused(tmp_path, array, facts):
    refused(*facts, source=save_npy(tmp_path, array))


class Trap:
    """Makes the file that proves that it was unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_arrays_are_never_unpickled(tmp_path, suffix):
    source = str(tmp_path / f"x{suffix}")
    array = np.array([[Trap(tmp_path / "trapped")]])
    np.save(source, array) if suffix == ".npy" else np.savez(source, X=array)
    refused("object", source=source)
    assert not (tmp_path / "trapped").exists()


def npy_bytes(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"(3, 2), }       ", b"(9000000000, 2)}"),  # more than there is
        (b"(3, 2)", b"(2, 2)"),  # less than there is
        (b"(3, 2), }  ", b"(-3, -2), }"),
        (b"(3, 2)", b"(3, (("),  # numpy raises tokenize.TokenError
        (b"(3, 2)", b"(3, 'a"),
        (b"NUMPY\x01", b"NUMPY\x07"),
        (b"\x93NUMPY", b"\x93NUMPI"),
    ],
)
def test_array_with_a_false_header_is_refused_before_reading(tmp_path, suffix, old, new):
    data = npy_bytes(np.zeros((3, 2)))
    assert old in data
    data = data.replace(old, new)
    path = tmp_path / f"x{suffix}"
    if suffix == ".npy":
        path.write_bytes(data)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("X.npy", data)
    refused("not a sound", source=str(path))


def test_npz_reads_its_only_array_or_x(tmp_path):
    source = str(tmp_path / "x.npz")
    np.savez(source, features=np.ones((2, 2)))
    assert read_table(source).shape == (2, 2)
    np.savez_compressed(source, y=np.zeros(2), X=np.ones((2, 3)))
    assert read_table(source).shape == (2, 3)


def test_npz_of_several_arrays_without_x_is_refused_with_their_names(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.ones((2, 2)), b=np.ones((2, 2)))
    refused("'a', 'b'", "X", source=str(tmp_path / "x.npz"))


def test_npz_that_is_empty_broken_or_too_large_is_refused(tmp_path, monkeypatch):
    source = str(tmp_path / "x.npz")
    np.savez(source)
    refused("no array", source=source)
    (tmp_path / "x.npz").write_bytes(b"hello")
    refused("broken", source=source)
    np.savez_compressed(source, X=np.zeros((2, 2)), y=np.zeros(10_000))
    monkeypatch.setattr("jaxrep.data._numpy._MOST_BYTES", 70_000)
    refused("GiB", ".npy", source=source)


# Sources


@pytest.mark.parametrize(
    ("source", "facts"),
    [
        ("blob", ["did you mean blobs?"]),
        ("IRIS", ["did you mean iris?"]),
        ("data.cvs", ["did you mean .csv?"]),
        ("data.xlsx", [".csv", ".csv.gz", ".parquet", ".npy", ".npz", *NAMES]),
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
    os.mkfifo(tmp_path / "pipe.csv")
    refused("regular file", source=str(tmp_path / "pipe.csv"))
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


# Columns that are passed through


def test_kept_columns_have_the_type_of_the_file_and_all_their_values(tmp_path):
    columns = {
        "big": pa.array([2**53 + 1, -999], pa.int64()),
        "float": pa.array([np.inf, -999.0]),
        "time": pa.array([1, 2], pa.timestamp("ns", "UTC")),
        "text": pa.array(["", "?"], pa.large_string()),
        "coded": pa.array(["a", "?"]).dictionary_encode(),
        "none": pa.nulls(2),
    }
    source = save_parquet(tmp_path, columns)
    table = read_table(source, kept_columns=list(columns), na_values=["?", "-999"])
    text = {name: columns[name].cast(pa.string()) for name in ("text", "coded", "none")}
    assert table.equals(pa.table(columns | text))


def test_kept_columns_of_a_csv_are_the_text_of_the_file(csv):
    source = csv('i,a\n007,1\n1.0,2\n"",3\n?,4\nNA,5\n" x",6\n')
    table = read_table(source, kept_columns=["i"], na_values=["?"])
    assert table["i"].to_pylist() == ["007", "1.0", None, "?", "NA", " x"]


def test_kept_columns_that_hold_no_cells_are_refused(tmp_path):
    source = save_parquet(tmp_path, {"i": [[1]], "a": [1.0]})
    refused("'i'", "list", source=source, kept_columns=["i"])


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
    np.testing.assert_array_equal(
        read_table(str(tmp_path / "t.csv"))["x"].to_numpy().astype(dtype), x
    )


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
    assert read_table(str(path), text_columns=table.column_names).equals(table)


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
    assert read_table(str(tmp_path / "t.csv"), text_columns=["t"])["t"].to_pylist() == [cell]


def test_csv_bools_are_true_and_false(tmp_path):
    write_table(pa.table({"anomaly": [True, False]}), tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text().split() == ['"anomaly"', "true", "false"]


@pytest.mark.parametrize("values", [pa.array(["a", None, "b"]), pa.array([1.5, None, 2.5])])
def test_csv_of_one_column_keeps_the_row_of_a_missing_value(tmp_path, values):
    write_table(pa.table({"c": values}), tmp_path / "t.csv")
    assert "\n\n" not in (tmp_path / "t.csv").read_text()
    text = ["c"] if values.type == pa.string() else []
    assert (
        read_table(str(tmp_path / "t.csv"), text_columns=text)["c"].to_pylist()
        == values.to_pylist()
    )


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
