import hashlib
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv as pacsv
from pyarrow import feather

from jaxrep.data.read import _files as _files
from jaxrep.data.read import digests, read_blocks, read_table
from jaxrep.errors import InputError

pytestmark = pytest.mark.quick


def read(source, **options):
    """Returns a table's columns, and the remarks."""
    notes = []
    blocks = list(read_blocks(str(source), note=notes.append, **options))
    return pa.concat_tables(blocks).to_pydict(), notes


def refused(source, *facts):
    with pytest.raises(InputError) as caught:
        read_table(str(source))
    for fact in facts:
        assert fact in str(caught.value), str(caught.value)


def write(folder, name, **columns):
    """Writes a part of a table's folder, in the format that its name says."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if name.endswith(".parquet"):
        pq.write_table(table, path)
    elif name.endswith(".feather"):
        feather.write_feather(table, path)
    else:
        pacsv.write_csv(table, path)


# Files and their formats


def test_named_set_is_read_with_its_label_as_text():
    table = read_table("iris")
    assert table.shape == (150, 5)
    assert table.schema.field("target").type == pa.string()
    assert next(read_blocks("iris", columns=["target"])).column_names == ["target"]


def save_npz(path):
    with open(path, "wb") as file:
        np.savez(file, X=np.array([[1.0]]))


SAVED = {
    "CSV": lambda path: path.write_text("x0\n1.0\n"),
    "Parquet": lambda path: pq.write_table(pa.table({"x0": [1.0]}), path),
    "Arrow": lambda path: feather.write_feather(pa.table({"x0": [1.0]}), path),
    "npz": save_npz,
}
SUFFIXES = {"CSV": ".csv", "Parquet": ".parquet", "Arrow": ".feather", "npz": ".npz"}


@pytest.mark.parametrize("name", ["x", "x.txt", "x.data", "x.PQ"])
@pytest.mark.parametrize("kind", SAVED)
def test_file_of_an_unknown_suffix_is_read_by_its_content(tmp_path, kind, name):
    SAVED[kind](tmp_path / name)
    assert [float(x) for x in read(tmp_path / name)[0]["x0"]] == [1.0]


@pytest.mark.parametrize("named", SAVED)
@pytest.mark.parametrize("kind", SAVED)
def test_file_named_as_another_format_is_refused(tmp_path, kind, named):
    path = tmp_path / f"x{SUFFIXES[named]}"
    SAVED[kind](path)
    if named == kind:
        assert list(read(path)[0]) == ["x0"]
    else:
        content = "text" if kind == "CSV" else kind
        refused(path, f"named as {named}, but its content is {content}")


def test_csv_may_begin_as_parquet_does(tmp_path):
    (tmp_path / "x.csv").write_text("PAR1,PAR2\na,b\n")
    assert list(read(tmp_path / "x.csv")[0]) == ["PAR1", "PAR2"]


def test_archive_that_is_no_npz_is_refused(tmp_path):
    pd.DataFrame({"a": [1]}).to_csv(tmp_path / "x.zip")
    refused(tmp_path / "x.zip", "zip", "not read")


@pytest.mark.parametrize("data", [b"a\0b", b"\xe4\n", b"\x7fELF\0\0"])
def test_binary_file_of_an_unknown_suffix_is_refused(tmp_path, data):
    (tmp_path / "x.dat").write_bytes(data)
    refused(tmp_path / "x.dat", "not a file of a known kind")


def test_compressed_parquet_is_refused(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "x")
    data = pa.compress((tmp_path / "x").read_bytes(), codec="gzip", asbytes=True)
    for name in ("x.parquet.gz", "x.gz", "x.csv.gz"):
        (tmp_path / name).write_bytes(data)
        refused(tmp_path / name, "Parquet", "unpack")


@pytest.mark.parametrize(
    ("source", "facts"),
    [
        ("blob", ["did you mean blobs?"]),
        ("nowhere.csv", ["no such file"]),
        ("nowhere/x.txt", ["no such file"]),
        ("x.cvs", ["neither", "did you mean .csv?"]),
        ("a\0b.csv", ["zero byte"]),
        ("", ["neither"]),
        ("/dev/null", ["neither a regular file nor a pipe"]),
    ],
)
def test_source_that_is_none_is_refused(source, facts):
    refused(source, *facts)


@pytest.mark.parametrize("suffix", SUFFIXES.values())
def test_name_may_be_of_any_bytes(tmp_path, suffix):
    kind = next(kind for kind, each in SUFFIXES.items() if each == suffix)
    path = tmp_path / os.fsdecode(b"caf\xe9" + suffix.encode())
    SAVED[kind](tmp_path / "x")
    os.rename(tmp_path / "x", path)
    assert list(read(path)[0]) == ["x0"]
    (name,) = digests(str(path))
    assert name == "caf\\udce9" + suffix


def test_rows_of_a_block_must_be_one_or_more():
    with pytest.raises(ValueError, match="rows is 0"):
        next(read_blocks("iris", rows=0))


def test_digest_is_of_the_file(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"a\n1\n")
    expected = {"x.csv": hashlib.sha256(b"a\n1\n").hexdigest()}
    assert digests(str(tmp_path / "x.csv")) == expected
    with pytest.raises(InputError, match="no such file"):
        digests(str(tmp_path / "y.csv"))


# Pipes and standard input


@pytest.fixture
def pipe():
    """Returns the source that is a pipe out of which given bytes come."""
    opened = []

    def holding(data):
        out, into = os.pipe()
        os.write(into, data)
        os.close(into)
        opened.append(out)
        return f"/dev/fd/{out}"

    yield holding
    for out in opened:
        os.close(out)
        _files._copies.pop(f"/dev/fd/{out}", None)


def test_pipe_can_be_read_several_times(pipe):
    source = pipe(b"a;b\n1;2\n")
    assert read(source) == ({"a": ["1"], "b": ["2"]}, ["the delimiter is ';'"])
    assert read(source)[0] == {"a": ["1"], "b": ["2"]}
    assert list(digests(source).values()) == [hashlib.sha256(b"a;b\n1;2\n").hexdigest()]


@pytest.mark.parametrize("kind", SAVED)
def test_pipe_is_read_by_its_content(tmp_path, pipe, kind):
    SAVED[kind](tmp_path / "x")
    assert list(read(pipe((tmp_path / "x").read_bytes()))[0]) == ["x0"]


def test_pipe_of_a_compressed_csv_or_of_nothing(pipe):
    source = pipe(pa.compress(b"a\n1\n", codec="gzip", asbytes=True))
    assert read(source)[0] == {"a": ["1"]}
    refused(pipe(b""), "empty")


@pytest.mark.parametrize("source", ["-", "/dev/stdin"])
def test_standard_input_is_read_and_its_copy_removed(tmp_path, source):
    program = (
        "from jaxrep.data.read import *; from jaxrep.data.read import _files\n"
        f"print(read_table({source!r})['a'].to_pylist(), len(digests({source!r})))\n"
        "print(*_files._copies.values())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=b"a\n7\n",
        capture_output=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        check=True,
    )
    read_line, copy = done.stdout.decode().splitlines()
    assert read_line == "['7'] 1"
    assert copy.startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


# Folders


def test_folder_is_read_in_the_order_of_its_paths(tmp_path):
    for name, value in {"b.parquet": 3, "a/z.parquet": 2, "a/y/x.parquet": 1}.items():
        write(tmp_path, name, v=[value])
    assert read(tmp_path) == ({"v": [1, 2, 3]}, [])
    assert list(digests(str(tmp_path))) == ["a/y/x.parquet", "a/z.parquet", "b.parquet"]


def test_hidden_files_and_folders_are_skipped(tmp_path):
    write(tmp_path, "a.parquet", v=[1])
    write(tmp_path, "_temporary/b.parquet", w=[2])
    write(tmp_path, ".c.parquet", w=[3])
    (tmp_path / "_SUCCESS").touch()
    assert read(tmp_path) == ({"v": [1]}, [])


def test_partitions_become_columns_of_text(tmp_path):
    write(tmp_path, "year=2019/city=a%20b/x.parquet", v=[1, 2])
    write(tmp_path, "year=2020/city=__HIVE_DEFAULT_PARTITION__/x.parquet", v=[3])
    expected = {"v": [1, 2, 3], "year": ["2019", "2019", "2020"], "city": ["a b", "a b", None]}
    assert read(tmp_path)[0] == expected
    assert read(tmp_path, columns=["city"])[0] == {"city": ["a b", "a b", None]}
    assert read_table(str(tmp_path)).schema.field("year").type == pa.string()


def test_partitions_are_as_pandas_writes_them(tmp_path):
    frame = pd.DataFrame({"v": [1, 2], "k": ["x/y", "z"]})
    frame.to_parquet(tmp_path, partition_cols=["k"])
    assert read(tmp_path)[0] == {"v": [1, 2], "k": ["x/y", "z"]}


@pytest.mark.parametrize("other", ["x.parquet", "c=1/x.parquet", "k=1/c=1/x.parquet"])
def test_partitions_that_do_not_agree_are_refused(tmp_path, other):
    write(tmp_path, "k=1/a.parquet", v=[1])
    write(tmp_path, other, v=[1])
    refused(tmp_path, "k=1/a.parquet", other, "key=value")


def test_partition_called_as_a_column_is_refused(tmp_path):
    write(tmp_path, "v=1/a.parquet", v=[1])
    refused(tmp_path, "'v'", "more than one")


def test_types_of_parts_are_widened(tmp_path):
    write(tmp_path, "a.parquet", i=pa.array([1], pa.int8()), f=[2**60 + 1], n=pa.nulls(1))
    write(tmp_path, "b.parquet", n=["x"], f=[0.5], i=pa.array([300], pa.int64()))
    table = read_table(str(tmp_path))
    assert table.schema.types == [pa.int64(), pa.float64(), pa.string()]
    assert table.to_pydict() == {"i": [1, 300], "f": [2.0**60, 0.5], "n": [None, "x"]}


def test_parts_of_text_and_dictionaries_are_one_column(tmp_path):
    write(tmp_path, "a.parquet", t=pa.array(["a"]).dictionary_encode())
    write(tmp_path, "b.parquet", t=pa.array(["b"], pa.large_string()))
    assert read(tmp_path)[0] == {"t": ["a", "b"]}


def test_value_that_does_not_fit_the_other_parts_is_refused(tmp_path):
    write(tmp_path, "a.parquet", v=pa.array([1], pa.int64()))
    write(tmp_path, "b.parquet", v=pa.array([2**63], pa.uint64()))
    refused(tmp_path, "b.parquet", "'v'", "does not fit")


@pytest.mark.parametrize("value", ["text", b"bytes", True, [1]])
def test_types_that_do_not_unify_are_refused_with_both_files(tmp_path, value):
    write(tmp_path, "a.parquet", v=pa.nulls(1))
    write(tmp_path, "b.parquet", v=[1])
    write(tmp_path, "c.parquet", v=[value])
    refused(tmp_path, "b.parquet", "c.parquet", "'v'", "int64")


@pytest.mark.parametrize(
    ("columns", "fact"),
    [({"v": [1]}, "missing columns 'w'"), ({"v": [1], "w": [1], "z": [1]}, "extra columns 'z'")],
)
@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".feather"])
def test_columns_missing_or_extra_are_refused_with_both_files(tmp_path, suffix, columns, fact):
    write(tmp_path, f"a{suffix}", v=[1], w=[1])
    write(tmp_path, f"b{suffix}", **columns)
    refused(tmp_path, f"a{suffix}", f"b{suffix}", fact)


def test_files_that_are_not_read_are_noted(tmp_path):
    write(tmp_path, "a.parquet", v=[1])
    write(tmp_path, "b.csv", v=[1])
    (tmp_path / "README").touch()
    expected = ["README, b.csv of the folder are not read, only Parquet is"]
    assert read(tmp_path) == ({"v": [1]}, expected)


def test_folder_of_csv_is_read_and_remarks_are_made_once(tmp_path):
    (tmp_path / "a.csv").write_text("v;w\nx;1\n")
    (tmp_path / "b.tsv").write_text("w;v\n2;y\n")
    assert read(tmp_path) == ({"v": ["x", "y"], "w": ["1", "2"]}, ["the delimiter is ';'"])


def test_folder_of_feather_is_read(tmp_path):
    write(tmp_path, "a.feather", v=[1])
    write(tmp_path, "b.feather", v=[0.5])
    assert read(tmp_path)[0] == {"v": [1.0, 0.5]}


def test_part_without_rows_adds_none(tmp_path):
    write(tmp_path, "a.csv", v=["x"])
    (tmp_path / "b.csv").write_text("v\n")
    assert read(tmp_path)[0] == {"v": ["x"]}


def test_fault_in_a_part_is_told_with_its_path(tmp_path):
    write(tmp_path, "a/b.csv", v=["x"])
    (tmp_path / "a" / "c.csv").write_text("v\n1\n1,2\n")
    refused(tmp_path, os.path.join(tmp_path, "a", "c.csv") + ": row 1 (from 0):")
    (tmp_path / "a" / "d.parquet").write_bytes(b"PAR1\0\0PAR1")
    refused(tmp_path, "d.parquet: the file is broken")


def test_folders_of_nothing_or_of_several_formats_are_refused(tmp_path):
    refused(tmp_path, "no table file")
    write(tmp_path, "a.csv", v=[1])
    write(tmp_path, "b.feather", v=[1])
    refused(tmp_path, "Arrow, CSV")


def test_folder_that_leads_back_into_itself_is_refused(tmp_path):
    write(tmp_path, "a/a.parquet", v=[1])
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    refused(tmp_path, "loop", "link")


def test_prepared_folder_is_refused(tmp_path):
    (tmp_path / "numbers.f32").touch()
    (tmp_path / "schema.json").touch()
    refused(tmp_path, "jaxrep prepare")
