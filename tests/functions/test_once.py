"""What is computed once in a compiled program, and comes out the same."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrep.once import once
from jaxrep.training import init_state
from tests.helpers.small import SPEC, make

pytestmark = pytest.mark.quick


@pytest.mark.parametrize("first", [0, 1, 2, -1, -(2**31), 2**31 - 1])
def test_a_function_is_computed_once_whatever_its_words_are(first):
    words = jnp.array([first, 5], jnp.int32)
    np.testing.assert_array_equal(once(lambda words: words + 1, words), words + 1)
    np.testing.assert_array_equal(
        jax.vmap(lambda word: once(lambda w: w ^ 7, word))(words), words ^ 7
    )


def test_trees_of_words_give_trees():
    made = once(lambda a, b: {"sum": a[0] + b, "other": (b > 1,)}, (jnp.uint32(3),), jnp.arange(3))
    np.testing.assert_array_equal(made["sum"], [3, 4, 5])
    np.testing.assert_array_equal(made["other"][0], [False, False, True])


def generators(function, *arguments):
    """In how many kernels of a program random bits are mixed."""
    text = jax.jit(function).lower(*arguments).compile().as_text()
    computations = re.split(r"\n(?=%|ENTRY)", text)
    return sum("jit(_uniform)" in part and part.count("mulhi") > 9 for part in computations)


def test_weights_are_cut_out_of_draws_that_are_generated_once():
    method = make("vae", hidden_dims=(16, 8, 4))
    found = generators(lambda seed: init_state(method, SPEC, seed).params, np.uint32(0))
    assert 0 < found < len(init_state(method, SPEC, 0).params)

    def cut(seed):
        drawn = jax.random.uniform(jax.random.key(seed, impl="philox4x32"), (99,))
        return [drawn[i * 9 : (i + 1) * 9] for i in range(11)]

    assert generators(cut, np.uint32(0)) == 11  # which is what the count is to see
