"""Prepared folders: the rows are those of fit and apply, whatever happens while they are made."""

import os
import signal
import subprocess
import sys
import time

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jaxrep import files
from jaxrep.batch import MISSING, Batch, RowSpec, empty, take
from jaxrep.cli import main
from jaxrep.data import NAMES, Columns, apply, fit, read_table
from jaxrep.data.datasets import LABELS
from jaxrep.data.fit._ranks import Median
from jaxrep.data.fit._statistics import IdCheck, Moments
from jaxrep.data.schema import CategoricalColumn
from jaxrep.data.store import _signed
from jaxrep.data.store.held_out import RowsWithout, read_rows
from jaxrep.data.store.preparation import prepare
from jaxrep.data.store.row_file import is_prepared, open_prepared
from jaxrep.data.targets import labels_of
from jaxrep.errors import InputError, ModelFormatError


@pytest.fixture
def small_chunks(monkeypatch):
    """Makes chunks 7 rows long, so that small tables have many."""
    monkeypatch.setattr("jaxrep.data._blocks._MOST_ROWS", 7)


def all_rows(prepared):
    x = empty(prepared.spec, prepared.rows)
    prepared.read_into(0, x)
    return x


def same(found, wanted):
    np.testing.assert_array_equal(found.numbers, wanted.numbers)
    assert (found.codes is None) == (wanted.codes is None)
    if found.codes is not None:
        np.testing.assert_array_equal(found.codes, wanted.codes)


def people(path, rows=100, missing=True):
    """A CSV of categories, an id, a label, numbers far from 0, and perhaps missing cells."""
    rng = np.random.default_rng(0)
    lines = ["id,when,size,job,y"]
    for i in range(rows):
        when = f"{1.7e9 + rng.normal() * 100:.3f}"
        size = "" if missing and i % 9 == 0 else f"{rng.lognormal():.5f}"
        job = "?" if missing and i % 13 == 0 else rng.choice(["clerk", "smith", "cook"])
        lines.append(f"r{i},{when},{size},{job},{i % 2}")
    path.write_text("\n".join(lines) + "\n")
    return str(path)


ROLES = {"kinds": {"job": "category"}, "label": "y", "id_column": "id", "na_values": ("?",)}
TARGET = Columns(label="target")


def mixed(tmp_path, name="rows"):
    """Prepares 100 rows of two numbers and a code, gaps among them."""
    return prepare(people(tmp_path / "t.csv"), tmp_path / name, columns=Columns(**ROLES))


def expected(source, **said):
    table = read_table(source)
    made = fit(lambda: [table], source=source, columns=Columns(**said))
    return made, apply(made.schema, table, source=source)


def check_against_fit(tmp_path, source, **said):
    notes = []
    prepared = prepare(source, tmp_path / "rows", columns=Columns(**said), note=notes.append)
    made, x = expected(source, **said)
    assert notes == list(made.lines(source))
    assert prepared.schema.names == made.schema.names
    assert prepared.schema.left_out == made.schema.left_out
    for found, column in zip(prepared.schema.columns, made.schema.columns, strict=True):
        if isinstance(column, CategoricalColumn):
            assert found == column
        else:
            near = 1e-12 * column.scale
            assert found.mean == pytest.approx(column.mean, rel=1e-12, abs=near)
            assert found.scale == pytest.approx(column.scale, rel=1e-12)
            assert (found.fill, found.has_gaps) == (column.fill, column.has_gaps)
    rows = all_rows(prepared)
    np.testing.assert_allclose(rows.numbers, x.numbers, rtol=3e-7, atol=3e-7)
    same(rows._replace(numbers=x.numbers), x)
    assert (tmp_path / "rows" / "codes.i32").exists() == (x.codes is not None)
    prepared.verify()
    return prepared


# The rows


@pytest.mark.parametrize("name", NAMES)
def test_the_rows_of_a_bundled_set_are_those_of_fit_and_apply(tmp_path, small_chunks, name):
    check_against_fit(tmp_path, name, label=LABELS[name])


@pytest.mark.parametrize("impute", [None, "median"])
def test_the_rows_of_a_csv_with_all_that_there_is_are_those_of_fit(tmp_path, small_chunks, impute):
    source = people(tmp_path / "t.csv")
    prepared = check_against_fit(tmp_path, source, **ROLES, impute=impute)
    gaps = (False, True, True) if impute is None else ()
    assert prepared.spec == RowSpec(2, (4,), gaps)
    rows = all_rows(prepared)
    assert np.isnan(rows.numbers[:, 1]).sum() == (12 if impute is None else 0)
    assert (rows.codes == MISSING).sum() == (8 if impute is None else 0)


def test_the_rows_of_a_table_of_categories_alone(tmp_path, small_chunks):
    lines = ["a,b", *(f"{'xyz'[i % 3]},{'pq'[i % 2]}" for i in range(60))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    prepared = check_against_fit(tmp_path, str(tmp_path / "t.csv"))
    assert prepared.spec == RowSpec(0, (4, 3))
    assert (tmp_path / "rows" / "numbers.f32").stat().st_size == 0
    same(prepared.sample(9), take(all_rows(prepared), slice(None, None, 7)))


def test_a_folder_of_parquet_files_is_one_table_by_name(tmp_path, small_chunks):
    x = np.random.default_rng(0).normal(size=(90, 3))
    folder = tmp_path / "parts"
    folder.mkdir()
    for i in (2, 0, 1):
        part = pa.table({f"c{j}": x[30 * i : 30 * i + 30, j] for j in range(3)})
        pq.write_table(part, folder / f"part-{i}.parquet")
    (folder / "_SUCCESS").touch()
    np.testing.assert_array_equal(np.column_stack(read_table(str(folder)).columns), x)
    check_against_fit(tmp_path, str(folder))


def test_moments_of_blocks_lose_no_digits():
    x = 1.7e9 + 100 * np.random.default_rng(0).standard_normal(200_000)
    moments = Moments()
    moments.add(np.zeros(0))
    for block in np.split(x, 2000):
        moments.add(block)
    exact = x.astype(np.longdouble)
    assert moments.mean == pytest.approx(float(exact.mean()), rel=1e-15)
    assert moments.deviation == pytest.approx(float(exact.std()), rel=1e-13)


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e150, 1e307])
def test_moments_neither_overflow_nor_vanish(scale):
    moments = Moments()
    for block in ([1.0, -1.0], [3.0, -3.0]):
        moments.add(np.array(block) * scale)
    assert moments.mean == 0
    assert moments.deviation == pytest.approx(np.sqrt(5) * scale, rel=1e-9)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("count", [1, 2, 101, 1000])
@pytest.mark.parametrize("kind", ["normal", "ties", "negative", "wide", "zeros"])
def test_the_median_is_exact(bits, count, kind):
    rng = np.random.default_rng(count)
    draws = {
        "normal": rng.normal(size=count),
        "ties": rng.integers(0, 3, count).astype(float),
        "negative": -rng.lognormal(size=count),
        "wide": rng.normal(size=count) * 10.0 ** rng.integers(-300, 300, count),
        "zeros": rng.choice([0.0, -0.0, 5e-324], count),
    }
    median = Median(bits)
    while not median.found:
        for block in np.array_split(draws[kind], 3):
            median.add(block)
        median.end_showing()
    assert median.value == np.median(draws[kind])


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.arange(50), True),
        (np.random.default_rng(0).permutation(50) - 7, True),
        (np.arange(50) * 3, True),
        (np.array([0, 2, 2, 3] * 5), False),
        (np.array([0, 3, 3, 3]), False),
        (np.array([1, 0, 0, 3]), False),
        (np.arange(2), False),
    ],
)
def test_what_looks_like_an_id_looks_so_in_blocks(values, found):
    check = IdCheck()
    for block in np.array_split(values, 3):
        check.add(block)
    assert check.found() == found
    check.add(None)  # a block with a gap, or with a fraction
    assert not check.found()


def test_read_into_and_sample_give_the_rows_asked_for(tmp_path, small_chunks):
    prepared = prepare("iris", tmp_path / "rows", columns=TARGET)
    x = all_rows(prepared).numbers
    buffer = empty(prepared.spec, 20)
    prepared.read_into(130, buffer)
    np.testing.assert_array_equal(buffer.numbers, x[130:])
    for count in (1, 7, 64, 149, 150, 1000):
        np.testing.assert_array_equal(prepared.sample(count).numbers, x[:: -(-150 // count)])
    wrong = (np.empty((1, 3), "f4"), np.empty((1, 4)), np.empty((2, 8), "f4")[:, ::2])
    codes = Batch(np.empty((1, 4), "f4"), np.empty((1, 1), "i4"))
    for bad in (*map(Batch, wrong), codes):
        with pytest.raises(ValueError, match="buffer"):
            prepared.read_into(0, bad)
    for start in (-1, 131):
        with pytest.raises(ValueError, match="there are 150"):
            prepared.read_into(start, buffer)


def test_read_into_and_sample_give_the_codes_asked_for(tmp_path, small_chunks):
    prepared = mixed(tmp_path)
    x = all_rows(prepared)
    assert (x.codes == MISSING).any() and np.isnan(x.numbers).any()
    buffer = empty(prepared.spec, 20)
    prepared.read_into(80, buffer)
    same(buffer, take(x, slice(80, None)))
    for count in (1, 7, 64, 100, 1000):
        same(prepared.sample(count), take(x, slice(None, None, -(-100 // count))))
    numbers, codes = np.empty((2, 2), "f4"), np.empty((2, 1), "i4")
    wrong = (None, codes[:1], np.empty((2, 2), "i4"), codes.astype("i8"), codes[::-1])
    for bad in wrong:
        with pytest.raises(ValueError, match="buffer"):
            prepared.read_into(0, Batch(numbers, bad))


def test_rows_held_out_are_in_no_part_of_the_rest(tmp_path, monkeypatch, small_chunks):
    monkeypatch.setattr("jaxrep.data.store.held_out._BYTES_AT_ONCE", 100)  # 8 rows
    prepared = mixed(tmp_path)
    x, held_out = all_rows(prepared), np.array([0, 3, 4, 50, 99])
    left = take(x, np.delete(np.arange(100), held_out))
    rest = RowsWithout(prepared, held_out)
    assert (rest.rows, rest.spec) == (95, prepared.spec)
    for start, count in ((0, 95), (1, 40), (94, 1), (10, 0)):
        buffer = empty(rest.spec, count)
        rest.read_into(start, buffer)
        same(buffer, take(left, slice(start, start + count)))
    same(rest.sample(25), take(x, np.setdiff1d(np.arange(0, 100, 4), held_out)))
    same(read_rows(prepared, held_out), take(x, held_out))


def test_a_sample_of_rows_far_apart_is_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxrep.data.store.row_file._FAR", 16)
    prepared = prepare("iris", tmp_path / "rows", columns=TARGET)
    np.testing.assert_array_equal(prepared.sample(40).numbers, all_rows(prepared).numbers[::4])


# Interrupted


def test_killed_in_the_second_pass_the_same_command_ends_in_the_same_bytes(tmp_path):
    table = pa.table({f"c{i}": np.random.default_rng(i).normal(size=60_000) for i in range(4)})
    jobs = pa.array(["clerk", "smith", None]).take(pa.array(np.arange(60_000) % 3))
    table = table.append_column("job", jobs)
    pq.write_table(table, tmp_path / "t.parquet")
    script = (
        "import sys, time, pathlib\n"
        "from jaxrep.data import _blocks\n"
        "from jaxrep.data.store import _row_writer, preparation\n"
        "_blocks._MOST_ROWS = 1000\n"
        "append = _row_writer._append\n"
        "def slow(*a):\n    time.sleep(float(sys.argv[3])); return append(*a)\n"
        "_row_writer._append = slow\n"
        "preparation.prepare(sys.argv[1], pathlib.Path(sys.argv[2]), note=print)\n"
    )
    argv = [sys.executable, "-c", script, str(tmp_path / "t.parquet")]
    out = tmp_path / "rows"
    process = subprocess.Popen([*argv, str(out), "0.02"])
    while not (out / "chunks.txt").exists() or (out / "chunks.txt").read_text().count("\n") < 5:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert is_prepared(out)
    with pytest.raises(ModelFormatError, match="not finished"):
        open_prepared(out)
    for name in ("numbers.f32", "codes.i32"):
        with (out / name).open("ab") as file:
            file.write(b"half a chunk")
    again = subprocess.run([*argv, str(out), "0"], capture_output=True, text=True, check=True)
    assert "continuing after row" in again.stdout
    subprocess.run([*argv, str(tmp_path / "straight"), "0"], check=True)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "straight").iterdir()
    }


def interrupted(tmp_path, monkeypatch, chunks=4, source="iris", columns=TARGET):
    """Leaves a folder that was interrupted in the second pass after some chunks."""
    from jaxrep.data.store import _row_writer

    append, made = _row_writer._append, []

    def stop(*arguments):
        if len(made) == chunks:
            raise KeyboardInterrupt
        made.append(append(*arguments))
        return made[-1]

    with monkeypatch.context() as patch:
        patch.setattr(_row_writer, "_append", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(source, tmp_path / "rows", columns=columns)
    return tmp_path / "rows"


def test_a_chunk_that_was_damaged_before_the_rest_came_is_written_anew(
    tmp_path, monkeypatch, small_chunks
):
    out = interrupted(tmp_path, monkeypatch)
    damage(out / "numbers.f32")
    notes = []
    prepared = prepare("iris", out, columns=TARGET, note=notes.append)
    assert notes == [f"{out}: continuing after row 14 of 150"]
    prepared.verify()
    same(all_rows(prepared), expected("iris", label="target")[1])


@pytest.mark.parametrize("name", ["numbers.f32", "codes.i32"])
@pytest.mark.parametrize("loss", ["damaged", "cut short"])
def test_a_chunk_of_which_a_part_was_lost_is_written_anew(
    tmp_path, monkeypatch, small_chunks, name, loss
):
    straight = mixed(tmp_path, "straight")
    said = {"source": straight.source, "columns": Columns(**ROLES)}
    out = interrupted(tmp_path, monkeypatch, **said)
    if loss == "damaged":
        damage(out / name)
    else:
        os.truncate(out / name, (out / name).stat().st_size // 2)
    notes = []
    prepare(said["source"], out, columns=said["columns"], note=notes.append)
    assert notes == [f"{out}: continuing after row 14 of 100"]
    assert {p.name: p.read_bytes() for p in out.iterdir()} == {
        p.name: p.read_bytes() for p in straight.path.iterdir()
    }


def test_an_unfinished_folder_of_other_data_is_refused(tmp_path, monkeypatch, small_chunks):
    out = interrupted(tmp_path, monkeypatch)
    with pytest.raises(InputError, match="label: 'target' there, None asked for"):
        prepare("iris", out, columns=Columns(id_column="target"))
    with pytest.raises(InputError, match="differ in the data: 'iris' there, 'wine'"):
        prepare("wine", out, columns=TARGET)


@pytest.mark.parametrize("name", ["unfinished.json", "schema.json"])
def test_a_damaged_unfinished_folder_is_refused(tmp_path, monkeypatch, small_chunks, name):
    out = interrupted(tmp_path, monkeypatch)
    damage(out / name)
    with pytest.raises(ModelFormatError, match=name):
        prepare("iris", out, columns=TARGET)


def test_two_processes_cannot_prepare_one_folder(tmp_path, monkeypatch, small_chunks):
    from jaxrep.data.store import preparation

    out = interrupted(tmp_path, monkeypatch)
    with preparation._locked(out), pytest.raises(InputError, match="another process"):
        prepare("iris", out, columns=TARGET)


# Damaged


def damage(path, where=0.5):
    data = bytearray(path.read_bytes())
    data[int(where * len(data))] ^= 1
    path.write_bytes(data)


FILES = ["numbers.f32", "codes.i32", "schema.json", "manifest.json"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("where", [0, 0.3, 0.6, 0.999])
def test_a_bit_flipped_in_any_file_is_noticed(tmp_path, small_chunks, name, where):
    prepared = mixed(tmp_path)
    damage(tmp_path / "rows" / name, where)
    with pytest.raises(ModelFormatError, match=name) as caught:
        prepared.verify()
    if name in ("numbers.f32", "codes.i32"):
        size = (tmp_path / "rows" / name).stat().st_size
        first = int(where * size) * 100 // size // 7 * 7  # of the chunk that the byte is in
        assert f"{name}: rows {first} to {min(first + 6, 99)} are not" in str(caught.value)


def test_a_folder_of_numbers_alone_needs_no_file_of_codes(tmp_path):
    prepared = prepare("iris", tmp_path / "rows", columns=TARGET)
    assert prepared.spec == RowSpec(4) and all_rows(prepared).codes is None
    assert not (tmp_path / "rows" / "codes.i32").exists()
    assert _signed.read(tmp_path / "rows" / "manifest.json", _signed.Manifest).sha256.codes is None


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"codes": 2}, r"of schema\.json 2 and 1"),
        ({"numbers": 3}, r"of schema\.json 2 and 1"),
        ({"codes": 0}, r"of schema\.json 2 and 1"),
        ({"sha256": None}, r"the digest of codes\.i32 and the 1 codes of a row do not agree"),
    ],
)
def test_a_manifest_of_other_columns_than_the_schema_is_refused(tmp_path, changes, fault):
    mixed(tmp_path)
    manifest = tmp_path / "rows" / "manifest.json"
    said = _signed.read(manifest, _signed.Manifest)
    if "sha256" in changes:
        changes = {"sha256": msgspec.structs.replace(said.sha256, codes=None)}
    _signed.write(manifest, msgspec.structs.replace(said, **changes))
    with pytest.raises(ModelFormatError, match=fault):
        open_prepared(tmp_path / "rows")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("size", [0, 1, -1])
def test_any_file_cut_short_is_noticed_on_opening(tmp_path, name, size):
    path = tmp_path / "rows" / name
    mixed(tmp_path)
    os.truncate(path, size if size >= 0 else path.stat().st_size + size)
    assert is_prepared(tmp_path / "rows")
    with pytest.raises(ModelFormatError, match=name):
        open_prepared(tmp_path / "rows")


@pytest.mark.parametrize("name", FILES)
def test_any_file_removed_is_noticed_on_opening(tmp_path, name):
    mixed(tmp_path)
    (tmp_path / "rows" / name).unlink()
    message = "not finished" if name == "manifest.json" else name
    with pytest.raises(ModelFormatError, match=message):
        open_prepared(tmp_path / "rows")


# The labels


TYPED_LABELS = {
    "text": (["01", "02", "x"], pa.string()),
    "dictionary": (pa.array(["a", "b", "a"]).dictionary_encode(), pa.string()),
    "int8": (pa.array([1, 2, 3], pa.int8()), pa.int64()),
    "beyond a float64": ([2**53 + 1, 2**53 + 2, None], pa.int64()),
    "bool": ([True, None, False], pa.bool_()),
    "float32": (pa.array([0.5, -1, float("inf")], pa.float32()), pa.float64()),
    "text that says codes": (["01", "2", "3"], pa.string()),
    "text that says numbers": (["1", "2", "3"], pa.int64()),
}


@pytest.mark.parametrize("kind", TYPED_LABELS)
def test_labels_keep_their_type_and_the_order_of_the_rows(tmp_path, small_chunks, kind):
    values, stored = TYPED_LABELS[kind]
    column = pa.chunked_array([values]).take(pa.array(np.arange(60) % 3))
    table = pa.table({"x": np.random.default_rng(0).normal(size=60), "y": column})
    pq.write_table(table, tmp_path / "t.parquet")
    prepare(str(tmp_path / "t.parquet"), tmp_path / "rows", columns=Columns(label="y"))
    prepared = open_prepared(tmp_path / "rows")
    expected = column.cast(stored) if stored == pa.int64() else column
    assert prepared.labels().to_pylist() == expected.to_pylist()
    assert prepared.labels().type == stored
    assert prepared.schema.label == "y" and prepared.spec == RowSpec(1)
    prepared.verify()


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        (["yes", "", "no"], ["yes", None, "no"]),
        (["1", "0", "?"], [1, 0, None]),
        (["1.5", "NA", "-999"], [1.5, None, None]),
        (["01", "1", "2"], ["01", "1", "2"]),
    ],
)
def test_labels_of_a_csv_are_numbers_if_all_are(tmp_path, small_chunks, cells, labels):
    lines = ["x,y", *(f"{i / 7},{cells[i % 3]}" for i in range(60))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    source, marks = str(tmp_path / "t.csv"), ("?", "-999")
    said = Columns(label="y", na_values=marks)
    prepared = prepare(source, tmp_path / "rows", columns=said)
    assert prepared.labels().to_pylist() == labels * 20
    assert prepared.labels().equals(labels_of(read_table(source), "y", source, marks))


def test_few_labels_are_held_at_once_and_many_written_together(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxrep.data._blocks._MOST_ROWS", 7)
    monkeypatch.setattr("jaxrep.data.store._row_writer._LABEL_ROWS", 20)
    prepare("iris", tmp_path / "rows", columns=TARGET)
    with pq.ParquetFile(tmp_path / "rows" / "labels.parquet") as file:
        groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert groups == [21] * 7 + [3]


def test_without_a_label_there_is_no_file_of_labels(tmp_path):
    prepare("iris", tmp_path / "rows", columns=TARGET)
    assert open_prepared(tmp_path / "rows").labels() is not None
    other = prepare("iris", tmp_path / "rows", columns=Columns(id_column="target"), overwrite=True)
    assert other.labels() is None
    assert sorted(path.name for path in other.path.iterdir()) == sorted({*FILES} - {"codes.i32"})
    assert "labels" not in (tmp_path / "rows" / "manifest.json").read_text()


def test_interrupted_labels_are_those_of_a_straight_preparation(
    tmp_path, monkeypatch, small_chunks
):
    out = interrupted(tmp_path, monkeypatch)
    prepare("iris", out, columns=TARGET)
    straight = prepare("iris", tmp_path / "straight", columns=TARGET)
    for name in ("labels.parquet", "manifest.json"):
        assert (out / name).read_bytes() == (straight.path / name).read_bytes()
    assert straight.labels().to_pylist() == [0] * 50 + [1] * 50 + [2] * 50


@pytest.mark.parametrize("where", [0, 0.3, 0.6, 0.999])
def test_damaged_labels_are_refused_when_they_are_read(tmp_path, where):
    prepared = prepare("iris", tmp_path / "rows", columns=TARGET)
    damage(tmp_path / "rows" / "labels.parquet", where)
    for read in (prepared.labels, prepared.verify):
        with pytest.raises(ModelFormatError, match=r"labels\.parquet: not what the manifest says"):
            read()
    all_rows(open_prepared(tmp_path / "rows"))


def test_missing_labels_are_refused_when_they_are_read(tmp_path):
    prepared = prepare("iris", tmp_path / "rows", columns=TARGET)
    (tmp_path / "rows" / "labels.parquet").unlink()
    for read in (prepared.labels, prepared.verify):
        with pytest.raises(ModelFormatError, match=r"labels\.parquet: the file is missing"):
            read()
    os.mkfifo(tmp_path / "rows" / "labels.parquet")
    with pytest.raises(ModelFormatError, match=r"labels\.parquet"):
        prepared.labels()


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (pa.table({"target": ["0"] * 149}), "149 rows"),
        (pa.table({"other": ["0"] * 150}), "other"),
        (None, "cannot be read"),
    ],
)
def test_labels_that_the_manifest_says_but_are_not_the_rows_are_refused(tmp_path, table, reason):
    prepared = prepare("iris", tmp_path / "rows", columns=TARGET)
    path, manifest = tmp_path / "rows" / "labels.parquet", tmp_path / "rows" / "manifest.json"
    path.write_bytes(b"no parquet") if table is None else pq.write_table(table, path)
    said = _signed.read(manifest, _signed.Manifest)
    digests = msgspec.structs.replace(said.sha256, labels=files.sha256(path))
    _signed.write(manifest, msgspec.structs.replace(said, sha256=digests))
    prepared = open_prepared(tmp_path / "rows")
    with pytest.raises(ModelFormatError, match=rf"labels\.parquet: .*{reason}"):
        prepared.labels()


def test_a_manifest_that_leaves_the_labels_out_is_refused(tmp_path):
    prepare("iris", tmp_path / "rows", columns=TARGET)
    manifest = tmp_path / "rows" / "manifest.json"
    said = _signed.read(manifest, _signed.Manifest)
    digests = msgspec.structs.replace(said.sha256, labels=None)
    _signed.write(manifest, msgspec.structs.replace(said, sha256=digests))
    with pytest.raises(ModelFormatError, match=r"labels\.parquet and the label 'target' do not"):
        open_prepared(tmp_path / "rows")


# The command line


def call(capsys, *argv):
    code = main([str(argument) for argument in argv])
    return code, capsys.readouterr()


def refused(capsys, tmp_path, source, *flags, facts, out="new"):
    before = sorted(tmp_path.rglob("*"))
    code, said = call(capsys, "prepare", source, "--out", tmp_path / out, *flags)
    assert (code, said.out) == (2, ""), said.err
    *_, last = said.err.splitlines()  # before it, what the columns are
    assert last.startswith("jaxrep: ") and said.err.count("jaxrep: ") == 1, said.err
    for fact in facts:
        assert fact in last, said.err
    assert sorted(tmp_path.rglob("*")) == before


FLAGS = ("--column", "job=category", "--label", "y", "--id-column", "id", "--na-values", "?")


def test_missing_values_are_counted_by_column(capsys, tmp_path, small_chunks):
    source = people(tmp_path / "t.csv")
    flags = (*FLAGS, "--impute", "refuse")
    refused(capsys, tmp_path, source, *flags, facts=["'size' (12)", "'job' (8)", "--impute"])


def test_columns_of_nothing_are_named(capsys, tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,\n1,\n")
    facts = ["'a' (only one value, 1)", "'b' (no values)"]
    refused(capsys, tmp_path, tmp_path / "t.csv", facts=facts)


def test_one_row_is_refused(capsys, tmp_path):
    (tmp_path / "t.csv").write_text("a\n1\n")
    refused(capsys, tmp_path, tmp_path / "t.csv", facts=["at least 2 rows", "1 sample"])


def test_a_text_cell_deep_in_a_csv_is_named(capsys, tmp_path, small_chunks):
    (tmp_path / "t.csv").write_text("a\n" + "".join(f"{i}.5\n" for i in range(40)) + "high\n")
    facts = ["'a', row 40 (from 0)", "'high' is not a number"]
    refused(capsys, tmp_path, tmp_path / "t.csv", facts=facts)


def test_an_empty_folder_is_no_table(capsys, tmp_path):
    (tmp_path / "parts").mkdir()
    refused(capsys, tmp_path, tmp_path / "parts", facts=["parts", "no table file"])


def test_no_such_table_is_refused(capsys, tmp_path):
    refused(capsys, tmp_path, tmp_path / "none.csv", facts=["none.csv", "no such file"])


@pytest.mark.parametrize(
    ("second", "fact"),
    [
        ({"a": [1.0], "c": [1.0]}, "missing columns 'b'"),
        ({"a": [1.0], "b": [1.0], "c": [1.0]}, "extra columns 'c'"),
        ({"a": [1.0], "b": ["x"]}, "'b' is string"),
    ],
)
def test_a_parquet_file_with_other_columns_is_named(capsys, tmp_path, second, fact):
    (tmp_path / "parts").mkdir()
    pq.write_table(pa.table({"a": [1.0], "b": [2.0]}), tmp_path / "parts" / "p0.parquet")
    pq.write_table(pa.table(second), tmp_path / "parts" / "p1.parquet")
    refused(
        capsys, tmp_path, tmp_path / "parts", facts=["parts: ", "p1.parquet", "p0.parquet", fact]
    )


def test_a_broken_parquet_file_of_a_folder_is_named(capsys, tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "p0.parquet").write_bytes(b"no parquet")
    refused(capsys, tmp_path, tmp_path / "parts", facts=["p0.parquet", "broken"])


def test_unrecognised_and_impossible_folders_are_left_alone(capsys, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "manifest.json").write_text('{"name": "mine"}')
    (tmp_path / "file").write_text("mine")
    for out, fact in (
        ("mine", "not a prepared folder"),
        ("file", "not a prepared folder"),
        ("file/in", "cannot be written"),
        ("x" * 300, "too long"),
    ):
        for flags in ((), ("--overwrite",)):
            refused(capsys, tmp_path, "iris", *flags, facts=["--out", fact], out=out)


def test_a_disk_too_small_is_noticed_before_anything_is_written(capsys, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("jaxrep.data.store._plan.shutil.disk_usage", lambda path: usage)
    refused(capsys, tmp_path, "iris", facts=["150 rows of 4 columns need", "MiB left"])


def test_what_is_finished_stays_and_other_rows_need_overwrite(capsys, tmp_path):
    argv = ("prepare", "iris", "--out", tmp_path / "rows", "--json")
    assert call(capsys, *argv)[0] == 0
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "rows").iterdir()}
    code, said = call(capsys, *argv)
    assert code == 0 and "nothing to do" in said.err and '"rows": 150' in said.out
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "rows").iterdir()} == before
    other = ("wine", "--impute", "refuse")
    refused(capsys, tmp_path, *other, facts=["differ in", "--overwrite"], out="rows")
    code, said = call(capsys, "prepare", *other, "--out", tmp_path / "rows", "--overwrite")
    assert code == 0, said.err
    assert open_prepared(tmp_path / "rows").rows == 178


def test_a_prepared_folder_is_no_table_to_embed(tmp_path):
    prepare("iris", tmp_path / "rows", columns=TARGET)
    with pytest.raises(InputError, match="give the table that it was made from"):
        read_table(str(tmp_path / "rows"))


# Memory


@pytest.mark.slow
@pytest.mark.parametrize("impute", ["refuse", "median"])
def test_memory_does_not_grow_with_the_rows(tmp_path, impute):
    peaks = []
    script = (
        "import sys, pathlib, resource\n"
        "from jaxrep.data import Columns\n"
        "from jaxrep.data.store.preparation import prepare\n"
        "said = Columns(impute=sys.argv[3])\n"
        "prepare(sys.argv[1], pathlib.Path(sys.argv[2]), columns=said)\n"
        "print(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1])\n"
    )
    for rows in (500_000, 2_000_000):
        source, out = tmp_path / f"{rows}.parquet", tmp_path / f"{rows}"
        argv = [sys.executable, "-m", "bench.big_table", str(source), "--rows", str(rows)]
        subprocess.run(argv, check=True, capture_output=True)
        argv = [sys.executable, "-c", script, str(source), str(out), impute]
        peaks.append(int(subprocess.run(argv, check=True, capture_output=True).stdout))
    assert peaks[1] < 1.15 * peaks[0]
