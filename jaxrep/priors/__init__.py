"""The distributions that the latents of new rows are drawn from."""

from jaxrep.priors._diffusion import DiffusionPrior as DiffusionPrior
from jaxrep.priors._diffusion import velocity_loss as velocity_loss
from jaxrep.priors._list import make_prior as make_prior
from jaxrep.priors._mixture import MixturePrior as MixturePrior
from jaxrep.priors._normal import NormalPrior as NormalPrior
from jaxrep.priors._prior import DensityPrior as DensityPrior
from jaxrep.priors._prior import Prior as Prior
