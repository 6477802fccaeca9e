"""The schema as JSON: there and back, and nothing in it is trusted."""

import copy
import json
import math

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrep import strict_json
from jaxrep.batch import RowSpec
from jaxrep.data import Schema, fit
from jaxrep.data.columns import Asked, Columns, parse_kind, read_columns
from jaxrep.data.schema import (
    KINDS,
    MISSING,
    Boolean,
    CategoricalColumn,
    Count,
    Datetime,
    Duration,
    LeftOut,
    Number,
)
from jaxrep.data.transform import to_raw
from jaxrep.errors import InputError, ModelFormatError

pytestmark = pytest.mark.quick

FULL = Schema(
    (
        Number("price", 1.0, 2.0, 1.5, True, "why", "double", decimal=",", thousands="."),
        Count("rooms", 1.0, 2.0, None, stored="int64"),
        Boolean("sold", 0.5, 0.5, None, stored="bool"),
        Datetime("since", 0.0, 1e8, 0.0, stored="date32[day]", format="%d.%m.%Y", zoned=False),
        Duration("wait", 1.0, 2.0, None, stored="duration[us]"),
        CategoricalColumn("job", ("a", "b"), has_gaps=True, refuses=True),
    ),
    (LeftOut("row", "id", "counts up"), LeftOut("one", "constant", "only one value, 1", 1.0)),
    "y",
    (*MISSING, "?"),
    ("?",),
)


def as_json(schema):
    return json.loads(json.dumps(schema.to_json()))


GOOD = as_json(FULL)
REMOVED = object()


def test_the_json_is_that_of_the_contract():
    assert GOOD["schema_version"] == 3 and set(GOOD) == {
        *("schema_version", "columns", "left_out", "label", "missing", "marks")
    }
    common = {"kind", "name", "why", "mean", "scale", "fill", "has_gaps", "stored", "refuses"}
    common |= {"likelihood", "scaling"}
    assert [set(column) - common for column in GOOD["columns"]] == [
        *({"decimal", "thousands"}, {"decimal", "thousands"}, set(), {"format", "zoned"}, set()),
        {"levels", "merged"},
    ]
    assert [column["kind"] for column in GOOD["columns"]] == [
        *("number", "count", "boolean", "datetime", "duration", "category")
    ]


def test_what_is_known_of_the_columns():
    assert (len(FULL.numeric), len(FULL.categorical)) == (5, 1)
    assert FULL.names == ("price", "rooms", "sold", "since", "wait", "job")
    assert (FULL.ids, FULL.ignored) == (("row",), ("y", "row", "one"))
    assert FULL.kinds()["row"] == "id" and set(FULL.kinds()) == {*FULL.names, "row", "one"}


def test_rows_are_numbers_and_then_codes_in_the_order_of_their_columns():
    columns = (
        CategoricalColumn("job", ("a", "b"), has_gaps=True),
        Number("age", 0.0, 1.0, None, has_gaps=True),
        CategoricalColumn("town", ("x",), has_gaps=False),
        Count("rooms", 0.0, 1.0, None),
    )
    schema = Schema(columns)
    assert [c.name for c in schema.numeric] == ["age", "rooms"]
    assert [c.name for c in schema.categorical] == ["job", "town"]
    assert schema.column_order == (1, 3, 0, 2)
    assert schema.row_spec() == RowSpec(2, (3, 2), (True, False, True, False))
    assert Schema(columns[2:]).row_spec() == RowSpec(1, (2,))
    assert Schema(columns[1:2]).row_spec() == RowSpec(1, (), (True,))
    assert Schema(columns[3:]).row_spec() == RowSpec(1)


@pytest.mark.parametrize("changes", [{"has_gaps": False}, {"fill": 1}, {"refuses": True}])
def test_what_is_imputed_or_refused_is_no_gap_to_the_model(changes):
    number = Number("age", 0.0, 1.0, None, has_gaps=True)
    category = CategoricalColumn("job", ("a", "b"), has_gaps=True)
    assert number.keeps_gaps and category.keeps_gaps
    level = {"fill": "b"} if "fill" in changes else changes
    changed = (
        msgspec.structs.replace(number, **changes),
        msgspec.structs.replace(category, **level),
    )
    assert Schema(changed).row_spec() == RowSpec(1, (3,))


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
SCALE = st.floats(min_value=0, exclude_min=True, allow_infinity=False)


@st.composite
def schemas(draw):
    names = draw(st.lists(WORDS, min_size=2, max_size=6, unique=True))
    columns = []
    for name in names[1:]:
        kind = draw(st.sampled_from([Number, Count, Boolean, Datetime, Duration, None]))
        if kind is None:
            levels = tuple(draw(st.lists(WORDS, min_size=1, max_size=5, unique=True)))
            fill = draw(st.none() | st.sampled_from(levels))
            texts = draw(WORDS), draw(WORDS)
            gaps = draw(st.booleans()), fill
            columns.append(CategoricalColumn(name, levels, *gaps, *texts, draw(st.booleans())))
            continue
        numbers = draw(FINITE), draw(SCALE), draw(st.none() | FINITE), draw(st.booleans())
        columns.append(kind(name, *numbers, draw(WORDS), draw(WORDS), draw(st.booleans())))
    missing = tuple(draw(st.lists(WORDS, max_size=3)))
    label = draw(st.none() | st.just(names[0]))
    return Schema(tuple(columns), (), label, missing, missing[:1])


@settings(deadline=None)
@given(schemas())
def test_json_brings_the_same_schema_back(schema):
    assert Schema.from_json(as_json(schema)) == schema
    assert Schema.from_json(strict_json.loads(strict_json.dumps(schema.to_json()))) == schema


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        (("schema_version",), 2, "at `$.schema_version`"),
        (("schema_version",), 4, "at `$.schema_version`"),
        (("schema_version",), True, "at `$.schema_version`"),
        (("schema_version",), REMOVED, "field `schema_version`"),
        (("label",), 1, "at `$.label`"),
        (("label",), "price", "at `$.columns`"),
        (("missing",), "?", "at `$.missing`"),
        (("marks", 0), None, "at `$.marks[0]`"),
        (("extra",), 1, "field `extra`"),
        (("columns",), REMOVED, "field `columns`"),
        (("columns",), [], "at `$.columns`"),
        (("columns",), {}, "at `$.columns`"),
        (("columns", 0), [], "at `$.columns[0]`"),
        (("columns", 0), None, "at `$.columns[0]`"),
        (("columns", 0, "kind"), "text", "at `$.columns[0].kind`"),
        (("columns", 0, "kind"), "numeric", "at `$.columns[0].kind`"),
        (("columns", 0, "kind"), REMOVED, "field `kind` - at `$.columns[0]`"),
        (("columns", 0, "kind"), ["number"], "at `$.columns[0].kind`"),
        (("columns", 0, "name"), 1, "at `$.columns[0].name`"),
        (("columns", 0, "name"), "\ud800", "at `$.columns[0].name`"),
        (("columns", 0, "name"), "job", "at `$.columns`"),
        (("columns", 0, "name"), "row", "at `$.columns`"),
        (("columns", 0, "mean"), math.nan, "at `$.columns[0].mean`"),
        (("columns", 0, "mean"), math.inf, "at `$.columns[0].mean`"),
        (("columns", 0, "mean"), "0", "at `$.columns[0].mean`"),
        (("columns", 0, "mean"), True, "at `$.columns[0].mean`"),
        (("columns", 0, "mean"), 10**400, "at `$.columns[0].mean`"),
        (("columns", 0, "scale"), 0.0, "at `$.columns[0].scale`"),
        (("columns", 0, "scale"), -1.0, "at `$.columns[0].scale`"),
        (("columns", 0, "scale"), None, "at `$.columns[0].scale`"),
        (("columns", 0, "scale"), REMOVED, "field `scale` - at `$.columns[0]`"),
        (("columns", 0, "fill"), math.nan, "at `$.columns[0].fill`"),
        (("columns", 0, "fill"), REMOVED, "field `fill` - at `$.columns[0]`"),
        (("columns", 0, "levels"), [], "field `levels` - at `$.columns[0]`"),
        (("columns", 0, "decimal"), ";", "at `$.columns[0].decimal`"),
        (("columns", 0, "decimal"), ".", "at `$.columns[0].thousands`"),
        (("columns", 0, "thousands"), "_", "at `$.columns[0].thousands`"),
        (("columns", 0, "stored"), None, "at `$.columns[0].stored`"),
        (("columns", 3, "format"), 1, "at `$.columns[3].format`"),
        (("columns", 3, "zoned"), None, "at `$.columns[3].zoned`"),
        (("columns", 5, "levels"), [], "at `$.columns[5].levels`"),
        (("columns", 5, "levels"), ["a", "a"], "at `$.columns[5].levels`"),
        (("columns", 5, "levels", 1), 3, "at `$.columns[5].levels[1]`"),
        (("columns", 0, "refuses"), 1, "at `$.columns[0].refuses`"),
        (("columns", 5, "refuses"), 1, "at `$.columns[5].refuses`"),
        (("columns", 5, "fill"), 1, "at `$.columns[5].fill`"),
        (("columns", 5, "fill"), "c", "at `$.columns[5].fill`"),
        (("columns", 5, "has_gaps"), REMOVED, "field `has_gaps` - at `$.columns[5]`"),
        (("columns", 5, "mean"), 1.0, "field `mean` - at `$.columns[5]`"),
        (("left_out", 0, "kind"), "number", "at `$.left_out[0].kind`"),
        (("left_out", 0, "name"), "one", "at `$.columns`"),
        (("left_out", 1, "value"), math.inf, "at `$.left_out[1].value`"),
    ],
)
def test_json_that_cannot_be_is_refused_with_the_key(path, value, key):
    data = copy.deepcopy(GOOD)
    place = data
    for step in path[:-1]:
        place = place[step]
    if value is REMOVED:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    with pytest.raises(ModelFormatError, match=r"^schema: ") as caught:
        Schema.from_json(data)
    assert key in str(caught.value)


@pytest.mark.parametrize("data", [None, [], "x", 1])
def test_json_that_is_no_object_is_refused(data):
    with pytest.raises(ModelFormatError, match="Expected `object`"):
        Schema.from_json(data)


def test_json_of_too_many_columns_or_levels_is_refused():
    job = {**GOOD["columns"][5], "levels": [str(i) for i in range(600_000)]}
    for columns in ([GOOD["columns"][0]] * 1_000_001, [job, {**job, "name": "other"}]):
        with pytest.raises(ModelFormatError, match=r"1000000.* at `\$\.columns`"):
            Schema.from_json({**GOOD, "columns": columns})


# What a user says


@pytest.mark.parametrize("kind", [*KINDS, "id", "text", "constant", "dropped"])
def test_every_kind_can_be_said(kind):
    assert Asked.parse(kind) == Asked(kind)
    assert parse_kind(f"a={kind}") == ("a", kind)


@pytest.mark.parametrize(
    "text",
    ["a", "a=", "=number", "a=nothing", "a=category:x", "a=number:;", "a=count:", "a=number:,,"],
)
def test_what_says_no_kind_is_refused(text):
    with pytest.raises(InputError, match=r"not a kind of column|must be NAME=KIND|decimal mark"):
        parse_kind(text)


def test_a_file_of_kinds_is_read(tmp_path):
    path = tmp_path / "kinds.toml"
    path.write_text('drop = ["c"]\nlabel = "y"\n[columns]\n"a b" = "datetime:%d.%m.%Y"\n')
    said = read_columns(path)
    assert said == Columns({"a b": "datetime:%d.%m.%Y"}, ("c",), "y")


def test_the_schema_of_a_run_says_its_kinds(tmp_path):
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(GOOD))
    said = read_columns(path)
    assert said.kinds == {
        "price": "number:,.",
        "rooms": "count",
        "sold": "boolean",
        "since": "datetime:%d.%m.%Y",
        "wait": "duration",
        "job": "category",
        "row": "id",
        "one": "constant",
    }
    assert (said.label, said.na_values, said.missing) == ("y", ("?",), MISSING)


@pytest.mark.parametrize("thousands", ["", ",", ".", " ", "'"])
@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("digits", [0, 2])
def test_the_schema_of_a_run_gives_the_same_marks_again(tmp_path, decimal, thousands, digits):
    if decimal == thousands:
        return
    numbers = [1_234_567.25, 2_345_678.5, 999.75, 45_678.25]
    marks = str.maketrans({",": thousands, ".": decimal})
    texts = [f"{number:,.{digits}f}".translate(marks) for number in numbers]
    table = pa.table({"n": texts, "x": [0.5, 1.5, 2.5, -1.5]})
    first = fit(lambda: [table], source="t").schema
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(first.to_json()))
    again = fit(lambda: [table], source="t", columns=read_columns(path)).schema
    for one, other in zip(first.columns, again.columns, strict=True):
        assert msgspec.structs.replace(other, why=one.why) == one
    # A cell that the first would refuse is refused by the other.
    new = pa.table({"n": ["1_0"], "x": [0.5]})
    with pytest.raises(InputError, match="'1_0' is not a number"):
        to_raw(again, new, source="new")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", "[columns]\na = 1\n"),
        ("a.toml", '[columns]\na = "words"\n'),
        ("a.toml", "dropp = []\n"),
        ("a.toml", "= 1"),
        ("a.json", "{}"),
        ("a.json", "{"),
        ("gone.toml", None),
    ],
)
def test_a_file_that_says_something_else_is_refused(tmp_path, name, text):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=f"--schema .*{name}: "):
        read_columns(tmp_path / name)
