"""What a column is told to be, with the boundary of every rule, and what is learnt of it."""

import datetime as dt
import math
import re
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from jaxrep.data import Columns, apply, fit, load
from jaxrep.data.cells._times import FORMATS
from jaxrep.data.fit import _kinds, _levels, _passes, _profile
from jaxrep.data.fit._profile import NUMBER_FORMATS
from jaxrep.data.schema import MISSING, Boolean, Count, Datetime, Duration, LeftOut, Number
from jaxrep.data.transform import to_raw
from jaxrep.errors import InputError
from tests.helpers.refusals import refused

pytestmark = pytest.mark.quick

ANCHOR = [0.5, -1.5]  # a column that is always learned from


def blocks_of(table, rows=None):
    rows = rows or max(table.num_rows, 1)
    return lambda: (table.slice(i, rows) for i in range(0, max(table.num_rows, 1), rows))


def fitted(table, rows=None, mask=None, **said):
    said = Columns(**said)
    return fit(blocks_of(table, rows), source="data.csv", columns=said, mask=mask)


def column_of(cells, rows=None, **said):
    """Returns what a column x is, learned from or left out; cells are text or an Arrow array."""
    cells = pa.array(cells, pa.string()) if isinstance(cells, list) else cells
    anchor = pa.array([ANCHOR[i % 2] for i in range(len(cells))])
    schema = fitted(pa.table({"x": cells, "anchor": anchor}), rows, **said).schema
    return next(c for c in (*schema.columns, *schema.left_out) if c.name == "x")


def kind_of(cells, rows=None, **said):
    return column_of(cells, rows, **said).kind


def typed(values, kind=None):
    return pa.array(values, kind)


# Numbers


@pytest.mark.parametrize("as_text", [True, False])
@pytest.mark.parametrize(
    ("values", "kind", "stored"),
    [
        ([3, 1, 3], "count", "int64"),
        ([0, 2, 2], "count", "int64"),
        ([-1, 2, 2], "number", "int64"),
        ([3.0, 1.0, 3.0], "count", "double"),
        ([3.5, 1.0, 3.0], "number", "double"),
        ([-0.5, 1.0, 3.0], "number", "double"),
        ([1, 0, 1], "boolean", "int64"),
        ([1.0, 0.0, 1.0], "boolean", "double"),
        ([2, 1, 2], "count", "int64"),
        ([1, 0, -1, 0], "number", "int64"),
        ([2**53, 1, 1], "count", "int64"),
        ([2**53 + 2, 1, 1], "id", None),
        ([-(2**53) - 2, 1, 1], "id", None),
        ([2.0**53 + 2, 1.0, 1.0], "count", "double"),
        ([1, 2], "count", "int64"),  # too few to count up
        ([1, 2, 3], "id", None),
        ([3, 1, 2], "id", None),
        ([5, 9, 12], "id", None),
        ([5, 12, 9], "count", "int64"),
        ([-1, 0, 7], "id", None),
        ([1, 2, 2], "count", "int64"),
        ([1.5, 2.5, 3.5], "number", "double"),
    ],
)
def test_the_kind_of_numbers(values, kind, stored, as_text):
    made = column_of([repr(value) for value in values] if as_text else typed(values))
    assert made.kind == kind
    if stored is not None:
        assert made.stored == stored


@pytest.mark.parametrize("top", [2**63, 2**64 - 1, 2**127 + 1])
def test_whole_numbers_beyond_64_bits_are_ids_as_text_too(top):
    assert column_of([str(top), "17", "17"]).kind == "id"
    assert (
        column_of([str(top), "17", "17"]).why == "whole numbers beyond 2^53, which no float holds"
    )
    assert column_of([f"{top}.0", "17", "17"]).kind == "count"
    if top < 2**64:
        assert column_of(pa.array([top, 17, 17], pa.uint64())).kind == "id"


@pytest.mark.parametrize("kind", ["int8", "uint16", "float", "halffloat"])
def test_numbers_are_stored_in_their_own_type(kind):
    assert column_of(typed([3, 1, 3]).cast(pa.type_for_alias(kind))).stored == kind


def test_integers_with_a_gap_do_not_count_up():
    assert kind_of(typed([1, None, 3, 4])) == "count"
    assert kind_of(["1", "", "3", "4"]) == "count"


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1e3", "2.5", "2.5"], "number"),
        (["01", "10", "11"], "category"),
        (["0", "11", "10"], "count"),
        (["0.5", "10", "11"], "number"),
        (["-01", "10", "11"], "category"),
        (["+1", "10", "11"], "count"),
        (["+49172", "10", "10"], "count"),
        (["+491721", "10", "10"], "category"),  # a telephone number
        (["1", "x", "2"], "category"),
        (["1", "inf", "2"], "category"),
        (["1", "0x1", "2"], "category"),
        ([" 3 ", "1\t", "\u00a02"], "id"),
    ],
)
def test_what_only_looks_like_a_number_is_none(cells, kind):
    assert kind_of(cells) == kind


WRITTEN = {
    (".", ","): (["1,234", "5,678.5", "12"], [1234, 5678.5, 12]),
    (",", ""): (["1,5", "-2,25", "12"], [1.5, -2.25, 12]),
    (",", "."): (["1.234,5", "5.678.901", "12"], [1234.5, 5678901, 12]),
    (".", " "): (["1 234", "5\u00a0678.5", "9\u202f000"], [1234, 5678.5, 9000]),
    (",", " "): (["1 234", "5\u00a0678,5", "12"], [1234, 5678.5, 12]),
    (".", "'"): (["1'234", "5'678.5", "12"], [1234, 5678.5, 12]),
    (",", "'"): (["1'234", "5'678,5", "12"], [1234, 5678.5, 12]),
}


def test_all_ways_to_write_numbers_are_tested():
    assert set(WRITTEN) == set(NUMBER_FORMATS)


@pytest.mark.parametrize("marks", WRITTEN)
def test_numbers_are_told_by_their_marks(marks):
    cells, values = WRITTEN[marks]
    made = column_of(cells)
    assert isinstance(made, Number) and (made.decimal, made.thousands) == marks
    assert made.mean == pytest.approx(np.mean(values), rel=1e-15)
    assert made.scale == pytest.approx(np.std(values), rel=1e-13)


def test_whole_numbers_by_marks_are_counts():
    made = column_of(["1,234", "5,678", "12"])
    assert isinstance(made, Count) and made.stored == "int64"


@pytest.mark.parametrize("cells", [["12,34", "1.5"], ["1,2345", "1,5", "1.5"], ["1,234", "01,5"]])
def test_numbers_of_two_ways_to_write_them_are_categories(cells):
    assert kind_of([*cells, *cells]) == "category"


# Booleans


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["true", "False", "TRUE"], "boolean"),
        (["true", "False", "yes"], "category"),
        (["yes", "no", "no"], "category"),
        (["t", "f", "t"], "category"),
        (["true", "false", "1"], "category"),
        (["true", "", "false"], "boolean"),
        (["true", "true", "true"], "constant"),
    ],
)
def test_the_kind_of_booleans(cells, kind):
    assert kind_of(cells) == kind


def test_booleans_are_stored_as_bool():
    for cells in (["true", "False", "TRUE"], typed([True, False, True])):
        made = column_of(cells)
        assert isinstance(made, Boolean) and made.stored == "bool"
        assert (made.mean, made.scale) == (pytest.approx(2 / 3), pytest.approx(math.sqrt(2) / 3))


# Times


@pytest.mark.parametrize("format", [format for _, format in FORMATS])
def test_dates_of_every_form_are_told(format):
    days = [dt.datetime(2023, 1, 14, 9, 30, 15), dt.datetime(2023, 9, 27), dt.datetime(2023, 11, 3)]
    cells = [day.strftime(format) for day in (*days, *days)]
    made = column_of(cells)
    assert isinstance(made, Datetime) and made.format == format and not made.zoned
    assert made.stored == ("timestamp[us]" if "%H" in format else "date32[day]")
    epoch = dt.datetime(1970, 1, 1)
    values = [(dt.datetime.strptime(c, format) - epoch).total_seconds() for c in cells]
    assert made.mean == pytest.approx(np.mean(values), rel=1e-15)


@pytest.mark.parametrize(
    ("cells", "zoned", "stored"),
    [
        (["2024-01-05", "2024/1/6", "2024-01-05"], False, "date32[day]"),
        (["2024-01-05T00:00", "2024-01-06"], False, "date32[day]"),
        (["2024-01-05T00:01", "2024-01-06"], False, "timestamp[us]"),
        (["2024-01-05T00:00Z", "2024-01-06 01:00+01:00"], True, "timestamp[us, tz=UTC]"),
    ],
)
def test_dates_by_iso_8601_are_told(cells, zoned, stored):
    made = column_of(cells)
    assert isinstance(made, Datetime) and made.format is None
    assert (made.zoned, made.stored) == (zoned, stored)


@pytest.mark.parametrize(
    "cells",
    [
        ["01/02/2024", "03/04/2024", "01/02/2024"],  # of which month?
        ["01-02-2024", "03-04-2024", "12-12-2024"],
        ["01/02/2024 10:00", "03/04/2024 10:00"],
        ["2024-01-05T00:00Z", "2024-01-05T00:00"],
        ["2024-01-05", "05.01.2024"],
        ["2024-02-30", "2024-02-28"],
        ["2024-13", "2024-12"],
        ["2024-01-05", "soon"],
    ],
)
def test_dates_that_cannot_be_told_are_categories(cells):
    assert kind_of(cells) == "category"


def test_ambiguous_dates_are_refused_where_dates_are_asked_for_and_read_by_a_format():
    cells = ["01/02/2024", "03/04/2024", "01/02/2024"]
    refused("data.csv", "'x'", "%m/%d/%Y or %d/%m/%Y", "--column 'x=datetime:%m/%d/%Y'",
            call=lambda: column_of(cells, kinds={"x": "datetime"}))  # fmt: skip
    made = column_of(cells, kinds={"x": "datetime:%d/%m/%Y"})
    days = [(dt.date(2024, m, d) - dt.date(1970, 1, 1)).days for d, m in ((1, 2), (3, 4), (1, 2))]
    assert made.mean == pytest.approx(np.mean(days) * 86_400, rel=1e-15)
    assert (made.format, made.stored) == ("%d/%m/%Y", "date32[day]")


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1:30", "0:45:10.5", "100:00"], "duration"),
        (["1 days 02:00:00", "-1 days +23:00:00"], "duration"),
        (["PT1H", "P1D"], "duration"),
        (["P", "PT"], "category"),
        (["1:30", "1:75"], "category"),
        (["1:30", "90"], "category"),
    ],
)
def test_spans_of_time_are_told(cells, kind):
    made = column_of(cells)
    assert made.kind == kind
    assert kind == "category" or made.stored == "duration[us]"


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_typed_points_in_time_are_seconds(unit, zone):
    kind = pa.timestamp(unit, zone)
    made = column_of(typed([0, 86_400], pa.timestamp("s", zone)).cast(kind))
    assert isinstance(made, Datetime) and made.stored == str(kind)
    assert (made.mean, made.scale, made.zoned) == (43_200, 43_200, zone is not None)


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64()])
def test_typed_dates_are_seconds(kind):
    made = column_of(typed([dt.date(1970, 1, 1), dt.date(1970, 1, 2)], kind))
    assert isinstance(made, Datetime) and (made.mean, made.stored) == (43_200, str(kind))


@pytest.mark.parametrize("kind", [pa.duration("ms"), pa.time32("s"), pa.time64("ns")])
def test_typed_spans_are_seconds(kind):
    unit = 10 ** {"s": 0, "ms": 3, "ns": 9}[kind.unit]
    integers = typed([10 * unit, 20 * unit], pa.int32() if kind == pa.time32("s") else pa.int64())
    made = column_of(integers.cast(kind))
    assert isinstance(made, Duration) and (made.mean, made.stored) == (15, str(kind))


def test_times_in_order_are_no_ids():
    assert kind_of(typed([1, 2, 3, 4], pa.timestamp("s"))) == "datetime"


# Text


def words(levels, rows):
    return [f"w{i % levels}" for i in range(rows)]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (words(9, 9), "category"),
        (words(10, 10), "id"),  # never repeats
        (words(9, 10), "category"),
        (words(21, 40), "category"),
        (words(21, 41), "text"),  # more than half of more than 40 rows are different
        (words(21, 42), "category"),
        (words(1000, 2000), "category"),
        (words(1001, 2002), "text"),  # more than 1,000 have 10 rows on average
        (words(1001, 10_009), "text"),
        (words(1001, 10_010), "category"),
        ([f"{i}{'x' * 49}" for i in range(10)], "id"),
        ([f"{i}{'x' * 50}" for i in range(10)], "text"),  # long, and never repeats
        ([f"{i}{'x' * 50}" for i in range(9)], "category"),
        (words(1, 12), "constant"),
        ([*words(1, 12), ""], "category"),  # it is there or not
        (["", "NA"], "constant"),
    ],
)
@pytest.mark.parametrize("rows", [None, 1])
def test_the_kind_of_text(cells, kind, rows):
    if len(cells) > 100 and rows is not None:
        rows = 97
    assert kind_of(cells, rows) == kind


def test_levels_are_sorted_and_keep_a_spelling_that_all_cells_share():
    assert column_of(["b", "a", " b", "C"]).levels == ("C", "a", "b")
    assert column_of(["1.0", "x", "1.0"]).levels == ("1.0", "x")
    assert column_of(["1.0", "x", "1"]).levels == ("1", "x")
    assert column_of(["TRUE", "True", "x"]).levels == ("true", "x")
    assert column_of(["2024-01-05", "2024/1/5", "x"]).levels == ("2024-01-05", "x")


def test_gaps_of_a_category_are_known():
    assert column_of(["b", "a", "b"]).has_gaps is False
    assert column_of(["b", "NA", "a"]).has_gaps is True
    assert column_of(["b", "?", "a"], na_values=("?",)).levels == ("a", "b")


# Mostly numbers


def numbers_and(others, numbers):
    """So many different numbers, and other words among them."""
    cells = [f"{i / 8}" for i in range(numbers)]
    return [*cells[:7], *others, *cells[7:]]


@pytest.mark.parametrize(
    ("others", "numbers", "found"),
    [
        (["high"], 19, False),  # 20 different values
        (["high"], 20, True),
        (["high", "low"], 20, True),
        (["high", "low", "mid"], 20, False),
        (["high", "low", "mid"], 146, False),  # 3 of 149 rows
        (["high", "low", "mid"], 147, True),  # 3 of 150: one in fifty
        (["high"] * 20, 20, True),
        (["high"] * 21, 20, False),
    ],
)
@pytest.mark.parametrize("rows", [None, 1, 10])
def test_numbers_with_a_few_words_are_refused(others, numbers, found, rows):
    cells = numbers_and(others, numbers)
    if not found:
        assert kind_of(cells, rows) in ("category", "text", "id")
        return
    facts = ["data.csv", "column 'x', row 7 (from 0)", "'high' is not a number", "--na-values"]
    refused(*facts, "--column 'x=category'", call=lambda: column_of(cells, rows))
    assert kind_of(cells, rows, kinds={"x": "category"}) == "category"


def test_words_named_as_missing_are_no_fault():
    cells = numbers_and(["high", "-999.0"], 30)
    made = column_of(cells, na_values=("high", "-999"))
    assert made.kind == "number" and made.has_gaps
    assert made.mean == np.mean([i / 8 for i in range(30)])


# What is left out


@pytest.mark.parametrize(
    ("cells", "why", "value"),
    [
        (typed([2.0, 2.0]), "only one value, 2", 2.0),
        (typed([True, True]), "only one value, 1", 1.0),
        (typed([2, None]), "only one value, 2", 2.0),
        (["a", "a"], "only one value, 'a'", None),
        (typed([1, 1], pa.timestamp("s")), "only one value", None),
        (pa.nulls(2), "no values", None),
        (typed([None, math.nan], pa.float64()), "no values", None),
    ],
)
def test_constants_are_left_out_with_their_value(cells, why, value):
    assert column_of(cells) == LeftOut("x", "constant", why, value)


@pytest.mark.parametrize("value", [0.0, 0.1, -1.7e9, 1e-300, 1e300])
@pytest.mark.parametrize("rows", [2, 10, 12_345])
def test_a_constant_column_of_any_value_is_one(value, rows):
    assert column_of(typed(np.full(rows, value))) == LeftOut(
        "x", "constant", f"only one value, {value:g}", value
    )


def test_the_line_of_a_constant_has_no_range():
    table = pa.table({"x": ["7", "7"], "y": [1, 2]})
    lines = list(fit(lambda: [table], source="t", columns=Columns({"x": "number"})).lines("t"))
    assert lines[1] == "  x  left out (constant)  only one value, 7"


def test_numbers_that_differ_by_rounding_alone_are_constant():
    assert kind_of(typed([0.1, np.nextafter(0.1, 1)] * 50)) == "constant"
    assert kind_of(typed([0.1, 0.1 + 1e-14] * 50)) == "number"


def test_nearly_constant_column_keeps_its_scale():
    values = np.array([1.7e9, 1.7e9 + 1e-4] * 50)
    assert column_of(typed(values)).scale == pytest.approx(exact_moments(values)[1], rel=1e-9)


@pytest.mark.parametrize("cell", [[1], {"a": 1}])
def test_a_type_that_holds_no_kind_is_refused_by_name(cell):
    refused("data.csv", "column 'x' has the type", "--drop 'x'",
            call=lambda: column_of(typed([cell, cell])))  # fmt: skip
    assert kind_of(typed([cell, cell]), drop=("x",)) == "dropped"


# What the user sets

TABLE = pa.table({"a": [1.5, 2.5, 4.0], "b": ["x", "y", "x"], "c": [3, 1, 1]})


@pytest.mark.parametrize(
    ("cells", "asked", "kind", "stored"),
    [
        (typed([3, 1, 1]), "number", "number", "int64"),
        (typed([3.0, 1.0, 1.0]), "category", "category", "double"),
        (["1", "2", "3"], "count", "count", "int64"),
        (["1,5", "2,5"], "count", "count", "double"),
        (["1", "2", "3"], "category", "category", "string"),
        (["007", "010"], "number", "number", "double"),
        (["yes", "N", "0"], "boolean", "boolean", "bool"),
        (typed([1.0, 0.0]), "boolean", "boolean", "double"),
        (["0:30", "0:45"], "duration", "duration", "duration[us]"),
        (["2024-01-05", "2024-01-06"], "datetime", "datetime", "date32[day]"),
        (["5.1.24", "6.1.24"], "datetime:%d.%m.%y", "datetime", "timestamp[us]"),
        (words(2000, 2001), "category", "category", "string"),
        (["2024-01-05", "2024-01-06"], "category", "category", "string"),
    ],
)
def test_a_column_has_the_kind_that_is_set(cells, asked, kind, stored):
    made = column_of(cells, kinds={"x": asked})
    assert (made.kind, made.stored, made.why) == (kind, stored, "set by --column")


@pytest.mark.parametrize("asked", ["id", "text", "constant", "dropped"])
def test_a_column_is_left_out_by_the_kind_set(asked):
    assert kind_of(["a", "b"], kinds={"x": asked}) == asked


def test_numbers_set_to_be_categories_have_sorted_texts_as_levels():
    assert column_of(typed([10, 9, 10]), kinds={"x": "category"}).levels == ("10", "9")
    assert column_of(["1.0", "2", "1"], kinds={"x": "category"}).levels == ("1", "2")


def test_a_decimal_comma_can_be_set():
    made = column_of(["1.234", "7", "8"], kinds={"x": "number:,"})
    assert (made.decimal, made.mean) == (",", pytest.approx((1234 + 7 + 8) / 3))
    # Untold, a comma before three digits is between thousands, but not behind a zero.
    made = column_of(["0,125", "-0,250", "9,404"])
    assert (made.decimal, made.thousands) == (",", "")
    made = column_of(["1.234,5", "0,125", "9,404"])
    assert (made.decimal, made.thousands) == (",", ".")
    assert column_of(["1,234", "5,678", "1,234"]).thousands == ","
    assert column_of(["1,234", "5,678", "1,234"], kinds={"x": "number:,"}).mean < 3


@pytest.mark.parametrize(
    ("cells", "asked", "facts"),
    [
        (["1", "two"], "number", ["row 1 (from 0)", "'two' is not a number"]),
        (["true", "maybe"], "boolean", ["'maybe' is not true or false"]),
        (["2024-01-05", "soon"], "datetime", ["'soon' is not a date"]),
        (["5.1.2024", "2024"], "datetime:%d.%m.%Y", ["'2024' is not a date of the form %d.%m.%Y"]),
        (["1:00", "later"], "duration", ["'later' is not a duration"]),
        (typed([1, 2]), "datetime", ["is int64", "numbers have no unit"]),
        (typed([1, 2]), "duration", ["is int64", "numbers have no unit"]),
        (typed([1, 2], pa.timestamp("s")), "number", ["is timestamp[s]"]),
        (typed([1, 2], pa.duration("s")), "category", ["durations cannot be categories"]),
        (typed([1, 2]), "boolean", ["row 1 (from 0)", "2 is neither true nor false"]),
        (["a", "b"], "words", ["'words' is not a kind of column"]),
        (["a", "b"], "category:x", ["is not a kind of column"]),
        (["1", "2"], "number:;", ["a decimal mark is . or ,"]),
    ],
)
def test_a_column_that_does_not_fit_the_kind_set_is_refused(cells, asked, facts):
    refused("'x'", *facts, call=lambda: column_of(cells, kinds={"x": asked}))


def test_roles_are_kept_and_named():
    made = fitted(
        TABLE.append_column("i", typed([7, 8, 9])).append_column("y", typed(["p", "q", "p"])),
        kinds={"b": "category"}, drop=("c",), label="y", id_column="i", na_values=("?",),
    )  # fmt: skip
    assert made.schema.names == ("a", "b")
    assert made.schema.kinds() == {"a": "number", "b": "category", "c": "dropped", "i": "id"}
    assert (made.schema.label, made.schema.ids, made.schema.marks) == ("y", ("i",), ("?",))
    assert made.schema.missing == (*MISSING, "?")
    assert (made.rows, made.order) == (3, ("a", "b", "c", "i", "y"))
    lines = list(made.lines("data.csv"))
    assert lines[0] == "data.csv: 3 rows, 5 columns"
    assert [line.split()[0] for line in lines[1:]] == list("abciy")
    assert [re.split(" {2,}", line)[2] for line in lines[1:]] == [
        "number", "category", "left out (dropped)", "left out (id)", "label",
    ]  # fmt: skip


def test_the_default_missing_value_markers_can_be_set():
    assert column_of(["a", "NA", "a"], missing=("-",)).levels == ("NA", "a")
    assert column_of(["a", "-", "a"], missing=("-",)).has_gaps
    assert column_of(["a", "NA", "a"], missing=()).levels == ("NA", "a")
    made = column_of(["1.5", "-1", "-1.0", "3"], missing=("-1",))  # as it is written alone
    assert made.mean == pytest.approx(np.mean([1.5, -1, 3]))


@pytest.mark.parametrize(
    ("said", "flag"),
    [
        ({"kinds": {"gone": "number"}}, "--column or --schema"),
        ({"drop": ("gone",)}, "--drop"),
        ({"label": "gone"}, "--label"),
        ({"id_column": "gone"}, "--id-column"),
    ],
)
def test_a_column_that_is_not_there_is_refused(said, flag):
    refused("data.csv", f"{flag} names 'gone'", "'a', 'b', 'c'", call=lambda: fitted(TABLE, **said))


@pytest.mark.parametrize(
    ("said", "flags"),
    [
        ({"kinds": {"b": "category"}, "label": "b"}, ["--column", "--label"]),
        ({"kinds": {"b": "category"}, "drop": ("b",)}, ["--column", "--drop"]),
        ({"drop": ("b",), "id_column": "b"}, ["--drop", "--id-column"]),
        ({"label": "b", "id_column": "b"}, ["--label", "--id-column"]),
    ],
)
def test_a_column_in_two_roles_is_refused(said, flags):
    refused("data.csv", "'b'", *flags, call=lambda: fitted(TABLE, **said))


def test_a_table_of_nothing_to_learn_is_refused_with_the_reasons():
    table = pa.table({"i": [1, 2, 3], "c": ["k", "k", "k"], "y": [1, 2, 2]})
    facts = ["'i' (whole numbers that count up)", "'c' (only one value, 'k')", "--column"]
    refused("no column is left", *facts, call=lambda: fitted(table, label="y"))


@pytest.mark.parametrize("rows", [0, 1])
def test_fewer_than_two_rows_are_refused(rows):
    refused("data.csv", "at least 2 rows", f"{rows} sample", call=lambda: fitted(TABLE[:rows]))


def test_two_columns_of_one_name_are_refused():
    table = pa.table([pa.array([1.0, 2.0])] * 2, names=["age", "age"])
    refused("data.csv", "'age'", call=lambda: fitted(table))


@pytest.mark.parametrize("cells", [[1.0, 2.0, -math.inf], ["1", "2", "-1e400"]])
def test_infinite_numbers_are_refused_where_they_are_used(cells):
    made = fitted(pa.table({"x": [1.0, 2.0]})).schema
    table = pa.table({"x": cells})
    refused("column 'x', row 2 (from 0)", "infinite", call=lambda: apply(made, table, source="d"))


# Statistics


def exact_moments(values):
    """Mean and population standard deviation in rational arithmetic, an oracle without rounding."""
    exact = [Fraction(float(value)) for value in values]
    mean = sum(exact) / len(exact)
    size = max(abs(value - mean) for value in exact)
    variance = sum(((value - mean) / size) ** 2 for value in exact) / len(exact)
    return float(mean), float(size) * math.sqrt(variance)


@pytest.mark.parametrize("as_text", [True, False])
@pytest.mark.parametrize(
    ("centre", "spread"),
    [
        (0, 1),
        (1.7e9, 100),
        (-1e15, 10),
        (1e-200, 1e-201),
        (1e200, 1e199),
        (1e308, 1e306),
        (0, 1e-310),
    ],
)
def test_statistics_agree_with_exact_arithmetic(centre, spread, as_text):
    values = centre + spread * np.random.default_rng(0).normal(size=501)
    cells = [repr(float(value)) for value in values] if as_text else typed(values)
    for rows in (None, 100):
        column = column_of(cells, rows)
        mean, scale = exact_moments(values)
        assert abs(column.mean - mean) <= 4e-16 * max(abs(mean), spread)
        assert column.scale == pytest.approx(scale, rel=1e-12)


def test_statistics_are_those_of_numpy_in_float64():
    x = np.random.default_rng(0).lognormal(size=(1000, 3))
    made = fitted(pa.table({f"x{i}": x[:, i] for i in range(3)})).schema
    exact = x.astype(np.longdouble)
    np.testing.assert_allclose([c.mean for c in made.columns], exact.mean(axis=0), rtol=1e-15)
    np.testing.assert_allclose([c.scale for c in made.columns], exact.std(axis=0), rtol=1e-15)
    np.testing.assert_allclose([c.mean for c in made.columns], x.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose([c.scale for c in made.columns], x.std(axis=0), rtol=1e-14)


@pytest.mark.parametrize("name", ["blobs", "breast_cancer", "wine"])
def test_statistics_and_features_are_those_of_scikit_learn(name):
    table = load(name)
    label = table.column_names[-1]
    x = np.column_stack(table.columns[:-1])
    scaler = StandardScaler().fit(x)
    made = fitted(table, label=label).schema
    assert len(made.columns) == x.shape[1]
    np.testing.assert_allclose([c.mean for c in made.columns], scaler.mean_, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose([c.scale for c in made.columns], scaler.scale_, rtol=1e-13)
    features = apply(made, table, source=name)
    np.testing.assert_allclose(features.numbers, scaler.transform(x), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("carrier", ["float", "text", "timestamp"])
def test_moments_in_time_are_standardised_in_float64(carrier):
    counts = 1_700_000_000_000_000 + np.random.default_rng(0).integers(-(10**8), 10**8, 2_000)
    seconds = counts / 1e6
    cells = {
        "float": lambda: typed(seconds),
        "text": lambda: typed([str(np.datetime64(int(c), "us")) for c in counts]),
        "timestamp": lambda: typed(counts).cast(pa.timestamp("us")),
    }[carrier]()
    table = pa.table({"t": cells})
    mean, scale = exact_moments(seconds)
    features = apply(fitted(table).schema, table, source="data.csv")
    np.testing.assert_allclose(features.numbers[:, 0], (seconds - mean) / scale, atol=2e-7)


# Gaps


@pytest.mark.parametrize("rows", [None, 2])
def test_gaps_count_in_no_statistic_and_stay(rows):
    cells = [1.0, None, math.nan, 4.0, 6.0, 7.5]
    made = fitted(pa.table({"x": cells, "job": ["a", None, "b", "b", "", "a"]}), rows)
    x, job = made.schema.columns
    mean, scale = exact_moments([1, 4, 6, 7.5])
    assert (x.fill, x.has_gaps, x.refuses) == (None, True, False)
    assert (job.fill, job.has_gaps, job.refuses) == (None, True, False)
    assert x.mean == pytest.approx(mean, rel=1e-15)
    assert x.scale == pytest.approx(scale, rel=1e-14)
    assert made.schema.row_spec().gaps == (True, True)
    assert dict(made.missing) == {"x": 2, "job": 2}


@pytest.mark.parametrize("columns", [1, 65])  # beyond 64 the medians are found in more passes
@pytest.mark.parametrize("rows", [None, 2])
def test_gaps_are_filled_with_the_median_which_counts_in_the_statistics(columns, rows):
    cells = [1.0, None, math.nan, 4.0, 6.0, 7.5]
    made = fitted(pa.table({f"c{i}": cells for i in range(columns)}), rows, impute="median")
    mean, scale = exact_moments([1, 5, 5, 4, 6, 7.5])
    for column in made.schema.columns:
        assert (column.fill, column.has_gaps) == (5.0, True)
        assert column.mean == pytest.approx(mean, rel=1e-15)
        assert column.scale == pytest.approx(scale, rel=1e-14)
    assert dict(made.missing) == {f"c{i}": 2 for i in range(columns)}


@pytest.mark.parametrize(
    ("cells", "median"),
    [
        (["1", "", "4", "5"], 4),
        (["1,5", "NA", "2,5"], 2),
        (["true", "", "false", "true"], 1),
        (["1970-01-01", "", "1970-01-02", "1970-01-05"], 86_400),
        (["0:01", "", "0:03"], 120),
        (typed([0, None, 7000], pa.timestamp("ms")), 3.5),
    ],
)
def test_the_median_is_of_what_cells_mean(cells, median):
    assert column_of(cells, impute="median").fill == median


@pytest.mark.parametrize("rows", [None, 2])
@pytest.mark.parametrize(
    ("cells", "level"),
    [
        (["b", "", "a", "b", "?"], "b"),
        (["b", "", "a", "c"], "a"),  # of equally frequent ones the first
        (["TRUE", "no", "true", ""], "true"),
    ],
)
def test_gaps_of_categories_are_filled_with_the_most_frequent_level(cells, level, rows):
    said = {"impute": "median", "na_values": ("?",), "kinds": {"x": "category"}}
    made = column_of(cells, rows, **said)
    assert (made.fill, made.has_gaps) == (level, True)
    assert level in made.levels


def test_the_most_frequent_level_is_of_the_rows_to_learn_from():
    table = pa.table({"job": ["b", "b", "b", "a", "a", "b", None], "x": np.arange(7) / 8})
    mask = np.array([False, False, True, True, True, False, True])
    assert fitted(table, None, mask, impute="median").schema.columns[0].fill == "a"


@pytest.mark.parametrize("impute", [None, "median"])
def test_without_gaps_nothing_is_imputed(impute):
    for cells in (typed([1.5, 2.0, 7.0]), ["a", "b", "a"]):
        made = column_of(cells, impute=impute)
        assert (made.fill, made.has_gaps, made.refuses) == (None, False, False)


def test_what_fills_gaps_is_said():
    table = pa.table({"age": [1.5, None, 4.0], "job": ["a", "", "a"], "town": ["x", "y", "x"]})
    _, *lines = fitted(table, impute="median").lines("t")
    assert lines[0].endswith("; 1 missing, filled with the median 2.75")
    assert lines[1].endswith("; 1 missing, filled with the most frequent, 'a'")
    assert "missing" not in lines[2]
    _, *lines = fitted(table).lines("t")
    assert lines[0].endswith("; 1 missing") and lines[1].endswith("; 1 missing")


def test_where_gaps_are_refused_nothing_fills():
    made = fitted(TABLE, impute="refuse").schema
    assert all(c.fill is None and c.refuses for c in made.columns)
    table = pa.table({f"c{i}": [1.5, None, math.nan, 4.0] for i in range(12)})
    message = refused("data.csv", "'c0' (2)", "'c9' (2) and 2 more", "--impute refuse",
                      call=lambda: fitted(table, impute="refuse"))  # fmt: skip
    assert "c10" not in message
    table = pa.table({"job": ["a", None, "b"], "x": [1.5, 2.0, 3.0]})
    refused("'job' (1)", call=lambda: fitted(table, impute="refuse"))
    # What is left out may have gaps.
    fitted(table.append_column("c", typed([1.0, None, 1.0])), impute="refuse", drop=("job",))


# Rows to learn from

MIXED = pa.table(
    {
        "n": [*["1.5", "2.5"] * 10, *["9,5", "7"] * 10],
        "t": [*["a", "b", ""] * 7, *["c"] * 19],
        "d": [f"2024-01-{1 + i % 28:02}" for i in range(40)],
        "f": [float(i * i) if i % 7 else None for i in range(40)],
    }
)


@pytest.mark.parametrize("rows", [None, 1, 7])
def test_a_mask_chooses_the_rows_to_learn_from(rows):
    mask = np.arange(40) < 20
    found, expected = fitted(MIXED, rows, mask), fitted(MIXED[:20])
    same(found.schema, expected.schema)
    assert (found.rows, dict(found.missing)) == (20, dict(expected.missing))
    every_third = np.arange(40) % 3 == 0
    same(
        fitted(MIXED, rows, every_third).schema,
        fitted(MIXED.filter(pa.array(every_third))).schema,
    )


def test_a_fault_under_a_mask_has_its_row_in_the_table():
    cells = [*numbers_and([], 30), "high"]
    mask = np.arange(31) != 3
    refused("row 30 (from 0)", call=lambda: fitted(pa.table({"x": cells}), 4, mask))
    said = {"kinds": {"x": "number"}}
    refused("row 30 (from 0)", call=lambda: fitted(pa.table({"x": cells}), 4, mask, **said))


# Blocks


def same(found, expected):
    """Two schemas are the same, but for the last digits of what is summed up over blocks."""
    assert found.kinds() == expected.kinds()
    assert found.left_out == expected.left_out
    for a, b in zip(found.columns, expected.columns, strict=True):
        for name in a.__struct_fields__:
            x, y = getattr(a, name), getattr(b, name)
            is_rounded = name in ("mean", "scale")
            assert x == (pytest.approx(y, rel=1e-12) if is_rounded else y), (a.name, name)


FORMS = st.sampled_from(
    [
        *(["1", "2", "3", "17"], ["1.5", "-2"], ["01", "7"], ["1,5", "2"], ["1.234,5", "7"]),
        *(["true", "FALSE"], ["a", "b", "c"], ["2024-01-05", "2024-02-06T01:00"], ["1:00", "P1D"]),
        *(["2024-01-05T00:00Z"], ["13.01.2024", "1.2.2024"], ["01/02/2024", "03/04/2024"]),
        *(["01/13/2024"], ["", "NA"], ["?"], ["high"], ["0", "1"], ["9007199254740995"]),
    ]
)


@st.composite
def text_tables(draw):
    rows = draw(st.integers(2, 70))
    columns = {"anchor": [str(ANCHOR[i % 2]) for i in range(rows)]}
    for name in "xyz"[: draw(st.integers(1, 3))]:
        pools = draw(st.lists(FORMS, min_size=1, max_size=3))
        first = draw(st.integers(0, rows))
        cells = [pools[0][i * i % len(pools[0])] for i in range(first)]
        rest = [cell for pool in pools for cell in pool]
        cells += [rest[i * (i + 1) // 2 % len(rest)] for i in range(rows - first)]
        columns[name] = cells
    return pa.table(columns)


@settings(deadline=None, max_examples=150)
@given(text_tables(), st.integers(1, 25))
@example(pa.table({"anchor": ["0.5", "-1.5"], "x": ["2024-01-05T00:00Z", "13.01.2024"]}), 1)
def test_blocks_of_any_length_give_the_same_schema(table, rows):
    same_by_blocks(table, rows)


WORDS = st.lists(st.sampled_from(["a", "b", "c", "D", "true", "TRUE", "1.0", "1", "?", ""]))


@settings(deadline=None, max_examples=150)
@given(WORDS, WORDS, st.integers(1, 25), st.booleans())
@example([*"abcdefg"], [*"abcdefg"], 1, False)
def test_blocks_of_any_length_give_the_same_of_many_levels(first, then, rows, is_asked):
    cells = [*first, *then * 3, *"xyzxy"]
    table = pa.table({"x": cells, "anchor": [ANCHOR[i % 2] for i in range(len(cells))]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_levels, "MANY_LEVELS", 3)
        patch.setattr(_kinds, "MANY_LEVELS", 3)
        patch.setattr(_passes, "MANY_LEVELS", 3)
        patch.setattr(_levels, "ROWS_PER_LEVEL", 3)
        patch.setattr(_passes, "ROWS_PER_LEVEL", 3)
        patch.setattr(_levels, "_PENDING", 2)
        patch.setattr(_profile, "_MOST_LEVELS", 4)
        same_by_blocks(table, rows, kinds={"x": "category"} if is_asked else {})


def same_by_blocks(table, rows, **said):
    def outcome(rows):
        try:
            return fitted(table, rows, na_values=("?",), **said)
        except InputError as error:
            return str(error)

    found, whole = outcome(rows), outcome(None)
    if isinstance(whole, str):
        assert found == whole
        return
    same(found.schema, whole.schema)
    assert (found.rows, dict(found.missing)) == (whole.rows, dict(whole.missing))


@pytest.mark.parametrize(
    ("late", "kind"),
    [("x", "category"), ("1,5", "number"), ("2024", "count"), ("", "count"), ("01", "category")],
)
def test_text_that_shows_up_after_the_first_block_is_seen_in_a_second_pass(late, kind):
    cells = [str(2 + i % 5) for i in range(40)] + [late]
    made = column_of(cells, 10)
    assert made.kind == kind == kind_of(cells)
    if kind == "category":
        assert set(made.levels) == {"2", "3", "4", "5", "6", late}


def test_a_block_of_nothing_but_nulls_does_not_tell_the_type():
    blocks = [
        pa.table({"x": pa.nulls(2), "a": ANCHOR}),
        pa.table({"x": ["p", "q"], "a": ANCHOR}),
    ]
    made = fit(lambda: iter(blocks), source="data.csv").schema
    assert made.columns[0].levels == ("p", "q") and made.columns[0].has_gaps


def test_a_column_left_out_says_how_many_of_its_cells_are_numbers():
    texts = [f"{i}.5" for i in range(40)] + ["low", "high", "none", "n.d."] * 5
    assert column_of(texts).why == "44 different values in 60 rows; 40 of 60 cells are numbers"
    assert column_of([f"u{i}" for i in range(60)]).why == "60 values, all different"


@pytest.mark.parametrize("asked", [None, "category", "number"])
@pytest.mark.parametrize("first", [["a", "b"], ["1", "2"]])
def test_bytes_that_are_no_text_are_refused_by_name(asked, first):
    plain = pa.table({"x": [1.5, 2.0], "blob": pa.array([t.encode() for t in first])})
    strange = pa.table({"x": [2.5, 7.0], "blob": pa.array([b"a", b"\xff"])})
    columns = Columns(kinds={"blob": asked} if asked else {})
    for blocks in ([plain, strange], [strange, plain], [strange]):
        with pytest.raises(InputError, match=r"'blob' has the type binary.*--drop 'blob'"):
            fit(lambda b=blocks: b, source="t", columns=columns)
    dropped = fit(lambda: [strange], source="t", columns=Columns(drop=("blob",)))
    assert dropped.schema.names == ("x",)


def test_bytes_that_are_no_text_are_refused_in_new_rows():
    table = pa.table({"blob": pa.array([b"a", b"b", b"a"])})
    schema = fit(lambda: [table], source="t").schema
    new = pa.table({"blob": pa.array([b"b", None, b"\xff", b"a"])})
    with pytest.raises(InputError, match=r"'blob', row 2 .*xff.* is not text in UTF-8"):
        to_raw(schema, new, source="new")
