"""How likely rows are under a run that models their density."""

from typing import Any

import numpy as np

from jaxrep.batch import Batch
from jaxrep.dispatch import computing
from jaxrep.errors import InputError
from jaxrep.inference import map_rows
from jaxrep.methods import abstract_network, members_of, split_members
from jaxrep.priors import DensityPrior
from jaxrep.runs.folder import Run

_AT_ONCE = 50  # samples of a row's posterior in one call


@computing()
def log_likelihood(run: Run, x: Batch, *, samples: int = 500, seed: int = 0) -> np.ndarray:
    """Returns estimates of log p(x) of rows by importance sampling, float64 `[N]`, in nats.

    log p(x) is about log (1/S Σ p(x | z) p(z) / q(z | x)), z from the posterior q: on average it is
    too low, and the less so the more samples there are. It is the density of the row's features:
    numbers as they are scaled, and levels; a spike is a level.

    Args:
        run: of a VAE; of several members the first counts.
        x: the rows as features, NumPy arrays.
        samples: S, of each row's posterior.
        seed: decides the draws, which are the same for all rows.

    Raises:
        InputError: the method has no density, its prior has none at hand, or `samples` is below 1.

    References:
        Burda et al., Importance Weighted Autoencoders, 2016, equation 8.
    """
    member = members_of(run.method)[0]
    network: Any = abstract_network(member, run.rows)
    if not hasattr(network, "log_weights"):
        raise InputError(f"{run.method.name} has no density; a VAE has")
    if not isinstance(network.prior, DensityPrior):
        raise InputError(
            f"the prior of this run is {member.hyperparameters.prior}, which has no density at "
            "hand; train with --prior mixture or --prior normal"
        )
    if samples < 1:
        raise InputError(f"samples is {samples}; it must be at least 1")
    weights = split_members(run.weights, run.method.hyperparameters.members)[0]
    size = member.hyperparameters.latent_dim
    eps = np.random.default_rng(seed).normal(size=(samples, size)).astype(np.float32)
    total = np.full(len(x.numbers), -np.inf)
    for start in range(0, samples, _AT_ONCE):
        some = eps[start : start + _AT_ONCE]
        some_weights = map_rows(member, "log_weights", weights, x, run.rows, also=(some,))
        for column in some_weights.astype(np.float64).T:
            total = np.logaddexp(total, column)
    found: np.ndarray = total - np.log(samples)
    return found
