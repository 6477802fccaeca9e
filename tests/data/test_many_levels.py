"""Columns of very many levels: which are levels, which count as other, and what it costs."""

import json
import sys

import numpy as np
import pyarrow as pa
import pytest

from jaxrep import strict_json
from jaxrep.data import Columns, fit
from jaxrep.data.cells import key_of_text
from jaxrep.data.fit import _passes, _profile
from jaxrep.data.schema import CategoricalColumn, LeftOut, Schema
from jaxrep.data.transform import Counts, to_raw
from jaxrep.hyperparameters import TrainingHyperparameters
from jaxrep.runs.training_rows import prepare
from tests.helpers.refusals import refused
from torch_ref.description import check_description, read_json
from torch_ref.encode import encode_with_counts

pytestmark = pytest.mark.quick

ASKED = {"x": "category"}


def table_of(cells):
    cells = pa.array(cells, pa.string()) if isinstance(cells, list) else cells
    return pa.table({"x": cells, "anchor": np.arange(len(cells)) % 7 / 2})


def in_blocks(table, rows=None):
    rows = rows or table.num_rows
    return lambda: (table.slice(i, rows) for i in range(0, table.num_rows, rows))


def fitted(cells, rows=None, **said):
    return fit(in_blocks(table_of(cells), rows), source="t.csv", columns=Columns(**said))


def column_of(cells, rows=None, **said):
    schema = fitted(cells, rows, **said).schema
    return next(c for c in (*schema.columns, *schema.left_out) if c.name == "x")


def values(often, once, rows_each=2):
    """Text of values in `rows_each` rows each, and of others in one row each."""
    return [f"w{i}" for i in range(often)] * rows_each + [f"rare{i}" for i in range(once)]


# The rule


@pytest.mark.parametrize(
    ("often", "once", "merged"),
    [(999, 1, 0), (1000, 1, 1), (999, 2, 2), (1001, 0, 0), (1, 1000, 1000)],
)
@pytest.mark.parametrize("rows", [None, 97])
def test_of_more_than_1000_values_those_of_one_row_are_merged(often, once, merged, rows):
    column = column_of(values(often, once), rows, kinds=ASKED)
    assert column.merged == merged
    assert len(column.levels) == often + once - merged
    assert column.levels == tuple(sorted(column.levels))
    assert any(level.startswith("rare") for level in column.levels) == (once > merged)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (values(1000, 0), "category"),
        (values(1001, 0, rows_each=9), "text"),
        (values(1001, 0, rows_each=10), "category"),
        (values(1001, 1, rows_each=10), "text"),  # 9.99 on average
        ([*values(1001, 1, rows_each=10), *["w0"] * 9], "category"),
        ([*values(1001, 1, rows_each=10), *["w0"] * 8], "text"),
        ([*values(1001, 1, rows_each=10), *["w0"] * 8, "", "NA", "?"], "text"),  # missing
    ],
)
@pytest.mark.parametrize("rows", [None, 997])
@pytest.mark.parametrize("counted", [None, 50])
def test_many_values_are_categories_where_each_has_10_rows_on_average(
    cells, kind, rows, counted, monkeypatch
):
    if counted is not None:  # a column of more is counted in a second pass
        monkeypatch.setattr(_profile, "_MOST_LEVELS", counted)
    column = column_of(cells, rows, na_values=("?",))
    assert column.kind == kind
    if kind == "text":
        assert column.why.startswith("more than 1,000 different values in ")
    elif len(column.levels) > 1000:  # of many none is named, since one row alone may have it
        assert column.why == "10 or more rows per value on average"


def test_long_texts_are_counted_in_a_second_pass_too(monkeypatch):
    monkeypatch.setattr(_profile, "_MOST_TEXT", 100)
    assert len(column_of(values(30, 0)).levels) == 30
    assert column_of(values(5, 40)) == LeftOut("x", "text", "45 different values in 50 rows")


def test_the_printed_line_says_how_many_levels_there_are_and_how_many_are_other():
    line = list(fitted(values(1100, 1, rows_each=11)).lines("t.csv"))[1]
    assert line.endswith("1,100 levels; 1 that one row has count as other")
    line = list(fitted(values(1500, 1204), kinds=ASKED).lines("t.csv"))[1]
    assert line == (
        "  x       category    set by --column, 1,500 levels; 1,204 that one row has count as other"
    )
    assert "levels" not in list(fitted(values(30, 0)).lines("t.csv"))[1]


def test_values_of_one_row_each_are_no_categories_though_asked_for():
    column = column_of([f"w{i}" for i in range(1001)], kinds=ASKED)
    assert column == LeftOut("x", "id", "1,001 values, all different")
    assert column_of([f"w{i}" for i in range(1000)], kinds=ASKED).kind == "category"


def test_a_value_that_is_spelled_in_two_ways_is_in_two_rows():
    column = column_of([*values(1000, 3), "TRUE", "true", "1.50", "1.5", "7"], kinds=ASKED)
    assert column.merged == 4
    assert {"true", "1.5"} < set(column.levels) and "7" not in column.levels


@pytest.mark.parametrize("kind", [pa.int64(), pa.float32(), pa.timestamp("s"), pa.date32()])
def test_typed_values_are_categories_as_their_text_is(kind):
    numbers = np.arange(1200) % 1100 * 3
    whole = pa.array(numbers.astype(np.int32))
    typed = whole.cast(kind) if kind != pa.timestamp("s") else whole.cast(pa.int64()).cast(kind)
    found = column_of(typed, 100, kinds=ASKED)
    assert (len(found.levels), found.merged) == (100, 1000)
    are_times = pa.types.is_temporal(kind)
    text = [key_of_text(str(value)) for value in (typed.to_pylist() if are_times else numbers)]
    assert found.levels == column_of(text, kinds=ASKED).levels


def test_more_levels_than_a_model_may_have_are_refused_with_what_to_do(monkeypatch):
    monkeypatch.setattr(_passes, "MOST", 1500)
    monkeypatch.setattr(_profile, "_MOST_LEVELS", 1200)
    cells = values(1501, 0)
    facts = ["'x'", "more than 1,500 categories", "--column 'x=text'", "merge"]
    refused(*facts, call=lambda: column_of(cells, 100, kinds=ASKED))
    table = pa.table({"a": values(600, 0), "b": values(600, 0), "c": values(600, 0)})
    refused("1,800 categories in all", "at most 1,500", "--column 'a=text'",
            call=lambda: fit(in_blocks(table), source="t.csv"))  # fmt: skip
    # Text that nobody asked for is left out, whatever the number of its rows is.
    assert column_of(values(1501, 0, rows_each=10)).kind == "text"
    monkeypatch.setattr(_passes, "MOST_TEXT", 100)
    refused("MiB", call=lambda: column_of(values(600, 0)))


# What is merged


def test_what_is_merged_is_unknown_and_training_does_not_warn_of_it():
    cells = [*values(1100, 4), "", "NA"]
    table = table_of(cells)
    schema = fitted(cells, kinds=ASKED).schema
    counts = Counts()
    raw = to_raw(schema, table, source="t.csv", counts=counts)
    assert (raw[2200:2204, 0] == -1).all() and (raw[:2200, 0] >= 0).all()
    assert np.isnan(raw[2204:, 0]).all()
    assert counts.unknown == {"x": 4} and not counts.without_merged(schema).unknown

    said: list[str] = []
    columns = Columns(kinds=ASKED)
    everything = TrainingHyperparameters(validation_fraction=0.0)
    made = prepare([table], "t.csv", columns, everything, lambda line: None, said.append)
    assert "unknown" not in made.cells and not said
    again = prepare([table], "t.csv", columns, everything, print, said.append, schema=schema)
    assert again.cells["unknown"] == {"x": 4}  # of a model that was trained before
    assert said == ["t.csv: 4 cells of 'x' are of no known category"]


def test_what_only_rows_held_out_have_is_warned_of():
    cells = values(1100, 400)
    held_out = TrainingHyperparameters(validation_fraction=0.5)
    made = prepare([table_of(cells)], "t.csv", Columns(kinds=ASKED), held_out, lambda line: None,
                   lambda line: None)  # fmt: skip
    (column,) = (c for c in made.schema.columns if isinstance(c, CategoricalColumn))
    # Some values of two rows have one of them among the rows held out, which is unknown there.
    counts = Counts()
    to_raw(made.schema, table_of(cells), source="t.csv", counts=counts)
    assert column.merged > 400 / 3
    assert made.cells["unknown"]["x"] == counts.unknown["x"] - column.merged > 400 / 3


# The twin, and files


@pytest.mark.parametrize("as_numbers", [True, False])
def test_the_twin_gives_the_same_codes(as_numbers):
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 3000, 9000)
    cells = pa.array(numbers) if as_numbers else [f"w{i}, [{{" for i in numbers]
    fit_to = cells[:4500]
    schema = fitted(fit_to, kinds=ASKED).schema
    assert schema.columns[0].merged > 100
    counts = Counts()
    raw = to_raw(schema, table_of(cells), source="t.csv", counts=counts)
    rows, twins = encode_with_counts(schema.to_json(), table_of(cells))
    np.testing.assert_array_equal(rows, raw)
    assert twins.unknown["x"] == counts.unknown["x"] > 100


def test_a_schema_of_many_levels_is_read_back_by_all(tmp_path, monkeypatch):
    levels = tuple(sorted(f'a, b, [c], {{d}}, \\"{i}' for i in range(20_000)))
    schema = Schema((CategoricalColumn("x", levels, has_gaps=False, merged=7),))
    path = tmp_path / "schema.json"
    path.write_text(strict_json.dumps(schema.to_json()))
    # Commas and brackets in the levels themselves are no values.
    monkeypatch.setattr(strict_json, "MAX_VALUES", 20_100)
    monkeypatch.setattr("torch_ref.description._MAX_VALUES", 20_100)
    assert Schema.from_json(strict_json.read(path)) == schema
    plain = read_json(path.read_bytes())
    assert plain == json.loads(path.read_text())
    check_description({"method": "pca", "hyperparameters": {}, "schema": plain})
    monkeypatch.setattr(strict_json, "MAX_VALUES", 19_000)
    with pytest.raises(ValueError, match="more than 19000 values"):
        strict_json.read(path)


# What it costs


def calls_in(function):
    """Counts the calls of Python functions, and of methods of Arrow and NumPy."""
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("as_numbers", [True, False])
def test_no_cell_and_no_level_is_looked_at_alone_in_a_block(as_numbers):
    numbers = np.random.default_rng(0).permutation(np.repeat(np.arange(5000), 12))
    cells = pa.array(numbers)
    if not as_numbers:
        cells = pa.array([f"w{i}" for i in range(5000)]).take(cells)
    table = table_of(cells)
    made = []
    kinds = Columns(kinds=ASKED if as_numbers else {})
    calls = calls_in(
        lambda: made.append(fit(in_blocks(table, 10_000), source="t.csv", columns=kinds))
    )
    assert len(made[0].schema.columns[0].levels) == 5000
    # 60,000 rows in 6 blocks, with more than 4,000 levels in each: once for each level is enough.
    assert calls < 5000 * 2
    schema = made[0].schema
    first = calls_in(lambda: to_raw(schema, table[:10_000], source="t.csv"))
    rest = calls_in(lambda: [to_raw(schema, b, source="t.csv") for b in in_blocks(table, 10_000)()])
    assert first < 5000 * 3 and rest < 6 * 1000


@pytest.mark.parametrize("rows", [60, 7])
def test_ids_that_are_equal_as_numbers_are_different_all_the_same(rows):
    ids = [f"A{i}" for i in range(58)] + ["0E1", "0E8"]
    table = pa.table({"id": ids, "x": [float(i % 7) for i in range(60)]})
    blocks = [table.slice(start, rows) for start in range(0, 60, rows)]
    (left_out,) = fit(lambda: blocks, source="t").schema.left_out
    assert (left_out.name, left_out.kind) == ("id", "id")
