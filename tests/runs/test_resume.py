"""A run that is interrupted ends as if it had not been: to the bit, whatever stopped it."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jaxrep.cli import main
from jaxrep.errors import DivergedError, InputError, InterruptedRunError
from jaxrep.methods import Autoencoder, AutoencoderHyperparameters, names
from jaxrep.runs import folder
from jaxrep.training import Checkpoints, Every, checkpoint, draw_batch, fit, program, row_store
from jaxrep.training.manifest import MANIFEST, seal
from jaxrep.training.snapshot import HISTORY, PROGRESS
from tests.helpers import dying, small
from tests.helpers.heard import Heard
from tests.helpers.interruptions import (
    after,
    bits_of,
    interrupt_after,
    kill_and_resume,
    result_of,
    start,
    wait_until,
)
from tests.helpers.small import FEATURES, FLAGS, SMALL, SPEC, Store, X

EVERY_EPOCH = Every(epochs=1)


def make(name="autoencoder", **settings):
    return small.make(name, **{"epochs": 6} | settings)


def digest_of(weights):
    return {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in weights.items()}


@pytest.fixture
def short_chunks(monkeypatch):
    """Makes chunks 3 steps long, so that some end within an epoch."""
    monkeypatch.setattr(program, "_MAX_STEPS_PER_CHUNK", 3)


# What a run is made of, and what a run in pieces is made of.


@pytest.mark.parametrize(
    ("name", "streamed"),
    [
        ("autoencoder", True),
        ("vae", False),
        pytest.param("simclr", True, marks=pytest.mark.slow),
        pytest.param("autoencoder", False, marks=pytest.mark.slow),
        pytest.param("vae", True, marks=pytest.mark.slow),
        pytest.param("simclr", False, marks=pytest.mark.slow),
    ],
)
def test_a_run_in_pieces_ends_with_the_bits_of_one(
    name, streamed, short_chunks, monkeypatch, tmp_path
):
    monkeypatch.setattr(row_store, "BLOCK_BYTES", dying.BLOCK_BYTES)
    method, x = make(name), Store(X) if streamed else X
    whole = fit(method, x, validation=X[:20])
    checkpoints = Checkpoints(tmp_path, Every(seconds=1e9))
    resumed_from = []
    for chunks in (1, 2, 1, 3, 1, 2, 100):
        try:
            start = checkpoints.newest(method, SPEC)
            resumed_from.append(start.step if start else 0)
            pieces = fit(
                method,
                x,
                validation=X[:20],
                start=start,
                checkpoints=checkpoints,
                interrupted=after(chunks),
            )
        except InterruptedRunError as error:
            assert "continues from there" in str(error)
    assert resumed_from == sorted(set(resumed_from)) and len(resumed_from) == 7
    assert pieces.resumed_from_step == resumed_from[-1]
    assert pieces.history == whole.history
    assert digest_of(pieces.weights) == digest_of(whole.weights)
    assert pieces.epoch == whole.epoch


def test_a_schedule_and_clipping_continue_where_they_were(short_chunks, tmp_path):
    settings = {"schedule": "warmup_cosine", "warmup_fraction": 0.3, "clip_norm": 0.5}
    whole = fit(make(**settings), X)
    checkpoints = Checkpoints(tmp_path, Every(seconds=1e9))
    with pytest.raises(InterruptedRunError):
        fit(make(**settings), X, checkpoints=checkpoints, interrupted=after(2))
    start = checkpoints.newest(make(**settings), SPEC)
    assert 0 < start.step < 24
    assert digest_of(fit(make(**settings), X, start=start).weights) == digest_of(whole.weights)
    assert digest_of(fit(make(), X).weights) != digest_of(whole.weights)


def test_more_epochs_continue_a_finished_run_as_if_asked_for_at_once(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    fit(make("vae", epochs=4), X, checkpoints=checkpoints)
    method = make("vae", epochs=9)
    more = fit(method, X, start=checkpoints.newest(method, SPEC), checkpoints=checkpoints)
    at_once = fit(method, X)
    assert more.resumed_from_step == 4 * 4
    assert more.history == at_once.history and digest_of(more.weights) == digest_of(at_once.weights)


def test_the_best_state_is_that_of_the_least_validation_loss(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    method = make(learning_rate=0.3, epochs=12)  # its validation loss goes up and down
    run = fit(method, X, validation=X[:20], checkpoints=checkpoints)
    losses = [epoch["validation_loss"] for epoch in run.history]
    best = int(np.argmin(losses)) + 1
    assert best < 12
    assert run.epoch == best
    kept = checkpoints.newest(method, SPEC).best
    stopped_there = fit(make(learning_rate=0.3, epochs=best), X)
    assert digest_of(stopped_there.weights) == digest_of(run.weights)
    for name, array in kept.items():
        np.testing.assert_array_equal(array[0], run.weights[name])


def test_a_run_started_from_weights_keeps_them_as_its_beginning():
    trained = fit(make(), X)
    on = fit(make(epochs=1, learning_rate=1e-30), X, weights=trained.weights)
    for name, array in trained.weights.items():
        np.testing.assert_allclose(on.weights[name], array, atol=1e-7)


# Streaming.


def test_every_epoch_sees_every_row_once_whatever_the_blocks(monkeypatch):
    monkeypatch.setattr(row_store, "BLOCK_BYTES", 300)
    seen = []

    class Recording(Autoencoder):
        def loss(self, network, batch, noise):
            import jax

            jax.debug.callback(
                lambda x, w: seen.append(np.asarray(x)[np.asarray(w) > 0, 0]),
                batch.numbers,
                batch.weights,
            )
            return super().loss(network, batch, noise)

    x = X[:48].copy()
    x[:, 0] = np.arange(48)
    settings = AutoencoderHyperparameters(**SMALL | {"epochs": 2, "learning_rate": 1e-9})
    run = fit(Recording(settings), Store(x))
    epochs = np.split(np.concatenate(seen).astype(int), 2)
    assert len(run.history) == 2
    assert all(sorted(epoch) == list(range(48)) for epoch in epochs)
    assert list(epochs[0]) != list(epochs[1])
    first_blocks = [epoch[:16] // 16 for epoch in epochs]
    assert all(len(set(block)) == 1 for block in first_blocks), "a block is read as a whole"


def test_a_store_of_one_block_trains_as_rows_in_memory_do():
    ours, theirs = fit(make("vae"), Store(X)), fit(make("vae"), X)
    # Another program, which takes the rows to borrow from as an argument: the last bits may differ.
    losses = [[epoch["loss"] for epoch in run.history] for run in (ours, theirs)]
    np.testing.assert_allclose(*losses, rtol=1e-6)
    for name, array in theirs.weights.items():
        np.testing.assert_allclose(ours.weights[name], array, rtol=1e-5, atol=1e-6)


def test_an_error_of_the_reading_thread_reaches_the_caller(monkeypatch):
    class Broken(Store):
        def read_into(self, start, buffer):
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        fit(make(), Broken(X))


# Checkpoints that are not what they were.


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoints")
    fit(make(epochs=2), X, validation=X[:20], checkpoints=Checkpoints(path, EVERY_EPOCH))
    return path


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink])
def test_damage_to_any_file_is_noticed_and_the_checkpoint_before_taken(
    damage, two_checkpoints, tmp_path
):
    files = [p for p in (two_checkpoints / "00000008").rglob("*") if p.is_file()]
    assert len(files) > 15
    for file in files if damage is flip else files[::3]:
        path = tmp_path / "copy"
        shutil.copytree(two_checkpoints, path)
        damaged = path / file.relative_to(two_checkpoints)
        if damaged.stat().st_size == 0 and damage is not Path.unlink:
            damaged.write_bytes(b"x")
        else:
            damage(damaged)
        notes = []
        found = Checkpoints(path, note=notes.append).newest(make(epochs=2), SPEC)
        assert found.step == 4, file
        assert len(notes) == 1 and "00000008" in notes[0] and "passed over" in notes[0]
        shutil.rmtree(path)


def test_every_bit_of_a_manifest_counts(two_checkpoints, tmp_path):
    shutil.copytree(two_checkpoints, tmp_path / "copy")
    manifest = tmp_path / "copy" / "00000008" / MANIFEST
    data = manifest.read_bytes()
    step = max(len(data) * 8 // 20, 1)
    for bit in range(0, len(data) * 8, step):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        manifest.write_bytes(changed)
        assert Checkpoints(tmp_path / "copy").newest(make(epochs=2), SPEC).step == 4, bit


def test_a_saving_that_was_cut_off_is_no_checkpoint(two_checkpoints, tmp_path):
    path = tmp_path / "copy"
    shutil.copytree(two_checkpoints, path)
    (path / "00000099").mkdir()
    (path / "00000100.orbax-checkpoint-tmp-1").mkdir()
    notes = []
    checkpoints = Checkpoints(path, EVERY_EPOCH, note=notes.append)
    start = checkpoints.newest(make(epochs=3), SPEC)
    assert start.step == 8 and len(notes) == 1 and "interrupted" in notes[0]
    fit(make(epochs=3), X, validation=X[:20], start=start, checkpoints=checkpoints)
    assert sorted(p.name for p in path.iterdir()) == ["00000008", "00000012"]


def test_another_version_of_the_format_is_refused_and_named(two_checkpoints, tmp_path):
    path = tmp_path / "copy"
    shutil.copytree(two_checkpoints, path)
    for name in ("00000004", "00000008"):
        progress = json.loads((path / name / PROGRESS).read_text())
        (path / name / PROGRESS).write_text(json.dumps(progress | {"format_version": 3}) + "\n")
        (path / name / MANIFEST).unlink()
        seal(path / name)
    with pytest.raises(InputError, match=r"progress\.json: format_version is 3; this jaxrep reads"):
        Checkpoints(path).newest(make(epochs=2), SPEC)


PROGRESS_TEXT = '{"format_version": 2, "step": %s, "seconds": 1, "sums": %s, "states": %s}'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (PROGRESS, "[]"),
        (PROGRESS, '{"format_version": 2}'),
        (PROGRESS, PROGRESS_TEXT % ("8", "3", '["state"]')),
        (PROGRESS, PROGRESS_TEXT % ("8", "[{}]", '"state"')),
        (PROGRESS, PROGRESS_TEXT % ("8", "[{}]", '["other"]')),
        (PROGRESS, PROGRESS_TEXT % ("8", "[{}]", "[]")),
        (PROGRESS, PROGRESS_TEXT % ("4", "[{}]", '["state"]')),
        (PROGRESS, "[" * 100_000),
        (HISTORY, '{"epoch": 1, "loss": 1}\n'),
        (HISTORY, '[{"epoch": 1}]\n'),
        (HISTORY, '[{"epoch": 1, "loss": 1}, {"epoch": 1, "loss": 1}]\n'),
        (HISTORY, "NaN\n"),
    ],
)
def test_an_untrusted_checkpoint_with_fitting_digests_is_read_as_data(
    name, text, two_checkpoints, tmp_path
):
    path = tmp_path / "copy"
    shutil.copytree(two_checkpoints, path)
    (path / "00000008" / name).write_text(text)
    (path / "00000008" / MANIFEST).unlink()
    seal(path / "00000008")
    notes = []
    assert Checkpoints(path, note=notes.append).newest(make(epochs=2), SPEC).step == 4
    assert len(notes) == 1 and "passed over" in notes[0]


def test_a_snapshot_of_another_run_is_refused(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    fit(make(epochs=3), X, checkpoints=checkpoints)
    with pytest.raises(
        InputError, match="after 12 steps, with 3 epochs of metrics of 1 members, is not"
    ):
        fit(make(epochs=2), X, start=checkpoints.newest(make(), SPEC))


# Orbax's threads raise as well, where no one hears them.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_is_said_and_the_checkpoint_before_stays(two_checkpoints, tmp_path):
    path = tmp_path / "small"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        checkpoints = Checkpoints(path, EVERY_EPOCH, keep=1000)
        with pytest.raises(OSError, match=r"cannot be written .* is intact\. Make room and run"):
            fit(make(epochs=1000), X, checkpoints=checkpoints)
        step = checkpoints.newest(make(), SPEC).step
        assert step > 0 and step % 4 == 0
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_a_checkpoint_that_cannot_be_written_leaves_nothing_behind(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, EVERY_EPOCH)
    fit(make(epochs=1), X, checkpoints=checkpoints)

    def full(folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "seal", full)
    with pytest.raises(OSError, match=r"No space left on device.*the one of step 4 is intact"):
        fit(make(epochs=2), X, start=checkpoints.newest(make(), SPEC), checkpoints=checkpoints)
    assert [p.name for p in tmp_path.iterdir()] == ["00000004"]


# Runs that diverge.


def test_a_diverged_run_names_its_rows_and_keeps_its_last_good_state(tmp_path, short_chunks):
    method = make("vae", learning_rate=1e30, epochs=3)
    checkpoints = Checkpoints(tmp_path)
    logged = []
    with pytest.raises(DivergedError) as caught:
        fit(method, X, checkpoints=checkpoints, callbacks=[Heard(on_epoch=logged.append)])
    step = caught.value.step
    batch, _ = draw_batch(method, 0, X, X, step, batch_size=16)
    seen = sorted(int(np.flatnonzero((row == X).all(1))[0]) for row in np.asarray(batch.numbers))
    assert list(caught.value.rows) == seen
    assert str(seen[0]) in str(caught.value) and "epoch 1" in str(caught.value)
    kept = checkpoints.newest(method, SPEC)
    assert 0 < kept.step <= step and logged == []
    assert all(np.isfinite(leaf).all() for leaf in kept.state.params.values())
    with pytest.raises(DivergedError) as again:
        fit(method, X, start=kept, checkpoints=checkpoints)
    assert again.value.step == step


def test_a_run_that_was_never_good_claims_to_keep_nothing(tmp_path):
    x = X.copy()
    x[:, 0] = 1e30  # its square is beyond float32
    with pytest.raises(DivergedError) as caught:
        fit(make(), x, checkpoints=Checkpoints(tmp_path))
    assert caught.value.step == 0 and "kept" not in str(caught.value)


# The command line.


@pytest.fixture
def table(tmp_path):
    x = np.random.default_rng(1).normal(size=(56, FEATURES))  # 50 rows and 6 held out
    np.savetxt(tmp_path / "t.csv", x, delimiter=",", header="a,b,c,d,e", comments="", fmt="%.6f")
    return str(tmp_path / "t.csv")


SETTINGS = (*FLAGS, "--validation-fraction", "0.1", "--device", "cpu")


@pytest.mark.parametrize("command", ["train", "resume"])
def test_the_same_command_or_resume_goes_on(
    command, table, short_chunks, tmp_path, capsys, monkeypatch
):
    train = ("train", "vae", table, *SETTINGS, "--epochs", "5")
    reference, cut = tmp_path / "reference", tmp_path / "cut"
    result_of(capsys, *train, "--out", str(reference))
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        assert main([*train, "--out", str(cut)]) == 75
    assert "continues from there" in capsys.readouterr().err
    assert folder.state(cut) == "unfinished"
    again = (*train, "--out", str(cut)) if command == "train" else ("resume", str(cut))
    result, said = result_of(capsys, *again)
    assert result["resumed_from_step"] == 7 and "continuing after step 7" in said
    assert bits_of(cut) == bits_of(reference)
    more, _ = result_of(capsys, "resume", str(cut), "--epochs", "8")
    assert more["resumed_from_step"] == 20 and more["epochs"] == 8
    result_of(capsys, *train, "--epochs", "8", "--out", str(tmp_path / "eight"))
    assert bits_of(cut) == bits_of(tmp_path / "eight")
    _, said = result_of(capsys, "resume", str(cut))
    assert "nothing to do" in said


def test_another_number_of_threads_is_said_when_a_run_continues(
    table, short_chunks, tmp_path, capsys, monkeypatch
):
    cut = tmp_path / "cut"
    train = ("train", "vae", table, *SETTINGS, "--epochs", "5", "--out", str(cut))
    monkeypatch.setenv("PJRT_NPROC", "2")
    for threads in ("2", "3"):
        with monkeypatch.context() as patch:
            interrupt_after(patch, 2)
            patch.setenv("PJRT_NPROC", threads)
            assert main(list(train)) == 75
        said = capsys.readouterr().err
        assert ("other devices (threads 2, now 3)" in said) == (threads == "3")
        assert folder.read_config(cut)["device"]["threads"] == 2  # as it was begun
    _, said = result_of(capsys, *train)
    assert "warning" not in said


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads have no names here")
@pytest.mark.parametrize("asked", [{}, {"PJRT_NPROC": "3"}, {"NPROC": "3", "PJRT_NPROC": "0"}])
def test_the_threads_recorded_are_those_that_xla_starts(asked, tmp_path):
    script = """
import os
import jax
from jaxrep.runs.making import cpu_threads
jax.jit(lambda a: a @ a)(jax.numpy.ones((300, 300))).block_until_ready()
names = [open(f"/proc/self/task/{t}/comm").read().strip() for t in os.listdir("/proc/self/task")]
print(cpu_threads(), names.count("tf_XLAEigen"))
"""
    environment = {k: v for k, v in os.environ.items() if k not in ("PJRT_NPROC", "NPROC")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment | {"JAX_PLATFORMS": "cpu"} | asked,
        capture_output=True,
        text=True,
        check=True,
    )
    recorded, started = map(int, done.stdout.split())
    assert recorded == started


def test_a_run_that_differs_is_refused_by_the_key(table, tmp_path, capsys, monkeypatch):
    train = ["train", "vae", table, *SETTINGS, "--epochs", "3", "--out", str(tmp_path / "run")]
    interrupt_after(monkeypatch, 0)
    assert main(train) == 75
    capsys.readouterr()
    for flags, key in ([["--beta", "4"], "beta"], [["--stream", "always"], "streamed"]):
        assert main([*train, *flags]) == 2
        assert f"differs in {key}" in capsys.readouterr().err
    Path(table).write_text(Path(table).read_text() + "1,2,3,4,5\n")
    for command in (train, ["resume", str(tmp_path / "run")]):
        assert main(command) == 2
        assert "the data, whose content is another" in capsys.readouterr().err


def test_what_cannot_be_resumed_is_refused(table, tmp_path, capsys):
    run = str(tmp_path / "run")
    assert main(["train", "autoencoder", table, *SETTINGS, "--epochs", "3", "--out", run]) == 0
    wrong = {
        ("resume", str(tmp_path)): "not a run folder",
        ("resume", run, "--epochs", "2"): "was to train for 3 epochs already",
        ("resume", run, "--checkpoint-every", "often"): "neither epochs, such as 100",
        ("resume", run, "--checkpoint-every", "0"): "neither epochs",
        ("resume", run, "--keep", "0"): "at least 1",
    }
    waned = str(tmp_path / "waned")
    flags = (*SETTINGS, "--epochs", "3", "--schedule", "cosine")
    assert main(["train", "autoencoder", table, *flags, "--out", waned]) == 0
    wrong["resume", waned, "--epochs", "9"] = "falls to 0 over its 3 epochs (cosine), so that a"
    by_rule, config = str(tmp_path / "by_rule"), tmp_path / "by_rule" / "config.json"
    assert main(["train", "autoencoder", table, *SETTINGS, "--epochs", "0", "--out", by_rule]) == 0
    assert json.loads(config.read_text())["result"]["steps"] == 2000
    wrong["resume", by_rule, "--epochs", "900"] = "as many steps as epochs=0 makes of its rows"
    for command, message in wrong.items():
        capsys.readouterr()
        assert main(list(command)) == 2
        assert message in capsys.readouterr().err


def test_two_processes_do_not_train_into_one_folder(table, tmp_path, capsys):
    run = tmp_path / "run"
    with folder.held(run):
        assert main(["train", "autoencoder", table, *SETTINGS, "--out", str(run)]) == 2
    assert "another process is training into this folder" in capsys.readouterr().err
    assert not run.exists(), "a folder that was made to be held is not left behind"


def test_overwrite_replaces_a_finished_run_but_goes_on_with_itself(
    table, short_chunks, tmp_path, capsys, monkeypatch
):
    train = ("train", "vae", table, *SETTINGS, "--epochs", "4", "--overwrite")
    train = (*train, "--out", str(tmp_path / "run"))
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        assert main(list(train)) == 75
    capsys.readouterr()
    assert result_of(capsys, *train)[0]["resumed_from_step"] > 0
    assert result_of(capsys, *train)[0]["resumed_from_step"] == 0


def test_an_unfinished_run_without_a_hyperparameter_is_refused(
    table, tmp_path, capsys, monkeypatch
):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(program, "_MAX_STEPS_PER_CHUNK", 4)
        interrupt_after(patch, 3)
        command = ["train", "autoencoder", table, *SETTINGS, "--epochs", "4", "--out", str(run)]
        assert main(command) == 75
    config = json.loads((run / "config.json").read_text())
    del config["hyperparameters"]["precision"]
    (run / "config.json").write_text(json.dumps(config))
    for again in (command, ["resume", str(run)]):
        capsys.readouterr()
        assert main(again) == 2
        error = capsys.readouterr().err
        assert "config.json: hyperparameters: Object missing required field `precision`" in error
        assert "train, or import, again" in error


# Real processes and real signals.


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_signal_saves_and_ends_with_75_within_seconds(number, tmp_path):
    np.save(tmp_path / "x.npy", X)
    command = ("train", "autoencoder", str(tmp_path / "x.npy"), "--out", str(tmp_path / "run"))
    process = start(*command, *FLAGS, "--epochs", "1000000", "--checkpoint-every", "0.2s")
    wait_until(lambda: list(tmp_path.glob("run/checkpoints/*/manifest.json")), process)
    process.send_signal(number)
    sent = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75, said
    assert time.monotonic() - sent < 10
    assert "continues from there" in said and "Traceback" not in said


@pytest.fixture
def killed(table, tmp_path, capsys, monkeypatch):
    """Kills a training again and again; as of `kill_and_resume`."""
    monkeypatch.setattr(row_store, "BLOCK_BYTES", dying.BLOCK_BYTES)

    def check(method, stream, kills, epochs=30, flags=()):
        command = ("train", method, table, *SETTINGS, "--epochs", str(epochs), "--stream", stream)
        command = (*command, "--checkpoint-every", "1", *flags)
        return kill_and_resume(command, tmp_path, capsys, kills)

    return check


@pytest.mark.end_to_end
def test_a_run_that_is_killed_ends_with_the_bits_of_one_left_alone(killed):
    killed("vae", "always", [("manifest", 1), None])


INSIDE = [
    [("start", 1), ("arrays", 2), ("manifest", 3), ("remove", 2)],
    [("files", 1), ("rename", 2), ("half removed", 1)],
    [("rename", 1), ("flushed", 3), ("manifest", 2), ("removing", 4)],
    [("arrays", 1), ("remove", 3), ("start", 3)],
    [("flushed", 9), ("half removed", 4), ("rename", 4)],
    [("removing", 2), ("manifest", 1), ("arrays", 3)],
]


@pytest.mark.slow
@pytest.mark.parametrize("case", range(6))
def test_fifty_kills_twenty_of_them_inside_a_save(case, killed):
    method, stream = names()[case % 3], ("never", "always")[case // 3]
    assert sum(len(inside) for inside in INSIDE) == 20
    killed(method, stream, (INSIDE[case] + [None] * 5)[:9], 150)


@pytest.mark.slow
def test_twenty_kills_change_nothing_of_where_patience_ends(killed, tmp_path, capsys):
    flags = ("--patience", "60", "--learning-rate", "0.003")
    run = killed("autoencoder", "never", [None] * 20, 2000, flags)
    best = int(np.argmin([epoch["validation_loss"] for epoch in run.history])) + 1
    result = run.config["result"]
    assert (result["epoch"], result["epochs"], result["stopped_early"]) == (best, best + 60, True)
    # The weights that it serves are those of a run that ends there.
    table, out = run.config["data"]["source"], tmp_path / "best"
    command = ("train", "autoencoder", table, *SETTINGS, "--learning-rate", "0.003")
    result_of(capsys, *command, "--epochs", str(best), "--out", str(out))
    for name, array in folder.load(out).weights.items():
        assert array.tobytes() == run.weights[name].tobytes(), name
