import copy
import json
import math
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from jaxrep.data import (
    CategoricalColumn,
    NumericColumn,
    Preprocessing,
    apply,
    fit,
    invert,
    load,
    read_table,
)
from jaxrep.errors import InputError, ModelFormatError

pytestmark = pytest.mark.quick

PEOPLE = pa.table({"age": [30.0, 50.0, 41.0, 30.0], "job": ["b", "a", "b", "c"]})
AGES = PEOPLE.select(["age"])


def fitted(table, **options):
    return fit(table, source="data.csv", **options)[0]


def warned(table, **options):
    return fit(table, source="data.csv", **options)[1]


def refused(*facts, call, error=InputError):
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    for fact in facts:
        assert fact in message, message
    return message


# Statistics


def exact_moments(values):
    """Mean and population standard deviation in rational arithmetic, an oracle without rounding."""
    exact = [Fraction(float(value)) for value in values]
    mean = sum(exact) / len(exact)
    size = max(abs(value - mean) for value in exact)
    variance = sum(((value - mean) / size) ** 2 for value in exact) / len(exact)
    return float(mean), float(size) * math.sqrt(variance)


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
def test_statistics_agree_with_exact_arithmetic(centre, spread):
    values = centre + spread * np.random.default_rng(0).normal(size=501)
    column = fitted(pa.table({"x": values, "y": values})).columns[0]
    mean, scale = exact_moments(values)
    assert abs(column.mean - mean) <= 4e-16 * max(abs(mean), spread)
    assert column.scale == pytest.approx(scale, rel=1e-12)


@pytest.mark.parametrize("name", ["blobs", "breast_cancer", "digits", "wine"])
def test_statistics_and_features_are_those_of_scikit_learn(name):
    table = load(name)
    label = table.column_names[-1]
    x = np.column_stack(table.columns[:-1])
    scaler = StandardScaler().fit(x)
    made = fitted(table, label=label)
    np.testing.assert_allclose([c.mean for c in made.columns], scaler.mean_, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose([c.scale for c in made.columns], scaler.scale_, rtol=1e-13)
    features = apply(made, table, source=name)
    np.testing.assert_allclose(features, scaler.transform(x), rtol=1e-6, atol=1e-7)


def test_timestamps_are_standardised_in_float64():
    seconds = 1.7e9 + np.random.default_rng(0).uniform(-100, 100, 2_000)
    table = pa.table({"t": seconds})
    mean, scale = exact_moments(seconds)
    features = apply(fitted(table), table, source="data.csv")
    np.testing.assert_allclose(features[:, 0], (seconds - mean) / scale, atol=2e-7)


@pytest.mark.parametrize("value", [0.0, 0.1, -1.7e9, 1e-300, 1e300])
@pytest.mark.parametrize("rows", [2, 10, 12_345])
def test_constant_column_has_scale_1_and_a_warning(value, rows):
    table = pa.table({"c": np.full(rows, value), "x": np.arange(rows) + 0.5})
    made, warnings = fit(table, source="data.csv")
    assert made.columns[0].scale == 1.0
    (warning,) = warnings
    assert "data.csv" in warning and "'c'" in warning and "constant" in warning
    assert not apply(made, table, source="data.csv")[:, 0].any()


@settings(deadline=None)
@given(st.floats(-1e300, 1e300), st.integers(2, 300))
def test_constant_column_of_any_value_is_constant(value, rows):
    made, warnings = fit(pa.table({"c": np.full(rows, value)}), source="data.csv")
    assert made.columns[0] == NumericColumn("c", value, 1.0, None) and len(warnings) == 1


def test_column_that_differs_only_by_rounding_is_constant():
    values = np.array([0.1, np.nextafter(0.1, 1)] * 50)
    assert fitted(pa.table({"c": values})).columns[0].scale == 1.0


def test_nearly_constant_column_keeps_its_scale():
    values = np.array([1.7e9, 1.7e9 + 1e-4] * 50)
    column = fitted(pa.table({"x": values})).columns[0]
    assert column.scale == pytest.approx(exact_moments(values)[1], rel=1e-9)


@pytest.mark.parametrize("kind", [pa.timestamp("s"), pa.timestamp("ns"), pa.date32(), pa.date64()])
def test_points_in_time_are_seconds(kind):
    days = pa.array([0, 86_400], pa.timestamp("s")).cast(kind)
    assert fitted(pa.table({"t": days})).columns == (NumericColumn("t", 43_200, 43_200, None),)


def test_categories_are_sorted_strings():
    made = fitted(PEOPLE, categorical=["job"])
    assert made.columns[1] == CategoricalColumn("job", ("a", "b", "c"), impute=False)
    assert made.width == 1 + 4


def test_roles_and_na_values_are_kept():
    table = PEOPLE.append_column("y", pa.array(list("1122"))).append_column(
        "i", pa.array(list("abcd"))
    )
    made = fitted(table, categorical=["job"], label="y", id_column="i", na_values=["?"])
    assert [column.name for column in made.columns] == ["age", "job"]
    assert (made.label, made.id_column, made.na_values) == ("y", "i", ("?",))
    assert made.text_columns == ("job", "y", "i")
    assert made.numeric_columns == ("age",)


# Missing values


def holes(columns):
    return pa.table({f"c{i}": [1.0, None, math.nan, 4.0, 6.0] for i in range(columns)})


@pytest.mark.parametrize("when", ["fit", "apply"])
def test_missing_values_are_refused_with_their_counts(when):
    table = holes(12)
    made = fitted(pa.table({name: [1.0, 2.0] for name in table.column_names}))
    calls = {
        "fit": lambda: fit(table, source="data.csv"),
        "apply": lambda: apply(made, table, source="data.csv"),
    }
    message = refused("data.csv", "'c0' (2)", "'c9' (2) and 2 more", "--impute median",
                      call=calls[when])  # fmt: skip
    assert "c10" not in message


@pytest.mark.parametrize("when", ["fit", "apply"])
def test_missing_category_is_refused_with_its_count(when):
    table = pa.table({"job": ["a", None, None, "b"], "x": [1.0, 2.0, 3.5, math.nan]})
    made = fitted(PEOPLE.rename_columns(["x", "job"]), categorical=["job"])
    calls = {
        "fit": lambda: fit(table, source="data.csv", categorical=["job"]),
        "apply": lambda: apply(made, table, source="data.csv"),
    }
    refused("'job' (2)", "'x' (1)", "--impute median", call=calls[when])


def test_median_fills_missing_values_in_statistics_and_later_rows():
    made = fitted(holes(1), impute="median")
    mean, scale = exact_moments([1, 4, 4, 4, 6])
    assert made.columns == (NumericColumn("c0", pytest.approx(mean), pytest.approx(scale), 4.0),)
    later = apply(made, pa.table({"c0": [None, 4.0, math.nan]}), source="later.csv")
    np.testing.assert_allclose(later, np.full((3, 1), (4 - mean) / scale), rtol=1e-6)


def test_median_is_kept_where_no_training_value_is_missing():
    assert fitted(AGES, impute="median").columns[0].fill == 35.5
    assert fitted(AGES).columns[0].fill is None


def test_missing_category_counts_as_unknown_with_impute():
    table = pa.table({"job": ["a", None, "b"]})
    made = fitted(table, categorical=["job"], impute="median")
    assert made.columns == (CategoricalColumn("job", ("a", "b"), impute=True),)
    np.testing.assert_array_equal(
        apply(made, table, source="data.csv"), [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    )


@pytest.mark.parametrize("impute", [None, "median"])
@pytest.mark.parametrize("kind", [pa.float64(), pa.string()])
def test_column_without_values_is_refused(impute, kind):
    table = pa.table({"x": [1.0, 2.0], "empty": pa.nulls(2, kind)})
    categorical = ["empty"] if kind == pa.string() else []
    refused("data.csv", "'empty'", "no values",
            call=lambda: fitted(table, categorical=categorical, impute=impute))  # fmt: skip


# What fit refuses and warns of


@pytest.mark.parametrize("rows", [0, 1])
def test_fewer_than_two_rows_are_refused(rows):
    refused("data.csv", "at least 2 rows", f"{rows} sample", call=lambda: fitted(PEOPLE[:rows]))


@pytest.mark.parametrize(
    ("roles", "flags"),
    [
        ({"categorical": ["gone"]}, ["--categorical"]),
        ({"label": "gone"}, ["--label"]),
        ({"id_column": "gone"}, ["--id-column"]),
    ],
)
def test_role_of_a_column_that_is_not_there_is_refused(roles, flags):
    refused("data.csv", "'gone'", "'age', 'job'", *flags, call=lambda: fitted(PEOPLE, **roles))


@pytest.mark.parametrize(
    ("roles", "flags"),
    [
        ({"categorical": ["job"], "label": "job"}, ["--categorical", "--label"]),
        ({"categorical": ["job"], "id_column": "job"}, ["--categorical", "--id-column"]),
        ({"label": "job", "id_column": "job"}, ["--label", "--id-column"]),
    ],
)
def test_column_in_two_roles_is_refused(roles, flags):
    refused("data.csv", "'job'", *flags, call=lambda: fitted(PEOPLE, **roles))


def test_table_without_feature_columns_is_refused():
    refused("data.csv", "no feature", call=lambda: fitted(PEOPLE, label="age", id_column="job"))


@pytest.mark.parametrize("call", [fitted, lambda t: apply(fitted(AGES), t, source="d")])
def test_two_columns_of_one_name_are_refused(call):
    table = pa.table([pa.array([1.0, 2.0]), pa.array([1.0, 2.0])], names=["age", "age"])
    refused("same name", call=lambda: call(table))


def test_text_in_a_numeric_column_is_refused_with_row_and_value():
    refused("data.csv", "'job'", "data row 1:", "'b'", "--categorical", call=lambda: fitted(PEOPLE))
    made = fitted(pa.table({"job": [1.0, 2.0]}))
    refused("'job'", "'b'", call=lambda: apply(made, PEOPLE.select(["job"]), source="data.csv"))


def test_numbers_in_a_categorical_column_are_refused_as_not_read_as_text():
    refused("'age'", "text_columns", call=lambda: fitted(PEOPLE, categorical=["age"]))


@pytest.mark.parametrize("call", [fitted, lambda t: apply(fitted(AGES), t, source="data.csv")])
def test_infinite_number_is_refused_with_column_and_row(call):
    table = pa.table({"age": [1.0, -math.inf]})
    refused("data.csv", "'age'", "data row 2:", call=lambda: call(table))


@pytest.mark.parametrize("values", [[3, 1, 2], [5, 9, 12], [0, 1, 2], [-1, 0, 7]])
def test_column_like_an_id_is_warned_of(values):
    (warning,) = warned(pa.table({"i": values}))
    assert "data.csv" in warning and "'i'" in warning and "--id-column" in warning


@pytest.mark.parametrize(
    "values",
    [[1, 2], [5, 12, 9], [1, 2, 2], [1.5, 2.5, 3.5], [2, 1, 1], [1, None, 3], [3, 1, 1, 4]],
)
def test_column_unlike_an_id_is_not_warned_of(values):
    assert warned(pa.table({"i": values}), impute="median") == []


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (["a", "a", "a"], ["constant", "'a'"]),
        (["a", "b", "c"], ["3 categories in 3 rows", "--id-column"]),
        ([str(i) for i in range(1001)] * 2, ["1001 categories in 2002 rows"]),
    ],
)
def test_useless_category_is_warned_of(words, facts):
    (warning,) = warned(pa.table({"w": words}), categorical=["w"])
    for fact in ["data.csv", "'w'", *facts]:
        assert fact in warning


def test_ordinary_category_is_not_warned_of():
    words = [str(i) for i in range(1000)] * 2
    assert warned(pa.table({"w": words}), categorical=["w"]) == []


# apply


def test_features_are_float32_rows_in_c_order():
    made = fitted(PEOPLE, categorical=["job"])
    features = apply(made, PEOPLE, source="data.csv")
    assert features.dtype == np.float32 and features.flags.c_contiguous and features.shape == (4, 5)
    np.testing.assert_array_equal(features[:, 1:], np.eye(4)[[1, 0, 1, 2]])


def test_unknown_category_goes_to_the_last_bucket():
    made = fitted(PEOPLE, categorical=["job"])
    table = pa.table({"age": [30.0, 30.0], "job": ["new", ""]})
    np.testing.assert_array_equal(apply(made, table, source="d")[:, 1:], [[0, 0, 0, 1]] * 2)


def test_columns_are_matched_by_name_and_label_and_id_ignored():
    table = PEOPLE.append_column("y", pa.array(list("1122"))).append_column(
        "i", pa.array(list("abcd"))
    )
    made = fitted(table, categorical=["job"], label="y", id_column="i")
    expected = apply(made, table, source="d")
    for names in (["job", "age"], ["i", "job", "y", "age"]):
        np.testing.assert_array_equal(apply(made, table.select(names), source="d"), expected)


def test_missing_and_extra_columns_are_refused_together():
    made = fitted(PEOPLE, categorical=["job"])
    table = pa.table({"Age": [1.0], "job": ["a"], "y": [1.0]})
    refused("later.csv", "missing columns 'age'", "extra columns 'Age', 'y'",
            call=lambda: apply(made, table, source="later.csv"))  # fmt: skip


def test_values_in_several_chunks_are_features_of_one_table():
    made = fitted(PEOPLE, categorical=["job"])
    chunked = pa.concat_tables([PEOPLE[:1], PEOPLE[1:3], PEOPLE[3:]])
    np.testing.assert_array_equal(apply(made, chunked, source="d"), apply(made, PEOPLE, source="d"))


def test_value_beyond_float32_is_refused_with_column_and_row():
    made = fitted(pa.table({"x": [0.0, 1e-30]}))
    refused("later.csv", "'x'", "data row 2:", "1e+10", "float32",
            call=lambda: apply(made, pa.table({"x": [0.0, 1e10]}), source="later.csv"))  # fmt: skip


def test_table_without_rows_has_no_features():
    made = fitted(PEOPLE, categorical=["job"])
    assert apply(made, PEOPLE[:0], source="d").shape == (0, 5)


def test_table_read_for_a_model_names_columns_missing_and_extra(tmp_path):
    made = fitted(PEOPLE, categorical=["job"], na_values=["?"])
    (tmp_path / "later.csv").write_text("age,note\n1,hello\n")
    source = str(tmp_path / "later.csv")
    table = read_table(source, numeric_columns=made.numeric_columns, na_values=made.na_values)
    refused("'job'", "'note'", call=lambda: apply(made, table, source=source))


# invert


def test_inverse_is_in_raw_units_and_null_where_unknown():
    made = fitted(PEOPLE, categorical=["job"])
    table = pa.table({"age": [30.0, 77.0], "job": ["c", "new"]})
    back = invert(made, apply(made, table, source="d"))
    assert back.schema == pa.schema({"age": pa.float64(), "job": pa.string()})
    np.testing.assert_allclose(back["age"], [30, 77], rtol=1e-6)
    assert back["job"].to_pylist() == ["c", None]


def test_inverse_is_computed_in_float64():
    made = Preprocessing((NumericColumn("t", 1.7e9, 100.0, None),), None, None, ())
    x = np.array([[0.5]], np.float32)
    assert invert(made, x)["t"].to_pylist() == [1.7e9 + 50]


@pytest.mark.parametrize("shape", [(2, 4), (2, 6), (5,), (1, 2, 5)])
def test_inverse_of_another_width_is_refused(shape):
    made = fitted(PEOPLE, categorical=["job"])
    refused(str(shape), "(rows, 5)", call=lambda: invert(made, np.zeros(shape)))


FINITE = st.floats(-1e30, 1e30, allow_subnormal=False)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)


@st.composite
def tables(draw):
    rows = draw(st.integers(2, 20))
    kinds = draw(st.lists(st.booleans(), min_size=1, max_size=4))
    cells = [st.lists(FINITE if kind else WORDS, min_size=rows, max_size=rows) for kind in kinds]
    return pa.table({f"c{i}": draw(values) for i, values in enumerate(cells)})


@settings(deadline=None, max_examples=200)
@given(tables())
def test_inverse_of_features_is_the_table(table):
    words = [name for name in table.column_names if table[name].type == pa.string()]
    made = fitted(table, categorical=words)
    back = invert(made, apply(made, table, source="d"))
    for column in made.columns:
        if isinstance(column, CategoricalColumn):
            assert back[column.name].to_pylist() == table[column.name].to_pylist()
        else:
            gap = np.abs(back[column.name].to_numpy() - table[column.name].to_numpy())
            rounding = 1e-15 * abs(column.mean)  # of float64 itself, where the scale is far smaller
            assert gap.max() <= 1e-5 * column.scale + rounding


# JSON


@settings(deadline=None)
@given(tables(), st.none() | WORDS, st.sampled_from([None, "median"]))
def test_json_brings_the_same_preprocessing_back(table, label, impute):
    words = [name for name in table.column_names if table[name].type == pa.string()]
    made = fitted(table, categorical=words, na_values=["?", ""], impute=impute)
    made = Preprocessing(made.columns, label, "id of " + str(label), made.na_values)
    assert Preprocessing.from_json(json.loads(json.dumps(made.to_json()))) == made


GOOD = json.loads(json.dumps(Preprocessing(
    (NumericColumn("age", 1.0, 2.0, None), CategoricalColumn("job", ("a", "b"), impute=False)),
    "y", "i", ("?",),
).to_json()))  # fmt: skip
REMOVED = object()


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        (("schema_version",), 2, "at `$.schema_version`"),
        (("schema_version",), True, "at `$.schema_version`"),
        (("schema_version",), REMOVED, "field `schema_version`"),
        (("label",), REMOVED, "field `label`"),
        (("label",), 1, "at `$.label`"),
        (("label",), "i", "at `$.columns`"),
        (("label",), "age", "at `$.columns`"),
        (("id_column",), ["x"], "at `$.id_column`"),
        (("na_values",), "?", "at `$.na_values`"),
        (("na_values", 0), None, "at `$.na_values[0]`"),
        (("extra",), 1, "field `extra`"),
        (("columns",), [], "at `$.columns`"),
        (("columns",), {}, "at `$.columns`"),
        (("columns", 0), [], "at `$.columns[0]`"),
        (("columns", 0), None, "at `$.columns[0]`"),
        (("columns", 0, "kind"), "text", "at `$.columns[0].kind`"),
        (("columns", 0, "kind"), REMOVED, "field `kind` - at `$.columns[0]`"),
        (("columns", 0, "kind"), ["numeric"], "at `$.columns[0].kind`"),
        (("columns", 0, "name"), 1, "at `$.columns[0].name`"),
        (("columns", 0, "name"), "\ud800", "at `$.columns[0].name`"),
        (("columns", 0, "name"), "job", "at `$.columns`"),
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
        (("columns", 0, "categories"), [], "field `categories` - at `$.columns[0]`"),
        (("columns", 1, "categories"), [], "at `$.columns[1].categories`"),
        (("columns", 1, "categories"), ["a", "a"], "at `$.columns[1].categories`"),
        (("columns", 1, "categories", 1), 3, "at `$.columns[1].categories[1]`"),
        (("columns", 1, "impute"), 1, "at `$.columns[1].impute`"),
        (("columns", 1, "impute"), REMOVED, "field `impute` - at `$.columns[1]`"),
        (("columns", 1, "name"), None, "at `$.columns[1].name`"),
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
    refused(
        "preprocessing", key, call=lambda: Preprocessing.from_json(data), error=ModelFormatError
    )


@pytest.mark.parametrize("data", [None, [], "x", 1])
def test_json_that_is_no_object_is_refused(data):
    refused("Expected `object`", call=lambda: Preprocessing.from_json(data), error=ModelFormatError)


def test_json_of_too_many_columns_or_categories_is_refused():
    job = {**GOOD["columns"][1], "categories": [str(i) for i in range(600_000)]}
    for columns in ([GOOD["columns"][0]] * 1_000_001, [job, {**job, "name": "other"}]):
        refused("1000000", "at `$.columns`", call=lambda c=columns: Preprocessing.from_json(
            {**GOOD, "columns": c}), error=ModelFormatError)  # fmt: skip
