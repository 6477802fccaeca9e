"""What is computed once in a compiled program, and comes out the same."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrep.once import once

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


@pytest.mark.parametrize(("computed", "found"), [(once, 1), (lambda draw, words: draw(words), 11)])
def test_random_numbers_that_arrays_are_cut_out_of_are_generated_once(computed, found):
    def draw(words):
        key = jax.random.wrap_key_data(words, impl="philox4x32")
        return jax.random.uniform(key, (99,))

    def cut(words):
        drawn = computed(draw, words)
        return [drawn[i * 9 : (i + 1) * 9] for i in range(11)]

    assert generators(cut, np.arange(2, dtype=np.uint32)) == found
