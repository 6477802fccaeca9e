"""Evaluates a run on a labelled table, beside baselines on the same rows and splits."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.metrics import balanced_accuracy_score, mean_absolute_error, r2_score

from jaxrep import files
from jaxrep.data import datasets
from jaxrep.data.transform import Counts
from jaxrep.errors import InputError
from jaxrep.runs.default_table import check_near
from jaxrep.runs.folder import Run

from . import _anomalies, _probes
from ._columns import column_errors
from ._pca import fit_pca, reconstruct
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
_Measure = Callable[[Split, Rows, int], dict[str, _Values]]


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
        reference: a table to fit PCA and neighbours on. By default the rows that the run trained
            on, where they are still there unchanged and are not `source` itself; otherwise the
            rows of each split that are not tested on.
        skip_unlabelled: leave rows without a label out.
        note: called with warnings about cells that could not be placed.

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
    x = sample.x[target.kept]
    training, is_same = _training_source(run, source)
    where = reference or (None if is_same else training)
    fixed = None
    if where is not None:
        others = Counts()
        drawn = draw_rows(
            run, where, label=None, rows=rows, seed=seed, ignored=label, counts=others
        )
        _warn(others, where, note)
        fixed = drawn.x
        if len(fixed) < 2:
            raise InputError(
                f"{where}: {len(fixed)} row; at least 2 are needed to fit baselines on"
            )
        check_near({"features": fixed}, where)
    z = run.map("embed", x)
    scores = run.map("score", x) if anomalies else None
    measure: _Measure = {
        "anomalies": partial(_measure_anomalies, run, target, x, z, scores),
        "regression": partial(_measure_regression, target, x, z),
        "classification": partial(_measure_classes, target, x, z),
    }[target.task]
    reconstructs = "reconstruct" in run.method.network_type.outputs
    x_hat = run.map("reconstruct", x) if reconstructs else None
    check_near({"features": x, "embedding": z, "reconstruction": x_hat, "score": scores}, source)
    seeds = [(seed + i) % 2**32 for i in range(repeats)]
    splits = [
        split(target.groups, seed=s, test_fraction=test_fraction, labels=labels) for s in seeds
    ]
    found = [
        measure(s, x[s.train] if fixed is None else fixed, own)
        for s, own in zip(splits, seeds, strict=True)
    ]
    columns = None
    notes = far_columns(run, x)
    if x_hat is None:
        notes.append(f"{run.method.name} has no decoder: there is no reconstruction error")
    else:
        columns = _measure_columns(run, x, x_hat, splits, fixed)
    size = z.shape[1]
    if size >= x.shape[1]:
        notes.append(
            f"the representation has {size} columns and the table {x.shape[1]} features: PCA of "
            "the same size keeps everything"
        )
    sizes = {"embedding": size, "raw features": x.shape[1], "PCA": min(size, *x.shape)}
    return Evaluation(
        run=str(run.path),
        method=run.method.name,
        data=source,
        label=label,
        task=target.task,
        table_rows=sample.table_rows,
        rows=len(x),
        unlabelled_rows=len(sample.x) - len(x),
        labelled_rows=0 if anomalies else len(splits[0].labelled),
        test_rows=len(splits[0].test),
        classes=target.classes,
        anomalies=tuple(anomalies),
        reference=where or f"{source}, not tested on",
        reference_rows=len(splits[0].train) if fixed is None else len(fixed),
        trained_on_data=is_same,
        repeats=repeats,
        seed=seed,
        results=tuple(_gather(found, sizes)),
        columns=columns,
        notes=tuple(notes),
        cells=counts.to_json(),
    )


def _warn(counts: Counts, source: str, note: Callable[[str], None]) -> None:
    for sentence in counts.sentences(source):
        note(f"warning: {sentence}")


def _measure_classes(
    target: Target, x: Rows, z: Rows, split: Split, reference: Rows, seed: int
) -> dict[str, _Values]:
    y = target.values
    pca = fit_pca(reference, z.shape[1], seed=seed).transform(x.astype(np.float64))
    found = {}
    for name, rows in (("embedding", z), ("raw features", x), ("PCA", pca)):
        train, test = rows[split.labelled], rows[split.test]
        y_train, y_test = y[split.labelled], y[split.test]
        probe = _probes.fit_linear_probe(train, y_train, seed=seed)
        predicted = probe.predict(test)
        found[name] = {
            "linear_accuracy": float(np.mean(predicted == y_test)),
            "linear_balanced_accuracy": float(balanced_accuracy_score(y_test, predicted)),
            "knn_accuracy": _probes.knn_accuracy(train, y_train, test, y_test),
            "silhouette": _probes.silhouette(test, y_test, seed=seed),
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
    target: Target, x: Rows, z: Rows, split: Split, reference: Rows, seed: int
) -> dict[str, _Values]:
    y = target.values
    pca = fit_pca(reference, z.shape[1], seed=seed).transform(x.astype(np.float64))
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
    split: Split,
    reference: Rows,
    seed: int,
) -> dict[str, _Values]:
    test, is_anomaly = split.test, target.values[split.test]
    assert scores is not None
    distances = _anomalies.neighbour_distance(run.map("embed", reference), z[test])
    baselines = _anomalies.anomaly_baselines(reference, x[test], components=z.shape[1], seed=seed)
    named = {
        f"score of the {run.method.name}": scores[test],
        "kNN distance, embedding": distances,
        "kNN distance, raw features": baselines["knn_distance"],
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
    run: Run, x: Rows, x_hat: Rows, splits: Sequence[Split], fixed: Rows | None
) -> tuple[dict[str, Any], ...]:
    """Returns the columns' errors on test rows, meaned over the splits, the largest first."""
    size = run.method.hyperparameters.latent_dim
    errors: dict[str, list[Any]] = {"error": [], "pca_error": [], "mean_error": []}
    for i, s in enumerate(splits):
        pca = fit_pca(x[s.train] if fixed is None else fixed, size, seed=i)
        test = x[s.test]
        for name, restored in (
            ("error", x_hat[s.test]),
            ("pca_error", reconstruct(pca, test)),
            ("mean_error", np.zeros_like(test)),  # the mean of the rows that the run trained on
        ):
            errors[name].append(column_errors(run.schema, test, restored))
    first = errors["error"][0]
    columns = []
    for i, (name, kind) in enumerate(zip(first.names, first.kinds, strict=True)):
        column: dict[str, Any] = {"name": name, "kind": kind}
        for key, found in errors.items():
            values = [float(e.standardised[i]) for e in found]
            column[key] = float(np.mean(values))
            column[f"{key}_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
        column["own_error"] = float(np.mean([e.own[i] for e in errors["error"]]))
        columns.append(column)
    return tuple(sorted(columns, key=lambda column: -column["error"]))


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
