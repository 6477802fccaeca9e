"""Scores of columns and of pairs: sdmetrics' values, closed forms, and what is not defined."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxrep.comparison import (
    contingency_similarity,
    correlation_similarity,
    ks_complement,
    tv_complement,
)
from tests.helpers.sdmetrics_scores import CASES, SCORES

pytestmark = pytest.mark.quick
KNOWN = json.loads(SCORES.read_text())
OF_ONE = {"KSComplement": ks_complement, "TVComplement": tv_complement}
OF_TWO = {
    "CorrelationSimilarity": correlation_similarity,
    "ContingencySimilarity": contingency_similarity,
}
CODES = ("whole", "level", "rare")  # of others sdmetrics' total variation is off by 1e-6


@pytest.mark.parametrize("case", CASES)
def test_scores_are_those_of_sdmetrics(case):
    real, made = CASES[case]
    compared = 0
    for key, expected in KNOWN[case].items():
        measure, *names = key.split()
        if measure == "TVComplement" and names[0] not in CODES:
            continue
        if measure in OF_ONE:
            found = OF_ONE[measure](real[names[0]], made[names[0]])
        else:
            tables = (
                np.stack([columns[name] for name in names], axis=1) for columns in CASES[case]
            )
            found = OF_TWO[measure](*tables)
        assert found == pytest.approx(expected, abs=1e-9), key
        compared += 1
    assert compared == 6 + 3 + 6 + 15


numbers = st.lists(
    st.one_of(st.integers(-3, 3).map(float), st.just(np.nan)), min_size=1, max_size=30
)


@given(numbers, numbers)
def test_distances_of_columns_are_those_of_their_definitions(real, made):
    real, made = np.array(real), np.array(made)
    there, new = pd.Series(real).dropna(), pd.Series(made).dropna()
    ks, tv = ks_complement(real, made), tv_complement(real, made)
    if there.empty or new.empty:
        assert np.isnan(ks) and np.isnan(tv)
        return
    gaps = [abs((there <= x).mean() - (new <= x).mean()) for x in range(-3, 4)]
    assert ks == pytest.approx(1 - max(gaps), abs=1e-12)
    shares = there.value_counts(normalize=True), new.value_counts(normalize=True)
    assert tv == pytest.approx(1 - shares[0].sub(shares[1], fill_value=0).abs().sum() / 2)


def test_what_is_alike_has_one_and_what_shares_nothing_none():
    one, other = np.array([0.0, 1.0, 1.0]), np.array([2.0, 3.0])
    assert ks_complement(one, one) == tv_complement(one, one) == 1
    assert ks_complement(one, other) == tv_complement(one, other) == 0
    pairs = np.stack([one, one[::-1]], axis=1)
    assert contingency_similarity(pairs, pairs) == correlation_similarity(pairs, pairs) == 1
    assert contingency_similarity(pairs, pairs + 5) == pytest.approx(0, abs=1e-15)
    assert correlation_similarity(pairs, pairs * [1, -1]) == pytest.approx(0.5)  # ρ is −½ and ½


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_a_correlation_has_no_unit(scale):
    draws = np.random.default_rng(0)
    real, made = draws.normal(size=(2, 50, 2)) @ np.array([[1.0, 0.5], [0.0, 1.0]])
    expected = 1 - abs(np.corrcoef(real.T)[0, 1] - np.corrcoef(made.T)[0, 1]) / 2
    assert correlation_similarity(scale * real, made) == pytest.approx(expected, rel=1e-12)


def test_a_constant_has_no_correlation():
    pairs = np.array([[1.0, 2.0], [1.0, 3.0]])
    assert np.isnan(correlation_similarity(pairs, pairs))
    assert np.isnan(correlation_similarity(pairs[:1], pairs))
