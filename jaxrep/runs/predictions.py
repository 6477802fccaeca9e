"""What a fine-tuned network predicts: classes with their probabilities, or numbers."""

from collections.abc import Iterator, Mapping

import jax
import numpy as np
import pyarrow as pa

from jaxrep.batch import Batch
from jaxrep.data.schema import Schema
from jaxrep.data.targets import Classes, Target
from jaxrep.data.transform import Counts
from jaxrep.hyperparameters import TrainingHyperparameters
from jaxrep.inference import map_rows
from jaxrep.methods import make
from jaxrep.runs.folder import Run
from jaxrep.runs.outputs import need, rows_of_table, with_ids
from jaxrep.runs.rows import row_spec
from jaxrep.runs.training_rows import Prepared


def predict(run: Run, source: str) -> pa.Table:
    """Returns what a run predicts of a table's rows.

    Args:
        run: fine-tuned.
        source: the table.

    Returns:
        The id column, where there is one; `prediction`, a class or a number in the units of the
        label; and for classes `probability` and the probability of each, `p_CLASS`.

    Raises:
        InputError: the run predicts nothing, or the table cannot be read.
    """
    return pa.concat_tables(predict_blocks(run, source))


def predict_blocks(run: Run, source: str, counts: Counts | None = None) -> Iterator[pa.Table]:
    """Yields the rows of `predict`, and counts cells that could not be placed."""
    need(run, "predict")
    assert run.target is not None
    for table, x in rows_of_table(run, source, counts):
        yield with_ids(run, table, _columns(run.target, run.map("predict", x)))


def _columns(target: Target, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the columns of predictions, from probabilities `[N, K]` or numbers `[N, 1]`."""
    if not isinstance(target, Classes):
        return {"prediction": target.decode(predicted[:, 0])}
    chosen = predicted.argmax(axis=1)
    by_class = {f"p_{label}": predicted[:, i] for i, label in enumerate(target.labels)}
    return {
        "prediction": target.decode(chosen),
        "probability": predicted.max(axis=1),
        **by_class,
    }


def held_out_figures(
    hyperparameters: TrainingHyperparameters,
    weights: Mapping[str, np.ndarray],
    prepared: Prepared,
) -> dict[str, float] | None:
    """Returns how good the predictions of the rows held out are; None where there are none.

    Of classes these are `accuracy`, `balanced_accuracy` (the mean over classes of the share of
    their rows that are right) and `log_loss`; of numbers `r2`, `rmse` and `mae`, in the label's
    units. Rows count alike, whatever they weighed in training.

    Args:
        hyperparameters: of the method.
        weights: of the network, by name.
        prepared: the rows; those held out count.
    """
    if prepared.target is None or prepared.validation is None:
        return None
    rows = prepared.validation
    return figures_of(hyperparameters, weights, rows, prepared.schema, prepared.target)


def figures_of(
    hyperparameters: TrainingHyperparameters,
    weights: Mapping[str, np.ndarray],
    rows: Batch,
    schema: Schema,
    target: Target,
) -> dict[str, float]:
    """Returns how good the predictions of some rows are, as `held_out_figures` does."""
    truth = np.asarray(rows.targets)
    x: Batch = jax.tree.map(np.asarray, rows)
    spec = row_spec(schema, hyperparameters)
    from sklearn import metrics  # half a second, which most commands need not wait for

    predicted = map_rows(make(hyperparameters), "predict", weights, x, spec)
    if isinstance(target, Classes):
        chosen, known = predicted.argmax(axis=1), np.arange(len(target.labels))
        recalls = [np.mean(chosen[truth == k] == k) for k in np.unique(truth)]
        certain = predicted.astype(np.float64)
        return {
            "accuracy": float(np.mean(chosen == truth)),
            "balanced_accuracy": float(np.mean(recalls)),
            "log_loss": float(
                metrics.log_loss(truth, certain / certain.sum(axis=1, keepdims=True), labels=known)
            ),
        }
    numbers, made = target.decode(truth), target.decode(predicted[:, 0])
    several = {"r2": float(metrics.r2_score(numbers, made))} if len(numbers) > 1 else {}
    return several | {
        "rmse": float(metrics.root_mean_squared_error(numbers, made)),
        "mae": float(metrics.mean_absolute_error(numbers, made)),
    }
