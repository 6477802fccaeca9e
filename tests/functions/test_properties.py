"""What holds of the losses, the corruptions and the optimisers for drawn inputs, in both twins.

Inputs are drawn by a seed, a shape and a scale; shapes come from a small set, so that JAX compiles
few programs. All draws are derandomised: a run is the same every time.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxrep.batch
import jaxrep.losses
import jaxrep.optim
import jaxrep.views
import torch_ref.batch
import torch_ref.losses
import torch_ref.optim
import torch_ref.views
from jaxrep.batch import MISSING
from tests.helpers import oracles
from tests.helpers.losses import draw
from tests.helpers.twins import TOLERANCE, TWINS, evaluate, is_floating, kind_of, rounded

LOSSES = (
    *("mse_loss", "gaussian_kl", "elbo_loss", "nt_xent_loss"),
    *("cross_entropy", "half_squared_error"),
)
DTYPES = tuple(TOLERANCE)
# (B, D), those of test_losses.py, so that nothing is compiled twice.
SHAPES = ((1, 8), (3, 4), (17, 8))
LATENTS = 3
WEIGHTINGS = ("none", "fractions", "some zero", "one row")
UNIT = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
# XLA flushes what is smaller to 0, and float16 keeps fewer digits there.
SMALLEST = {
    name: float(ml_dtypes.finfo(getattr(ml_dtypes, name, name)).smallest_normal) for name in DTYPES
}


def derandomized(examples: int) -> settings:
    return settings(deadline=None, derandomize=True, max_examples=examples, database=None)


class Case(NamedTuple):
    arrays: list[np.ndarray]
    weights: np.ndarray | None
    hyperparameters: dict[str, float]


class Drawn(NamedTuple):
    """What hypothesis draws; `case` makes the inputs of one loss of it."""

    shape: tuple[int, int]
    seed: int
    scale: float
    weighting: str
    kind: str
    beta: float
    temperature: float
    label_smoothing: float


DRAWN = st.builds(
    Drawn,
    shape=st.sampled_from(SHAPES),
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([1e-3, 0.1, 1.0, 4.0]),
    weighting=st.sampled_from(WEIGHTINGS),
    kind=st.sampled_from(["normal", "normal", "equal rows", "zero row"]),
    # Exact in every dtype, so that both twins compute with the same number.
    beta=st.sampled_from([0.0, 0.25, 1.0, 4.0]),
    temperature=st.sampled_from([1.0, 0.5, 0.125, 2.0**-6]),
    label_smoothing=st.sampled_from([0.0, 0.125, 1.0]),
)


def case(drawn: Drawn, name: str, dtype: str = "float64") -> Case:
    rng = np.random.default_rng(drawn.seed)
    batch, width = drawn.shape
    widths = [width, width, LATENTS, LATENTS] if name == "elbo_loss" else [width, width]
    arrays = [drawn.scale * rng.normal(size=(batch, w)) for w in widths]
    if name in ("cross_entropy", "half_squared_error"):
        arrays = draw(name, batch, width, drawn.seed, drawn.scale)
    for array in arrays:
        if drawn.kind == "equal rows":
            array[:] = array[0]
        if drawn.kind == "zero row":
            array[0] = 0.0
        if name == "nt_xent_loss" and drawn.scale == 1.0:  # as in training; other scales are not
            array /= np.maximum(np.linalg.norm(array, axis=1, keepdims=True), 1e-12)
    weights = rng.uniform(0.1, 2.0, batch)
    if drawn.weighting == "some zero":
        weights = np.where(np.arange(batch) % 3 == 1, 0.0, weights)
    if drawn.weighting == "one row":
        weights = np.where(np.arange(batch) == batch // 2, weights, 0.0)
    settings = {
        "elbo_loss": {"beta": drawn.beta},
        "nt_xent_loss": {"temperature": drawn.temperature},
        "cross_entropy": {"label_smoothing": drawn.label_smoothing},
    }
    wide = "float64" if dtype == "float64" else "float32"
    return Case(
        [rounded(array, dtype) for array in arrays],
        None if drawn.weighting == "none" else rounded(weights, wide),
        settings.get(name, {}),
    )


class Scales(NamedTuple):
    """The sums of absolute terms that a value and gradients are measured by."""

    value: float
    gradients: list[float]
    condition: float = 0.0


def scales(name: str, found: Case) -> Scales:
    arrays, weights, settings = found
    exact = getattr(oracles, f"{name}_gradients")(*arrays, weights=weights, **settings)
    gradients = [np.abs(g).max() for g in exact]
    if name in ("mse_loss", "half_squared_error"):
        return Scales(getattr(oracles, name)(*arrays, weights=weights), gradients)
    if name == "cross_entropy":
        # −log p of the likeliest class is the logarithm of a sum that is 1 or little more.
        absolute = oracles.cross_entropy_gradients(
            *arrays, weights=weights, **settings, absolute=True
        )
        value = oracles.cross_entropy(*arrays, weights=weights, **settings)
        return Scales(1 + value, [g.max() for g in absolute])
    if name in ("gaussian_kl", "elbo_loss"):
        # expm1(x) − x cancels: its terms are of size |x|, their difference of size x²/2.
        mu, log_var = arrays[-2:]
        rows = 0.5 * np.sum(mu**2 + np.abs(np.expm1(log_var)) + np.abs(log_var), axis=1)
        kl = oracles.weighted_mean(list(rows), weights)
        if name == "gaussian_kl":
            return Scales(kl, gradients)
        reconstruction = oracles.mse_loss(*arrays[:2], weights=weights) * arrays[0].shape[1]
        return Scales(reconstruction + settings["beta"] * kl, gradients)
    # The log of the sum and the positive cancel; an exponential is as wrong, relative to itself,
    # as its logit is absolutely. The gradient sums over rows whose directions cancel.
    z = np.concatenate(arrays)
    largest = np.max(np.sum(z**2, axis=1)) / settings["temperature"]
    absolute = oracles.nt_xent_loss_gradients(*arrays, weights=weights, **settings, absolute=True)
    scale = 2 * largest + math.log(len(z))
    return Scales(scale, [g.max() for g in absolute], largest)


def within(ours: float, theirs: float, dtype: str, scale: float, condition: float = 0.0) -> bool:
    """Whether the errors of both twins against float64 are within the project's bounds.

    Args:
        ours: max|error| of jaxrep.
        theirs: max|error| of torch_ref.
        dtype: of the array that is wrong by it.
        scale: sum of absolute terms.
        condition: by how many roundings each term is wrong before it is summed, as an exponential
            is by the size of its exponent; half types compute in float32, and lose it there.
    """
    if dtype == "float64":
        return max(ours, theirs) <= 1e-12 * scale * (1 + condition / 100) + SMALLEST[dtype]
    wide = max(UNIT[dtype], UNIT["float32"] * condition)
    rounding = max(8 * wide * scale, SMALLEST[dtype])
    return ours <= 4 * max(theirs, rounding) and theirs <= 4 * max(ours, rounding)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradients_equal_the_loops(name, dtype):
    wide = "float64" if dtype == "float64" else "float32"  # of the value

    @derandomized(12)
    @given(drawn=DRAWN)
    def check(drawn):
        found = case(drawn, name, dtype)
        arrays, weights, settings = found
        scale = scales(name, found)
        value = getattr(oracles, name)(*arrays, weights=weights, **settings)
        exact = getattr(oracles, f"{name}_gradients")(*arrays, weights=weights, **settings)
        ours, theirs = (
            evaluate(twin, name, arrays, dtype=dtype, weights=weights, **settings) for twin in TWINS
        )
        errors = [abs(twin.value - value) for twin in (ours, theirs)]
        assert within(*errors, wide, scale.value, 0.0), (value, errors)
        for i, gradient in enumerate(exact):
            errors = [np.abs(twin.gradients[i] - gradient).max() for twin in (ours, theirs)]
            assert within(*errors, dtype, scale.gradients[i], scale.condition), (i, errors)

    check()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("twin", TWINS)
def test_permuting_rows_permutes_the_gradients_and_keeps_the_value(twin, name):
    @derandomized(12)
    @given(drawn=DRAWN)
    def check(drawn):
        arrays, weights, settings = found = case(drawn, name)
        order = np.random.default_rng(drawn.seed).permutation(len(arrays[0]))
        permuted = None if weights is None else weights[order]
        before = evaluate(twin, name, arrays, weights=weights, **settings)
        after = evaluate(twin, name, [a[order] for a in arrays], weights=permuted, **settings)
        value, gradients, condition = scales(name, found)
        assert abs(after.value - before.value) <= 1e-13 * value
        for one, other, scale in zip(before.gradients, after.gradients, gradients, strict=True):
            assert np.abs(one[order] - other).max() <= 1e-13 * scale * (1 + condition)

    check()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("twin", TWINS)
def test_rows_of_weight_zero_may_hold_any_numbers(twin, name):
    @derandomized(12)
    @given(drawn=DRAWN, size=st.sampled_from([0.0, 1.0, 50.0, 1e4]))
    def check(drawn, size):
        arrays, _, settings = case(drawn, name)
        rng = np.random.default_rng([drawn.seed, 1])
        batch = len(arrays[0])
        weights = rng.uniform(0.1, 2.0, batch) * (rng.uniform(size=batch) < 0.6)
        silent = weights == 0
        other = [a.copy() for a in arrays]
        for i, array in enumerate(other):
            # exp of a log-variance, and nothing else, overflows for large numbers
            is_log_var = name in ("gaussian_kl", "elbo_loss") and i == len(other) - 1
            array[silent] = min(size, 50.0 if is_log_var else size) * rng.normal(
                size=array[silent].shape
            )
        one = evaluate(twin, name, arrays, weights=weights, **settings)
        two = evaluate(twin, name, other, weights=weights, **settings)
        assert one.value == two.value
        for a, b in zip(one.gradients, two.gradients, strict=True):
            np.testing.assert_array_equal(a, b)
            assert (b[silent] == 0).all()

    check()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("twin", TWINS)
def test_a_padded_batch_equals_the_unpadded(twin, name):
    @derandomized(12)
    @given(drawn=DRAWN, rows=st.sampled_from([1, 2, 5]))
    def check(drawn, rows):
        drawn = drawn._replace(shape=(8, 3))
        found = case(drawn, name)
        padded, weights, settings = found
        weights = np.ones(8) if weights is None else weights
        weights = np.where(np.arange(8) < rows, weights, 0.0)
        short = Case([a[:rows] for a in padded], weights[:rows], settings)
        long = evaluate(twin, name, padded, weights=weights, **settings)
        plain = evaluate(twin, name, short.arrays, weights=short.weights, **settings)
        value, gradients, condition = scales(name, short)
        assert abs(long.value - plain.value) <= 1e-13 * value
        for one, other, scale in zip(long.gradients, plain.gradients, gradients, strict=True):
            assert np.abs(one[:rows] - other).max() <= 1e-13 * scale * (1 + condition)
            assert (one[rows:] == 0).all()

    check()


@pytest.mark.parametrize("half", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("twin", TWINS)
def test_weights_of_a_half_type_count_as_the_numbers_they_hold(twin, name, half):
    @derandomized(6)
    @given(drawn=DRAWN)
    def check(drawn):
        drawn = drawn._replace(
            shape=(5, 7)
        )  # one program each, as they are not compiled as a whole
        arrays, weights, settings = case(drawn, name, "float32")
        weights = rounded(np.ones(len(arrays[0])) if weights is None else weights, half)
        if twin == "jax":
            inputs = [jnp.asarray(a, kind_of(a, "float32")) for a in arrays]
            one, other = (
                getattr(jaxrep.losses, name)(
                    *inputs, weights=jnp.asarray(weights, kind), **settings
                )
                for kind in (half, "float32")
            )
        else:
            inputs = [torch.tensor(a, dtype=getattr(torch, kind_of(a, "float32"))) for a in arrays]
            one, other = (
                getattr(torch_ref.losses, name)(
                    *inputs, weights=torch.tensor(weights, dtype=getattr(torch, kind)), **settings
                )
                for kind in (half, "float32")
            )
        assert one.dtype == other.dtype
        assert float(one) == float(other)

    check()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("twin", TWINS)
def test_the_kl_is_never_negative(twin, dtype):
    @derandomized(20)
    @given(drawn=DRAWN, power=st.integers(-8, 0))
    def check(drawn, power):
        found = case(drawn._replace(scale=10.0**power), "gaussian_kl", dtype)
        value = evaluate(twin, "gaussian_kl", found.arrays, dtype=dtype, weights=found.weights)
        assert value.value >= 0

    check()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_of_finite_rows_is_finite(name, twin, dtype):
    largest = 100.0 if dtype == "float16" else 1e6

    @derandomized(8)
    @given(drawn=DRAWN, size=st.sampled_from([0.0, 1e-6, 10.0, largest]))
    def check(drawn, size):
        arrays, weights, settings = case(drawn, name, dtype)
        if name == "nt_xent_loss":
            size = min(size, 10.0)
        arrays = [size * np.clip(a, -1, 1) if is_floating(a) else a for a in arrays]
        if name in ("gaussian_kl", "elbo_loss"):
            # float32 holds e⁸⁸; a float16 gradient holds e¹¹.
            arrays[-1] = np.clip(arrays[-1], -80, 10.0 if dtype == "float16" else 80.0)
        arrays = [rounded(a, dtype) for a in arrays]
        found = evaluate(twin, name, arrays, dtype=dtype, weights=weights, **settings)
        assert math.isfinite(found.value)
        assert all(np.isfinite(gradient).all() for gradient in found.gradients)

    check()


@functools.cache
def _pull_back():
    def pull_back(v: jax.Array, upstream: jax.Array) -> tuple[jax.Array, jax.Array]:
        value, vjp = jax.vjp(jaxrep.losses.l2_normalize, v)
        return value, vjp(upstream)[0]

    return jax.jit(pull_back)


def normalize_jax(v: np.ndarray, upstream: np.ndarray, dtype: str) -> list[np.ndarray]:
    with jax.enable_x64(dtype == "float64"):
        value, gradient = _pull_back()(jnp.asarray(v, dtype), jnp.asarray(upstream, dtype))
        assert value.dtype == gradient.dtype == dtype
        return [np.asarray(a, np.float64) for a in (value, gradient)]


def normalize_torch(v: np.ndarray, upstream: np.ndarray, dtype: str) -> list[np.ndarray]:
    kind = getattr(torch, dtype)
    tensor = torch.tensor(v, dtype=kind, requires_grad=True)
    value = torch_ref.losses.l2_normalize(tensor)
    assert value.dtype == kind
    value.backward(torch.tensor(upstream, dtype=kind))
    return [a.detach().double().numpy() for a in (value, tensor.grad)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_normalised_rows_and_their_gradients_equal_the_loops(dtype):
    epsilon = 1e-4 if dtype == "float16" else 1e-12

    # Lengths from well below ε, where rows are divided by ε, to well above it, and across it.
    @derandomized(25)
    @given(
        shape=st.sampled_from(SHAPES),
        seed=st.integers(0, 2**32 - 1),
        length=st.sampled_from([0.0, 0.1 * epsilon, 0.9 * epsilon, 1.5 * epsilon, 1e-2, 1.0, 1e3]),
    )
    def check(shape, seed, length):
        rng = np.random.default_rng(seed)
        v = rng.normal(size=shape)
        v *= length / np.linalg.norm(v, axis=1, keepdims=True)
        v[0] = rng.normal(size=shape[1])  # rows do not share their length
        v, upstream = rounded(v, dtype), rounded(rng.normal(size=shape), dtype)
        lengths = np.linalg.norm(v, axis=1)
        v[(lengths / epsilon > 0.99) & (lengths / epsilon < 1.01)] = 0.0  # the gradient jumps at ε
        results = [call(v, upstream, dtype) for call in (normalize_jax, normalize_torch)]
        value = oracles.l2_normalize(v, epsilon=epsilon)
        gradient = oracles.l2_normalize_gradient(v, upstream, epsilon=epsilon)
        absolute = oracles.l2_normalize_gradient(v, upstream, epsilon=epsilon, absolute=True)
        for i in range(len(v)):  # each row by its own size
            errors = [np.abs(found[0][i] - value[i]).max() for found in results]
            assert within(*errors, dtype, np.abs(value[i]).max()), (i, errors)
            errors = [np.abs(found[1][i] - gradient[i]).max() for found in results]
            assert within(*errors, dtype, absolute[i].max()), (i, errors)

    check()


ROWS = st.sampled_from([(1, 3), (5, 7), (2, 4, 3)])  # [..., B, D]
FLOATS = ("float64", "float32")


def batch_of(twin: str, x: np.ndarray, dtype: str, codes: np.ndarray | None = None):
    """Rows of a twin; call it where JAX has that dtype."""
    if twin == "jax":
        codes = None if codes is None else jnp.asarray(codes)
        return jaxrep.batch.Batch(jnp.asarray(x, dtype), codes)
    codes = None if codes is None else torch.tensor(codes)
    return torch_ref.batch.Batch(torch.tensor(x, dtype=getattr(torch, dtype)), codes)


def array_of(twin: str, values: np.ndarray):
    return jnp.asarray(values) if twin == "jax" else torch.tensor(values)


def views_of(twin: str):
    return {"jax": jaxrep.views, "torch": torch_ref.views}[twin]


def draw_codes(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Codes of the rows of a shape, two of each; some are missing, and some 0."""
    return rng.integers(MISSING, 4, (*shape[:-1], 2), dtype=np.int32)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("twin", TWINS)
def test_noise_is_added_to_numbers_with_its_standard_deviation_and_codes_stay(twin, dtype):
    @derandomized(15)
    @given(
        shape=ROWS,
        seed=st.integers(0, 2**32 - 1),
        noise_std=st.sampled_from([0.0, 2.0**-7, 0.5, 3.0]),
    )
    def check(shape, seed, noise_std):
        rng = np.random.default_rng(seed)
        x, normal = (rounded(rng.normal(size=shape), dtype) for _ in range(2))
        x[rng.uniform(size=shape) < 0.2] = math.nan  # what is missing stays missing
        codes = draw_codes(rng, shape)
        with jax.enable_x64(dtype == "float64"):
            batch, epsilon = batch_of(twin, x, dtype, codes), array_of(twin, normal.astype(dtype))
            found = views_of(twin).add_noise(batch, epsilon, noise_std=noise_std)
        numbers = np.asarray(found.numbers)
        assert numbers.dtype == dtype
        np.testing.assert_array_equal(np.isnan(numbers), np.isnan(x))
        scale, error = np.abs(x) + noise_std * np.abs(normal), numbers - (x + noise_std * normal)
        held = ~np.isnan(x)
        assert (np.abs(error) <= 2 * UNIT[dtype] * scale)[held].all()
        np.testing.assert_array_equal(np.asarray(found.codes), codes)

    check()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("twin", TWINS)
def test_dropped_cells_are_zero_whatever_they_held_unless_missing_and_the_others_stay(twin, dtype):
    @derandomized(15)
    @given(
        shape=ROWS,
        seed=st.integers(0, 2**32 - 1),
        rate=st.sampled_from([0.0, 0.3, 1.0]),
        held=st.sampled_from([1.0, math.inf, math.nan]),
    )
    def check(shape, seed, rate, held):
        rng = np.random.default_rng(seed)
        keep = rng.uniform(size=shape) >= rate
        x = rng.normal(size=shape).astype(dtype)
        dropped = math.nan if math.isnan(held) else 0.0  # NaN is a missing cell, and stays one
        expected = np.where(keep, x, np.asarray(dropped, dtype))
        x = np.where(keep, x, x * np.asarray(held, dtype))
        codes = draw_codes(rng, shape)
        keep_codes = rng.uniform(size=codes.shape) >= rate
        with jax.enable_x64(dtype == "float64"):
            found = views_of(twin).drop_columns(
                batch_of(twin, x, dtype, codes), array_of(twin, keep), array_of(twin, keep_codes)
            )
            alone = views_of(twin).drop_columns(batch_of(twin, x, dtype), array_of(twin, keep))
        for numbers in (found.numbers, alone.numbers):
            assert np.asarray(numbers).dtype == dtype
            np.testing.assert_array_equal(np.asarray(numbers), expected)
        is_other = ~keep_codes & (codes != MISSING)
        np.testing.assert_array_equal(np.asarray(found.codes), np.where(is_other, 0, codes))
        assert alone.codes is None

    check()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("twin", TWINS)
def test_replaced_cells_are_those_given_and_the_others_keep_their_bits(twin, dtype):
    @derandomized(15)
    @given(
        shape=ROWS,
        seed=st.integers(0, 2**32 - 1),
        rate=st.sampled_from([0.0, 0.3, 1.0]),
        hidden=st.sampled_from([1.0, -0.0, math.inf, math.nan]),
    )
    def check(shape, seed, rate, hidden):
        rng = np.random.default_rng(seed)
        replace = rng.uniform(size=shape) < rate
        x, values, upstream = (rounded(rng.normal(size=shape), dtype) for _ in range(3))
        expected = np.where(replace, values, x)
        # What is not taken, of either, may be anything.
        x, values = np.where(replace, x * hidden, x), np.where(replace, values, values * hidden)
        codes, given_codes = (draw_codes(rng, shape) for _ in range(2))
        replace_codes = rng.uniform(size=codes.shape) < rate
        of_codes = codes, replace_codes, given_codes
        found, of_x, of_values, chosen = replaced(
            twin, x, replace, values, of_codes, upstream, dtype
        )
        assert found.shape == shape
        assert found.tobytes() == expected.tobytes()  # −0 is not 0
        np.testing.assert_array_equal(of_x, np.where(replace, 0, upstream))
        np.testing.assert_array_equal(of_values, np.where(replace, upstream, 0))
        np.testing.assert_array_equal(chosen, np.where(replace_codes, given_codes, codes))

    check()


def replaced(twin, x, replace, values, of_codes, upstream, dtype):
    """What `replace_columns` gives: numbers, the gradients of x and of the values, and codes.

    All but the codes as float64. `of_codes` are codes, which of them are replaced, and by what.
    """
    codes, *for_codes = of_codes
    if twin == "jax":
        with jax.enable_x64(dtype == "float64"):
            inputs = [jnp.asarray(array, dtype) for array in (x, values)]

            def replace_in(x: jax.Array, values: jax.Array) -> tuple[jax.Array, jax.Array]:
                batch = jaxrep.batch.Batch(x, jnp.asarray(codes))
                given = map(jnp.asarray, for_codes)
                made = jaxrep.views.replace_columns(batch, jnp.asarray(replace), values, *given)
                return made.numbers, made.codes

            found, pull, chosen = jax.vjp(replace_in, *inputs, has_aux=True)
            gradients = pull(jnp.asarray(upstream, dtype))
            assert found.dtype == dtype and chosen.dtype == "int32"
            arrays = (np.asarray(array, np.float64) for array in (found, *gradients))
            return [*arrays, np.asarray(chosen)]
    kind = getattr(torch, dtype)
    inputs = [torch.tensor(array, dtype=kind, requires_grad=True) for array in (x, values)]
    batch = torch_ref.batch.Batch(inputs[0], torch.tensor(codes))
    given = map(torch.tensor, for_codes)
    made = torch_ref.views.replace_columns(batch, torch.tensor(replace), inputs[1], *given)
    assert made.numbers.dtype == kind and made.codes.dtype == torch.int32
    made.numbers.backward(torch.tensor(upstream, dtype=kind))
    arrays = (array.detach().double() for array in (made.numbers, *(i.grad for i in inputs)))
    return [*(array.numpy() for array in arrays), made.codes.numpy()]


def step_jax(name: str, params, gradients, dtype: str, **settings) -> np.ndarray:
    with jax.enable_x64(dtype == "float64"):
        optimizer = getattr(jaxrep.optim, name)(**settings)
        p = jnp.asarray(params, dtype)
        state = optimizer.init(p)
        for gradient in gradients:
            updates, state = optimizer.update(jnp.asarray(gradient, dtype), state, p)
            p = optax.apply_updates(p, updates)
        return np.asarray(p, np.float64)


def step_torch(name: str, params, gradients, dtype: str, **settings) -> np.ndarray:
    p = torch.nn.Parameter(torch.tensor(params, dtype=getattr(torch, dtype)))
    optimizer = getattr(torch_ref.optim, name)(**settings)([("p", p)])
    for gradient in gradients:
        p.grad = torch.tensor(gradient, dtype=p.dtype)
        optimizer.step()
    return p.detach().double().numpy()


OPTIMISED = {
    "steps": st.sampled_from([1, 2, 4]),
    "seed": st.integers(0, 2**32 - 1),
    # ε = 1e-8 counts in the first, and in the others does not.
    "size": st.sampled_from([1e-8, 1e-3, 1.0, 1e3]),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_the_steps_of_an_optimiser_equal_its_formulas(name, dtype):
    @derandomized(25)
    @given(
        **OPTIMISED,
        weight_decay=st.sampled_from([0.0, 2.0**-10, 0.25]),
        learning_rate=st.sampled_from([2.0**-10, 0.25]),
    )
    def check(steps, seed, size, weight_decay, learning_rate):
        rng = np.random.default_rng(seed)
        params = rounded(rng.normal(size=5), dtype)
        gradients = rounded(size * rng.normal(size=(steps, 5)), dtype)
        settings = {"learning_rate": learning_rate, "weight_decay": weight_decay}
        exact = oracles.adam_steps(params, gradients, decoupled=name == "adamw", **settings)
        errors = [
            np.abs(step(name, params, gradients, dtype, **settings) - exact).max()
            for step in (step_jax, step_torch)
        ]
        # Each step is of length learning rate or less, and what decays is of the parameters' size.
        scale = np.abs(params).max() + steps * learning_rate
        assert within(*errors, dtype, scale), errors

    check()


@derandomized(25)
@given(
    **OPTIMISED,
    b1=st.sampled_from([0.5, 0.875]),
    b2=st.sampled_from([0.25, 0.96875]),
    eps=st.sampled_from([2.0**-20, 1.0]),
)
def test_scale_by_adam_reads_its_decay_rates_and_its_epsilon(steps, seed, size, b1, b2, eps):
    gradients = size * np.random.default_rng(seed).normal(size=(steps, 5))
    scaled = oracles.adam_steps(
        np.zeros(5),
        gradients,
        learning_rate=1.0,
        weight_decay=0.0,
        decoupled=True,
        b1=b1,
        b2=b2,
        eps=eps,
    )
    with jax.enable_x64(True):
        rule = jaxrep.optim.scale_by_adam(b1=b1, b2=b2, eps=eps)
        state = rule.init(jnp.zeros(5))
        total = np.zeros(5)
        for gradient in gradients:
            updates, state = rule.update(jnp.asarray(gradient), state)
            total -= np.asarray(updates)
        assert int(state.count) == steps
    assert np.abs(total - scaled).max() <= 1e-12 * np.abs(scaled).max()
