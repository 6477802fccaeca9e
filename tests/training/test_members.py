"""Several seeds in one run: each member is the run that it would be alone; they serve as one."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxrep.errors import DivergedError, InputError, InterruptedRunError
from jaxrep.inference import map_rows
from jaxrep.methods import abstract_network, split_members
from jaxrep.outputs import OUTPUTS
from jaxrep.training import Checkpoints, Every, fit, program, sweep
from jaxrep.training.loop import Loop
from tests.helpers.heard import Heard
from tests.helpers.small import FEATURES, SPEC, Store, X, labelled, make, one_of_all

SEED, MEMBERS = 5, 3
HELD_OUT = np.random.default_rng(1).normal(size=(11, FEATURES)).astype(np.float32)
# At this step size the members' best epochs differ, and patience ends one after the other.
STOPPING = {"learning_rate": 0.1, "epochs": 12, "patience": 2}
ON_A_MESH = Path(__file__).parents[1] / "helpers" / "training_on_a_mesh.py"


def make_members(name="vae", **settings):
    return make(name, seed=SEED, members=MEMBERS, **settings)


def alone(name="vae", **settings):
    return [make(name, seed=SEED + i, **settings) for i in range(MEMBERS)]


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.tobytes() == other[name].tobytes(), name


def assert_close(weights, of_members):
    for own, lone in zip(split_members(weights, MEMBERS), of_members, strict=True):
        assert own.keys() == lone.keys()
        for name, array in lone.items():
            # Statistics are inverses of what differs in its last bits.
            allowed = 1e-4 if name.startswith("distance.") else 1e-6
            assert np.abs(own[name] - array).max() <= allowed * max(np.abs(array).max(), 1), name


@pytest.mark.parametrize("name", one_of_all("vae"))
def test_every_member_is_its_lone_run_and_keeps_its_best_epoch(name):
    rows, held_out = labelled(make(name)), labelled(make(name), HELD_OUT)
    run = fit(make_members(name, **STOPPING), rows, validation=held_out)
    lone = [fit(method, rows, validation=held_out) for method in alone(name, **STOPPING)]
    assert run.epoch == [member.epoch for member in lone]
    assert run.last_epoch == [len(member.history) for member in lone]
    if name == "vae":
        assert len(set(run.epoch)) > 1 < len(set(run.last_epoch))
        assert run.stopped_early and run.last_weights is not None
    assert_close(run.weights, [member.weights for member in lone])
    last = run.weights if run.last_weights is None else run.last_weights
    assert_close(last, [m.last_weights or m.weights for m in lone])
    assert (run.rows, run.steps) == (sum(m.rows for m in lone), max(m.steps for m in lone))


def test_metrics_are_means_over_the_members_that_still_train():
    heard = []
    callbacks = [Heard(on_epoch=heard.append)]
    run = fit(make_members(**STOPPING), X, validation=HELD_OUT, callbacks=callbacks)
    lone = [fit(method, X, validation=HELD_OUT) for method in alone(**STOPPING)]
    assert heard == run.history
    assert len(run.history) == max(len(member.history) for member in lone)
    for number, epoch in enumerate(run.history):
        there = [m.history[number] for m in lone if number < len(m.history)]
        for name, value in epoch.items():
            assert value == pytest.approx(np.mean([m[name] for m in there]), rel=1e-6), name
    for metrics, epochs in ((run.metrics, run.epoch), (run.last_metrics, run.last_epoch)):
        found = [m.history[epoch - 1]["loss"] for m, epoch in zip(lone, epochs, strict=True)]
        assert metrics["loss"] == pytest.approx(np.mean(found), rel=1e-6)


def standardise(scores):
    scores = scores.astype(np.float64)
    return (scores - scores.mean()) / scores.std()


@pytest.mark.parametrize("name", one_of_all("vae"))
def test_the_score_is_the_mean_and_all_else_is_the_first_members(name):
    method, outputs = make_members(name), make(name).network_type.outputs
    run = fit(method, labelled(method))
    each = split_members(run.weights, MEMBERS)
    for output in outputs:
        given = X if output not in ("decode", "generate") else X[:, :3]
        if output == "generate":
            given = np.resize(X, (len(X), abstract_network(make(name), SPEC).draws))
        found = map_rows(method, output, run.weights, given, SPEC)
        first, *others = (map_rows(make(name), output, own, given, SPEC) for own in each)
        if OUTPUTS[output].gives == ("rows",):
            found, first = found.numbers, first.numbers
        if output == "score":
            standardised = [standardise(np.log(s)) for s in (first, *others)]
            np.testing.assert_allclose(found, np.mean(standardised, axis=0), rtol=2e-4, atol=2e-5)
            assert np.abs(found - standardised[0]).max() > 0.01
        elif output in ("score_by_column", "predict"):
            np.testing.assert_allclose(found, np.mean([first, *others], axis=0), rtol=1e-5)
            assert np.abs(found / first - 1).max() > 0.01
        else:
            np.testing.assert_array_equal(found, first)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_run_in_pieces_ends_with_the_bits_of_one(streamed, monkeypatch, tmp_path):
    monkeypatch.setattr(program, "_MAX_STEPS_PER_CHUNK", 2 * MEMBERS)
    method, x = make_members(**STOPPING), Store(X) if streamed else X
    whole = fit(method, x, validation=HELD_OUT)
    checkpoints = Checkpoints(tmp_path, Every(seconds=1e9))
    resumed = []
    for chunks in (3, 4, 1, 100):
        asked = iter(range(chunks))
        try:
            start = checkpoints.newest(method, SPEC)
            resumed.append(start.step if start else 0)
            pieces = fit(
                method,
                x,
                validation=HELD_OUT,
                start=start,
                checkpoints=checkpoints,
                interrupted=lambda asked=asked: next(asked, None) is None,
            )
            break
        except InterruptedRunError:
            pass
    assert 0 < resumed[-2] < resumed[-1] < pieces.steps
    assert_same_bits(pieces.weights, whole.weights)
    assert_same_bits(pieces.last_weights, whole.last_weights)
    assert (pieces.history, pieces.epoch) == (whole.history, whole.epoch)


def test_a_member_that_has_stopped_may_be_no_number_any_more_while_others_train_on(monkeypatch):
    loops = []
    begin = Loop.restore

    def watch(loop, start):
        loops.append(loop)
        begin(loop, start)

    monkeypatch.setattr(Loop, "restore", watch)
    fit(make_members(**STOPPING), X, validation=HELD_OUT, until=8)
    [loop] = loops
    poisoned = {name: np.array(array) for name, array in loop.state.params.items()}
    poisoned["mu.bias"][1] = np.nan
    loop.state = loop.devices.put_state(loop.state._replace(params=poisoned))
    assert loop._are_finite().tolist() == [True, False, True]
    loop.histories[1].stopped_epoch = 1
    assert loop._are_finite().tolist() == [True, True, True]


def test_a_run_diverges_with_the_member_that_does_so_first(tmp_path):
    settings = {"learning_rate": 10.0, "members": MEMBERS, "seed": 2}  # at the steps 3, 1 and 1
    with pytest.raises(DivergedError, match="of the member with seed 3 holds") as found:
        fit(make("vae", **settings), X, checkpoints=Checkpoints(tmp_path))
    assert found.value.step == 1
    assert "the state after 1 steps, the last good one, is kept" in str(found.value)
    with pytest.raises(DivergedError, match=r"far outside.*\(of the member with seed 0\)"):
        far = np.full((2, FEATURES), 1e30, np.float32)
        fit(make("autoencoder", members=2), X, validation=far)


def test_what_members_cannot_be_is_refused(tmp_path):
    with pytest.raises(ValueError, match="seed is 4294967296"):
        fit(make("vae", seed=2**32 - 2, members=3), X)
    with pytest.raises(ValueError, match="members is 257"):
        fit(make("vae", members=257), X)
    with pytest.raises(ValueError, match="members is 2; the methods of a sweep have 1 each"):
        sweep([make("vae"), make("vae", members=2)], X)
    checkpoints = Checkpoints(tmp_path)
    fit(make("autoencoder", epochs=1), X, checkpoints=checkpoints)
    method = make("autoencoder", members=2)
    with pytest.raises(InputError, match="1 members, is not of this run"):
        fit(method, X, start=checkpoints.newest(method, SPEC, members=1))


@pytest.mark.end_to_end
def test_four_devices_train_members_as_one_does():
    command = [sys.executable, ON_A_MESH, "4", "vae:3"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    (report,) = json.loads(made.stdout.splitlines()[-1]).values()
    assert report["loss"] <= 1e-6 and report["weights"] <= 1e-6
