"""Disentanglement: whether single latents stand for single factors of sprites.

Sprites are drawn here: a square, an ellipse or a triangle in one of five sizes at 12 × 12 places,
on 24 × 24 pixels that are on or off, 2,160 pictures in all. Each method is a VAE of 10 latents
between layers of 256 units, with a Bernoulli likelihood for each pixel, 12,000 steps; they differ
in β and in the weight of the total correlation alone. The mutual information gap (MIG) is that of
the posteriors' means and the factors shape, size, and the two coordinates: 1 where each factor is
told by one latent alone. *Random* is the network before training. Five seeds; what is asked for is
an order of their means.
"""

import itertools
from functools import partial
from typing import Any

import numpy as np

from bench.measured import Figure, Measured, Series
from bench.parts import part
from jaxrep import VAEEmbedding
from jaxrep.evaluation import mutual_information_gap

SIDE, PLACES, SIZES, SEEDS = 24, 12, (3.0, 3.75, 4.5, 5.25, 6.0), 5
UNIT = "MIG"
RANDOM, VAE, BETA, TC = "random", "VAE", "β-VAE", "β-TCVAE"
SETTINGS = {
    RANDOM: {"steps": 1, "learning_rate": 1e-12},
    VAE: {"beta": 1.0},
    BETA: {"beta": 4.0},
    TC: {"beta": 1.0, "total_correlation": 5.0},
}


def sprites() -> tuple[np.ndarray, np.ndarray]:
    """Returns the pictures, `[2160, 576]`, and their factors, `[2160, 4]`."""
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    centres = np.linspace(6.0, SIDE - 6.0, PLACES)
    pictures, factors = [], []
    for shape, size, i, j in itertools.product(range(3), range(5), range(PLACES), range(PLACES)):
        y, x = (rows - centres[i]) / SIZES[size], (columns - centres[j]) / SIZES[size]
        inside = (
            np.maximum(abs(x), abs(y)) < 0.8,
            x**2 + (1.7 * y) ** 2 < 1,
            (abs(x) < (y + 1) / 2) & (y < 0.8),
        )[shape]
        pictures.append(inside.ravel())
        factors.append((shape, size, i, j))
    return np.array(pictures, np.float64), np.array(factors)


def measure(*, quick: bool, rounds: int) -> Measured:
    """Trains every method on the sprites.

    Args:
        quick: one seed, 100 steps.
        rounds: of no use here; there are five seeds.
    """
    series = []
    for side in SETTINGS:
        found = [
            part(f"disentanglement, {side}, {seed}", partial(_gap, side, seed, quick))
            for seed in range(1 if quick else SEEDS)
        ]
        series.append(Series("sprites", side, UNIT, found))
    return Measured(series, {"seeds": SEEDS})


def _gap(side: str, seed: int, quick: bool) -> float:
    x, factors = sprites()
    settings: dict[str, Any] = {
        **{"recipe": "seed", "likelihood": "by_kind", "hidden_dims": (256, 256), "latent_dim": 10},
        **{"steps": 100 if quick else 12_000, "schedule": "cosine", "seed": seed},
        **SETTINGS[side],
    }
    z = VAEEmbedding(**settings).fit(x).transform(x)
    return mutual_information_gap(z, factors)


def figures(measured: Measured) -> list[Figure]:
    """Returns the means, and by how much each method is ahead of the one before it."""
    sides = list(SETTINGS)
    means = {}
    for side in sides:
        found = measured.find("sprites", side, UNIT)
        means[side] = float(np.mean(found.samples)) if found else float("nan")
    made = [Figure(f"MIG, {side}", means[side], "") for side in sides]
    return made + [
        Figure(f"MIG, {b} over {a}", means[b] - means[a], "", 0.0)
        for a, b in itertools.pairwise(sides)
    ]
