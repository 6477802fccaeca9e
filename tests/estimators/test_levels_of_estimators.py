"""Levels of estimators: p-values, `alpha`, discoveries, and what is refused before training."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control

from jaxrep import AutoencoderEmbedding, FineTunedClassifier
from jaxrep.runs.levels import calibration_of
from jaxrep.runs.training_rows import calibration_rows
from tests.helpers.small import SMALL

ROWS = 700
APART = SMALL | {"epochs": 2, "calibration_fraction": 0.3}


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).normal(size=(ROWS, 5))


@pytest.fixture(scope="module")
def others():
    x = np.random.default_rng(1).normal(size=(300, 5))
    x[::5] *= 6
    return x


@pytest.fixture(scope="module")
def fitted(X):
    return AutoencoderEmbedding(**APART, alpha=0.1).fit(X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_predict_calls_the_rows_outliers_whose_p_value_is_at_most_alpha(fitted, others, dtype):
    x = others.astype(dtype)
    p = fitted.p_values(x)
    assert p.dtype == np.float64 and p.min() > 0 and p.max() <= 1
    np.testing.assert_array_equal(fitted.predict(x) == -1, p <= 0.1)
    assert 60 <= (p <= 0.1).sum() < 150


def test_a_calibration_row_at_the_threshold_is_no_outlier(fitted, X):
    """Of 210 rows and the row itself 21 have p ≤ 0.1; the 21st of the calibration rows ties."""
    is_apart = calibration_rows(ROWS, fitted.run_.method.hyperparameters)
    at = np.flatnonzero(fitted.decision_function(X) == 0)
    assert len(at) == 1 and is_apart[at[0]]
    assert fitted.predict(X[at])[0] == 1 and fitted.p_values(X[at])[0] == 22 / 211
    outliers = fitted.predict(X[is_apart]) == -1
    assert outliers.sum() == 20


def test_scores_that_tie_are_flagged_together_as_the_p_value_has_it(X):
    rows = np.sign(X)  # 32 different ones
    model = AutoencoderEmbedding(**APART, alpha=0.3).fit(rows)
    kept = calibration_of(model.run_, "a test")
    assert (kept == -np.float32(model.offset_)).sum() > 1
    np.testing.assert_array_equal(model.predict(rows) == -1, model.p_values(rows) <= 0.3)


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.3])
def test_discoveries_are_benjamini_and_hochbergs(fitted, others, rate):
    expected = false_discovery_control(fitted.p_values(others)) <= rate
    np.testing.assert_array_equal(fitted.discoveries(others, fdr=rate), expected)
    assert 0 < expected.sum() < 120


def test_what_is_saved_has_its_levels_again(fitted, others, tmp_path):
    fitted.save(tmp_path / "run")
    copy = AutoencoderEmbedding.load(tmp_path / "run")
    assert (copy.alpha, copy.calibration_fraction) == (0.1, 0.3)
    assert copy.offset_ == fitted.offset_
    np.testing.assert_array_equal(copy.p_values(others), fitted.p_values(others))
    np.testing.assert_array_equal(copy.predict(others), fitted.predict(others))


def test_rows_of_weight_0_calibrate_nothing(X):
    weights = np.ones(ROWS)
    weights[:100] = 0
    far = X.copy()
    far[:100] = 1e6
    settings = APART | {"calibration_fraction": 0.35}
    weighted = AutoencoderEmbedding(**settings).fit(far, sample_weight=weights)
    alone = AutoencoderEmbedding(**settings).fit(far[100:])
    kept = calibration_of(weighted.run_, "a test")
    assert len(kept) == 210
    np.testing.assert_array_equal(kept, calibration_of(alone.run_, "a test"))


def test_without_calibration_rows_there_are_no_levels(X):
    plain = AutoencoderEmbedding(**SMALL | {"epochs": 1}).fit(X)
    for ask in (plain.p_values, plain.discoveries):
        with pytest.raises(
            ValueError, match=r"the run has no calibration rows.*train with calibra"
        ):
            ask(X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"alpha": 0.05}, "alpha is 0.05, and no rows are set apart.*calibration_fraction"),
        ({"alpha": 1.0, "calibration_fraction": 0.3}, "alpha is 1.0; it must be above 0"),
        ({"alpha": "much", "calibration_fraction": 0.3}, "alpha is 'much'"),
        (
            {"alpha": 0.004, "calibration_fraction": 0.3},
            "alpha is 0.004, and with 210 calibration rows the least p-value is 1/211",
        ),
        ({"calibration_fraction": 0.1}, "of 700 rows it sets 70 apart.*give 0.286 or more"),
        ({"calibration_fraction": 1.5}, "calibration_fraction is 1.5; it must be"),
    ],
)
def test_what_cannot_be_promised_is_refused_before_anything_trains(parameters, message, X):
    model = AutoencoderEmbedding(**SMALL, epochs=10**6, **parameters)  # which would never end
    with pytest.raises(ValueError, match=message):
        model.fit(X)


def test_a_rate_below_the_least_p_value_is_refused(fitted, others):
    with pytest.raises(ValueError, match=r"fdr is 0.001, and with 210 calibration rows"):
        fitted.discoveries(others, fdr=0.001)


def test_warm_start_is_refused_since_the_weights_may_have_seen_the_rows(X):
    model = AutoencoderEmbedding(**SMALL, epochs=1, warm_start=True).fit(X)
    model.set_params(calibration_fraction=0.3)
    with pytest.raises(ValueError, match=r"calibration_fraction is 0.3, and warm_start=True"):
        model.fit(X)


def test_a_fine_tuned_estimator_sets_no_rows_apart(fitted):
    assert "calibration_fraction" not in FineTunedClassifier(backbone=fitted).get_params()


def test_frames_have_p_values(X):
    frame = pd.DataFrame(X, columns=list("abcde"))
    model = AutoencoderEmbedding(**APART).fit(frame)
    assert model.p_values(frame.iloc[:7]).shape == (7,)
