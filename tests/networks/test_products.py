"""The products next to rows: values and gradients against those of the plain products."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from jaxrep.networks import _products
from jaxrep.networks._products import product_apart, product_with_codes

D, LEVELS, B, H = 3, (4, 2, 5), 7, 6
DRAWS = np.random.default_rng(0)
FIRSTS = D + np.cumsum((0, *LEVELS))


@pytest.fixture(autouse=True)
def in_float64() -> Any:
    with jax.enable_x64(True):
        yield


def matrix(*shape: int) -> Array:
    return jnp.asarray(DRAWS.standard_normal(shape))


def places() -> Array:
    return jnp.asarray(FIRSTS[:-1] + DRAWS.integers(0, LEVELS, (B, len(LEVELS))), jnp.int32)


def same(one: Callable[..., Any], other: Callable[..., Any], *arguments: Array) -> None:
    """Holds that values and gradients, towards every argument, agree."""
    value, back = jax.vjp(one, *arguments)
    expected, back_expected = jax.vjp(other, *arguments)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-13), value, expected)
    slopes = jax.tree.map(lambda array: matrix(*array.shape), value)
    for found, right in zip(back(slopes), back_expected(slopes), strict=True):
        np.testing.assert_allclose(found, right, atol=1e-13)


@pytest.mark.parametrize("numbers", [0, D])
def test_a_product_with_codes_is_that_with_one_hot_rows(numbers: int) -> None:
    at = places() - D + numbers

    def plain(kernel: Array, x: Array) -> Array:
        one_hot = jax.nn.one_hot(at, len(kernel), dtype=kernel.dtype).sum(axis=1)
        return x @ kernel[:numbers] + one_hot @ kernel

    kernel = matrix(numbers + sum(LEVELS), H)
    same(lambda k, x: product_with_codes(k, x, at), plain, kernel, matrix(B, numbers))


def test_code_by_code_is_as_all_at_once() -> None:
    h, slope, kernel, at = matrix(B, H), matrix(B, H), matrix(FIRSTS[-1], H), places()
    np.testing.assert_allclose(
        _products._add_rows_by_code(h, kernel, at),
        _products._add_rows_at_once(h, kernel, at),
        atol=1e-13,
    )
    np.testing.assert_allclose(
        _products._scatter_by_code(kernel, slope, at),
        _products._scatter_at_once(kernel, slope, at),
        atol=1e-13,
    )


def test_columns_apart_are_those_of_one_product() -> None:
    def plain(h: Array, kernel: Array, bias: Array) -> tuple[Array, Array]:
        outputs = h @ kernel + bias[None]
        return outputs[:, :2], outputs[:, 2:]

    given = matrix(B, H), matrix(H, 9), matrix(9)
    same(lambda *given: product_apart(*given, 2), plain, *given)


def test_sums_of_narrow_kernels_are_taken_in_float32() -> None:
    kernel = jnp.full((300, 1), 1, jnp.bfloat16)  # 256 + 1 is 256 in bfloat16
    x, at = jnp.zeros((300, 0), jnp.bfloat16), jnp.zeros((300, 1), jnp.int32)
    every = jnp.arange(300, dtype=jnp.int32)[None]
    assert product_with_codes(kernel, x[:1], every) == 300
    (slope,) = jax.grad(lambda kernel: product_with_codes(kernel, x, at).sum())(kernel)[0]
    assert slope == 300
