"""The shuffle is a permutation, for any size, and a fair one."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from jaxrep.shuffle import MOST_ROUNDS, _divide, grid, shuffled

pytestmark = pytest.mark.quick


compiled = jax.jit(shuffled)


def keys(count: int, seed: int = 0) -> jax.Array:
    return jax.random.bits(jax.random.key(seed), (count, MOST_ROUNDS))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10, 97, 128, 255, 256, 1000, 65_537])
def test_every_row_comes_exactly_once(size):
    rows = compiled(jnp.arange(size, dtype=jnp.uint32), keys(1)[0], grid(size))
    assert (np.sort(rows) == np.arange(size)).all()


def test_any_batch_can_be_asked_for_alone():
    key = keys(1)[0]
    whole = compiled(jnp.arange(1000, dtype=jnp.uint32), key, grid(1000))
    part = compiled(jnp.arange(640, 768, dtype=jnp.uint32), key, grid(1000))
    assert (whole[640:768] == part).all()


@pytest.mark.parametrize("size", [3, 5, 6])
def test_small_shuffles_are_uniform_over_all_permutations(size):
    count = 100 * math.factorial(size)
    positions = jnp.arange(size, dtype=jnp.uint32)
    shuffle = jax.jit(jax.vmap(lambda key: shuffled(positions, key, grid(size))))
    drawn = shuffle(keys(count))
    codes = np.asarray(drawn, np.int64) @ size ** np.arange(size)
    seen, frequencies = np.unique(codes, return_counts=True)
    assert len(seen) == math.factorial(size)
    assert chisquare(frequencies).pvalue > 1e-3


@pytest.mark.parametrize("size", [16, 100, 300])
def test_pairs_of_positions_find_all_pairs_of_rows_equally_often(size):
    positions = jnp.array([0, 1, size // 2, size - 1], dtype=jnp.uint32)
    shuffle = jax.jit(jax.vmap(lambda key: shuffled(positions, key, grid(size))))
    drawn = np.asarray(shuffle(keys(50_000)), np.int64)
    for i in range(4):
        assert chisquare(np.bincount(drawn[:, i], minlength=size)).pvalue > 1e-4
    for i, j in ((0, 1), (0, 3), (1, 2)):
        distances = np.bincount((drawn[:, i] - drawn[:, j]) % size, minlength=size)[1:]
        assert chisquare(distances).pvalue > 1e-4


def test_different_keys_give_different_orders():
    positions = jnp.arange(1000, dtype=jnp.uint32)
    one, other = (compiled(positions, key, grid(1000)) for key in keys(2))
    assert np.mean(np.asarray(one == other)) < 0.01


def test_one_program_shuffles_any_number_of_rows():
    program = jax.jit(lambda *given: shuffled(*given))
    for size in (5, 200, 256, 2000):
        program(jnp.arange(5, dtype=jnp.uint32), keys(1)[0], grid(size))
    assert program._cache_size() == 1


def test_products_with_inverses_divide_exactly():
    draws = np.random.default_rng(0)
    numbers = np.concatenate(
        [
            draws.integers(0, 2**32, 20_000, dtype=np.uint32),
            np.arange(1000, dtype=np.uint32),
            np.uint32(2**32 - 1) - np.arange(1000, dtype=np.uint32),
        ]
    )
    divide = jax.jit(_divide)
    for divisor in (*range(1, 70), 255, 256, 257, 4095, 4097, 46_341, 65_535, 65_536, 65_538):
        by = np.uint32(divisor)
        near = by * np.arange(0, 2**32 // divisor, max(2**32 // divisor // 500, 1), dtype=np.uint32)
        given = np.concatenate([numbers, near, near - np.uint32(1), near + np.uint32(1)])
        quotient, rest = divide(given, by, np.float32((1 - 2**-22) / divisor))
        np.testing.assert_array_equal(quotient, given // by)
        np.testing.assert_array_equal(rest, given % by)
