import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
import sklearn.datasets

from jaxrep.data import LABELS, NAMES, load, read_table
from jaxrep.errors import InputError

BUNDLED = [name for name in NAMES if name != "blobs"]


def test_names_are_the_sets_with_a_label():
    assert sorted(NAMES) == ["blobs", "breast_cancer", "diabetes", "digits", "iris", "wine"]
    assert set(LABELS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_set_is_float64_features_and_a_text_label(name):
    table = load(name)
    label = LABELS[name]
    assert table.column_names[-1] == label
    assert table[label].type == pa.string()
    assert set(table.drop_columns([label]).schema.types) == {pa.float64()}


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_set_holds_the_data_and_names_of_scikit_learn(name):
    expected = getattr(sklearn.datasets, f"load_{name}")()
    table = load(name)
    assert table.column_names == [*expected.feature_names, "target"]
    np.testing.assert_array_equal(np.column_stack(table.columns[:-1]), expected.data)
    np.testing.assert_array_equal(table["target"].cast(pa.float64()), expected.target)


def test_blobs_are_the_four_clusters_of_the_seed():
    x, label = sklearn.datasets.make_blobs(
        n_samples=2000, centers=4, n_features=32, random_state=42
    )
    table = load("blobs")
    assert table.column_names == [*(f"x{i}" for i in range(32)), "label"]
    np.testing.assert_array_equal(np.column_stack(table.columns[:-1]), x)
    assert table["label"].to_pylist() == [str(value) for value in label]


@pytest.mark.parametrize("name", NAMES)
def test_read_table_takes_the_name_and_keeps_the_label_as_text(name):
    assert read_table(name).equals(load(name))


def test_unknown_set_is_refused_with_those_there_are():
    with pytest.raises(InputError, match=r"^irs: .*blobs.*wine.*did you mean iris\?$"):
        load("irs")


def test_names_are_known_without_importing_scikit_learn_or_jax():
    code = "import sys, jaxrep.data; print(sorted({'sklearn', 'jax', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
