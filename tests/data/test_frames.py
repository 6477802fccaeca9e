"""What a caller gives as a table, against the values that went in."""

import datetime as dt
import enum
import subprocess
import sys
import tracemalloc
import uuid
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse

from jaxrep.data.frames import as_table, blocks_of, kind_of, to_kind
from jaxrep.errors import InputError

DAY, MOMENT, UTC = dt.date(2024, 5, 1), dt.datetime(2024, 5, 1, 12, 30), dt.UTC


def column(cells, **options):
    """The type and the cells of a one-column pandas frame as a table."""
    found = as_table(pd.DataFrame({"a": pd.Series(cells, **options)}))["a"]
    return str(found.type), found.to_pylist()


def refused(X, *facts):
    with pytest.raises(InputError) as caught:
        as_table(X)
    for fact in ("X: ", *facts):
        assert fact in str(caught.value)


# pandas


@pytest.mark.parametrize(
    ("cells", "dtype", "kind", "expected"),
    [
        ([True, False], bool, "bool", [True, False]),
        ([1, 2], "uint8", "uint8", [1, 2]),
        ([2**63 - 1], "int64", "int64", [2**63 - 1]),
        ([0.1], "float32", "float", [float(np.float32(0.1))]),
        ([0.5], "float16", "halffloat", [0.5]),
        ([2**53 + 1, None], "Int64", "int64", [2**53 + 1, None]),
        ([True, None], "boolean", "bool", [True, None]),
        ([0.5, None], "Float32", "float", [0.5, None]),
        (["a", None], "string", "string", ["a", None]),
        (["a", None], "str", "string", ["a", None]),
        (["a", None], "string[python]", "string", ["a", None]),
        (["a", None], pd.ArrowDtype(pa.large_string()), "string", ["a", None]),
        ([1, None], pd.ArrowDtype(pa.int8()), "int8", [1, None]),
        ([3, 1, None, 3], "category", "int64", [3, 1, None, 3]),
        (["b", None, "a"], "category", "string", ["b", None, "a"]),
        ([0, 1, 0], pd.SparseDtype("int64", 0), "int64", [0, 1, 0]),
        (pd.period_range("2024-01", periods=2, freq="M"), None, "string", ["2024-01", "2024-02"]),
        (pd.interval_range(0, 2), None, "string", ["(0, 1]", "(1, 2]"]),
    ],
)
def test_pandas_columns_keep_type_and_cells(cells, dtype, kind, expected):
    assert column(cells, dtype=dtype) == (kind, expected)


def test_pandas_categories_of_intervals_are_their_text():
    assert column(pd.cut([0.5, 1.5, 9.0], [0, 1, 2])) == ("string", ["(0, 1]", "(1, 2]", None])


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin", "+02:00"])
def test_pandas_timestamps_keep_unit_and_zone(unit, zone):
    index = pd.DatetimeIndex([MOMENT, pd.NaT]).as_unit(unit).tz_localize(zone)
    found = as_table(pd.DataFrame({"a": index}))["a"]
    assert found.type == pa.timestamp(unit, zone)
    assert found.cast(pa.int64()).to_pylist()[0] == index.astype(f"M8[{unit}]" if not zone else
        f"datetime64[{unit}, UTC]").asi8[0]  # fmt: skip
    assert found[1].as_py() is None


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_pandas_timedeltas_keep_their_unit(unit):
    cells = pd.TimedeltaIndex([dt.timedelta(-1, 5), pd.NaT]).as_unit(unit)
    assert column(cells) == (f"duration[{unit}]", [dt.timedelta(-1, 5), None])


def test_nan_among_floats_is_missing_and_the_index_is_no_column():
    table = as_table(pd.DataFrame({"a": [1.5, np.nan]}, index=pd.Index(["r", "s"], name="id")))
    assert table.column_names == ["a"]
    assert table["a"].fill_null(float("nan")).to_pylist()[0] == 1.5
    assert np.isnan(table["a"].to_numpy()[1])


def test_a_float_column_of_pandas_is_not_copied():
    values = np.arange(1000.0)
    table = as_table(pd.DataFrame({"a": values}, copy=False))
    assert table["a"].chunk(0).buffers()[1].address == values.ctypes.data


# Objects


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("cells", "kind", "expected"),
    [
        (["a", None, float("nan"), pd.NA, pd.NaT], "string", ["a", None, None, None, None]),
        ([None, float("nan")], "null", [None, None]),
        ([True, None], "bool", [True, None]),
        ([1, None], "int64", [1, None]),
        ([1, 2.5], "double", [1.0, 2.5]),
        ([2**53 + 1, 0.5], "string", ["9007199254740993", "0.5"]),
        ([2**70, 1], "string", [str(2**70), "1"]),
        ([1, True], "string", ["1", "True"]),
        (["a", 1, 2.0, True, None, DAY], "string", ["a", "1", "2.0", "True", None, "2024-05-01"]),
        ([np.float32(0.1), "a"], "string", ["0.1", "a"]),
        ([np.float64(0.1), np.int8(3), "a"], "string", ["0.1", "3", "a"]),
        (
            [Decimal("1.50"), None, Decimal("NaN")],
            "decimal128(3, 2)",
            [Decimal("1.50"), None, None],
        ),
        ([Decimal("1.50"), "a"], "string", ["1.50", "a"]),
        ([Decimal("Infinity")], "string", ["Infinity"]),
        ([DAY, None], "date32[day]", [DAY, None]),
        ([DAY, MOMENT], "string", ["2024-05-01", "2024-05-01T12:30:00"]),
        ([MOMENT, None], "timestamp[us]", [MOMENT, None]),
        (
            [MOMENT, MOMENT.replace(tzinfo=UTC)],
            "string",
            ["2024-05-01T12:30:00", "2024-05-01T12:30:00+00:00"],
        ),
        ([dt.time(1, 2), None], "time64[us]", [dt.time(1, 2), None]),
        ([dt.timedelta(-1, 5), None], "duration[us]", [dt.timedelta(-1, 5), None]),
        ([dt.timedelta(-1, 5), 1], "string", ["-1 days +00:00:05", "1"]),
        ([np.datetime64("2024-05"), None], "date32[day]", [dt.date(2024, 5, 1), None]),
        ([b"a", None], "binary", [b"a", None]),
        ([b"\xc3\xa4", "b"], "string", ["ä", "b"]),
        ([Colour.RED, 1], "string", ["red", "1"]),
        ([uuid.UUID(int=5)], "string", [str(uuid.UUID(int=5))]),
    ],
)
def test_objects_of_one_kind_keep_it_and_mixed_ones_become_text(cells, kind, expected):
    for given in (
        pd.DataFrame({"a": pd.Series(cells, dtype=object)}),
        {"a": cells},
        {"a": np.array([*cells, None], object)[:-1]},
    ):
        found = as_table(given)["a"]
        assert (str(found.type), found.to_pylist()) == (kind, expected)


def test_nanoseconds_of_objects_are_kept():
    moment = pd.Timestamp("2024-05-01 00:00:00.123456789", tz="Europe/Berlin")
    found = as_table({"t": [moment, None], "d": [pd.Timedelta(5), None]})
    assert found["t"].type == pa.timestamp("ns", "Europe/Berlin")
    assert found["t"].cast(pa.int64()).to_pylist() == [moment.value, None]
    assert found["d"].cast(pa.int64()).to_pylist() == [5, None]


def test_objects_of_several_zones_keep_their_points_in_time():
    east = dt.timezone(dt.timedelta(hours=5))
    found = as_table({"t": [MOMENT.replace(tzinfo=east), MOMENT.replace(tzinfo=UTC)]})["t"]
    assert found.type == pa.timestamp("us", "UTC")
    assert found.to_pylist() == [MOMENT.replace(tzinfo=east), MOMENT.replace(tzinfo=UTC)]


@pytest.mark.parametrize("cell", [[1], (1,), {"b": 1}, np.zeros(2), 1 + 2j, object(), "\ud800"])
def test_an_object_without_a_single_value_is_refused_by_column_and_row(cell):
    cells = pd.Series([None, "a", cell], dtype=object)
    refused(pd.DataFrame({"a": cells}), "'a'", "row 2 (from 0)", "convert")


# polars, Arrow


def test_polars_columns_keep_their_types_and_categories_are_decoded():
    frame = pl.DataFrame(
        {
            "text": ["x", None],
            "categorical": pl.Series(["x", "y"], dtype=pl.Categorical),
            "enum": pl.Series(["x", None], dtype=pl.Enum(["y", "x"])),
            "zoned": pl.Series([MOMENT] * 2).dt.replace_time_zone("Europe/Berlin"),
            "duration": [dt.timedelta(1), None],
            "time": [dt.time(1), None],
            "date": [DAY, None],
            "decimal": [Decimal("1.5"), None],
            "bytes": [b"a", None],
            "bool": [True, None],
            "int": pl.Series([1, None], dtype=pl.UInt16),
            "nothing": [None, None],
        }
    )
    table = as_table(frame)
    kinds = [str(kind) for kind in table.schema.types]
    assert kinds[:5] == ["string"] * 3 + ["timestamp[us, tz=Europe/Berlin]", "duration[us]"]
    assert kinds[5:9] == ["time64[ns]", "date32[day]", "decimal128(38, 1)", "binary"]
    assert kinds[9:] == ["bool", "uint16", "null"]
    assert table.to_pylist() == frame.to_dicts()


def test_a_lazy_frame_and_polars_objects_are_refused():
    refused(pl.LazyFrame({"a": [1]}), ".collect()")
    refused(pl.DataFrame({"a": pl.Series([object()], dtype=pl.Object)}), "'a'", "Object")
    refused(pl.DataFrame({"a": pl.Series([1], dtype=pl.Int128)}), "'a'", "Int128", "cast")
    refused(pl.DataFrame({"a": [[1]]}), "'a'", "list")


@pytest.mark.parametrize(
    "text", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.large_string())]
)
def test_arrow_text_of_every_type_is_string(text):
    given = pa.table({"a": pa.array(["x", None, "y"]).cast(text)})
    for X in (given, given.to_batches()[0], given.to_reader()):
        assert as_table(X).equals(pa.table({"a": ["x", None, "y"]}))


def test_arrow_dictionaries_are_decoded_over_chunks_and_extensions_by_value():
    chunks = pa.chunked_array([["a", "b"], ["b", None]]).dictionary_encode()
    encoded = pa.RunEndEncodedArray.from_arrays([2, 4], pa.array([5, None], pa.int64()))
    ids = pa.array([uuid.UUID(int=i).bytes for i in range(4)], pa.binary(16)).cast(pa.uuid())
    bools = pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0, None, 1], pa.int8()))
    found = as_table(pa.table({"a": chunks, "r": encoded, "u": ids, "b": bools}))
    assert found["a"].to_pylist() == ["a", "b", "b", None]
    assert found["r"].to_pylist() == [5, 5, None, None]
    assert found["u"].to_pylist() == [str(uuid.UUID(int=i)) for i in range(4)]
    assert found["b"].to_pylist() == [True, False, None, True]


@pytest.mark.parametrize(
    "cells",
    [
        pa.array([[1]]),
        pa.array([{"b": 1}]),
        pa.array([[("b", 1)]], pa.map_(pa.string(), pa.int64())),
        pa.array([(1, 2, 3)], pa.month_day_nano_interval()),
    ],
)
def test_arrow_columns_without_single_values_are_refused_by_name(cells):
    refused(pa.table({"good": [1], "bad": cells}), "'bad'", "convert or remove")


# Arrays and mappings


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint64, np.float16, np.float32, ">i4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_keep_their_type_and_are_named_x0_x1(dtype, order):
    X = np.array([[0, 1, 2], [1, 0, 3]]).astype(dtype, order=order)
    table = as_table(X)
    assert table.column_names == ["x0", "x1", "x2"]
    assert set(table.schema.types) == {pa.from_numpy_dtype(np.dtype(dtype).newbyteorder("="))}
    np.testing.assert_array_equal(np.column_stack([c.to_numpy() for c in table.columns]), X)


def test_arrays_of_text_times_objects_and_fields():
    assert as_table(np.array([["a", "ä"]]))["x1"].to_pylist() == ["ä"]
    assert as_table(np.array([["2024-05-01"]], "M8[h]"))["x0"].type == pa.timestamp("s")
    assert as_table(np.array([[1.5]], np.longdouble))["x0"].type == pa.float64()
    mixed = as_table(np.array([[1, "a"], [None, 2]], object))
    assert mixed.to_pydict() == {"x0": [1, None], "x1": ["a", "2"]}
    fields = as_table(np.array([(1, "b")], [("n", "i2"), ("t", "U3")]))
    assert fields.to_pydict() == {"n": [1], "t": ["b"]} and fields["n"].type == pa.int16()


def test_masked_cells_are_missing():
    X = np.ma.masked_array([[1, 2], [3, 4]], [[False, True], [False, False]])
    assert as_table(X).to_pydict() == {"x0": [1, 3], "x1": [None, 4]}


def test_rows_and_mappings_of_any_columns():
    assert as_table([[1, "a"], (None, "b")]).to_pydict() == {"x0": [1, None], "x1": ["a", "b"]}
    columns = {
        "list": [1, 2],
        "numpy": np.array([1.5, 2.5], np.float32),
        "pandas": pd.Series(["a", None]),
        "polars": pl.Series(["a", "b"], dtype=pl.Categorical),
        "arrow": pa.array([True, None]),
        "categorical": pd.Categorical(["u", None]),
    }
    assert as_table(columns).to_pylist() == [
        {"list": 1, "numpy": 1.5, "pandas": "a", "polars": "a", "arrow": True, "categorical": "u"},
        {"list": 2, "numpy": 2.5, "pandas": None, "polars": "b", "arrow": None,
         "categorical": None},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("X", "facts"),
    [
        (np.zeros(3), ["1-D", "reshape(-1, 1)"]),
        (np.zeros((1, 2, 3)), ["3-D"]),
        (np.zeros((1, 2), complex), ["'x0'", "complex"]),
        (np.zeros((2, 0)), ["no columns"]),
        (pd.DataFrame(), ["no columns"]),
        (pd.DataFrame({"a": [1j]}), ["'a'", "complex"]),
        (pd.Series([1], name="a"), ["Series", "to_frame()"]),
        (pl.Series([1]), ["Series", "to_frame()"]),
        ({"a": [1], "b": [1, 2]}, ["different lengths", "[1, 2]"]),
        ({"a": "text"}, ["'a'", "str"]),
        ({"a": 1}, ["'a'", "int"]),
        ({"a": np.zeros((2, 2))}, ["'a'", "2-D"]),
        ([1, 2], ["list", "no rows"]),
        ([[1], [1, 2]], ["different lengths"]),
        ([{"a": 1}], ["list", "no rows"]),
        ("people.csv", ["str", "DataFrame"]),
        (None, ["NoneType"]),
        (pa.array([1]), ["Array", "DataFrame"]),
        (scipy.sparse.coo_array(np.zeros(3)), ["1-D"]),
    ],
)
def test_what_is_no_table_is_refused_with_what_would_be(X, facts):
    refused(X, *facts)


# Names


@pytest.mark.parametrize(
    ("names", "facts"),
    [
        ([1, 2], ["1", "int", "astype(str)"]),
        (["a", 2], ["2", "int"]),
        (pd.RangeIndex(1, 3), ["1", "int"]),
        (pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")]), ["('a', 'b')", "join"]),
        (["a", "a"], ["more than one", "'a'"]),
        (["a", " "], ["empty"]),
    ],
)
def test_names_that_are_not_text_or_not_unique_are_refused(names, facts):
    refused(pd.DataFrame([[1, 2]], columns=names), *facts)


def test_names_of_a_mapping_are_checked_too():
    refused({1: [1]}, "1", "int", "rename it, to '1'")
    refused({"ä": [1], "\ud800": [1]}, "'\\ud800'", "not Unicode")


def test_the_frame_of_a_matrix_is_named_as_the_matrix():
    assert as_table(pd.DataFrame(np.zeros((1, 2)))).column_names == ["x0", "x1"]


# Sparse matrices and blocks


@pytest.mark.parametrize(
    "form", ["csr_matrix", "csc_matrix", "coo_array", "csr_array", "dok_array"]
)
def test_sparse_matrices_are_densified_block_after_block(form):
    X = scipy.sparse.random_array((7, 3), density=0.4, rng=np.random.default_rng(0)).toarray()
    sparse = getattr(scipy.sparse, form)(X)
    assert as_table(sparse).equals(as_table(X))
    blocks = list(blocks_of(sparse, 3))
    assert [block.num_rows for block in blocks] == [3, 3, 1]
    assert pa.concat_tables(blocks).combine_chunks().equals(as_table(X))


def test_no_more_than_a_block_of_a_sparse_matrix_is_dense_at_once():
    sparse = scipy.sparse.csc_array((10**5, 2000))
    tracemalloc.start()
    assert next(blocks_of(sparse, 100)).shape == (100, 2000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * 100 * 2000 * 8 + 4 * 2**20


def test_blocks_of_a_frame_are_slices_and_of_an_empty_one_one_block():
    X = pd.DataFrame({"a": range(5)})
    assert [b["a"].to_pylist() for b in blocks_of(X, 2)] == [[0, 1], [2, 3], [4]]
    assert [b.num_rows for b in blocks_of(X[:0], 2)] == [0]
    assert [b.shape for b in blocks_of(scipy.sparse.csr_array((0, 2)), 2)] == [(0, 2)]


# Back


TABLE = pa.table(
    {
        "t": ["a", None],
        "d": pa.array([DAY, None]),
        "z": pa.array([MOMENT, None], pa.timestamp("us", "Europe/Berlin")),
        "n": [1, 2],
        "b": [True, False],
    }
)


def test_a_table_comes_back_as_the_kind_that_was_given():
    for kind, X in {
        "pandas": pd.DataFrame({"a": [1]}),
        "polars": pl.DataFrame({"a": [1]}),
        "arrow": pa.table({"a": [1]}),
        "array": np.zeros((1, 1)),
    }.items():
        assert kind_of(X) == kind
        assert type(to_kind(as_table(X), kind)) is type(X)
    assert [kind_of(X) for X in ({"a": [1]}, [[1]], scipy.sparse.eye_array(2))] == [
        "arrow",
        "array",
        "array",
    ]
    for kind in ("pandas", "polars", "arrow"):
        assert as_table(to_kind(TABLE.drop_columns("d"), kind)).equals(TABLE.drop_columns("d"))
    assert as_table(to_kind(TABLE, "polars")).equals(TABLE)


def test_pandas_come_back_with_its_default_types_and_no_index():
    frame = to_kind(pa.Table.from_pandas(pd.DataFrame({"a": [1, 2]}, index=[5, 6])), "pandas")
    assert list(frame.index) == [0, 1] and frame["a"].dtype == np.int64
    frame = to_kind(TABLE, "pandas")
    assert frame["t"].dtype == pd.Series(["a"]).dtype
    assert frame["d"].dtype.kind == "M" and pd.isna(frame["d"][1])
    assert to_kind(pa.table({"n": [1, None]}), "pandas")["n"].dtype == np.float64
    long = to_kind(pa.table({"n": [2**53 + 1, None]}), "pandas")["n"]
    assert list(long) == [2**53 + 1, None]


def test_an_array_is_float64_unless_that_would_change_a_value():
    numbers = to_kind(TABLE.select(["n", "b"]), "array")
    assert numbers.dtype == np.float64 and numbers.tolist() == [[1, 1], [2, 0]]
    objects = to_kind(TABLE, "array")
    assert objects.shape == (2, 5) and objects[0].tolist()[:2] == ["a", DAY]
    assert objects[1].tolist() == [None, None, None, 2, False]
    assert to_kind(pa.table({"n": [2**53 + 1, None]}), "array").tolist() == [[2**53 + 1], [None]]


def test_arrays_are_read_without_importing_pandas_or_polars():
    code = (
        "import sys, numpy as np; from jaxrep.data.frames import as_table; as_table(np.eye(2)); "
        "print([m for m in ('pandas', 'polars', 'scipy.sparse') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
