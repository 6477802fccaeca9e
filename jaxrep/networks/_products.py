"""The products of the layers next to rows, with gradients in the form that costs least.

Derived by JAX, the gradient of a part of a kernel is the kernel's size in zeros, with that part in
its place, and all such parts are added up. Here a kernel's gradient is written once.
"""

import functools

import jax
import jax.numpy as jnp
from jax import Array


@jax.custom_vjp
def product_with_codes(kernel: Array, x: Array, places: Array) -> Array:
    """The product with [x, one-hot codes]: x · kernel[:D] + Σ_c kernel[places[:, c]].

    Args:
        kernel: `[D + values, H]`.
        x: `[B, D]`, in the kernel's dtype.
        places: the kernel's row of each code, `[B, C]`.

    Returns:
        `[B, H]`, in the kernel's dtype; sums are taken in float32 where that is narrower.

    Example:
        >>> kernel = jnp.array([[1.0], [10.0], [20.0]])
        >>> print(product_with_codes(kernel, jnp.array([[3.0]]), jnp.array([[2]])))
        [[23.]]
    """
    return _with_codes(kernel, x, places)[0]


def _with_codes(kernel: Array, x: Array, places: Array) -> tuple[Array, tuple[Array, Array, Array]]:
    h = (x @ kernel[: x.shape[1]]).astype(_wide(kernel))
    h = jax.lax.platform_dependent(
        h, kernel, places, cpu=_add_rows_by_code, default=_add_rows_at_once
    )
    return h.astype(kernel.dtype), (kernel, x, places)


def _with_codes_gradient(
    saved: tuple[Array, Array, Array], slope: Array
) -> tuple[Array, Array, None]:
    kernel, x, places = saved
    wide = _wide(kernel)
    of_dense = _sum_over_batch(x, slope).astype(wide)
    of_codes = jnp.zeros((len(kernel) - x.shape[1], kernel.shape[1]), wide)
    gradient = jax.lax.platform_dependent(
        jnp.concatenate([of_dense, of_codes]),
        slope.astype(wide),
        places,
        cpu=_scatter_by_code,
        default=_scatter_at_once,
    )
    return gradient.astype(kernel.dtype), slope @ kernel[: x.shape[1]].T, None


product_with_codes.defvjp(_with_codes, _with_codes_gradient)


# On the CPU one code after the other: all at once, XLA writes the B·C rows into an array before it
# adds them up, and as many copies of the slopes before it scatters them. On an accelerator a loop
# would be a launch for every code.


def _add_rows_by_code(h: Array, kernel: Array, places: Array) -> Array:
    def add(code: Array, h: Array) -> Array:
        return h + kernel.at[of_codes[code]].get(mode="promise_in_bounds").astype(h.dtype)

    of_codes = places.T
    added: Array = jax.lax.fori_loop(0, len(of_codes), add, h)
    return added


def _add_rows_at_once(h: Array, kernel: Array, places: Array) -> Array:
    rows = kernel.at[places].get(mode="promise_in_bounds")
    return h + jnp.sum(rows, axis=1, dtype=h.dtype)


def _scatter_by_code(gradient: Array, slope: Array, places: Array) -> Array:
    def add(code: Array, gradient: Array) -> Array:
        return gradient.at[of_codes[code]].add(slope, mode="promise_in_bounds")

    of_codes = places.T
    added: Array = jax.lax.fori_loop(0, len(of_codes), add, gradient)
    return added


def _scatter_at_once(gradient: Array, slope: Array, places: Array) -> Array:
    slopes = jnp.broadcast_to(slope[:, None], (*places.shape, slope.shape[1]))
    return gradient.at[places].add(slopes, mode="promise_in_bounds")


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def product_apart(h: Array, kernel: Array, bias: Array, first: int) -> tuple[Array, Array]:
    """The outputs h · kernel + bias, the first columns apart from the others.

    Taken out of one product they would be copied.

    Args:
        h: `[B, H]`.
        kernel: `[H, outputs]`.
        bias: `[outputs]`.
        first: columns that come apart.

    Returns:
        `[B, first]` and `[B, outputs − first]`.

    Example:
        >>> one, other = product_apart(jnp.ones((1, 2)), jnp.ones((2, 3)), jnp.zeros(3), 1)
        >>> print(one, other)
        [[2.]] [[2. 2.]]
    """
    return _apart(h, kernel, bias, first)[0]


def _apart(
    h: Array, kernel: Array, bias: Array, first: int
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    ends = slice(None, first), slice(first, None)
    one, other = (h @ kernel[:, part] + bias[None, part] for part in ends)
    return (one, other), (h, kernel)


def _apart_gradient(
    first: int, saved: tuple[Array, Array], slopes: tuple[Array, Array]
) -> tuple[Array, Array, Array]:
    h, kernel = saved
    one, other = slopes
    of_h = one @ kernel[:, :first].T + other @ kernel[:, first:].T
    of_kernel = jnp.concatenate([_sum_over_batch(h, slope) for slope in slopes], axis=1)
    return of_h, of_kernel, jnp.concatenate([jnp.sum(slope, axis=0) for slope in slopes])


product_apart.defvjp(_apart, _apart_gradient)


def _sum_over_batch(a: Array, b: Array) -> Array:
    """Returns aᵀ · b, as one instruction."""
    return jax.lax.dot_general(a, b, (((0,), (0,)), ((), ())))


def _wide(array: Array) -> jnp.dtype:
    return jnp.promote_types(array.dtype, jnp.float32)
