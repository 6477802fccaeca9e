"""Tables read and written block by block: the same as whole ones, with the same refusals."""

import csv
import gzip
import io
import os
import string
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrep.data import NAMES, Columns, Schema, fit, load, read_blocks, read_table
from jaxrep.data.schema import Number
from jaxrep.data.transform import apply_blocks
from jaxrep.errors import InputError


@pytest.fixture(autouse=True, scope="module")
def small_pieces():
    """Makes the readers' pieces a few rows long, so that small tables have many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxrep.data.read._csv._BLOCK", 1)
        patch.setattr("jaxrep.data.read._numpy._PIECE", 64)
        patch.setattr("jaxrep.data._blocks._MOST_ROWS", 7)
        yield


class Drawn(NamedTuple):
    """A table, and how it is written and read."""

    columns: list[list[float | None] | list[str | None]]
    block: int
    row_group: int
    compressed: bool


NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.none() | st.text('aé,"\n =7', min_size=1)


@st.composite
def tables(draw, kinds=("number", "text")):
    rows = draw(st.integers(1, 60))
    columns = []
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=3)):
        cells = draw(st.lists(NUMBERS if kind == "number" else TEXTS, min_size=1, max_size=9))
        columns.append([cells[(i * i + i) % len(cells)] for i in range(rows)])
    draws = st.integers(1, 25), st.integers(1, 20), st.booleans()
    return Drawn(columns, *map(draw, draws))


def expected(drawn):
    columns = {}
    for name, cells in zip(string.ascii_lowercase, drawn.columns, strict=False):
        text = any(isinstance(cell, str) for cell in cells)
        columns[name] = pa.array(cells, pa.string() if text else pa.float64())
    return pa.table(columns)


def check(source, table, rows):
    """Checks that blocks have their size and are, one after another, the table."""
    blocks = list(read_blocks(source, rows=rows))
    assert all(block.num_rows == rows for block in blocks[:-1])
    assert 1 <= blocks[-1].num_rows <= rows
    assert all(block.schema == table.schema for block in blocks)
    assert pa.concat_tables(blocks).equals(table)
    assert read_table(source).equals(table)


PROPERTY = settings(deadline=None, derandomize=True, max_examples=150, database=None)


@given(tables())
@PROPERTY
def test_blocks_of_a_csv_are_its_table(tmp_path_factory, drawn):
    table = expected(drawn)
    text = io.StringIO()
    cells = [
        ["" if c is None else repr(c) if isinstance(c, float) else c for c in column]
        for column in drawn.columns
    ]
    rows = zip(*cells)  # noqa: B905
    csv.writer(text, lineterminator="\n").writerows([table.column_names, *rows])
    table = pa.table(dict(zip(table.column_names, cells, strict=True)))
    data = text.getvalue().encode()
    path = tmp_path_factory.getbasetemp() / ("t.csv.gz" if drawn.compressed else "t.csv")
    path.write_bytes(gzip.compress(data) if drawn.compressed else data)
    check(str(path), table, drawn.block)


@given(tables())
@PROPERTY
def test_blocks_of_a_parquet_file_are_its_table(tmp_path_factory, drawn):
    table = expected(drawn)
    path = tmp_path_factory.getbasetemp() / "t.parquet"
    pq.write_table(table, path, row_group_size=drawn.row_group)
    check(str(path), table, drawn.block)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("order", ["C", "F"])
@given(drawn=tables(kinds=["number"]))
@PROPERTY
def test_blocks_of_an_array_are_its_table(tmp_path_factory, suffix, order, drawn):
    array = np.array(drawn.columns, float).T.copy(order)
    path = tmp_path_factory.getbasetemp() / f"t{suffix}"
    if suffix == ".npy":
        np.save(path, array)
    else:
        (np.savez_compressed if drawn.compressed else np.savez)(path, X=array)
    found = [np.column_stack(block.columns) for block in read_blocks(str(path), rows=drawn.block)]
    np.testing.assert_array_equal(np.concatenate(found), array)
    assert {len(block) for block in found[:-1]} <= {drawn.block}
    np.testing.assert_array_equal(np.column_stack(read_table(str(path)).columns), array)


@pytest.mark.parametrize("name", NAMES)
def test_blocks_of_a_bundled_set_are_its_table(name):
    check(name, load(name), 64)


def test_a_block_has_by_default_as_many_rows_as_fit_its_width(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((20, 2)))
    lengths = [block.num_rows for block in read_blocks(str(tmp_path / "x.npy"))]
    assert lengths == [7, 7, 6]


@pytest.mark.parametrize("rows", [0, -1])
def test_a_block_without_rows_is_refused(rows):
    with pytest.raises(ValueError, match=f"rows is {rows}"):
        next(read_blocks("iris", rows=rows))


# What is wrong deep in a file


def save(path, cells):
    """Writes a column of ones and, before the last two, the cells given."""
    column = [1.0] * 150 + cells + [1.0] * 2
    ones = [1.0] * len(column)
    if path.suffix == ".npy":
        np.save(path, np.array([ones, column]).T)
    elif path.suffix == ".npz":
        np.savez(path, np.array([ones, column]).T)
    elif path.suffix == ".parquet":
        pq.write_table(pa.table({"x0": ones, "x1": column}), path, row_group_size=40)
    else:
        path.write_text("x0,x1\n" + "".join(f"1.0,{cell}\n" for cell in column))
    return str(path)


def refused(source, read):
    """The message with which a table in blocks is refused, which is that of the table whole."""
    messages = []
    for blocks in (lambda: [read_table(source)], lambda: read_blocks(source, rows=11)):
        with pytest.raises(InputError) as caught:
            read(source, blocks)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    return messages[1]


def applied(source, blocks):
    """Reads the features of a table by a schema of two columns of numbers."""
    schema = Schema((Number("x0", 0.0, 1.0, 0.0), Number("x1", 0.0, 1.0, 0.0)))
    return list(apply_blocks(schema, blocks(), source=source))


def fitted(source, blocks):
    return fit(blocks, source=source, columns=Columns(kinds={"x0": "number", "x1": "number"}))


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npy", ".npz"])
@pytest.mark.parametrize("read", [applied, fitted])
def test_an_infinite_number_deep_in_a_file_has_its_row(tmp_path, suffix, read):
    cell = "1e400" if suffix == ".csv" else float("inf")
    message = refused(save(tmp_path / f"t{suffix}", [cell]), read)
    assert f"t{suffix}: column 'x1', row 150 (from 0): the value is infinite" in message


@pytest.mark.parametrize("read", [applied, fitted])
def test_text_deep_in_a_csv_has_its_row(tmp_path, read):
    message = refused(save(tmp_path / "t.csv", ["high"]), read)
    assert "column 'x1', row 150 (from 0): 'high' is not a number" in message


@pytest.mark.parametrize("read", [applied, fitted])
def test_text_deep_in_a_parquet_file_has_its_row(tmp_path, read):
    table = pa.table({"x0": [1.0] * 100, "x1": [*[None] * 80, "high", *[None] * 19]})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=30)
    message = refused(str(tmp_path / "t.parquet"), read)
    assert "column 'x1', row 80 (from 0): 'high' is not a number" in message


def test_a_row_of_another_length_deep_in_a_csv_has_its_number(tmp_path):
    message = refused(save(tmp_path / "t.csv", ["1,1"]), lambda source, blocks: list(blocks()))
    assert "row 150 (from 0): cells: 3" in message


def test_the_blocks_before_a_wrong_cell_are_read(tmp_path):
    blocks = read_blocks(save(tmp_path / "t.csv", ["1,1"]), rows=5)
    assert next(blocks)["x0"].to_pylist() == ["1.0"] * 5
    with pytest.raises(InputError, match=r"row 150 \(from 0\)"):
        list(blocks)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".parquet"])
def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path, suffix):
    source = str(tmp_path / f"t{suffix}")
    x = np.random.default_rng(0).normal(size=(200_000, 2))
    if suffix == ".parquet":
        pq.write_table(pa.table({"a": x[:, 0]}), source, row_group_size=10_000)
    else:
        np.save(source, x) if suffix == ".npy" else np.savez(source, x)
    blocks = read_blocks(source, rows=5)
    next(blocks)
    os.truncate(source, 60_000)
    with pytest.raises(InputError, match="broken"):
        for _ in blocks:
            pass
