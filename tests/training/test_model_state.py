"""What a network changes itself as it trains: carried, saved, swept, sharded, served, compared."""

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from jaxrep.batch import Batch
from jaxrep.errors import InterruptedRunError
from jaxrep.inference import map_rows
from jaxrep.methods import SimCLR
from jaxrep.methods.simclr import SimCLRNetwork
from jaxrep.networks import BatchNorm, get_model_state
from jaxrep.training import (
    Checkpoints,
    Devices,
    Every,
    fit,
    init_state,
    program,
    sweep,
)
from tests.helpers.extension.barlow_twins import BarlowTwins, BarlowTwinsHyperparameters
from tests.helpers.processes import finished, start
from tests.helpers.small import SMALL, SPEC, X, compiled_draw, compiled_step
from tests.helpers.small import make as make_small

ROOT = Path(__file__).parents[2]
EXTENSION = ROOT / "tests" / "helpers" / "extension"
STATISTICS = ("norm.mean", "norm.var")
SHAPE = {"spec": SPEC, "batch_size": 16, "devices": Devices()}


def make(**settings):
    return BarlowTwins(BarlowTwinsHyperparameters(**SMALL | {"epochs": 4} | settings))


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.tobytes() == other[name].tobytes(), name


def test_a_step_returns_the_state_that_the_network_has_changed():
    state = init_state(make(), SPEC, 0)
    assert tuple(state.model_state) == STATISTICS
    assert not set(state.params) & set(STATISTICS)
    batch, noise = compiled_draw(make(), 0, X, X, 0)
    after, _ = compiled_step(make(), state, batch, noise)
    for name in STATISTICS:
        assert (after.model_state[name] != state.model_state[name]).all()
    again, _ = compiled_step(make(), after, batch, noise)
    assert (again.model_state["norm.mean"] != after.model_state["norm.mean"]).all()


def test_a_run_serves_the_statistics_that_it_has_kept():
    run = fit(make(), X)
    served = map_rows(make(), "project", run.weights, X, SPEC)
    alone = map_rows(make(), "project", run.weights, X[3:4], SPEC)
    np.testing.assert_array_equal(served[3:4], alone)
    other = run.weights | {"norm.mean": run.weights["norm.mean"] + 1}
    assert not np.allclose(served, map_rows(make(), "project", other, X, SPEC))


def test_rows_held_out_are_measured_by_the_statistics_that_are_served():
    run = fit(make(epochs=1), X, validation=X[:7])
    method, rows = make(), jnp.asarray(X[:7])
    found = program.validation_loss(method, 0, run.weights, rows, **SHAPE)
    assert float(found) == pytest.approx(run.history[0]["validation_loss"], rel=1e-6)
    # On the statistics of the rows held out, a running mean would not count.
    shifted = run.weights | {"norm.mean": run.weights["norm.mean"] + 1}
    assert float(program.validation_loss(method, 0, shifted, rows, **SHAPE)) != float(found)


def test_a_run_in_pieces_ends_with_the_bits_of_one(monkeypatch, tmp_path):
    monkeypatch.setattr(program, "_MAX_STEPS_PER_CHUNK", 3)
    whole = fit(make(), X, validation=X[:20])
    checkpoints = Checkpoints(tmp_path, Every(seconds=1e9))
    for chunks in (1, 2, 100):
        asked = iter(range(chunks))
        with contextlib.suppress(InterruptedRunError):
            pieces = fit(
                make(),
                X,
                validation=X[:20],
                start=checkpoints.newest(make(), SPEC),
                checkpoints=checkpoints,
                interrupted=lambda asked=asked: next(asked, None) is None,
            )
    assert pieces.resumed_from_step > 0
    assert_same_bits(pieces.weights, whole.weights)
    assert (pieces.epoch, pieces.history) == (whole.epoch, whole.history)


def test_a_member_of_a_sweep_has_the_statistics_of_its_run_alone():
    # Of seeds whose backbone has no unit that is active for all rows: its bias would have no
    # gradient but rounding.
    methods = [make(seed=3, learning_rate=1e-3), make(seed=3, redundancy_weight=0.1)]
    for method, member in zip(methods, sweep(methods, X).members, strict=True):
        alone = fit(method, X).weights
        for name in STATISTICS:
            np.testing.assert_allclose(member.weights[name], alone[name], rtol=1e-5, atol=1e-6)


@pytest.mark.end_to_end
def test_four_devices_keep_the_statistics_of_one():
    command = [sys.executable, "-W", "error", "-m", "tests.helpers.model_state_on_a_mesh"]
    process = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert process.stdout == "passed\n", process.stderr


def test_a_run_goes_on_from_the_statistics_of_another():
    first = fit(make(), X)
    second = fit(make(epochs=1, learning_rate=1e-30), X, weights=first.weights)
    fresh = fit(make(epochs=1, learning_rate=1e-30), X)
    for name in STATISTICS:
        assert (second.weights[name] != fresh.weights[name]).all()
    with pytest.raises(ValueError, match=r"trains no norm\.deviation of shape \(8,\)$"):
        fit(make(), X, weights={"norm.deviation": np.ones(8, np.float32)})
    with pytest.raises(ValueError, match=r"no norm\.var of shape \(7,\); its shape is"):
        fit(make(), X, weights={"norm.var": np.ones(7, np.float32)})


def test_weights_that_are_not_given_are_drawn():
    first = fit(make(), X)
    given = {name: array for name, array in first.weights.items() if name not in STATISTICS}
    second = fit(make(epochs=1, learning_rate=1e-30), X, weights=given)
    fresh = fit(make(epochs=1, learning_rate=1e-30), X)
    (kernel, *_) = given
    np.testing.assert_allclose(second.weights[kernel], first.weights[kernel], rtol=1e-6)
    some = fit(make(epochs=1, learning_rate=1e-30), X, weights={kernel: given[kernel]})
    np.testing.assert_allclose(some.weights[kernel], given[kernel], rtol=1e-6)
    for name in [name for name in given if name != kernel and not name.startswith("distance.")]:
        np.testing.assert_allclose(some.weights[name], fresh.weights[name], atol=1e-7)


class NormalisedNetwork(SimCLRNetwork):
    """SimCLR's network with batch normalisation before its projection head."""

    def __init__(self, rows, hp, *, rngs):
        super().__init__(rows, hp.hidden_dims, hp.latent_dim, hp.proj_dim, rngs=rngs)
        self.norm = BatchNorm(hp.latent_dim)

    def project(self, batch):
        return self.projection(self.norm(self.embed(batch), batch.weights))


class NormalisedSimCLR(SimCLR):
    def init(self, rows, rngs):
        return NormalisedNetwork(rows, self.hyperparameters, rngs=rngs)


def test_statistics_of_batches_and_a_microbatch_are_refused_together():
    hyperparameters = make_small("simclr", microbatch=5).hyperparameters
    with pytest.raises(ValueError, match=r"microbatch is 5, and the network keeps norm\.mean of"):
        fit(NormalisedSimCLR(hyperparameters), X)


def test_both_views_of_simclr_weigh_as_their_rows():
    """So that padding does not enter batch statistics."""
    seen = []

    class Watched:
        def project(self, batch):
            seen.append(batch.weights)
            return batch.numbers

    method, w = make_small("simclr", noise_std=0.0, drop_rate=0.0), jnp.array([1.0, 0.0, 0.5])
    method.loss(Watched(), Batch(jnp.ones((3, 2)), weights=w), {})
    np.testing.assert_array_equal(seen[0], [1.0, 0.0, 0.5] * 2)


def test_a_network_with_a_generator_of_its_own_is_refused():
    class Random(nnx.Module):
        def __init__(self):
            self.dropout = nnx.Dropout(0.5, rngs=nnx.Rngs(0))

    with pytest.raises(ValueError, match="holds a generator of random numbers, dropout"):
        get_model_state(Random())


def command(folder, *arguments):
    return start(folder, "-m", *arguments, modules=EXTENSION)


USE = ("--use", str(EXTENSION / "barlow_twins.py"))
USE_BOTH = (*USE, "--use", str(EXTENSION / "barlow_twins_torch.py"))
TRAIN = ("jaxrep.cli", "train", "barlow", "breast_cancer", *USE)


@pytest.mark.end_to_end
def test_batch_normalisation_from_outside_is_cross_checked_and_exported(tmp_path):
    finished(command(tmp_path, *TRAIN, "--epochs", "3", "--out", "run"))
    check_and_export(tmp_path, "run", "barlow.pt")


def check_and_export(tmp_path, run, *names):
    assert "passed" in finished(command(tmp_path, "jaxrep.cli", "parity", run, *USE_BOTH))
    for name in names:
        export = ("jaxrep.cli", "export", run, *USE_BOTH, "--out", name)
        finished(command(tmp_path, *export))
        told = finished(command(tmp_path, "torch_ref.verify", name))
        assert "all digests hold and all functions give what JAX gave" in told


@pytest.mark.slow
def test_batch_normalisation_from_outside_passes_every_command(tmp_path):
    """Trained, killed, resumed to the same bits, swept, cross-checked, exported, proven."""
    train = (*TRAIN, "--epochs", "300")
    finished(command(tmp_path, *train, "--out", "whole"))
    killed = command(tmp_path, *train, "--out", "killed", "--checkpoint-every", "5")
    while not list(tmp_path.glob("killed/checkpoints/*/manifest.json")):
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    resumed = command(tmp_path, "jaxrep.cli", "resume", "killed", *USE)
    assert "continuing after step" in resumed.communicate()[1]
    whole, after = (
        safetensors.numpy.load_file(tmp_path / run / "model.safetensors")
        for run in ("whole", "killed")
    )
    assert (whole["norm.mean"] != 0).any()
    assert_same_bits(whole, after)
    grid = ("--grid", "redundancy_weight=0.001,0.01", "--epochs", "3")
    sweep = ("sweep", "barlow", "breast_cancer", *grid, *USE, "--out", "best")
    finished(command(tmp_path, "jaxrep.cli", *sweep))
    check_and_export(tmp_path, "whole", "barlow.pt", "barlow.pt2", "barlow.onnx")
