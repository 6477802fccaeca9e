"""Fine-tunes on four forced devices and on one; prints `passed` where both give the same."""

import jax
import numpy as np

from jaxrep.training import fit, mesh_of
from tests.helpers.small import Store, labelled, make
from tests.helpers.training_on_a_mesh import data


def main():
    jax.config.update("jax_num_cpu_devices", 4)
    x, held_out = data(90), data(40)
    mesh = mesh_of(jax.devices()[:4])
    for frozen in (True, False):
        method = make("classifier", frozen=frozen, epochs=2)
        rows = labelled(method, x)
        weights = np.linspace(0.5, 2, len(x), dtype=np.float32)
        rows = rows._replace(weights=weights)
        validation = labelled(method, held_out)._replace(weights=np.ones(40, np.float32))
        for source in (rows, rows._replace(numbers=Store(x))):
            one = fit(method, source, validation=validation)
            four = fit(method, source, validation=validation, mesh=mesh)
            for name, array in one.weights.items():
                allowed = 1e-3 if name.startswith("distance.") else 1e-5
                np.testing.assert_allclose(
                    four.weights[name], array, rtol=allowed, atol=allowed, err_msg=name
                )
            for a, b in zip(one.history, four.history, strict=True):
                assert all(abs(a[key] - b[key]) <= 1e-5 * abs(a[key]) for key in a), (a, b)
    print("passed")


if __name__ == "__main__":
    main()
