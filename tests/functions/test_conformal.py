"""p-values of scores: their definition, exactness and ties, and Benjamini and Hochberg's rule."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from jaxrep.conformal import (
    check_level,
    discovery_rank,
    limit_of,
    p_values,
    rank_at,
    ranks,
    sorted_scores,
)
from jaxrep.errors import InputError

pytestmark = pytest.mark.quick


def drawn(seed, calibration=250, rows=400):
    """Scores of calibration rows and of others, many of them equal."""
    draws = np.random.default_rng(seed)
    kept = draws.integers(0, 120, calibration).astype(np.float32)
    return sorted_scores(kept), draws.integers(0, 150, rows).astype(np.float32)


def test_p_values_are_those_of_a_double_loop():
    calibration, scores = drawn(0)
    expected = [(1 + sum(c >= s for c in calibration)) / (len(calibration) + 1) for s in scores]
    np.testing.assert_array_equal(p_values(scores, calibration), expected)


def test_each_of_n_plus_1_rows_left_out_in_turn_takes_each_p_value_once():
    scores = np.random.default_rng(0).normal(size=61).astype(np.float32)
    found = [
        ranks(scores[i : i + 1], sorted_scores(np.delete(scores, i)))[0] for i in range(len(scores))
    ]
    assert sorted(found) == list(range(1, 62))


def test_a_tie_counts_as_a_stranger_calibration_row():
    calibration, scores = drawn(1)  # whole numbers
    tied, apart = p_values(scores, calibration), p_values(scores + 0.5, calibration)
    assert (tied >= apart).all() and (tied > apart).any()
    assert p_values(np.float32([3.0]), np.full(200, 3.0, np.float32))[0] == 1.0


def test_infinite_scores_tie_with_those_of_calibration_rows_that_are_infinite_too():
    calibration = sorted_scores(np.float32([np.inf, 1, 2, np.nan]))
    assert np.isfinite(calibration).all()
    assert p_values(np.float32([np.inf]), calibration)[0] == 3 / 5
    assert limit_of(2, calibration) == np.inf  # nothing lies above, as the p-value has it
    assert limit_of(3, calibration) == 2.0


@pytest.mark.parametrize("n", [200, 213, 299, 999])
def test_the_limit_of_a_level_flags_exactly_the_rows_whose_p_value_is_at_most_it(n):
    calibration, scores = drawn(n, calibration=n)
    p = p_values(scores, calibration)
    decimals = [round(i / 100, 2) for i in range(1, 100)]  # 0.29 · 100 is 28.999…96
    for level in (*decimals, *np.unique(p)):
        limit = limit_of(rank_at(level, n), calibration)
        np.testing.assert_array_equal(scores > limit, p <= level)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1, 0.35])
def test_discoveries_are_those_of_scipy(seed, rate):
    calibration, scores = drawn(seed)
    scores[: 20 * (seed % 4)] += 100
    p, found = p_values(scores, calibration), ranks(scores, calibration)
    counts = np.bincount(found - 1, minlength=len(calibration) + 1)
    rank = discovery_rank(counts, rate)
    np.testing.assert_array_equal(found <= rank, false_discovery_control(p) <= rate)
    np.testing.assert_array_equal(scores > limit_of(rank, calibration), found <= rank)


def test_discoveries_meet_their_rate_on_average():
    shares, powers = [], []
    for seed in range(400):
        draws = np.random.default_rng(seed)
        calibration = sorted_scores(draws.normal(size=500).astype(np.float32))
        scores = draws.normal(size=500).astype(np.float32)
        scores[:50] += 4
        found = ranks(scores, calibration)
        is_found = found <= discovery_rank(np.bincount(found - 1, minlength=501), 0.2)
        shares.append(is_found[50:].sum() / max(is_found.sum(), 1))
        powers.append(is_found[:50].mean())
    assert 0.15 < np.mean(shares) <= 0.2  # 0.2 · 450/500, with an error of 0.004
    assert np.mean(powers) > 0.8


def test_a_level_below_the_least_p_value_is_refused():
    check_level("alpha", 0.05, 19)
    with pytest.raises(InputError, match=r"alpha is 0.05, .*18 .*1/19; .*with 19 calibration rows"):
        check_level("alpha", 0.05, 18)
    with pytest.raises(InputError, match=r"1/10001; give a larger one$"):
        check_level("alpha", 1e-5, 10_000)
    for level in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(InputError, match="must be above 0 and below 1"):
            check_level("alpha", level, 1000)
