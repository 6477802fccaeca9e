"""Results that cancel: what rounding the inputs moves is no error, and everything more is one."""

import jax.numpy as jnp
import numpy as np
import torch

from jaxrep.parity import cross_check

X = np.random.default_rng(0).normal(size=500)
CANCELLING = np.concatenate([X, 1e-6 - X])  # whose sum is 2,000 times less than its terms


def compared(ours, theirs, x):
    return cross_check(ours, theirs, (x,), gradients=False, dtypes=("float32",))


def test_a_sum_that_cancels_may_be_off_by_what_rounding_moves():
    def in_order(x):
        return jnp.cumsum(x)[-1]

    def pair_by_pair(x):
        return torch.sum(x[:500] + x[500:])

    assert compared(in_order, pair_by_pair, CANCELLING).passed
    assert not compared(lambda x: in_order(x) + 1e-3, pair_by_pair, CANCELLING).passed


def test_what_is_computed_badly_fails_all_the_same():
    # log(1 + x) of small x is well conditioned, and its textbook form is not.
    x = np.geomspace(1e-6, 1e-3, 20)
    assert not compared(lambda x: jnp.log(1 + x), torch.log1p, x).passed
