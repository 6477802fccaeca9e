"""Ranges: which values a hyperparameter may take, and what a refusal says."""

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Protocol

MAX_WIDTH = 1 << 20
MAX_MEMBERS = 256
MAX_LAYERS = 64


class Range(Protocol):
    """Which values a hyperparameter may take."""

    def problem(self, value: object) -> str | None:
        """Says what the value must be, as in "it must be …"; None if it is in the range."""


@dataclass(frozen=True)
class Whole:
    """Whole numbers from `low` to `high`.

    Example:
        >>> Whole(1, 9).problem(0.5)
        'a whole number from 1 to 9'
    """

    low: int
    high: int = 2**31 - 1

    def problem(self, value: object) -> str | None:
        """Says what the value must be; None if it is in the range."""
        is_whole = isinstance(value, Integral) and not isinstance(value, bool)
        if is_whole and self.low <= int(value) <= self.high:  # type: ignore[call-overload]
            return None
        return f"a whole number from {self.low} to {self.high}"


@dataclass(frozen=True)
class Number:
    """Finite numbers above, or from, a lower bound, and below an upper one.

    Example:
        >>> Number(at_least=0, below=1).problem(1.0)
        'at least 0 and below 1'
    """

    at_least: float | None = None
    above: float | None = None
    below: float | None = None

    def problem(self, value: object) -> str | None:
        """Says what the value must be; None if it is in the range."""
        if isinstance(value, Real) and not isinstance(value, bool) and self._holds(value):
            return None
        if self.below is not None:
            low = (
                f"above {self.above:g}" if self.at_least is None else f"at least {self.at_least:g}"
            )
            return f"{low} and below {self.below:g}"
        if self.above is not None:
            return f"a finite number above {self.above:g}"
        return "a finite number" + (
            "" if self.at_least is None else f" of at least {self.at_least:g}"
        )

    def _holds(self, value: Real) -> bool:
        try:
            number = float(value)
        except OverflowError:  # 10⁴⁰⁰, for one
            return False
        low = -math.inf if self.at_least is None else self.at_least
        above = -math.inf if self.above is None else self.above
        below = math.inf if self.below is None else self.below
        return math.isfinite(number) and low <= number and above < number < below


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def problem(self, value: object) -> str | None:
        """Says what the value must be; None if it is in the range."""
        return None if isinstance(value, bool) else "True or False"


@dataclass(frozen=True)
class OneOf:
    """One of several texts.

    Example:
        >>> OneOf("adam", "adamw").problem("sgd")
        'one of adam, adamw'
    """

    options: tuple[str, ...]

    def __init__(self, *options: str):
        object.__setattr__(self, "options", options)

    def problem(self, value: object) -> str | None:
        """Says what the value must be; None if it is in the range."""
        return None if value in self.options else "one of " + ", ".join(self.options)


@dataclass(frozen=True)
class Widths:
    """Widths of layers: any number of them up to `MAX_LAYERS`, none included."""

    def problem(self, value: object) -> str | None:
        """Says what the value must be; None if it is in the range."""
        one = Whole(1, MAX_WIDTH)
        widths = value if isinstance(value, list | tuple) else (None,)
        if len(widths) <= MAX_LAYERS and not any(one.problem(width) for width in widths):
            return None
        return f"at most {MAX_LAYERS} whole numbers from 1 to {MAX_WIDTH}"


@dataclass(frozen=True)
class Names:
    """Different names out of those that are known, in any order; none is allowed.

    Example:
        >>> Names("noise", "dropout").problem(("noise", "noise"))
        'different names out of noise, dropout'
    """

    known: tuple[str, ...]

    def __init__(self, *known: str):
        object.__setattr__(self, "known", known)

    def problem(self, value: object) -> str | None:
        """Says what the value must be; None if it is in the range."""
        names = value if isinstance(value, list | tuple) else (None,)
        are_known = all(isinstance(name, str) and name in self.known for name in names)
        if are_known and len(set(names)) == len(names):
            return None
        return "different names out of " + ", ".join(self.known)
