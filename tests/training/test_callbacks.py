"""Callbacks hear of every step, epoch and checkpoint, and change nothing."""

import json
import sys

import numpy as np
import pytest

from jaxrep.batch import Batch
from jaxrep.cli import main
from jaxrep.errors import MissingPackageError
from jaxrep.tensorboard import TensorBoard
from jaxrep.training import Callback, Checkpoints, Devices, Every, fit, program
from jaxrep.training.loop import Loop
from jaxrep.training.row_store import place
from tests.helpers.small import BATCH, FLAGS, SPEC, X, make


class Listener(Callback):
    def __init__(self):
        self.steps, self.epochs, self.saved, self.progress = [], [], [], []

    def on_step(self, step, metrics):
        self.steps.append((step, metrics))

    def on_epoch(self, metrics):
        self.epochs.append(metrics)

    def on_save(self, step, folder):
        self.saved.append((step, folder, (folder / "manifest.json").is_file()))

    def on_progress(self, progress):
        self.progress.append(progress)


def test_every_step_epoch_and_checkpoint_is_heard_of_once_and_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(program, "_MAX_STEPS_PER_CHUNK", 3)
    heard, checkpoints = Listener(), Checkpoints(tmp_path, Every(epochs=2))
    run = fit(make("vae"), X, checkpoints=checkpoints, callbacks=[heard, Callback()])
    assert [step for step, _ in heard.steps] == list(range(16))  # 4 an epoch, of 16, …, 2 rows
    assert all(metrics.keys() == {"loss", "kl", "reconstruction"} for _, metrics in heard.steps)
    assert heard.epochs == run.history
    for epoch in range(4):
        losses = [metrics["loss"] for _, metrics in heard.steps[4 * epoch : 4 * epoch + 4]]
        mean = np.dot(losses, (16, 16, 16, 2)) / 50
        assert heard.epochs[epoch]["loss"] == pytest.approx(mean)
    assert [(step, sealed) for step, _, sealed in heard.saved] == [(8, True), (16, True)]
    assert heard.progress[-1].step == 16
    alone = fit(make("vae"), X)
    assert alone.history == run.history
    for name, array in alone.weights.items():
        assert array.tobytes() == run.weights[name].tobytes()


def test_steps_and_epochs_of_members_are_means():
    methods, heard = [make(seed=seed) for seed in range(3)], Listener()
    loop = Loop(methods, *place(Batch(X), None, BATCH, Devices()), SPEC, Devices())
    loop.train([heard])
    members = list(loop.results())
    for i, epoch in enumerate(heard.epochs):
        assert epoch["epoch"] == i + 1
        assert epoch["loss"] == pytest.approx(np.mean([m.history[i]["loss"] for m in members]))
    assert len(heard.steps) == 16


def test_the_command_writes_what_tensorboard_reads(tmp_path, capsys):
    board, run = tmp_path / "board", tmp_path / "run"
    command = ["train", "autoencoder", "iris", *FLAGS, "--epochs", "3", "--out", str(run)]
    assert main([*command, "--tensorboard", str(board)]) == 0
    (events,) = board.glob("events.out.tfevents.*")
    text = events.read_bytes()
    assert text.count(b"loss") == 3 and b"rows_per_second" in text
    for line in (run / "metrics.jsonl").read_text().splitlines():
        assert np.float32(json.loads(line)["loss"]).tobytes() in text
    capsys.readouterr()


def test_without_tensorboardx_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'jaxrep\[tensorboard\]'"):
        TensorBoard(tmp_path)
