"""Rows of numbers and codes with gaps, drawn for the suites."""

from typing import Any

import numpy as np

from jaxrep.batch import FIRST_SPIKE, MISSING, Batch, RowSpec
from jaxrep.networks import WIDE

# Two codes alike beside each other, a wide one between narrow ones, one of a single level; numbers
# and codes with gaps and without.
MIXED = RowSpec(
    numbers=5,
    levels=(3, WIDE + 1, 5, 5, 2),
    gaps=(True, False, True, False, True, True, True, False, True, False),
)
BY_KIND = MIXED._replace(likelihoods=("gaussian", "squared", "bernoulli", "poisson", "poisson"))
"""The same with a likelihood of each kind."""

SPIKED = MIXED._replace(
    likelihoods=("gaussian", "squared", "gaussian", "gaussian", "squared"), spikes=(2, 1, 0, 3, 0)
)
"""The same with numbers that have spikes, with gaps and without, for methods that take them."""

MIXED_ROWS: dict[str, RowSpec] = {
    "mixed": MIXED,
    "mixed, by kind": BY_KIND,
    "mixed, with spikes": SPIKED,
}

# What numbers in their own units are in those of the network: exact in every dtype.
CONSTANTS = {"likelihood.mean": 0.25, "likelihood.scale": 0.5}

_MISSING_SHARE = 0.2


def draw_rows(rows: RowSpec, count: int, *, seed: int) -> Batch:
    """Returns drawn rows: NumPy arrays, numbers float64.

    Where cells may be missing, a fifth of them is. The first row has all of these missing, the
    second none.

    Args:
        rows: what every row holds. Of a Bernoulli or Poisson likelihood, numbers are 0 and 1 or
            counts in their own units.
        count: number of rows.
        seed: decides the draws.
    """
    rng = np.random.default_rng([seed, count])
    numbers = rng.normal(size=(count, rows.numbers))
    for i, likelihood in enumerate(rows.number_likelihoods):
        if likelihood in ("bernoulli", "poisson"):
            counts = rng.integers(0, 2 if likelihood == "bernoulli" else 9, count)
            numbers[:, i] = (counts - CONSTANTS["likelihood.mean"]) / CONSTANTS["likelihood.scale"]
    for i, count_of_spikes in enumerate(rows.spikes):
        places = rng.integers(-2, count_of_spikes, count) if count_of_spikes else -np.ones(count)
        numbers[:, i] = np.where(places < 0, numbers[:, i], places + FIRST_SPIKE)
    is_missing = rng.random((count, rows.columns)) < _MISSING_SHARE
    is_missing[:1], is_missing[1:2] = True, False
    is_missing &= np.array(rows.gaps or (False,) * rows.columns, bool)
    numbers[is_missing[:, : rows.numbers]] = np.nan
    codes: Any = None
    if rows.codes:
        codes = rng.integers(0, np.array(rows.levels), (count, rows.codes)).astype(np.int32)
        codes[is_missing[:, rows.numbers :]] = MISSING
    made: Any = numbers
    return Batch(made, codes)


def with_constants(weights: dict[str, Any]) -> dict[str, Any]:
    """Returns weights with the constants of likelihoods that `draw_rows` counts with."""
    return weights | {
        name: np.full_like(array, value)
        for name, array in weights.items()
        for ending, value in CONSTANTS.items()
        if name.endswith(ending)
    }
