"""The mutual information gap, on representations whose gap is known."""

import itertools

import numpy as np
import pytest

from jaxrep.evaluation import mutual_information_gap

RNG = np.random.default_rng(0)
# All combinations, each as often: factors that are independent to the last bit.
FACTORS = np.array(list(itertools.product(range(5), repeat=3)) * 40)


def test_one_unit_for_each_factor_has_the_gap_1():
    z = FACTORS * [1.0, -2.0, 30.0] + 7
    assert mutual_information_gap(z, FACTORS) == pytest.approx(1, abs=1e-12)


def test_two_units_that_tell_the_same_have_none():
    z = np.column_stack([FACTORS, FACTORS[:, ::-1]])
    assert mutual_information_gap(z, FACTORS) == pytest.approx(0, abs=1e-12)


def test_a_turn_that_mixes_two_factors_lowers_it_and_noise_has_none():
    turn = np.array([[1, 1, 0], [1, -1, 0], [0, 0, 1]])
    assert 0.3 < mutual_information_gap(FACTORS @ turn, FACTORS) < 0.5
    assert mutual_information_gap(RNG.normal(size=(5000, 4)), FACTORS) < 0.01


def test_half_of_what_a_factor_is_counts_as_half():
    factor = np.arange(4000)[:, None] % 4
    z = np.column_stack([factor[:, 0], factor[:, 0] // 2])  # all two bits, and one of them
    assert mutual_information_gap(z, factor) == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize(
    ("z", "factors", "message"),
    [
        (np.ones((9, 1)), np.ones((9, 2)), "Z at least 2"),
        (np.ones((9, 2)), np.ones((8, 2)), "they must be"),
        (np.ones((9, 2)), np.ones((9, 1)), "factor 0 is constant"),
    ],
)
def test_what_has_no_gap_is_refused(z, factors, message):
    with pytest.raises(ValueError, match=message):
        mutual_information_gap(z, factors)
