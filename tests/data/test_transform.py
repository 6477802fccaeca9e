"""A schema applied to tables, and inverted; expected values are written by hand."""

import datetime as dt
import math
from decimal import Decimal

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrep.batch import MISSING, Batch
from jaxrep.data import Columns, apply, fit, invert
from jaxrep.data.schema import (
    Boolean,
    CategoricalColumn,
    Count,
    Datetime,
    Duration,
    LeftOut,
    Number,
    Schema,
)
from jaxrep.data.transform import (
    Counts,
    apply_blocks,
    draw_raw,
    from_raw,
    one_hot,
    to_features,
    to_raw,
    to_values,
)
from jaxrep.errors import InputError
from tests.helpers.refusals import refused

pytestmark = pytest.mark.quick

AGE = Number("age", mean=40.0, scale=10.0, fill=None)
JOB = CategoricalColumn("job", ("a", "b", "c"), has_gaps=False)
PEOPLE = Schema((AGE, JOB), (LeftOut("i", "id", "counts up"),), label="y")
TABLE = pa.table({"age": [30.0, 50.0, 41.0, 30.0], "job": ["b", "a", "b", "c"]})


def schema_of(*columns):
    return Schema(tuple(columns))


# Features


def same(found, expected):
    """Two sets of rows are the same, gaps included."""
    np.testing.assert_array_equal(found.numbers, expected.numbers)
    assert (found.codes is None) == (expected.codes is None)
    if found.codes is not None:
        np.testing.assert_array_equal(found.codes, expected.codes)


def test_features_are_numbers_and_codes_in_c_order():
    schema = schema_of(JOB, AGE, msgspec.structs.replace(JOB, name="past"))
    features = apply(schema, TABLE.append_column("past", TABLE["job"][::-1]), source="data.csv")
    assert features.numbers.dtype == np.float32 and features.numbers.flags.c_contiguous
    assert features.codes.dtype == np.int32 and features.codes.flags.c_contiguous
    np.testing.assert_array_equal(features.numbers, np.array([[-1, 1, 0.1, -1]], np.float32).T)
    np.testing.assert_array_equal(features.codes, np.array([[2, 1, 2, 3], [3, 2, 1, 2]]).T)
    assert features.targets is None and features.weights is None


def test_a_table_without_categories_has_no_codes_and_one_without_numbers_none_of_them():
    assert apply(schema_of(AGE), TABLE.select(["age"]), source="d").codes is None
    features = apply(schema_of(JOB), TABLE.select(["job"]), source="d")
    assert features.numbers.shape == (4, 0) and features.numbers.dtype == np.float32
    assert invert(schema_of(JOB), features).equals(TABLE.select(["job"]))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"has_gaps": True}, MISSING),
        ({"has_gaps": False}, 0),
        ({"has_gaps": True, "fill": "b"}, 2),
        ({"has_gaps": False, "fill": "a"}, 1),
    ],
)
def test_unknown_and_missing_categories(changes, code):
    schema = schema_of(CategoricalColumn("job", ("a", "b"), **changes))
    table = pa.table({"job": ["new", "", None, "b"]})
    assert apply(schema, table, source="d").codes[:, 0].tolist() == [0, code, code, 2]


@pytest.mark.parametrize(
    ("changes", "value"),
    [
        ({"fill": None, "has_gaps": True}, math.nan),
        ({"fill": None, "has_gaps": False}, 0.0),  # the mean
        ({"fill": 5.0, "has_gaps": True}, 2.0),
        ({"fill": 5.0, "has_gaps": False}, 2.0),
    ],
)
def test_missing_numbers(changes, value):
    schema = schema_of(Number("x", mean=1.1, scale=1.95, **changes))
    table = pa.table({"x": [None, 3.05, math.nan]})
    found = apply(schema, table, source="d").numbers[:, 0]
    np.testing.assert_allclose(found, [value, 1, value], rtol=1e-7, atol=0)


def test_numbers_are_standardised_in_float64():
    schema = schema_of(Number("t", mean=1.7e9, scale=100.0, fill=None))
    table = pa.table({"t": ["1700000050.5"]})
    assert apply(schema, table, source="d").numbers[0, 0] == np.float32(0.505)


def test_missing_values_are_refused_with_their_counts_to_the_end_of_the_table():
    strict = CategoricalColumn("job", ("a",), has_gaps=False, refuses=True)
    numbers = (Number(f"c{i}", 0.0, 1.0, None, refuses=True) for i in range(12))
    schema = schema_of(*numbers, strict)
    columns = {f"c{i}": [1.0, None, math.nan, 4.0] for i in range(12)}
    table = pa.table(columns | {"job": ["a", None, "", "b"]})
    facts = ["later.csv", "'c0' (2)", "'c9' (2) and 3 more"]
    message = refused(*facts, call=lambda: apply(schema, table, source="later.csv"))
    assert "c10" not in message
    blocks = [table.slice(i, 1) for i in range(4)]
    refused(*facts, call=lambda: list(apply_blocks(schema, blocks, source="later.csv")))
    two = schema_of(strict)
    refused("'job' (2)", call=lambda: apply(two, table.select(["job"]), source="later.csv"))


def test_columns_are_matched_by_name_and_those_left_out_may_be_there():
    table = TABLE.append_column("y", pa.array(list("1122"))).append_column(
        "i", pa.array(list("abcd"))
    )
    expected = apply(PEOPLE, TABLE, source="d")
    for names in (["job", "age"], ["i", "job", "y", "age"]):
        same(apply(PEOPLE, table.select(names), source="d"), expected)


def test_missing_and_extra_columns_are_refused_together():
    table = pa.table({"Age": [1.0], "job": ["a"], "z": [1.0]})
    refused("later.csv", "missing columns 'age'", "extra columns 'Age', 'z'",
            call=lambda: apply(PEOPLE, table, source="later.csv"))  # fmt: skip


def test_two_columns_of_one_name_are_refused():
    table = pa.table([pa.array([1.0])] * 2 + [pa.array(["a"])], names=["age", "age", "job"])
    refused("same name", call=lambda: apply(PEOPLE, table, source="d"))


def test_values_in_several_chunks_are_features_of_one_table():
    chunked = pa.concat_tables([TABLE[:1], TABLE[1:3], TABLE[3:]])
    expected = apply(PEOPLE, TABLE, source="d")
    same(apply(PEOPLE, chunked, source="d"), expected)
    blocks = list(apply_blocks(PEOPLE, [TABLE[:1], TABLE[1:]], source="d"))
    first, second = (x for _, x in blocks)
    numbers = np.concatenate([first.numbers, second.numbers])
    same(Batch(numbers, np.concatenate([first.codes, second.codes])), expected)
    assert pa.concat_tables([block for block, _ in blocks]).equals(TABLE)


def test_a_table_without_rows_has_no_features():
    features = apply(PEOPLE, TABLE[:0], source="d")
    assert features.numbers.shape == features.codes.shape == (0, 1)


FAR = schema_of(Number("x", mean=0.0, scale=1e-30, fill=None))


def test_a_value_too_far_for_float32_is_refused_with_column_and_row():
    table = pa.table({"x": [0.0, 1e10]})
    call = "later.csv: column 'x', row {} (from 0): 1e+10 is too far from the training data"
    refused(call.format(1), "float32", call=lambda: apply(FAR, table, source="later.csv"))
    refused(call.format(8), call=lambda: apply(FAR, table, source="later.csv", before=7))
    rows = np.array([4, 99])
    refused(call.format(99), call=lambda: apply(FAR, table, source="later.csv", rows=rows))
    blocks = [table[:1], table[:1], table]
    refused(call.format(3), call=lambda: list(apply_blocks(FAR, blocks, source="later.csv")))


def test_a_fill_that_is_too_far_is_refused_like_a_value():
    schema = schema_of(Number("x", mean=0.0, scale=1e-30, fill=1e10))
    refused("row 0 (from 0)", call=lambda: apply(schema, pa.table({"x": [None]}), source="d"))


def test_a_fault_has_its_row_of_the_source():
    table = pa.table({"age": ["1", "x"], "job": ["a", "a"]})
    refused("row 1 (from 0): 'x'", call=lambda: to_raw(PEOPLE, table, source="d"))
    refused("row 8 (from 0): 'x'", call=lambda: to_raw(PEOPLE, table, source="d", before=7))
    rows = np.array([4, 99])
    refused("row 99 (from 0): 'x'", call=lambda: to_raw(PEOPLE, table, source="d", rows=rows))


# Counts


def test_what_could_not_be_placed_is_counted():
    schema = schema_of(
        Number("new gap", 0.0, 1.0, 0.0),
        Number("gap", 0.0, 1.0, 0.0, has_gaps=True),
        JOB,
        CategoricalColumn("town", ("x",), has_gaps=True),
    )
    counts = Counts()
    table = pa.table(
        {
            "new gap": [None, 1.0, None],
            "gap": [1.0, None, 2.0],
            "job": ["z", "a", ""],
            "town": ["x", "NA", None],
        }
    )
    for _ in range(2):
        to_raw(schema, table, source="d", counts=counts)
    assert counts.to_json() == {
        "unknown": {"job": 2},
        "filled": {"new gap": 4, "job": 2},
        "missing": {"gap": 2, "town": 4},
    }
    assert list(counts.sentences("d.csv")) == [
        "d.csv: 2 cells of 'job' are of no known category",
        "d.csv: cells (4 of 'new gap', 2 of 'job') are missing, though none was when the model was "
        "fitted; they are filled as if they were usual",
    ]
    assert Counts().to_json() == {} and not list(Counts().sentences("d.csv"))


@pytest.mark.parametrize("cells", [[1, None, 3, 0], ["yes", "", "3", "false"]])
def test_a_number_in_a_column_of_booleans_counts_as_what_it_is(cells):
    schema = schema_of(Boolean("member", 0.5, 0.25, None, has_gaps=True))
    counts, table = Counts(), pa.table({"member": cells})
    numbers = apply(schema, table, source="d.csv", counts=counts).numbers
    np.testing.assert_array_equal(numbers, np.array([[2], [np.nan], [10], [-2]], np.float32))
    assert counts.to_json() == {"missing": {"member": 1}, "neither": {"member": 1}}
    assert list(counts.sentences("d.csv")) == [
        "d.csv: 1 cell of 'member' is neither true nor false; such a number counts as what it is"
    ]


def test_one_cell_is_said_in_the_singular():
    counts = Counts()
    counts.unknown["job"] += 1
    assert list(counts.sentences("d")) == ["d: 1 cell of 'job' is of no known category"]


# Inverse


def test_the_inverse_is_computed_in_float64():
    schema = schema_of(Number("t", 1.7e9, 100.0, None))
    features = Batch(np.array([[0.5]], np.float32))
    assert invert(schema, features)["t"].to_pylist() == [1.7e9 + 50]


CODES = np.zeros((2, 1), np.int32)


@pytest.mark.parametrize("shape", [(2, 0), (2, 2), (2,), (1, 2, 1)])
@pytest.mark.parametrize("function", [invert, one_hot])
def test_numbers_of_another_width_are_refused(function, shape):
    features = Batch(np.zeros(shape), CODES)
    refused(str(shape), "(rows, 1)", call=lambda: function(PEOPLE, features))


@pytest.mark.parametrize(
    ("codes", "facts"),
    [
        (None, ("no codes", "expected 1")),
        (np.zeros((2, 2), np.int32), ("(2, 2)", "(2, 1)")),
        (np.zeros((3, 1), np.int32), ("(3, 1)", "(2, 1)")),
        (np.array([[1], [4]]), ("none of its column's values",)),
        (np.array([[1], [-2]]), ("none of its column's values",)),
    ],
)
@pytest.mark.parametrize("function", [invert, one_hot])
def test_codes_that_are_not_those_of_the_columns_are_refused(function, codes, facts):
    features = Batch(np.zeros((2, 1)), codes)
    refused(*facts, call=lambda: function(PEOPLE, features))


def test_codes_where_there_are_no_categories_are_refused():
    features = Batch(np.zeros((2, 1)), CODES)
    refused("(2, 1)", "expected 0", call=lambda: invert(schema_of(AGE), features))


def test_other_and_missing_cells_are_missing_in_a_table():
    schema = schema_of(JOB, AGE)
    features = Batch(np.array([[0.5], [np.nan], [1.0]]), np.array([[0], [3], [MISSING]]))
    np.testing.assert_array_equal(
        to_values(schema, features), [[-1, 45], [2, np.nan], [np.nan, 50]]
    )
    assert invert(schema, features).to_pydict() == {
        "job": [None, "c", None],
        "age": [45.0, None, 50.0],
    }


# One matrix of numbers, for baselines


def test_one_hot_says_what_numbers_and_codes_say():
    schema = schema_of(
        msgspec.structs.replace(JOB, has_gaps=True),
        msgspec.structs.replace(AGE, has_gaps=True),
        CategoricalColumn("town", ("x", "y"), has_gaps=False),
        Number("size", 0.0, 1.0, None),
    )
    numbers = np.array([[0.5, -1.0], [np.nan, 2.0], [0.0, 0.25]], np.float32)
    codes = np.array([[3, 0], [0, 2], [MISSING, 1]], np.int32)
    found = one_hot(schema, Batch(numbers, codes))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[:, :3], [[0.5, -1, 0], [0, 2, 1], [0, 0.25, 0]])
    job, town = found[:, 3:8], found[:, 8:]
    assert town.shape == (3, 3) and (found[:, 3:].sum(axis=1) == 2).all()
    np.testing.assert_array_equal(job, np.eye(5)[codes[:, 0]])  # MISSING is the last
    np.testing.assert_array_equal(town, np.eye(3)[codes[:, 1]])


def test_numbers_without_gaps_are_their_own_matrix():
    features = apply(schema_of(AGE), TABLE.select(["age"]), source="d")
    np.testing.assert_array_equal(one_hot(schema_of(AGE), features), features.numbers)


# Types


DAY = 86_400
STORED = {
    "number": (Number, "double", [1.25, -2.5], [1.25, -2.5]),
    "float32": (Number, "float", [0.1, -2.5], [float(np.float32(0.1)), -2.5]),
    "float16": (Number, "halffloat", [0.1], [float(np.float16(0.1))]),
    "int64": (Number, "int64", [1.6, -2.5, -0.4], [2, -2, 0]),
    "int8": (Number, "int8", [300.0, -300.0, 4.5], [127, -128, 4]),
    "uint8": (Number, "uint8", [-3.0, 255.4], [0, 255]),
    "beyond int64": (Number, "int64", [1e30, -1e30], [2**63 - 1024, -(2**63)]),
    "count": (Count, "int64", [1.6, -2.5], [2, 0]),
    "count of floats": (Count, "double", [1.6, -2.5], [2, 0]),
    "decimal": (Number, "decimal128(9, 2)", [1.254, -2.5], [Decimal("1.25"), Decimal("-2.50")]),
    "decimal too long": (Number, "decimal128(3, 2)", [1000.0], [1000.0]),
    "bool": (Boolean, "bool", [0.5, 0.49, 7.0], [True, False, True]),
    "bool of integers": (Boolean, "int8", [0.5, 0.49], [1, 0]),
    "bool of floats": (Boolean, "double", [0.75, 0.25], [1, 0]),
    "date32": (Datetime, "date32[day]", [DAY * 1.4, -0.6 * DAY], [1, -1]),
    "date64": (Datetime, "date64[ms]", [DAY * 1.4, -0.6 * DAY], [1, -1]),
    "date far away": (Datetime, "date32[day]", [1e20, -1e20], [2_932_896, -719_162]),
    "seconds": (Datetime, "timestamp[s]", [1.6], [2]),
    "nanoseconds": (Datetime, "timestamp[ns]", [1.5], [1_500_000_000]),
    "zone": (Datetime, "timestamp[ms, tz=Europe/Berlin]", [1.5], [1500]),
    "duration": (Duration, "duration[ms]", [-1.5], [-1500]),
    "time32": (Duration, "time32[s]", [61.0, -5.0, 1e9], [61, 0, 86_400]),
    "time64": (Duration, "time64[us]", [1.5, -5.0], [1_500_000, 0]),
    "nonsense": (Number, "list<x>", [1.5], [1.5]),
}


@pytest.mark.parametrize("name", STORED)
def test_outputs_have_the_type_that_the_column_had(name):
    kind, stored, values, expected = STORED[name]
    if name == "time32":
        expected = [61, 0, 86_399]  # no later than the day
        values = [61.0, -5.0, 86_399.0]
    schema = schema_of(kind("x", 0.0, 1.0, 0.0, stored=stored))
    found = from_raw(schema, np.array([[*values, np.nan]]).T)["x"]
    assert found[-1].as_py() is None
    if pa.types.is_temporal(found.type):
        if pa.types.is_date64(found.type):
            found = found.cast(pa.date32())
        narrow = pa.types.is_date(found.type) or pa.types.is_time32(found.type)
        found = found.cast(pa.int32() if narrow else pa.int64())
    else:
        names = {"list<x>": "double", "decimal128(3, 2)": "double"}
        assert str(found.type) == names.get(stored, stored)
    assert found.to_pylist()[:-1] == expected


@pytest.mark.parametrize("stored", ["date32[day]", "timestamp[us, tz=UTC]", "duration[ns]"])
def test_times_keep_their_stored_type(stored):
    kind = Duration if "duration" in stored else Datetime
    schema = schema_of(kind("x", 0.0, 1.0, None, stored=stored))
    assert str(from_raw(schema, np.zeros((2, 1)))["x"].type) == stored


@pytest.mark.parametrize(
    ("stored", "levels", "expected"),
    [
        ("string", ("1", "x"), ["x", None, "1", None]),
        ("int64", ("1", "20"), [20, None, 1, None]),
        ("double", ("0.5", "1"), [1.0, None, 0.5, None]),
        ("bool", ("false", "true"), [True, None, False, None]),
        ("date32[day]", ("2024-01-05", "2024-01-06"),
         [dt.date(2024, 1, 6), None, dt.date(2024, 1, 5), None]),
        ("int64", ("1", "x"), ["x", None, "1", None]),  # a level that no integer says
    ],
)  # fmt: skip
def test_levels_have_the_type_that_the_column_had(stored, levels, expected):
    schema = schema_of(CategoricalColumn("x", levels, has_gaps=False, stored=stored))
    raw = np.array([[1.0, -1.0, 0.0, np.nan]]).T
    assert from_raw(schema, raw)["x"].to_pylist() == expected


def test_categories_of_integers_come_back_as_integers():
    table = pa.table({"x": [20, 3, 20, 3], "anchor": [0.5, 1.5, 2.5, 4.5]})
    made = fit(lambda: [table], source="d", columns=Columns(kinds={"x": "category"})).schema
    back = invert(made, apply(made, table, source="d"))
    assert back["x"].type == pa.int64() and back["x"].to_pylist() == [20, 3, 20, 3]


TYPED = {
    "int64": pa.array([5, 2, 9, 2]),
    "uint8": pa.array([5, 2, 9, 2], pa.uint8()),
    "double": pa.array([0.5, 2.0, 9.25, 2.0]),
    "bool": pa.array([True, False, True, True]),
    "date32[day]": pa.array([dt.date(2024, 1, d) for d in (5, 1, 9, 2)]),
    "timestamp[ms]": pa.array([dt.datetime(2024, 1, d) for d in (5, 1, 9, 2)], pa.timestamp("ms")),
    "timestamp[s, tz=Asia/Tokyo]": pa.array([0, 10**6, 5, 9], pa.timestamp("s", "Asia/Tokyo")),
    "duration[s]": pa.array([5, 1, 9, 2], pa.duration("s")),
    "time32[s]": pa.array([5, 1, 9, 2], pa.int32()).cast(pa.time32("s")),
    "decimal128(9, 2)": pa.array([Decimal("1.25"), Decimal("2.50"), Decimal("0.10"), Decimal("7")],
                                 pa.decimal128(9, 2)),
    "string": pa.array(["b", "a", "b", "c"]),
}  # fmt: skip


@pytest.mark.parametrize("name", TYPED)
def test_a_table_comes_back_in_its_types(name):
    table = pa.table({"x": TYPED[name]})
    made = fit(lambda: [table], source="d").schema
    back = invert(made, apply(made, table, source="d"))
    assert str(back["x"].type) == name
    if name == "double":
        np.testing.assert_allclose(back["x"], table["x"], rtol=1e-6)
    elif not name.startswith("timestamp"):
        assert back["x"].to_pylist() == table["x"].to_pylist()


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["5", "2", "9", "2"], [5, 2, 9, 2]),
        (["true", "False", "true"], [True, False, True]),
        (["1,234", "5,678", "12"], [1234, 5678, 12]),
        (["05.01.2024", "25.01.2024"], [dt.date(2024, 1, 5), dt.date(2024, 1, 25)]),
        (["0:01:30", "0:02:00"], [dt.timedelta(seconds=90), dt.timedelta(seconds=120)]),
    ],
)
def test_text_comes_back_as_what_it_says(cells, expected):
    table = pa.table({"x": cells})
    made = fit(lambda: [table], source="d").schema
    found = invert(made, apply(made, table, source="d"))["x"].to_pylist()
    if isinstance(expected[0], dt.timedelta):
        assert found == pytest.approx(expected, abs=dt.timedelta(milliseconds=1))
    else:
        assert found == expected


FINITE = st.floats(-1e30, 1e30, allow_subnormal=False)
WORDS = st.text("abcxyz é", min_size=1, max_size=4).map(str.strip).filter(bool)


@st.composite
def tables(draw):
    rows = draw(st.integers(2, 20))
    kinds = draw(st.lists(st.booleans(), min_size=1, max_size=4))
    present = [FINITE if kind else WORDS for kind in kinds]
    cells = [st.lists(each | st.none(), min_size=rows, max_size=rows) for each in present]
    return pa.table({f"c{i}": draw(values) for i, values in enumerate(cells)})


@settings(deadline=None, max_examples=200)
@given(tables())
def test_the_inverse_of_features_is_the_table(table):
    kinds = {n: "category" for n in table.column_names if table[n].type == pa.string()}
    try:
        made = fit(lambda: [table], source="d", columns=Columns(kinds=kinds, missing=("?",))).schema
    except InputError as error:
        assert "no column is left" in str(error)
        return
    back = invert(made, apply(made, table, source="d"))
    for column in made.columns:
        found, cells = back[column.name], table[column.name]
        if isinstance(column, CategoricalColumn):
            assert found.to_pylist() == cells.to_pylist()
        else:
            assert found.is_null().equals(cells.is_null())
            gap = np.abs(found.drop_null().to_numpy() - cells.drop_null().to_numpy())
            rounding = 1e-15 * abs(column.mean)  # of float64 itself, where the scale is far smaller
            assert gap.max() <= 1e-5 * column.scale + rounding


def test_raw_rows_go_through_features_and_back():
    raw = np.array([[30.0, 1], [45.0, -1], [50.0, 2]])
    features = to_features(PEOPLE, raw, source="d")
    np.testing.assert_allclose(to_values(PEOPLE, features), raw)


def test_drawn_rows_are_accepted_by_the_schema():
    strict = msgspec.structs.replace(AGE, refuses=True)
    schema = schema_of(strict, JOB, Number("x", 0.0, 1.0, fill=0.0))
    raw = draw_raw(schema, 1000, seed=3)
    assert to_features(schema, raw, source="drawn").numbers.shape == (1000, 2)
    assert not np.isnan(raw[:, 0]).any()
    assert np.isnan(raw[:, 1]).any() and np.isnan(raw[:, 2]).any()
    assert set(np.unique(raw[~np.isnan(raw[:, 1]), 1])) == {-1, 0, 1, 2}
    np.testing.assert_array_equal(raw, draw_raw(schema, 1000, seed=3))


def test_of_drawn_rows_some_are_unknown_however_many_levels_there_are():
    words = CategoricalColumn("x", tuple(f"w{i:06}" for i in range(100_000)), has_gaps=False)
    codes = draw_raw(schema_of(words), 64)[:, 0]
    assert 0 < (codes == -1).sum() < 32 and np.nanmax(codes) > 50_000


def test_a_name_is_the_same_with_blanks_around_it():
    schema = schema_of(Number("age", 0.0, 1.0, None), Number("a b", 0.0, 1.0, None))
    table = pa.table({"a b ": [1.0], " age": [2.0]})
    assert apply(schema, table, source="t").numbers.tolist() == [[2.0, 1.0]]
    with pytest.raises(InputError, match="the same name"):
        apply(schema, pa.table({"a b": [1.0], " age": [2.0], "age ": [2.0]}), source="t")
