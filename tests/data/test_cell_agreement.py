"""`to_raw` against `torch_ref.encode`, which reads cell by cell: equal bits, or both refuse."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrep.data.frames import as_table
from jaxrep.data.schema import MISSING, Schema
from jaxrep.data.transform import to_raw
from jaxrep.errors import InputError
from torch_ref.encode import EncodeError, encode

pytestmark = pytest.mark.quick

NUMERIC = {"mean": 0.0, "scale": 1.0, "fill": 0.0}
MARKS = (
    [],
    ["?"],
    ["-999", "1"],
    ["1.0", "0"],
    ["1970-01-01", " ?? "],
    ["true", "1e3", "1:00"],
)
LEVELS = (
    ["a", "b"],
    ["0", "1", "2"],
    ["007", "7.5", "9007199254740992"],
    ["True", "no"],
    ["1970-01-01", "2024-01-05T06:07:00"],
    ["+0.1", "1e3", "1e400"],
    ["007", "07"],
)


def described(kind, marks=(), missing=MISSING, **options):
    """A schema of one column x, as JSON and as jaxrep has it."""
    column = {"kind": kind, "name": "x"}
    if kind == "category":
        column |= {"levels": ["a"], "has_gaps": False}
    else:
        column |= NUMERIC
    if kind in ("number", "count"):
        column |= {"decimal": ".", "thousands": ""}
    if kind == "datetime":
        column |= {"format": None, "zoned": False}
    plain = {"schema_version": 3, "columns": [column | options]}
    plain |= {"missing": [*missing, *marks], "marks": list(marks)}
    return plain, Schema.from_json(plain)


def by_jaxrep(schema, cells):
    try:
        return to_raw(schema, as_table({"x": cells}), source="cells")[:, 0]
    except InputError:
        return None


def by_torch_ref(plain, cells):
    try:
        return encode(plain, {"x": cells})[:, 0]
    except EncodeError:
        return None


def bits(values):
    """Bits of float64, where all NaN are one; None is a refusal."""
    if values is None:
        return None
    return [None if np.isnan(value) else value.hex() for value in values.tolist()]


def agree(cells, kind, **options):
    """Checks that both read cells alike, and returns what they read."""
    plain, schema = described(kind, **options)
    found, expected = by_jaxrep(schema, cells), by_torch_ref(plain, cells)
    assert bits(found) == bits(expected), (cells, options, found, expected)
    return found


COLUMNS = st.one_of(
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["number", "count"]),
            "decimal": st.sampled_from(".,"),
            "thousands": st.sampled_from(["", ",", ".", " ", "'"]),
        }
    ).filter(lambda column: column["decimal"] != column["thousands"]),
    st.just({"kind": "boolean"}),
    st.just({"kind": "duration"}),
    st.fixed_dictionaries(
        {
            "kind": st.just("datetime"),
            "zoned": st.booleans(),
            "format": st.sampled_from([None, None, "%d.%m.%Y", "%Y-%m-%d %H:%M%z"]),
        }
    ),
    st.fixed_dictionaries({"kind": st.just("category"), "levels": st.sampled_from(LEVELS)}),
)

NUMBERS = st.one_of(
    st.integers(-2000, 2000).map(str),
    st.floats(allow_nan=False).map(repr),
    st.decimals(-(10**7), 10**7, places=2).map("{:,}".format),
    st.decimals(-(10**7), 10**7, places=2).map(
        lambda number: f"{number:,}".translate(str.maketrans(",.", ".,"))
    ),
    st.from_regex(r"\A[+-]?[0-9]{0,4}[.,' \u00a0\u202f]?[0-9]{0,4}[.,]?[0-9]{0,3}([eE]-?[0-9])?\Z"),
)
TIMES = st.one_of(
    st.dates().map(str),
    st.datetimes().map(str),
    st.datetimes(timezones=st.timezones()).map(str),
    st.from_regex(
        r"\A[012][0-9]{3}[-/][0-9]{1,2}[-/][0-3]?[0-9]"
        r"([T ][0-2]?[0-9]:[0-6][0-9](:[0-6][0-9]([.,][0-9]{1,10})?)?"
        r"( ?(Z|z|UTC|[+-][012][0-9](:?[0-6][0-9])?))?)?\Z"
    ),
    st.dates().map("{:%d.%m.%Y}".format),
    st.timedeltas().map(lambda span: str(pd.Timedelta(0) + span if abs(span.days) < 9999 else "")),
    st.from_regex(r"\A-?[0-9]{1,13}:[0-6][0-9](:[0-6][0-9](\.[0-9]{1,10})?)?\Z"),
    st.from_regex(r"\A-?[0-9]{1,13} days?( [+]?[0-9]{1,3}:[0-6][0-9](:[0-6][0-9])?)?\Z"),
    st.from_regex(r"\A-?P([0-9]{1,13}D)?(T([0-9]{1,3}H)?([0-9]{1,13}M)?([0-9]{1,3}(\.[0-9]{1,10})?S)?)?\Z"),
)  # fmt: skip
WORDS = st.one_of(
    st.sampled_from([*MISSING, "?", "??", "-999", "-999.0", "1.0", "1", "0", "true", "Yes", "F"]),
    st.sampled_from([level for levels in LEVELS for level in levels]),
    st.text("aZ0.-+ eé\u00a0", max_size=4),
)
BLANKS = st.sampled_from(["", "", " ", "\t", "\u00a0"])
TEXTS = st.tuples(BLANKS, st.one_of(NUMBERS, TIMES, WORDS), BLANKS).map("".join)


@settings(deadline=None, max_examples=300)
@given(
    COLUMNS,
    st.lists(TEXTS, max_size=30),
    st.sampled_from(MARKS),
    st.sampled_from([MISSING, (), ("-1", "nan")]),
)
def test_a_text_means_the_same_to_both(column, texts, marks, missing):
    options = {"marks": marks, "missing": missing, **column}
    readable = [text for text in texts if agree(pa.array([text]), **options) is not None]
    agree(pa.array(readable, pa.string()), **options)


TYPES = {
    "int8": st.integers(-128, 127),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint64": st.integers(0, 2**64 - 1),
    "float": st.floats(width=32),
    "halffloat": st.floats(width=16),
    "double": st.floats() | st.sampled_from([0.1, 7.5, 7.0, -999.0, 1.0]),
    "bool": st.booleans(),
    "string": TEXTS,
    "large_string": TEXTS,
    "binary": TEXTS.map(str.encode),
    "date32": st.dates(),
    "date64": st.dates(),
    "timestamp[s]": st.integers(-(10**10), 10**10),
    "timestamp[ns]": st.integers(-(2**62), 2**62),
    "timestamp[us, tz=Europe/Berlin]": st.integers(-(2**54), 2**54),
    "duration[ms]": st.integers(-(2**53), 2**53),
    "time32[s]": st.integers(0, 86_399),
    "time64[ns]": st.integers(0, 86_399 * 10**9),
    "decimal128(9, 2)": st.decimals(-1000, 1000, places=2),
    "decimal128(38, 0)": st.integers(-(10**30), 10**30).map(Decimal),
    "decimal128(5, -3)": st.integers(-999, 999).map(lambda n: Decimal(n * 1000)),
}


def arrow_type(name):
    if name.startswith("decimal"):
        return pa.decimal128(*map(int, name[11:-1].split(",")))
    return pa.timestamp("us", "Europe/Berlin") if "tz=" in name else pa.type_for_alias(name)


@st.composite
def arrow_cells(draw):
    name = draw(st.sampled_from(sorted(TYPES)))
    cells = draw(st.lists(st.none() | TYPES[name], max_size=4))
    column = pa.array(cells, arrow_type(name))
    is_encodable = not name.startswith(("decimal", "halffloat"))
    return column.dictionary_encode() if is_encodable and draw(st.booleans()) else column


@settings(deadline=None, max_examples=500)
@given(COLUMNS, arrow_cells(), st.sampled_from(MARKS))
def test_a_column_of_any_type_of_arrow_means_the_same_to_both(column, cells, marks):
    if column["kind"] == "category" and str(cells.type).startswith(
        ("duration", "time32", "time64")
    ):
        cells = cells[:0]  # no category, and that is another test
    agree(cells, marks=marks, **column)


PYTHON = {
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float64": st.floats() | st.sampled_from([1.0, 0.0, -999.0]),
    "bool": st.booleans(),
    "str": TEXTS,
    "date": st.dates(),
    "moment": st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)),
    "zoned": st.datetimes(
        dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1), timezones=st.just(dt.UTC)
    ),
    "span": st.timedeltas(dt.timedelta(-9999), dt.timedelta(9999)),
}


@st.composite
def frames(draw):
    name = draw(st.sampled_from(sorted(PYTHON)))
    cells = draw(st.lists(st.none() | PYTHON[name], min_size=1, max_size=4))
    made = [pl.DataFrame({"x": cells}, strict=False)]
    frame = pd.DataFrame({"x": pd.Series(cells, dtype=None if name != "str" else object)})
    made.append(frame)
    made.append(frame.convert_dtypes())
    made.append(frame.convert_dtypes(dtype_backend="pyarrow"))
    made.append(frame.astype("category"))
    made.append(pd.DataFrame({"x": pd.Series(cells, dtype=object)}))
    return draw(st.sampled_from(made))


@settings(deadline=None, max_examples=300)
@given(COLUMNS, frames(), st.sampled_from(MARKS))
def test_a_column_of_a_frame_means_the_same_to_both(column, frame, marks):
    plain, schema = described(marks=marks, **column)
    try:
        found = to_raw(schema, as_table(frame), source="frame")[:, 0]
    except InputError:
        found = None
    try:
        expected = encode(plain, frame)[:, 0]
    except EncodeError:
        expected = None
    assert bits(found) == bits(expected)
