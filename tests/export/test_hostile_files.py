"""Run folders, exported files and tables made to break a reader: refused, in bounded memory."""

import gzip
import io
import json
import os
import time
import tracemalloc
import zipfile

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
import torch

from jaxrep import hyperparameters, methods, strict_json
from jaxrep.cli import main
from jaxrep.data import Columns, _names, read_table
from jaxrep.data.read import _csv as _read_csv
from jaxrep.data.read import _csv_header
from jaxrep.data.store import _signed
from jaxrep.data.store.preparation import prepare
from jaxrep.data.store.row_file import open_prepared
from jaxrep.errors import InputError, ModelFormatError
from jaxrep.runs import default_table, folder
from tests.helpers.mutations import dumps, raw
from tests.helpers.saved_runs import configuration, save, seal, untrained_weights
from torch_ref import archives, verify
from torch_ref.files import read_safetensors, sha256
from torch_ref.serving import RawRows


@pytest.fixture
def run(tmp_path):
    save(tmp_path / "run")
    return tmp_path / "run"


def with_config(run, **changes):
    config = json.loads((run / "config.json").read_text())
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict):
            value = config[key] | value
        config[key] = value
    (run / "config.json").write_text(dumps(config))
    seal(run)


def refused_by_info(run, capsys, *facts):
    for flags in ((), ("--json",)):
        assert main(["info", str(run), *flags]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("jaxrep: ") and captured.err.count("\n") == 1
        assert len(captured.err) < 1000
        for fact in facts:
            assert fact in captured.err


# What is printed


def test_a_terminal_obeys_nothing_that_a_folder_says(run, capsys):
    with_config(run, versions={"\x1b[2J": "\x1b]0;x\x07", "a\rb": "1"})
    assert main(["info", str(run)]) == 0
    assert set(capsys.readouterr().out) & {"\x1b", "\r", "\x07"} == set()
    with_config(run, hyperparameters={"\x1b[2J\n": 1})
    refused_by_info(run, capsys, "config.json", r"\x1b[2J\n")


# Numbers


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay", "beta", "validation_fraction"])
def test_a_hyperparameter_beyond_float64_is_refused(run, capsys, name):
    with_config(run, hyperparameters={name: 10**400})
    refused_by_info(run, capsys, "config.json", f"Number out of range - at `$.{name}`")


@pytest.mark.parametrize("value", [10**400, 1e308])
def test_quantiles_that_overflow_are_refused(run, capsys, value):
    with_config(run, score_quantiles={"levels": [0, 0.5, 1], "scores": [-1e308, -1e308, value]})
    refused_by_info(run, capsys, "config.json")


@pytest.mark.parametrize("views", [[["noise"]], [{}], {"noise": 1}, "noise", [None]])
def test_views_that_are_no_names_are_refused(tmp_path, capsys, views):
    save(tmp_path / "run", "autoencoder")
    with_config(tmp_path / "run", hyperparameters={"views": views})
    refused_by_info(tmp_path / "run", capsys, "config.json", "at `$.views")


def test_a_whole_number_beyond_float64_is_refused():
    with pytest.raises(ValueError, match="beta is 1000"):
        hyperparameters.check(methods.VAEHyperparameters(beta=10**400))


@pytest.mark.parametrize("levels", [[0, 0.5, "x"], [[0], [1], [2]], [0, 1], {"a": 1}, None])
def test_quantiles_that_are_no_list_of_numbers_are_refused(run, capsys, levels):
    with_config(run, score_quantiles={"levels": levels})
    refused_by_info(run, capsys, "config.json")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("NaN", "NaN is not valid JSON"),
        ("-Infinity", "-Infinity is not valid JSON"),
        ("1e999", "beyond float64: 1e999"),
        ("9" * 400, "Number out of range - at `$.estimator[...]`"),
        ("9" * 5000, "4300 digits"),
    ],
)
def test_a_number_that_json_cannot_write_again_is_refused(run, capsys, text, reason):
    with_config(run, estimator={"contamination": raw(text)})
    refused_by_info(run, capsys, "config.json", reason)


# Levels and sizes


@pytest.mark.parametrize(
    "key", ["versions", "estimator", "hyperparameters", "result", "unheard_of"]
)
@pytest.mark.parametrize("depth", [3, 65, 900, 100_000])
def test_nesting_is_limited(run, capsys, key, depth):
    with_config(run, **{key: {"loss": raw("[" * depth + "]" * depth)}})
    refused_by_info(run, capsys, "config.json", "levels" if depth == 100_000 else key)


def test_a_long_value_does_not_become_a_long_message(run, capsys):
    for changes in ({"method": "a" * 10**6}, {"schema_version": "a" * 10**6}):
        with_config(run, **changes)
        refused_by_info(run, capsys, "config.json")
        with_config(run, **configuration("vae"))
    with_config(run, hyperparameters={"hidden_dims": [0] * 10**5, "a" * 10**5: 1})
    refused_by_info(run, capsys, "config.json")


def test_more_values_than_any_file_has_are_refused_before_they_are_made():
    with pytest.raises(ValueError, match="values"):
        strict_json.loads("[" + "[]," * strict_json.MAX_VALUES + "[]]")


@pytest.mark.parametrize("name", (*folder.CONTENT, folder.MANIFEST))
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_file_that_never_ends_is_not_read(run, capsys, name, kind):
    (run / name).unlink()
    if kind == "pipe":
        os.mkfifo(run / name)
    else:
        (run / name).symlink_to("/dev/zero")
    refused_by_info(run, capsys, "run")


def test_metrics_larger_than_any_run_has_are_not_read(run, capsys):
    with (run / "metrics.jsonl").open("r+b") as file:
        file.truncate(folder.MAX_METRICS_BYTES + 1)
    seal(run)
    refused_by_info(run, capsys, "metrics.jsonl", "larger")


@pytest.mark.parametrize("loss", ["NaN", "1e999", "true", "9" * 400])
def test_metrics_that_are_no_finite_numbers_are_refused(run, capsys, loss):
    (run / "metrics.jsonl").write_text('{"epoch": 1, "loss": ' + loss + "}\n")
    seal(run)
    refused_by_info(run, capsys, "metrics.jsonl", "line 1")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(run, capsys, value):
    weights = untrained_weights("vae")
    weights["mu.bias"] = np.full_like(weights["mu.bias"], value)
    safetensors.numpy.save_file(weights, run / "model.safetensors")
    seal(run)
    refused_by_info(run, capsys, "model.safetensors", "mu.bias")


@pytest.mark.parametrize("digest", [None, "no digest"])
def test_the_rows_of_a_run_that_says_no_digest_are_drawn(run, digest):
    with_config(run, data={"sha256": digest})
    assert len(default_table.rows_of(folder.load(run)).numbers) == default_table.DRAWN_ROWS


def test_a_source_that_is_no_path_is_taken_for_one_that_is_not_there(run):
    for source in ("a\0b", "x" * 5000, "\udcff"):
        with_config(run, data={"source": source})
        assert len(default_table.rows_of(folder.load(run)).numbers) == default_table.DRAWN_ROWS


def test_levels_beyond_float64_are_refused(run):
    with_config(run, score_quantiles={"levels": [0, 10**400], "scores": [0, 1]})
    with pytest.raises(ModelFormatError, match=r"out of range - at `\$.score_quantiles.levels"):
        folder.load(run)


# Exported files


@pytest.fixture
def exported(vae_file):
    """The folder of the files `vae.safetensors` and `vae.pt`."""
    vae_file("safetensors")
    return vae_file("torchscript").parent


HOSTILE_DESCRIPTIONS = {
    "a loss of NaN": ("history", [{"epoch": 1, "loss": raw("NaN")}]),
    "a loss of 1e999": ("history", [{"epoch": 1, "loss": raw("1e999")}]),
    "a loss of 10⁴⁰⁰": ("history", [{"epoch": 1, "loss": 10**400}]),
    "a result of −∞": ("run", {"loss": raw("-1e999")}),
    "levels without end": ("run", raw("[" * 900 + "]" * 900)),
    "quantiles beyond float64": ("score_quantiles", {"levels": [0, 1], "scores": [0, 10**400]}),
}


@pytest.mark.parametrize("lie", HOSTILE_DESCRIPTIONS)
def test_a_description_that_is_no_plain_json_is_refused(exported, tmp_path, capsys, lie):
    key, value = HOSTILE_DESCRIPTIONS[lie]
    file = tmp_path / "vae.safetensors"
    described, weights = read_safetensors(exported / "vae.safetensors")
    text = dumps(described | {key: value})
    metadata = {"jaxrep": text, "jaxrep.sha256": sha256(text.encode())}
    file.write_bytes(safetensors.numpy.save(weights, metadata=metadata))
    assert main(["import", str(file), "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert os.listdir(tmp_path) == ["vae.safetensors"]
    assert verify.main([str(file)]) == 1


def with_golden(exported, target, golden, compression=zipfile.ZIP_STORED):
    """A TorchScript file with other golden rows, every digest true."""
    members = archives.read_members((exported / "vae.pt").read_bytes())
    meta = json.loads(members.pop("extra/meta.json"))
    del members["extra/meta.sha256"]
    buffer, packed = io.BytesIO(), io.BytesIO()
    torch.save(golden, buffer)
    with zipfile.ZipFile(buffer) as stored, zipfile.ZipFile(packed, "w", compression) as archive:
        for name in stored.namelist():
            archive.writestr(name, stored.read(name))
    members["extra/golden.pt"] = packed.getvalue()
    meta["sha256"] = {name: sha256(data) for name, data in members.items()}
    members["extra/meta.json"] = json.dumps(meta).encode()
    members["extra/meta.sha256"] = sha256(members["extra/meta.json"]).encode()
    target.write_bytes(archives._zipped(members))
    return str(target)


@pytest.mark.parametrize(
    "rows",
    [
        torch.zeros(1, 1).expand(2**40, 3),
        torch.sparse_coo_tensor(
            torch.zeros(2, 0), torch.zeros(0), (2**40, 3), check_invariants=True
        ),
        torch.zeros(2**40, 3, device="meta"),
    ],
    ids=["expanded", "sparse", "meta"],
)
def test_golden_rows_without_memory_of_their_own_are_refused(exported, tmp_path, capsys, rows):
    file = with_golden(exported, tmp_path / "vae.pt", {"rows": rows})
    assert verify.main([file]) == 1
    assert "golden.pt" in capsys.readouterr().err


def test_golden_rows_that_unpack_to_more_than_the_file_are_refused(exported, tmp_path, capsys):
    golden = {"rows": torch.zeros(10**6, 3)}
    file = with_golden(exported, tmp_path / "vae.pt", golden, zipfile.ZIP_DEFLATED)
    assert verify.main([file]) == 1
    assert "golden.pt" in capsys.readouterr().err


def test_a_hundred_thousand_columns_are_served_at_once():
    number = {"kind": "number", "mean": 0.0, "scale": 2.0, "fill": None}
    text = {"kind": "category", "levels": ["a"], "has_gaps": False, "fills": False}
    started = time.perf_counter()
    rows = RawRows([number, text] * 50_000)
    assert time.perf_counter() - started < 10  # 1 s; it was minutes
    x = torch.tensor([[3.0, 0.0] * 50_000])
    assert torch.equal(rows.invert(rows(x)), x.double())


# Tables


def refused_table(path, data, *facts):
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_table(str(path))
    for fact in facts:
        assert fact in str(caught.value)


def as_parquet(table, **options):
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("fill", [b",", b"a", b'"', b"\xc3"])
def test_a_first_line_without_end_is_refused_in_bounded_memory(tmp_path, monkeypatch, fill):
    monkeypatch.setattr(_csv_header, "_LONGEST", 1 << 20)
    path = tmp_path / "a.csv.gz"
    tracemalloc.start()
    refused_table(path, gzip.compress(fill * (40 << 20), 1), "line")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    path.unlink()
    assert peak < 60 << 20  # 40 of them are the line that is compressed here


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".parquet"])
def test_more_columns_than_a_schema_can_have_are_refused(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(_names, "MOST_COLUMNS", 100)
    data = {
        ".csv": ",".join(f"a{i}" for i in range(101)).encode() + b"\n" + b"1," * 100 + b"1\n",
        ".npy": b"\x93NUMPY\1\0v\0{'descr':'<f4','fortran_order':False,'shape':(1,101),}".ljust(
            128
        ),
        ".parquet": as_parquet(pa.table({f"a{i}": [1.0] for i in range(101)})),
    }
    data[".npy"] += bytes(404)
    refused_table(tmp_path / f"a{suffix}", data[suffix], "101 columns")


def test_the_line_of_a_fault_is_counted_across_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(_read_csv, "_BLOCK", 7)
    sound = "a,b\n" + "1,π\n" * 50
    path = tmp_path / "a.csv"
    for tail in (b"1,\xff\n1,2\n", b"1,\xcf\n", b"1,\xcf"):
        refused_table(path, sound.encode() + tail, "line 52", f"0x{tail[2]:02x}")


def test_a_fault_among_millions_of_short_lines_is_found_in_seconds(tmp_path):
    data = gzip.compress(b"a,b\n" + b"1\n" * (10 << 20), 1)
    started = time.perf_counter()
    refused_table(tmp_path / "a.csv.gz", data, "row 0 (from 0)")
    assert time.perf_counter() - started < 8  # under 1 s; it was 20


def test_a_parquet_without_columns_is_refused_whatever_its_rows(tmp_path):
    data = as_parquet(pa.table({"a": [1.0, 2.0]}).select([]))
    refused_table(tmp_path / "a.parquet", data, "no columns")


def test_names_and_texts_that_are_not_utf8_are_refused(tmp_path):
    data = as_parquet(pa.table({"zz": [1.0, 2.0]}), store_schema=False)
    refused_table(tmp_path / "a.parquet", data.replace(b"zz", b"\xff\xfe"), "not UTF-8")
    buffers = pa.array([b"\xff\xfe"] * 3, pa.binary()).buffers()
    table = pa.table({"a": pa.Array.from_buffers(pa.string(), 3, buffers)})
    refused_table(tmp_path / "a.parquet", as_parquet(table), "UTF8")


# Prepared folders


@pytest.mark.parametrize(
    ("key", "text", "reason"),
    [
        ("rows", "NaN", "NaN is not valid JSON"),
        ("rows", "1e999", "beyond float64"),
        ("rows", "[" * 900 + "]" * 900, r"got `array` - at `\$.rows`"),
        ("rows", "1", r"Expected `int` >= 2 - at `\$.rows`"),
        ("rows", '"150"', r"got `str` - at `\$.rows`"),
        ("numbers", "null", r"got `null` - at `\$.numbers`"),
        ("codes", "-1", r"Expected `int` >= 0 - at `\$.codes`.*prepare the table again"),
        ("sha256", "{}", r"missing required field `schema.json` - at `\$.sha256`"),
        ("chunks", "[1]", r"got `int` - at `\$.chunks\[0\]`"),
        ("width", "4", r"unknown field `width`.*prepare the table again"),
        ("schema_version", "1", r"at `\$.schema_version`.*prepare the table again"),
        ("kind", '"rows"', r"at `\$.kind`"),
        ("unheard_of", "1", "unknown field `unheard_of`"),
    ],
)
def test_a_manifest_of_prepared_rows_that_cannot_be_is_refused(tmp_path, key, text, reason):
    prepare("iris", tmp_path / "iris", columns=Columns(label="target"))
    file = tmp_path / "iris" / "manifest.json"
    signed = json.loads(file.read_text()) | {key: raw(text)}
    del signed["digest"]
    signed["digest"] = _signed.digest(dumps(signed))
    file.write_text(dumps(signed))
    with pytest.raises(ModelFormatError, match=reason):
        _signed.read(file, _signed.Manifest)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("chunk_rows", 75, "rows and chunks do not agree"),
        ("numbers", 5, "5 numbers and 0 codes, and of schema.json 4 and 0"),
        ("codes", 1, "4 numbers and 1 codes, and of schema.json 4 and 0"),
    ],
)
def test_a_manifest_of_prepared_rows_that_does_not_agree_is_refused(tmp_path, key, value, reason):
    prepare("iris", tmp_path / "iris", columns=Columns(label="target"))
    file = tmp_path / "iris" / "manifest.json"
    manifest = _signed.read(file, _signed.Manifest)
    _signed.write(file, msgspec.structs.replace(manifest, **{key: value}))
    with pytest.raises(ModelFormatError, match=rf"manifest\.json: {reason}"):
        open_prepared(tmp_path / "iris")


@pytest.mark.parametrize(
    ("label", "digest", "reason"),
    [("target", "0" * 64, "0 codes of a row"), (None, None, "1 codes of a row")],
)
def test_a_digest_of_codes_stands_where_rows_have_codes(tmp_path, label, digest, reason):
    columns = Columns(label=label, kinds={} if label else {"target": "category"})
    prepare("iris", tmp_path / "iris", columns=columns)
    file = tmp_path / "iris" / "manifest.json"
    manifest = _signed.read(file, _signed.Manifest)
    digests = msgspec.structs.replace(manifest.sha256, codes=digest)
    _signed.write(file, msgspec.structs.replace(manifest, sha256=digests))
    with pytest.raises(ModelFormatError, match=rf"the digest of codes\.i32 and the {reason}"):
        open_prepared(tmp_path / "iris")


def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "manifest.json")
    assert not _signed.is_prepared(tmp_path)
    with pytest.raises(ModelFormatError, match="regular file"):
        _signed.read_text(tmp_path / "manifest.json")
