"""scikit-learn's own checks of an estimator, as parameters of a test."""

from collections.abc import Iterator

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

BEFORE_TRAINING = {
    "check_complex_data",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_estimators_empty_data_messages",
    "check_estimators_unfitted",
    "check_fit1d",
    "check_fit2d_1sample",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_transformers_unfitted",
    "check_valid_tag_types",
}


def checks_of(estimator, *, all_are_quick=False, failing=()) -> Iterator[object]:
    """Yields the checks; those that train are slow, unless said otherwise.

    Args:
        estimator: to check.
        all_are_quick: whether all checks run with the quick tests.
        failing: names of checks that cannot pass, left out.
    """
    for each, check in estimator_checks_generator(estimator):
        name = check.func.__name__
        if name in failing:
            continue
        marks = () if all_are_quick or name in BEFORE_TRAINING else pytest.mark.slow
        yield pytest.param(each, check, marks=marks, id=f"{type(estimator).__name__}-{name}")
