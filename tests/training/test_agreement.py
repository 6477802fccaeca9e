"""Ten seeds of the seed's three workloads: jaxrep's final losses are those of plain PyTorch."""

import numpy as np
import pytest
import torch

import torch_ref.training
from jaxrep import methods
from jaxrep.data import load, preprocessing
from jaxrep.training import fit
from tests.helpers.twins import twin_of

SEEDS = range(10)
# Where one run of a plain PyTorch script with these settings ended.
PLAIN = {"autoencoder": 0.040, "vae": 6.4, "simclr": 4.3}


@pytest.fixture(scope="module")
def blobs() -> np.ndarray:
    table = load("blobs")
    prepared, _ = preprocessing.fit(table, source="blobs", label="label")
    return preprocessing.apply(prepared, table, source="blobs")


@pytest.mark.slow  # tests/parity compares whole runs step by step
@pytest.mark.parametrize("name", methods.names())
def test_final_losses_of_ten_seeds_agree_with_plain_pytorch(name, blobs, record_property):
    ours, theirs = [], []
    for seed in SEEDS:
        method = methods.make(methods.hyperparameters_of(name)(seed=seed))
        ours.append(fit(method, blobs).history[-1]["loss"])
        run = torch_ref.training.fit(twin_of(method), torch.from_numpy(blobs))
        theirs.append(run.history[-1]["loss"])
    standard_error = np.hypot(np.std(ours, ddof=1), np.std(theirs, ddof=1)) / len(SEEDS) ** 0.5
    deviation = (np.mean(ours) - np.mean(theirs)) / standard_error
    print(
        f"{name}: jaxrep {np.mean(ours):.5f} ± {np.std(ours, ddof=1):.5f}, "
        f"torch {np.mean(theirs):.5f} ± {np.std(theirs, ddof=1):.5f}, "
        f"{deviation:+.2f} standard errors apart"
    )
    assert abs(deviation) <= 3.5
    assert np.mean(ours) == pytest.approx(PLAIN[name], rel=0.1)
