"""Sweeps: each member is the run that it would be alone, in one program, whatever the others do."""

import itertools
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxrep.hyperparameters import BY_METHOD
from jaxrep.methods import METHODS
from jaxrep.training import fit, members, program, sweep
from tests.helpers.compilations import count_compilations

ROWS, FEATURES = 50, 5
X = np.random.default_rng(0).normal(size=(ROWS, FEATURES)).astype(np.float32)
HELD_OUT = np.random.default_rng(1).normal(size=(11, FEATURES)).astype(np.float32)
SMALL = {"hidden_dims": (6,), "latent_dim": 3, "batch_size": 16, "epochs": 4}
# Numbers that are 0 in some members only, and seeds that differ.
GRIDS = {
    "autoencoder": [
        {"noise_std": 0.0, "drop_rate": 0.0},
        {"noise_std": 0.3, "drop_rate": 0.0, "seed": 5},
        {"noise_std": 0.3, "drop_rate": 0.2, "learning_rate": 1e-2},
    ],
    "vae": [{"beta": 0.0}, {"beta": 4.0, "seed": 5}, {"beta": 4.0, "weight_decay": 0.1}],
    "simclr": [
        {"temperature": 0.5},
        {"temperature": 0.01, "seed": 5},
        {"drop_rate": 0.0, "noise_std": 0.0, "weight_decay": 0.0},
    ],
}


def make(name, **hyperparameters):
    return METHODS[name](BY_METHOD[name](**SMALL | hyperparameters))


def make_all(name):
    return [make(name, **settings) for settings in GRIDS[name]]


def assert_equal(member, alone, largest=1.0):
    """The same weights and history, up to the rounding of sums in another order.

    `largest` is the size of what the loss is the difference of: for NT-Xent similarities over τ.
    """
    assert not member.diverged
    assert member.weights.keys() == alone.weights.keys()
    for key, array in alone.weights.items():
        scale = np.abs(array).max()
        # Statistics are means and inverses over weights that differ in their last bits.
        allowed = 1e-4 if key.startswith("h_") else 1e-6
        assert np.abs(member.weights[key] - array).max() <= allowed * max(scale, 1), key
    assert [epoch.keys() for epoch in member.history] == [epoch.keys() for epoch in alone.history]
    for one, other in zip(member.history, alone.history, strict=True):
        found, expected = list(one.values()), list(other.values())
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * largest)


def largest(method):
    return 1 / getattr(method.hyperparameters, "temperature", 1.0)


@pytest.mark.parametrize("name", list(METHODS))
def test_every_member_is_the_run_that_it_is_alone(name):
    result = sweep(make_all(name), X, validation=HELD_OUT)
    for method, member in zip(make_all(name), result.members, strict=True):
        assert_equal(member, fit(method, X, validation=HELD_OUT), largest(method))


def test_members_that_differ_in_numbers_alone_take_one_program():
    methods = [make("autoencoder", learning_rate=1e-3 * i, seed=i) for i in range(1, 6)]
    methods += make_all("autoencoder")
    with jax.log_compiles(), count_compilations() as compiled:
        result = sweep(methods, X[:40], validation=HELD_OUT)
    assert result.compiles == 1
    assert sum("jit(run_members)" in program for program in compiled) == 1
    assert sum("jit(validation_losses)" in program for program in compiled) == 1
    with jax.log_compiles(), count_compilations() as compiled:
        sweep(methods[::-1], X[:40] + 1, validation=HELD_OUT)
    assert compiled == []


def test_every_shape_takes_a_program_and_members_keep_their_places():
    settings = [
        {"latent_dim": 2},
        {"seed": 1},
        {"latent_dim": 2, "seed": 2},
        {"batch_size": 7},
        {"epochs": 2},
        {"optimizer": "adamw"},
    ]
    methods = [make("vae", **s) for s in settings]
    with jax.log_compiles(), count_compilations() as compiled:
        result = sweep(methods, X)
    # Two epochs or four of one member are the same program.
    assert result.compiles == sum("jit(run_members)" in program for program in compiled) == 4
    for method, member in zip(methods, result.members, strict=True):
        assert_equal(member, fit(method, X))


@pytest.mark.parametrize("at_once", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_how_members_are_cut_into_parts_changes_nothing(monkeypatch, at_once):
    monkeypatch.setattr(members, "_bytes_of_a_member", lambda *shapes: 1)
    monkeypatch.setattr(members, "_CPU_BYTES", at_once)
    widths = (at_once + 6,)  # that no other test has compiled
    methods = [make("vae", hidden_dims=widths, beta=float(i % 2), seed=i) for i in range(4)]
    with jax.log_compiles(), count_compilations() as compiled:
        result = sweep(methods, X)
    assert result.compiles == sum("jit(run_members)" in program for program in compiled) == 1
    for method, member in zip(methods, result.members, strict=True):
        assert_equal(member, fit(method, X))


def test_parts_are_as_large_as_the_budget_allows_with_few_copies(monkeypatch):
    monkeypatch.setattr(members, "_bytes_of_a_member", lambda *shapes: members._CPU_BYTES // 10)

    def at_once(count, devices=1):
        return members.members_at_once(count, None, 5, 16, jax.devices() * devices)

    assert [at_once(n) for n in (1, 7, 10, 11, 16, 18, 64, 1000)] == [1, 7, 10, 6, 8, 9, 8, 10]
    assert [at_once(n, devices=4) for n in (1, 7, 40, 41, 1000)] == [4, 8, 40, 24, 40]


def test_wide_models_train_one_at_a_time_and_small_ones_by_the_dozen():
    def at_once(width, batch_size):
        state = program.empty_state(make("vae", hidden_dims=(width,)), 32)
        return members.members_at_once(1000, state, 32, batch_size, jax.devices())

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
        program.empty_state(make("vae"), FEATURES),
    )
    mesh, seeds = members.mesh_of(jax.devices()[:1]), np.zeros(2, np.uint32)
    options = {"batch_size": 16, "chunk": 4, "mesh": mesh}
    new, _ = members.run_members(stacked, seeds, state, jax.numpy.asarray(X), 0, 4, **options)
    assert all(array.is_deleted() for array in jax.tree.leaves(state))
    assert not any(array.is_deleted() for array in jax.tree.leaves(new))


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(ValueError, match="there are no methods"):
        sweep([], X)
    with pytest.raises(ValueError, match="beta is -1"):
        sweep([make("vae"), make("vae", beta=-1.0)], X)
    with pytest.raises(ValueError, match="x has dtype int64"):
        sweep([make("vae")], np.ones((4, 5), np.int64))
    with pytest.raises(ValueError, match="validation has 3 features, x 5"):
        sweep([make("vae")], X, validation=X[:, :3])


def test_members_are_shared_out_over_the_devices():
    script = """
        import jax
        jax.config.update("jax_num_cpu_devices", 2)
        import numpy as np
        from tests.training.test_sweep import X, HELD_OUT, assert_equal, fit, make, make_all
        from tests.training.test_sweep import largest, members, program, sweep

        placed, run = [], members.run_members
        def watch(*arguments, **options):
            placed.append(arguments[1].sharding)
            return run(*arguments, **options)
        members.run_members = watch
        methods = make_all("simclr")
        result = sweep(methods, X, validation=HELD_OUT)
        assert result.compiles == 1
        assert all(len(sharding.device_set) == 2 for sharding in placed), placed
        text = run.lower(
            members.stack([*methods, methods[0]]), np.zeros(4, np.uint32),
            jax.tree.map(
                lambda a: np.zeros((4, *a.shape), a.dtype), program.empty_state(methods[0], 5)
            ),
            X, 0, 4, batch_size=16, chunk=4, mesh=members.mesh_of(jax.devices()),
        ).as_text()
        assert "all-reduce" not in text and "all_reduce" not in text and "all_gather" not in text
        for method, member in zip(methods, result.members, strict=True):
            assert_equal(member, fit(method, X, validation=HELD_OUT), largest(method))
        assert jax.config.jax_use_shardy_partitioner
        print("passed")
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script)]
    process = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert process.stdout == "passed\n", process.stderr
