"""What is written reads back as the same, by readers that are not ours; and streams."""

import bz2
import datetime as dt
import errno
import os
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from jaxrep.data import check_output, write_blocks, write_table
from jaxrep.errors import InputError

pytestmark = pytest.mark.quick

TABLE = pa.table({"t": ["a", None], "n": [1, 2]})
TEXT = b'"t","n"\n"a",1\n"",2\n'
MOMENTS = [dt.datetime(2024, 3, 31, 0, 59, 59), dt.datetime(2024, 3, 31, 1), None]
# Their local times in Berlin have two offsets.


def written(tmp_path, table):
    write_table(table, tmp_path / "t.csv")
    return tmp_path / "t.csv"


# Cells


@pytest.mark.parametrize(
    "cells",
    [
        pa.array([True, False, None]),
        pa.array([2**63 - 1, -(2**63), None]),
        pa.array([2**64 - 1, 0], pa.uint64()),
        pa.array([0.1, 1e300, -5e-324, None]),
        pa.array([Decimal("0.10"), Decimal("-12345678901234567890.12"), None]),
        pa.array([dt.date(2024, 2, 29), dt.date(1900, 1, 1), None]),
        pa.array(MOMENTS, pa.timestamp("s")),
        pa.array([123456789, -1, None], pa.timestamp("ns")),
        pa.array(MOMENTS, pa.timestamp("ms", "Europe/Berlin")),
        pa.array([123456789, -1, None], pa.timestamp("ns", "+05:30")),
        pa.array([dt.time(23, 59, 59), None], pa.time32("s")),
        pa.array([-(10**9), 3 * 10**9, None]).dictionary_encode(),
    ],
    ids=lambda cells: str(cells.type),
)
@pytest.mark.parametrize("alone", [False, True])
def test_csv_cells_read_back_as_the_same_by_pyarrow(tmp_path, cells, alone):
    columns = {"a": cells} if alone else {"a": cells, "row": list(range(len(cells)))}
    path = written(tmp_path, pa.table(columns))
    kind = cells.type.value_type if pa.types.is_dictionary(cells.type) else cells.type
    if pa.types.is_timestamp(kind) and kind.tz:
        kind = pa.timestamp(kind.unit, "UTC")
    options = pyarrow.csv.ConvertOptions(column_types={"a": kind}, strings_can_be_null=True)
    found = pyarrow.csv.read_csv(path, convert_options=options)["a"]
    if pa.types.is_floating(kind) and alone:  # a gap is written as nan, so that there is a row
        found = found.combine_chunks().to_numpy(zero_copy_only=False)
        np.testing.assert_array_equal(found, cells.to_numpy(zero_copy_only=False))
    else:
        assert found.to_pylist() == cells.cast(kind).to_pylist()


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_csv_durations_and_points_in_time_read_back_as_the_same_by_pandas(tmp_path, unit):
    counts = [0, 1, -1, 86_399, -86_401, 123_456_789_123, -123_456_789_123]
    if unit == "s":
        counts = counts[
            :5
        ]  # pandas reads durations as nanoseconds, of which 292 years are the most
    length, moment = pa.array([*counts, None], pa.duration(unit)), pa.timestamp(unit, "Asia/Tokyo")
    table = pa.table({"d": length, "t": pa.array([*counts, None], moment)})
    found = pd.read_csv(written(tmp_path, table))
    assert pd.to_timedelta(found["d"]).dt.as_unit("ns").tolist() == [
        pd.NaT if d is None else pd.Timedelta(d, unit).as_unit("ns") for d in [*counts, None]
    ]
    read = pd.to_datetime(found["t"], format="ISO8601").dt.as_unit("ns").tolist()
    assert read[:-1] == [pd.Timestamp(t, unit=unit, tz="UTC") for t in counts]
    assert read[-1] is pd.NaT


def test_csv_points_in_time_of_a_zone_are_in_utc_with_a_z(tmp_path):
    zoned = pa.array(MOMENTS, pa.timestamp("s", "Europe/Berlin"))
    path = written(
        tmp_path, pa.table({"t": zoned, "d": pa.array([-1, 90061, None], "duration[s]")})
    )
    assert path.read_text().splitlines()[1:] == [
        '2024-03-31 00:59:59Z,"-1 days +23:59:59"',
        '2024-03-31 01:00:00Z,"1 days 01:01:01"',
        ",",
    ]


def test_a_negative_duration_is_no_formula(tmp_path):
    table = pa.table({"d": pa.array([-1], pa.duration("s")), "t": ["-1 day"]})
    write_table(table, tmp_path / "t.csv", spreadsheet_safe=True)
    assert (tmp_path / "t.csv").read_text().splitlines()[1] == '"-1 days +23:59:59","\'-1 day"'


@pytest.mark.parametrize("cells", [[None, None], [1, None], [True, None], [None, dt.date(1, 1, 1)]])
def test_csv_of_one_column_keeps_every_row_whatever_block_has_the_gap(tmp_path, cells):
    table = pa.table({"a": cells})
    write_blocks([table.slice(0, 1), table.slice(1)], tmp_path / "t.csv")
    assert len(pd.read_csv(tmp_path / "t.csv")) == 2
    assert pd.read_csv(tmp_path / "t.csv")["a"].isna().tolist() == [c is None for c in cells]


# Files


def test_packed_csvs_are_the_csv(tmp_path):
    for name in ("t.csv", "t.csv.bz2", "t.CSV.ZST"):
        write_table(TABLE, tmp_path / name)
    assert (tmp_path / "t.csv").read_bytes() == TEXT
    assert bz2.decompress((tmp_path / "t.csv.bz2").read_bytes()) == TEXT
    with pa.input_stream(str(tmp_path / "t.CSV.ZST"), compression="zstd") as file:
        assert file.read() == TEXT


def test_arrow_is_arrows_file_format(tmp_path):
    write_table(TABLE, tmp_path / "t.arrow")
    with pa.ipc.open_file(tmp_path / "t.arrow") as file:
        assert file.read_all().equals(TABLE)


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet", ".arrow", ".npy", ".npz"])
def test_a_file_may_have_a_name_that_is_not_utf8(tmp_path, suffix):
    path = tmp_path / os.fsdecode(b"t\xff\xfe" + suffix.encode())
    try:
        path.touch()
    except OSError:
        pytest.skip("the file system takes no such names")
    write_table(TABLE.select(["n"]), path)
    assert os.listdir(os.fsencode(tmp_path)) == [os.fsencode(path.name)]
    if suffix == ".csv":
        assert path.read_text() == '"n"\n1\n2\n'
    if suffix == ".npy":
        with path.open("rb") as file:
            assert np.load(file).tolist() == [[1], [2]]


# Streams


def read_from(pipe, write):
    """What arrives in a named pipe while `write` runs."""
    found = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    write()
    reader.join(timeout=30)
    return found[0]


def test_a_named_pipe_is_written_as_it_stands_by_its_suffix(tmp_path):
    for name in ("t", "t.csv", "t.parquet", "t.arrow", "t.csv.bz2"):
        pipe = tmp_path / name
        os.mkfifo(pipe)
        check_output(pipe)
        found = read_from(pipe, lambda pipe=pipe: write_table(TABLE, pipe))
        assert pipe.is_fifo()
        if name == "t.parquet":
            assert pq.read_table(pa.BufferReader(found)).equals(TABLE)
        elif name == "t.arrow":
            assert feather.read_table(pa.BufferReader(found)).equals(TABLE)
        else:
            assert (bz2.decompress(found) if name == "t.csv.bz2" else found) == TEXT
    assert len(os.listdir(tmp_path)) == 5


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("write", [check_output, lambda path: write_table(TABLE, path)])
def test_an_array_for_a_pipe_is_refused(tmp_path, suffix, write):
    os.mkfifo(tmp_path / f"x{suffix}")
    with pytest.raises(InputError, match="an array needs a file"):
        write(tmp_path / f"x{suffix}")


def test_minus_is_standard_output_which_stays_open(capsysbinary):
    for _ in range(2):
        write_blocks([TABLE.slice(0, 1), TABLE.slice(1)], Path("-"))
    assert capsysbinary.readouterr().out == 2 * TEXT
    assert not os.path.exists("-")


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_that_is_a_file_is_appended_to(tmp_path, name):
    if name.startswith("/proc") and not os.path.exists(name):
        pytest.skip("no /proc")
    code = (
        "import pathlib, pyarrow as pa; from jaxrep.data import check_output, write_table; "
        f"path = pathlib.Path({name!r}); check_output(path); print('before'); "
        "write_table(pa.table({'n': [1]}), path); print('after')"
    )
    with (tmp_path / "t.csv").open("wb") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
    assert (tmp_path / "t.csv").read_text() == 'before\n"n"\n1\nafter\n'
    assert os.listdir(tmp_path) == ["t.csv"]


def test_a_descriptor_that_cannot_be_written_is_refused():
    reading, writing = os.pipe()
    with pytest.raises(InputError, match="not open for writing"):
        check_output(Path(f"/dev/fd/{reading}"))
    check_output(Path(f"/dev/fd/{writing}"))
    os.close(writing)
    os.close(reading)
    with pytest.raises(InputError, match="not open for writing"):
        check_output(Path(f"/dev/fd/{writing}"))


@pytest.mark.parametrize("suffix", ["", ".csv.gz", ".parquet", ".arrow"])
def test_a_reader_that_leaves_is_told_from_a_file_that_cannot_be_written(tmp_path, suffix):
    pipe = tmp_path / f"t{suffix}"
    os.mkfifo(pipe)
    rng = np.random.default_rng(0)

    def blocks():
        yield pa.table({"x": rng.normal(size=10)})
        reader.join()
        for _ in range(5):
            yield pa.table({"x": rng.normal(size=100_000)})

    reader = threading.Thread(target=lambda: pipe.open("rb").close())
    reader.start()
    with pytest.raises(BrokenPipeError) as caught:
        write_blocks(blocks(), pipe)
    assert caught.value.errno == errno.EPIPE
