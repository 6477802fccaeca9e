"""An evaluation as text."""

import math
from collections.abc import Sequence
from typing import Any

from jaxrep.text_table import laid_out, on_one_line

from ._results import Evaluation, Result

MOST_COLUMNS = 20
_TITLES = {
    "linear_accuracy": "linear probe",
    "linear_balanced_accuracy": "balanced",
    "knn_accuracy": "kNN",
    "silhouette": "silhouette",
    "linear_r2": "linear R²",
    "linear_mae": "linear MAE",
    "knn_r2": "kNN R²",
    "auroc": "AUROC",
    "average_precision": "average precision",
}


def render(evaluation: Evaluation) -> str:
    """Returns the tables of an evaluation and what they were computed on."""
    parts = [_heading(evaluation), _results(evaluation.results)]
    if evaluation.columns is not None:
        parts += ["", *_columns(evaluation)]
    return "\n".join([*parts, *(f"note: {note}" for note in evaluation.notes)])


def _heading(evaluation: Evaluation) -> str:
    e = evaluation
    if e.classes is None:
        what = "numbers"
    elif e.anomalies:
        count = sum(e.classes[value] for value in e.anomalies)
        what = f"{count} of {e.rows} rows anomalous"
    else:
        what = f"{len(e.classes)} classes"
    labelled = "" if e.anomalies else f"{e.labelled_rows} labelled rows, "
    spread = f", mean ± standard deviation of {e.repeats} splits" if e.repeats > 1 else ""
    drawn = f" ({e.rows} of {e.table_rows} rows)" if e.rows < e.table_rows else ""
    return (
        f"{e.method} {on_one_line(e.run)} on {on_one_line(e.data)}{drawn}, "
        f"label {e.label!r} ({what})\n"
        f"{labelled}{e.test_rows} test rows{spread}; "
        f"baselines fitted on {e.reference_rows} rows of {on_one_line(e.reference)}"
    )


def _results(results: Sequence[Result]) -> str:
    metrics = list(results[0].metrics)
    lines = []
    for result in results:
        name = result.name if result.size is None else f"{result.name} ({result.size})"
        cells = [_spread(result, m) if m in result.metrics else "" for m in metrics]
        lines.append([name, "baseline" if result.is_baseline else "", *cells])
    return laid_out(["", "", *(_TITLES[m] for m in metrics)], lines, left=2)


def _spread(result: Result, metric: str) -> str:
    mean, std = result.mean(metric), result.std(metric)
    if math.isnan(mean):
        return "undefined"
    return f"{mean:.3f}" if math.isnan(std) else f"{mean:.3f} ± {std:.3f}"


def _columns(evaluation: Evaluation) -> list[str]:
    columns = evaluation.columns or ()
    lines = [
        [
            column["name"],
            _number(column["nats"]),
            *(_error(column, key) for key in ("error", "pca_error", "mean_error")),
        ]
        for column in columns[:MOST_COLUMNS]
    ]
    title = (
        "reconstruction by column, the most nats first: root mean square error in the column's "
        "units, or the share of wrong levels"
    )
    names = ["column", "nats", "error", "PCA", "column mean"]
    more = len(columns) - MOST_COLUMNS
    return [title, laid_out(names, lines, left=1), *([f"… and {more} more"] if more > 0 else [])]


def _error(column: dict[str, Any], key: str) -> str:
    value = column[key]
    if value is None or column["kind"] == "numeric":
        return _number(value)
    return f"{value:.1%} wrong"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"
