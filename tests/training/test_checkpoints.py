"""Which checkpoints are on the disk, and when: orbax's rotation never takes the last whole one."""

import os

import numpy as np
import pytest

from jaxrep.batch import RowSpec
from jaxrep.methods import Autoencoder, AutoencoderHyperparameters
from jaxrep.training import Checkpoints, Every, checkpoint, fit
from jaxrep.training.manifest import is_sealed

X = np.random.default_rng(0).normal(size=(100, 5)).astype(np.float32)
EVERY_EPOCH = Every(epochs=1)  # of 7 steps


def train(epochs, checkpoints, *, resume=False):
    method = Autoencoder(
        AutoencoderHyperparameters(hidden_dims=(8,), latent_dim=3, batch_size=16, epochs=epochs)
    )
    start = checkpoints.newest(method, RowSpec(5)) if resume else None
    return fit(method, X, start=start, checkpoints=checkpoints)


def names(path):
    return sorted(folder.name for folder in path.iterdir())


@pytest.mark.parametrize(("keep", "kept"), [(1, 2), (2, 2), (3, 3)])
def test_an_earlier_checkpoint_is_whole_until_the_next_one_is(keep, kept, monkeypatch, tmp_path):
    whole = []  # when a manifest is about to be written
    seal = checkpoint.seal

    def counting_seal(folder):
        whole.append(sum(map(is_sealed, tmp_path.iterdir())))
        seal(folder)

    monkeypatch.setattr(checkpoint, "seal", counting_seal)
    train(5, Checkpoints(tmp_path, EVERY_EPOCH, keep=keep))
    assert whole == [min(saved, kept - 1) for saved in range(5)]
    assert names(tmp_path) == ["00000021", "00000028", "00000035"][-kept:]


def test_a_run_that_begins_anew_removes_the_later_checkpoints_of_the_one_before(tmp_path):
    train(3, Checkpoints(tmp_path, EVERY_EPOCH))
    assert names(tmp_path) == ["00000014", "00000021"]
    train(1, Checkpoints(tmp_path, EVERY_EPOCH))
    assert names(tmp_path) == ["00000007"]


def test_arrays_that_cannot_be_written_leave_nothing_behind(monkeypatch, tmp_path):
    checkpoints = Checkpoints(tmp_path, EVERY_EPOCH)
    train(1, checkpoints)

    def full(*arguments, **more):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", full)  # by which orbax ends
        with pytest.raises(OSError, match=r"No space left on device.*the one of step 7 is intact"):
            train(2, checkpoints, resume=True)
    assert names(tmp_path) == ["00000007"]


def test_a_sealed_checkpoint_outlives_a_process_that_is_lost_before_it_hears_of_it(
    monkeypatch, tmp_path
):
    def run_on_main(function):
        result = function()
        if is_sealed(tmp_path / "00000007"):
            raise RuntimeError("a process is gone")
        return result

    monkeypatch.setattr(checkpoint, "run_on_main", run_on_main)
    with pytest.raises(OSError, match=r"a process is gone.*the one of step 7 is intact"):
        train(1, Checkpoints(tmp_path, EVERY_EPOCH))
    assert names(tmp_path) == ["00000007"]
