"""Files of runs of several seeds: they hold every network, and give the means that JAX gives."""

import dataclasses
import json

import numpy as np
import pytest
import safetensors.numpy
import torch

from jaxrep.export import FORMATS, export_run, import_run
from jaxrep.outputs import OUTPUTS
from tests.helpers.exports import make_run, raw_rows, rewritten, run_verify
from tests.helpers.small import make
from torch_ref import members, verify
from torch_ref.batch import Batch, RowSpec
from torch_ref.description import FileFormatError, described_network
from torch_ref.methods import VAE
from torch_ref.networks import Network
from torch_ref.torchscript import load
from torch_ref.weights import get_weights, shapes, with_weights

MEMBERS = 11  # more than ten: 10 comes after 2


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("members"), "vae", "mixed", members=MEMBERS)


@pytest.fixture(scope="module")
def file(run):
    path = run.path.parent / "model.pt"
    export_run(run, path)
    return path


def test_a_torchscript_file_gives_means_of_scores_and_the_firsts_embeddings(run, file):
    _, raw = raw_rows(run)
    served, x = load(file), torch.from_numpy(raw)
    with torch.no_grad():
        batch = served.batch(x)
        each = [member for _, member in served.network.members.named_children()]
        assert len(each) == MEMBERS
        scores = torch.stack([member.score(batch) for member in each])
        mean, scale = (run.weights[name][:, None] for name in ("score_mean", "score_scale"))
        scores = scores.log() if served.network.are_ratios else scores
        standardised = (scores - torch.from_numpy(mean)) / torch.from_numpy(scale)
        torch.testing.assert_close(served.score(x), standardised.mean(dim=0))
        torch.testing.assert_close(served.embed(x), each[0].embed(batch), rtol=0, atol=0)
    assert run_verify(file)[0] == 0


@pytest.mark.parametrize("format", ["torchscript", "safetensors"])
def test_a_file_becomes_a_run_again_with_the_same_weights(run, file, format, tmp_path):
    path = file
    if format == "safetensors":
        path = tmp_path / "model.safetensors"
        FORMATS[format].write(run, path)
    made = import_run(path, tmp_path / "run", trust=True)
    assert made.method.hyperparameters == run.method.hyperparameters
    assert made.weights.keys() == run.weights.keys()
    for name, array in run.weights.items():
        assert array.shape[0] == MEMBERS
        np.testing.assert_array_equal(made.weights[name], array)


@pytest.mark.end_to_end
@pytest.mark.parametrize("method", ["vae", "simclr"])
@pytest.mark.parametrize("format", [name for name in FORMATS if name != "torchscript"])
def test_every_format_gives_what_jax_gives(method, format, tmp_path):
    made = make_run(tmp_path, method, "mixed", members=2)
    export_run(made, tmp_path / "model", format=format)
    assert verify.read(tmp_path / "model").meta["hyperparameters"]["members"] == 2


@pytest.mark.parametrize("count", [0, 257, 1 << 20, "3", True])
def test_a_file_cannot_ask_for_more_networks_than_there_may_be(run, count, tmp_path):
    source, target = tmp_path / "model.safetensors", tmp_path / "odd.safetensors"
    FORMATS["safetensors"].write(run, source)
    rewritten(source, target, lambda d, w: d["hyperparameters"].update(members=count))
    with pytest.raises(FileFormatError, match="members"):
        verify.read(target)


def test_a_file_whose_weights_are_of_other_members_is_refused(run, tmp_path):
    source, target = tmp_path / "model.safetensors", tmp_path / "odd.safetensors"
    FORMATS["safetensors"].write(run, source)
    rewritten(source, target, lambda d, w: d["hyperparameters"].update(members=MEMBERS - 1))
    with pytest.raises(FileFormatError, match=r"is float32 of shape \(11, .*float32 of shape \(10"):
        verify.read(target)


def test_no_network_is_given_memory_before_its_weights_are_compared():
    column = {"kind": "number", "name": "a", "mean": 5.0, "scale": 2.0, "fill": None}
    hidden = {"hidden_dims": (1 << 20,) * 2, "members": 256}
    described = {
        "method": "vae",
        "hyperparameters": dataclasses.asdict(make("vae").hyperparameters) | hidden,
        "schema": {"schema_version": 3, "columns": [column]},
    }
    network = described_network(json.loads(json.dumps(described)))
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"meta"}


def test_weights_are_those_of_the_networks_one_after_the_other():
    values = dataclasses.asdict(make("vae", members=12).hyperparameters)
    network = members.init_members(VAE(**values), RowSpec(4), torch.Generator())
    weights = get_weights(network)
    assert shapes(network) == {name: array.shape for name, array in weights.items()}
    for i, member in enumerate(network.members):
        for name, array in get_weights(member).items():
            np.testing.assert_array_equal(weights[name][i], array)
    changed = {name: array + 1 for name, array in weights.items()}
    with_weights(network, changed)
    for name, array in get_weights(network).items():
        np.testing.assert_array_equal(array, changed[name])
    assert list(safetensors.numpy.save(weights))  # in C order, all of them


def test_every_output_there_is_follows_the_vocabulary():
    functions = dict.fromkeys(OUTPUTS, lambda network, given: torch.full((2,), network.number))
    plain = type("Plain", (Network,), {"outputs": tuple(OUTPUTS), **functions})
    one, other = plain(), plain()
    one.number, other.number = 1.0, 4.0
    network = members.members_network([one, other])
    for name, output in OUTPUTS.items():
        found = getattr(network, name)(Batch(torch.ones(2, 1)))
        assert found.tolist() == [1.0 if output.members == "first" else 2.5] * 2, name


def test_training_in_torch_refuses_members():
    from torch_ref.training import fit

    values = dataclasses.asdict(make("vae", members=2).hyperparameters)
    with pytest.raises(ValueError, match="members is 2; train each by itself"):
        fit(VAE(**values), torch.ones(3, 2))
