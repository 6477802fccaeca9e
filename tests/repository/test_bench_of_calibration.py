"""The benchmark of levels: its figures, and a short run on drawn tables."""

import numpy as np
import pyarrow as pa
import pytest

from bench import calibration
from bench.calibration import BY_P_VALUE, BY_RATE, BY_TRAINING, FALSE, FLAGGED, FOUND, OF_PLANTED
from bench.measured import Measured, Series


@pytest.fixture
def short(monkeypatch):
    """Tables of few normal rows, and anomalies far from them."""
    draws = np.random.default_rng(0)

    def read(folder):
        normal, odd = (
            pa.table(dict(zip("abcd", mean + draws.normal(size=(4, count)), strict=True)))
            for mean, count in ((0, 3500), (20, 200))
        )
        return calibration.Table(normal, odd)

    monkeypatch.setattr(calibration, "data_folder", lambda *needed: None)
    monkeypatch.setattr(calibration, "READERS", dict.fromkeys(calibration.TABLES[:1], read))
    monkeypatch.setattr(calibration, "TABLES", calibration.TABLES[:1])
    for name, value in {"ROWS": 2000, "UNSEEN": 1000, "PLANTED": 100}.items():
        monkeypatch.setattr(calibration, name, value)


def test_a_short_run_flags_a_level_of_unseen_rows_and_finds_what_is_far_off(short):
    measured = calibration.measure(quick=True, rounds=1)
    found = {(s.side, s.unit): s.samples for s in measured.series}
    assert all(len(samples) == 2 for samples in found.values())
    assert {*found} == {
        *((side, FLAGGED) for side in (BY_P_VALUE, BY_TRAINING)),
        *((BY_RATE, FALSE), (OF_PLANTED, FOUND)),
    }
    assert 0.01 < np.mean(found[BY_P_VALUE, FLAGGED]) < 0.1
    assert found[OF_PLANTED, FOUND] == [1.0, 1.0]
    assert 0 < np.mean(found[BY_RATE, FALSE]) < 0.25


def test_figures_are_means_over_the_seeds_with_what_is_promised():
    series = [
        Series("Cover", BY_P_VALUE, FLAGGED, [0.04, 0.058]),
        Series("Cover", BY_TRAINING, FLAGGED, [0.08, 0.1]),
        Series("Cover", BY_RATE, FALSE, [0.0, 0.3]),
        Series("Cover", OF_PLANTED, FOUND, [0.5, 1.0]),
    ]
    made = {figure.name: figure for figure in calibration.figures(Measured(series, {}))}
    distance = made["Cover: of these, distance from 5 %"]
    assert distance.value == pytest.approx(0.001) and distance.verdict == "met"
    false = made[f"Cover: {FALSE}, {BY_RATE}"]
    assert false.value == 0.15 and false.verdict == "missed"
    assert made[f"Cover: {FOUND}, {BY_RATE}"].value == 0.75
