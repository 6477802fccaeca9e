"""Tables of every kind give the same rows, and those that cannot be used are refused."""

import datetime as dt
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tests.helpers.schemas import NAN, column, read, same, schema
from torch_ref.encode import EncodeError, encode, encode_with_counts

pytestmark = pytest.mark.quick

DAY = 19727 * 86400  # 2024-01-05


MIXED = schema(
    column("number", name="age"),
    column("category", name="city", levels=["Oslo", "Rome"]),
    column("datetime", name="since"),
    column("boolean", name="member"),
)
SINCE = [dt.datetime(1970, 1, 2), None, dt.datetime(1970, 1, 1, 0, 0, 1)]
TABLE = {
    "member": [True, False, None],
    "city": ["Rome", None, "Bonn"],
    "since": SINCE,
    "age": [31.5, 40.0, None],
    "unused": [object()] * 3,
}
ROWS = [[31.5, 1, 86400, 1], [40, NAN, NAN, 0], [NAN, -1, 1, NAN]]


def without_unused(table):
    return {name: cells for name, cells in table.items() if name != "unused"}


CARRIERS = {
    "dict": lambda: TABLE,
    "rows": lambda: [dict(zip(TABLE, row, strict=True)) for row in zip(*TABLE.values())],  # noqa: B905
    "tuples": lambda: {name: tuple(cells) for name, cells in TABLE.items()},
    "objects": lambda: {name: np.array(cells, object) for name, cells in TABLE.items()},
    "pandas": lambda: pd.DataFrame(TABLE),
    "nullable pandas": lambda: pd.DataFrame(without_unused(TABLE)).convert_dtypes(),
    "pandas on arrow": lambda: pd.DataFrame(without_unused(TABLE)).convert_dtypes(
        dtype_backend="pyarrow"
    ),
    "polars": lambda: pl.DataFrame(without_unused(TABLE)),
    "arrow table": lambda: pa.table(without_unused(TABLE)),
    "record batch": lambda: pa.RecordBatch.from_pydict(without_unused(TABLE)),
    "arrow arrays": lambda: {n: pa.array(c) for n, c in without_unused(TABLE).items()},
}


@pytest.mark.parametrize("carrier", CARRIERS)
def test_every_carrier_gives_the_same_rows(carrier):
    rows, counts = encode_with_counts(MIXED, CARRIERS[carrier]())
    assert rows.dtype == np.float64
    same(rows, ROWS)
    assert counts.unknown == {"age": 0, "city": 1, "since": 0, "member": 0}
    assert counts.missing == {"age": 1, "city": 1, "since": 1, "member": 1}


def test_a_structured_array_has_columns():
    table = np.array([(3, "b"), (4, "c")], dtype=[("n", "i4"), ("x", "U1")])
    described = schema(column("category"), column("number", name="n"))
    same(encode(described, table), [[1, 3], [-1, 4]])


def test_columns_of_a_frame_may_be_named_by_numbers():
    described = schema(column("number", name="1"), column("number", name="0"))
    same(encode(described, pd.DataFrame([[1.0, 2.0]])), [[2, 1]])


def test_a_table_without_rows():
    assert encode(MIXED, []).shape == encode(MIXED, pd.DataFrame(columns=list(TABLE))).shape
    assert encode(MIXED, []).shape == (0, 4)


FLOAT32 = np.array([0.1, 0.5], np.float32)


@pytest.mark.parametrize(
    "cells",
    [
        FLOAT32,
        list(FLOAT32),
        pd.Series(FLOAT32),
        pd.Series(FLOAT32).astype("Float32"),
        pd.Series(FLOAT32).astype("float32[pyarrow]"),
        pd.Series(FLOAT32).astype("category"),
        pl.Series(FLOAT32),
        pa.array(FLOAT32),
        pa.array(FLOAT32).dictionary_encode(),
        pa.chunked_array([pa.array(FLOAT32)]),
    ],
    ids=lambda cells: f"{type(cells).__name__} {getattr(cells, 'dtype', '')}",
)
def test_a_float32_keeps_its_own_digits_as_a_category(cells):
    assert read(cells, "category", levels=["0.5", "0.1"]) == [1, 0]


IDS = [2**53 + 1, None, 2**53]


@pytest.mark.parametrize(
    "cells",
    [
        IDS,
        pd.Series(IDS, dtype="Int64"),
        pd.Series(IDS, dtype="int64[pyarrow]"),
        pd.Series(pd.array(IDS, dtype="Int64")).astype("category"),
        pl.Series(IDS),
        pa.array(IDS),
        pa.array(IDS).dictionary_encode(),
        [str(n) if n else "" for n in IDS],
        [Decimal(n) if n else None for n in IDS],
        pa.array([Decimal(n) if n else None for n in IDS], pa.decimal128(20, 0)),
    ],
    ids=lambda cells: f"{type(cells).__name__} {getattr(cells, 'dtype', '')}",
)
def test_an_identifier_beyond_float64_stays_itself(cells):
    same(read(cells, "category", levels=["9007199254740992", "9007199254740993"]), [1, NAN, 0])


NANO = 1_704_412_800_000_000_001
INSTANTS = {
    **{unit: np.array([DAY, "NaT"], "datetime64[s]").astype(f"datetime64[{unit}]")
       for unit in ("s", "ms", "us", "ns")},
    "date32": pa.array([dt.date(2024, 1, 5), None]),
    "date64": pa.array([dt.date(2024, 1, 5), None], pa.date64()),
    "pandas": pd.Series(pd.to_datetime(["2024-01-05", None])),
    "pandas on arrow": pd.Series(["2024-01-05", None]).astype("timestamp[ns][pyarrow]"),
    "polars date": pl.Series([dt.date(2024, 1, 5), None]),
    "polars ms": pl.Series([dt.datetime(2024, 1, 5), None], dtype=pl.Datetime("ms")),
    "arrow s": pa.array([dt.datetime(2024, 1, 5), None], pa.timestamp("s")),
    "dictionary": pa.array([dt.date(2024, 1, 5), None]).dictionary_encode(),
}  # fmt: skip


@pytest.mark.parametrize("carrier", INSTANTS)
def test_dates_of_every_carrier_are_one_number_and_one_category(carrier):
    same(read(INSTANTS[carrier], "datetime"), [DAY, NAN])
    same(read(INSTANTS[carrier], "category", levels=["x", "2024-01-05"]), [1, NAN])


ZONED = {
    "arrow": pa.array([NANO, None], pa.timestamp("ns", "Europe/Berlin")),
    "chunks": pa.chunked_array([pa.array([NANO, None], pa.timestamp("ns", "+01:00"))]),
    "pandas": pd.Series(pd.to_datetime([NANO, None], utc=True)).dt.tz_convert("Asia/Tokyo"),
    "polars": pl.Series([NANO, None]).cast(pl.Datetime("ns", "Europe/Berlin")),
    "text": ["2024-01-05T01:00:00.000000001+01:00", None],
}


@pytest.mark.parametrize("carrier", ZONED)
def test_zoned_nanoseconds_of_every_carrier(carrier):
    cells = ZONED[carrier]
    same(read(cells, "datetime", zoned=True), [DAY + 1e-9, NAN])
    same(read(cells, "category", levels=["2024-01-05T00:00:00.000000001Z"]), [0, NAN])
    with pytest.raises(EncodeError, match=r"row 0 \(from 0\): .* has a time zone"):
        read(cells, "datetime")


DURATIONS = {
    "timedelta": [dt.timedelta(seconds=1.5), None],
    **{u: np.array([1500, "NaT"], "m8[ms]").astype(f"m8[{u}]") for u in ("ms", "us", "ns")},
    "pandas": pd.Series(pd.to_timedelta(["1.5s", None])),
    "polars": pl.Series([dt.timedelta(seconds=1.5), None]),
    "polars time": pl.Series([dt.time(0, 0, 1, 500_000), None]),
    "arrow": pa.array([1500, None], pa.duration("ms")),
    "time32": pa.array([1500, None], pa.int32()).cast(pa.time32("ms")),
    "time64": pa.array([1_500_000_000, None]).cast(pa.time64("ns")),
    "dictionary": pa.array([1500, None], pa.duration("ms")).dictionary_encode(),
}


@pytest.mark.parametrize("carrier", DURATIONS)
def test_durations_of_every_carrier(carrier):
    same(read(DURATIONS[carrier], "duration"), [1.5, NAN])


@pytest.mark.parametrize(
    "cells",
    [
        pd.Series(["Rome", None, "Bonn"], dtype="category"),
        pd.Series(["Rome", None, "Bonn"], dtype="string"),
        pd.Series(["Rome", None, "Bonn"]),
        pl.Series(["Rome", None, "Bonn"], dtype=pl.Categorical),
        pl.Series(["Rome", None, "Bonn"], dtype=pl.Enum(["Bonn", "Rome"])),
        pa.array(["Rome", None, "Bonn"]).dictionary_encode(),
        pa.array(["Rome", None, "Bonn"], pa.string_view()),
        pa.array([b"Rome", None, b"Bonn"]),
        np.array(["Rome", "", "Bonn"]),
        np.array([b"Rome", b"", b"Bonn"]),
    ],
    ids=lambda cells: f"{type(cells).__name__} {getattr(cells, 'dtype', '')}",
)
def test_texts_of_every_carrier(cells):
    same(read(cells, "category", levels=["Rome"]), [0, NAN, -1])


def test_an_error_names_source_column_row_and_value_and_what_to_do():
    with pytest.raises(EncodeError) as caught:
        encode(schema(column("number", name="age")), {"age": ["1", "old"]}, source="people.csv")
    assert str(caught.value) == (
        "people.csv: column 'age', row 1 (from 0): 'old' is not a number with decimal mark '.' "
        "and no thousands separator. Correct it, or leave the cell empty if the value is not known"
    )


def test_missing_columns_are_named_all_at_once():
    with pytest.raises(EncodeError, match="shop: columns are missing: 'age', 'member'; give all"):
        encode(MIXED, {"city": [], "since": []}, source="shop")
    rows = [dict.fromkeys(TABLE), {"city": "Rome", "since": None}]
    with pytest.raises(
        EncodeError, match=r"row 1 \(from 0\): columns are missing: 'age', 'member'"
    ):
        encode(MIXED, rows)


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"x": [1], "y": [1, 2]}, "column 'y' has 2 cells and 'x' has 1"),
        ({"x": "12", "y": [1, 2]}, "column 'x': str is not a sequence of cells"),
        ({"x": 1, "y": [1]}, "column 'x': int is not a sequence of cells"),
        ({"x": {1, 2}, "y": [1, 2]}, "column 'x': set is not a sequence of cells"),
        ({"x": np.ones((2, 2)), "y": [1, 2]}, "column 'x': ndarray is not a sequence of cells"),
        (np.ones((2, 2)), "ndarray has no columns by name"),
        (3, "int has no columns by name"),
        ("x,y", "str has no columns by name"),
        ([{"x": 1, "y": 1}, [1, 2]], r"row 1 \(from 0\) is a list; give rows as mappings"),
        (pd.DataFrame([[1, 2, 3]], columns=["x", "y", "x"]), "2 columns are named 'x'"),
        ({"x": [1], "y": [[1]]}, r"column 'y', row 0 .*: a cell of type list cannot be read"),
        ({"x": [1], "y": [1j]}, r"column 'y', row 0 .*: a cell of type complex cannot be read"),
        ({"x": [1], "y": [b"\xff"]}, r"column 'y', row 0 \(from 0\): .* is not text in UTF-8"),
        (
            {"x": [1], "y": [pd.Period("2024")]},
            r"column 'y', row 0 \(from 0\): a cell of type Period",
        ),
        (
            {"x": [1], "y": [dt.time(1, tzinfo=dt.UTC)]},
            r"column 'y', row 0 \(from 0\): a cell of type time",
        ),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(cells, reason):
    with pytest.raises(EncodeError, match=f"^cells: {reason}"):
        encode(schema(column("number"), column("number", name="y")), cells)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema_version": 1}, "schema_version is 1; it must be 3"),
        ({"missing": "NA"}, "missing is 'NA'; it must be a list of texts"),
        ({"marks": [-999]}, r"marks is \[-999\]; it must be a list of texts"),
        ({"columns": []}, r"columns is \[\]"),
        ({"columns": [[]]}, r"columns\[0\] is \[\]; it must be an object"),
        ({"columns": [column("numeric")]}, r"columns\[0\].kind is 'numeric'; it must be one of"),
        ({"columns": [{"kind": "number"}]}, r"columns\[0\].name is missing"),
        ({"columns": [column("boolean", name=3)]}, r"columns\[0\].name is 3"),
        ({"columns": [column("number"), column("count")]}, r"columns\[1\].name is 'x' a second"),
        ({"columns": [column("number", decimal="x")]}, r"columns\[0\].decimal is 'x'"),
        ({"columns": [column("count", thousands="_")]}, r"columns\[0\].thousands is '_'"),
        ({"columns": [column("count", thousands=".")]}, r"columns\[0\].thousands is '.'"),
        ({"columns": [column("datetime", zoned=0)]}, r"columns\[0\].zoned is 0"),
        ({"columns": [column("datetime", format=1)]}, r"columns\[0\].format is 1"),
        ({"columns": [column("category", levels=["a", "a"])]}, r"columns\[0\].levels is \['a'"),
        ({"columns": [column("category", levels=[1])]}, r"columns\[0\].levels is \[1\]"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_with_the_key(change, reason):
    with pytest.raises(EncodeError, match=f"^schema: {reason}"):
        encode(schema(column("number")) | change, {"x": [1]})
    for key in change.keys() - {"columns"}:
        without = {k: v for k, v in schema(column("number")).items() if k != key}
        with pytest.raises(EncodeError, match=f"^schema: {key} is missing"):
            encode(without, {"x": [1]})


def test_a_schema_is_not_a_text():
    with pytest.raises(EncodeError, match=r"give what schema.json holds"):
        encode("{}", {})


def test_it_loads_nothing_but_numpy():
    code = "import sys, torch_ref.encode; print(*sorted({n.split('.')[0] for n in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"torch_ref", "numpy"} <= loaded
    assert not loaded & {"torch", "jax", "jaxrep", "pyarrow", "pandas", "polars", "msgspec"}
