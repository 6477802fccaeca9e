"""From a table to a run and back, called from Python: which rows teach what, and what is drawn."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxrep.batch import Batch
from jaxrep.hyperparameters import TrainingHyperparameters, declaration
from jaxrep.methods import hyperparameters_of
from jaxrep.runs import folder, outputs
from jaxrep.runs.train import Columns, train
from tests.helpers.small import BATCH, FEATURES, ROWS, SMALL, SPEC, make


@pytest.fixture
def rows(tmp_path):
    x = np.random.default_rng(0).normal(size=(ROWS, FEATURES)).cumsum(axis=0)
    np.save(tmp_path / "rows.npy", x)
    return x


def run_of(tmp_path, name="run", method="autoencoder", notes=None, **hyperparameters):
    length = {} if "steps" in hyperparameters else {"epochs": 2}
    settings = hyperparameters_of(method)(**SMALL | length | hyperparameters)
    note = (lambda message: None) if notes is None else notes.append
    train(str(tmp_path / "rows.npy"), tmp_path / name, settings, Columns(), note=note)
    return folder.load(tmp_path / name)


def training_rows(run, x):
    """The subset of rows whose mean is the one in the schema, of those tried."""
    found = []
    for seed in range(3):
        held_out = np.random.default_rng(seed).permutation(len(x))[: round(ROWS / 4)]
        kept = np.delete(x, held_out, axis=0)
        means = [column.mean for column in run.schema.columns]
        if np.allclose(means, kept.mean(axis=0), rtol=1e-12):
            found.append((seed, kept))
    return found


def test_statistics_come_from_the_rows_trained_on_which_the_split_seed_draws(tmp_path, rows):
    for split_seed, seed in ((0, 2), (2, 0)):
        seeds = {"split_seed": split_seed, "seed": seed}
        run = run_of(tmp_path, f"run{seed}", validation_fraction=0.25, **seeds)
        assert run.config["result"]["rows"] == 38
        [(found, kept)] = training_rows(run, rows)
        assert found == split_seed
        scales = [column.scale for column in run.schema.columns]
        np.testing.assert_allclose(scales, kept.std(axis=0), rtol=1e-12)


SCHEDULE = [
    field.name
    for field in dataclasses.fields(TrainingHyperparameters)
    if declaration(field).kind in ("host", "rows")
    and field.name != "calibration_fraction"  # takes more rows: test_levels.py
]
OTHER = {"epochs": 3, "batch_size": 20, "validation_fraction": 0.25, "seed": 1}
OTHER |= {"split_seed": 1, "patience": 1, "steps": 3}


@pytest.mark.parametrize("name", SCHEDULE)
def test_every_hyperparameter_of_the_schedule_changes_the_weights(tmp_path, rows, name):
    held_out = {"validation_fraction": 0.25} if name in ("split_seed", "patience") else {}
    if name == "patience":
        held_out |= {"learning_rate": 0.3, "epochs": 20}  # the best epoch is not the last
    one = run_of(tmp_path, **held_out)
    two = run_of(tmp_path, "other", **held_out | {name: OTHER[name]})
    assert any((one.weights[key] != two.weights[key]).any() for key in one.weights)


def test_a_model_that_gives_every_row_the_same_score_is_reported(tmp_path, rows):
    reported = set()
    for seed in (0, 55):  # which starts every latent unit where no row reaches it
        notes = []
        run = run_of(tmp_path, f"{seed}", "simclr", notes, seed=seed)
        scores = np.asarray(outputs.score(run, str(tmp_path / "rows.npy"))["score"])
        assert any("same score" in note for note in notes) == (np.ptp(scores) == 0)
        reported.add(sum(note.startswith("warning: ") for note in notes))
    assert reported == {0, 1}


def test_training_gives_its_arrays_back_to_the_device(rows):
    """The state of a chunk lives in the memory of the one before it."""
    from jaxrep.training import Devices, init_state, program

    method = make()
    state = jax.device_put(init_state(method, SPEC, 0))
    x = jax.numpy.asarray(rows, jax.numpy.float32)
    shape = {"batch_size": BATCH, "chunk": program._MAX_STEPS_PER_CHUNK, "devices": Devices()}
    rows = Batch(x)
    new, _ = program.run_steps(method, np.uint32(0), state, rows, rows, 0, 4, spec=SPEC, **shape)
    assert all(array.is_deleted() for array in jax.tree.leaves(state))
    assert not any(array.is_deleted() for array in jax.tree.leaves(new))
