"""A diffusion model of latents, fitted to the posteriors of the training rows."""

import math
from itertools import pairwise

import torch
from torch import Tensor

from torch_ref.priors._prior import Prior

WIDTH, LAYERS = 512, 3
"""Of the hidden layers."""

STEPS = 25
"""Of the solver, two evaluations of the network each."""

_LEAST, _MOST, _CURVE = 0.002, 80.0, 7.0  # levels σ = tan θ, and how they are spaced
_FREQUENCIES = 32


class DiffusionPrior(Prior):
    """Latents that a learned velocity carries there from noise.

    Standardised latents z and noise ε are mixed by an angle, y = cos θ · z + sin θ · ε, from z at
    0 to ε at π/2. A network V(y, θ) of three hidden layers learns dy/dθ, which is cos θ · ε −
    sin θ · z, in the mean over all z and ε that y may come of. Latents are the end at θ = 0 of
    dy/dθ = V(y, θ) from y = ε, in 25 steps of Heun's method. Before it is fitted, V is 0, and
    latents are the draws.

    Args:
        latent_dim: Z, number of latents.

    References:
        Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022:
        the noise levels σ = tan θ of training and solver, and the loss, of which this is another
        form; Lu and Song, Simplifying, Stabilizing and Scaling Continuous-Time Consistency Models,
        2025, for the form; Zhang et al., Mixed-Type Tabular Data Synthesis with Score-Based
        Diffusion in Latent Space, 2024, for latents of tables.

    Example:
        >>> print(DiffusionPrior(2)(torch.tensor([[1.0, -2.0]])))
        tensor([[ 1., -2.]])
    """

    mean: Tensor
    scale: Tensor
    kernel0: Tensor
    kernel1: Tensor
    kernel2: Tensor
    kernel3: Tensor
    bias0: Tensor
    bias1: Tensor
    bias2: Tensor
    bias3: Tensor
    angles: list[float]

    def __init__(self, latent_dim: int):
        super().__init__()
        self.draws = latent_dim
        self.angles = angles()
        self.frequencies = _FREQUENCIES  # TorchScript sees no constants of a module
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("scale", torch.ones(latent_dim))
        for i, (inputs, outputs) in enumerate(_shapes(latent_dim)):
            self.register_buffer(f"kernel{i}", torch.zeros(inputs, outputs))
            self.register_buffer(f"bias{i}", torch.zeros(outputs))

    def forward(self, draws: Tensor) -> Tensor:
        """Maps draws from N(0, 1), `[B, Z]`, to latents `[B, Z]`."""
        found = torch.tensor(self.angles, dtype=draws.dtype, device=draws.device)[:, None, None]
        y = draws
        for i in range(len(self.angles) - 1):
            now, then = found[i], found[i + 1]
            first = self.velocity(y, now)
            there = self.velocity(y + (then - now) * first, then)
            y = y + (then - now) * 0.5 * (first + there)
        return self.mean + self.scale * y

    def velocity(self, y: Tensor, angle: Tensor) -> Tensor:
        """Returns V(y, θ), `[B, Z]`.

        Args:
            y: mixtures of latents and noise, `[B, Z]`.
            angle: θ, `[B, 1]`, or of all rows `[1, 1]`.
        """
        places = torch.linspace(
            0.0, math.log(100.0), self.frequencies, dtype=y.dtype, device=y.device
        )
        told = torch.log(torch.tan(angle)) / 4 * places.exp()
        told = told.expand(y.size(0), self.frequencies)
        h = torch.cat([y, told.sin(), told.cos()], dim=1)
        h = torch.nn.functional.silu(h @ self.kernel0 + self.bias0)
        h = torch.nn.functional.silu(h @ self.kernel1 + self.bias1)
        h = torch.nn.functional.silu(h @ self.kernel2 + self.bias2)
        return h @ self.kernel3 + self.bias3

    def loss(self, z: Tensor, angle: Tensor, noise: Tensor) -> Tensor:
        """Returns what training minimises: the mean of (V(y, θ) − (cos θ · ε − sin θ · z))².

        Args:
            z: standardised latents, `[B, Z]`.
            angle: θ, `[B, 1]`.
            noise: ε, draws from N(0, 1), `[B, Z]`.
        """
        cos, sin = torch.cos(angle), torch.sin(angle)
        found = self.velocity(cos * z + sin * noise, angle)
        return (found - (cos * noise - sin * z)).square().mean()


def angles() -> list[float]:
    """Returns the θ that the solver passes, from arctan 80 to arctan 0.002.

    Example:
        >>> [round(angle, 3) for angle in angles()[::25]]
        [1.558, 0.002]
    """
    most, least = _MOST ** (1 / _CURVE), _LEAST ** (1 / _CURVE)
    places = (i / STEPS for i in range(STEPS + 1))
    return [math.atan((most + place * (least - most)) ** _CURVE) for place in places]


def _shapes(latent_dim: int) -> list[tuple[int, int]]:
    dims = (latent_dim + 2 * _FREQUENCIES, *[WIDTH] * LAYERS, latent_dim)
    return list(pairwise(dims))
