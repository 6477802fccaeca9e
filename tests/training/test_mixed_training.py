"""Tables of numbers and codes with gaps: every way of training them comes to the same numbers."""

import contextlib
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrep.batch import MISSING, Batch, RowSpec
from jaxrep.errors import InterruptedRunError
from jaxrep.inference import map_rows
from jaxrep.methods import abstract_network, split_members
from jaxrep.networks import get_weights, with_weights
from jaxrep.training import Checkpoints, Every, fit, init_state, program, row_store, sweep
from jaxrep.training.step import steps_per_epoch
from tests.helpers.small import (
    BATCH,
    MIXED,
    MIXED_X,
    ROWS,
    Store,
    compiled_draw,
    compiled_step,
    labelled,
    make,
    mixed,
)

HELD_OUT = mixed(11, seed=1)
# With every view, on rows of which any cell may be missing.
VIEWS = {"views": ("scarf", "swap", "noise", "dropout", "hide"), "noise_std": 0.2, "drop_rate": 0.1}
SETTINGS = {"autoencoder": VIEWS, "vae": {}, "simclr": {"views": ("scarf",)}, "classifier": {}}


def of_method(method, rows=MIXED_X):
    return rows._replace(targets=labelled(method, rows.numbers).targets)


def losses(run):
    return [epoch["loss"] for epoch in run.history]


def assert_same_bits(one, other):
    assert one.history == other.history
    assert one.weights.keys() == other.weights.keys()
    for name, array in one.weights.items():
        assert array.tobytes() == other.weights[name].tobytes(), name


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        # Statistics are inverses of what differs in its last bits.
        allowed = 1e-4 if name.startswith("distance.") else 1e-5
        assert np.abs(found[name] - array).max() <= allowed * max(np.abs(array).max(), 1), name


@pytest.mark.parametrize("name", SETTINGS)
def test_the_compiled_run_takes_the_steps_that_the_functions_define(name):
    method = make(name, seed=7, **SETTINGS[name])
    rows, means = of_method(method), []
    state, steps = init_state(method, MIXED, 7), 4 * steps_per_epoch(ROWS, BATCH)
    for i in range(steps):
        drawn = compiled_draw(method, 7, rows, Batch(rows.numbers, rows.codes), i)
        state, metrics = compiled_step(method, state, *drawn, spec=MIXED, steps=steps)
        means.append(float(metrics["loss"]))
    run = fit(method, rows, spec=MIXED)
    for each, expected in state.params.items():
        np.testing.assert_allclose(run.weights[each], expected, rtol=1e-4, atol=1e-5)
    counts = np.array([16, 16, 16, 2])
    of_epochs = [np.average(means[4 * e : 4 * e + 4], weights=counts) for e in range(4)]
    np.testing.assert_allclose(losses(run), of_epochs, rtol=1e-5)
    assert set(run.weights) == set(get_weights(abstract_network(method, MIXED)))
    assert all(np.isfinite(array).all() for array in run.weights.values())


@pytest.mark.parametrize("name", ["autoencoder", "classifier"])
def test_rows_that_are_streamed_train_to_the_bits_of_rows_on_the_device(name):
    method = make(name, **SETTINGS[name])
    rows, store = of_method(method), Store(MIXED_X, MIXED)
    resident = fit(method, rows, validation=of_method(method, HELD_OUT), spec=MIXED)
    streamed = fit(
        method,
        Batch(store, targets=rows.targets),
        validation=of_method(method, HELD_OUT),
    )  # the store says what every row holds
    assert_same_bits(streamed, resident)


@pytest.mark.slow
def test_blocks_of_a_stream_hold_numbers_and_codes_of_the_same_rows(monkeypatch):
    monkeypatch.setattr(row_store, "BLOCK_BYTES", 4 * MIXED.columns * BATCH)
    read = []

    class Watched(Store):
        def read_into(self, start, buffer):
            super().read_into(start, buffer)
            read.append((start, buffer.numbers.copy(), buffer.codes.copy()))

    run = fit(make("vae", epochs=2), Watched(MIXED_X, MIXED))
    assert len(run.history) == 2 and len({start for start, _, _ in read}) == 4
    for start, numbers, codes in read:
        np.testing.assert_array_equal(numbers, MIXED_X.numbers[start : start + len(numbers)])
        np.testing.assert_array_equal(codes, MIXED_X.codes[start : start + len(codes)])
    # As with rows on the device, whatever the order: the first epoch's loss is of about the size.
    resident = fit(make("vae", epochs=2), MIXED_X, spec=MIXED)
    np.testing.assert_allclose(losses(run), losses(resident), rtol=0.1)


@pytest.mark.slow
def test_every_member_is_its_lone_run():
    run = fit(make("vae", seed=5, members=2), MIXED_X, validation=HELD_OUT, spec=MIXED)
    for i, own in enumerate(split_members(run.weights, 2)):
        lone = fit(make("vae", seed=5 + i), MIXED_X, validation=HELD_OUT, spec=MIXED)
        assert_close(own, lone.weights)
    z = map_rows(make("vae", seed=5, members=2), "score", run.weights, HELD_OUT, MIXED)
    assert z.shape == (11,) and np.isfinite(z).all()


def test_members_of_a_sweep_over_the_rate_of_other_are_the_runs_alone():
    methods = [make("autoencoder", other_rate=rate) for rate in (0.01, 0.1, 0.5)]
    result = sweep(methods, MIXED_X, validation=HELD_OUT, spec=MIXED)
    assert result.compiles == 1
    for method, member in zip(methods, result.members, strict=True):
        alone = fit(method, MIXED_X, validation=HELD_OUT, spec=MIXED)
        np.testing.assert_allclose(losses(member), losses(alone), rtol=1e-5)
        assert_close(member.weights, alone.weights)
    assert len({losses(member)[0] for member in result.members}) == 3


@pytest.mark.parametrize("streamed", [False, True], ids=["resident", "streamed"])
def test_a_run_in_pieces_ends_with_the_bits_of_one(streamed, monkeypatch, tmp_path):
    monkeypatch.setattr(program, "_MAX_STEPS_PER_CHUNK", 3)
    method = make("autoencoder", **VIEWS)
    x = Store(MIXED_X, MIXED) if streamed else MIXED_X
    whole = fit(method, x, validation=HELD_OUT, spec=MIXED)
    checkpoints = Checkpoints(tmp_path, Every(seconds=1e9))
    for chunks in (1, 2, 100):
        asked = iter(range(chunks))
        with contextlib.suppress(InterruptedRunError):
            pieces = fit(
                method,
                x,
                validation=HELD_OUT,
                spec=MIXED,
                start=checkpoints.newest(method, MIXED),
                checkpoints=checkpoints,
                interrupted=lambda asked=asked: next(asked, None) is None,
            )
    assert pieces.resumed_from_step > 0
    assert_same_bits(pieces, whole)


def test_outputs_of_many_rows_are_those_of_the_network_whatever_comes_with_them():
    method, rows = make("vae"), mixed(5000, seed=3)
    weights = get_weights(method.init(MIXED, nnx.Rngs(0)))
    network = with_weights(abstract_network(method, MIXED), weights)
    some = Batch(rows.numbers[4090:4100], rows.codes[4090:4100])
    for output in ("embed", "reconstruct", "score", "score_by_column"):
        found = map_rows(method, output, weights, rows, MIXED)
        again = map_rows(method, output, weights, some, MIXED)
        expected = getattr(network, output)(jax.tree.map(jnp.asarray, some))
        for a, b, c in zip(*map(jax.tree.leaves, (found, again, expected)), strict=True):
            np.testing.assert_array_equal(a[4090:4100], b)
            assert isinstance(a, np.ndarray) and a.dtype == c.dtype
            np.testing.assert_allclose(b, c, rtol=1e-4, atol=1e-5)
    assert found.shape == (5000, MIXED.columns)
    assert ((found == 0) == np.concatenate([np.isnan(rows.numbers), rows.codes < 0], axis=1)).all()


def spoilt(**cells):
    """The mixed rows with other cells, as (row, column): value by the part that they are in."""
    numbers, codes = MIXED_X.numbers.copy(), MIXED_X.codes.copy()
    for part, (at, value) in cells.items():
        {"numbers": numbers, "codes": codes}[part][at] = value
    return Batch(numbers, codes)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("x", "said"),
    [
        (spoilt(codes=((3, 0), 3)), r"codes of x hold 3 at row 3, code 0; it must be from 0 to 2"),
        (spoilt(codes=((3, 1), -2)), r"codes of x hold -2 at row 3, code 1; .* from -1 to 4"),
        (spoilt(codes=((3, 0), MISSING)), r"hold -1 at row 3, code 0; it must be from 0 to 2"),
        (spoilt(numbers=((4, 0), np.nan)), r"x holds nan at row 4, column 0"),
        (spoilt(numbers=((4, 1), np.inf)), r"x holds inf at row 4, column 1"),
        (MIXED_X._replace(codes=MIXED_X.codes.astype(np.int64)), "have dtype int64; they must be"),
        (MIXED_X._replace(codes=MIXED_X.codes[:, :2]), r"have the shape \(50, 2\), not \(50, 3\)"),
        (MIXED_X._replace(codes=None), r"codes of x have the shape None, not \(50, 3\)"),
        (Store(MIXED_X, MIXED._replace(levels=(3, 5))), "has 4 numbers and 2 codes; spec says 4"),
    ],
)
def test_rows_that_are_not_what_their_spec_says_are_refused(x, said):
    with pytest.raises(ValueError, match=said):
        fit(make("vae"), x, spec=MIXED)


@pytest.mark.quick
def test_codes_without_a_spec_are_refused():
    with pytest.raises(ValueError, match="rows with codes need spec, which says how many values"):
        fit(make("vae"), MIXED_X)
    numbers = RowSpec(4, gaps=MIXED.number_gaps)
    for codes in (MIXED_X.codes, MIXED_X.codes[:, :0]):
        with pytest.raises(ValueError, match="x has codes, and spec says that there are none"):
            fit(make("vae"), MIXED_X._replace(codes=codes), spec=numbers)


@pytest.mark.end_to_end
def test_two_devices_train_mixed_rows_as_one_does():
    command = [sys.executable, "-W", "error", "-m", "tests.helpers.mixed_rows_on_a_mesh"]
    root = Path(__file__).parents[2]
    process = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert process.stdout == "passed\n", process.stderr
