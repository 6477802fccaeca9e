"""Trains rows with codes and gaps on two devices of this process and on one.

Prints `passed` where losses are the same up to rounding, resident and streamed, with weights whole
on each device and sharded, and members side by side.
"""

import jax
import numpy as np

from jaxrep.training import fit, mesh_of, row_store
from tests.helpers.small import MIXED, MIXED_X, Store, make, mixed

VIEWS = {"views": ("scarf", "swap", "noise", "hide"), "noise_std": 0.2}


def assert_equal(found, expected):
    for a, b in zip(found.history, expected.history, strict=True):
        assert a.keys() == b.keys()
        assert all(abs(a[key] - b[key]) <= 1e-5 * abs(b[key]) for key in b), (a, b)
    for name, array in expected.weights.items():
        allowed = 1e-3 if name.startswith("distance.") else 1e-5
        np.testing.assert_allclose(
            found.weights[name], array, rtol=allowed, atol=allowed, err_msg=name
        )


def main():
    jax.config.update("jax_num_cpu_devices", 2)
    mesh, held_out = mesh_of(jax.devices()), mixed(11, seed=1)
    row_store.BLOCK_BYTES = 4 * MIXED.columns * 32
    rows = {"validation": held_out, "spec": MIXED}
    for name, settings in (("autoencoder", VIEWS), ("vae", {"members": 2})):
        method, streamed = make(name, **settings), Store(MIXED_X, MIXED)
        one = fit(method, MIXED_X, **rows)
        assert_equal(fit(method, MIXED_X, mesh=mesh, **rows), one)
        assert_equal(fit(method, MIXED_X, mesh=mesh, shard_parameters=True, **rows), one)
        assert_equal(fit(method, streamed, mesh=mesh, **rows), fit(method, streamed, **rows))
    print("passed")


if __name__ == "__main__":
    main()
