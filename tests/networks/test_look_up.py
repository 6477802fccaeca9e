"""The layers next to rows: what is looked up is what one-hot codes give through a linear layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrep.batch import MISSING, Batch, RowSpec
from jaxrep.networks import (
    EMBEDDING_DIM,
    MLP,
    WIDE,
    Embeddings,
    RowEncoder,
    RowLayout,
    get_weights,
    with_weights,
)
from tests.helpers.small import mixed
from tests.helpers.twins import normwise_error

pytestmark = pytest.mark.quick

SPECS = {
    "numbers": RowSpec(3),
    "numbers, all with gaps": RowSpec(3).with_gaps(),
    "numbers, some with gaps": RowSpec(3, gaps=(True, False, True)),
    "codes": RowSpec(0, (3, 5, 2)),
    "codes with gaps": RowSpec(0, (3, 5)).with_gaps(),
    "numbers and codes": RowSpec(2, (4, 3)),
    "both, some with gaps": RowSpec(3, (3, 5, 2), (False, True, False, True, False, False)),
    "a wide code alone": RowSpec(0, (WIDE + 1,), (True,)),
    "as many values as are narrow": RowSpec(1, (WIDE,)),
    "wide and narrow": RowSpec(
        2, (3, WIDE + 1, 4, WIDE + 2), (False, True, True, True, False, False)
    ),
}
MIXED_SPECS = [pytest.param(spec, id=name) for name, spec in SPECS.items()]


class Both(nnx.Module):
    def __init__(self, spec, dims, **settings):
        self.encoder = RowEncoder(spec, dims, rngs=nnx.Rngs(0), **settings)
        self.embeddings = Embeddings(spec, rngs=nnx.Rngs(1))


def draw(spec, rows=9):
    """Rows in float64, in which every code's first and last value occur, and every gap."""
    batch = mixed(rows, spec=spec)
    numbers, codes = batch.numbers.astype(np.float64), batch.codes
    numbers[0] = np.where(spec.number_gaps, np.nan, numbers[0])
    if not spec.codes:
        return Batch(numbers)
    codes[0], codes[1], codes[2] = (
        np.where(spec.code_gaps, MISSING, 0),
        0,
        np.array(spec.levels) - 1,
    )
    return Batch(numbers, codes)


def one_hot(spec, numbers, codes, tables):
    """The inputs of a linear layer, from their definition."""
    is_missing = jnp.isnan(numbers)
    parts = [jnp.where(is_missing, 0, numbers)]
    parts += [
        is_missing[:, i : i + 1].astype(float) for i in range(spec.numbers) if spec.number_gaps[i]
    ]
    narrow, tables = [], list(tables)
    for c, (levels, has_gap) in enumerate(zip(spec.levels, spec.code_gaps, strict=True)):
        values = [*range(levels), *[MISSING] * has_gap]  # the last is that of a missing cell
        own = np.array([[code == value for value in values] for code in codes[:, c]], float)
        if levels > WIDE:
            parts.append(own @ tables.pop(0))
        else:
            narrow.append(own)
    assert not tables
    return jnp.concatenate([*parts, *narrow], axis=1)


def tables_of(weights):
    return [array for name, array in weights.items() if name.endswith("table")]


def in_float64(network):
    return {name: array.astype("float64") for name, array in get_weights(network).items()}


@pytest.mark.parametrize("dims", [(7, 4), (6,)], ids=str)
@pytest.mark.parametrize("spec", MIXED_SPECS)
def test_the_first_layer_is_a_linear_layer_on_one_hot_codes_in_value_and_gradient(spec, dims, x64):
    network, batch = Both(spec, dims), draw(spec)
    slope = np.random.default_rng(1).normal(size=(len(batch.numbers), dims[-1]))

    def looked_up(weights, numbers):
        made = with_weights(network, weights)
        h = made.encoder(batch._replace(numbers=numbers), made.embeddings)
        return jnp.sum(slope * h), h

    def through_linear_layers(weights, numbers):
        h = one_hot(spec, numbers, batch.codes, tables_of(weights))
        for i in range(len(dims)):
            h = h @ weights[f"encoder.{i}.kernel"] + weights[f"encoder.{i}.bias"][None, :]
            h = jax.nn.relu(h) if i < len(dims) - 1 else h
        return jnp.sum(slope * h), h

    found, expected = (
        jax.jit(jax.grad(function, argnums=(0, 1), has_aux=True))(
            in_float64(network), batch.numbers
        )
        for function in (looked_up, through_linear_layers)
    )
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype == "float64" and a.shape == b.shape
        assert not a.size or normwise_error(a, b) <= 1e-12


@pytest.mark.parametrize("spec", MIXED_SPECS)
def test_without_layers_the_rows_inputs_come_out(spec, x64):
    network, batch = Both(spec, (), activate_last=True), draw(spec)
    weights = in_float64(network)
    made = with_weights(network, weights)
    found = made.encoder(batch, made.embeddings)
    expected = one_hot(spec, batch.numbers, batch.codes, tables_of(weights))
    np.testing.assert_array_equal(found, expected)
    assert found.shape == (len(batch.numbers), RowLayout(spec).inputs)


def test_of_numbers_alone_an_encoder_is_the_mlp_that_it_was_bit_by_bit():
    encoder, mlp = (
        RowEncoder(RowSpec(5), (4, 3), activate_last=True, rngs=nnx.Rngs(0)),
        MLP((5, 4, 3), activate_last=True, rngs=nnx.Rngs(0)),
    )
    ours, theirs = get_weights(encoder), get_weights(mlp)
    assert list(ours) == list(theirs)
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)
    x, embeddings = (
        jnp.asarray(mixed(spec=RowSpec(5)).numbers),
        Embeddings(RowSpec(5), rngs=nnx.Rngs(0)),
    )
    assert not get_weights(embeddings)
    np.testing.assert_array_equal(encoder(Batch(x), embeddings), mlp(x))


@pytest.mark.parametrize("spec", MIXED_SPECS)
def test_the_layout_counts_inputs_and_outputs_by_column(spec):
    layout = RowLayout(spec)
    wide = [levels > WIDE for levels in spec.levels]
    of_codes = [
        EMBEDDING_DIM if is_wide else levels + has_gap
        for levels, has_gap, is_wide in zip(spec.levels, spec.code_gaps, wide, strict=True)
    ]
    assert layout.inputs == spec.numbers + sum(spec.number_gaps) + sum(of_codes)
    outputs = [
        EMBEDDING_DIM if is_wide else n for n, is_wide in zip(spec.levels, wide, strict=True)
    ]
    assert layout.outputs == spec.numbers + sum(outputs)
    shapes = {name: array.shape for name, array in get_weights(Both(spec, (6,))).items()}
    sizes = [
        (n, has)
        for n, has, is_wide in zip(spec.levels, spec.code_gaps, wide, strict=True)
        if is_wide
    ]
    assert shapes == {"encoder.0.bias": (6,), "encoder.0.kernel": (layout.inputs, 6)} | {
        name: shape
        for i, (levels, has_gap) in enumerate(sizes)
        for name, shape in (
            (f"embeddings.{i}.bias", (levels,)),
            (f"embeddings.{i}.table", (levels + has_gap, EMBEDDING_DIM)),
        )
    }


def test_tables_start_uniform_within_one_over_root_of_their_dimensions_and_biases_at_0():
    weights = get_weights(Embeddings(RowSpec(0, (4 * WIDE, 2 * WIDE)), rngs=nnx.Rngs(0)))
    bound = EMBEDDING_DIM**-0.5
    for name, array in weights.items():
        if name.endswith("bias"):
            assert not np.any(array)
            continue
        assert np.abs(array).max() <= bound
        assert np.std(array) == pytest.approx(bound / 3**0.5, rel=0.01)
        assert abs(np.mean(array)) < 5 * bound / array.size**0.5
    assert not np.array_equal(weights["0.table"][: 2 * WIDE], weights["1.table"])
