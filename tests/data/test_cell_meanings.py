"""Meanings of cells, by hand: the functions, and the messages of errors."""

import datetime as dt
import re
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from jaxrep.data.cells import (
    Levels,
    Missing,
    Place,
    _times,
    codes_of,
    key_of_text,
    keys_of,
    number_pattern,
    numbers_of,
)
from jaxrep.data.schema import (
    MISSING,
    Boolean,
    CategoricalColumn,
    Count,
    Datetime,
    Duration,
    Number,
)
from tests.helpers.refusals import refused

pytestmark = pytest.mark.quick

NAN = np.nan
NONE = Missing(MISSING, [])


def made(kind, **options):
    return kind("x", 0.0, 1.0, None, **options)


def chunked(cells):
    """Cells in several chunks, the first of them empty."""
    array = cells if isinstance(cells, pa.Array) else pa.array(cells)
    return pa.chunked_array([array[:0], array[:1], array[1:]], array.type)


def numbers(column, cells, missing=NONE, place=Place("t.csv")):  # noqa: B008
    return numbers_of(column, chunked(cells), missing, place).tolist()


def codes(levels, cells, missing=NONE):
    column = CategoricalColumn("x", tuple(levels), has_gaps=False)
    return codes_of(column, chunked(cells), missing, Place("t.csv")).tolist()


# Numbers of every carrier

DAY = 86_400
CARRIERS = {
    "text": (Number, ["1.5", " -2 ", "NA", ""], [1.5, -2, NAN, NAN]),
    "text, not plain": (Number, ["+1.5", ".5", "1E3", "007"], [1.5, 0.5, 1000, 7]),
    "large text": (Number, pa.array(["1.5", "x"], pa.large_string())[:1], [1.5]),
    "text view": (Number, pa.array(["1.5", None], pa.string_view()), [1.5, NAN]),
    "bytes": (Number, pa.array([b"1.5", b"NA"]), [1.5, NAN]),
    "dictionary": (Number, pa.array(["1.5", None, "1.5"]).dictionary_encode(), [1.5, NAN, 1.5]),
    "int8": (Number, pa.array([-1, None], pa.int8()), [-1, NAN]),
    "uint64": (Count, pa.array([2**64 - 1], pa.uint64()), [2.0**64]),
    "int64": (Number, pa.array([2**53 + 1]), [2.0**53]),
    "float": (Number, pa.array([0.1, NAN], pa.float32()), [float(np.float32(0.1)), NAN]),
    "halffloat": (Number, pa.array([0.5, None], pa.float16()), [0.5, NAN]),
    "decimal": (Number, pa.array([Decimal("0.10"), None], pa.decimal128(9, 2)), [0.1, NAN]),
    "bool": (Number, [True, False, None], [1, 0, NAN]),
    "null": (Number, pa.nulls(2), [NAN, NAN]),
    "null times": (Number, pa.nulls(2, pa.timestamp("s")), [NAN, NAN]),
    "booleans": (Boolean, ["True", "n", "YES", "0.0", "NA"], [1, 0, 1, 0, NAN]),
    "typed booleans": (Boolean, [True, None, False], [1, NAN, 0]),
    "booleans of numbers": (Boolean, [1.0, -0.0, None], [1, 0, NAN]),
    "dates": (Datetime, ["1970-01-02", "1970/1/3", "NA"], [DAY, 2 * DAY, NAN]),
    "date32": (Datetime, [dt.date(1970, 1, 2), None], [DAY, NAN]),
    "date64": (Datetime, pa.array([dt.date(1970, 1, 2), None], pa.date64()), [DAY, NAN]),
    "timestamp": (Datetime, pa.array([1500, -500, None], pa.timestamp("ms")), [1.5, -0.5, NAN]),
    "no dates": (Datetime, pa.array([NAN, None]), [NAN, NAN]),  # as pandas has what is missing
    "durations": (Duration, ["0:01:30", "PT1.5S", "-1 days +23:00:00"], [90, 1.5, -3600]),
    "duration": (Duration, pa.array([1500, None], pa.duration("ms")), [1.5, NAN]),
    "time32": (Duration, pa.array([90, None], pa.int32()).cast(pa.time32("s")), [90, NAN]),
}


@pytest.mark.parametrize("carrier", CARRIERS)
def test_numbers_of_every_carrier(carrier):
    kind, cells, expected = CARRIERS[carrier]
    np.testing.assert_array_equal(numbers(made(kind), cells), expected)


@pytest.mark.parametrize("count", [1_704_412_800_123_456_789, -1_704_412_800_123_456_789])
def test_a_time_has_the_same_bits_in_every_unit_and_as_text(count):
    whole, rest = divmod(count, 10**9)
    expected = [float(whole) + rest / 1e9]
    text = str(np.datetime64(count, "ns"))
    assert numbers(made(Datetime), pa.array([count], pa.timestamp("ns"))) == expected
    assert numbers(made(Datetime), [text]) == expected
    assert numbers(made(Duration), pa.array([count], pa.duration("ns"))) == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("1970-01-02T00:00Z", DAY), ("1970-01-02 00:00:00 z", DAY), ("1970-1-2 0:00UTC", DAY)),
        *(("1970-01-02T01:00+01", DAY), ("1970-01-02T01:30+0130", DAY)),
        *(("1970-01-01T22:00:00,25-02:00", DAY + 0.25), ("0001-01-01T00:00+23:59", -62135683140)),
    ],
)
def test_zones_of_text(text, seconds):
    assert numbers(made(Datetime, zoned=True), [text]) == [seconds]
    refused(
        "row 0 (from 0): the time has a time zone", call=lambda: numbers(made(Datetime), [text])
    )


@pytest.mark.parametrize(
    "text",
    [
        *("1970-01/02", "1970-13-01", "1970-02-29", "1970-01-02T24:00", "1970-01-02T00:60"),
        *("1970-01-02T00:00+24:00", "1970-01-02T00:00+00:60", "1970-01-02Z", "70-01-02"),
        *("1970-01-02T00:00  Z", "1970-01-02t00:00", "1970-01-02T00", "1970-01", "0"),
    ],
)
@pytest.mark.parametrize("zoned", [True, False])
def test_what_is_no_date_is_refused(text, zoned):
    call = lambda: numbers(made(Datetime, zoned=zoned), [text])  # noqa: E731
    refused("row 0 (from 0)", "is not a date", call=call)


def test_a_zone_by_a_format_may_begin_before_the_first_year():
    column = made(Datetime, zoned=True, format="%Y-%m-%d %H:%M%z")
    assert numbers(column, ["0001-01-01 00:00+0100"]) == [-62135596800 - 3600]


@pytest.mark.parametrize(
    "text", ["1:75", "1:00:60", "P", "PT", "P1DT", "1 day 1", "1" * 13 + ":00", "1" * 13 + " days"]
)
def test_what_is_no_span_of_time_is_refused(text):
    refused("row 0 (from 0)", "is not a duration", call=lambda: numbers(made(Duration), [text]))


@pytest.mark.parametrize(
    ("decimal", "thousands", "good", "bad"),
    [
        (".", "", ["1.5", "-.5e-3", "+7."], ["1,5", ".", "1e", "1 000", "0x1"]),
        (".", ",", ["1,234.5", "1234.5", "1e3"], ["12,34", "1,234e3", "1,2345", ",123"]),
        (",", ".", ["1.234,5", "1,5e3"], ["1.5", "1,234.5"]),
        (".", " ", ["1 234", "1\u00a0234", "1\u202f234"], ["1  234", "1'234"]),
        (",", "'", ["1'234,5"], ["1'23"]),
    ],
)
def test_numbers_by_their_marks(decimal, thousands, good, bad):
    pattern = number_pattern(decimal, thousands)
    assert [bool(re.match(pattern, text)) for text in [*good, *bad]] == [
        *[True] * len(good),
        *[False] * len(bad),
    ]
    column = made(Number, decimal=decimal, thousands=thousands)
    numbers(column, good)
    for text in bad:
        refused("'x', row 1 (from 0)", call=lambda text=text: numbers(column, [good[0], text]))


# Missing cells


@pytest.mark.parametrize("word", MISSING)
def test_the_words_of_pandas_are_missing_in_every_kind(word):
    for kind in (Number, Boolean, Datetime, Duration):
        assert np.isnan(numbers(made(kind), [f" {word}\t"])).all()
    assert np.isnan(codes(["a", "nan", "NA"], [word])).all()


MARKED = Missing([*MISSING, "?", "-999", "1"], [" ? ", "-999", "1"])


@pytest.mark.parametrize(
    ("column", "cells", "expected"),
    [
        (made(Number), ["?", "-999.0", "-9.99e2", "2"], [NAN, NAN, NAN, 2]),
        (made(Number), ["2", "-999"], [2, NAN]),
        (made(Number), [-999, 2], [NAN, 2]),
        (made(Number), pa.array([-999, 2], pa.float32()), [NAN, 2]),
        (made(Number), [True, False], [1, 0]),  # a boolean is not a number
        (made(Number, decimal=",", thousands="."), ["-999,0", "-999.000"], [NAN, -999_000]),
        (made(Boolean), ["yes", "1.0", "0"], [1, NAN, 0]),
        (made(Boolean), [True, False], [1, 0]),
        (made(Datetime), ["-999.00", "1970-01-02"], [NAN, DAY]),
        (made(Datetime), pa.array([-999, None]), [NAN, NAN]),
        (made(Duration), ["?", "-999.0", "0:01"], [NAN, NAN, 60]),
    ],
)
def test_marks_are_missing_by_their_text_and_their_value(column, cells, expected):
    np.testing.assert_array_equal(numbers(column, cells, MARKED), expected)


def test_a_word_that_is_a_number_and_no_mark_is_missing_only_as_written():
    words = Missing(["-1"], [])
    np.testing.assert_array_equal(numbers(made(Number), ["-1", "-1.0"], words), [NAN, -1])


def test_marks_of_categories_are_compared_by_key():
    cells = ["-999.0", "?", "-0999", "1", "TRUE"]
    np.testing.assert_array_equal(codes(["-0999", "true"], cells, MARKED), [NAN, NAN, 0, NAN, 1])
    dates = Missing([], ["1900/01/01"])
    np.testing.assert_array_equal(codes(["x"], [dt.date(1900, 1, 1)], dates), [NAN])


def test_nan_is_missing_as_a_float_and_a_word_of_text_where_it_is_none_of_the_words():
    assert np.isnan(codes(["nan"], [NAN], Missing([], []))).all()
    assert codes(["nan"], ["nan"], Missing([], [])) == [0]


# Codes of every carrier


@pytest.mark.parametrize(
    ("levels", "cells", "expected"),
    [
        (["a", "b"], [" b ", "a", "z", None], [1, 0, -1, NAN]),
        (["a", "b"], pa.array(["b", "a"]).dictionary_encode(), [1, 0]),
        (["a", "b"], pa.array([b"b", b"a"]), [1, 0]),
        (["false", "true"], ["TRUE", "False", "1"], [1, 0, -1]),
        (["false", "true"], [True, False, None], [1, 0, NAN]),
        (["True", "no"], [True, False], [0, -1]),
        (["1", "2"], [2, 1, 3], [1, 0, -1]),
        (["1", "2"], [2.0, 1.0, 1.5, NAN], [1, 0, -1, NAN]),
        (["1", "2"], ["2.0", "1e0", "01", "+2"], [1, 0, 0, 1]),
        (["0.1"], pa.array([0.1], pa.float32()), [0]),
        (["0.0001"], pa.array([0.0001], pa.float32()), [0]),
        (["0.1"], pa.array([0.1], pa.float16()), [0]),
        (["0"], pa.array([0.0], pa.float16()), [0]),
        (["1.5"], pa.array([Decimal("1.50")], pa.decimal128(9, 2)), [0]),
        (["100"], pa.array([Decimal("100")], pa.decimal128(3, -2)), [0]),
        (["007", "07"], ["7", "007"], [-1, 0]),
        (["9007199254740992"], ["9007199254740993", "9007199254740992.0"], [-1, 0]),
        (["9007199254740992"], [2**53 + 1, 2**53], [-1, 0]),
        (["2024-01-05"], [dt.date(2024, 1, 5)], [0]),
        (["2024-01-05"], pa.array([dt.datetime(2024, 1, 5)], pa.timestamp("ns")), [0]),
        (["2024/1/5"], ["2024-01-05", "2024-01-05 00:00"], [0, 0]),
        (["2024-01-05T00:00:00Z"], ["2024-01-05T01:00+01:00", "2024-01-05"], [0, -1]),
        (["a"], pa.nulls(2), [NAN, NAN]),
    ],
)
def test_codes_of_every_carrier(levels, cells, expected):
    np.testing.assert_array_equal(codes(levels, cells), expected)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        *(("TRUE", "true"), ("-0", "0"), ("3.", "3"), ("1e3", "1000"), ("007", "007")),
        *(("9223372036854775808.0", "9.223372036854776e+18"), ("1.50", "1.5"), ("+7", "+7")),
        *(("2024-1-5 6:07", "2024-01-05T06:07:00"), ("2024-02-30", "2024-02-30"), ("a b", "a b")),
        *(("0000-01-01", "0000-01-01"), ("0000/1/1 00:00z", "0000-01-01T00:00:00Z"), ("", "")),
    ],
)
def test_the_key_of_a_text(text, key):
    assert key_of_text(text) == key
    assert key_of_text(key) == key


def test_points_in_time_of_any_year_have_a_key():
    years = pa.array([-(10**12), 10**12], pa.timestamp("s"))
    keys, _ = keys_of(chunked(years), NONE)
    assert keys.to_pylist() == ["-29719-04-05T22:13:20", "33658-09-27T01:46:40"]
    assert _times.text_of(0, 1, zoned=False) == "1970-01-01T00:00:00.000000001"


def test_levels_of_one_value_cannot_be_told_apart_by_it():
    levels = Levels(["01", "1", "001"])
    assert levels.codes(pa.array(["01", "1", "001", "+1"])).tolist() == [0, 1, 2, -1]


def test_durations_cannot_be_categories():
    cells = pa.array([1, None], pa.duration("s"))
    refused(
        "t.csv: column 'x' is duration[s]", "cannot be categories", call=lambda: codes(["a"], cells)
    )
    assert np.isnan(codes(["a"], pa.nulls(1, pa.duration("s")))).all()


# Faults


@pytest.mark.parametrize(
    ("column", "cells", "fact"),
    [
        (made(Number), ["1", "2", "abc"], "'abc' is not a number"),
        (made(Number), ["1", "", "1,5"], "'1,5' is not a number"),
        (made(Number, decimal=","), ["1,5", "", "1.5"], "'1.5' is not a number with ','"),
        (made(Number), ["1", "2", "1e400"], "infinite"),
        (made(Number), ["1", "2", "inf"], "'inf' is not a number"),
        (made(Number), [1.0, None, -np.inf], "infinite"),
        (made(Boolean), ["yes", "0", "maybe"], "'maybe' is not true or false"),
        (made(Boolean), ["yes", "0", "2,5"], "'2,5' is not true or false"),
        (made(Boolean), [1.0, 0.0, np.inf], "infinite"),
        (made(Datetime), ["2024-01-05", "NA", "soon"], "'soon' is not a date"),
        (made(Datetime), ["2024-01-05", "NA", "5"], "'5' is not a date"),
        (made(Datetime, format="%d.%m.%Y"), ["5.1.2024", "", "2024"], "of the form %d.%m.%Y"),
        (made(Datetime), ["2024-01-05", "", "2024-01-05T00:00Z"], "has a time zone"),
        (made(Datetime, zoned=True), ["2024-01-05T00:00Z", "", "2024-01-05"], "has no time zone"),
        (made(Duration), ["1:00", "", "90"], "'90' is not a duration"),
    ],
)
@pytest.mark.parametrize(
    ("place", "row"),
    [
        (Place("t.csv"), 2),
        (Place("t.csv", before=7), 9),
        (Place("t.csv", rows=np.array([5, 6, 70])), 70),
    ],
)
def test_a_fault_names_its_column_row_and_cell(column, cells, fact, place, row):
    message = refused(fact, call=lambda: numbers(column, cells, NONE, place))
    assert message.startswith(f"t.csv: column 'x', row {row} (from 0): ")


def test_faults_are_counted_and_long_cells_shortened():
    cells = ["1", "a" * 1000, "b", "c"]
    message = refused("nor are 2 more cells", call=lambda: numbers(made(Number), cells))
    assert len(message) < 500


@pytest.mark.parametrize(
    ("kind", "cells"),
    [
        (Number, [dt.date(2024, 1, 5)]),
        (Boolean, [dt.time(1)]),
        (Count, [dt.timedelta(1)]),
        (Datetime, [1]),
        (Datetime, [1.5]),
        (Datetime, [True]),
        (Datetime, [dt.timedelta(1)]),
        (Duration, [1]),
        (Duration, [dt.date(2024, 1, 5)]),
    ],
)
def test_a_column_of_another_type_is_refused(kind, cells):
    refused("t.csv: column 'x' is", call=lambda: numbers(made(kind), cells))


def test_typed_times_with_and_without_a_zone_are_not_mixed():
    zoned = pa.array([0, None], pa.timestamp("s", "UTC"))
    assert numbers(made(Datetime, zoned=True), zoned)[0] == 0
    refused("has a time zone", call=lambda: numbers(made(Datetime), zoned))
    naive = pa.array([0], pa.timestamp("s"))
    refused("has no time zone", call=lambda: numbers(made(Datetime, zoned=True), naive))
