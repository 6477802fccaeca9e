"""Trains a method with batch normalisation on one device of this process and on four.

Prints `passed` if both end with the same statistics, and weights up to rounding.
"""

import jax
import numpy as np

from jaxrep.training import fit, mesh_of
from tests.helpers.extension.barlow_twins import BarlowTwins, BarlowTwinsHyperparameters

# 50 rows: the last batch of 16 has 2, and padding on other devices.
X = np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32)
# Under seed 0 a unit of the backbone is active for all rows: the normalisation takes its bias out
# again, whose gradient is rounding, and Adam makes steps of full size of that.
SETTINGS = {"hidden_dims": (6,), "latent_dim": 3, "batch_size": 16, "epochs": 3, "seed": 3}


def main():
    jax.config.update("jax_num_cpu_devices", 4)
    method = BarlowTwins(BarlowTwinsHyperparameters(**SETTINGS))
    alone = fit(method, X, validation=X[:12])
    for shard_parameters in (False, True):
        together = fit(
            method,
            X,
            validation=X[:12],
            mesh=mesh_of(jax.devices()),
            shard_parameters=shard_parameters,
        )
        for name in ("norm.mean", "norm.var"):
            np.testing.assert_allclose(together.weights[name], alone.weights[name], atol=1e-6)
        for name, array in alone.weights.items():
            np.testing.assert_allclose(together.weights[name], array, rtol=1e-4, atol=1e-5)
        losses = [[epoch["validation_loss"] for epoch in run.history] for run in (alone, together)]
        np.testing.assert_allclose(*losses, rtol=1e-4)
    print("passed")


if __name__ == "__main__":
    main()
