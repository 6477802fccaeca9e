"""How far it is from a flag to the loss: frames that a reader has to go through."""

import traceback

from jaxrep.cli import main
from jaxrep.methods.autoencoder import Autoencoder
from tests.helpers.small import FLAGS


def test_from_the_command_to_the_loss_there_are_at_most_ten_frames(monkeypatch, tmp_path):
    loss, seen = Autoencoder.loss, []

    def watched(self, *arguments):
        ours = [f for f in traceback.extract_stack() if "/jaxrep/" in f.filename]
        seen.append([f"{f.filename.rpartition('/')[2]}:{f.name}" for f in ours])
        return loss(self, *arguments)

    monkeypatch.setattr(Autoencoder, "loss", watched)
    # Of a shape that no other test has traced.
    command = ["train", "autoencoder", "iris", *FLAGS, "--latent-dim", "1", "--epochs", "1"]
    assert main([*command, "--out", str(tmp_path / "run"), "--device", "cpu"]) == 0
    deepest = max(seen, key=len)
    command = deepest[deepest.index("_train.py:__call__") :]
    assert len(command) + 1 <= 10, command  # and the loss itself
