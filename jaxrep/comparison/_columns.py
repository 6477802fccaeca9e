"""Single columns: distances of distributions, levels that are lost, values that cannot be."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxrep.data.schema import CategoricalColumn, Column

from ._cells import Cells, Numbers, is_discrete, is_whole

COMMON = 0.01
"""Share of the real rows from which on a level counts as common."""

_DECIMALS = 14  # from which on numbers count as equal, as sdmetrics has it


@dataclass(frozen=True)
class ColumnScore:
    """How a column of made rows differs from the real one."""

    name: str
    """Its name."""

    kind: str
    """What it is."""

    measure: str
    """`KSComplement` of numbers, `TVComplement` of levels."""

    score: float
    """1 where both distributions are the same, 0 where they share nothing; NaN where one table has
    no cell in it."""

    missing: tuple[float, float]
    """Share of the cells that are missing in the real rows, and in the made ones."""

    common: int = 0
    """Levels that a hundredth of the real rows or more have."""

    lost: tuple[str, ...] = ()
    """Those of them that no made row has."""

    drift: float = 0.0
    """By how much the share of a common level differs at most."""

    rare: tuple[int, int] = (0, 0)
    """The other levels, and how many of them some made row has."""

    outside: int = 0
    """Made cells beyond the least and largest real number, or of a level that no real row has."""

    broken: int = 0
    """Made cells that are not whole in a column of whole numbers."""

    def to_json(self) -> dict[str, Any]:
        """Returns it as plain data."""
        made: dict[str, Any] = {
            "name": self.name,
            "kind": self.kind,
            "measure": self.measure,
            "score": None if np.isnan(self.score) else self.score,
            "missing": {"real": self.missing[0], "made": self.missing[1]},
            "outside": self.outside,
        }
        if self.measure == "TVComplement":
            rare, covered = self.rare
            return made | {
                "common_levels": self.common,
                "lost_levels": list(self.lost),
                "drift": self.drift,
                "rare_levels": rare,
                "rare_levels_covered": covered,
            }
        return made | {"not_whole": self.broken}


def ks_complement(real: Numbers, made: Numbers) -> float:
    """1 − supₓ |F_real(x) − F_made(x)|: one minus the Kolmogorov–Smirnov distance.

    Args:
        real: numbers, `[N]`; missing ones are left out.
        made: numbers, `[M]`.

    Returns:
        From 0 to 1; NaN where one has no number.

    References:
        sdmetrics' KSComplement, which rounds to 14 decimals as this does.

    Example:
        >>> ks_complement(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, 9.0, 9.0, np.nan]))
        0.5
    """
    real, made = (np.round(x[~np.isnan(x)], _DECIMALS) for x in (real, made))
    if not len(real) or not len(made):
        return float("nan")
    both = np.concatenate([real, made])
    shares = [np.searchsorted(np.sort(x), both, side="right") / len(x) for x in (real, made)]
    return float(1 - np.abs(shares[0] - shares[1]).max())


def tv_complement(real: Numbers, made: Numbers) -> float:
    """1 − ½ Σₗ |p_real(l) − p_made(l)|: one minus the total variation distance.

    Args:
        real: codes of levels, `[N]`; missing ones, NaN, are left out.
        made: codes of levels, `[M]`.

    Returns:
        From 0 to 1; NaN where one has no level.

    References:
        sdmetrics' TVComplement.

    Example:
        >>> tv_complement(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 0.0, 0.0, 1.0]))
        0.75
    """
    real, made = (x[~np.isnan(x)] for x in (real, made))
    if not len(real) or not len(made):
        return float("nan")
    shares = _shares(real), _shares(made)
    levels = shares[0].keys() | shares[1].keys()
    return 1 - 0.5 * sum(abs(shares[0].get(x, 0) - shares[1].get(x, 0)) for x in sorted(levels))


def _shares(codes: Numbers) -> dict[float, float]:
    levels, counts = np.unique(codes, return_counts=True)
    return dict(zip(levels.tolist(), (counts / len(codes)).tolist(), strict=True))


def score_columns(real: Cells, made: Cells) -> list[ColumnScore]:
    """Returns how each column differs, in the order of the real table."""
    columns = real.schema.columns
    return [_score(*each) for each in zip(columns, real.raw.T, made.raw.T, strict=True)]


def _score(column: Column, real: Numbers, made: Numbers) -> ColumnScore:
    missing = float(np.isnan(real).mean()), float(np.isnan(made).mean())
    there, new = real[~np.isnan(real)], made[~np.isnan(made)]
    if not is_discrete(column):
        return ColumnScore(
            column.name,
            column.kind,
            "KSComplement",
            ks_complement(real, made),
            missing,
            outside=int(((new < there.min()) | (new > there.max())).sum()),
            broken=int((new != np.rint(new)).sum()) if is_whole(column, there) else 0,
        )
    shares, found = _shares(there), _shares(new)
    common = [level for level, share in shares.items() if share >= COMMON]
    rare = [level for level, share in shares.items() if share < COMMON]
    drifts = [abs(found.get(level, 0) - shares[level]) for level in common]
    return ColumnScore(
        column.name,
        column.kind,
        "TVComplement",
        tv_complement(real, made),
        missing,
        common=len(common),
        lost=tuple(_level(column, level) for level in common if level not in found),
        drift=max(drifts, default=0.0),
        rare=(len(rare), sum(level in found for level in rare)),
        outside=int((~np.isin(new, list(shares))).sum()),
    )


def _level(column: Column, code: float) -> str:
    if isinstance(column, CategoricalColumn):
        return column.levels[int(code)]
    return {0.0: "false", 1.0: "true"}.get(code, f"{code:g}")
