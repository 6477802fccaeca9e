"""TorchScript files: they give what JAX gives, carry their proof, and show any damage."""

import contextlib
import dataclasses
import functools
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

import torch_ref.serving
from jaxrep import methods
from jaxrep.cli import main
from jaxrep.data import transform
from jaxrep.errors import InputError, VerificationError
from jaxrep.export import FORMATS, export_run
from jaxrep.runs import folder
from tests.helpers.exports import (
    ARCHITECTURES,
    DATA,
    SECRET,
    make_run,
    members_of,
    raw_rows,
    rezipped,
    run_verify,
)
from torch_ref import verify
from torch_ref.torchscript import FileFormatError, load, unpack

METHODS = methods.names()


@pytest.fixture
def exported(vae_run, vae_file):
    """A VAE on mixed columns and its file."""
    return vae_run, vae_file("torchscript")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What gives a run and what was said when its file `model.pt` was made beside it."""

    @functools.cache
    def make(method, data, architecture):
        path = tmp_path_factory.mktemp("made")
        run = make_run(path, method, data, architecture)
        return run, export_run(run, path / "model.pt")

    return make


# These come at every run of the tests, the other combinations at `make test-slow`.
QUICK = {
    ("autoencoder", "times", "deep"),
    ("vae", "mixed", "shallow"),
    ("simclr", "plain", "plain"),
    ("classifier", "mixed", "deep"),
}
CASES = [
    pytest.param(*case, marks=[] if case in QUICK else [pytest.mark.slow])
    for case in itertools.product(METHODS, DATA, ARCHITECTURES)
]


@pytest.mark.parametrize(("method", "data", "architecture"), CASES)
def test_a_file_gives_what_the_commands_give(made, method, data, architecture):
    run, said = made(method, data, architecture)
    assert said.rows_verified == 60
    module = load(run.path.parent / "model.pt")
    table, raw = raw_rows(run)
    x = torch.from_numpy(raw)
    features = transform.apply(run.schema, table, source="here")
    for name in ("embed", "score"):
        expected = run.map(name, features)
        found = getattr(module, name)(x).numpy()
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    if "reconstruct" in run.outputs:
        back = transform.from_raw(run.schema, module.reconstruct(x).numpy())
        expected = transform.invert(run.schema, run.map("reconstruct", features))
        for name, cells in zip(expected.column_names, raw.T, strict=True):
            ours, theirs = back[name].to_pylist(), expected[name].to_pylist()
            if isinstance(theirs[0], float):
                spread = 1e-5 * np.nanstd(cells)
                np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=spread)
            else:
                assert ours == theirs


def test_features_are_bit_for_bit_those_of_jaxrep(tmp_path):
    for data in DATA:
        run = make_run(tmp_path, "autoencoder", data)
        columns = run.schema.to_json()["columns"]
        table, raw = raw_rows(run)
        found = torch_ref.serving.RawRows(columns)(torch.from_numpy(raw))
        expected = transform.apply(run.schema, table, source="here")
        assert found.numbers.numpy().tobytes() == expected.numbers.tobytes()
        assert (found.codes is None) == (expected.codes is None) == (data != "mixed")
        if expected.codes is not None:
            assert found.codes.numpy().tobytes() == expected.codes.tobytes()
        shutil.rmtree(tmp_path / "run")


def test_drawn_rows_are_accepted_and_survive_the_way_to_a_table_and_back(exported):
    run, _ = exported
    raw = transform.draw_raw(run.schema, 500)
    again = transform.to_raw(run.schema, transform.from_raw(run.schema, raw), source="here")
    is_unknown = (raw == -1) & [column.kind == "category" for column in run.schema.columns]
    # A category of no level has no name that it could keep.
    np.testing.assert_array_equal(again, np.where(is_unknown, np.nan, raw))
    assert np.isnan(raw).any()
    assert (raw[:, 0] == -1).any()


def test_any_number_of_rows_from_none_on_and_either_float(exported):
    run, path = exported
    module = load(path)
    _, raw = raw_rows(run)
    whole = module.score(torch.from_numpy(raw))
    for count in (0, 1, 7):
        part = module.score(torch.from_numpy(raw[:count]))
        assert part.shape == (count,)
        torch.testing.assert_close(part, whole[:count])
    assert module.embed(torch.from_numpy(raw).float()).dtype == torch.float32


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (torch.zeros(2, 4), r"expected rows \[B, 3\], one column each; got shape \[2, 4\]"),
        (torch.zeros(3), r"got shape \[3\]"),
        (torch.zeros(2, 3, dtype=torch.int64), "float32 or float64"),
        (torch.tensor([[0.0, 1.0, 0.0], [0.0, torch.inf, 0.0]]), "row 1, column 1.*inf"),
        (torch.tensor([[0.0, torch.nan, 0.0]]), None),  # filled in
    ],
)
def test_rows_that_cannot_be_used_get_one_clear_error(exported, rows, reason):
    module = load(exported[1])
    if reason is None:
        assert torch.isfinite(module.score(rows)).all()
        return
    with pytest.raises(torch.jit.Error, match=reason):
        module.score(rows)


def test_generated_rows_are_made_of_draws_as_jax_makes_them(exported):
    run, path = exported
    module = load(path)
    torch.manual_seed(3)
    drawn = module.generate(6)
    assert drawn.dtype == torch.float64
    torch.manual_seed(3)
    draws = torch.randn(6, methods.abstract_network(run.method, run.rows).draws).numpy()
    features = run.map("generate", draws)
    expected = transform.to_values(run.schema, features, is_drawn=True)
    np.testing.assert_allclose(drawn.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_the_same_run_gives_the_same_bytes_from_anywhere_and_in_any_process(exported, tmp_path):
    run, path = exported
    shutil.copytree(run.path, tmp_path / "elsewhere" / "copy")
    done = subprocess.run(
        [sys.executable, "-m", "jaxrep.cli", "export", "elsewhere/copy", "--out", "other_name.pt"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "other_name.pt").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("format", ["torchscript", "safetensors"])
def test_a_file_holds_no_path_and_no_row_of_the_data(made, tmp_path, format):
    run, said = made("autoencoder", "times", "deep")
    if format == "torchscript":
        content = Path(said.out).read_bytes()
    else:
        FORMATS[format].write(run, tmp_path / "model")
        content = (tmp_path / "model").read_bytes()
    for secret in (str(run.path.parent), str(SECRET)):
        assert secret.encode() not in content
    assert np.float64(SECRET).tobytes() not in content
    assert np.float32(SECRET).tobytes() not in content


# Verification


def test_verify_needs_no_jax_and_prints_a_table(exported):
    code = (
        "import sys; sys.modules['jax'] = sys.modules['jaxrep'] = None; "
        "from torch_ref.verify import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(exported[1])],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == [
        "forward.0",
        "embed.0",
        "reconstruct.0",
        "score.0",
        "score_by_column.0",
        "encode.0",
        "encode.1",
        "decode.0",
    ]
    assert lines[-1].endswith("all digests hold and all functions give what JAX gave")


def test_a_bit_flipped_in_any_member_is_noticed(exported, tmp_path):
    members = members_of(exported[1].read_bytes())
    rng = np.random.default_rng(0)
    for name, content in members.items():
        if not content:
            continue
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        (tmp_path / "damaged.pt").write_bytes(rezipped(members | {name: bytes(damaged)}))
        code, _, err = run_verify(tmp_path / "damaged.pt")
        assert code == 1, name
        assert "damaged" in err or "extra/meta" in err


def test_a_bit_flipped_in_the_weights_of_the_file_as_it_lies_is_noticed(exported, tmp_path):
    data = exported[1].read_bytes()
    module = unpack(data).module
    tensors = (tensor.contiguous().numpy() for tensor in module.state_dict().values())
    # The bytes of a few small numbers, such as a 0, stand in many places.
    needles = [tensor.tobytes() for tensor in tensors if tensor.nbytes > 16]
    assert len(needles) >= 8
    for needle in needles:
        place = data.find(needle)
        assert place > 0
        damaged = bytearray(data)
        damaged[place + len(needle) // 2] ^= 1
        (tmp_path / "damaged.pt").write_bytes(bytes(damaged))
        assert run_verify(tmp_path / "damaged.pt")[0] == 1


def test_a_bit_flipped_anywhere_in_the_file_is_no_traceback(exported):
    data = exported[1].read_bytes()
    places = np.random.default_rng(1).integers(len(data), size=40).tolist()
    for place in [*places, *range(len(data) - 400, len(data), 3)]:  # the archive's directory
        damaged = bytearray(data)
        damaged[place] ^= 1 << (place % 8)
        with contextlib.suppress(FileFormatError):  # padding and times of members may change
            unpack(bytes(damaged))


@pytest.mark.parametrize("how", ["twice", "compressed", "elsewhere"])
def test_archives_that_could_hide_something_are_refused(exported, how):
    members, buffer = members_of(exported[1].read_bytes()), io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if how == "compressed" else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", kind) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, content in members.items():
            archive.writestr(
                name.replace("archive", "other") if how == "elsewhere" else name, content
            )
        if how == "twice":
            archive.writestr("archive/extra/golden.pt", members["archive/extra/golden.pt"])
    with pytest.raises(FileFormatError, match="not such an archive"):
        unpack(buffer.getvalue())


def test_a_column_that_is_constant_at_a_large_value_is_no_obstacle(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 3))
    x[:, 1] = 20240101123000.0
    run = make_run(tmp_path, "vae", "plain")
    columns = list(run.schema.columns)
    columns[1] = msgspec.structs.replace(columns[1], mean=20240101123000.0, scale=1.0)
    prepared = msgspec.structs.replace(run.schema, columns=tuple(columns))
    folder.begin(run.path, run.config, prepared)
    folder.append_metrics(run.path, {"epoch": 1, "loss": 1.0})
    folder.finish(run.path, run.config, run.weights)
    table = np.column_stack([x, x[:, :1]])
    np.save(tmp_path / "plain.npy", table)
    where = {"format": "safetensors", "data": str(tmp_path / "plain.npy")}
    assert export_run(folder.load(run.path), tmp_path / "m", **where).rows_verified == 60


def test_weights_changed_with_fresh_digests_are_noticed_by_the_golden_rows(exported, monkeypatch):
    contents = unpack(exported[1].read_bytes())
    with torch.no_grad():
        contents.module.network.mu.bias[0] += 1e-4
    results = {result.name: result for result in verify.verify(contents)}
    assert not results["embed.0"].passed
    assert results["encode.1"].passed


@pytest.mark.parametrize("part", ["extra/golden.pt", "extra/meta.json", "extra/meta.sha256"])
@pytest.mark.parametrize("how", ["gone", "empty"])
def test_a_file_without_its_proof_is_refused(exported, tmp_path, part, how):
    members = members_of(exported[1].read_bytes())
    members.pop(f"archive/{part}")
    if how == "empty":
        members[f"archive/{part}"] = b""
    (tmp_path / "stripped.pt").write_bytes(rezipped(members))
    code, _, err = run_verify(tmp_path / "stripped.pt")
    assert code == 1
    assert f"{part} is missing: the file is not one of jaxrep's, or stripped" in err


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "not a TorchScript or pt2 file"), (b"PK nonsense", "not a TorchScript")],
)
def test_a_file_that_is_none_of_ours_is_refused(tmp_path, content, reason):
    (tmp_path / "other.pt").write_bytes(content)
    code, _, err = run_verify(tmp_path / "other.pt")
    assert code == 1
    assert reason in err
    with pytest.raises(FileFormatError):
        unpack(content)


def test_a_torchscript_file_of_someone_else_is_refused_before_it_runs(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"cos\nsystem\n(S'exit 9'\ntR.")
    (tmp_path / "other.pt").write_bytes(buffer.getvalue())
    code, _, err = run_verify(tmp_path / "other.pt")
    assert code == 1
    assert "extra/meta.json is missing" in err


def test_a_missing_file_exits_with_2(tmp_path):
    code, _, err = run_verify(tmp_path / "nowhere.pt")
    assert code == 2
    assert "No such file" in err


# Exporting


def test_a_file_that_does_not_give_what_jax_gives_is_not_written(exported, tmp_path, monkeypatch):
    run, _ = exported
    wrong = {name: array.copy() for name, array in run.weights.items()}
    wrong["decoder.0.kernel"][0] += 0.01
    from jaxrep.export import _torchscript

    right = _torchscript.write
    monkeypatch.setattr(
        _torchscript, "write", lambda run, p: right(dataclasses.replace(run, weights=wrong), p)
    )
    with pytest.raises(VerificationError, match=r"was not written: .*FAILED: .* off at row \d+"):
        export_run(run, tmp_path / "model.pt")
    assert list(tmp_path.iterdir()) == []


def command(capsys, *arguments):
    code = main(["export", *map(str, arguments), "--json"])
    captured = capsys.readouterr()
    return code, captured


def test_the_command_prints_the_digest_and_warns_of_nothing(exported, tmp_path, capsys):
    run, path = exported
    code, captured = command(capsys, run.path, "--out", tmp_path / "model.pt")
    assert code == 0
    assert captured.err == "PyTorch has deprecated TorchScript; its successor is --format pt2\n"
    result = json.loads(captured.out.splitlines()[-1])
    assert result["rows_verified"] == 60
    assert result["bytes"] == path.stat().st_size
    assert (tmp_path / "model.pt").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("RUN", "--out", "nowhere/model.pt"), "there is no folder nowhere"),
        (
            ("RUN", "--out", "model.pt", "--format", "pickle"),
            "--format pickle: there are torchscript",
        ),
        (("UNFINISHED", "--out", "model.pt"), "has not finished"),
        (("nowhere", "--out", "model.pt"), "nowhere"),
        (("RUN", "--out", "model.pt", "--data", "nowhere.csv"), "nowhere.csv"),
        (("RUN", "--out", "model.pt", "--data", "model.pt"), "is the table to read"),
        (("RUN", "--out", "INSIDE"), "is inside the run's folder"),
    ],
)
def test_wrong_arguments_exit_with_2(exported, tmp_path, capsys, monkeypatch, arguments, reason):
    run, _ = exported
    monkeypatch.chdir(tmp_path)
    unfinished = tmp_path / "unfinished"
    shutil.copytree(run.path, unfinished)
    (unfinished / folder.MANIFEST).unlink()
    paths = {"RUN": run.path, "UNFINISHED": unfinished, "INSIDE": run.path / "model.safetensors"}
    code, captured = command(capsys, *(paths.get(a, a) for a in arguments))
    assert code == 2
    assert reason in captured.err
    assert not (tmp_path / "model.pt").exists()


@pytest.mark.parametrize(
    ("out", "reason"),
    [
        ("a" * 256, "File name too long"),
        ("dangling", "a link that leads nowhere"),
        ("/dev/null/x", "/dev/null is not a folder"),
        ("pipe", "exists and is not a file"),
        ("/proc/x", "the folder /proc cannot be written"),
    ],
)
def test_a_path_that_can_hold_no_file_exits_with_2(exported, tmp_path, capsys, out, reason):
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "at all")
    os.mkfifo(tmp_path / "pipe")
    code, captured = command(
        capsys, exported[0].path, "--format", "safetensors", "--out", tmp_path / out
    )
    assert code == 2
    assert reason in captured.err
    assert {path.name for path in tmp_path.iterdir()} == {"dangling", "pipe"}
    assert (tmp_path / "dangling").is_symlink()
    assert (tmp_path / "pipe").is_fifo()


def test_a_name_of_253_characters_is_no_obstacle(exported, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(FORMATS["safetensors"], "verify", lambda run, path, against: None)
    for name in ("a" * 253, "a." + "b" * 251):
        code, captured = command(
            capsys, exported[0].path, "--format", "safetensors", "--out", tmp_path / name
        )
        assert code == 0, captured.err
        assert [path.name for path in tmp_path.iterdir()] == [name]
        (tmp_path / name).unlink()


def test_missing_torch_names_the_extra(exported, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    code, captured = command(capsys, exported[0].path, "--out", tmp_path / "model.pt")
    assert code == 2
    assert "pip install 'jaxrep[torch]'" in captured.err


def test_only_one_module_compiles_and_reads_torchscript():
    root = Path(__file__).parents[2]
    users = {
        path.name
        for package in ("jaxrep", "torch_ref")
        for path in (root / package).rglob("*.py")
        if "torch.jit." in path.read_text("utf-8").replace("torch.jit.is_scripting", "")
    }
    assert users == {"torchscript.py"}


def test_tables_are_read_for_export_as_for_embedding(exported, tmp_path):
    run, _ = exported
    (tmp_path / "wrong.csv").write_text("job,age\nclerk,3\n")
    with pytest.raises(InputError, match="missing columns"):
        export_run(run, tmp_path / "model.pt", data=str(tmp_path / "wrong.csv"))
