"""What two files of results differ in beyond noise: `python -m bench compare A.json B.json`.

For every series in both files, the samples of B are held against those of A. A series has changed
if both hold:

- the ratio of the medians is off 1 by more than 5 % (`--tolerance`), for two runs of a shared
  machine differ by some percents as wholes, which the samples of one run do not show;
- the exact two-sided Mann-Whitney test gives p ≤ 0.01: by ranks alone, so one outlier cannot make a
  change. Three samples a side or fewer can never reach it (seven can: 0.0006 if none overlap), and
  such a series is told as *too few samples*.

With a hundred series, one is expected to pass p ≤ 0.01 by chance; the ratio's bound makes that
rarer. Beside the ratio stands its 95 % bootstrap interval, of medians of resampled samples, seeded.
Read the series of PyTorch and of the bare matrix products as well: where they moved with jaxrep's,
it was the machine. Exit code 1: a series got worse or is missing in B; 0: none.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import mannwhitneyu

from bench.measured import Measured, Series
from bench.records import Record

TOLERANCE = 0.05
P_VALUE = 0.01
_RESAMPLES = 4000

Verdict = Literal["same", "better", "worse", "too few samples", "missing", "new", "other sizes"]


@dataclass(frozen=True)
class Change:
    """What became of a series."""

    entry: str
    case: str
    side: str
    verdict: Verdict

    ratio: float = float("nan")
    """Median of B over median of A."""

    interval: tuple[float, float] = (float("nan"), float("nan"))
    """Bootstrap interval of the ratio, 95 %."""

    p: float = float("nan")
    """Of the rank test."""


def compare(
    before: dict[str, Record], after: dict[str, Record], *, tolerance: float = TOLERANCE
) -> Iterator[Change]:
    """Yields what became of every series of the entries that both files hold.

    Args:
        before: records by the entries' names.
        after: the same, later or elsewhere.
        tolerance: bound on the ratio's distance from 1.
    """
    for name in before.keys() & after.keys():
        old, new = Measured.from_json(before[name]), Measured.from_json(after[name])
        same_work = before[name]["quick"] == after[name]["quick"]
        for series in old.series:
            other = new.find(series.case, series.side, series.unit)
            if other is None:
                yield Change(name, series.case, series.side, "missing")
            elif not same_work:
                yield Change(name, series.case, series.side, "other sizes")
            else:
                yield _change(name, series, other, tolerance)
        for series in new.series:
            if old.find(series.case, series.side, series.unit) is None:
                yield Change(name, series.case, series.side, "new")


def _change(entry: str, old: Series, new: Series, tolerance: float) -> Change:
    ratio = new.median / old.median
    p = float(mannwhitneyu(old.samples, new.samples, method="exact").pvalue)
    verdict: Verdict = "same"
    if _least_p(len(old.samples), len(new.samples)) > P_VALUE:
        verdict = "too few samples"
    elif p <= P_VALUE and abs(ratio - 1) > tolerance:
        verdict = "better" if (ratio > 1) == old.higher_is_better else "worse"
    interval = bootstrap_ratio(old.samples, new.samples)
    return Change(entry, old.case, old.side, verdict, ratio, interval, p)


def bootstrap_ratio(old: Sequence[float], new: Sequence[float]) -> tuple[float, float]:
    """Returns the 95 % bootstrap interval of the ratio of medians, new over old.

    Example:
        >>> bootstrap_ratio([1.0, 1.0, 1.0], [2.0, 2.0, 2.0])
        (2.0, 2.0)
    """
    rng = np.random.default_rng(0)
    medians = [
        np.median(rng.choice(np.asarray(samples), (_RESAMPLES, len(samples))), axis=1)
        for samples in (old, new)
    ]
    low, high = np.percentile(medians[1] / medians[0], [2.5, 97.5])
    return float(low), float(high)


def _least_p(m: int, n: int) -> float:
    """The p of samples of which all of one side lie above all of the other."""
    return float(mannwhitneyu(np.arange(m), np.arange(m, m + n), method="exact").pvalue)
