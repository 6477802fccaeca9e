"""`jaxrep score` with levels: p-values, rows flagged by them, and what is refused."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import false_discovery_control

from tests.helpers.commands import call, done
from tests.helpers.small import BATCH, FEATURES

ROWS = 700
SMALL = ("--hidden-dims", 6, "--latent-dim", 3, "--batch-size", BATCH, "--epochs", 2)
APART = 0.3 * ROWS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run with calibration rows, one without, and a table of which every fifth row is odd."""
    path = tmp_path_factory.mktemp("levels")
    draws = np.random.default_rng(0)
    np.save(path / "rows.npy", draws.normal(size=(ROWS, FEATURES)))
    others = draws.normal(size=(300, FEATURES))
    others[::5] *= 6
    lines = [",".join(map(str, row)) for row in others.tolist()]
    header = ",".join(f"x{i}" for i in range(FEATURES))
    (path / "others.csv").write_text("\n".join([header, *lines]))
    train = ("train", "autoencoder", path / "rows.npy", *SMALL)
    done(*train, "--out", path / "run", "--calibration-fraction", 0.3)
    done(*train, "--out", path / "plain")
    return path


def scored(folder, *flags, data="others.csv"):
    out = folder / "scores.parquet"
    result = done("score", folder / "run", folder / data, "--out", out, *flags)
    table = pq.read_table(out)
    return result, {name: table[name].to_numpy() for name in table.column_names}


def test_p_values_are_a_column_beside_whatever_flags(folder):
    result, columns = scored(folder, "--p-value")
    assert list(columns) == ["score", "anomaly", "p_value"]
    by_score = np.argsort(columns["score"])
    assert (np.diff(columns["p_value"][by_score]) <= 0).all()
    steps = columns["p_value"] * (APART + 1)
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-9)
    assert steps.min() >= 1 and steps.max() <= APART + 1
    told = {key: result[key] for key in ("rule", "level", "calibration_rows", "anomalies")}
    flagged = columns["anomaly"].sum()
    assert told == {
        "rule": "contamination",
        "level": 0.05,
        "calibration_rows": APART,
        "anomalies": flagged,
    }
    assert "p_value" not in scored(folder, "--alpha", 0.1)[1]


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.3])
def test_alpha_flags_the_rows_whose_p_value_is_at_most_it(folder, alpha):
    result, columns = scored(folder, "--alpha", alpha, "--p-value")
    np.testing.assert_array_equal(columns["anomaly"], columns["p_value"] <= alpha)
    np.testing.assert_array_equal(columns["anomaly"], columns["score"] > result["threshold"])
    assert (result["rule"], result["level"]) == ("alpha", alpha)
    assert result["anomalies"] == columns["anomaly"].sum() > 0


@pytest.mark.parametrize("data", ["others.csv", "-"])
@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_fdr_flags_by_benjamini_and_hochberg_over_the_whole_table(folder, rate, data, monkeypatch):
    monkeypatch.setattr("jaxrep.data._blocks._MOST_ROWS", 70)  # several blocks
    flags = ("--fdr", rate, "--p-value", "--out")
    if data == "-":
        command = [sys.executable, "-m", "jaxrep.cli", "score", str(folder / "run"), "-"]
        out = str(folder / "piped.parquet")
        with (folder / "others.csv").open("rb") as source:
            made = subprocess.run([*command, *map(str, flags), out], stdin=source, check=True)
        assert made.returncode == 0
        table = pq.read_table(out)
        columns = {name: table[name].to_numpy() for name in table.column_names}
    else:
        result, columns = scored(folder, *flags[:-1])
        assert (result["rule"], result["anomalies"]) == ("fdr", columns["anomaly"].sum())
        np.testing.assert_array_equal(columns["anomaly"], columns["score"] > result["threshold"])
    expected = false_discovery_control(columns["p_value"]) <= rate
    assert 0 < expected.sum() < 100
    np.testing.assert_array_equal(columns["anomaly"], expected)


def test_a_table_in_which_nothing_is_found_says_what_could_be(folder, tmp_path):
    np.save(tmp_path / "usual.npy", np.zeros((5000, FEATURES)))
    argv = ("score", folder / "run", tmp_path / "usual.npy", "--out", tmp_path / "s.csv")
    result = done(*argv, "--fdr", 0.1)
    assert (result["anomalies"], result["threshold"]) == (0, None)
    _, out, _ = call(*argv, "--fdr", 0.1)
    assert "no anomalies (false discovery rate 0.1, by 210 calibration rows, which can find no" in (
        out
    )
    assert "fewer than 237 among 5,000 rows)" in out  # 5000 / (211 · 0.1)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--alpha", 0.05), "(p-value at most 0.05, by 210 calibration rows)"),
        (("--fdr", 0.2), "(false discovery rate 0.2, by 210 calibration rows)"),
        (("--contamination", 0.2), "(contamination 0.2)"),
    ],
)
def test_the_rule_is_printed(folder, tmp_path, flags, said):
    argv = ("score", folder / "run", folder / "others.csv", "--out", tmp_path / "s.csv")
    _, out, _ = call(*argv, *flags)
    assert out.splitlines()[-1].endswith(said)
    assert "anomalies above the threshold of" in out.splitlines()[-1]


@pytest.mark.parametrize(("share", "is_said"), [(0.01, True), (0.05, True), (0.2, False)])
def test_a_threshold_that_far_more_rows_exceed_is_told(folder, tmp_path, share, is_said):
    argv = ("score", folder / "run", folder / "others.csv", "--out", tmp_path / "s.csv")
    _, out, _ = call(*argv, "--contamination", share)  # a fifth of the rows are odd
    assert (f"rows lie above what {100 * share:g} % of the training rows do" in out) == is_said
    assert "rows lie above" not in call(*argv, "--alpha", 0.01)[1]


@pytest.mark.parametrize(
    ("run", "flags", "facts"),
    [
        ("run", ("--alpha", 0.1, "--fdr", 0.1), ["--alpha and --fdr", "give one"]),
        ("run", ("--contamination", 0.1, "--alpha", 0.1), ["--contamination and --alpha"]),
        ("run", ("--alpha", 0.004), ["--alpha is 0.004", "210", "1/211", "larger", "249"]),
        ("run", ("--fdr", 0.004), ["--fdr is 0.004", "1/211"]),
        ("run", ("--alpha", 1), ["--alpha is 1", "above 0 and below 1"]),
        ("plain", ("--alpha", 0.1), ["--alpha", "train with --calibration-fraction"]),
        ("plain", ("--fdr", 0.1), ["--fdr", "train with --calibration-fraction"]),
        ("plain", ("--p-value",), ["--p-value", "train with --calibration-fraction"]),
    ],
)
def test_what_cannot_be_promised_is_refused(folder, tmp_path, run, flags, facts):
    argv = ("score", folder / run, folder / "others.csv", "--out", tmp_path / "s.csv")
    code, out, err = call(*argv, *flags)
    assert (code, out) == (2, "") and not Path(tmp_path / "s.csv").exists()
    assert all(fact in err for fact in facts), err


def test_too_few_calibration_rows_are_refused_before_anything_is_written(folder, tmp_path):
    argv = ("train", "autoencoder", folder / "rows.npy", *SMALL, "--out", tmp_path / "run")
    code, _, err = call(*argv, "--calibration-fraction", 0.1)
    assert code == 2 and not (tmp_path / "run").exists()
    assert "of 700 rows it sets 70 apart" in err and "give 0.286 or more" in err
