"""What a cross-check found of one array, and of all cases of a check."""

import math
from dataclasses import dataclass

TARGET_RATIO = 1.5


@dataclass(frozen=True)
class Check:
    """One array that both frameworks computed. Errors are relative to the largest element."""

    check: str
    """What was compared, such as `nt_xent_loss: gradient of z1`."""

    case: str
    """On which input."""

    dtype: str
    """The dtype that both computed in."""

    passed: bool
    """Whether all bounds hold."""

    array: str = ""
    """Which of several outputs or weights, such as `['mu']`."""

    jax_error: float | None = None
    """Error of JAX against the float64 reference; None where there is none."""

    torch_error: float | None = None
    """Error of PyTorch against it; None in float64 where PyTorch's result is the reference."""

    difference: float | None = None
    """Between the two."""

    bound: float | None = None
    """What the error nearest to its bound may be."""

    margin: float | None = None
    """Bound / error, at that error: below 1 it fails. None is infinite: no error at all."""

    index: tuple[int, ...] | None = None
    """Where the largest error is."""

    message: str = ""
    """What is wrong, in words, where it did not pass."""

    @property
    def tightness(self) -> float:
        """A number that is lowest for what fails or comes nearest to failing."""
        if not self.passed:
            return -1.0
        return math.inf if self.margin is None else self.margin


@dataclass(frozen=True)
class Accuracy:
    """How exact both frameworks are over all cases of a check, in one dtype."""

    check: str
    """What was compared."""

    dtype: str
    """The dtype."""

    jax_error: float
    """Geometric mean of JAX's errors, each at least the unit roundoff."""

    torch_error: float
    """The same of PyTorch."""

    ratio: float
    """Their ratio; below 1, JAX is the more exact."""
