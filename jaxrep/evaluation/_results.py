"""What an evaluation found, as plain data."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Result:
    """What one representation or score reached; one value of each metric a repetition."""

    name: str
    """Such as `embedding`, or `PCA`."""

    is_baseline: bool
    """Whether it owes nothing to the run."""

    size: int | None
    """Its columns; None of a score."""

    metrics: dict[str, tuple[float, ...]]
    """Values by metric; NaN where a metric is undefined."""

    def mean(self, metric: str) -> float:
        """Returns the mean over the repetitions."""
        return float(np.mean(self.metrics[metric]))

    def std(self, metric: str) -> float:
        """Returns the sample's standard deviation over the repetitions; NaN of one."""
        values = self.metrics[metric]
        return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan

    def to_json(self) -> dict[str, Any]:
        """Returns plain data, with None for NaN."""
        metrics = {
            name: {
                "mean": _finite(self.mean(name)),
                "std": _finite(self.std(name)),
                "values": [_finite(value) for value in values],
            }
            for name, values in self.metrics.items()
        }
        return {
            "name": self.name,
            "is_baseline": self.is_baseline,
            "size": self.size,
            "metrics": metrics,
        }


@dataclass(frozen=True)
class Evaluation:
    """A run beside its baselines, on the rows of one table."""

    run: str
    """The run's folder."""

    method: str
    """Its method."""

    data: str
    """The table."""

    label: str
    """Its label column."""

    task: str
    """`classification`, `regression` or `anomalies`."""

    table_rows: int
    """Rows of the table."""

    rows: int
    """Of them, those looked at: with a label, and not more than asked for."""

    unlabelled_rows: int
    """Of those drawn, the rows left out because they have no label."""

    labelled_rows: int
    """Rows whose label a probe learns from, in each repetition; 0 of anomalies."""

    test_rows: int
    """Rows that each number is measured on, in each repetition."""

    classes: dict[str, int] | None
    """Rows of each class; None for numbers."""

    anomalies: tuple[str, ...]
    """The classes that count as anomalous."""

    reference: str
    """Where the rows come from that the baselines are fitted on; no label of them is used."""

    reference_rows: int
    """How many there are."""

    trained_on_data: bool
    """Whether the table is the very file, or set, that the run trained on."""

    repeats: int
    """Repetitions, each with a split of its own."""

    seed: int
    """Decides the rows drawn and the splits."""

    results: tuple[Result, ...]
    """The run's own first, then the baselines."""

    columns: tuple[dict[str, Any], ...] | None
    """How each column is reconstructed, the most nats first; None without a decoder. Errors are
    root mean squares in the column's own units, or shares of wrong levels."""

    notes: tuple[str, ...]
    """Remarks on what was left out, or looks wrong."""

    cells: dict[str, dict[str, int]]
    """The table's cells that are of an unknown category, filled or missing, by column."""

    def to_json(self) -> dict[str, Any]:
        """Returns plain data, with None for what is undefined."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return fields | {
            "anomalies": list(self.anomalies),
            "results": [result.to_json() for result in self.results],
            "columns": None if self.columns is None else [dict(c) for c in self.columns],
            "notes": list(self.notes),
        }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
