"""The losses with the hyperparameters they are tested at, and arguments for them."""

import numpy as np

LOSSES = {
    "mse_loss": [{}],
    "gaussian_kl": [{}],
    "elbo_loss": [{"beta": 0.0}, {"beta": 1.0}, {"beta": 4.0}],
    "nt_xent_loss": [{"temperature": t} for t in (1.0, 0.5, 0.1, 0.01)],
    "cross_entropy": [{"label_smoothing": 0.0}, {"label_smoothing": 0.125}],
    "half_squared_error": [{}],
}
CASES = [(name, settings) for name, all_settings in LOSSES.items() for settings in all_settings]


def draw(name: str, batch: int, width: int, seed: int = 0, scale: float = 1.0) -> list[np.ndarray]:
    rng = np.random.default_rng([seed, batch, width])
    if name == "cross_entropy":
        logits = scale * rng.normal(size=(batch, width))
        return [logits, rng.integers(0, width, batch, dtype=np.int32)]
    if name == "half_squared_error":
        return [scale * rng.normal(size=batch) for _ in range(2)]
    sizes = [width, width, 3, 3] if name == "elbo_loss" else [width, width]
    arrays = [scale * rng.normal(size=(batch, size)) for size in sizes]
    if name == "nt_xent_loss":
        arrays = [z / np.linalg.norm(z, axis=1, keepdims=True) for z in arrays]
    return arrays
