"""The losses with the hyperparameters they are tested at, and arguments for them."""

import numpy as np

LOSSES = {
    "mse_loss": [{}],
    "gaussian_kl": [{}],
    "elbo_loss": [{"beta": 0.0}, {"beta": 1.0}, {"beta": 4.0}],
    "nt_xent_loss": [{"temperature": t} for t in (1.0, 0.5, 0.1, 0.01)],
}
CASES = [(name, settings) for name, all_settings in LOSSES.items() for settings in all_settings]


def draw(name: str, batch: int, width: int, seed: int = 0, scale: float = 1.0) -> list[np.ndarray]:
    rng = np.random.default_rng([seed, batch, width])
    sizes = [width, width, 3, 3] if name == "elbo_loss" else [width, width]
    arrays = [scale * rng.normal(size=(batch, size)) for size in sizes]
    if name == "nt_xent_loss":
        arrays = [z / np.linalg.norm(z, axis=1, keepdims=True) for z in arrays]
    return arrays
