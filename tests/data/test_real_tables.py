"""The kinds that are inferred of real tables, beside those that a person read off the data."""

import io

import pyarrow as pa
import pyarrow.csv
import pytest

from jaxrep.data.fit import fit
from jaxrep.errors import InputError
from tests.helpers.real_tables import ALL, REFUSED, TABLES

pytestmark = pytest.mark.slow


def by_name(tables):
    return pytest.mark.parametrize("table", tables, ids=lambda table: table.name)


def typed(table, folder):
    """The table with the types that pyarrow finds in its CSV: integers, dates, times of day."""
    yield pyarrow.csv.read_csv(table.path(folder))


def as_text(table, folder):
    yield from table.blocks()


@by_name(ALL)
def test_a_table_is_what_was_looked_at(table):
    header, *rows = table.cells()
    assert len(rows) == table.rows
    assert set(map(len, rows)) == {len(header)}
    assert header == list(table.columns or header)
    assert set(table.refused) <= set(header)


@by_name(TABLES)
def test_a_written_file_and_the_blocks_have_the_same_cells(table, tmp_path):
    text = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(table.columns, pa.string()))
    data = pa.input_stream(table.path(tmp_path), compression="detect").read()
    read = pyarrow.csv.read_csv(io.BytesIO(data), convert_options=text)
    assert pa.concat_tables(table.blocks(1_000)).equals(read.combine_chunks())


@pytest.mark.parametrize("carrier", [as_text, typed])
@by_name(TABLES)
def test_kinds(table, carrier, tmp_path):
    kinds = fit(lambda: carrier(table, tmp_path), source=table.name).schema.kinds()
    assert kinds == table.columns | (table.as_text if carrier is as_text else {})


@pytest.mark.parametrize("carrier", [as_text, typed])
@by_name(REFUSED)
def test_a_column_that_is_mostly_numbers_is_refused_by_name(table, carrier, tmp_path):
    with pytest.raises(InputError) as refusal:
        fit(lambda: carrier(table, tmp_path), source=table.name)
    assert any(column in str(refusal.value) for column in table.refused)
