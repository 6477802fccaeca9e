"""`python -m torch_ref.verify` on files of every format, on damaged ones and on ones that lie."""

import importlib.util
import io
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
import torch

from jaxrep.export import FORMATS as WRITERS
from jaxrep.export import _onnx
from jaxrep.runs import folder
from tests.helpers.exports import members_of, rewritten, rezipped, run_verify
from torch_ref import graph_files, methods
from torch_ref.description import FileFormatError
from torch_ref.files import read_safetensors, sha256
from torch_ref.serving import serve
from torch_ref.torchscript import unpack

WITHOUT_ONNX = any(importlib.util.find_spec(name) is None for name in _onnx._PACKAGES)
onnx_only = pytest.mark.skipif(WITHOUT_ONNX, reason="the packages of the extra `onnx` are missing")
FORMATS = ["torchscript", "safetensors", "pt2", pytest.param("onnx", marks=onnx_only)]


def column(description, i):
    return description["schema"]["columns"][i]


# The run has the columns job, age and city: codes of 4 and 3 values around a number, and a missing
# job is a value of its own to the encoder. Its layers are 9–8–2–8–8.
LIES = {
    "a text for widths": (
        lambda d: d["hyperparameters"].update(hidden_dims="ab"),
        "hyperparameters: Expected `array`, got `str` - at `$.hidden_dims`",
    ),
    "a width of 10⁹": (
        lambda d: d["hyperparameters"].update(hidden_dims=[10**9]),
        "hyperparameters.hidden_dims is beyond 1048576",
    ),
    "widths of 4 TiB": (
        lambda d: d["hyperparameters"].update(hidden_dims=[1 << 20, 1 << 20]),
        "described",
    ),
    "65 layers": (
        lambda d: d["hyperparameters"].update(hidden_dims=[8] * 65),
        "hyperparameters.hidden_dims has 65 entries; it must have at most 64",
    ),
    "no latents": (lambda d: d["hyperparameters"].update(latent_dim=0), "cannot be built"),
    "latents below 0": (lambda d: d["hyperparameters"].update(latent_dim=-2), "cannot be built"),
    "half a latent": (
        lambda d: d["hyperparameters"].update(latent_dim=2.5),
        "Expected `int`, got `float` - at `$.latent_dim`",
    ),
    "a seed of 33 bits": (
        lambda d: d["hyperparameters"].update(seed=1 << 33),
        "hyperparameters.seed is beyond 4294967296",
    ),
    "a β beyond float64": (
        lambda d: d["hyperparameters"].update(beta=10**400),
        "hyperparameters.beta is beyond",
    ),
    "no β": (lambda d: d["hyperparameters"].pop("beta"), "missing required field `beta`"),
    "other latents": (lambda d: d["hyperparameters"].update(latent_dim=3), "described"),
    "what is not a hyperparameter": (
        lambda d: d["hyperparameters"].update(unheard_of=3),
        "hyperparameters.unheard_of is not known",
    ),
    "no hyperparameters": (
        lambda d: d.pop("hyperparameters"),
        "missing required field `hyperparameters`",
    ),
    "null for them": (lambda d: d.update(hyperparameters=None), "at `$.hyperparameters`"),
    "no end of levels": (
        lambda d: d["hyperparameters"].update(hidden_dims=[[[8]]]),
        "at `$.hyperparameters[...][0][0]`",
    ),
    "no method": (lambda d: d.pop("method"), "missing required field `method`"),
    "a list for a method": (lambda d: d.update(method=["vae"]), "at `$.method`"),
    "an unheard-of key": (lambda d: d.update(unheard_of=1), "unknown field `unheard_of`"),
    "a text for a loss": (
        lambda d: d.update(history=[{"epoch": 1, "loss": "2"}]),
        "Expected `float`, got `str` - at `$.history[0][...]`",
    ),
    "an output that is none": (
        lambda d: d["outputs"].append("guess"),
        "outputs[7] is 'guess'; it must be one of embed, reconstruct, score,",
    ),
    "an output twice": (lambda d: d["outputs"].append("embed"), "outputs[7] is 'embed'"),
    "no score": (lambda d: d["outputs"].remove("score"), "outputs must have score among them"),
    "an output less": (
        lambda d: d["outputs"].remove("generate"),
        "outputs are not those of the network that is described: embed, reconstruct, score,",
    ),
    "a text for outputs": (lambda d: d.update(outputs="embed"), "at `$.outputs`"),
    "no schema": (
        lambda d: d.pop("schema"),
        "missing required field `schema`",
    ),
    "no columns": (
        lambda d: d["schema"].pop("columns"),
        "schema: Object missing required field `columns`",
    ),
    "an object for columns": (
        lambda d: d["schema"].update(columns={}),
        "schema: Expected `array`, got `object` - at `$.columns`",
    ),
    "an empty list of columns": (
        lambda d: d["schema"].update(columns=[]),
        "schema: Expected `array` of length >= 1 - at `$.columns`",
    ),
    "a number for a column": (
        lambda d: d["schema"]["columns"].insert(0, 3),
        "got `int` - at `$.columns[0]`",
    ),
    "a column of another kind": (
        lambda d: column(d, 1).update(kind="text"),
        "Invalid value 'text' - at `$.columns[1].kind`",
    ),
    "a text for a mean": (
        lambda d: column(d, 1).update(mean="x"),
        "Expected `float`, got `str` - at `$.columns[1].mean`",
    ),
    "a mean beyond float64": (
        lambda d: column(d, 1).update(mean=10**400),
        "Number out of range - at `$.columns[1].mean`",
    ),
    "a scale of 0": (
        lambda d: column(d, 1).update(scale=0),
        "Expected `float` > 0.0 - at `$.columns[1].scale`",
    ),
    "no fill": (
        lambda d: column(d, 1).pop("fill"),
        "missing required field `fill` - at `$.columns[1]`",
    ),
    "no levels": (
        lambda d: column(d, 0).update(levels=[]),
        "at `$.columns[0].levels`",
    ),
    "a level twice": (
        lambda d: column(d, 0)["levels"].append(column(d, 0)["levels"][0]),
        "a level stands there twice - at `$.columns[0]`",
    ),
    "a text for a flag": (
        lambda d: column(d, 0).update(has_gaps="no"),
        "Expected `bool`, got `str` - at `$.columns[0].has_gaps`",
    ),
    "a key too many of a column": (
        lambda d: column(d, 0).update(more=1),
        "unknown field `more` - at `$.columns[0]`",
    ),
    "a column too many": (
        lambda d: d["schema"]["columns"].append(column(d, 1)),
        "described",
    ),
    "a version of tomorrow": (
        lambda d: d.update(schema_version=2),
        "Invalid enum value 2 - at `$.schema_version`; export the model again",
    ),
}


def lying(vae_file, format, path, lie):
    """Writes a file whose digests hold and whose description has been changed by `lie`."""
    source = vae_file(format)
    if format == "safetensors":
        rewritten(source, path, lambda description, weights: lie(description))
        return
    members = members_of(source.read_bytes())
    described = json.loads(members["archive/extra/meta.json"])
    lie(described)
    text = json.dumps(described).encode()
    seal = {"archive/extra/meta.json": text, "archive/extra/meta.sha256": sha256(text).encode()}
    path.write_bytes(rezipped(members | seal))


def refused(path, *arguments):
    """The one line on which `verify` says why it refuses a file."""
    code, out, err = run_verify(path, *arguments)
    assert (code, out, err.count("\n")) == (1, "", 1), (code, out, err)
    return err


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("format", ["torchscript", "safetensors"])
def test_a_description_that_lies_is_refused_in_one_line(vae_file, tmp_path, format, lie):
    if (format, lie) == ("safetensors", "a version of tomorrow"):
        pytest.skip("what writes safetensors files writes the version")
    change, reason = LIES[lie]
    lying(vae_file, format, tmp_path / "lying", change)
    err = refused(tmp_path / "lying")
    assert err.startswith(f"{tmp_path / 'lying'}: ")
    assert reason in err


@pytest.mark.parametrize("format", ["torchscript", "pt2"])
def test_a_file_that_does_not_say_its_outputs_is_refused(vae_file, tmp_path, format):
    lying(vae_file, format, tmp_path / "lying", lambda d: d.pop("outputs"))
    assert "does not say which outputs there are" in refused(tmp_path / "lying")


def of_elsewhere(vae_file, format, path):
    """A file whose method nobody here knows; its network is a VAE's."""
    if format != "onnx":
        return lying(vae_file, format, path, lambda d: d.update(method="elsewhere"))
    import onnx

    model = onnx.load(vae_file(format))
    texts = {entry.key: json.loads(entry.value) for entry in model.metadata_props[:2]}
    del model.metadata_props[:]
    described = texts["meta.json"] | {"method": "elsewhere"}
    path.write_bytes(graph_files.pack_onnx(model, described, texts["golden.json"]))


@pytest.mark.parametrize("format", ["torchscript", "pt2", pytest.param("onnx", marks=onnx_only)])
def test_a_file_with_its_own_code_needs_none_of_its_method(vae_file, tmp_path, format):
    of_elsewhere(vae_file, format, tmp_path / "file")
    code, out, err = run_verify(tmp_path / "file")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].endswith(
        "elsewhere, all digests hold and all functions give what JAX gave"
    )


TWIN = """
from torch_ref.methods import VAE
class Elsewhere(VAE):
    name = "elsewhere"
"""


def test_safetensors_of_a_method_from_outside_need_its_file(vae_file, tmp_path, monkeypatch):
    for known in ("_registered", "_files"):
        monkeypatch.setattr(methods._list, known, {})
    of_elsewhere(vae_file, "safetensors", tmp_path / "file")
    err = refused(tmp_path / "file")
    assert "there is no method 'elsewhere'; there are autoencoder, vae, simclr" in err
    assert "with --use FILE.py" in err
    (tmp_path / "elsewhere_twin.py").write_text(TWIN)
    code, out, err = run_verify(tmp_path / "file", "--use", tmp_path / "elsewhere_twin.py")
    assert (code, err) == (0, "")
    assert "elsewhere, all digests hold" in out


@pytest.mark.parametrize(
    ("text", "reason"),
    [(None, "there is no such file"), ("1 / 0", "cannot be run: ZeroDivisionError")],
)
def test_a_twin_that_cannot_be_used_exits_with_2(vae_file, tmp_path, text, reason):
    if text is not None:
        (tmp_path / "broken_twin.py").write_text(text)
    code, out, err = run_verify(vae_file("safetensors"), "--use", tmp_path / "broken_twin.py")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"--use {tmp_path / 'broken_twin.py'}: ")
    assert reason in err


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda w: w.pop("mu.bias"), "the weight mu.bias is missing"),
        (lambda w: w.update(extra=np.zeros(3, np.float32)), "extra is not a weight"),
        (lambda w: w.update({"mu.bias": np.zeros(2, np.int64)}), "mu.bias is int64"),
        (lambda w: w.update({"mu.bias": np.zeros(3, np.float32)}), r"mu.bias is .* \(3,\)"),
    ],
)
def test_only_the_weights_that_are_described_are_served(vae_file, change, reason):
    description, weights = read_safetensors(vae_file("safetensors"))
    change(weights)
    with pytest.raises(FileFormatError, match=reason):
        serve(description, weights)


def test_a_safetensors_file_without_the_digests_of_its_weights_is_refused(vae_file, tmp_path):
    description, weights = read_safetensors(vae_file("safetensors"))
    del description["tensors"]
    text = json.dumps(description)
    metadata = {"jaxrep": text, "jaxrep.sha256": sha256(text.encode())}
    (tmp_path / "lying").write_bytes(safetensors.numpy.save(weights, metadata=metadata))
    assert "decoder.0.bias is damaged, missing" in refused(tmp_path / "lying")


def test_a_network_beyond_all_memory_is_refused_before_it_is_made(vae_file, tmp_path):
    lying(vae_file, "safetensors", tmp_path / "lying", LIES["widths of 4 TiB"][0])
    code = (
        "import resource, sys; from torch_ref.verify import main;"
        "resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, 2 << 30)); sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "lying")], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "the network that is described has float32 of shape (1048576,)" in done.stderr


@pytest.mark.parametrize(
    ("golden", "reason"),
    [
        ({}, "golden rows are missing: the file has been stripped"),
        ({"rows": "ab"}, "golden 'rows' is not an array of numbers"),
        ({"rows": [[1, 2], [3]]}, "golden 'rows' is not an array of numbers"),
        ({"rows": 10**400}, "golden 'rows' is not an array of numbers"),
        (
            [],
            "the description is not one that this version of jaxrep writes: Expected `object`, got",
        ),
        ({"codes": [[1.0]]}, "rows is missing"),
        ({"rows": []}, "rows holds no rows"),
        ({"rows": [[1.0]]}, "forward cannot be computed"),
        ({"rows": [[0.0, 40.0, 1.0]]}, "jax.forward.0 is missing"),
    ],
)
def test_golden_rows_that_are_none_are_refused_in_one_line(vae_file, tmp_path, golden, reason):
    lying(vae_file, "safetensors", tmp_path / "lying", lambda d: d.update(golden=golden))
    assert f"lying: {reason}" in refused(tmp_path / "lying")


def resealed(path, name, content):
    """The members of an archive, one of them another, with fresh digests."""
    members = members_of(path.read_bytes()) | {f"archive/{name}": content}
    described = json.loads(members["archive/extra/meta.json"])
    described["sha256"][name] = sha256(content)
    text = json.dumps(described).encode()
    seal = {"archive/extra/meta.json": text, "archive/extra/meta.sha256": sha256(text).encode()}
    return rezipped(members | seal)


@pytest.mark.parametrize("content", [b"{}", b'{"codes": [[1.0]]}'])
def test_a_pt2_file_without_golden_rows_is_refused_though_its_digests_hold(
    vae_file, tmp_path, content
):
    data = resealed(vae_file("pt2"), "extra/golden.json", content)
    (tmp_path / "stripped").write_bytes(data)
    assert "golden.json holds no rows" in refused(tmp_path / "stripped")


@onnx_only
def test_an_onnx_file_without_golden_rows_is_refused_though_its_digests_hold(vae_file, tmp_path):
    import onnx

    model = onnx.load(vae_file("onnx"))
    [meta] = (json.loads(e.value) for e in model.metadata_props if e.key == "meta.json")
    del model.metadata_props[:]
    (tmp_path / "stripped").write_bytes(graph_files.pack_onnx(model, meta, {}))
    assert "golden.json holds no rows" in refused(tmp_path / "stripped")


def test_golden_outputs_are_numbers_but_for_open_categories(vae_file, tmp_path):
    golden = unpack(vae_file("torchscript").read_bytes()).golden
    for name, column in (("score.0", None), ("encode.1", 0), ("decode.0", 1)):  # 1 is the age
        exact = golden[f"exact.{name}"].clone()
        exact[:, ...] = np.nan if column is None else exact
        if column is not None:
            exact[3, column] = np.nan
        buffer = io.BytesIO()
        torch.save(golden | {f"exact.{name}": exact}, buffer)
        data = resealed(vae_file("torchscript"), "extra/golden.pt", buffer.getvalue())
        (tmp_path / "open").write_bytes(data)
        assert f"exact.{name} is NaN where" in refused(tmp_path / "open")


@pytest.mark.parametrize("golden", [b"junk", pickle.dumps({}), pickle.dumps(torch.nn.Linear(1, 1))])
def test_a_golden_part_that_holds_no_tensors_is_refused_in_one_line(vae_file, tmp_path, golden):
    data = resealed(vae_file("torchscript"), "extra/golden.pt", golden)
    (tmp_path / "junk").write_bytes(data)
    assert "extra/golden.pt: not tensors as torch.save writes them" in refused(tmp_path / "junk")


@pytest.mark.parametrize("format", FORMATS)
def test_files_of_every_format_carry_golden_rows_that_hold(vae_file, format):
    code, out, err = run_verify(vae_file(format))
    assert (code, err) == (0, "")
    *lines, last = out.splitlines()
    assert {"embed.0", "score.0", "reconstruct.0"} <= {line.split()[0] for line in lines}
    assert last.endswith("vae, all digests hold and all functions give what JAX gave")


def test_a_safetensors_file_is_the_same_wherever_it_is_made(vae_run, vae_file, tmp_path):
    WRITERS["safetensors"].write(folder.load(vae_run.path), tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == vae_file("safetensors").read_bytes()


@pytest.mark.parametrize("format", ["safetensors", "pt2", pytest.param("onnx", marks=onnx_only)])
def test_a_bit_flipped_in_the_weights_is_noticed(vae_file, tmp_path, format):
    data = vae_file(format).read_bytes()
    _, weights = read_safetensors(vae_file("safetensors"))
    for name in ("encoder.0.bias", "mu.bias", "decoder.1.bias"):
        needle = weights[name].tobytes()
        place = data.index(needle) + len(needle) // 2
        damaged = bytearray(data)
        damaged[place] ^= 1  # the last bit of a mantissa: no golden row would tell
        (tmp_path / "damaged").write_bytes(bytes(damaged))
        assert "damaged" in refused(tmp_path / "damaged")


@pytest.mark.parametrize("part", ["golden.json", "meta.json", "meta.sha256"])
def test_a_pt2_file_without_its_proof_is_refused(vae_file, tmp_path, part):
    members = members_of(vae_file("pt2").read_bytes())
    del members[f"archive/extra/{part}"]
    (tmp_path / "stripped").write_bytes(rezipped(members))
    assert f"extra/{part} is missing" in refused(tmp_path / "stripped")


def test_a_bit_flipped_in_any_member_of_a_pt2_file_is_noticed(vae_file, tmp_path):
    members = members_of(vae_file("pt2").read_bytes())
    rng = np.random.default_rng(0)
    for name, content in members.items():
        damaged = bytearray(content or b"\0")  # of no elements, a weight gets one
        damaged[rng.integers(len(damaged))] ^= 1 << int(rng.integers(8))
        (tmp_path / "damaged").write_bytes(rezipped(members | {name: bytes(damaged)}))
        err = refused(tmp_path / "damaged")
        assert "damaged" in err or "extra/meta" in err, name


@onnx_only
def test_a_bit_flipped_anywhere_in_an_onnx_file_is_noticed(vae_file, tmp_path):
    data = vae_file("onnx").read_bytes()
    for place in np.random.default_rng(0).integers(len(data), size=200).tolist():
        damaged = bytearray(data)
        damaged[place] ^= 1 << (place % 8)
        (tmp_path / "damaged").write_bytes(bytes(damaged))
        err = refused(tmp_path / "damaged")
        assert "damaged" in err or "stripped" in err


@onnx_only
@pytest.mark.parametrize("part", ["golden.json", "meta.json", "jaxrep.sha256"])
def test_an_onnx_file_without_its_proof_is_refused(vae_file, tmp_path, part):
    import onnx

    model = onnx.load(vae_file("onnx"))
    kept = [entry for entry in model.metadata_props if entry.key != part]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, tmp_path / "stripped")
    err = refused(tmp_path / "stripped")
    assert "stripped" in err or "damaged" in err


@onnx_only
def test_the_digests_of_an_onnx_file_are_those_of_its_initializers(vae_file):
    import onnx

    model = onnx.load(vae_file("onnx"))
    [meta] = (json.loads(e.value) for e in model.metadata_props if e.key == "meta.json")
    assert meta["tensors"].keys() == {tensor.name for tensor in model.graph.initializer}


@onnx_only
def test_verifying_onnx_without_its_packages_says_which_is_missing(vae_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, _, err = run_verify(vae_file("onnx"))
    assert code == 2
    assert "needs onnxruntime, which is not installed" in err


def test_a_missing_file_of_other_rows_is_named(vae_file, tmp_path):
    code, _, err = run_verify(vae_file("torchscript"), "--against", tmp_path / "nowhere.pt")
    assert (code, err) == (2, f"{tmp_path / 'nowhere.pt'}: No such file or directory\n")
    code, _, err = run_verify(vae_file("torchscript"), "--against", tmp_path)
    assert (code, err) == (2, f"{tmp_path}: Is a directory\n")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not tensors"),
        (b"PK junk", "not tensors"),
        ([torch.zeros(3)], "no dictionary"),
        ({}, "rows is missing"),
        ({"rows": "ab"}, "rows is missing, or no tensor"),
        ({"rows": torch.zeros(2, 9)}, "forward cannot be computed"),
    ],
)
def test_a_file_of_other_rows_that_is_none_is_named(vae_file, tmp_path, content, reason):
    if isinstance(content, bytes):
        (tmp_path / "other.pt").write_bytes(content)
    else:
        torch.save(content, tmp_path / "other.pt")
    err = refused(vae_file("torchscript"), "--against", tmp_path / "other.pt")
    assert err.startswith(f"{tmp_path / 'other.pt'}: ")
    assert reason in err
