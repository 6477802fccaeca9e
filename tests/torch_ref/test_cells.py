"""A cell means what the contract of schemas says; expected values are written by hand."""

import datetime as dt
import math
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.helpers.schemas import NAN, column, read, same, schema
from torch_ref.encode import EncodeError, encode

pytestmark = pytest.mark.quick

NY = dt.timezone(dt.timedelta(hours=-5))


def key_is(cell, key):
    """Whether a cell has a key: it is known by it alone, beside a level of another key."""
    return read([cell], "category", levels=["something else", key]) == [1.0]


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
    with pytest.raises(EncodeError, match=r"column 'x', row 1 \(from 0\): .* is not a number"):
        read(["1", text], "number", decimal=decimal, thousands=thousands)


@pytest.mark.parametrize(
    "cell",
    ["1e400", "-1e400", math.inf, -math.inf, np.float32("inf"), 10**400, Decimal("Infinity")],
)
def test_what_is_infinite_is_refused(cell):
    with pytest.raises(EncodeError, match=r"row 0 \(from 0\): .* is infinite"):
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
    with pytest.raises(EncodeError, match=r"row 0 \(from 0\)"):
        read([cell], kind)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        *((text, 1.0) for text in ("true", "T", "Yes", "y", "1", "1.0", " TRUE ")),
        *((text, 0.0) for text in ("False", "f", "NO", "n", "0", "0.0")),
        *((one, 1.0) for one in (True, 1, 1.0, np.int8(1), np.float32(1), Decimal("1.0"))),
        *((zero, 0.0) for zero in (False, 0, -0.0, "-0.0", np.bool_(False), Decimal(0))),
        *((number, float(number)) for number in ("2", "00", "1.00", "-1", 2, 0.5, Decimal("0.5"))),
        *((missing, NAN) for missing in (None, "", "NA", NAN)),
    ],
    ids=repr,
)
def test_a_boolean(cell, value):
    same(read([cell], "boolean"), [value])


@pytest.mark.parametrize("cell", ["maybe", "ja", "2,5"])
def test_what_is_neither_true_nor_false_is_refused(cell):
    with pytest.raises(EncodeError, match=r"row 0 \(from 0\): .* is neither true nor false"):
        read([cell], "boolean")


DAY = 19727 * 86400  # 2024-01-05


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1970-01-01", 0),
        ("2024-01-05", DAY),
        ("2024/01/05", DAY),
        ("2024-1-5", DAY),
        ("2024/1/05 6:07", DAY + 22020),
        ("2024-01-05 00:00:00,25", DAY + 0.25),
        ("0000-12-31", -62135596800 - 86400),
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
        ("2024-01-05T00:00z", DAY),
        ("2024-01-05 00:00:00 UTC", DAY),
        ("2024-01-05T00:00+01", DAY - 3600),
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
        *("2024-1-", "24-01-05", "2024-01/05", "2024-13-01", "2023-02-29", "2024-01-05T24:00"),
        *("2024-01-05T00:60", "2024-01-05T00:00:60", "2024-01-05T00:00:00.", "2024-01-05T00"),
        *("2024-01-05T00:00:00.1234567890", "2024-01-05  00:00", "2024-01-05t00:00", "05.01.2024"),
        *("2024-01-05T00:00utc", "2024-01-05T00:00+24:00", "2024-01-05T00:00+00:60", "20240105"),
        *("2024-01-05T00:00+1", "2024-01-05T00:00  Z", "2024-01-05Z", "1704412800", "٢٠٢٤-01-05"),
    ],
)
def test_a_text_that_is_not_a_date_is_refused(text):
    for zoned in (False, True):
        with pytest.raises(EncodeError, match=r"row 0 \(from 0\): .* is not a date in ISO 8601"):
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
    with pytest.raises(EncodeError, match=r"row 0 \(from 0\): .* is not a date"):
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
        ("1 days", 86400),
        ("2 days 03:04", 183840),
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
    "text", ["90", "1:2", "01:60", "00:00:60", "P", "PT", "P1DT", "P1M", "1 d", "+01:00", "1.5 h"]
)
def test_a_text_that_is_not_a_duration_is_refused(text):
    with pytest.raises(EncodeError, match=r"row 0 \(from 0\): .* is not a duration"):
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
    with pytest.raises(EncodeError, match=r"row 0 \(from 0\): "):
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
    with pytest.raises(EncodeError, match="cannot be a category"):
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


@pytest.mark.parametrize(("cell", "value"), [("999,0", NAN), ("999.000", 999000.0), ("999", NAN)])
def test_a_mark_is_compared_with_what_a_number_means_in_its_column(cell, value):
    same(read([cell], "number", marks=["999"], decimal=",", thousands="."), [value])


def test_blanks_around_words_and_marks_count_for_nothing():
    described = schema(column("category", levels=["a"]), marks=[" ? "])
    same(encode(described, {"x": ["?", " a"]}), [[NAN], [0]])


def test_a_level_is_known_by_its_key_however_it_is_spelled():
    same(read(["TRUE", True, "2024-01-05"], "category", levels=["True", "2024/01/05"]), [0, 0, 1])


@pytest.mark.parametrize("mark", ["1900-01-01", "1900/01/01"])
def test_a_mark_is_the_same_date_in_all_types(mark):
    cells = ["1900/01/01", dt.date(1900, 1, 1), np.datetime64("1900-01-01T00", "ns")]
    same(read(cells, "category", marks=[mark]), [NAN, NAN, NAN])


def test_a_mark_that_is_a_number_is_no_boolean():
    same(read([True, False, 1], "boolean", marks=["1", "0.0"]), [1, 0, NAN])
