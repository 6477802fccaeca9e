"""What every prior is: a map from standard normal draws to latents."""

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from torch_ref.networks import OutputBlock


class Prior(OutputBlock):
    """A distribution of latents `[Z]`.

    It is asked for latents as a function of draws from N(0, 1), so that the same draws give the
    same latents in JAX, in PyTorch and in an export. jaxrep fits it, when training is over, to
    samples of the training rows' posteriors.
    """

    draws: int
    """How many draws from N(0, 1) the latents of a row are made of."""

    fitted_rows: ClassVar[tuple[str, ...]] = ()
    """Names of the buffers that hold rows, of which there may be any number."""

    @abstractmethod
    def forward(self, draws: Tensor) -> Tensor:
        """Maps draws from N(0, 1), `[B, draws]`, to latents `[B, Z]`."""


class DensityPrior(Prior):
    """A prior whose density is at hand."""

    @abstractmethod
    def log_density(self, z: Tensor) -> Tensor:
        """Returns log p of latents `[B, Z]`, in nats, `[B]`."""
