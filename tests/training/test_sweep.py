"""Sweeps: each member is the run that it would be alone, in one program, whatever the others do."""

import itertools
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxrep.batch import Batch, RowSpec
from jaxrep.training import Devices, fit, init_state, members, sweep
from tests.helpers.compilations import count_compilations
from tests.helpers.small import FEATURES, ROWS, SPEC, X, labelled, make, one_of_all
from tests.helpers.sweeps import HELD_OUT, assert_equal, largest, make_all


@pytest.mark.parametrize("name", one_of_all("vae"))
def test_every_member_is_the_run_that_it_is_alone(name):
    rows, held_out = labelled(make(name)), labelled(make(name), HELD_OUT)
    result = sweep(make_all(name), rows, validation=held_out)
    for method, member in zip(make_all(name), result.members, strict=True):
        assert_equal(member, fit(method, rows, validation=held_out), largest(method))


def test_members_with_a_schedule_are_clipped_or_not_as_they_are_alone():
    settings = {"schedule": "warmup_cosine", "learning_rate": 1e-2}
    methods = [
        make("vae", clip_norm=0.0, warmup_fraction=0.1, **settings),
        make("vae", clip_norm=0.5, warmup_fraction=0.6, **settings),
    ]
    result = sweep(methods, X)
    assert result.compiles == 1
    for method, member in zip(methods, result.members, strict=True):
        assert_equal(member, fit(method, X))


def test_members_that_differ_in_numbers_alone_take_one_program():
    methods = [make("autoencoder", learning_rate=1e-3 * i, seed=i) for i in range(1, 6)]
    methods += make_all("autoencoder")
    with jax.log_compiles(), count_compilations() as compiled:
        result = sweep(methods, X[:40], validation=HELD_OUT)
    assert result.compiles == 1
    assert sum("jit(run_members)" in program for program in compiled) == 1
    assert sum("jit(validate_members)" in program for program in compiled) == 1
    with jax.log_compiles(), count_compilations() as compiled:
        sweep(methods[::-1], X[:40] + 1, validation=HELD_OUT)
    assert compiled == []


@pytest.mark.end_to_end
def test_every_shape_takes_a_program_and_members_keep_their_places():
    settings = [
        {"latent_dim": 2},
        {"seed": 1},
        {"latent_dim": 2, "seed": 2},
        {"epochs": 2},
        {"optimizer": "adamw"},
    ]
    methods = [make("vae", **s) for s in settings]
    with jax.log_compiles(), count_compilations() as compiled:
        result = sweep(methods, X)
    # Two epochs or four of one member are the same program.
    assert result.compiles == sum("jit(run_members)" in program for program in compiled) == 3
    for method, member in zip(methods, result.members, strict=True):
        assert_equal(member, fit(method, X))


@pytest.mark.slow  # each takes a program that no other test has
@pytest.mark.parametrize("at_once", [1, 3])
def test_how_members_are_cut_into_parts_changes_nothing(monkeypatch, at_once):
    monkeypatch.setattr(members, "_bytes_of_a_member", lambda *shapes: 1)
    monkeypatch.setattr(members, "_CPU_BYTES", at_once)
    widths = (at_once + 6,)  # that no other test has compiled
    methods = [make("vae", hidden_dims=widths, beta=float(i % 2), seed=i) for i in range(4)]
    with jax.log_compiles(), count_compilations() as compiled:
        result = sweep(methods, X)
    expected = 2 if at_once == 1 else 1  # alone, members with beta 0 leave its term out
    assert result.compiles == sum("jit(run_members)" in program for program in compiled) == expected
    for method, member in zip(methods, result.members, strict=True):
        assert_equal(member, fit(method, X))


def test_parts_are_as_large_as_the_budget_allows_with_few_copies(monkeypatch):
    monkeypatch.setattr(members, "_bytes_of_a_member", lambda *shapes: members._CPU_BYTES // 10)

    def at_once(count, devices=1):
        return members.members_at_once(count, None, SPEC, 16, jax.devices() * devices)

    assert [at_once(n) for n in (1, 7, 10, 11, 16, 18, 64, 1000)] == [1, 7, 10, 6, 8, 9, 8, 10]
    assert [at_once(n, devices=4) for n in (1, 7, 40, 41, 1000)] == [4, 8, 40, 24, 40]


def test_wide_models_train_one_at_a_time_and_small_ones_by_the_dozen():
    def at_once(width, batch_size):
        rows = RowSpec(32)
        state = init_state(make("vae", hidden_dims=(width,)), rows, 0)
        return members.members_at_once(1000, state, rows, batch_size, jax.devices())

    assert at_once(16, 16) > 12
    assert 2 <= at_once(64, 128) <= 6
    assert at_once(4096, 128) == at_once(64, 4096) == 1


def test_a_member_that_diverges_is_marked_and_changes_no_other():
    rates = [1e-3, 1e38, 1e-2]
    methods = [make("vae", learning_rate=rate) for rate in rates]
    result = sweep(methods, X, validation=HELD_OUT)
    assert [member.diverged for member in result.members] == [False, True, False]
    assert len(result.members[1].history) < 4
    for i in (0, 2):
        assert_equal(result.members[i], fit(methods[i], X, validation=HELD_OUT))


def test_a_validation_loss_that_is_not_finite_is_a_divergence():
    far = np.full((2, FEATURES), 1e30, np.float32)
    result = sweep([make("autoencoder")], X, validation=far)
    assert result.members[0].diverged


def test_progress_reaches_the_end_and_the_figures_add_up():
    seen = []
    methods = [make("vae", seed=i) for i in range(3)] + [make("vae", epochs=2)]
    result = sweep(methods, X, on_progress=seen.append)
    assert seen[-1].step == seen[-1].steps == 4 * (4 + 2)
    assert all(a.step < b.step for a, b in itertools.pairwise(seen))
    assert np.isfinite([progress.loss for progress in seen]).all()
    assert result.rows_per_second == pytest.approx(ROWS * (3 * 4 + 2) / result.seconds)
    assert result.compile_seconds > 0


def test_states_are_given_back_to_the_device():
    stacked = members.stack([make("vae"), make("vae", seed=1)])
    state = jax.tree.map(
        lambda a: jax.numpy.zeros((2, *a.shape), a.dtype),
        init_state(make("vae"), SPEC, 0),
    )
    x, seeds = Batch(jax.numpy.asarray(X)), np.zeros(2, np.uint32)
    options = {"spec": SPEC, "batch_size": 16, "chunk": 4, "devices": Devices()}
    new, _ = members.run_members(stacked, seeds, state, x, x, 0, 4, **options)
    assert all(array.is_deleted() for array in jax.tree.leaves(state))
    assert not any(array.is_deleted() for array in jax.tree.leaves(new))


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(ValueError, match="there are no methods"):
        sweep([], X)
    with pytest.raises(ValueError, match="beta is -1"):
        sweep([make("vae"), make("vae", beta=-1.0)], X)
    with pytest.raises(ValueError, match="x has dtype int64"):
        sweep([make("vae")], np.ones((4, 5), np.int64))
    with pytest.raises(ValueError, match="validation has 3 numbers a row; spec says 5"):
        sweep([make("vae")], X, validation=X[:, :3])


@pytest.mark.end_to_end
def test_members_are_shared_out_over_the_devices():
    command = [sys.executable, "-W", "error", "-m", "tests.helpers.sweep_on_two_devices"]
    process = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert process.stdout == "passed\n", process.stderr
