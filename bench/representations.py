"""What representations are worth: Fashion-MNIST by a linear probe, anomalies in two tables.

Settings are fixed beforehand and none was tuned to a result; five seeds each. *Fashion-MNIST*:
60,000 rows of 784 standardised columns, no label used; hidden widths 512 and 256, latent 128, batch
512, Adam at 1e-3, 15 epochs. SimCLR and the denoising autoencoder are trained with each kind of
view, all of which are shown: noise of deviation 0.1 and dropout of a tenth, which is SimCLR's
default, and `scarf` and `swap` at their default rates. SimCLR's temperature is its default of 0.5;
one side more has 0.1, to see what it does. The probe is a logistic regression on 1,000 labelled
rows, drawn by the seed, its regularisation chosen by cross-validation among them; the accuracy is
that on the 10,000 test rows. *Spambase* and *Shuttle*: one class counts as anomalous (`spam`;
`Bypass`, 5.6 % of the rows). Methods with their default settings train on a half of the rows drawn
by the seed, anomalies among them and no label used; AUROC is that of the scores of the other half.
Baselines see the same rows: PCA of as many components, the distance to the fifth neighbour, and
‖x‖². The data is read from the folder that `JAXREP_DATA` names.
"""

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.preprocessing import StandardScaler

from bench.data_files import data_folder
from bench.measured import Figure, Measured, Series
from bench.seed_methods import seed_method
from jaxrep import data
from jaxrep.batch import RowSpec
from jaxrep.evaluation import anomaly_baselines, auroc, fit_pca, linear_probe
from jaxrep.inference import map_rows
from jaxrep.training import fit

SEEDS, LABELS = 5, 1_000
FASHION = "Fashion-MNIST, linear probe"
TABLES = {
    "Spambase, spam": ("spambase.csv", "type", "spam"),
    "Shuttle, Bypass": ("shuttle.csv", "Class", "Bypass"),
}
WIDE: dict[str, Any] = {
    "hidden_dims": (512, 256),
    "latent_dim": 128,
    "batch_size": 512,
    "epochs": 15,
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
}
_SCARF: dict[str, Any] = {"views": ("scarf",)}
VIEWS: dict[str, dict[str, Any]] = {
    "noise and dropout": {"noise_std": 0.1, "drop_rate": 0.1},
    "scarf": _SCARF,
    "swap": {"views": ("swap",)},
}
RAW, PCA = "raw columns", "PCA"
LEARNT: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"simclr, {views}": ("simclr", settings) for views, settings in VIEWS.items()},
    "simclr, scarf, τ = 0.1": ("simclr", {**_SCARF, "temperature": 0.1}),
    **{f"autoencoder, {views}": ("autoencoder", settings) for views, settings in VIEWS.items()},
}
SCORED = ("vae", "autoencoder")
BASELINES = {"knn_distance": "kNN distance", "pca_error": "PCA error", "squared_norm": "‖x‖²"}


def measure(*, quick: bool, rounds: int) -> Measured:
    """Trains, embeds, probes and scores.

    Args:
        quick: one seed, and no Fashion-MNIST.
        rounds: of no use here; there are five seeds.

    Returns:
        Accuracies and AUROCs by case and side, one a seed.
    """
    seeds = range(1 if quick else SEEDS)
    cases: dict[str, Callable[[int], Iterator[tuple[str, float]]]] = {}
    if not quick:
        cases[FASHION] = _fashion(data_folder("*-ubyte.gz"))
    folder = data_folder(*(file for file, *_ in TABLES.values()))
    cases |= {name: _anomalies(folder, *table) for name, table in TABLES.items()}
    series: list[Series] = []
    for case, one_seed in cases.items():
        samples: dict[str, list[float]] = {}
        for seed in seeds:
            for side, value in one_seed(seed):
                samples.setdefault(side, []).append(value)
        unit = "accuracy" if case == FASHION else "AUROC"
        series += [Series(case, side, unit, values) for side, values in samples.items()]
    return Measured(series, {"seeds": len(seeds), "labels": LABELS})


def figures(measured: Measured) -> list[Figure]:
    """Returns means over the seeds, standard deviations, and learnt ones beside the baselines."""
    made = []
    for series in measured.series:
        name = f"{series.case}: {series.side}"
        made.append(Figure(f"{name}, mean", float(np.mean(series.samples)), ""))
        made.append(Figure(f"{name}, standard deviation", float(np.std(series.samples)), ""))
    for side in LEARNT:
        for baseline in (RAW, PCA):
            value = _mean(measured, FASHION, side) - _mean(measured, FASHION, baseline)
            made.append(Figure(f"{FASHION}: {side} less {baseline}", value, "", 0.0))
    return made


def _mean(measured: Measured, case: str, side: str) -> float:
    found = measured.find(case, side)
    return float(np.mean(found.samples)) if found else float("nan")


def _fashion(folder: Path) -> Callable[[int], Iterator[tuple[str, float]]]:
    scaler = StandardScaler()
    x = scaler.fit_transform(_idx(folder / "train-images-idx3-ubyte.gz", 16).reshape(-1, 784))
    test = scaler.transform(_idx(folder / "t10k-images-idx3-ubyte.gz", 16).reshape(-1, 784))
    x, test = x.astype(np.float32), test.astype(np.float32)
    y = _idx(folder / "train-labels-idx1-ubyte.gz", 8)
    y_test = _idx(folder / "t10k-labels-idx1-ubyte.gz", 8)

    def one_seed(seed: int) -> Iterator[tuple[str, float]]:
        labelled = np.random.default_rng(seed).permutation(len(x))[:LABELS]
        pca = fit_pca(x, WIDE["latent_dim"], seed=seed)
        spaces = {RAW: lambda rows: rows, PCA: pca.transform}
        spaces |= {side: _embedding(*learnt, x, seed) for side, learnt in LEARNT.items()}
        for side, embed in spaces.items():
            z, z_test = embed(x[labelled]), embed(test)
            yield side, linear_probe(z, y[labelled], z_test, y_test, seed=seed)

    return one_seed


def _embedding(
    name: str, settings: dict[str, Any], x: np.ndarray, seed: int
) -> Callable[[np.ndarray], np.ndarray]:
    method = seed_method(name, **WIDE, **settings, seed=seed)
    run = fit(method, x)
    return lambda rows: map_rows(method, "embed", run.weights, rows, RowSpec(x.shape[1]))


def _anomalies(
    folder: Path, file: str, label: str, anomaly: str
) -> Callable[[int], Iterator[tuple[str, float]]]:
    source = str(folder / file)
    table = data.read_table(source)
    is_anomaly = np.array(table[label].to_pylist()) == anomaly

    def one_seed(seed: int) -> Iterator[tuple[str, float]]:
        order = np.random.default_rng(seed).permutation(table.num_rows)
        train, test = np.array_split(order, 2)
        known, columns = table.take(train), data.Columns(label=label)
        schema = data.fit(lambda: [known], source=source, columns=columns).schema
        x, x_test = (data.apply(schema, table.take(part), source=source) for part in (train, test))
        rows = schema.row_spec()
        for name in SCORED:
            method = seed_method(name, seed=seed)
            weights = fit(method, x, spec=rows).weights
            scores = map_rows(method, "score", weights, x_test, rows)
            yield name, auroc(scores, is_anomaly[test])
        plain, plain_test = (data.one_hot(schema, part) for part in (x, x_test))
        found = anomaly_baselines(plain, plain_test, components=8, seed=seed)
        for name, side in BASELINES.items():
            yield side, auroc(found[name], is_anomaly[test])

    return one_seed


def _idx(path: Path, header: int) -> np.ndarray:
    """Reads the bytes of an IDX file behind its header."""
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header)


def plot(measured: Measured, path: Path) -> None:
    """Draws a point a seed: accuracies of the probe, AUROCs of the two tables."""
    from matplotlib.figure import Figure as Picture

    cases = list(dict.fromkeys(series.case for series in measured.series))
    picture = Picture(figsize=(10, 4), layout="constrained")
    for axes, case in zip(np.atleast_1d(picture.subplots(1, len(cases))), cases, strict=True):
        sides = [series for series in measured.series if series.case == case][::-1]
        for height, series in enumerate(sides):
            axes.plot(series.samples, [height] * len(series.samples), "o", alpha=0.5, color="C0")
            axes.plot(np.mean(series.samples), height, "|", markersize=18, color="k")
        axes.set_yticks(range(len(sides)), [series.side for series in sides])
        axes.set(xlabel=f"{sides[0].unit}, a point a seed", title=case)
        axes.grid(axis="x", alpha=0.3)
    picture.savefig(path, dpi=110, metadata={"Software": None})
