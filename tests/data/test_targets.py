"""Targets of fine-tuning: what is learnt of a label column, there and back, and what is refused."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.utils.class_weight import compute_sample_weight

from jaxrep.data import read_table
from jaxrep.data.targets import (
    Classes,
    Numbers,
    balanced_weights,
    fit_classes,
    fit_numbers,
    labelled,
    labels_of,
    target_from_json,
)
from jaxrep.data.targets._labels import infer_type
from jaxrep.errors import InputError, ModelFormatError

pytestmark = pytest.mark.quick


def refused(fit, values, *facts, **options):
    """Checks that a column is refused with one message that names it and holds every fact."""
    with pytest.raises(InputError) as caught:
        fit(values, "y", "t.csv", **options)
    message = str(caught.value)
    assert message.startswith("t.csv: ") and "'y'" in message and "\n" not in message
    for fact in facts:
        assert fact in message, message


# Classes

COLUMNS = {
    "text": (["b", "a", "b", "a"], ("a", "b")),
    "integers": ([10, -2, 10, 2**60, -2, 2**60], (-2, 10, 2**60)),
    "booleans": ([True, False, True, True], (False, True)),
    "whole floats": ([1.0, -0.0, 0.0, 1e300, 1.0, 1e300], (0.0, 1.0, 1e300)),
}
FORMS = {
    "arrow": pa.array,
    "arrow, chunked": lambda values: pa.chunked_array([values[:1], [], values[1:]]),
    "arrow, dictionary": lambda values: pa.array(values).dictionary_encode(),
    "numpy": np.array,
    "numpy, objects": lambda values: np.array(values, object),
    "pandas": pd.Series,
    "pandas, categories": lambda values: pd.Series(values, dtype="category"),
    "polars": pl.Series,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", COLUMNS)
def test_classes_go_there_and_back_with_their_type(kind, form):
    values, labels = COLUMNS[kind]
    column = FORMS[form](values)
    classes = fit_classes(column, "y", "t.csv")
    assert classes == Classes("y", labels)
    assert [type(label) for label in classes.labels] == [type(label) for label in labels]
    codes = classes.encode(column)
    assert codes.dtype == np.int32 and codes.tolist() == [labels.index(value) for value in values]
    decoded = classes.decode(codes)
    assert decoded.tolist() == values
    assert [type(value) for value in decoded.tolist()] == [type(value) for value in values]


@pytest.mark.parametrize("kind", COLUMNS)
def test_classes_go_through_json(kind):
    classes = Classes("y", COLUMNS[kind][1])
    again = target_from_json(json.loads(json.dumps(classes.to_json())))
    assert again == classes == Classes.from_json(classes.to_json())
    assert [type(label) for label in again.labels] == [type(label) for label in classes.labels]


@pytest.mark.parametrize(
    ("labels", "values", "codes"),
    [
        ((0, 1), ["1", "0", " 1"], [1, 0, 1]),
        ((0, 1), ["1.0", "0"], [1, 0]),
        ((0, 1), [1.0, 0.0], [1, 0]),
        ((0, 1), [True, False], [1, 0]),
        ((0.0, 1.0), [1, 0], [1, 0]),
        (("0", "1"), [1, 0], [1, 0]),
        (("0", "1"), [1.0, 0.0], [1, 0]),
        (("false", "true"), [True, False], [1, 0]),
        ((False, True), ["True", "false"], [1, 0]),
        ((False, True), [1, 0], [1, 0]),
        (("01", "1"), ["1", "01"], [1, 0]),
        ((2**53, 2**53 + 1), [2**53 + 1, 2**53], [1, 0]),
    ],
)
def test_labels_of_another_type_are_compared_by_what_they_say(labels, values, codes):
    assert Classes("y", labels).encode(pa.array(values)).tolist() == codes


@pytest.mark.parametrize(
    ("labels", "values", "facts"),
    [
        (("a", "b"), ["a", "c", "d"], ["'c' (row 1, from 0)", "none of the classes, 'a', 'b'"]),
        ((0, 1), [1, 2], ["2 (row 1, from 0)", "0, 1"]),
        ((0, 1), ["1", "x"], ["'x' (row 1, from 0)"]),
        ((False, True), [2, 1], ["2 (row 0, from 0)"]),
        ((0, 1), [0.5, 1], ["0.5 (row 0, from 0)"]),
        (("a", "b"), ["a", None], ["missing in 1 of 2 rows (row 1, from 0)"]),
    ],
)
def test_what_is_none_of_the_classes_is_refused(labels, values, facts):
    with pytest.raises(InputError) as caught:
        Classes("y", labels).encode(pa.array(values), source="new.csv")
    for fact in ("new.csv: label 'y': ", *facts):
        assert fact in str(caught.value), caught.value


def test_one_class_alone_is_refused():
    refused(
        fit_classes, np.array(["yes"] * 3), "all 3 rows are of one class, 'yes'", "another label"
    )
    refused(fit_classes, pa.array([1, None, 1]), "all 2 rows", skip_missing=True)


def test_a_quantity_is_refused_as_classes():
    refused(
        fit_classes,
        np.array([1.0, 2.0, 0.125, 0.5]),
        "0.125 (row 2, from 0) is not a whole number",
        "at most 1000",
        "fine-tune a regressor",
    )


def test_too_many_classes_are_refused():
    numbers = np.repeat(np.arange(1001), 5)
    refused(fit_classes, numbers, "1001 different values in 5005 rows", "a regressor")
    assert len(fit_classes(numbers[:-5], "y", "t.csv").labels) == 1000
    few_each = np.repeat(np.arange(21), 4)
    refused(fit_classes, few_each, "21 different values in 84 rows", "a regressor")
    assert len(fit_classes(few_each[:-4], "y", "t.csv").labels) == 20
    assert len(fit_classes([f"r{n}" for n in few_each], "y", "t.csv").labels) == 21
    few = np.array([0, 1, 2, 0, 1])
    refused(fit_classes, few, "3 different values in 5 rows", "2 rows or more", "a regressor")
    assert fit_classes(np.append(few, 2), "y", "t.csv").labels == (0, 1, 2)


def test_an_id_of_text_is_refused_without_talk_of_a_regressor():
    refused(fit_classes, np.array(["r0", "r1", "r2"]), "3 different values", "looks like an id")
    with pytest.raises(InputError) as caught:
        fit_classes(np.array(["r0", "r1", "r2"]), "y", "t.csv")
    assert "regressor" not in str(caught.value)


# Numbers


def test_numbers_are_standardised_there_and_back():
    values = np.random.default_rng(0).normal(50, 7, 1000)
    numbers = fit_numbers(values, "y", "t.csv")
    assert numbers.mean == pytest.approx(values.mean(), rel=1e-15)
    assert numbers.scale == pytest.approx(values.std(), rel=1e-14)
    standardised = numbers.encode(values)
    assert standardised.dtype == np.float32
    np.testing.assert_allclose(standardised, (values - values.mean()) / values.std(), atol=1e-6)
    decoded = numbers.decode(standardised)
    assert decoded.dtype == np.float64
    np.testing.assert_allclose(decoded, values, rtol=1e-6)
    assert target_from_json(json.loads(json.dumps(numbers.to_json()))) == numbers


@pytest.mark.parametrize("unit", [1e-310, 1e-200, 1.0, 1e200, 1.1e308])
def test_numbers_neither_overflow_nor_vanish(unit):
    values = np.array([-1.5, 1.5, 1.5]) * unit  # the mean is unit / 2, the deviation √2 units
    numbers = fit_numbers(values, "y", "t.csv")
    assert numbers.mean == pytest.approx(unit / 2, rel=1e-9)
    assert numbers.scale / np.sqrt(2) == pytest.approx(unit, rel=1e-9)
    standardised = numbers.encode(values)
    np.testing.assert_allclose(standardised, np.array([-2, 1, 1]) / np.sqrt(2), rtol=1e-6)
    np.testing.assert_allclose(numbers.decode(standardised), values, rtol=1e-6)


def test_numbers_far_from_zero_keep_their_digits():
    values = 1.7e9 + np.array([0.0, 1.0, 2.0])
    numbers = fit_numbers(values, "y", "t.csv")
    np.testing.assert_allclose(numbers.encode(values), np.array([-1, 0, 1]) * np.sqrt(1.5))


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, 2, 3], pa.int8()),
        pa.array(["1", " +2.0", "3e0"]),
        np.array([1, 2, 3], np.uint16),
        np.array([1.0, 2.0, 3.0], ">f4"),
        pd.Series([1, 2, 3], dtype="Int64"),
    ],
)
def test_numbers_come_in_any_type(values):
    assert fit_numbers(values, "y", "t.csv").mean == 2


def test_text_is_refused_as_numbers_with_its_first_cell():
    cells = pa.array(["1.5", None, "high", "low"])
    refused(fit_numbers, cells, "'high' (row 2, from 0) is not a number", "a classifier")
    with pytest.raises(InputError, match=r"new: label 'y': 'high' \(row 2, from 0\)"):
        Numbers("y", 0.0, 1.0).encode(cells, source="new")


@pytest.mark.parametrize("values", [[2.0] * 3, [0] * 3, [0.1 + 0.2, 0.3, 0.3], [0.0, 5e-324, 0.0]])
def test_numbers_that_are_all_equal_are_refused(values):
    refused(fit_numbers, np.array(values), "in all 3 rows", "nothing to predict")


def test_a_number_too_far_from_the_training_rows_is_refused():
    numbers = Numbers("y", mean=0.0, scale=1e-300)
    with pytest.raises(InputError, match=r"new: label 'y': 1e\+10 \(row 1, from 0\) is too far"):
        numbers.encode(np.array([0.0, 1e10]), source="new")


# What is missing


@pytest.mark.parametrize("fit", [fit_classes, fit_numbers])
@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, None, 2, 1, 2, None]),
        np.array([1, np.nan, 2, 1, 2, np.nan]),
        np.array([1, None, 2, 1, 2, np.nan], object),
        pd.Series([1, None, 2, 1, 2, None], dtype="Int64"),
        pa.array(["1", None, "2", "1", "2", ""]),
    ],
)
def test_missing_labels_are_refused_or_left_out(fit, values):
    facts = ("missing in 2 of 6 rows (rows 1, 5, from 0)", "fill them in, or leave those rows out")
    refused(fit, values, *facts)
    kept = labelled(values)
    assert kept.dtype == bool and kept.tolist() == [True, False, True, True, True, False]
    target = fit(values, "y", "t.csv", skip_missing=True)
    assert target == fit(pa.array([1, 2, 1, 2]).cast(target_type(target)), "y", "t.csv")
    assert len(target.encode(np.asarray(values)[kept])) == 4
    with pytest.raises(InputError, match="missing in 2 of 6"):
        target.encode(values)


def target_type(target):
    first = target.labels[0] if isinstance(target, Classes) else 1.0
    return {str: pa.string(), int: pa.int64(), float: pa.float64()}[type(first)]


def test_only_some_of_many_missing_rows_are_listed():
    values = np.full(100, np.nan)
    refused(fit_numbers, values, "missing in 100 of 100 rows (rows 0, 1", "and 90 more")


@pytest.mark.parametrize("fit", [fit_classes, fit_numbers])
@pytest.mark.parametrize("values", [[], [1.0], [1.0, np.nan], [np.nan]])
def test_fewer_than_two_labels_are_refused(fit, values):
    count = int(np.isfinite(values).sum())
    facts = (f"{count} row{'s' * (count != 1)} with a label", "at least 2")
    refused(fit, np.array(values), *facts, skip_missing=True)


@pytest.mark.parametrize("fit", [fit_classes, fit_numbers])
def test_infinite_numbers_are_refused(fit):
    refused(fit, np.array([1.0, 2.0, -np.inf]), "row 2 (from 0)", "infinite")


@pytest.mark.parametrize("fit", [fit_classes, fit_numbers])
@pytest.mark.parametrize(
    ("values", "fact"),
    [
        (np.array(["a", 1], object), "neither all numbers nor all text"),
        (np.array(["\ud800", "b"]), "neither all numbers nor all text"),
        (np.array([2**70, 1], object), "neither all numbers nor all text"),
        (np.zeros((3, 1)), "shape (3, 1)"),
        (np.array([1j, 2j]), "all numbers"),
        (pa.array([[1], [2]]), "list"),
        (pa.array([2**63, 1], pa.uint64()), "beyond int64"),
    ],
)
def test_columns_of_something_else_are_refused(fit, values, fact):
    refused(fit, values, fact)


# The column of a table


def test_the_label_column_of_a_table_keeps_its_type(tmp_path):
    columns = {
        "x": [1.0, 2.0, 3.0],
        "text": ["1", "2", ""],
        "code": ["01", "2", ""],
        "int": pa.array([2**53 + 1, -7, None], pa.int64()),
        "bool": [True, False, None],
        "category": pa.array(["a", "b", "a"]).dictionary_encode(),
        "decimal": pa.array([1, 2, 3]).cast(pa.decimal128(21, 2)),
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    source, names = str(tmp_path / "t.parquet"), list(columns)[1:]
    table = read_table(source)
    found = {name: labels_of(table, name, source, ["-7"]) for name in names}
    assert {name: str(column.type) for name, column in found.items()} == {
        "text": "int64",
        "code": "string",
        "int": "int64",
        "bool": "bool",
        "category": "string",
        "decimal": "double",
    }
    assert found["text"].to_pylist() == [1, 2, None]
    assert found["code"].to_pylist() == ["01", "2", None]
    assert found["int"].to_pylist() == [2**53 + 1, None, None]
    assert found["bool"].to_pylist() == [True, False, None]
    assert found["category"].to_pylist() == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        ("1 0 1", [1, 0, 1]),
        ("1 NA -0.5", [1.0, None, -0.5]),
        ("1e3 .5 2.", [1000.0, 0.5, 2.0]),
        ("01 10 11", ["01", "10", "11"]),
        ("+49 1 2", ["+49", "1", "2"]),
        ("yes NA 1", ["yes", "NA", "1"]),
        ("1 -999.0 2", [1.0, None, 2.0]),
        ("12345678901234567890 1 2", ["12345678901234567890", "1", "2"]),
        ("NA NA NA", [None] * 3),
        ("True False True", ["True", "False", "True"]),
    ],
)
def test_labels_of_a_csv_are_numbers_where_all_cells_are(tmp_path, cells, labels):
    lines = [f"{i},{cell}" for i, cell in enumerate(cells.split())]
    (tmp_path / "t.csv").write_text("\n".join(["x,y", *lines]))
    source = str(tmp_path / "t.csv")
    found = labels_of(read_table(source), "y", source, ["-999"])
    assert found.to_pylist() == labels
    assert [type(label) for label in found.to_pylist()] == [type(label) for label in labels]
    if "-999" not in cells:
        assert infer_type(read_table(source)["y"]).equals(found)


def test_labels_of_arrays_and_named_sets_are_numbers(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[0.5, 1], [0.25, 0]]))
    source = str(tmp_path / "x.npy")
    assert labels_of(read_table(source), "x1", source).to_pylist() == [1, 0]
    iris = labels_of(read_table("iris"), "target", "iris")
    assert fit_classes(iris, "target", "iris").labels == (0, 1, 2)
    diabetes = labels_of(read_table("diabetes"), "target", "diabetes")
    assert fit_numbers(diabetes, "target", "diabetes").mean == pytest.approx(152.13, abs=0.01)


def test_a_label_that_is_no_column_is_refused():
    table = pa.table({"age": [1.0], "income": [2.0]})
    with pytest.raises(
        InputError, match=r"did you mean 'income'\? The columns are 'age', 'income'"
    ):
        labels_of(table, "incme", "t.csv")


# JSON that cannot be

BAD_JSON = {
    "not an object": ([], "object"),
    "no kind": ({"name": "y", "labels": ["a", "b"]}, "kind"),
    "another kind": ({"kind": "rows", "name": "y"}, "rows"),
    "no labels": ({"kind": "classes", "name": "y"}, "labels"),
    "one label": ({"kind": "classes", "name": "y", "labels": ["a"]}, r"\$\.labels"),
    "too many": ({"kind": "classes", "name": "y", "labels": list(range(1001))}, r"\$\.labels"),
    "not sorted": ({"kind": "classes", "name": "y", "labels": [2, 1]}, "ascending"),
    "one twice": ({"kind": "classes", "name": "y", "labels": ["a", "a"]}, "ascending"),
    "two types": ({"kind": "classes", "name": "y", "labels": [0, "a"]}, "more than one type"),
    "0 and false": ({"kind": "classes", "name": "y", "labels": [False, 1]}, "more than one type"),
    "null": ({"kind": "classes", "name": "y", "labels": [None, "a"]}, r"\$\.labels"),
    "infinite": ({"kind": "classes", "name": "y", "labels": [0.0, np.inf]}, r"\$\.labels"),
    "beyond int64": ({"kind": "classes", "name": "y", "labels": [0, 2**63]}, "labels"),
    "surrogate": ({"kind": "classes", "name": "y", "labels": ["a", "\ud800"]}, "labels"),
    "more": ({"kind": "classes", "name": "y", "labels": ["a", "b"], "x": 1}, "x"),
    "scale 0": ({"kind": "numbers", "name": "y", "mean": 0.0, "scale": 0.0}, r"\$\.scale"),
    "NaN": ({"kind": "numbers", "name": "y", "mean": np.nan, "scale": 1.0}, r"\$\.mean"),
    "text": ({"kind": "numbers", "name": "y", "mean": "0", "scale": 1.0}, r"\$\.mean"),
}


@pytest.mark.parametrize("case", BAD_JSON)
def test_json_that_cannot_be_is_refused(case):
    data, reason = BAD_JSON[case]
    with pytest.raises(ModelFormatError, match=f"target: .*{reason}"):
        target_from_json(data)


# Weights


@pytest.mark.parametrize("counts", [(5, 5), (1, 9), (3, 4, 50), (2, 0, 6)])
def test_balanced_weights_are_those_of_scikit_learn(counts):
    classes = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    weights = balanced_weights(classes, len(counts))
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, compute_sample_weight("balanced", classes), rtol=1e-6)
    assert weights.mean() == pytest.approx(1)
    totals = np.bincount(classes, weights)
    np.testing.assert_allclose(totals[totals > 0], len(classes) / np.count_nonzero(counts))


def test_a_class_number_that_there_is_not_is_an_error():
    with pytest.raises(ValueError, match="a class number is 2; there are 2 classes"):
        balanced_weights(np.array([0, 2]), 2)
