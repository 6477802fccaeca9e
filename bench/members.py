"""What several seeds in one run are worth: anomaly scores of 1, 2, 4 and 8 members.

The bundled sets with classes: one class after the other counts as anomalous, a half of the rows of
all others, drawn by the seed, is trained on with the settings of the seed's table, and AUROC is
that of the scores of the other half and the anomalous class. A sample is the mean over the classes;
three seeds each. A run of K members is the first K of the run of 8: its score is the mean of
theirs, which is what `--members K` gives.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.measured import Figure, Measured, collect
from bench.seed_methods import seed_method
from jaxrep import data
from jaxrep.evaluation import auroc
from jaxrep.inference import map_rows
from jaxrep.methods import split_members
from jaxrep.training import fit

SEEDS, COUNTS = 3, (1, 2, 4, 8)
SETS = ("blobs", "breast_cancer", "digits", "iris", "wine")
METHODS = ("autoencoder", "vae", "simclr")


def measure(*, quick: bool, rounds: int) -> Measured:
    """Trains eight members on each half, and scores the other by the first of them.

    Args:
        quick: one seed, and iris alone.
        rounds: of no use here; there are three seeds.

    Returns:
        AUROCs by set and method, and number of members, one a seed.
    """
    samples: dict[tuple[str, str], list[float]] = {}
    for name in ("iris",) if quick else SETS:
        for method in METHODS:
            for seed in range(1 if quick else SEEDS):
                found = np.mean(list(_of_classes(name, method, seed)), axis=0)
                for count, value in zip(COUNTS, found.tolist(), strict=True):
                    samples.setdefault((f"{name}, {method}", _side(count)), []).append(value)
    return Measured(collect("AUROC", samples), {"seeds": 1 if quick else SEEDS})


def figures(measured: Measured) -> list[Figure]:
    """Returns what more members bring over one, in the mean over the sets and the seeds."""
    made = []
    for method in METHODS:
        cases = [s.case for s in measured.series if s.case.endswith(method) and s.side == _side(1)]
        for count in COUNTS[1:]:
            gains = [_gain(measured, case, count) for case in cases]
            name = f"{method}: AUROC of {count} members less that of one"
            made.append(Figure(name, float(np.mean(gains)), ""))
    return made


def plot(measured: Measured, path: Path) -> None:
    """Draws the AUROC by the number of members, a line a set and a panel a method."""
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(10, 3.5), layout="constrained")
    panels = picture.subplots(1, len(METHODS), sharey=True)
    for axes, method in zip(panels, METHODS, strict=True):
        for name in SETS:
            found = [measured.find(f"{name}, {method}", _side(count)) for count in COUNTS]
            means = [float(np.mean(series.samples)) if series else np.nan for series in found]
            axes.plot(COUNTS, means, marker="o", label=name.replace("_", " "))
        axes.set_xscale("log", base=2)
        axes.set_xticks(COUNTS, [str(count) for count in COUNTS])
        axes.set(xlabel="members", title=method)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("AUROC, mean of the seeds")
    panels[0].legend(fontsize="small")
    picture.savefig(path, dpi=110, metadata={"Software": None})


def _side(count: int) -> str:
    return f"{count} members" if count > 1 else "1 member"


def _gain(measured: Measured, case: str, count: int) -> float:
    more, one = measured.find(case, _side(count)), measured.find(case, _side(1))
    assert more is not None
    assert one is not None
    return float(np.mean(more.samples) - np.mean(one.samples))


def _of_classes(name: str, method: str, seed: int) -> Iterator[list[float]]:
    """Yields for each class the AUROCs of as many members as `COUNTS` says."""
    table, label = data.load(name), data.LABELS[name]
    classes = np.array(table[label].to_pylist())
    most = COUNTS[-1]
    made = seed_method(method, members=most, seed=most * seed)
    for anomaly in np.unique(classes):
        others = np.random.default_rng(seed).permutation(np.flatnonzero(classes != anomaly))
        train, rest = np.array_split(others, 2)
        test = np.concatenate([rest, np.flatnonzero(classes == anomaly)])
        known, columns = table.take(train), data.Columns(label=label)
        schema = data.fit(lambda known=known: [known], source=name, columns=columns).schema  # type: ignore[misc]
        x, x_test = (data.apply(schema, table.take(part), source=name) for part in (train, test))
        lone, rows = seed_method(method), schema.row_spec()
        scores = [
            map_rows(lone, "score", weights, x_test, rows)
            for weights in split_members(fit(made, x, spec=rows).weights, most)
        ]
        is_anomaly = classes[test] == anomaly
        yield [auroc(np.mean(scores[:count], axis=0), is_anomaly) for count in COUNTS]
