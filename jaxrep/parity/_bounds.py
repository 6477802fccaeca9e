"""What counts as equal: the tolerances, in one place, and the judgement of two arrays by them.

Errors are normwise: the largest difference divided by the largest element of the reference.
Elementwise relative errors and ULPs say nothing about sums that cancel.

- float64: both results lie within 1e-12 of the reference and of each other.
- below float64, with u the unit roundoff and r the float64 reference: the error of each framework
  is at most 4 · max(the other's error, 8u · max|r|). Where r is a sum that cancels, the sum of its
  absolute terms takes the place of max|r|; where nothing says what it is, what inputs moved by a
  roundoff change of r, in units of u, if that is more.
- and at most 10⁴ u · max|r|, whatever the other's: an error that both share is one too.
"""

import math
from dataclasses import dataclass

import numpy as np

FLOAT64 = 1e-12
# Training amplifies rounding: contrastive training up to 10⁴ times within 700 steps (measured). The
# weights of a whole run may lie this far apart; its loss, and one step, only FLOAT64.
TRAJECTORY_WEIGHTS = 1e-9
FACTOR = 4
FLOOR = 8
SHARED = 1e4
ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}


@dataclass(frozen=True)
class Verdict:
    """How two arrays stand to a reference; errors as in `jaxrep.parity.Check`."""

    passed: bool
    jax_error: float | None
    torch_error: float | None
    difference: float
    bound: float
    margin: float | None
    index: tuple[int, ...] | None
    message: str


def judge(
    jax: np.ndarray,
    torch: np.ndarray,
    reference: np.ndarray | None,
    *,
    dtype: str,
    scale: float | None = None,
    largest: float = 0.0,
) -> Verdict:
    """Compares what both frameworks computed.

    Args:
        jax: JAX's result, whatever it was computed in.
        torch: PyTorch's, of the same shape.
        reference: the float64 result; None lets each be the other's, in float64 alone.
        dtype: what both computed in.
        scale: the sum of the absolute terms where the result is a sum that cancels.
        largest: the largest element of the gradient that the result is a part of. A part that is 0
            but for the rounding of float64, such as that of a bias before a mean is subtracted, is
            compared in this unit: its own elements are rounding errors.
    """
    jax, torch = np.asarray(jax, np.float64), np.asarray(torch, np.float64)
    expected = torch if reference is None else np.asarray(reference, np.float64)
    problem = _places_that_are_not_finite(jax, torch, expected)
    if problem:
        index, message = problem
        return Verdict(False, None, None, math.inf, 0.0, 0.0, index, message)
    size = _largest(expected)
    size = largest if size <= FLOAT64 * largest else size
    unit = size if size > 0 else 1.0
    ours, theirs, between = (
        float(_gaps(a, b).max(initial=0.0)) / unit
        for a, b in ((jax, expected), (torch, expected), (jax, torch))
    )
    terms = max(size, scale or 0.0) / unit
    nearest = [(ours, theirs), (theirs, ours)]
    if dtype == "float64":
        error, bound = max(ours, theirs, between), FLOAT64 * terms
    else:
        floor = FLOOR * ROUNDOFF[dtype] * terms
        ceiling = max(min(SHARED * ROUNDOFF[dtype], 0.1) * (size > 0), floor)
        bounds = [(e, min(FACTOR * max(other, floor), ceiling)) for e, other in nearest]
        error, bound = min(bounds, key=lambda pair: pair[1] / pair[0] if pair[0] else math.inf)
    passed = error <= bound
    return Verdict(
        passed,
        None if reference is None else ours,
        None if reference is None else theirs,
        between,
        bound,
        bound / error if error else None,
        _worst_index(jax, torch, expected),
        "" if passed else _words(jax, torch, expected),
    )


def _places_that_are_not_finite(
    jax: np.ndarray, torch: np.ndarray, expected: np.ndarray
) -> tuple[tuple[int, ...], str] | None:
    """Finds an element that is NaN or infinite in one of the three and something else elsewhere."""
    for array in (jax, torch):
        with np.errstate(invalid="ignore"):
            same = (array == expected) | (np.isnan(array) & np.isnan(expected))
        wrong = np.argwhere(~same & ~(np.isfinite(array) & np.isfinite(expected)))
        if len(wrong):
            index = tuple(int(i) for i in wrong[0])
            return index, _words(jax, torch, expected, index)
    return None


def _words(
    jax: np.ndarray,
    torch: np.ndarray,
    expected: np.ndarray,
    index: tuple[int, ...] | None = None,
) -> str:
    index = _worst_index(jax, torch, expected) if index is None else index
    place = f" at {list(index)}" if index else ""
    values = f"jax has {jax[index]:.9g}{place}, torch {torch[index]:.9g}"
    return values if expected is torch else f"{values}, the reference {expected[index]:.9g}"


def _worst_index(jax: np.ndarray, torch: np.ndarray, expected: np.ndarray) -> tuple[int, ...]:
    if jax.size == 0:
        return ()
    errors = np.maximum(_gaps(jax, expected), _gaps(torch, expected))
    return tuple(int(i) for i in np.unravel_index(np.argmax(errors), errors.shape))


def _gaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a − b|, and 0 where both are the same NaN or infinity."""
    with np.errstate(invalid="ignore", over="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        return np.where(same, 0.0, np.abs(a - b))


def _largest(array: np.ndarray) -> float:
    return float(np.max(np.abs(array), where=~np.isnan(array) & ~np.isinf(array), initial=0.0))
