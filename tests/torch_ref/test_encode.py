"""Every cell means what the contract of schemas says, whatever carries it; values by hand."""

import datetime as dt
import math
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from torch_ref.encode import EncodeError, encode, encode_with_counts

pytestmark = pytest.mark.quick

NAN = math.nan
MISSING = [
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
]
NY = dt.timezone(dt.timedelta(hours=-5))
UTC = dt.timezone.utc  # noqa: UP017


def column(kind, **changes):
    settings = {
        "number": {"decimal": ".", "thousands": ""},
        "count": {"decimal": ".", "thousands": ""},
        "datetime": {"format": None, "zoned": False},
        "category": {"levels": ["a", "b"]},
    }
    return {"kind": kind, "name": "x", **settings.get(kind, {}), **changes}


def schema(*columns, marks=()):
    marks = list(marks)
    return {
        "schema_version": 2,
        "columns": list(columns),
        "left_out": [],
        "label": None,
        "missing": MISSING + marks,
        "marks": marks,
    }


def read(cells, kind, *, marks=(), **changes):
    """One column's codes or numbers."""
    return encode(schema(column(kind, **changes), marks=marks), {"x": cells})[:, 0].tolist()


def key_is(cell, key):
    """Whether a cell has a key: it is known by it alone, beside a level of another key."""
    return read([cell], "category", levels=["something else", key]) == [1.0]


def same(found, expected):
    np.testing.assert_array_equal(np.array(found), np.array(expected, float))


@pytest.mark.parametrize("kind", ["number", "count"])
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0.0),
        ("-7", -7.0),
        ("+7", 7.0),
        ("007", 7.0),
        ("3.", 3.0),
        (".5", 0.5),
        ("-.5e-2", -0.005),
        ("1E3", 1000.0),
        ("0.1", 0.1),
        ("9007199254740993", 9007199254740992.0),  # to even
        ("2.2250738585072011e-308", 2.2250738585072011e-308),
        (" \t\r\n\f\v\u00a012 \u00a0", 12.0),
        ("NA", NAN),
        (" nan ", NAN),
        ("", NAN),
        ("  ", NAN),
    ],
)
def test_a_plain_number_in_text(kind, text, value):
    same(read([text], kind), [value])


@pytest.mark.parametrize(
    ("decimal", "thousands", "text", "value"),
    [
        (".", ",", "1,234,567.5", 1234567.5),
        (".", ",", "-1,234.", -1234.0),
        (".", ",", "1234.5e1", 12345.0),
        (",", ".", "1.234,5", 1234.5),
        (",", ".", "1234,5", 1234.5),
        (",", ".", "1.234", 1234.0),
        (",", "", "+1,5", 1.5),
        (",", "", ",5e1", 5.0),
        (".", " ", "1 234.5", 1234.5),
        (".", " ", "1\u00a0234 567", 1234567.0),
        (",", " ", "1\u202f234,5", 1234.5),
        (".", "'", "1'234'567.25", 1234567.25),
        (",", "'", "-1'234,25", -1234.25),
    ],
)
def test_a_number_in_text_by_its_marks(decimal, thousands, text, value):
    assert read([text], "number", decimal=decimal, thousands=thousands) == [value]


@pytest.mark.parametrize(
    ("decimal", "thousands", "text"),
    [
        *((".", "", text) for text in ("1,5", "1 000", "abc", "1e", "0x10", "1_000", "--1", ".")),
        *((".", "", text) for text in ("٣", "1²", "12 %", "NAN", "True", "2024-01-05")),
        *((".", ",", text) for text in ("12,34", "1234,567", "1,234e3", ",123", "1,2345")),
        *((",", ".", text) for text in ("1.5", "1,234.5", "12.34,5", "1.234,567.8")),
        *((",", "", text) for text in ("1.5", "1.234,5")),
        *((".", " ", text) for text in ("1  234", "12 34", "1'234")),
    ],
)
def test_a_text_that_is_not_a_number_is_refused(decimal, thousands, text):
    with pytest.raises(EncodeError, match=r"column 'x', data row 2: .* is not a number"):
        read(["1", text], "number", decimal=decimal, thousands=thousands)


@pytest.mark.parametrize(
    "cell",
    ["1e400", "-1e400", math.inf, -math.inf, np.float32("inf"), 10**400, Decimal("Infinity")],
)
def test_what_is_infinite_is_refused(cell):
    with pytest.raises(EncodeError, match="data row 1: .* is infinite"):
        read([cell], "number")


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        (True, 1.0),
        (np.False_, 0.0),
        (2**53 + 1, 2.0**53),
        (np.uint64(2**64 - 1), 2.0**64),
        (np.int8(-3), -3.0),
        (np.float32(0.1), 0.10000000149011612),
        (np.float16(0.5), 0.5),
        (Decimal("0.1"), 0.1),
        (Decimal("1E+2"), 100.0),
        (b" 1.5 ", 1.5),
        (np.str_("2"), 2.0),
        (None, NAN),
        (NAN, NAN),
        (np.float32("nan"), NAN),
        (Decimal("NaN"), NAN),
        (pd.NA, NAN),
        (pd.NaT, NAN),
        (np.ma.masked, NAN),
        (np.datetime64("NaT"), NAN),
        (np.timedelta64("NaT"), NAN),
    ],
    ids=repr,
)
def test_a_typed_number(cell, value):
    same(read([cell], "number"), [value])


TEMPORAL = [
    dt.datetime(2024, 1, 5),
    dt.date(2024, 1, 5),
    dt.timedelta(1),
    dt.time(1),
    np.datetime64("2024"),
    np.timedelta64(1, "s"),
    pd.Timestamp("2024-01-05"),
    pd.Timedelta(1),
]


@pytest.mark.parametrize("kind", ["number", "count", "boolean"])
@pytest.mark.parametrize("cell", TEMPORAL, ids=repr)
def test_a_time_is_no_number(kind, cell):
    with pytest.raises(EncodeError, match="data row 1"):
        read([cell], kind)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        *((text, 1.0) for text in ("true", "T", "Yes", "y", "1", "1.0", " TRUE ")),
        *((text, 0.0) for text in ("False", "f", "NO", "n", "0", "0.0")),
        *((one, 1.0) for one in (True, 1, 1.0, np.int8(1), np.float32(1), Decimal("1.0"))),
        *((zero, 0.0) for zero in (False, 0, -0.0, np.bool_(False), Decimal(0))),
        *((missing, NAN) for missing in (None, "", "NA", NAN)),
    ],
    ids=repr,
)
def test_a_boolean(cell, value):
    same(read([cell], "boolean"), [value])


@pytest.mark.parametrize("cell", ["2", "00", "1.00", "maybe", "ja", 2, 0.5, -1, Decimal("0.1")])
def test_what_is_neither_true_nor_false_is_refused(cell):
    with pytest.raises(EncodeError, match="data row 1: .* is neither true nor false"):
        read([cell], "boolean")


DAY = 19727 * 86400  # 2024-01-05


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1970-01-01", 0),
        ("2024-01-05", DAY),
        ("2024/01/05", DAY),
        ("2024-01-05T06:07", DAY + 22020),
        ("2024/01/05 06:07:08", DAY + 22028),
        ("2024-01-05 00:00:00.5", DAY + 0.5),
        ("2024-01-05 00:00:00.000000001", DAY + 1e-9),
        (" 2024-01-05\t", DAY),
        ("1969-12-31T23:59:59.75", -0.25),
        ("1900-03-01", -2203891200),
        ("2000-02-29", 951782400),
        ("9999-12-31", 253402214400),
    ],
)
def test_a_date_in_text(text, value):
    assert read([text], "datetime") == [value]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2024-01-05T00:00Z", DAY),
        ("2024-01-05 00:00:00 Z", DAY),
        ("2024-01-05T00:00:00+01:00", DAY - 3600),
        ("2024-01-05T00:00:00.25-0530", DAY + 19800.25),
        ("2024-01-05 00:00 +00:30", DAY - 1800),
    ],
)
def test_a_date_in_text_with_a_zone(text, value):
    assert read([text], "datetime", zoned=True) == [value]
    with pytest.raises(EncodeError, match="has a time zone, and in training had none"):
        read([text], "datetime")


@pytest.mark.parametrize(
    "text",
    [
        *("2024-1-5", "24-01-05", "2024-01/05", "2024-13-01", "2023-02-29", "2024-01-05T24:00"),
        *("2024-01-05T00:60", "2024-01-05T00:00:60", "2024-01-05T00:00:00.", "2024-01-05T00"),
        *("2024-01-05T00:00:00.1234567890", "2024-01-05  00:00", "2024-01-05t00:00", "05.01.2024"),
        *("2024-01-05T00:00z", "2024-01-05T00:00+24:00", "2024-01-05T00:00+00:60", "20240105"),
        *("2024-01-05T00:00+01", "2024-01-05T00:00  Z", "2024-01-05Z", "1704412800", "٢٠٢٤-01-05"),
    ],
)
def test_a_text_that_is_not_a_date_is_refused(text):
    for zoned in (False, True):
        with pytest.raises(EncodeError, match="data row 1: .* is not a date in ISO 8601"):
            read([text], "datetime", zoned=zoned)


@pytest.mark.parametrize(
    ("format", "zoned", "text", "value"),
    [
        ("%d.%m.%Y", False, "05.01.2024", DAY),
        ("%d/%m/%y %H:%M", False, " 05/01/24 01:00 ", DAY + 3600),
        ("%Y-%m-%dT%H:%M:%S.%f", False, "2024-01-05T00:00:00.25", DAY + 0.25),
        ("%Y%m%d %H%M%z", True, "20240105 0000+0100", DAY - 3600),
    ],
)
def test_a_date_by_a_format(format, zoned, text, value):
    assert read([text, "NA"], "datetime", format=format, zoned=zoned)[0] == value
    with pytest.raises(EncodeError, match=r"'soon' is not a date in the format '%"):
        read(["soon"], "datetime", format=format, zoned=zoned)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        (dt.date(2024, 1, 5), DAY),
        (dt.datetime(2024, 1, 5, 0, 0, 0, 250_000), DAY + 0.25),
        (dt.datetime(1, 1, 1), -62135596800),
        (np.datetime64("2024-01-05", "D"), DAY),
        (np.datetime64("2024-01", "M"), DAY - 4 * 86400),
        (np.datetime64("2024-01-05T01", "h"), DAY + 3600),
        (np.datetime64("2024-01-05T00:00:00.5", "ms"), DAY + 0.5),
        (np.datetime64(1, "ns"), 1e-9),
        (np.datetime64(-1, "ns"), -1 + 999_999_999 / 10**9),
        (np.datetime64(7, "5s"), 35),
        (pd.Timestamp("2024-01-05 00:00:00.000000001"), DAY + 1 / 10**9),
        (dt.datetime(2024, 1, 5), DAY),
    ],
    ids=repr,
)
def test_a_typed_date(cell, value):
    assert read([cell], "datetime") == [value]
    with pytest.raises(EncodeError, match="has no time zone, and in training had one"):
        read([cell], "datetime", zoned=True)


@pytest.mark.parametrize(
    "cell",
    [
        dt.datetime(2024, 1, 4, 19, tzinfo=NY),
        pd.Timestamp("2024-01-05", tz="UTC"),
        pd.Timestamp("2024-01-05 01:00", tz="Europe/Berlin"),
    ],
)
def test_a_typed_date_with_a_zone(cell):
    assert read([cell], "datetime", zoned=True) == [DAY]


@pytest.mark.parametrize("cell", [0, 1.5, True, Decimal(1), dt.timedelta(1), dt.time(1)], ids=repr)
def test_what_has_no_date_is_no_date(cell):
    with pytest.raises(EncodeError, match="data row 1: .* is not a date"):
        read([cell], "datetime")


# Beyond 2**53 nanoseconds: the whole seconds and the rest are rounded apart from each other.
@pytest.mark.parametrize("count", [1_704_412_800_123_456_789, -1_704_412_800_123_456_789])
def test_nanoseconds_are_divided_exactly(count):
    whole, rest = divmod(count, 10**9)
    expected = [float(whole) + rest / 1e9]
    assert read(np.array([count], "datetime64[ns]"), "datetime") == expected
    assert read(pa.array([count], pa.timestamp("ns")), "datetime") == expected
    assert read(pa.array([count], pa.duration("ns")), "duration") == expected
    text = str(np.datetime64(count, "ns"))
    assert read([text], "datetime") == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("01:30", 5400),
        ("1:30:15", 5415),
        ("100:00:00.25", 360000.25),
        ("-00:00:01.5", -1.5),
        ("1 day 00:00:01", 86401),
        ("0 days 00:00:00.000000001", 1e-9),
        ("-1 days +23:59:59.5", -0.5),
        ("-2 days 00:00:00", -172800),
        ("P1D", 86400),
        ("PT90M", 5400),
        ("P1DT2H3M4.5S", 93784.5),
        ("-PT0.5S", -0.5),
        ("NA", NAN),
    ],
)
def test_a_duration_in_text(text, value):
    same(read([text], "duration"), [value])


@pytest.mark.parametrize(
    "text", ["90", "1:2", "01:60", "00:00:60", "P", "PT", "P1DT", "P1M", "1 day", "+01:00", "1.5 h"]
)
def test_a_text_that_is_not_a_duration_is_refused(text):
    with pytest.raises(EncodeError, match="data row 1: .* is not a duration"):
        read([text], "duration")


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        (dt.timedelta(days=-1, microseconds=500_000), -86399.5),
        (dt.time(1, 2, 3, 500_000), 3723.5),
        (np.timedelta64(1500, "ms"), 1.5),
        (np.timedelta64(2, "W"), 1209600),
        (pd.Timedelta(1, "ns"), 1e-9),
    ],
    ids=repr,
)
def test_a_typed_duration(cell, value):
    assert read([cell], "duration") == [value]


@pytest.mark.parametrize(
    "cell", [1, 1.5, True, Decimal(1), dt.date(2024, 1, 5), np.timedelta64(1, "M")], ids=repr
)
def test_what_has_no_length_is_no_duration(cell):
    with pytest.raises(EncodeError, match="data row 1: "):
        read([cell], "duration")


@pytest.mark.parametrize(
    ("cell", "key"),
    [
        (" Rome ", "Rome"),
        ("TRUE", "true"),
        ("False", "false"),
        (True, "true"),
        (np.bool_(False), "false"),
        ("3", "3"),
        ("-3", "-3"),
        ("-0", "0"),
        ("3.0", "3"),
        ("3.", "3"),
        ("-0.0", "0"),
        ("1e3", "1000"),
        ("1.50", "1.5"),
        ("0.1000000000000000055", "0.1"),
        ("1e30", "1e+30"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("9007199254740993", "9007199254740993"),
        ("9007199254740993.0", "9007199254740992"),
        ("9223372036854775808.0", "9.223372036854776e+18"),
        ("007", "007"),
        ("+7", "+7"),
        (".5", ".5"),
        ("00.5", "00.5"),
        (3, "3"),
        (2**53 + 1, "9007199254740993"),
        (np.uint64(2**64 - 1), "18446744073709551615"),
        (3.0, "3"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (1e15, "1000000000000000"),
        (1e18, "1000000000000000000"),
        (2.0**63, "9.223372036854776e+18"),
        (1e-7, "1e-07"),
        (math.inf, "inf"),
        (np.float32(0.1), "0.1"),
        (np.float32(16777216), "16777216"),
        (np.float32(1e20), "1e+20"),
        (np.float32(1.5e-7), "1.5e-07"),
        (np.float16(0.1), "0.1"),
        (np.float64(0.1), "0.1"),
        (Decimal("1.50"), "1.5"),
        (Decimal("10.00"), "10"),
        (Decimal("1E+2"), "100"),
        (Decimal("9007199254740993"), "9007199254740993"),
        (b"Rome", "Rome"),
        (np.bytes_(b"Rome"), "Rome"),
        ("2024/01/05", "2024-01-05"),
        ("2024-01-05 00:00:00.000", "2024-01-05"),
        ("2024-01-05 06:07", "2024-01-05T06:07:00"),
        ("2024-01-05T06:07:08.1200", "2024-01-05T06:07:08.12"),
        ("2024-01-05T00:00:00Z", "2024-01-05T00:00:00Z"),
        ("2024-01-05T00:30:00+01:00", "2024-01-04T23:30:00Z"),
        ("2024-02-30", "2024-02-30"),
        ("12:30", "12:30"),
        (dt.date(2024, 1, 5), "2024-01-05"),
        (dt.datetime(2024, 1, 5), "2024-01-05"),
        (dt.datetime(2024, 1, 5, 6, 7, 8, 120_000), "2024-01-05T06:07:08.12"),
        (dt.datetime(2024, 1, 4, 19, tzinfo=NY), "2024-01-05T00:00:00Z"),
        (np.datetime64(1, "ns"), "1970-01-01T00:00:00.000000001"),
        (np.datetime64(-1, "ms"), "1969-12-31T23:59:59.999"),
        (pd.Timestamp("2024-01-05", tz="Europe/Berlin"), "2024-01-04T23:00:00Z"),
    ],
    ids=repr,
)
def test_the_key_of_a_category(cell, key):
    assert key_is(cell, key)


@pytest.mark.parametrize(
    ("levels", "cell", "code"),
    [
        (["007"], 7, 0),
        (["007"], 7.0, 0),
        (["007"], "7", 0),
        (["007"], "+7.00", 0),
        (["7"], "007", 0),
        (["0.5"], ".5", 0),
        (["+0.1"], 0.1, 0),
        (["+0.1"], np.float32(0.1), 0),
        (["+0.1"], Decimal("0.10"), 0),
        (["007", "07"], "7", -1),  # which of them?
        (["007", "7"], "7", 1),
        (["007", "7"], "07", -1),
        (["007"], "8", -1),
        (["007"], "seven", -1),
        (["1"], True, -1),
        (["true"], 1, -1),
        (["9007199254740992"], "+9007199254740993", -1),
        (["9007199254740992"], 2**53 + 1, -1),
        (["100000000000000000000"], 1e20, 0),
        (["a"], "A", -1),
        (["a"], "", NAN),
        (["a"], None, NAN),
        (["a", "NA"], "NA", NAN),
    ],
    ids=repr,
)
def test_the_code_of_a_category(levels, cell, code):
    same(read([cell], "category", levels=levels), [code])


@pytest.mark.parametrize("cell", [dt.timedelta(1), dt.time(1), np.timedelta64(1, "s")], ids=repr)
def test_a_duration_is_no_category(cell):
    with pytest.raises(EncodeError, match="no category"):
        read([cell], "category")


@pytest.mark.parametrize(
    ("kind", "cell", "value"),
    [
        ("number", "-999", NAN),
        ("number", "-999.0", NAN),
        ("number", "-9.99e2", NAN),
        ("number", -999, NAN),
        ("number", np.float32(-999), NAN),
        ("number", Decimal("-999.00"), NAN),
        ("number", 999, 999.0),
        ("number", "?", NAN),
        ("boolean", -999, NAN),
        ("datetime", "-999.0", NAN),
        ("duration", -999, NAN),
        ("category", "-999.0", NAN),
        ("category", -999.0, NAN),
        ("category", "-0999", 0.0),  # an identifier, and not the mark
        ("category", "?", NAN),
    ],
)
def test_a_mark_of_the_user_is_missing(kind, cell, value):
    changes = {"levels": ["-0999"]} if kind == "category" else {}
    same(read([cell], kind, marks=["-999", "?"], **changes), [value])


def test_a_mark_is_the_same_date_in_all_types():
    cells = ["1900/01/01", dt.date(1900, 1, 1), np.datetime64("1900-01-01T00", "ns")]
    same(read(cells, "category", marks=["1900-01-01"]), [NAN, NAN, NAN])


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
    with pytest.raises(EncodeError, match="data row 1: .* has a time zone"):
        read(cells, "datetime")


SPANS = {
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


@pytest.mark.parametrize("carrier", SPANS)
def test_durations_of_every_carrier(carrier):
    same(read(SPANS[carrier], "duration"), [1.5, NAN])


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
        "people.csv: column 'age', data row 2: 'old' is not a number with decimal mark '.' and no "
        "thousands separator. Correct it, or leave the cell empty if the value is not known"
    )


def test_missing_columns_are_named_all_at_once():
    with pytest.raises(EncodeError, match="shop: columns are missing: 'age', 'member'; give all"):
        encode(MIXED, {"city": [], "since": []}, source="shop")
    rows = [dict.fromkeys(TABLE), {"city": "Rome", "since": None}]
    with pytest.raises(EncodeError, match="data row 2: columns are missing: 'age', 'member'"):
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
        ([{"x": 1, "y": 1}, [1, 2]], "data row 2 is a list; give rows as mappings"),
        (pd.DataFrame([[1, 2, 3]], columns=["x", "y", "x"]), "2 columns are named 'x'"),
        ({"x": [1], "y": [[1]]}, "column 'y', data row 1: a cell of type list cannot be read"),
        ({"x": [1], "y": [1j]}, "column 'y', data row 1: a cell of type complex cannot be read"),
        ({"x": [1], "y": [b"\xff"]}, "column 'y', data row 1: .* is not text in UTF-8"),
        ({"x": [1], "y": [pd.Period("2024")]}, "a cell of type Period cannot be read"),
        ({"x": [1], "y": [dt.time(1, tzinfo=UTC)]}, "a cell of type time cannot be read"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(cells, reason):
    with pytest.raises(EncodeError, match=f"^cells: {reason}"):
        encode(schema(column("number"), column("number", name="y")), cells)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema_version": 1}, "schema_version is 1; it must be 2"),
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
    with pytest.raises(EncodeError, match="give what schema.json holds"):
        encode("{}", {})


def test_it_loads_nothing_but_numpy():
    code = "import sys, torch_ref.encode; print(*sorted({n.split('.')[0] for n in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"torch_ref", "numpy"} <= loaded
    assert not loaded & {"torch", "jax", "jaxrep", "pyarrow", "pandas", "polars", "msgspec"}
