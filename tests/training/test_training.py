"""The training engine: order, chunks, compilation, histories, and replay in torch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import torch_ref.batch
import torch_ref.training
import torch_ref.weights
from jaxrep import methods
from jaxrep.batch import Batch
from jaxrep.inference import map_rows
from jaxrep.methods import Autoencoder, AutoencoderHyperparameters, abstract_network
from jaxrep.networks import get_weights, with_weights
from jaxrep.training import Checkpoints, Devices, DivergedError, fit, init_state, program, row_store
from jaxrep.training.epoch_plan import EpochPlan
from jaxrep.training.history import EpochMeans
from jaxrep.training.step import RANDOM, steps_per_epoch
from tests.helpers.compilations import count_compilations
from tests.helpers.heard import Heard
from tests.helpers.small import (
    BATCH,
    FEATURES,
    ROWS,
    SMALL,
    SPEC,
    X,
    compiled_draw,
    compiled_step,
    labelled,
    make,
    one_of_all,
)
from tests.helpers.twins import twin_of


def test_every_row_is_seen_exactly_once_an_epoch_in_another_order_each():
    x = jnp.arange(ROWS, dtype=jnp.float32)[:, None]
    orders = []
    for epoch in range(2):
        seen = []
        for step in range(4 * epoch, 4 * epoch + 4):
            batch, _ = compiled_draw(make(), 0, x, x, step)
            seen += batch.numbers[batch.weights > 0][:, 0].tolist()
        assert sorted(seen) == list(range(ROWS))
        orders.append(seen)
    assert orders[0] != orders[1]


def test_order_and_noise_depend_on_the_seed_and_the_step_alone():
    method, x = make("vae"), jnp.asarray(X)
    one, same, other_seed, other_step = (
        compiled_draw(method, seed, x, x, step) for seed, step in ((0, 5), (0, 5), (1, 5), (0, 6))
    )
    assert all(jax.tree.leaves(jax.tree.map(jnp.array_equal, one, same)))
    next_epoch = compiled_draw(method, 0, x, x, 5 + steps_per_epoch(ROWS, BATCH))
    for other in (other_seed, other_step, next_epoch):
        assert not jnp.array_equal(one[0].numbers, other[0].numbers)
        assert not jnp.array_equal(one[1]["eps"], other[1]["eps"])


@pytest.mark.parametrize("name", methods.names())
def test_the_compiled_run_takes_the_steps_that_the_functions_define(name):
    method = make(name, seed=7)
    state = init_state(method, SPEC, 7)
    rows, losses, steps = labelled(method), [], 4 * steps_per_epoch(ROWS, BATCH)
    for i in range(steps):
        drawn = compiled_draw(method, 7, rows, rows.numbers, i)
        state, metrics = compiled_step(method, state, *drawn, steps=steps)
        losses.append(float(metrics["loss"]))
    run = fit(method, rows)
    for key, expected in state.params.items():
        np.testing.assert_allclose(run.weights[key], expected, rtol=1e-4, atol=1e-5)
    counts = np.array([16, 16, 16, 2])
    means = [np.average(losses[4 * e : 4 * e + 4], weights=counts) for e in range(4)]
    np.testing.assert_allclose([m["loss"] for m in run.history], means, rtol=1e-5)


def test_how_a_run_is_cut_into_chunks_changes_no_bit(monkeypatch):
    whole = fit(make(), X)
    monkeypatch.setattr(program, "_MAX_STEPS_PER_CHUNK", 3)
    cut = fit(make(), X)
    assert whole.history == cut.history
    assert all((whole.weights[key] == cut.weights[key]).all() for key in whole.weights)


@pytest.mark.parametrize("name", one_of_all("simclr"))
def test_padding_after_the_rows_changes_no_bit(monkeypatch, name):
    method = make(name)
    padded = fit(method, labelled(method))
    monkeypatch.setattr(row_store, "padded_rows", lambda count, row_bytes: count)
    alone = fit(method, labelled(method))
    assert padded.history == alone.history
    for key, array in alone.weights.items():
        np.testing.assert_array_equal(padded.weights[key], array)


def test_a_second_fit_compiles_nothing_whatever_the_number_of_rows():
    fit(make("vae"), X, validation=X[:7])
    with jax.log_compiles(), count_compilations() as compiled:
        fit(
            make("vae", beta=4.0, learning_rate=1e-2, epochs=9, seed=3),
            np.concatenate([X, X])[:77][::-1].copy(),
            validation=X[7:20],
        )
        fit(make("vae", epochs=2), X[:3], validation=X[:1])
    assert compiled == []
    with jax.log_compiles(), count_compilations() as compiled:
        fit(make("vae", latent_dim=2), X)
    assert compiled, "the count sees no compilation at all"


def test_two_runs_are_equal_bit_by_bit_and_another_seed_is_not():
    one, same, other = fit(make(), X), fit(make(), X), fit(make(seed=1), X)
    assert one.history == same.history != other.history
    for key, array in one.weights.items():
        assert (array == same.weights[key]).all()
        assert not (array == other.weights[key]).all()


def test_keys_are_long_enough_for_long_runs():
    # With keys of 32 bits, steps of a run of 200,000 would share their noise.
    assert jax.random.key_data(jax.random.key(0, impl=RANDOM)).size >= 2


def test_the_initial_weights_depend_on_the_seed():
    one, other = (init_state(make(), SPEC, seed).params for seed in (0, 1))
    assert not any(jnp.array_equal(one[key], other[key]) for key in one)


def test_fewer_rows_than_a_batch_train():
    run = fit(make(batch_size=512), X[:3])
    assert len(run.history) == 4
    assert run.history[-1]["loss"] < run.history[0]["loss"]


def test_validation_loss_is_that_of_the_rows_held_out():
    held_out = X[:23]
    run = fit(make(), X, validation=held_out)
    method = make()
    scores = map_rows(method, "score", run.weights, held_out, SPEC)
    assert run.history[-1]["validation_loss"] == pytest.approx(float(scores.mean()), rel=1e-5)
    without = fit(make(), X)
    assert [m["loss"] for m in without.history] == [m["loss"] for m in run.history]
    assert "validation_loss" not in without.history[0]


def test_validation_batches_have_noise_of_their_own():
    # One row twice: with the same noise in both batches their losses would be equal.
    method = make("vae", batch_size=1)
    params = init_state(method, SPEC, 0).params
    shape = {"spec": SPEC, "batch_size": 1, "devices": Devices()}
    losses = [
        float(program.validation_loss(method, 0, params, jnp.asarray(rows), **shape))
        for rows in (X[:1], np.repeat(X[:1], 2, axis=0))
    ]
    assert losses[0] != losses[1]


def test_a_validation_loss_that_is_not_finite_stops_the_run():
    with pytest.raises(DivergedError, match="validation loss is not finite at epoch 1"):
        fit(make(), X, validation=np.full((2, FEATURES), 1e30, np.float32))


def test_simclr_scores_of_the_training_rows_average_one():
    method = make("simclr")
    run = fit(method, X)
    h = map_rows(method, "embed", run.weights, X, SPEC)
    np.testing.assert_allclose(run.weights["distance.mean"], h.mean(axis=0), rtol=1e-5, atol=1e-6)


def test_many_rows_are_mapped_each_to_its_own_result():
    method = make()
    weights = get_weights(method.init(SPEC, nnx.Rngs(0)))
    rows = np.random.default_rng(1).normal(size=(2500, FEATURES)).astype(np.float32)
    direct = with_weights(abstract_network(method, SPEC), weights).embed(Batch(rows))
    found = map_rows(method, "embed", weights, rows, SPEC)
    np.testing.assert_allclose(found, direct, rtol=1e-5, atol=1e-6)


def test_progress_reaches_the_end_and_epochs_come_in_order():
    steps, epochs = [], []
    heard = Heard(on_progress=steps.append, on_epoch=lambda m: epochs.append(m["epoch"]))
    fit(make(), X, callbacks=[heard])
    assert steps[-1].step == steps[-1].steps == 16
    assert epochs == [1, 2, 3, 4]


def test_a_diverging_run_stops_and_names_epoch_and_step():
    with pytest.raises(DivergedError, match="at epoch 1, step 1 of 4"):
        fit(make(), np.full_like(X, 1e30))


@pytest.mark.parametrize("shape", [(5,), (0, 3), (3, 0)])
def test_fit_refuses_what_is_no_matrix(shape):
    with pytest.raises(ValueError, match="needs a matrix"):
        fit(make(), np.zeros(shape, np.float32))


@pytest.mark.parametrize("name", ["x", "validation"])
def test_fit_refuses_whole_numbers_and_missing_values_and_says_where(name):
    rows = {"x": X, "validation": X}
    with pytest.raises(ValueError, match=f"^{name} has dtype int64"):
        fit(make(), **rows | {name: np.ones((4, 5), np.int64)})
    with pytest.raises(ValueError, match="validation has 3 numbers a row; spec says 5"):
        fit(make(), X, validation=X[:, :3])
    with_nan = X.copy()
    with_nan[3, 2] = np.nan
    with pytest.raises(ValueError, match=f"^{name} holds nan at row 3, column 2"):
        fit(make(), **rows | {name: with_nan})


def test_epoch_means_weigh_batches_by_their_rows():
    means = EpochMeans(EpochPlan(rows=10, batch_size=4))
    losses = np.array([1.0, 2.0, 6.0, 0.0, 0.0, 5.0])  # of 4, 4 and 2 rows
    epochs = [*means.add({"loss": losses[:2]}), *means.add({"loss": losses[2:]})]
    assert epochs == [{"epoch": 1, "loss": 2.4}, {"epoch": 2, "loss": 1.0}]


def test_the_state_before_the_first_step_is_the_seed_alone():
    run = fit(make(epochs=1, learning_rate=1e-30), X)
    expected = init_state(make(), SPEC, 0).params
    assert all(jnp.allclose(run.weights[key], expected[key], atol=1e-7) for key in expected)


def test_the_weights_of_a_fit_are_all_that_the_model_has():
    for name in methods.names():
        method = make(name)
        run = fit(method, labelled(method))
        assert set(run.weights) == set(get_weights(abstract_network(method, SPEC)))


@pytest.mark.parametrize("name", methods.names())
def test_torch_replays_a_run_on_its_batches_in_float64(name, x64):
    method, total = make(name), 4 * steps_per_epoch(ROWS, BATCH)
    x = labelled(method, np.asarray(X, "float64"))
    state = jax.tree.map(
        lambda leaf: leaf.astype("float64") if leaf.dtype == jnp.float32 else leaf,
        init_state(method, SPEC, 0),
    )
    twin = twin_of(method)
    network = twin.init(torch_ref.batch.RowSpec(FEATURES), torch.Generator()).double()
    torch_ref.weights.with_weights(network, {k: np.asarray(v) for k, v in state.weights.items()})
    steps, losses = [], []
    for i in range(12):
        batch, noise = compiled_draw(method, 0, x, x.numbers, i)
        tensors = jax.tree.map(_to_torch, batch)
        steps.append((torch_ref.batch.Batch(*tensors), jax.tree.map(_to_torch, noise)))
        state, metrics = compiled_step(method, state, batch, noise, steps=total)
        losses.append(float(metrics["loss"]))
    replayed = [m["loss"] for m in torch_ref.training.replay(twin, network, steps, total)]
    np.testing.assert_allclose(losses, replayed, rtol=1e-12)
    trained = torch_ref.weights.get_weights(network)
    for key, array in state.weights.items():
        np.testing.assert_allclose(array, trained[key], rtol=1e-11, atol=1e-12)


def _to_torch(array: jax.Array) -> torch.Tensor:
    return torch.from_numpy(np.array(array))


def test_a_method_of_ones_own_trains_in_the_same_engine():
    class Median(Autoencoder):
        """Mean absolute error in the place of the squared one."""

        def loss(self, network, batch, noise):
            rows = jnp.abs(batch.numbers - network.reconstruct(batch).numbers).mean(axis=-1)
            return jnp.sum(batch.weights * rows) / jnp.sum(batch.weights), {}

    run = fit(Median(AutoencoderHyperparameters(**SMALL, epochs=4)), X)
    assert run.history[-1]["loss"] < run.history[0]["loss"]


def test_a_run_of_steps_ends_within_an_epoch_and_goes_on_to_the_bits_of_a_longer_one(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    part = fit(make(steps=6), X, validation=X[:7], checkpoints=checkpoints)  # 4 an epoch
    whole = fit(make(), X, validation=X[:7])
    assert (part.steps, part.rows) == (6, 50 + 2 * 16)
    assert part.history[0] == whole.history[0]
    assert part.history[1].keys() == {"epoch", "loss"}  # within an epoch nothing is validated
    assert part.rows_per_second == pytest.approx(part.rows / part.seconds)
    longer = make(steps=16)
    start = checkpoints.newest(longer, SPEC)
    assert start.step == 6
    run = fit(longer, X, validation=X[:7], start=start)
    assert run.history == whole.history and run.steps == 16
    for name, array in whole.weights.items():
        assert array.tobytes() == run.weights[name].tobytes()
