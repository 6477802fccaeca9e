"""The numbers that weights start from: drawn on the host, by the seed alone."""

import jax
import numpy as np
import pytest
from flax import nnx

from jaxrep import methods
from jaxrep.batch import RowSpec
from jaxrep.networks import MLP, InitialDraws, get_weights
from jaxrep.training import init_state
from tests.helpers.compilations import count_compilations

pytestmark = pytest.mark.quick


def test_they_are_those_of_numpys_philox():
    words = np.random.Philox(key=np.array([5, 2], np.uint64)).random_raw(2)
    halves = [half for word in words.tolist() for half in (word & 0xFFFFFFFF, word >> 32)]
    expected = [(half >> 8) / 2**23 - 1 for half in halves]
    assert InitialDraws(5, 2).draw(4).tolist() == expected
    assert InitialDraws(5, 2).draw(3).tolist() == expected[:3]


def test_they_fill_the_interval_evenly_and_repeat():
    drawn = InitialDraws(0).draw(1000, 100)
    assert drawn.dtype == np.float32 and -1 <= drawn.min() < -0.9999 and 0.9999 < drawn.max() < 1
    counts, _ = np.histogram(drawn, 100, (-1, 1))
    assert np.sum((counts - 1000) ** 2 / 1000) < 150  # χ² of 99 degrees of freedom, p = .0007
    np.testing.assert_array_equal(drawn, InitialDraws(0).draw(1000, 100))
    for other in (InitialDraws(1), InitialDraws(0, 1)):
        assert abs(np.corrcoef(drawn.ravel(), other.draw(drawn.size))[0, 1]) < 0.02


@pytest.mark.parametrize("name", methods.names())
def test_a_state_begins_without_a_program(name):
    method = methods.make(methods.hyperparameters_of(name)())
    rows = RowSpec(numbers=3, levels=(4, 3000))
    with jax.log_compiles(), count_compilations() as compiled:
        init_state(method, rows, 0)
    assert [name for name in compiled if "convert_element_type" not in name] == []  # optax's 0


def test_layers_of_flaxs_own_find_their_keys():
    one, other = (nnx.Linear(3, 2, rngs=InitialDraws(seed)).kernel[...] for seed in (0, 1))
    again = nnx.Linear(3, 2, rngs=InitialDraws(0)).kernel[...]
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_an_nnx_rngs_seeds_them():
    one, again, other = (get_weights(MLP((3, 2), rngs=nnx.Rngs(seed))) for seed in (0, 0, 1))
    assert np.array_equal(one["0.kernel"], again["0.kernel"])
    assert not np.array_equal(one["0.kernel"], other["0.kernel"])
    layers = MLP((3, 3, 3), rngs=nnx.Rngs(0)).layers
    assert not np.array_equal(layers[0].kernel[...], layers[1].kernel[...])


def test_where_a_program_makes_the_network_it_draws():
    shapes = nnx.eval_shape(lambda: MLP((300, 20), rngs=nnx.Rngs(0)))
    assert get_weights(shapes)["0.kernel"].shape == (300, 20)
    kernel = jax.jit(lambda key: get_weights(MLP((300, 20), rngs=nnx.Rngs(key)))["0.kernel"])
    drawn = kernel(jax.random.key(0)) * 300**0.5
    assert -1 <= drawn.min() < -0.99 and 0.99 < drawn.max() < 1
