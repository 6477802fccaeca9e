"""Linear layers: how they start, and several of them in a row."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

GAINS = {"pytorch": 1.0, "he": math.sqrt(6)}
"""Of initial weights, by the names that hyperparameters have for them; see `linears`."""


class MLP(nn.Module):
    """Linear layers with ReLU between them.

    Args:
        dims: sizes from input to output; n sizes make n − 1 layers, a single one the identity.
        activate_last: whether ReLU follows the last layer too.
        gain: of the initial weights of layers that ReLU follows, as of `linears`.
        generator: source of the initial weights.

    Example:
        >>> mlp = MLP((4, 8, 2), generator=torch.Generator().manual_seed(0))
        >>> tuple(mlp(torch.ones(3, 4)).shape)
        (3, 2)
    """

    def __init__(
        self,
        dims: Sequence[int],
        *,
        activate_last: bool = False,
        gain: float = 1.0,
        generator: torch.Generator,
    ):
        super().__init__()
        sizes = list(pairwise(dims))
        inner = len(sizes) if activate_last else max(len(sizes) - 1, 0)
        inner_layers = linears(sizes[:inner], generator, gain=gain)
        self.layers = nn.ModuleList([*inner_layers, *linears(sizes[inner:], generator)])
        self.activate_last = activate_last

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[B, dims[0]]` to `[B, dims[-1]]`."""
        last = len(self.layers) - 1
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i < last or self.activate_last:
                x = torch.relu(x)
        return x

    def after_first(self, x: Tensor) -> Tensor:
        """Maps what the first layer gives, `[B, dims[1]]`, to `[B, dims[-1]]`."""
        last = len(self.layers) - 1
        for i, layer in enumerate(self.layers):
            if i > 0:
                x = layer(x)
            if i < last or self.activate_last:
                x = torch.relu(x)
        return x


def linears(
    sizes: Sequence[tuple[int, int]],
    generator: torch.Generator,
    *,
    bias: bool = True,
    gain: float = 1.0,
) -> list[nn.Linear]:
    """Returns linear layers, weights and biases from U(−1/√fan_in, 1/√fan_in), times a gain.

    Args:
        sizes: inputs and outputs of each layer.
        generator: source of the initial weights.
        bias: whether they have biases; before `BatchNorm` one would have no gradient.
        gain: of the weights, not of the biases. √6 keeps the variance of what passes ReLU.

    References:
        He et al., Delving Deep into Rectifiers, 2015, equation 10, for the gain √6.
    """
    return [_linear(fan_in, out, generator, bias, gain) for fan_in, out in sizes]


def _linear(
    fan_in: int, out: int, generator: torch.Generator, bias: bool, gain: float
) -> nn.Linear:
    bound = fan_in**-0.5
    layer = nn.Linear(fan_in, out, bias=bias)
    for tensor in layer.parameters():  # the weight first
        nn.init.uniform_(tensor, -bound, bound, generator=generator)
    with torch.no_grad():
        layer.weight.mul_(gain)
    return layer
