"""What a view is."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jax import Array

from jaxrep.views._draws import Draws, Noise

Rate = float | Array


class View(NamedTuple):
    """A corruption of rows: how its noise is drawn, and how it is applied."""

    rate: str
    """The hyperparameter that says how much; a rate of 0 leaves the view out."""

    draw: Callable[[Draws, Array, Mapping[str, Rate]], Any]
    """Draws noise by name, or `Deferred` noise, for rows `[..., B, D]` of which shape and dtype
    count, under the rates of all views by the hyperparameters' names. Views that share a function
    share what it draws."""

    apply: Callable[[Array, Noise, Rate], Array]
    """Maps rows `[..., B, D]`, drawn noise by name, and the rate to corrupted rows."""

    stream: int
    """Number of the view's stream of random numbers, folded into the batch's key; 0 takes the key
    itself. Views that draw apart have streams of their own."""


def is_off(rate: Rate) -> bool:
    """Returns whether a rate is exactly 0, which takes its term out of the program.

    Traced rates are never off.

    Args:
        rate: of a view, or any other number that a method computes with.
    """
    return isinstance(rate, float | int) and rate == 0
