"""What a run's folder holds of the data that it was trained on, for people who pass it on."""

from typing import Any

from jaxrep.data.schema import CategoricalColumn, NumericColumn, Quantile, Spikes, Standard
from jaxrep.data.targets import Classes, Target
from jaxrep.methods import abstract_network
from jaxrep.networks import FittedRows, get_weights
from jaxrep.runs.folder import EMBEDDING_PLOT, REPORT, Run
from jaxrep.runs.sources import SPOOL

SHOWING_ROWS = (REPORT, EMBEDDING_PLOT, SPOOL)
"""The files and folders of a run's that hold or show rows, where they are there."""


def kept_of_data(run: Run) -> dict[str, Any]:
    """Returns what a run's folder holds of its training data, but for its weights.

    Args:
        run: from `jaxrep.runs.folder.load`.

    Returns:
        `categories`, the number of levels by column, each of which is in the folder in plain text;
        `numbers`, the statistics by column, the number of quantiles among them, and why it has its
        kind; `constants`, by column;
        `target`, the label with its classes or statistics, or None; `score_quantiles`, the number
        of quantiles of the training rows' scores; `calibration_scores`, the number of rows set
        apart, each of whose scores is kept; `representations`, how many of the training rows' are
        kept for scores, by the name of the weights; and `rows`, the files that hold or show whole
        rows.
    """
    schema, quantiles = run.schema, run.config.get("score_quantiles", {})
    constants = [column for column in schema.left_out if column.kind == "constant"]
    return {
        "categories": {
            c.name: len(c.levels) for c in schema.columns if isinstance(c, CategoricalColumn)
        },
        "numbers": {c.name: _statistics(c) for c in schema.columns if isinstance(c, NumericColumn)},
        "constants": {c.name: c.why if c.value is None else c.value for c in constants},
        "target": None if run.target is None else _of_target(run.target),
        "score_quantiles": len(quantiles.get("levels", ())),
        "representations": {
            name: run.weights[name].shape[-2]
            for name in get_weights(abstract_network(run.method, run.rows), FittedRows)
        },
        "calibration_scores": len(run.config.get("calibration_scores", ())),
        "rows": [name for name in SHOWING_ROWS if (run.path / name).exists()],
    }


def _statistics(column: NumericColumn) -> dict[str, Any]:
    found: dict[str, Any] = {"mean": column.mean, "scale": column.scale}
    if column.has_gaps and column.fill is not None:
        found["median"] = column.fill
    if not isinstance(column.scaling, Standard):
        found["scaling"] = column.scaling.kind
    if isinstance(column.scaling, Quantile | Spikes):
        found["quantiles"] = len(column.scaling.values)
    if isinstance(column.scaling, Spikes):
        found["spikes"] = list(column.scaling.spikes)
    return found | {"why": column.why}


def _of_target(target: Target) -> dict[str, Any]:
    if isinstance(target, Classes):
        return {"name": target.name, "classes": list(target.labels)}
    return {"name": target.name, "mean": target.mean, "scale": target.scale}
