"""The best epoch's weights are served, and patience ends a training: exactly, however it is cut."""

import numpy as np
import pytest

from jaxrep.batch import Batch
from jaxrep.errors import DivergedError, InputError, InterruptedRunError
from jaxrep.training import Checkpoints, Devices, Every, fit, program, sweep
from jaxrep.training.epoch_plan import EpochPlan
from jaxrep.training.history import History
from jaxrep.training.loop import Loop
from jaxrep.training.row_store import place
from tests.helpers.small import BATCH, FEATURES, SPEC, X, make

HELD_OUT = np.random.default_rng(1).normal(size=(11, FEATURES)).astype(np.float32)
RATE = 0.3  # at which the validation loss goes up and down


def stopping(**settings):
    return make(
        **{"learning_rate": RATE, "epochs": 40, "patience": 3, "schedule": "constant"} | settings
    )


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.tobytes() == other[name].tobytes(), name


def losses(run):
    return [epoch["validation_loss"] for epoch in run.history]


def first_to_run_out(values, patience):
    """The epochs of the lowest loss and of the end, by the definition."""
    for epoch in range(1, len(values) + 1):
        best = int(np.argmin(values[:epoch])) + 1
        if epoch - best >= patience:
            return best, epoch
    return int(np.argmin(values)) + 1, len(values)


@pytest.fixture
def short_chunks(monkeypatch):
    """Chunks of one step or a few: many are under way when the host hears of a loss."""
    monkeypatch.setattr(program, "_MAX_STEPS_PER_CHUNK", 2)


@pytest.mark.parametrize("chunks", ["short", "long"])
def test_training_ends_when_patience_does_and_serves_the_best_epoch(chunks, request):
    if chunks == "short":
        request.getfixturevalue("short_chunks")
    run = fit(stopping(), X, validation=HELD_OUT)
    whole = losses(fit(stopping(patience=0), X, validation=HELD_OUT))
    best, end = first_to_run_out(whole, 3)
    assert best < end < 40
    assert (run.epoch, len(run.history), run.stopped_early) == (best, end, True)
    assert losses(run) == whole[:end]
    assert_same_bits(run.weights, fit(stopping(epochs=best, patience=0), X).weights)
    assert_same_bits(run.last_weights, fit(stopping(epochs=end, patience=0), X).weights)


def test_without_patience_the_best_epoch_is_served_all_the_same():
    run = fit(stopping(patience=0, epochs=12, seed=1), X, validation=HELD_OUT)
    assert run.epoch == int(np.argmin(losses(run))) + 1 < 12
    assert len(run.history) == 12 and not run.stopped_early
    assert_same_bits(run.weights, fit(stopping(patience=0, epochs=run.epoch, seed=1), X).weights)
    rising = fit(make(), X, validation=HELD_OUT)
    assert rising.epoch == 4 and rising.last_weights is None


def test_patience_needs_rows_held_out():
    with pytest.raises(ValueError, match="patience needs rows held out"):
        fit(stopping(), X)


@pytest.mark.parametrize("cuts", [(1, 2, 4, 1, 3, 100), (3, 100), (1,) * 30 + (100,)])
def test_a_run_in_pieces_stops_where_one_does(cuts, short_chunks, tmp_path):
    whole = fit(stopping(), X, validation=HELD_OUT)
    checkpoints = Checkpoints(tmp_path, Every(seconds=1e9))
    for chunks in cuts:
        asked = iter(range(chunks))
        try:
            pieces = fit(
                stopping(),
                X,
                validation=HELD_OUT,
                start=checkpoints.newest(stopping(), SPEC),
                checkpoints=checkpoints,
                interrupted=lambda asked=asked: next(asked, None) is None,
            )
            break
        except InterruptedRunError:
            pass
    assert pieces.resumed_from_step > 0
    assert (pieces.history, pieces.epoch) == (whole.history, whole.epoch)
    assert_same_bits(pieces.weights, whole.weights)
    assert_same_bits(pieces.last_weights, whole.last_weights)
    # What it stopped with is saved: it goes on from nowhere else, and takes no step.
    again = fit(stopping(), X, validation=HELD_OUT, start=checkpoints.newest(stopping(), SPEC))
    assert again.resumed_from_step == 4 * len(whole.history)
    assert (again.history, again.stopped_early) == (whole.history, True)
    assert_same_bits(again.weights, whole.weights)
    assert_same_bits(again.last_weights, whole.last_weights)


def test_a_member_of_a_sweep_stops_where_its_lone_run_does():
    settings = [{"seed": 1}, {"learning_rate": 1e-4}, {"seed": 7, "patience": 5}, {"patience": 0}]
    methods = [stopping(**s) for s in settings]
    result = sweep(methods, X, validation=HELD_OUT)
    ends = set()
    for method, member in zip(methods, result.members, strict=True):
        alone = fit(method, X, validation=HELD_OUT)
        assert (member.epoch, member.stopped_early) == (alone.epoch, alone.stopped_early)
        np.testing.assert_allclose(losses(member), losses(alone), rtol=1e-5)
        for mine, other in (
            (member.weights, alone.weights),
            (member.last_weights or member.weights, alone.last_weights or alone.weights),
        ):
            # At this learning rate the last bits, in which mapped programs differ, grow.
            for name, array in other.items():
                np.testing.assert_allclose(mine[name], array, rtol=1e-4, atol=1e-6, err_msg=name)
        ends.add(len(member.history))
    assert len(ends) >= 3
    rows = sum(len(X) * len(member.history) for member in result.members)
    assert result.rows_per_second == pytest.approx(rows / result.seconds)


def test_members_with_checkpoints_end_with_the_bits_of_those_left_alone(short_chunks, tmp_path):
    methods = [stopping(seed=seed) for seed in range(3)]
    rows = place(Batch(X), Batch(HELD_OUT), BATCH, Devices())
    whole = Loop(methods, *rows, SPEC, Devices())
    whole.train()
    checkpoints = Checkpoints(tmp_path, Every(seconds=1e9))
    stopped_before = 0
    for chunks in (2, 30, 40, 10, 1000):
        start = checkpoints.newest(methods[0], SPEC, members=3)
        stopped_before += start is not None and start.last is not None
        asked = iter(range(chunks))
        pieces = Loop(methods, *rows, SPEC, Devices(), start=start, checkpoints=checkpoints)
        try:
            pieces.train(interrupted=lambda asked=asked: next(asked, None) is None)
            break
        except InterruptedRunError:
            pass
    assert stopped_before, "no checkpoint was saved between one member's end and the last one's"
    for mine, other in zip(pieces.results(), whole.results(), strict=True):
        assert (mine.history, mine.epoch) == (other.history, other.epoch)
        assert mine.stopped_early
        assert_same_bits(mine.weights, other.weights)
        assert_same_bits(mine.last_weights, other.last_weights)


@pytest.mark.parametrize("patience", [2, 3, 4, 5])
def test_no_checkpoint_is_of_steps_after_the_end(patience, tmp_path):
    checkpoints, saved = Checkpoints(tmp_path, Every(epochs=2)), []
    save = checkpoints.save
    checkpoints.save = lambda snapshot: [saved.append(snapshot.step), save(snapshot)]
    run = fit(stopping(patience=patience), X, validation=HELD_OUT, checkpoints=checkpoints)
    assert run.stopped_early
    assert saved[:-1] == list(range(8, saved[-1], 8))  # 4 steps an epoch
    assert saved[-1] == 4 * len(run.history)


def test_a_snapshot_of_more_patience_is_refused_where_less_had_stopped(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    fit(stopping(), X, validation=HELD_OUT, checkpoints=checkpoints)
    less = stopping(patience=1)
    with pytest.raises(InputError, match="is of a run with more patience"):
        fit(less, X, validation=HELD_OUT, start=checkpoints.newest(less, SPEC))


def test_weights_that_the_last_step_has_made_infinite_are_a_divergence(tmp_path):
    """No loss shows them any more: the step before it was good, and is kept."""
    wild = {"optimizer": "adamw", "learning_rate": 1e20, "weight_decay": 1e20}
    one_step = {"epochs": 1, "batch_size": 50} | wild
    with pytest.raises(DivergedError, match="state is no longer finite, after step 1") as raised:
        fit(make(**one_step), X)
    assert raised.value.rows == list(range(50))
    with pytest.raises(DivergedError, match="weights are no longer finite, at the end of epoch 1"):
        fit(make(**one_step), X, validation=HELD_OUT)
    tame = {"learning_rate": 1e-3, "weight_decay": 1e-3}
    good = make(**one_step | tame | {"epochs": 3})
    checkpoints = Checkpoints(tmp_path, Every(epochs=1))
    fit(good, X, validation=HELD_OUT, checkpoints=checkpoints)
    longer = make(**one_step | {"epochs": 4})
    start = checkpoints.newest(good, SPEC)
    with pytest.raises(DivergedError, match="the state after 3 steps, the last good one, is kept"):
        fit(longer, X, validation=HELD_OUT, start=start, checkpoints=checkpoints)
    assert checkpoints.newest(good, SPEC).step == 3
    result = sweep([make(**one_step), make(**one_step | tame)], X)
    assert [member.diverged for member in result.members] == [True, False]


def test_a_run_that_ends_before_its_time_says_what_it_has_come_to(tmp_path):
    checkpoints = Checkpoints(tmp_path, Every(seconds=1e9))
    part = fit(make(), X, until=6, checkpoints=checkpoints)  # 4 steps an epoch
    assert [epoch["epoch"] for epoch in part.history] == [1, 2]
    whole = fit(make(), X)
    assert part.history[0] == whole.history[0]
    assert part.history[1] != whole.history[1]  # of half its rows
    start = checkpoints.newest(make(), SPEC)
    assert start.step == 6 and len(start.histories[0]) == 1
    now = fit(make(), X, start=start, until=6)
    assert now.history == part.history and now.compile_seconds == 0
    assert_same_bits(now.weights, part.weights)
    assert_same_bits(fit(make(), X, start=start).weights, whole.weights)


def test_a_tie_is_no_improvement():
    history = History(EpochPlan(rows=2, batch_size=2, epochs=9), patience=2)
    for loss in (2.0, 1.0, 1.0, 1.0, 0.5):
        history.add(1, {"loss": np.array([loss])}, np.float32(loss))
    assert (history.best_epoch, history.stopped_epoch, len(history.epochs)) == (2, 4, 4)
