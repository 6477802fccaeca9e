"""Ten seeds of the seed's three workloads: jaxrep's final losses are those of plain PyTorch."""

import numpy as np
import pytest
import torch

import torch_ref.batch
import torch_ref.training
from jaxrep import data, methods
from jaxrep.batch import Batch
from jaxrep.data.targets import fit_classes
from jaxrep.training import fit
from tests.helpers.twins import twin_of

SEEDS = range(10)
# Where one run of a plain PyTorch script with these settings ended.
PLAIN = {"autoencoder": 0.040, "vae": 6.4, "simclr": 4.3}


@pytest.fixture(scope="module")
def blobs() -> Batch:
    table = data.load("blobs")
    columns = data.Columns(label="label")
    schema = data.fit(lambda: [table], source="blobs", columns=columns).schema
    x = data.apply(schema, table, source="blobs")
    return Batch(x, targets=fit_classes(table["label"], "label", "blobs").encode(table["label"]))


def labelled(name: str, blobs: Batch) -> Batch:
    """The rows with what a method is to predict of them."""
    kind = methods.hyperparameters_of(name).predicts
    targets = {None: None, "classes": blobs.targets, "numbers": blobs.numbers[:, 0]}
    return blobs._replace(targets=targets[kind])


@pytest.mark.slow  # tests/parity compares whole runs step by step
@pytest.mark.parametrize("name", methods.names())
def test_final_losses_of_ten_seeds_agree_with_plain_pytorch(name, blobs, record_property):
    ours, theirs, made = [], [], methods.hyperparameters_of(name)
    rows = labelled(name, blobs)
    settings = {"classes": int(rows.targets.max()) + 1} if made.predicts == "classes" else {}
    tensors = (None if array is None else torch.from_numpy(array) for array in rows)
    torch_rows = torch_ref.batch.Batch(*tensors)
    for seed in SEEDS:
        method = methods.make(made(seed=seed, **settings))
        ours.append(fit(method, rows).history[-1]["loss"])
        run = torch_ref.training.fit(twin_of(method), torch_rows)
        theirs.append(run.history[-1]["loss"])
    standard_error = np.hypot(np.std(ours, ddof=1), np.std(theirs, ddof=1)) / len(SEEDS) ** 0.5
    deviation = (np.mean(ours) - np.mean(theirs)) / standard_error
    print(
        f"{name}: jaxrep {np.mean(ours):.5f} ± {np.std(ours, ddof=1):.5f}, "
        f"torch {np.mean(theirs):.5f} ± {np.std(theirs, ddof=1):.5f}, "
        f"{deviation:+.2f} standard errors apart"
    )
    assert abs(deviation) <= 3.5
    if name in PLAIN:
        assert np.mean(ours) == pytest.approx(PLAIN[name], rel=0.1)
