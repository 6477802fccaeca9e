"""The distributions that the latents of new rows are drawn from."""

from torch_ref.priors._diffusion import DiffusionPrior as DiffusionPrior
from torch_ref.priors._list import make_prior as make_prior
from torch_ref.priors._mixture import MixturePrior as MixturePrior
from torch_ref.priors._normal import NormalPrior as NormalPrior
from torch_ref.priors._prior import DensityPrior as DensityPrior
from torch_ref.priors._prior import Prior as Prior
