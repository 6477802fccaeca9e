"""How far apart the arrays of two models are, place by place."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxrep.parity._recording import Call


@dataclass(frozen=True)
class Difference:
    """How far two lists of arrays are apart: the first arrays that part, else the farthest."""

    error: float = 0.0
    which: int | None = None  # the arrays' place in both lists; None where the numbers differ
    index: tuple[int, ...] | None = None
    values: tuple[float | None, float | None] = (None, None)
    text: str = ""


@dataclass(frozen=True)
class Place:
    """One comparison: inputs or outputs of two layers or, without `pair`, what the models return.

    `before` are the layers that ran last before it. `jax` and `torch` are the arrays compared.
    """

    kind: str
    number: int
    pair: tuple[Call, Call] | None
    before: tuple[Call, Call] | None
    jax: list[np.ndarray]
    torch: list[np.ndarray]
    difference: Difference
    key: str = ""

    @property
    def name(self) -> str:
        """Such as `output of layer 2`."""
        which = self.difference.which
        if self.pair is None:
            return f"final output{self.key}"
        array = f", array {which + 1}" if which is not None and len(self.jax) > 1 else ""
        return f"{self.kind} of layer {self.number}{array}"


def compare(
    ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray], tolerance: float
) -> Difference:
    """Compares two lists of arrays: the first pair beyond the tolerance, else the farthest."""
    if len(ours) != len(theirs):
        return Difference(np.inf, text=f"{len(ours)} arrays in JAX, {len(theirs)} in torch")
    found = [
        difference_of(a, b, which) for which, (a, b) in enumerate(zip(ours, theirs, strict=True))
    ]
    farthest = max(found, key=lambda difference: difference.error, default=Difference())
    return next((difference for difference in found if difference.error > tolerance), farthest)


def difference_of(a: np.ndarray, b: np.ndarray, which: int = 0) -> Difference:
    """Returns max|a − b| / max|b| and where it is; the same NaN or infinity is not a difference."""
    if a.shape != b.shape:
        return Difference(np.inf, which, text=f"shape {a.shape} in JAX, {b.shape} in torch")
    if not a.size:
        return Difference(0.0, which)
    dtype = np.result_type(a, b, np.float64)
    a, b = a.astype(dtype), b.astype(dtype)
    finite = np.isfinite(a) & np.isfinite(b)
    with np.errstate(invalid="ignore", over="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        gaps = np.where(same, 0.0, np.where(finite, np.abs(a - b), np.inf))
    index = tuple(int(i) for i in np.unravel_index(np.argmax(gaps), gaps.shape))
    gap, scale = float(gaps[index]), float(np.max(np.abs(b), where=finite, initial=0.0))
    error = (gap / scale if scale else np.inf) if gap else 0.0
    values = a[index].item(), b[index].item()
    at = f" at index {list(index)}" if index else ""
    text = f"{values[0]:.6g} in JAX, {values[1]:.6g} in torch{at}"
    return Difference(error, which, index, values, text)


def short(error: float | None) -> str:
    """An error for people."""
    if error is None:
        return "-"
    return f"{error:.1e}" if error else "0"
