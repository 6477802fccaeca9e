"""Evaluates a run on a labelled table, beside baselines on the same rows and splits."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.metrics import balanced_accuracy_score, mean_absolute_error, r2_score
from threadpoolctl import threadpool_limits

from jaxrep import files
from jaxrep.batch import Batch, take
from jaxrep.data import datasets
from jaxrep.data.schema import NumericColumn, Schema
from jaxrep.data.transform import Counts
from jaxrep.errors import InputError
from jaxrep.runs.default_table import check_near
from jaxrep.runs.folder import Run

from . import _anomalies, _probes
from ._columns import column_errors, own_errors
from ._pca import fit_pca, reconstruct
from ._raw_columns import RawColumns
from ._results import Evaluation, Result
from ._sample import draw_rows, far_columns
from ._splits import Split, split
from ._target import Target, choose_target

ROWS = 20_000
REPEATS = 5
TEST_FRACTION = 0.25

Task = Literal["auto", "classification", "regression"]
Rows = npt.NDArray[np.floating[Any]]
_Values = dict[str, float]
_RESTORES = {"reconstruct", "score_by_column"}  # what a network must have for errors by column


class _Reference(NamedTuple):
    """The rows that PCA and the other baselines are fitted on."""

    rows: Batch
    raw: Rows  # as a matrix
    z: Rows  # their representations


class _Repetition(NamedTuple):
    """One split, and what is fitted for it."""

    split: Split
    reference: _Reference
    pca: PCA  # of the representation's size, fitted on the reference
    seed: int


_Measure = Callable[[_Repetition], dict[str, _Values]]


def evaluate(
    run: Run,
    source: str,
    *,
    label: str | None = None,
    anomalies: Sequence[str] = (),
    task: Task = "auto",
    labels: int | None = None,
    rows: int = ROWS,
    repeats: int = REPEATS,
    test_fraction: float = TEST_FRACTION,
    seed: int = 0,
    reference: str | None = None,
    skip_unlabelled: bool = False,
    note: Callable[[str], None] = lambda message: None,
    watch: Callable[[Sequence[Split]], Iterable[Split]] = iter,
) -> Evaluation:
    """Measures what a run's representation, or its score, is worth on a labelled table.

    Args:
        run: the trained run.
        source: a table with the columns that it trained on, and the label.
        label: the label column, which the run has not trained on; by default the run's own.
        anomalies: values of the label that count as anomalous. Then the run's score is measured,
            otherwise its representation.
        task: what the label is; `auto` takes more than 20 different numbers for a quantity and
            everything else for classes.
        labels: rows whose label a probe may use; by default all that are not tested on.
        rows: the most rows of the table to look at, drawn at random.
        repeats: number of splits.
        test_fraction: share of the rows to test on.
        seed: decides the rows and the splits.
        reference: a table to fit PCA and the other baselines on. By default the rows that the run
            trained on, where they are still there unchanged and are not `source` itself; otherwise
            the rows of each split that are not tested on.
        skip_unlabelled: leave rows without a label out.
        note: called with warnings about cells that could not be placed.
        watch: passes the splits on as they are asked for, each when the one before it is measured.

    Returns:
        Every metric of the run and of the baselines, one value a split.

    Raises:
        InputError: the label or an argument cannot be used as asked; the message says why.
    """
    _check(labels, rows, repeats, test_fraction, seed)
    if anomalies and labels is not None:
        raise InputError(
            "--labels is for probes, and scores of anomalies use no label; leave it out"
        )
    label = run.schema.label if label is None else label
    _check_label(run, label)
    assert label is not None
    counts = Counts()
    sample = draw_rows(run, source, label=label, rows=rows, seed=seed, counts=counts)
    _warn(counts, source, note)
    target = choose_target(
        sample.labels, source, label, anomalies, task, labels, skip_unlabelled=skip_unlabelled
    )
    x = take(sample.x, target.kept)
    raw_columns = RawColumns.of(run.schema, x)
    raw = raw_columns.matrix(x)
    training, is_same = _training_source(run, source)
    where = reference or (None if is_same else training)
    fixed = None
    if where is not None:
        others = Counts()
        drawn = draw_rows(
            run, where, label=None, rows=rows, seed=seed, ignored=label, counts=others
        )
        _warn(others, where, note)
        if (count := len(drawn.x.numbers)) < 2:
            raise InputError(f"{where}: {count} row; at least 2 are needed to fit baselines on")
        fixed = _Reference(drawn.x, raw_columns.matrix(drawn.x), run.map("embed", drawn.x))
        check_near({"features": fixed.raw}, where)
    z = run.map("embed", x)
    scores = run.map("score", x) if anomalies else None
    measure: _Measure = {
        "anomalies": partial(_measure_anomalies, run, target, raw, z, scores),
        "regression": partial(_measure_regression, target, raw, z),
        "classification": partial(_measure_classes, target, raw, z),
    }[target.task]
    x_hat = run.map("reconstruct", x) if set(run.outputs) >= _RESTORES else None
    terms = None if x_hat is None else run.map("score_by_column", x)
    restored = None if x_hat is None else x_hat.numbers
    check_near(
        {"features": raw, "embedding": z, "reconstruction": restored, "score": scores}, source
    )
    seeds = [(seed + i) % 2**32 for i in range(repeats)]
    splits = [
        split(target.groups, seed=s, test_fraction=test_fraction, labels=labels) for s in seeds
    ]
    found, errors = [], []
    # Products of matrices as narrow as those of probes and PCA are slower on several threads.
    with threadpool_limits(1, user_api="blas"):
        for s, own in zip(watch(splits), seeds, strict=True):
            on = fixed or _Reference(take(x, s.train), raw[s.train], z[s.train])
            repetition = _Repetition(s, on, fit_pca(on.raw, z.shape[1], seed=own), own)
            found.append(measure(repetition))
            if x_hat is not None and terms is not None:
                errors.append(
                    _measure_columns(run.schema, raw_columns, x, raw, x_hat, terms, repetition)
                )
    notes = far_columns(run, x)
    if x_hat is None:
        notes.append(f"{run.method.name} has no decoder: there is no reconstruction error")
    size, width = z.shape[1], raw.shape[1]
    if size >= width:
        notes.append(
            f"the representation has {size} columns and the table {width} features: PCA of "
            "the same size keeps everything"
        )
    sizes = {"embedding": size, "raw features": width, "PCA": min(size, *raw.shape)}
    return Evaluation(
        run=str(run.path),
        method=run.method.name,
        data=source,
        label=label,
        task=target.task,
        table_rows=sample.table_rows,
        rows=len(z),
        unlabelled_rows=len(sample.labels) - len(z),
        labelled_rows=0 if anomalies else len(splits[0].labelled),
        test_rows=len(splits[0].test),
        classes=target.classes,
        anomalies=tuple(anomalies),
        reference=where or f"{source}, not tested on",
        reference_rows=len(splits[0].train if fixed is None else fixed.z),
        trained_on_data=is_same,
        repeats=repeats,
        seed=seed,
        results=tuple(_gather(found, sizes)),
        columns=None if x_hat is None else _gather_columns(run.schema, errors),
        notes=tuple(notes),
        cells=counts.to_json(),
    )


def _warn(counts: Counts, source: str, note: Callable[[str], None]) -> None:
    for sentence in counts.sentences(source):
        note(f"warning: {sentence}")


def _measure_classes(
    target: Target, x: Rows, z: Rows, repetition: _Repetition
) -> dict[str, _Values]:
    y, split = target.values, repetition.split
    pca = repetition.pca.transform(x.astype(np.float64))
    found = {}
    for name, rows in (("embedding", z), ("raw features", x), ("PCA", pca)):
        train, test = rows[split.labelled], rows[split.test]
        y_train, y_test = y[split.labelled], y[split.test]
        probe = _probes.fit_linear_probe(train, y_train, seed=repetition.seed)
        predicted = probe.predict(test)
        found[name] = {
            "linear_accuracy": float(np.mean(predicted == y_test)),
            "linear_balanced_accuracy": float(balanced_accuracy_score(y_test, predicted)),
            "knn_accuracy": _probes.knn_accuracy(train, y_train, test, y_test),
            "silhouette": _probes.silhouette(test, y_test, seed=repetition.seed),
        }
    values, counts = np.unique(y[split.labelled], return_counts=True)
    accuracy = float(np.mean(y[split.test] == values[np.argmax(counts)]))
    balanced = 1 / len(np.unique(y[split.test]))
    found["most frequent class"] = {
        "linear_accuracy": accuracy,
        "linear_balanced_accuracy": balanced,
        "knn_accuracy": accuracy,
    }
    return found


def _measure_regression(
    target: Target, x: Rows, z: Rows, repetition: _Repetition
) -> dict[str, _Values]:
    y, split = target.values, repetition.split
    pca = repetition.pca.transform(x.astype(np.float64))
    y_train, y_test = y[split.labelled], y[split.test]
    found = {}
    for name, rows in (("embedding", z), ("raw features", x), ("PCA", pca)):
        train, test = rows[split.labelled], rows[split.test]
        predicted = _probes.fit_ridge_probe(train, y_train).predict(test)
        found[name] = {
            "linear_r2": float(r2_score(y_test, predicted)),
            "linear_mae": float(mean_absolute_error(y_test, predicted)),
            "knn_r2": _probes.knn_r2(train, y_train, test, y_test),
        }
    mean = np.full(len(y_test), y_train.mean())
    r2 = float(r2_score(y_test, mean))
    error = float(mean_absolute_error(y_test, mean))
    found["mean"] = {"linear_r2": r2, "linear_mae": error, "knn_r2": r2}
    return found


def _measure_anomalies(
    run: Run,
    target: Target,
    x: Rows,
    z: Rows,
    scores: Rows | None,
    repetition: _Repetition,
) -> dict[str, _Values]:
    test, reference = repetition.split.test, repetition.reference
    is_anomaly = target.values[test]
    assert scores is not None
    distances = _anomalies.neighbour_distance(reference.z, z[test])
    baselines = _anomalies.anomaly_baselines(
        reference.raw, x[test], seed=repetition.seed, pca=repetition.pca
    )
    named = {
        f"score of the {run.method.name}": scores[test],
        "kNN distance, embedding": distances,
        "kNN distance, raw features": baselines["knn_distance"],
        "local outlier factor": baselines["local_outlier_factor"],
        "isolation forest": baselines["isolation_forest"],
        "PCA reconstruction error": baselines.get("pca_error"),
        "‖x‖²": baselines["squared_norm"],
    }
    found = {
        name: {
            "auroc": _anomalies.auroc(values, is_anomaly),
            "average_precision": _anomalies.average_precision(values, is_anomaly),
        }
        for name, values in named.items()
        if values is not None
    }
    return found | {"chance": {"auroc": 0.5, "average_precision": float(np.mean(is_anomaly))}}


def _measure_columns(
    schema: Schema,
    raw_columns: RawColumns,
    x: Batch,
    raw: Rows,
    x_hat: Batch,
    terms: Rows,
    repetition: _Repetition,
) -> dict[str, Rows]:
    """Returns the columns' errors on the test rows of a split, `[columns]` each."""
    places, pca = repetition.split.test, repetition.pca
    test = take(x, places)
    own = column_errors(schema, test, take(x_hat, places), terms[places])
    by_pca = raw_columns.rows(reconstruct(pca, raw[places]))
    usual = _usual(repetition.reference.rows, len(places))
    return {
        "nats": own.nats,
        "error": own.own,
        "pca_error": own_errors(schema, test, by_pca),
        "mean_error": own_errors(schema, test, usual),
    }


def _gather_columns(schema: Schema, found: Sequence[dict[str, Rows]]) -> tuple[dict[str, Any], ...]:
    """Returns the columns with their errors, averaged over the splits, the most nats first."""
    columns = []
    for i, described in enumerate(schema.columns):
        is_numeric = isinstance(described, NumericColumn)
        column: dict[str, Any] = {
            "name": described.name,
            "kind": "numeric" if is_numeric else "categorical",
        }
        for key in found[0]:
            values = [float(errors[key][i]) for errors in found if np.isfinite(errors[key][i])]
            column[key] = float(np.mean(values)) if values else None
            column[f"{key}_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
        columns.append(column)
    return tuple(sorted(columns, key=lambda c: np.inf if c["nats"] is None else -c["nats"]))


def _usual(reference: Batch, count: int) -> Batch:
    """Returns `count` rows of the means and the most frequent levels of others."""
    is_missing = np.isnan(reference.numbers)
    there = np.maximum((~is_missing).sum(axis=0), 1)
    numbers: Any = np.where(is_missing, 0, reference.numbers).sum(axis=0, dtype=np.float64) / there
    codes: Any = None
    if reference.codes is not None:
        # "Other", code 0, is not a level; where there is nothing else, any will do.
        found = [np.bincount(np.maximum(c, 0), minlength=2)[1:] for c in reference.codes.T]
        codes = np.tile(np.array([f.argmax() + 1 for f in found], np.int32), (count, 1))
    return Batch(np.tile(numbers, (count, 1)), codes)  # type: ignore[arg-type]


def _gather(found: Sequence[dict[str, _Values]], sizes: dict[str, int]) -> list[Result]:
    """Turns one dictionary a split into one result a representation."""
    results = []
    for name, first in found[0].items():
        metrics = {metric: tuple(one[name][metric] for one in found) for metric in first}
        ours = name in ("embedding", "kNN distance, embedding") or name.startswith("score of")
        results.append(Result(name, not ours, sizes.get(name), metrics))
    return results


def _training_source(run: Run, source: str) -> tuple[str | None, bool]:
    """Returns where a run's training rows are, if they still are, and whether that is `source`."""
    recorded, digest = run.config["data"]["source"], run.config["data"].get("sha256")
    if digest is None:
        known = recorded if recorded in datasets.NAMES else None
        return known, known is not None and known == source
    is_same = Path(source).is_file() and files.sha256(Path(source)) == digest
    there = is_same or (Path(recorded).is_file() and files.sha256(Path(recorded)) == digest)
    return (recorded if there else None), is_same


def _check(labels: int | None, rows: int, repeats: int, test_fraction: float, seed: int) -> None:
    for flag, value, least, most in (
        ("labels", labels, 2, 2**31 - 1),
        ("rows", rows, 4, 2**31 - 1),
        ("repeats", repeats, 1, 1000),
        ("seed", seed, 0, 2**32 - 1),
    ):
        if value is not None and not least <= value <= most:
            raise InputError(
                f"--{flag} is {value}; it must be a whole number from {least} to {most}"
            )
    if not 0 < test_fraction < 1:
        raise InputError(f"--test-fraction is {test_fraction}; it must be above 0 and below 1")


def _check_label(run: Run, label: str | None) -> None:
    if label is None:
        raise InputError(f"{run.path}: the run has no label column; name one with --label")
    if label in [column.name for column in run.schema.columns]:
        raise InputError(
            f"--label {label}: the run trained on this column, so its representation holds it; "
            f"choose another, or train without it: `jaxrep train … --label {label}`"
        )
