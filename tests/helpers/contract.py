"""scikit-learn's own checks of an estimator, as parameters of a test."""

from collections.abc import Iterator

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

_OTHER_ROWS = (
    "rows that are repeated are shuffled into other batches than rows of more weight, and count "
    "in the columns' means and scales, where weights do not"
)
FAILING = {
    "check_sample_weight_equivalence_on_dense_data": _OTHER_ROWS,
    "check_sample_weight_equivalence_on_sparse_data": _OTHER_ROWS,
}
"""The checks that no estimator here can pass, each with the reason."""

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


def checks_of(estimator, *, all_are_quick=False, failing=None) -> Iterator[object]:
    """Yields the checks; those that train are slow, unless said otherwise.

    Args:
        estimator: to check.
        all_are_quick: whether all checks run with the quick tests.
        failing: the checks that cannot pass, by name, each with the reason; one that does fails.
    """
    failing = failing or {}
    for each, check in estimator_checks_generator(estimator):
        name = check.func.__name__
        marks = [] if all_are_quick or name in BEFORE_TRAINING else [pytest.mark.slow]
        if name in failing:
            marks.append(pytest.mark.xfail(reason=failing[name], strict=True))
        yield pytest.param(each, check, marks=marks, id=f"{type(estimator).__name__}-{name}")
