"""Rows mapped in batches: each row's own result, whatever comes with it, by one program."""

import jax
import numpy as np
import pytest
from flax import nnx

from jaxrep import inference, methods
from jaxrep.batch import Batch, RowSpec
from jaxrep.inference import map_rows
from jaxrep.methods import abstract_network
from jaxrep.networks import get_weights, with_weights
from jaxrep.outputs import OUTPUTS
from tests.helpers.compilations import count_compilations

D = 5
ROWS = np.random.default_rng(0).normal(size=(9_001, D)).astype(np.float32)
SPEC = RowSpec(D)
DECLARED = [
    (name, output) for name in methods.names() for output in methods.get(name).network_type.outputs
]


def make(name, width=D, **settings):
    kind = methods.hyperparameters_of(name)
    method = methods.make(kind(hidden_dims=(8,), latent_dim=D, **settings))
    return method, get_weights(method.init(RowSpec(width), nnx.Rngs(0)))


def given_to(method, output, x):
    """Rows as an output takes them; of draws as many columns as the network asks for."""
    if OUTPUTS[output].takes != "draws":
        return x
    return np.resize(x, (len(x), abstract_network(method, SPEC).draws))


def numbers(found):
    """What an output gives, as one array: of rows their numbers."""
    return found.numbers if isinstance(found, Batch) else found


@pytest.mark.parametrize(("name", "output"), DECLARED)
def test_rows_of_several_batches_have_the_results_of_the_network(name, output):
    method, weights = make(name)
    network = with_weights(abstract_network(method, SPEC), weights)
    x = given_to(method, output, ROWS)
    given = Batch(x) if OUTPUTS[output].takes == "rows" else x
    expected = getattr(network, output)(given)
    found = map_rows(method, output, weights, x, SPEC)
    first = expected if len(OUTPUTS[output].gives) == 1 else expected[0]
    np.testing.assert_allclose(numbers(found), numbers(first), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("width", [D, 700])
@pytest.mark.parametrize(("name", "output"), DECLARED)
def test_a_row_has_the_same_bits_wherever_it_stands_and_whatever_comes_with_it(name, output, width):
    method, weights = make(name, width)
    columns = width if OUTPUTS[output].takes == "rows" else D
    if OUTPUTS[output].takes == "draws":
        columns = abstract_network(method, RowSpec(width)).draws
    x = np.random.default_rng(1).normal(size=(9_001, columns)).astype(np.float32)
    order = np.random.default_rng(2).permutation(len(x))
    whole = numbers(map_rows(method, output, weights, x, RowSpec(width)))
    mixed = numbers(map_rows(method, output, weights, x[order], RowSpec(width)))
    np.testing.assert_array_equal(mixed, whole[order])
    for start, stop in ((0, 1), (4_097, 4_098), (9_000, 9_001), (100, 5_000)):
        part = map_rows(method, output, weights, x[start:stop], RowSpec(width))
        np.testing.assert_array_equal(numbers(part), whole[start:stop])


@pytest.mark.parametrize(("name", "output"), DECLARED)
def test_no_rows_have_no_results_of_the_same_shape(name, output):
    method, weights = make(name)
    x = given_to(method, output, ROWS)
    one, none = (numbers(map_rows(method, output, weights, x[:n], SPEC)) for n in (1, 0))
    assert none.shape == (0, *one.shape[1:])
    assert none.dtype == one.dtype


def test_any_number_of_rows_is_mapped_by_one_program():
    method, weights = make("vae", width=11)
    x = np.zeros((10_000, 11), np.float32)
    with jax.log_compiles(), count_compilations() as compiled:
        for rows in (0, 1, 7, 4_096, 4_097, 10_000):
            map_rows(method, "embed", weights, x[:rows], RowSpec(11))
    assert sum("_apply" in program for program in compiled) == 1


def test_rows_are_left_as_they_are_and_results_are_the_callers():
    method, weights = make("autoencoder")
    x = ROWS.copy()
    first = map_rows(method, "embed", weights, x, SPEC)
    np.testing.assert_array_equal(x, ROWS)
    kept = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(map_rows(method, "embed", weights, x, SPEC), kept)


@pytest.mark.parametrize(
    ("width", "rows"), [(1, 4096), (64, 4096), (256, 4096), (300, 2048), (10**4, 128)]
)
def test_a_batch_of_a_wider_model_has_fewer_rows(width, rows):
    assert inference._batch_rows({"kernel": np.empty((width, 8)), "bias": np.empty(8)}, 1) == rows


@pytest.mark.parametrize("count", [0, 1, 3, 100])
def test_results_come_in_order_with_some_of_them_dispatched_ahead(count):
    dispatched = []

    def results():
        for i in range(count):
            dispatched.append(i)
            yield i

    for i, result in enumerate(inference._ahead(results(), 3)):
        assert result == i
        assert len(dispatched) == min(i + 4, count)
    assert len(dispatched) == count
