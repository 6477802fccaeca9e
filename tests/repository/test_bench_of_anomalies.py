"""The benchmark of anomaly scores: its splits, its figures, and a short run on drawn sets."""

import numpy as np
import pytest

from bench import anomalies
from bench.anomalies import DENOISER, FILE, KNN, MEMBERS, RANDOM
from bench.measured import Measured, Series


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three sets: normal rows on a line, whose number rises, and anomalies off it."""
    (tmp_path / "anomaly").mkdir()
    draws = np.random.default_rng(0)
    for i, name in enumerate(("2_second", "10_tenth", "1_first")):
        along = np.arange(120.0)
        x = np.stack([along, -along, draws.normal(size=120)], axis=1)
        y = np.zeros(120, int)
        y[[30, 60, 90]] = 1
        x[y == 1, 1] += 80
        np.savez(tmp_path / "anomaly" / f"{name}.npz", X=x + i, y=y)
    monkeypatch.setenv("JAXREP_DATA", str(tmp_path))
    return tmp_path / "anomaly"


def test_half_of_the_normal_rows_train_in_file_order_or_drawn(folder):
    first, drawn = (anomalies.split(folder / "2_second.npz", how) for how in (FILE, RANDOM))
    assert first.train[:, 0].tolist() == [row for row in range(59) if row != 30]
    assert first.test[~first.is_anomaly, 0].tolist() == [
        row for row in range(59, 120) if row not in (60, 90)
    ]
    assert first.test[first.is_anomaly, 0].tolist() == [30, 60, 90]
    assert len(drawn.train) == len(first.train)
    assert (drawn.train[:, 0] > 59).any() and (np.diff(drawn.train[:, 0]) < 0).any()
    for halves in (first, drawn):
        together = np.concatenate([halves.train, halves.test])[:, 0]
        assert sorted(together) == list(range(120))
    few = anomalies.split(folder / "2_second.npz", FILE, most=20)
    assert (len(few.train), len(few.test), few.is_anomaly.sum()) == (20, 20, 1)


def test_a_short_run_has_every_rival_and_finds_what_is_off_the_line(folder):
    measured = anomalies.measure(quick=True, rounds=1)
    cases = {series.case for series in measured.series}
    assert cases == {f"first, {protocol}" for protocol in (FILE, RANDOM)}
    found = {(s.case, s.side): s.samples for s in measured.series if s.unit == anomalies.AUROC}
    others = {f"{side}, {name}" for side, names in anomalies.OTHER_SCORES.items() for name in names}
    assert {side for _, side in found} == {*anomalies.BASELINES, *anomalies.METHODS} - {
        "PCA"
    } | others
    assert (
        found["first, random halves", KNN][0] > 95
        and found["first, random halves", DENOISER][0] > 60
    )
    assert all(value == value for samples in found.values() for value in samples)


def test_figures_are_means_over_sets_and_the_median_of_the_differences():
    series = []
    for i, (knn, ours) in enumerate([(80, [82, 84]), (90, [89, 89]), (50, [60, 70])]):
        for protocol in (FILE, RANDOM):
            for unit in (anomalies.AUROC, anomalies.PRECISION):
                series.append(Series(f"{i}, {protocol}", KNN, unit, [float(knn)]))
                for side in (DENOISER, MEMBERS):
                    series.append(Series(f"{i}, {protocol}", side, unit, [float(v) for v in ours]))
    figures = {figure.name: figure for figure in anomalies.figures(Measured(series, {}))}
    mean = figures[f"{FILE}: {DENOISER} over {KNN}, mean"]
    assert (mean.value, mean.target) == (round((3 - 1 + 15) / 3, 2), 1.5)
    assert figures[f"{RANDOM}: {MEMBERS} over {KNN}, median over the sets"].value == 3
    assert figures[f"{FILE}: {KNN}, mean {anomalies.AUROC}"].value == round(220 / 3, 2)
