"""Members of sweeps, and what it means that one is the run that it would be alone."""

import numpy as np

from tests.helpers.small import FEATURES, make

HELD_OUT = np.random.default_rng(1).normal(size=(11, FEATURES)).astype(np.float32)
# Numbers that are 0 in some members only, and seeds that differ.
GRIDS = {
    "autoencoder": [
        {"noise_std": 0.0, "drop_rate": 0.0},
        {"noise_std": 0.3, "drop_rate": 0.0, "seed": 5},
        {"noise_std": 0.3, "drop_rate": 0.2, "learning_rate": 1e-2},
    ],
    "vae": [{"beta": 0.0}, {"beta": 4.0, "seed": 5}, {"beta": 4.0, "weight_decay": 0.1}],
    "simclr": [
        {"temperature": 0.5},
        {"temperature": 0.01, "seed": 5},
        {"drop_rate": 0.0, "noise_std": 0.0, "weight_decay": 0.0},
    ],
    "classifier": [
        {"frozen": False, "l2": 0.0},
        {"frozen": False, "l2": 0.1, "label_smoothing": 0.2, "seed": 5},
        {"frozen": False, "backbone_learning_rate": 1e-2},
    ],
    "regressor": [{"l2": 0.0}, {"l2": 0.1, "seed": 5}, {"learning_rate": 1e-3}],
}


def make_all(name):
    return [make(name, **settings) for settings in GRIDS[name]]


def assert_equal(member, alone, largest=1.0):
    """The same weights and history, up to the rounding of sums in another order.

    `largest` is the size of what the loss is the difference of: for NT-Xent similarities over τ.
    """
    assert not member.diverged
    assert member.weights.keys() == alone.weights.keys()
    for key, array in alone.weights.items():
        scale = np.abs(array).max()
        # Statistics are means and inverses over weights that differ in their last bits.
        allowed = 1e-4 if key.startswith("distance.") else 1e-6
        assert np.abs(member.weights[key] - array).max() <= allowed * max(scale, 1), key
    assert [epoch.keys() for epoch in member.history] == [epoch.keys() for epoch in alone.history]
    for one, other in zip(member.history, alone.history, strict=True):
        found, expected = list(one.values()), list(other.values())
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * largest)


def largest(method):
    return 1 / getattr(method.hyperparameters, "temperature", 1.0)
