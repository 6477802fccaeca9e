"""Odd rows: anomaly scores of jaxrep's methods and of rivals with a network and without.

18 sets of numbers, each with rows known to be anomalous, as `.npz` files of `X` and `y` in the
folder `anomaly` of the one that `JAXREP_DATA` names. Half of the normal rows train, the other half
and all anomalies are scored: *file order* takes the first half, *random halves* one that is drawn.
Of more than 20,000 rows to train on or to score so many are drawn, once for all rivals. Every rival
has one setting for all sets; each of jaxrep's is an estimator with a recipe, five seeds, and no
more. Scores that are not the recipe's are of the same weights. Baselines are those of
`jaxrep evaluate --anomaly`; PyOD's detectors have the settings that they come with, and one seed.
Both see standardised rows. PyOD is in an environment of its own, which `make bench-peers` makes;
without it its columns are missing.

AUROC is the share of pairs of an anomaly and a normal row that the score puts in order, average
precision weighs the top of the list. Figures are means over the sets, of means over the seeds, and
the median over the sets of what separates a method from kNN. Seconds, of training and scoring, are
those of all cores together; programs compiled for one set of a width are found again by the next.

It takes hours: with `JAXREP_BENCH_PARTS` it goes on where it ended, and a second process that is
told `JAXREP_BENCH_BACKWARDS` begins at the other end.
"""

import dataclasses
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from sklearn.preprocessing import StandardScaler

from bench.data_files import data_folder, peers_python
from bench.measured import Figure, Measured, Series
from bench.parts import commits, part
from jaxrep import AutoencoderEmbedding, DenoiserEmbedding, SimCLREmbedding, VAEEmbedding, data
from jaxrep.estimators import Embedding
from jaxrep.evaluation import anomaly_baselines, auroc, average_precision
from jaxrep.inference import map_rows
from jaxrep.methods import abstract_network
from jaxrep.networks import FittedStatistic, get_weights
from jaxrep.training.program import background_rows
from jaxrep.training.trained import complete_weights

Found = tuple[str, str, float]
"""A rival, a unit and a figure."""

SEEDS, MOST_ROWS, QUICK_ROWS = 5, 20_000, 300
FILE, RANDOM = "file order", "random halves"
KNN, DENOISER, MEMBERS = "kNN", "denoiser", "denoiser, 3 members"
AUTOENCODER, VAE, SIMCLR = "autoencoder", "VAE", "SimCLR"
_PYOD = Path(__file__).parent / "pyod_scores.py"
AUROC, PRECISION, TIME = "AUROC", "average precision", "core s"

BASELINES = {
    KNN: "knn_distance",
    "PCA": "pca_error",
    "‖x‖²": "squared_norm",
    "isolation forest": "isolation_forest",
    "LOF": "local_outlier_factor",
}
METHODS: dict[str, tuple[type[Embedding], dict[str, Any]]] = {
    DENOISER: (DenoiserEmbedding, {"recipe": "anomalies"}),
    MEMBERS: (DenoiserEmbedding, {"recipe": "anomalies", "members": 3}),
    AUTOENCODER: (AutoencoderEmbedding, {"recipe": "anomalies"}),
    VAE: (VAEEmbedding, {"recipe": "anomalies"}),
    SIMCLR: (SimCLREmbedding, {"recipe": "anomalies"}),
}
OTHER_SCORES = {
    DENOISER: ("levels", "reconstruction", "mahalanobis", "neighbours"),
    AUTOENCODER: ("reconstruction", "neighbours"),
    VAE: ("reconstruction", "neighbours"),
    SIMCLR: ("neighbours",),
}
"""Those that are not the recipe's, of the same weights: training does not depend on the score."""

TARGETS = {DENOISER: {FILE: 1.5, RANDOM: -0.2}, MEMBERS: {FILE: 0.0, RANDOM: 0.0}}
"""By how many points a method's mean AUROC is to be above kNN's."""
NO_WORSE = (DENOISER, MEMBERS)
"""Methods whose mean average precision is not to be below kNN's."""
LEAST = {AUTOENCODER: {FILE: 81.5, RANDOM: 88.0}}
"""Mean AUROC that is asked of a method."""


class Halves(NamedTuple):
    """What a score is fitted on, and what it is judged by."""

    train: np.ndarray
    """Normal rows, `[N, D]`."""

    test: np.ndarray
    """Other normal rows, and all anomalies, `[M, D]`."""

    is_anomaly: np.ndarray
    """Booleans, `[M]`."""


def measure(*, quick: bool, rounds: int) -> Measured:
    """Scores every set in both protocols with every rival.

    Args:
        quick: one seed, three sets, 300 rows, and 100 steps of training.
        rounds: of no use here; there are five seeds.

    Returns:
        AUROC, average precision and seconds by set and protocol, one a seed.
    """
    folder = data_folder("anomaly/*.npz") / "anomaly"
    files = sorted(folder.glob("*.npz"), key=lambda path: int(path.name.partition("_")[0]))
    seeds, most = (1, QUICK_ROWS) if quick else (SEEDS, MOST_ROWS)
    samples: dict[tuple[str, str, str], list[float]] = {}
    cases = [(path, protocol) for path in files for protocol in (FILE, RANDOM)]
    if quick:
        cases = [case for case in cases if case[0] in files[::7]]
    backwards = bool(os.environ.get("JAXREP_BENCH_BACKWARDS"))
    for path, protocol in reversed(cases) if backwards else cases:
        name = f"{path.stem.partition('_')[2]}, {protocol}"
        for side, unit, value in _of_case(name, split(path, protocol, most), seeds, quick):
            samples.setdefault((name, side, unit), []).append(value)
    series = [Series(case, side, unit, found) for (case, side, unit), found in samples.items()]
    facts: dict[str, Any] = {"seeds": seeds, "most_rows": most, "sets": len(files)}
    if len(commits) > 1:
        facts["commits of the parts"] = ", ".join(sorted(commits))
    return Measured(
        series, facts | ({} if peers_python() else {"left out": "PyOD: make bench-peers"})
    )


def split(path: Path, protocol: str, most: int = MOST_ROWS) -> Halves:
    """Reads a set and halves its normal rows.

    Args:
        path: of an `.npz` file with `X` and `y`, 1 for anomalies.
        protocol: `FILE` or `RANDOM`.
        most: rows to train on, and rows to score; of more so many are drawn, a share of each kind.
    """
    with np.load(path) as arrays:
        x, is_anomaly = arrays["X"].astype(np.float64), arrays["y"].astype(int) == 1
    draws = np.random.default_rng(0)
    normal, odd = x[~is_anomaly], x[is_anomaly]
    if protocol == RANDOM:
        normal = normal[draws.permutation(len(normal))]
    train, others = normal[: len(normal) // 2], normal[len(normal) // 2 :]
    share = min(most / (len(others) + len(odd)), 1)
    train = _drawn(train, min(most, len(train)), draws)
    others, odd = (_drawn(rows, max(round(share * len(rows)), 1), draws) for rows in (others, odd))
    return Halves(
        train, np.concatenate([others, odd]), np.arange(len(others) + len(odd)) >= len(others)
    )


def _drawn(rows: np.ndarray, count: int, draws: np.random.Generator) -> np.ndarray:
    """Returns so many of the rows, in their order."""
    return rows[np.sort(draws.choice(len(rows), count, replace=False))]


def _of_case(name: str, halves: Halves, seeds: int, quick: bool) -> Iterator[list[Any]]:
    """Yields the figures of every rival, by unit, each rival a part."""
    rivals: dict[str, Callable[[], Iterator[Found]]] = {
        "baselines": partial(_of_baselines, halves),
        **{side: partial(_of_method, side, halves, seeds, quick) for side in METHODS},
        "PyOD": partial(_of_pyod, halves),
    }
    for rival, found in rivals.items():
        yield from part(f"{name}, {rival}", partial(_taken, found))


def _taken(rival: Callable[[], Iterator[Found]]) -> list[Found]:
    return list(rival())


def _of_baselines(halves: Halves) -> Iterator[Found]:
    train, test = _standardised(halves)
    started = time.process_time()
    baselines = anomaly_baselines(train, test, components=min(8, train.shape[1]))
    yield "all baselines", TIME, time.process_time() - started
    for side, name in BASELINES.items():
        if name in baselines:  # a PCA of all columns has no error
            yield from _judged(side, baselines[name], halves)


def _of_method(side: str, halves: Halves, seeds: int, quick: bool) -> Iterator[Found]:
    kind, settings = METHODS[side]
    length: dict[str, Any] = {"steps": 100} if quick else {}
    for seed in range(seeds):
        started = time.process_time()
        model = kind(**settings, **length, seed=seed).fit(halves.train)
        scores = -model.score_samples(halves.test)
        yield side, TIME, time.process_time() - started
        yield from _judged(side, scores, halves)
        for other in OTHER_SCORES.get(side, ()):
            scores = _scored_by(other, model, halves)
            yield from _judged(f"{side}, {other}", scores, halves)


def _of_pyod(halves: Halves) -> Iterator[Found]:
    for side, (scores, seconds) in pyod_scores(*_standardised(halves)).items():
        yield side, TIME, seconds
        yield from _judged(side, scores, halves)


def _standardised(halves: Halves) -> tuple[np.ndarray, np.ndarray]:
    scaler = StandardScaler().fit(halves.train)
    return scaler.transform(halves.train), scaler.transform(halves.test)


def _scored_by(score: str, model: Embedding, halves: Halves) -> np.ndarray:
    """Returns the test rows' scores by another score of a trained model."""
    run = model.run_
    names = [f"x{i}" for i in range(model.n_features_in_)]  # those left out as constant, too
    train, test = (
        data.apply(run.schema, pa.table(list(rows.T), names), source="rows")
        for rows in (halves.train, halves.test)
    )
    method = type(run.method)(dataclasses.replace(run.method.hyperparameters, anomaly_score=score))
    network = abstract_network(method, run.rows)
    needed = get_weights(network).keys() - get_weights(network, FittedStatistic).keys()
    trained = {name: run.weights[name] for name in needed}
    weights = complete_weights(method, trained, background_rows(train), run.rows)
    scores: np.ndarray = map_rows(method, "score", weights, test, run.rows)
    return scores


def pyod_scores(train: np.ndarray, test: np.ndarray) -> dict[str, tuple[np.ndarray, float]]:
    """Returns the scores and the seconds of PyOD's detectors; none where it is not installed.

    Args:
        train: standardised rows to fit to, `[N, D]`.
        test: rows to score, `[M, D]`.

    Raises:
        RuntimeError: the process that has PyOD failed.
    """
    python = peers_python()
    if python is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "given.npz", Path(folder) / "out.npz"
        np.savez(given, train=train, test=test)
        # Without -P this folder's profile.py would stand for the standard library's.
        command = [str(python), "-P", str(_PYOD), str(given), str(out), "0"]
        alone = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(command, capture_output=True, text=True, env=alone)
        if done.returncode:
            raise RuntimeError(f"{_PYOD.name} failed: {done.stderr[-2000:]}")
        with np.load(out) as arrays:
            names = [name for name in arrays if not name.endswith(".seconds")]
            return {name: (arrays[name], float(arrays[f"{name}.seconds"])) for name in names}


def _judged(side: str, scores: np.ndarray, halves: Halves) -> Iterator[Found]:
    yield side, AUROC, 100 * auroc(scores, halves.is_anomaly)
    yield side, PRECISION, 100 * average_precision(scores, halves.is_anomaly)


def figures(measured: Measured) -> list[Figure]:
    """Returns means over the sets, and the median of what separates the methods from kNN."""
    made = []
    sides = dict.fromkeys(series.side for series in measured.series if series.unit == AUROC)
    for protocol in (FILE, RANDOM):
        for side in sides:
            for unit in (AUROC, PRECISION):
                mean = float(np.mean(list(_means(measured, protocol, side, unit).values())))
                least = LEAST.get(side, {}).get(protocol) if unit == AUROC else None
                name = f"{protocol}: {side}, mean {unit}"
                made.append(Figure(name, round(mean, 2), "", least))
        for side in (side for side in METHODS if side in sides):
            name, more = (
                f"{protocol}: {side} over {KNN}",
                _over_knn(measured, protocol, side, AUROC),
            )
            target = TARGETS.get(side, {}).get(protocol)
            made.append(Figure(f"{name}, mean", round(float(np.mean(more)), 2), "", target))
            median = round(float(np.median(more)), 2)
            made.append(Figure(f"{name}, median over the sets", median, ""))
            found = round(float(np.mean(_over_knn(measured, protocol, side, PRECISION))), 2)
            least = 0.0 if side in NO_WORSE else None
            made.append(Figure(f"{name}, mean {PRECISION}", found, "", least))
    return made


def _over_knn(measured: Measured, protocol: str, side: str, unit: str) -> list[float]:
    """Returns by how much a method's mean over the seeds is above kNN's, a set each."""
    knn = _means(measured, protocol, KNN, unit)
    return [mean - knn[case] for case, mean in _means(measured, protocol, side, unit).items()]


def _means(measured: Measured, protocol: str, side: str, unit: str) -> dict[str, float]:
    """Returns the mean over the seeds, by set."""
    return {
        series.case: float(np.mean(series.samples))
        for series in measured.series
        if series.case.endswith(protocol) and (series.side, series.unit) == (side, unit)
    }
