import datetime
import io
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from jaxrep.data.read import read_blocks, read_table
from jaxrep.errors import InputError

pytestmark = pytest.mark.quick


def write_parquet(table, path):
    pq.write_table(table, path)


def write_feather(table, path):
    feather.write_feather(table, path)


def write_arrow(table, path):
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)


def write_stream(table, path):
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table)


WRITERS = {
    "t.parquet": write_parquet,
    "t.feather": write_feather,
    "t.arrow": write_arrow,
    "t.ipc": write_stream,
}


@pytest.fixture(params=WRITERS)
def stored(tmp_path, request):
    """Writes a table in one format after another, and returns the source."""

    def write(table):
        WRITERS[request.param](table, tmp_path / request.param)
        return str(tmp_path / request.param)

    return write


def refused(source, *facts):
    with pytest.raises(InputError) as caught:
        read_table(source)
    for fact in (source, *facts):
        assert fact in str(caught.value), str(caught.value)


# Parquet, Feather and Arrow


def test_columns_keep_their_types(stored):
    columns = {
        "i": pa.array([1, None], pa.int8()),
        "f": pa.array([0.1, None], pa.float32()),
        "b": pa.array([True, None]),
        "t": pa.array(["a", ""]),
        "d": pa.array([datetime.date(2020, 1, 1), None]),
        "u": pa.array([1, None], pa.duration("us")),
        "z": pa.array([1, None], pa.timestamp("ms", "UTC")),
    }
    table = pa.table(columns)
    assert read_table(stored(table)).equals(table)


def test_text_and_dictionaries_become_plain(stored):
    table = pa.table(
        {
            "large": pa.array(["a", None], pa.large_string()),
            "level": pa.array(["x", None]).dictionary_encode(),
            "count": pa.array([3, 3], pa.int16()).dictionary_encode(),
        }
    )
    found = read_table(stored(table))
    assert found.schema.types == [pa.string(), pa.string(), pa.int16()]
    assert found.to_pydict() == table.to_pydict()


def test_string_views_become_strings(tmp_path):
    write_arrow(pa.table({"a": pa.array(["x"], pa.string_view())}), tmp_path / "t.arrow")
    assert read_table(str(tmp_path / "t.arrow")).schema.types == [pa.string()]


def test_blocks_and_columns_are_as_asked_for(stored):
    source = stored(pa.table({"a": range(7), "b": range(7), "c": ["x"] * 7}))
    blocks = list(read_blocks(source, rows=3, columns={"c", "a", "gone"}))
    assert [block["a"].to_pylist() for block in blocks] == [[0, 1, 2], [3, 4, 5], [6]]
    assert blocks[0].column_names == ["a", "c"]


def test_columns_none_of_which_is_there_are_refused(stored):
    source = stored(pa.table({"a": [1]}))
    with pytest.raises(InputError, match="no column 'b'; the columns are 'a'"):
        list(read_blocks(source, columns=["b"]))


def test_name_with_a_dot_selects_its_column_alone(stored):
    source = stored(pa.table({"a": [{"b": 1}], "a.b": [2]}))
    assert next(read_blocks(source, columns=["a"])).to_pydict() == {"a": [{"b": 1}]}
    assert next(read_blocks(source, columns=["a.b"])).to_pydict() == {"a.b": [2]}


@pytest.mark.parametrize("index", [None, "who"])
@pytest.mark.parametrize("save", ["to_parquet", "to_feather"])
def test_pandas_index_is_dropped_and_noted(tmp_path, index, save):
    frame = pd.DataFrame({"a": [1, 2]}, index=pd.Index([5, 7], name=index))
    source, notes = str(tmp_path / "t.feather"), []
    if save == "to_parquet":
        source = str(tmp_path / "t.parquet")
        frame.to_parquet(source)
    else:
        write_feather(pa.Table.from_pandas(frame), source)
    assert pa.concat_tables(read_blocks(source, note=notes.append)).to_pydict() == {"a": [1, 2]}
    assert notes == [
        f"the pandas index '{index or '__index_level_0__'}' is not a column; reset_index() before "
        "saving makes it one"
    ]


def test_pandas_range_index_is_no_column_and_not_noted(tmp_path):
    pd.DataFrame({"a": [1, 2]}).to_parquet(tmp_path / "t.parquet")
    notes = []
    list(read_blocks(str(tmp_path / "t.parquet"), note=notes.append))
    assert notes == []


def test_names_twice_none_and_no_rows_are_refused(stored):
    refused(stored(pa.table([[1], [2]], names=["a", "a"])), "'a'", "more than one")
    refused(stored(pa.table([[1], [2]], names=["a", " "])), "column number 2")
    refused(stored(pa.table({"a": pa.array([], pa.int8())})), "no rows")
    refused(stored(pa.table({})), "no columns")


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_file_that_is_cut_off_is_refused(stored, kept):
    source = stored(pa.table({"a": np.random.default_rng(0).normal(size=1000)}))
    with open(source, "rb+") as file:
        file.truncate(int(kept * file.seek(0, 2)))
    refused(source, "broken")


def test_parquet_with_fewer_rows_than_its_footer_says_is_refused(tmp_path):
    source = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": range(10)}), source, compression="none", use_dictionary=False)
    data = source.read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    # 64-bit fields of Thrift's compact protocol: 10 rows are written as 20, and 11 as 22.
    changed = data[footer:].replace(b"\x16\x14", b"\x16\x16")
    assert changed != data[footer:]
    source.write_bytes(data[:footer] + changed)
    refused(str(source), "1 rows too early")


def test_arrow_file_with_offsets_beyond_its_bytes_is_refused(tmp_path):
    source = tmp_path / "t.arrow"
    write_arrow(pa.table({"a": [b"abc", b"defg", b"h"]}), source)
    offsets = np.array([0, 3, 7, 8], np.int32).tobytes()
    assert source.read_bytes().count(offsets) == 1
    wrong = np.array([0, 3, 7 << 20, 8], np.int32).tobytes()
    source.write_bytes(source.read_bytes().replace(offsets, wrong))
    refused(str(source), "broken")


def test_stream_without_an_end_mark_is_noted(tmp_path):
    source, notes = tmp_path / "t.arrow", []
    write_stream(pa.table({"a": [1]}), source)
    source.write_bytes(source.read_bytes()[:-8])
    blocks = list(read_blocks(str(source), note=notes.append))
    assert blocks[0].num_rows == 1
    assert notes == ["the Arrow stream has no end mark; it may be cut off"]


@pytest.mark.parametrize("name", ["t.parquet", "t.feather"])
def test_text_that_is_not_utf8_is_refused(tmp_path, name):
    buffers = [None, pa.py_buffer(np.array([0, 1], np.int32)), pa.py_buffer(b"\xff")]
    table = pa.table({"a": pa.Array.from_buffers(pa.string(), 1, buffers)})
    WRITERS[name](table, tmp_path / name)
    refused(str(tmp_path / name), "UTF")


def test_large_record_batch_comes_in_pieces(tmp_path):
    write_arrow(pa.table({"a": np.arange(300_000)}), tmp_path / "t.arrow")
    blocks = list(read_blocks(str(tmp_path / "t.arrow")))
    assert [block.num_rows for block in blocks] == [131_072, 131_072, 37_856]
    np.testing.assert_array_equal(pa.concat_tables(blocks)["a"], np.arange(300_000))


def test_uncompressed_record_batch_is_not_copied_whole(tmp_path):
    write_arrow(pa.table({"a": np.arange(1_000_000)}), tmp_path / "t.arrow")
    before = pa.total_allocated_bytes()
    blocks = read_blocks(str(tmp_path / "t.arrow"), rows=10)
    assert next(blocks).num_rows == 10
    assert pa.total_allocated_bytes() - before < 4_000_000


# Arrays


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i8", "u1", "?", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_array_keeps_its_dtype(tmp_path, dtype, order, suffix):
    array = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0], [0, 0, 1]], dtype, order=order)
    source = str(tmp_path / f"x{suffix}")
    np.save(source, array) if suffix == ".npy" else np.savez_compressed(source, X=array)
    table = read_table(source)
    kind = pa.from_numpy_dtype(np.dtype(dtype).newbyteorder("="))
    assert table.schema == pa.schema({name: kind for name in ("x0", "x1", "x2")})
    np.testing.assert_array_equal(np.column_stack(table.columns), array)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("width", [1, 3])
def test_long_array_is_read_piecewise(tmp_path, order, width):
    array = np.asarray(np.arange(300_000.0 * width).reshape(-1, width), order=order)
    np.savez(tmp_path / "x.npz", X=array, y=np.arange(300_000))
    table = read_table(str(tmp_path / "x.npz"))
    np.testing.assert_array_equal(np.column_stack(table.columns[:-1]), array)
    np.testing.assert_array_equal(table["y"], np.arange(300_000))


def test_longdouble_becomes_float64(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((2, 2), np.longdouble))
    assert read_table(str(tmp_path / "x.npy")).schema.types == [pa.float64()] * 2


@pytest.mark.parametrize(
    ("array", "facts"),
    [
        (np.zeros(3), ["1-D", "(3,)", "reshape"]),
        (np.zeros((2, 2, 2)), ["3-D"]),
        (np.zeros((2, 2), complex), ["complex128", "numeric"]),
        (np.array([["a"]]), ["numeric"]),
        (np.array([(1, 2.0)], dtype="i4,f8"), ["numeric"]),
        (np.zeros((0, 2)), ["no rows"]),
    ],
)
def test_array_of_another_kind_is_refused(tmp_path, array, facts):
    np.save(tmp_path / "x.npy", array)
    refused(str(tmp_path / "x.npy"), *facts)


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
    refused(source, "object")
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
    ],
)
def test_array_with_a_false_header_is_refused_before_reading(tmp_path, suffix, old, new):
    data = npy_bytes(np.zeros((3, 2)))
    assert old in data
    path = tmp_path / f"x{suffix}"
    if suffix == ".npy":
        path.write_bytes(data.replace(old, new))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("X.npy", data.replace(old, new))
    refused(str(path), "not a sound")


def test_npz_label_with_fewer_values_than_its_header_says_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("X.npy", npy_bytes(np.zeros((3, 2))))
        archive.writestr("y.npy", npy_bytes(np.zeros(3))[:-8])
    refused(str(tmp_path / "x.npz"), "promises 24 bytes, there are 16")


def test_npz_reads_x_or_the_only_matrix_of_numbers(tmp_path):
    source = str(tmp_path / "x.npz")
    np.savez(source, features=np.ones((2, 2)), names=np.array([["a"]]))
    assert read_table(source).shape == (2, 2)
    np.savez_compressed(source, Y=np.zeros((2, 4)), X=np.ones((2, 3)))
    assert read_table(source).shape == (2, 3)


def test_npz_gives_columns_of_numbers_and_texts_beside_the_matrix(tmp_path):
    source = str(tmp_path / "x.npz")
    labels = {
        "y": np.array([1, 2], np.int16),
        "name": np.array(["ä", "b"]),
        "s": np.array([b"q", b""]),
    }
    np.savez(source, **labels, X=np.ones((2, 1)))
    table = read_table(source)
    assert table.schema.types == [pa.float64(), pa.int16(), pa.string(), pa.string()]
    expected = {"x0": [1, 1], "y": [1, 2], "name": ["ä", "b"], "s": ["q", ""]}
    assert table.to_pydict() == expected
    assert next(read_blocks(source, columns=["name"])).to_pydict() == {"name": ["ä", "b"]}


def test_npz_notes_the_arrays_that_are_not_read(tmp_path):
    source, notes = str(tmp_path / "x.npz"), []
    others = {"genes": np.zeros(5), "odd": np.array([None, 1]), "raw": np.zeros((2, 2))}
    np.savez(source, X=np.ones((2, 2)), **others)
    blocks = list(read_blocks(source, note=notes.append))
    assert blocks[0].num_columns == 2
    assert notes == ["the arrays 'genes', 'odd', 'raw' are not read"]


def test_npz_of_several_matrices_without_x_is_refused_with_their_names(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.ones((2, 2)), b=np.ones((2, 2)), c=np.ones(2))
    refused(str(tmp_path / "x.npz"), "'a', 'b';", "X")


def test_npz_label_that_is_not_utf8_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", X=np.ones((1, 2)), y=np.array([b"\xff"]))
    refused(str(tmp_path / "x.npz"), "'y'", "not Unicode")


def test_npz_label_called_as_a_column_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", X=np.ones((1, 2)), x1=np.ones(1))
    refused(str(tmp_path / "x.npz"), "'x1'", "more than one")


def test_npz_that_is_empty_broken_or_too_large_is_refused(tmp_path, monkeypatch):
    source = str(tmp_path / "x.npz")
    np.savez(source)
    refused(source, "no array")
    np.savez(source, X=np.zeros((2, 2)), y=np.zeros(10_000))
    data = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(data[:-30])
    refused(source, "broken")
    (tmp_path / "x.npz").write_bytes(data)
    monkeypatch.setattr("jaxrep.data.read._numpy._MOST_BYTES", 70_000)
    refused(source, "GiB", ".npy")
