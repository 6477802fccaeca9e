"""What a view is."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor

from torch_ref.batch import Batch
from torch_ref.views._draws import Draws, Noise

Rate = float | Tensor


class View(NamedTuple):
    """A corruption of rows: how its noise is drawn, and how it is applied."""

    rate: str
    """The hyperparameter that says how much; a rate of 0 leaves the view out."""

    draw: Callable[[Draws, Batch, Mapping[str, Rate]], Noise]
    """Draws noise by name for rows, numbers `[..., B, D]` and codes `[..., B, C]` of which shapes
    and dtypes count, under the rates of all views by the hyperparameters' names."""

    apply: Callable[[Batch, Noise, Rate], Batch]
    """Maps rows, drawn noise by name, and the rate to corrupted rows."""

    makes_gaps: bool = False
    """Whether cells may be missing of corrupted rows that are not of the rows themselves."""


def is_off(rate: Rate) -> bool:
    """Returns whether a rate is exactly 0, which draws nothing and leaves its view out.

    Args:
        rate: of a view.
    """
    return isinstance(rate, float | int) and rate == 0
