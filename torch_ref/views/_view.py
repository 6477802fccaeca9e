"""What a view is."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor

from torch_ref.views._draws import Draws, Noise

Rate = float | Tensor


class View(NamedTuple):
    """A corruption of rows: how its noise is drawn, and how it is applied."""

    rate: str
    """The hyperparameter that says how much; a rate of 0 leaves the view out."""

    draw: Callable[[Draws, Tensor, Mapping[str, Rate]], Noise]
    """Draws noise by name for rows `[..., B, D]` of which shape and dtype count, under the rates of
    all views by the hyperparameters' names."""

    apply: Callable[[Tensor, Noise, Rate], Tensor]
    """Maps rows `[..., B, D]`, drawn noise by name, and the rate to corrupted rows."""


def is_off(rate: Rate) -> bool:
    """Returns whether a rate is exactly 0, which draws nothing and leaves its view out.

    Args:
        rate: of a view.
    """
    return isinstance(rate, float | int) and rate == 0
