"""One table, however it is written and whatever carries it, becomes the same numbers and codes.

A schema is fitted to the clean table; what it has to give is computed here, from Python's values.
Each mutation changes how the table is written, and not what it says: the spelling of cells, units
and zones of time, types, missing marks, the carrier, the order of columns and rows. The rows must
come out with the bits of the clean table's, or be refused with the name of the column.
"""

import datetime as dt
import random
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest

from jaxrep.data.columns import Columns
from jaxrep.data.fit import fit
from jaxrep.data.frames import as_table
from jaxrep.data.read import read_table
from jaxrep.data.transform import to_features, to_raw
from jaxrep.errors import InputError

EPOCH = dt.datetime(1970, 1, 1)
UTC = dt.UTC
ROWS = 24
MARK = "-999"
NAMES = ("amount", "children", "member", "job", "zip", "size", "born", "seen", "wait")


def clean():
    """The table as Python values, None where a cell is missing."""
    draws = random.Random(0)
    rows = range(ROWS)
    return {
        "amount": [None if i == 3 else draws.randrange(-8000, 8000) / 64 for i in rows],
        "children": [None if i == 5 else draws.randrange(6) for i in rows],
        "member": [draws.random() < 0.5 for _ in rows],
        "job": [None if i == 7 else draws.choice(["clerk", "smith", "true", "a b"]) for i in rows],
        "zip": [draws.choice(["01067", "10115", "20095"]) for _ in rows],
        "size": [None if i == 9 else draws.choice([1, 2, 40]) for i in rows],
        "born": [dt.date(1960, 1, 1) + dt.timedelta(draws.randrange(9000)) for _ in rows],
        "seen": [
            dt.datetime(2024, 1, 1) + dt.timedelta(milliseconds=draws.randrange(10**9))
            for _ in rows
        ],
        "wait": [dt.timedelta(seconds=draws.randrange(9000)) for _ in rows],
    }


def wanted(cells):
    """The raw rows of the clean table, `[ROWS, columns]`, computed without the code under test."""
    levels = {"job": ["a b", "clerk", "smith", "true"], "zip": ["01067", "10115", "20095"]}
    levels["size"] = [1, 2, 40]
    columns = []
    for name in NAMES:
        values = cells[name]
        if name in levels:
            made = [np.nan if v is None else float(levels[name].index(v)) for v in values]
        else:
            made = [np.nan if v is None else seconds(v) for v in values]
        columns.append(made)
    return np.array(columns).T


def seconds(value):
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, dt.datetime):
        since = value - EPOCH
        whole = since.days * 86_400 + since.seconds
        return float(whole) + float(Fraction(since.microseconds, 10**6))
    if isinstance(value, dt.date):
        return float((value - EPOCH.date()).days * 86_400)
    return float(value)


COLUMNS = Columns(kinds={"size": "category"}, na_values=(MARK,))
CELLS = clean()
WANTED = wanted(CELLS)


def as_text(name, value):
    """A cell as the clean CSV writes it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, dt.timedelta):
        return str(pd.Timedelta(value))
    return value.isoformat(" ") if isinstance(value, dt.datetime) else str(value)


@pytest.fixture(scope="module")
def schema():
    table = pa.table({n: [as_text(n, v) for v in CELLS[n]] for n in NAMES})
    return fit(lambda: [table], source="clean", columns=COLUMNS).schema


def same(schema, table, rows=None):
    made = to_raw(schema, table, source="mutated")
    expected = WANTED if rows is None else WANTED[rows]
    assert made.tobytes() == expected.tobytes() or np.array_equal(made, expected, equal_nan=True)
    features = to_features(schema, made, source="mutated")
    wanted = to_features(schema, expected, source="clean")
    assert np.array_equal(features.numbers, wanted.numbers, equal_nan=True)
    assert np.array_equal(features.codes, wanted.codes)


def test_the_clean_table_gives_what_was_computed_by_hand(schema):
    assert schema.kinds() == {
        "amount": "number",
        "children": "count",
        "member": "boolean",
        "job": "category",
        "zip": "category",
        "size": "category",
        "born": "datetime",
        "seen": "datetime",
        "wait": "duration",
    }
    same(schema, pa.table({n: [as_text(n, v) for v in CELLS[n]] for n in NAMES}))


# How a column may be written, other than it is: text by text, or as typed columns.

TRUE = ("True", "TRUE", "true", "t", "Yes", "y", "1", "1.0")
FALSE = ("False", "FALSE", "false", "f", "No", "n", "0", "0.0")
MISSING = ("", "NA", "N/A", "nan", "NaN", "null", "NULL", "None", "<NA>", MARK, "-999.0", " NA ")


def spelled(draws, name, value):
    """One cell of text that says the same as the clean one."""
    if value is None:
        text = draws.choice(MISSING)
    elif name == "member":
        text = draws.choice(TRUE if value else FALSE)
    elif name == "amount":
        text = draws.choice([repr(value), f"{value:.6f}", f"{value:.10e}", f"{value:+}"])
    elif name in ("children", "size"):
        text = draws.choice([str(value), f"{value}.0", f"{value}.", f"{value}e0"])
    elif name == "zip":
        text = draws.choice([value, value.lstrip("0"), f"{int(value)}.0"])
    elif name == "job":
        text = draws.choice([value, value.upper()]) if value == "true" else value
    elif name == "born":
        midnight = f"{value}{draws.choice([' ', 'T'])}00:00:00"
        text = draws.choice([str(value), f"{value:%Y/%m/%d}", midnight, f"{midnight}.000"])
    elif name == "seen":
        digits = draws.choice(["milliseconds", "microseconds"])
        text = value.isoformat(draws.choice([" ", "T"]), digits)
    else:
        minutes, rest = divmod(int(value.total_seconds()), 60)
        hours, minutes = divmod(minutes, 60)
        text = draws.choice(
            [
                f"{hours}:{minutes:02}:{rest:02}",
                f"{hours:02}:{minutes:02}:{rest:02}.000",
                f"0 days {hours:02}:{minutes:02}:{rest:02}",
                f"PT{hours}H{minutes}M{rest}S",
            ]
        )
    blanks = draws.choice(["", "", "", " ", "\t", "  "])
    return blanks + text + draws.choice(["", "", "", " ", "\u00a0"])


def typed(draws, name, values):
    """The column in a type that holds the same values."""
    if name == "amount":
        kinds = [pa.float64(), pa.float32(), pa.decimal128(20, 6)]
        kind = draws.choice(kinds)
        if pa.types.is_decimal(kind):
            return pa.array(values, pa.float64()).cast(kind)
        column = pa.array(values, kind)
        return with_mark(draws, column)
    if name in ("children", "size"):
        kinds = [pa.int8(), pa.int64(), pa.uint32(), pa.float32(), pa.float64()]
        return with_mark(draws, pa.array(values, draws.choice(kinds)))
    if name == "member":
        kinds = [pa.bool_(), pa.int8(), pa.int64(), pa.float64()]
        return pa.array(values, pa.bool_()).cast(pa.int8()).cast(draws.choice(kinds))
    if name == "job":
        column = pa.array(values, pa.string())
        kinds = [pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.string_view()]
        return column.cast(draws.choice([pa.string(), *kinds, pa.binary()]))
    if name == "zip":
        kind = draws.choice([pa.int64(), pa.int32(), pa.float64()])
        return pa.array([int(value) for value in values], kind)
    if name == "born":
        kinds = [pa.date32(), pa.date64(), pa.timestamp("s"), pa.timestamp("ms")]
        kinds += [pa.timestamp("us"), pa.timestamp("ns")]
        return pa.array(values, pa.date32()).cast(draws.choice(kinds))
    if name == "seen":
        column = pa.array(values, pa.timestamp("us"))
        return column.cast(pa.timestamp(draws.choice(["ms", "us", "ns"])))
    column = pa.array(values, pa.duration("us"))
    if draws.random() < 0.3:  # a time of the day, since midnight
        times = [(EPOCH + value).time() for value in values]
        return pa.array(times, draws.choice([pa.time32("s"), pa.time64("us")]))
    return column.cast(pa.duration(draws.choice(["s", "ms", "us", "ns"])))


def with_mark(draws, column):
    """The same numbers, the missing ones perhaps as the user's mark."""
    if draws.random() < 0.5 or pa.types.is_unsigned_integer(column.type):
        return column
    if column.type == pa.int8():
        column = column.cast(pa.int16())
    return column.fill_null(pa.scalar(-999, column.type))


def in_csv(draws, table, folder):
    delimiter = draws.choice([",", ";", "\t", "|"])
    suffix = draws.choice(["csv", "csv.gz", "csv.zst", "csv.bz2", "txt"])
    path = folder / f"t.{suffix}"
    texts = [c.cast(pa.string()).to_pylist() for c in table.columns]
    quote = draws.random() < 0.3
    lines = [delimiter.join(table.column_names)]
    for row in zip(*texts, strict=True):
        cells = [f'"{cell}"' if quote or delimiter in cell else cell for cell in row]
        lines.append(delimiter.join(cells))
    text = "\n".join(lines) + draws.choice(["", "\n"])
    mark = draws.choice(["", "\ufeff"])
    codec = suffix.partition(".")[2]
    codecs = {"gz": "gzip", "zst": "zstd", "bz2": "bz2"}
    with pa.output_stream(str(path), compression=codecs.get(codec)) as stream:
        stream.write((mark + text).encode())
    return read_table(str(path))


def in_parquet(draws, table, folder):
    if draws.random() < 0.3:
        folder = folder / "parts"
        folder.mkdir()
        cut = draws.randrange(1, ROWS)
        pa.parquet.write_table(table.slice(0, cut), folder / "0.parquet")
        pa.parquet.write_table(table.slice(cut), folder / "1.parquet")
        return read_table(str(folder))
    pa.parquet.write_table(table, folder / "t.parquet")
    return read_table(str(folder / "t.parquet"))


def in_feather(draws, table, folder):
    path = folder / draws.choice(["t.feather", "t.arrow"])
    pa.feather.write_feather(table, path, compression=draws.choice(["lz4", "uncompressed"]))
    return read_table(str(path))


def in_pandas(draws, table, folder):
    backend = draws.choice([None, "arrow", "nullable"])
    if backend == "arrow":
        frame = table.to_pandas(types_mapper=pd.ArrowDtype)
    else:
        frame = table.to_pandas(date_as_object=draws.random() < 0.5)
        if backend == "nullable":
            frame = frame.convert_dtypes()
    if draws.random() < 0.5:
        frame.index = draws.sample(range(100), len(frame))
    if backend != "arrow" and draws.random() < 0.3:  # which pandas fails to convert
        frame["job"] = frame["job"].astype("category")
    return as_table(frame)


def in_polars(draws, table, folder):
    frame = pl.from_arrow(table)
    if draws.random() < 0.3 and frame["job"].dtype == pl.String:
        frame = frame.with_columns(pl.col("job").cast(pl.Categorical))
    return as_table(frame)


def in_memory(draws, table, folder):
    return as_table(table)


CARRIERS = (in_parquet, in_feather, in_pandas, in_polars, in_memory)


def mutated(seed, folder):
    """A table that says the same as the clean one, read; and the rows that it has."""
    draws = random.Random(seed)
    rows = draws.sample(range(ROWS), ROWS) if draws.random() < 0.5 else list(range(ROWS))
    names = draws.sample(NAMES, len(NAMES)) if draws.random() < 0.5 else list(NAMES)
    columns, is_text = {}, draws.random() < 0.5
    for name in names:
        values = [CELLS[name][row] for row in rows]
        if is_text or draws.random() < 0.2:
            columns[name] = pa.array([spelled(draws, name, value) for value in values])
        else:
            columns[name] = typed(draws, name, values)
    table = pa.table(columns)
    carry = in_csv if is_text and draws.random() < 0.6 else draws.choice(CARRIERS)
    return carry(draws, table, folder), rows


def check(schema, seeds, tmp_path):
    refused = 0
    for seed in seeds:
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            table, rows = mutated(seed, folder)
            same(schema, table, rows)
        except InputError as error:
            refused += 1
            assert any(f"'{name}'" in str(error) for name in NAMES), f"seed {seed}: {error}"
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
    return refused


@pytest.mark.parametrize("part", range(4))
def test_mutations_that_say_the_same_give_the_same_bits(schema, tmp_path, part):
    assert check(schema, range(part, 200, 4), tmp_path) == 0


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_two_thousand_mutations_give_the_same_bits(schema, tmp_path, part):
    assert check(schema, range(200 + part, 2200, 4), tmp_path) == 0
