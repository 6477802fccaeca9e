"""The priors by name."""

from collections.abc import Callable

from jaxrep.priors._diffusion import DiffusionPrior
from jaxrep.priors._mixture import MixturePrior
from jaxrep.priors._normal import NormalPrior
from jaxrep.priors._prior import Prior

_PRIORS: dict[str, Callable[[int], Prior]] = {
    "normal": NormalPrior,
    "mixture": MixturePrior,
    "diffusion": DiffusionPrior,
}


def make_prior(name: str, latent_dim: int) -> Prior:
    """Returns the prior of a name.

    Args:
        name: `normal`, `mixture` or `diffusion`.
        latent_dim: Z, number of latents.

    Example:
        >>> make_prior("mixture", 3).draws
        4
    """
    return _PRIORS[name](latent_dim)
