"""The layers next to rows, in both twins: a look-up is the linear layer on one-hot codes."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import jaxrep.batch
import jaxrep.networks
import torch_ref.batch
import torch_ref.networks
import torch_ref.weights
from tests.helpers.twins import TWINS, normwise_error

pytestmark = pytest.mark.quick

B, DIMS = 11, (6, 3)
RNG = np.random.default_rng(0)
SPECS = {
    "numbers": (3,),
    "codes": (0, (4, 2)),
    "both": (2, (4, 3, 2)),
    "gaps": (2, (4, 3), (True, False, True, False)),
    "every gap": (2, (4, 3), (True,) * 4),
    "wide": (1, (3, 1200, 1300), (False, True, True, False)),
}


def rows_of(spec):
    """Numbers and codes of random rows, with gaps where there may be some."""
    numbers = RNG.normal(size=(B, spec.numbers))
    codes = np.stack([RNG.integers(0, k, B) for k in spec.levels] or [np.zeros(B)], axis=1)
    for i, has_gaps in enumerate(spec.number_gaps):
        numbers[RNG.random(B) < 0.4 * has_gaps, i] = np.nan
    for i, has_gaps in enumerate(spec.code_gaps):
        codes[RNG.random(B) < 0.4 * has_gaps, i] = -1
    return numbers, codes.astype(np.int32) if spec.levels else None


def one_hot(spec, numbers, codes, tables):
    """The inputs of the first layer, written out."""
    is_missing = np.isnan(numbers)
    parts = [np.where(is_missing, 0, numbers), is_missing[:, list(spec.number_gaps)]]
    wide = [c for c, levels in enumerate(spec.levels) if levels > 1000]
    # The last row of a table, and the last value of a code, stand for what is missing.
    parts += [table[codes[:, c]] for c, table in zip(wide, tables, strict=True)]
    for c, levels in enumerate(spec.levels):
        if c not in wide:
            parts.append(np.eye(levels + spec.code_gaps[c])[codes[:, c]])
    return np.concatenate(parts, axis=1)


def gradients(twin, spec, weights, numbers, codes):
    """What an encoder gives, and the gradients of Σ sin of it by its weights."""
    if twin == "jax":
        with jax.enable_x64(True):
            return _gradients_in_jax(spec, weights, numbers, codes)
    generator, spec = torch.Generator(), torch_ref.batch.RowSpec(*spec)
    module = torch.nn.ModuleDict(
        {
            "encoder": torch_ref.networks.RowEncoder(spec, DIMS, generator=generator),
            "embeddings": torch_ref.networks.Embeddings(spec, generator=generator),
        }
    ).double()
    torch_ref.weights.with_weights(module, weights)
    batch = torch_ref.batch.Batch(
        torch.tensor(numbers), None if codes is None else torch.tensor(codes)
    )
    found = module["encoder"](batch, module["embeddings"]())
    found.sin().sum().backward()
    every = {}
    for key, parameter in module.named_parameters():
        name = torch_ref.weights.flat_name(key)
        if parameter.grad is not None:
            every[name] = (parameter.grad.T if name.endswith("kernel") else parameter.grad).numpy()
    return found.detach().numpy(), every


def _gradients_in_jax(spec, weights, numbers, codes):
    class Network(nnx.Module):
        def __init__(self, rngs):
            self.encoder = jaxrep.networks.RowEncoder(spec, DIMS, rngs=rngs)
            self.embeddings = jaxrep.networks.Embeddings(spec, rngs=rngs)

    network = nnx.eval_shape(lambda: Network(nnx.Rngs(0)))
    batch = jaxrep.batch.Batch(jnp.asarray(numbers), None if codes is None else jnp.asarray(codes))

    def loss(weights):
        filled = jaxrep.networks.with_weights(network, weights)
        found = filled.encoder(batch, filled.embeddings)
        return jnp.sum(jnp.sin(found)), found

    given = {name: jnp.asarray(array) for name, array in weights.items()}
    every, found = jax.jit(jax.grad(loss, has_aux=True))(given)
    return np.asarray(found), {name: np.asarray(array) for name, array in every.items()}


def draw(spec):
    """Weights of an encoder and of embeddings, by jaxrep's names."""
    inputs = jaxrep.networks.RowLayout(spec).inputs
    sizes = [inputs, *DIMS]
    weights = {}
    for i, (fan_in, out) in enumerate(pairwise(sizes)):
        weights[f"encoder.{i}.kernel"] = RNG.normal(size=(fan_in, out))
        weights[f"encoder.{i}.bias"] = RNG.normal(size=out)
    wide = [c for c, levels in enumerate(spec.levels) if levels > 1000]
    for i, c in enumerate(wide):
        weights[f"embeddings.{i}.table"] = RNG.normal(size=(spec.levels[c] + spec.code_gaps[c], 16))
        weights[f"embeddings.{i}.bias"] = RNG.normal(size=spec.levels[c])
    return weights, [weights[f"embeddings.{i}.table"] for i in range(len(wide))]


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("twin", TWINS)
def test_a_look_up_is_the_linear_layer_on_one_hot_codes(twin, name):
    spec = jaxrep.batch.RowSpec(*SPECS[name])
    weights, tables = draw(spec)
    numbers, codes = rows_of(spec)
    found, every = gradients(twin, spec, weights, numbers, codes)
    inputs = one_hot(spec, numbers, codes, tables)

    first, second = (weights[f"encoder.{i}.kernel"] for i in range(2))
    h = inputs @ first + weights["encoder.0.bias"]
    expected = np.maximum(h, 0) @ second + weights["encoder.1.bias"]
    assert normwise_error(found, expected) <= 1e-12
    slope = np.cos(expected)
    by_h = slope @ second.T * (h > 0)
    assert normwise_error(every["encoder.1.kernel"], np.maximum(h, 0).T @ slope) <= 1e-12
    assert normwise_error(every["encoder.0.kernel"], inputs.T @ by_h) <= 1e-12
    assert normwise_error(every["encoder.0.bias"], by_h.sum(axis=0)) <= 1e-12
    for i, table in enumerate(tables):
        c = [c for c, levels in enumerate(spec.levels) if levels > 1000][i]
        start = spec.numbers + sum(spec.number_gaps) + 16 * i
        by_table = np.zeros_like(table)
        np.add.at(by_table, codes[:, c], by_h @ first[start : start + 16].T)
        assert normwise_error(every[f"embeddings.{i}.table"], by_table) <= 1e-12


@pytest.mark.parametrize("twin", TWINS)
def test_without_layers_an_encoder_gives_its_inputs(twin):
    spec = jaxrep.batch.RowSpec(*SPECS["every gap"])
    numbers, codes = rows_of(spec)
    if twin == "jax":
        encoder = jaxrep.networks.RowEncoder(spec, (), rngs=nnx.Rngs(0))
        batch = jaxrep.batch.Batch(jnp.asarray(numbers), jnp.asarray(codes))
        found = encoder(batch, jaxrep.networks.Embeddings(spec, rngs=nnx.Rngs(0)))
    else:
        encoder = torch_ref.networks.RowEncoder(spec, (), generator=torch.Generator())
        batch = torch_ref.batch.Batch(torch.tensor(numbers), torch.tensor(codes))
        found = encoder(batch, torch_ref.networks.Tables([], []))
    expected = one_hot(spec, numbers, codes, [])
    np.testing.assert_array_equal(np.asarray(found), expected.astype(np.asarray(found).dtype))
