"""What a view is."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jax import Array

from jaxrep.batch import Batch
from jaxrep.views._draws import Draws, Noise

Rate = float | Array


class View(NamedTuple):
    """A corruption of rows: how its noise is drawn, and how it is applied."""

    rate: str
    """The hyperparameter that says how much; a rate of 0 leaves the view out."""

    draw: Callable[[Draws, Batch, Mapping[str, Rate]], Any]
    """Draws noise by name, or `Deferred` noise, for rows of which shapes and dtypes count, numbers
    `[..., B, D]` and codes `[..., B, C]` or None, under the rates of all views by the
    hyperparameters' names. Views that share a function share what it draws."""

    apply: Callable[[Batch, Noise, Rate], Batch]
    """Maps rows, drawn noise by name, and the rate to corrupted rows."""

    stream: int
    """Number of the view's stream of random numbers, folded into the batch's key; 0 takes the key
    itself. Views that draw apart have streams of their own."""

    makes_gaps: bool = False
    """Whether it makes cells missing, so that the network has to take any cell that is."""


def is_off(rate: Rate) -> bool:
    """Returns whether a rate is exactly 0, which takes its term out of the program.

    Traced rates are never off.

    Args:
        rate: of a view, or any other number that a method computes with.
    """
    return isinstance(rate, float | int) and rate == 0
