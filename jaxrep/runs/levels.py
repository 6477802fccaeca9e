"""At which score a row is an anomaly: by a share of training rows, a p-value, or a discovery rate.

`--contamination` reads the threshold off the scores of the training rows, which the network knows.
`--alpha` and `--fdr` take the p-values of `jaxrep.conformal`, by the scores of calibration rows,
which it has never seen.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from jaxrep import conformal
from jaxrep.errors import InputError, ModelFormatError
from jaxrep.hyperparameters import CALIBRATION, CONTAMINATION
from jaxrep.runs.folder import Run
from jaxrep.runs.outputs import rows_of_table, threshold

# So many times the rows that were asked for, and so many more, are not there by chance.
_MANY, _MANY_TIMES = 10, 3

Rule = Literal["contamination", "alpha", "fdr"]


@dataclass(frozen=True)
class Flagging:
    """Which rows of a table are anomalies."""

    rule: Rule
    """What they are told by."""

    level: float
    """The share, level or rate that was asked for."""

    threshold: float
    """The score above which a row is one; infinite if none is."""

    calibration: npt.NDArray[np.float32] | None
    """The scores of the run's calibration rows, ascending, where p-values are computed, `[n]`."""

    table_rows: int = 0
    """Of the whole table, where the rule looks at it."""

    def to_json(self, anomalies: int) -> dict[str, Any]:
        """Returns the rule and what it has found as plain data.

        Args:
            anomalies: how many.
        """
        return {
            "rule": self.rule,
            "level": self.level,
            "anomalies": anomalies,
            "threshold": self.threshold if np.isfinite(self.threshold) else None,
            "calibration_rows": None if self.calibration is None else len(self.calibration),
        }

    def sentence(self, anomalies: int, rows: int = 0) -> str:
        """Says for a person how many rows were found, by which rule, and whether to believe it.

        Args:
            anomalies: how many.
            rows: among how many, if a contamination that new rows exceed by far is to be told.

        Example:
            >>> Flagging("contamination", 0.05, 1.25, None).sentence(3, 60)
            '3 anomalies above the threshold of 1.25 (contamination 0.05)'
            >>> print(Flagging("contamination", 0.05, 1.25, None).sentence(30, 60))
            30 anomalies above the threshold of 1.25 (contamination 0.05)
            30 of 60 rows lie above what 5 % of the training rows do; the network may know those \
by heart. Levels that hold for new rows need train --calibration-fraction and score --alpha
            >>> calibration = np.arange(200, dtype=np.float32)
            >>> Flagging("alpha", 0.05, 189.0, calibration).sentence(3)
            '3 anomalies above the threshold of 189 (p-value at most 0.05, by 200 calibration rows)'
            >>> print(Flagging("fdr", 0.1, np.inf, calibration, 1000).sentence(0))
            no anomalies (false discovery rate 0.1, by 200 calibration rows, which can find no \
fewer than 50 among 1,000 rows)
        """
        count = 0 if self.calibration is None else len(self.calibration)
        told = {
            "contamination": f"contamination {self.level:g}",
            "alpha": f"p-value at most {self.level:g}, by {count:,} calibration rows",
            "fdr": f"false discovery rate {self.level:g}, by {count:,} calibration rows",
        }[self.rule]
        if np.isfinite(self.threshold):
            found = f"{anomalies} anomalies above the threshold of {self.threshold:.6g} ({told})"
            asked = self.level * rows
            if self.rule == "contamination" and rows and anomalies > _MANY_TIMES * asked + _MANY:
                found += (
                    f"\n{anomalies} of {rows:,} rows lie above what {100 * self.level:g} % of the "
                    "training rows do; the network may know those by heart. Levels that hold for "
                    "new rows need train --calibration-fraction and score --alpha"
                )
            return found
        if self.rule != "fdr":
            return f"{anomalies} anomalies ({told})"
        needed = int(np.ceil(self.table_rows / ((count + 1) * self.level)))
        return (
            f"no anomalies ({told}, which can find no fewer than {needed:,} among "
            f"{self.table_rows:,} rows)"
        )


def flagging(
    run: Run,
    source: str,
    *,
    contamination: float | None = None,
    alpha: float | None = None,
    fdr: float | None = None,
    p_value: bool = False,
) -> Flagging:
    """Returns which rows of a table are anomalies.

    For `fdr` the table is scored once for it, in memory that its rows do not grow.

    Args:
        run: the trained run.
        source: the table.
        contamination: share of the training rows whose score lies above the threshold; 0.05 if no
            other rule is given.
        alpha: largest p-value of an anomaly.
        fdr: false discovery rate, which Benjamini and Hochberg's procedure holds over the table.
        p_value: whether p-values are asked for whatever the rule.

    Raises:
        InputError: more than one rule is given, one is out of its range, or the run has too few
            calibration rows for it, or none.
    """
    rules: dict[Rule, float | None] = {"contamination": contamination, "alpha": alpha, "fdr": fdr}
    given = {rule: level for rule, level in rules.items() if level is not None}
    if len(given) > 1:
        flags = " and ".join(f"--{rule}" for rule in given)
        raise InputError(f"{flags} each say which rows are anomalies; give one of them")
    if not given:
        given["contamination"] = CONTAMINATION
    [(rule, level)] = given.items()
    calibration = None
    if p_value or rule != "contamination":
        calibration = calibration_of(run, "--p-value" if rule == "contamination" else f"--{rule}")
    if rule == "contamination" or calibration is None:
        return Flagging(rule, level, threshold(run, level), calibration)
    if rule == "alpha":
        return Flagging(rule, level, alpha_threshold(calibration, level, "--alpha"), calibration)
    conformal.check_level("--fdr", level, len(calibration))
    counts = np.zeros(len(calibration) + 1, np.int64)
    for _, x in rows_of_table(run, source):
        found = conformal.ranks(run.map("score", x), calibration)
        counts += np.bincount(found - 1, minlength=len(counts))
    limit = conformal.limit_of(conformal.discovery_rank(counts, level), calibration)
    return Flagging(rule, level, limit, calibration, int(counts.sum()))


def alpha_threshold(calibration: npt.NDArray[np.float32], alpha: float, name: str) -> float:
    """Returns the score above which p-values are at most α, and none below.

    Args:
        calibration: scores in ascending order, `[n]`.
        alpha: the level.
        name: what it is called where it is given.

    Raises:
        InputError: α is not between 0 and 1, or n < 1/α − 1.

    Example:
        >>> alpha_threshold(np.arange(200, dtype=np.float32), 0.05, "alpha")
        190.0
    """
    conformal.check_level(name, alpha, len(calibration))
    rank = conformal.rank_at(alpha, len(calibration))
    return conformal.limit_of(rank, calibration)


def calibration_of(run: Run, asking: str) -> npt.NDArray[np.float32]:
    """Returns the scores of a run's calibration rows in ascending order, `[n]`.

    Args:
        run: the trained run.
        asking: what needs them, for messages.

    Raises:
        InputError: the run has none.
        ModelFormatError: what it has cannot be.
    """
    stored = run.config.get("calibration_scores")
    if stored is None:
        where = "the run" if run.path == Path() else run.path
        raise InputError(
            f"{asking}: {where} has no calibration rows, whose scores p-values are computed by; "
            "train with --calibration-fraction, 0.2 for example"
        )
    with np.errstate(over="ignore"):
        scores = np.asarray(stored, np.float32)
    if len(scores) < CALIBRATION[0] or not np.isfinite(scores).all() or (np.diff(scores) < 0).any():
        raise ModelFormatError(f"{run.path}: the calibration scores in config.json are damaged")
    return scores
