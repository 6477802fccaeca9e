"""The place where two models part is the planted one, and neither model is changed by looking."""

import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from torch import nn

import jaxrep.batch
import jaxrep.methods
import jaxrep.networks
import torch_ref.batch
import torch_ref.methods
import torch_ref.networks
import torch_ref.weights
from jaxrep.errors import InputError, MissingPackageError
from jaxrep.parity._locate import locate
from jaxrep.parity._recording import record_jax

pytestmark = pytest.mark.quick

WIDTH = 6
X = np.random.default_rng(0).normal(size=(5, WIDTH))


class Net(nnx.Module):
    """Layers in a row, modules or functions."""

    def __init__(self, *layers):
        self.layers = nnx.List(layers)

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def linears(count, width=WIDTH, seed=0):
    """Square linear layers with drawn weights, for either framework, alike."""
    rng = np.random.default_rng(seed)
    ours = [nnx.Linear(width, width, rngs=nnx.Rngs(0)) for _ in range(count)]
    theirs = [nn.Linear(width, width) for _ in range(count)]
    for a, b in zip(ours, theirs, strict=True):
        a.kernel[...] = jnp.asarray(rng.normal(size=(width, width)), jnp.float32)
        a.bias[...] = jnp.asarray(rng.normal(size=width), jnp.float32)
        with torch.no_grad():
            b.weight.copy_(torch.tensor(np.array(a.kernel[...].T)))
            b.bias.copy_(torch.tensor(np.array(a.bias[...])))
    return ours, theirs


def set_weight(layer, array):
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(np.array(array)))


def test_a_transposed_square_kernel_is_named_with_both_values():
    ours, theirs = linears(3)
    set_weight(theirs[1], ours[1].kernel[...])
    net = nn.Sequential(theirs[0], nn.ReLU(), theirs[1], nn.ReLU(), theirs[2])
    found = locate(Net(ours[0], nnx.relu, ours[1], nnx.relu, ours[2]), net, X)
    assert found.differs
    assert found.place == "output of layer 2"
    assert (found.jax_layer, found.torch_layer) == ("layers.2 (Linear)", "2 (Linear)")
    assert found.hint == (
        "The torch weight equals the JAX kernel untransposed; it should be the transpose."
    )
    with torch.no_grad():
        h = net[:2](torch.tensor(X, dtype=torch.float32))
        assert found.torch_value == pytest.approx(float(theirs[1](h)[found.index]), rel=1e-5)
    assert found.jax_value == pytest.approx(float(ours[1](h.numpy())[found.index]), rel=1e-5)
    assert found.layers[0].output_error < 1e-14
    assert found.layers[1].input_error < 1e-14
    assert found.layers[1].output_error == found.error > 0.1
    assert found.layers[2].input_error > 0.1


def test_the_same_network_does_not_part():
    ours, theirs = linears(3)
    found = locate(Net(*ours), nn.Sequential(*theirs), X)
    assert not found.differs
    assert found.place is found.index is found.jax_layer is None
    assert found.error < 1e-14 and found.output_error <= found.error
    assert str(found).endswith(found.message)
    assert "Nothing parts" in found.message


def test_the_printed_table_has_a_line_for_each_layer():
    ours, theirs = linears(2)
    set_weight(theirs[1], ours[1].kernel[...])
    lines = str(locate(Net(*ours), nn.Sequential(*theirs), X)).splitlines()
    assert lines[0].split() == ["JAX", "torch", "input", "output"]
    assert re.match(r"1 +layers\.0 \(Linear\) +0 \(Linear\) +0 +\d\.\de-1\d$", lines[1])
    assert re.match(
        r"2 +layers\.1 \(Linear\) +1 \(Linear\) +\d\.\de-1\d +\d\.\de[+-]0\d$", lines[2]
    )
    assert re.match(r" +final output +final output +\d", lines[3])
    assert lines[5].startswith("They differ at the output of layer 2: ")


@pytest.mark.parametrize("permutation", [(3, 2, 1, 0), (2, 3, 0, 1)])
def test_a_convolution_with_its_axes_in_a_wrong_order_is_named(permutation):
    x = np.random.default_rng(1).normal(size=(2, 5, 7, 3))
    ours = nnx.Conv(3, 3, (3, 3), padding="VALID", rngs=nnx.Rngs(0))
    theirs = nn.Conv2d(3, 3, 3, bias=False)

    class ChannelsFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = theirs

        def forward(self, x):
            return self.conv(x.movedim(-1, 1)).movedim(1, -1)

    set_weight(theirs, ours.kernel[...].transpose(3, 2, 0, 1))
    assert not locate(ours, ChannelsFirst(), x).differs
    set_weight(theirs, ours.kernel[...].transpose(permutation))
    found = locate(ours, ChannelsFirst(), x)
    assert found.place == "output of layer 1"
    assert f"kernel.transpose{permutation}; it should be (3, 2, 0, 1)" in found.hint


def test_another_epsilon_of_layer_norm_is_named():
    found = locate(nnx.LayerNorm(WIDTH, rngs=nnx.Rngs(0)), nn.LayerNorm(WIDTH), X)
    assert found.place == "output of layer 1"
    assert found.hint == "epsilon is 1e-06 in JAX, eps is 1e-05 in torch."


def test_the_fast_variance_of_flax_is_named():
    norm = nnx.LayerNorm(WIDTH, epsilon=1e-5, rngs=nnx.Rngs(0))
    found = locate(norm, nn.LayerNorm(WIDTH), X + 1000)
    assert found.place == "output of layer 1"
    assert "use_fast_variance" in found.hint
    assert not locate(norm, nn.LayerNorm(WIDTH), X + 1000, tolerance=1e-6).differs


@pytest.mark.parametrize("as_module", [True, False])
def test_gelu_in_its_two_forms_is_found_between_the_layers(as_module):
    ours, theirs = linears(2)

    class Functional(nn.Module):
        def forward(self, x):
            return nn.functional.gelu(x)

    gelu = nn.GELU() if as_module else Functional()
    found = locate(Net(ours[0], nnx.gelu, ours[1]), nn.Sequential(theirs[0], gelu, theirs[1]), X)
    assert found.place == "input of layer 2"
    assert "The outputs of layer 1 agree, so what stands between it" in found.message
    assert "JAX continues with gelu(y, approximate), torch with gelu(y)." in found.hint
    assert "nnx.gelu has approximate=True by default" in found.hint
    tanh = nn.Sequential(theirs[0], nn.GELU("tanh"), theirs[1])
    assert not locate(Net(ours[0], nnx.gelu, ours[1]), tanh, X).differs


def test_an_activation_after_the_last_layer_parts_the_final_output():
    ours, theirs = linears(1)
    found = locate(Net(ours[0], nnx.relu), nn.Sequential(theirs[0]), X)
    assert found.place == "final output"
    assert found.jax_layer is found.torch_layer is None
    assert "JAX continues with relu(y), torch with y." in found.hint


def test_what_is_done_before_the_first_layer_is_named():
    ours, theirs = linears(1)
    found = locate(Net(lambda x: 2 * x, ours[0]), nn.Sequential(theirs[0]), X)
    assert found.place == "input of layer 1"
    assert "what is done before it differs" in found.message


class Residual(nnx.Module):
    def __init__(self, layers):
        self.layers = nnx.List(layers)

    def __call__(self, x):
        return self.layers[1](x + self.layers[0](x))


def test_a_missing_skip_connection_is_named():
    ours, theirs = linears(2)
    found = locate(Residual(ours), nn.Sequential(*theirs), X)
    assert found.place == "input of layer 2"
    assert "JAX continues with x + y, torch with y." in found.hint


def test_a_reshape_in_another_order_is_named():
    ours, theirs = linears(2)
    ours = Net(ours[0], lambda x: x.T.reshape(WIDTH, WIDTH), ours[1])
    found = locate(ours, nn.Sequential(*theirs), np.random.default_rng(2).normal(size=(WIDTH,) * 2))
    assert found.place == "input of layer 2"
    assert "torch with y" in found.hint


@pytest.mark.parametrize("left_out", [0, 1, 2])
def test_a_layer_left_out_is_reported_with_both_sequences(left_out):
    ours, theirs = linears(3)
    del theirs[left_out]
    found = locate(Net(*ours), nn.Sequential(*theirs), X)
    assert found.place == ("final output" if left_out == 2 else f"output of layer {left_out + 1}")
    assert "JAX called 3 layers with parameters, torch 2" in found.message
    assert [pair.jax_layer for pair in found.layers] == [f"layers.{i} (Linear)" for i in range(3)]
    assert [pair.torch_layer for pair in found.layers] == ["0 (Linear)", "1 (Linear)", None]
    assert found.layers[2].input_error is found.layers[2].output_error is None
    assert re.search(r"^3 +layers\.2 \(Linear\) +- +- +-$", str(found), re.MULTILINE)
    if left_out < 2:
        assert f"parameters of layers.{left_out + 1} (Linear) in JAX" in found.hint


class Twice(nnx.Module):
    def __init__(self, layer):
        self.shared = layer

    def __call__(self, x):
        return self.shared(nnx.relu(self.shared(x)))


def test_a_layer_called_twice_is_compared_twice():
    (ours,), (theirs,) = linears(1)
    found = locate(Twice(ours), nn.Sequential(theirs, nn.ReLU(), theirs), X)
    assert not found.differs
    assert [pair.jax_layer for pair in found.layers] == [
        "shared (Linear)",
        "shared (Linear), call 2",
    ]
    found = locate(Twice(ours), nn.Sequential(theirs, theirs), X)
    assert (found.place, found.torch_layer) == ("input of layer 2", "0 (Linear), call 2")


def test_weights_that_differ_are_named():
    (ours,), (theirs,) = linears(1)
    set_weight(theirs, ours.kernel[...].T * 1.5)
    found = locate(ours, theirs, X)
    assert found.jax_layer == "model (Linear)"
    assert found.hint == "The weights differ before any computation: kernel by 3.3e-01."


def test_a_bias_on_one_side_only_is_named():
    (ours,), (theirs,) = linears(1)
    bare = nn.Linear(WIDTH, WIDTH, bias=False)
    set_weight(bare, ours.kernel[...].T)
    assert locate(ours, bare, X).hint == "Only the JAX layer has a bias."
    bare_jax = nnx.Linear(WIDTH, WIDTH, use_bias=False, rngs=nnx.Rngs(0))
    bare_jax.kernel[...] = ours.kernel[...]
    assert locate(bare_jax, theirs, X).hint == "Only the torch layer has a bias."
    ours.bias[...] = jnp.zeros(WIDTH)
    assert not locate(ours, bare, X).differs


def test_layers_called_in_another_order_are_named():
    ours, theirs = linears(2)

    class Heads(nnx.Module):
        def __init__(self):
            self.a, self.b = ours

        def __call__(self, x):
            return self.a(x), self.b(x)

    class Other(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = theirs

        def forward(self, x):
            b = self.b(x)
            return self.a(x), b

    found = locate(Heads(), Other(), X)
    assert found.place == "output of layer 1"
    assert (
        found.hint == "The torch layer has the parameters of b (Linear) in JAX: the order differs."
    )
    assert found.output_error < 1e-14


class OfNumbers(nnx.Module):
    """A network's functions one after the other, on rows as an array."""

    def __init__(self, network, functions):
        self.network, self.functions = network, functions

    def __call__(self, x):
        return [getattr(self.network, name)(jaxrep.batch.Batch(x)) for name in self.functions]


class TorchOfNumbers(nn.Module):
    def __init__(self, network, functions):
        super().__init__()
        self.network, self.functions = network, functions

    def forward(self, x):
        return [getattr(self.network, name)(torch_ref.batch.Batch(x)) for name in self.functions]


# All sizes are equal, so that every kernel is square.
OUR_NETWORKS = {
    "AutoencoderNetwork": (((WIDTH,), WIDTH), ("reconstruct",)),
    "VAENetwork": (((WIDTH,), WIDTH), ("encode", "reconstruct")),
    "SimCLRNetwork": (((WIDTH,), WIDTH, WIDTH), ("project",)),
}


def find_transposed(ours, theirs, weights, of_ours, of_theirs):
    torch_ref.weights.with_weights(theirs, weights)
    same = locate(of_ours, of_theirs, X)
    assert not same.differs, str(same)
    assert same.error < 1e-14
    last = [module for module in theirs.modules() if isinstance(module, nn.Linear)][-1]
    set_weight(last, last.weight.detach().numpy().T)
    found = locate(of_ours, of_theirs, X)
    assert found.jax_layer == same.layers[-1].jax_layer
    assert "untransposed" in found.hint


@pytest.mark.parametrize("name", OUR_NETWORKS)
def test_our_own_networks_do_not_part_until_a_kernel_is_transposed(name):
    sizes, functions = OUR_NETWORKS[name]
    rows = jaxrep.batch.RowSpec(WIDTH), torch_ref.batch.RowSpec(WIDTH)
    ours = getattr(jaxrep.methods, name)(rows[0], *sizes, rngs=nnx.Rngs(0))
    theirs = getattr(torch_ref.methods, name)(rows[1], *sizes, generator=torch.Generator())
    weights = {key: np.asarray(a) for key, a in jaxrep.networks.get_weights(ours).items()}
    of_ours, of_theirs = OfNumbers(ours, functions), TorchOfNumbers(theirs, functions)
    find_transposed(ours, theirs, weights, of_ours, of_theirs)


def test_our_own_layers_do_not_part_until_a_kernel_is_transposed():
    ours = jaxrep.networks.MLP((WIDTH,) * 3, rngs=nnx.Rngs(0))
    theirs = torch_ref.networks.MLP((WIDTH,) * 3, generator=torch.Generator())
    weights = {key: np.asarray(a) for key, a in jaxrep.networks.get_weights(ours).items()}
    find_transposed(ours, theirs, weights, ours, theirs)


class Tagger(nnx.Module):
    def __init__(self, rngs):
        self.embed = nnx.Embed(7, WIDTH, rngs=rngs)
        self.head = nnx.Linear(WIDTH, 2, rngs=rngs)

    def __call__(self, tokens, scale):
        h = self.embed(tokens) * scale
        return {"h": h, "logits": (self.head(h),)}


class TorchTagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(7, WIDTH), nn.Linear(WIDTH, 2, bias=False)

    def forward(self, tokens, scale):
        h = self.embed(tokens) * scale
        return {"h": h, "logits": (self.head(h) + self.offset,)}

    offset = 0.0


@pytest.mark.parametrize("kind", ["numpy", "jax", "torch"])
def test_several_inputs_integers_and_trees_of_outputs(kind):
    ours, theirs = Tagger(nnx.Rngs(0)), TorchTagger()
    set_weight(theirs.embed, ours.embed.embedding[...])
    set_weight(theirs.head, ours.head.kernel[...].T)
    tokens, scale = np.array([[1, 2], [6, 0]]), np.linspace(1, 2, 4).reshape(2, 2, 1)
    to = {"numpy": np.asarray, "jax": jnp.asarray, "torch": torch.tensor}[kind]
    found = locate(ours, theirs, to(tokens), to(scale))
    assert not found.differs, str(found)
    theirs.offset = 0.5
    found = locate(ours, theirs, to(tokens), to(scale))
    assert found.place == "final output['logits'][0]"
    assert abs(found.jax_value - found.torch_value) == pytest.approx(0.5)


def test_another_number_of_outputs_parts():
    ours, theirs = linears(1)
    found = locate(Net(ours[0], lambda y: (y, y)), nn.Sequential(*theirs), X)
    assert found.place == "final output"
    assert "2 arrays in JAX, 1 in torch" in found.message


def test_shapes_that_differ_part_at_the_output():
    found = locate(nnx.Linear(WIDTH, 3, rngs=nnx.Rngs(0)), nn.Linear(WIDTH, 4), X)
    assert found.place == "output of layer 1"
    assert found.error == np.inf and found.index is None
    assert "shape (5, 3) in JAX, (5, 4) in torch" in found.message


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_part_where_the_other_side_has_none(value):
    ours, theirs = linears(1)
    x = X.copy()
    x[2, 1] = value
    assert not locate(Net(*ours), nn.Sequential(*theirs), x).differs
    found = locate(Net(lambda x: jnp.nan_to_num(x, posinf=0.0), *ours), nn.Sequential(*theirs), x)
    assert (found.place, found.index, found.error) == ("input of layer 1", (2, 1), np.inf)


def test_tolerance_is_the_largest_error_that_agrees():
    (ours,), (theirs,) = linears(1)
    set_weight(theirs, ours.kernel[...].T * (1 + 1e-4))
    assert locate(ours, theirs, X).differs
    assert locate(ours, theirs, X, tolerance=1e-5).differs
    assert not locate(ours, theirs, X, tolerance=1e-3).differs
    for bad in (-1.0, np.nan, np.inf):
        with pytest.raises(InputError, match="tolerance"):
            locate(ours, theirs, X, tolerance=bad)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, "float16"])
def test_a_compute_dtype_does_not_make_models_part(dtype):
    ours, theirs = linears(1)
    layer = nnx.Linear(WIDTH, WIDTH, dtype=dtype, preferred_element_type=None, rngs=nnx.Rngs(0))
    layer.kernel[...], layer.bias[...] = ours[0].kernel[...], ours[0].bias[...]
    assert not locate(layer, theirs[0], X).differs
    assert layer.dtype == dtype


def test_a_cast_inside_a_model_is_named():
    ours, theirs = linears(2)
    cast = Net(ours[0], lambda y: y.astype(jnp.float32), ours[1])
    found = locate(cast, nn.Sequential(*theirs), X)
    assert found.place == "input of layer 2"
    assert "JAX has float32 here" in found.hint


def test_tensors_made_on_the_way_are_float64():
    class Shifted(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(x) + torch.full((1,), 0.1)

    ours, theirs = linears(1)
    assert not locate(Net(*ours, lambda y: y + jnp.full((1, 1), 0.1)), Shifted(*theirs), X).differs


class Jitted(nnx.Module):
    def __init__(self, layers):
        self.layers = nnx.List(layers)

    @nnx.jit
    def __call__(self, x):
        for layer in self.layers:
            x = jax.jit(jnp.tanh)(layer(x))
        return x


def test_layers_inside_jit_are_recorded():
    ours, theirs = linears(2)
    torch_model = nn.Sequential(theirs[0], nn.Tanh(), theirs[1], nn.Tanh())
    assert not locate(Jitted(ours), torch_model, X).differs
    set_weight(theirs[1], ours[1].kernel[...])
    assert locate(Jitted(ours), torch_model, X).jax_layer == "layers.1 (Linear)"


class Inherited(nnx.Linear):
    pass


class Calling(Inherited):
    def __call__(self, x):
        return super().__call__(x)


def test_subclasses_of_layers_are_recorded_once_a_call():
    ours, theirs = linears(3)
    kinds = (Inherited, Calling, nnx.Linear)
    layers = [kind(WIDTH, WIDTH, rngs=nnx.Rngs(0)) for kind in kinds]
    for layer, source in zip(layers, ours, strict=True):
        layer.kernel[...], layer.bias[...] = source.kernel[...], source.bias[...]
    before = [dict(vars(kind)) for kind in kinds]
    found = locate(Net(*layers), nn.Sequential(*theirs), X)
    assert not found.differs
    assert len(found.layers) == 3
    assert [dict(vars(kind)) for kind in kinds] == before


def test_modules_that_work_in_place_are_recorded_before_they_do():
    ours, theirs = linears(2)
    x = torch.tensor(X, dtype=torch.float32)
    net = nn.Sequential(nn.ReLU(inplace=True), theirs[0], nn.ReLU(inplace=True), theirs[1])
    assert not locate(Net(nnx.relu, ours[0], nnx.relu, ours[1]), net, x).differs
    assert torch.equal(x, torch.tensor(X, dtype=torch.float32))


def test_a_layer_with_weight_norm_is_one_layer():
    ours, (first, second) = linears(2)
    theirs = nn.Sequential(torch.nn.utils.parametrizations.weight_norm(first), second)
    with torch.no_grad():
        ours[0].kernel[...] = jnp.asarray(theirs[0].weight.numpy().T)
    found = locate(Net(*ours), theirs, X, tolerance=1e-6)  # weights rounded to float32 once more
    assert not found.differs, str(found)
    assert [pair.torch_layer for pair in found.layers] == ["0 (Linear)", "1 (Linear)"]
    assert torch.nn.utils.parametrize.is_parametrized(theirs[0])


class Noisy(nnx.Module):
    def __call__(self, x, key, rngs):
        return x


class Keyed(nnx.Module):
    def __init__(self, layer):
        self.noisy, self.layer = Noisy(), layer

    def __call__(self, x):
        return self.layer(self.noisy(x, jax.random.key(0), nnx.Rngs(0)))


def test_random_keys_among_the_arguments_of_a_layer_are_passed_over():
    (ours,), (theirs,) = linears(1)
    assert not locate(Keyed(ours), theirs, X).differs
    call, _ = record_jax(Keyed(ours), (X,)).calls
    assert [array.shape for array in call.inputs] == [X.shape]


def test_batch_norm_and_dropout_run_in_eval_mode():
    ours, theirs = linears(1)
    norm, torch_norm = nnx.BatchNorm(WIDTH, rngs=nnx.Rngs(0)), nn.BatchNorm1d(WIDTH)
    norm.mean[...] = jnp.arange(WIDTH) / 3
    torch_norm.running_mean.copy_(torch.tensor(np.array(norm.mean[...])))
    model = Net(norm, nnx.Dropout(0.5, rngs=nnx.Rngs(1)), *ours)
    torch_model = nn.Sequential(torch_norm, nn.Dropout(0.5), *theirs)
    assert not locate(model, torch_model, X).differs
    torch_norm.running_mean.mul_(2)
    assert "mean by 5.0e-01" in locate(model, torch_model, X).hint


def snapshot(ours, theirs):
    arrays = [np.array(leaf) for leaf in jax.tree.leaves(nnx.state(ours, nnx.Param))]
    return (
        [(a.dtype, a.tobytes()) for a in arrays],
        [(t.dtype, t.numpy().tobytes()) for t in theirs.state_dict().values()],
        [sorted(vars(module)) for _, module in nnx.iter_modules(ours)],
        [m.deterministic for _, m in nnx.iter_modules(ours) if isinstance(m, nnx.Dropout)],
        [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in theirs.modules()],
        (vars(nnx.Linear)["__call__"], vars(nnx.Dropout)["__call__"]),
        (torch.get_default_dtype(), torch.is_grad_enabled(), jax.config.jax_enable_x64),
        jax.config.jax_disable_jit,
    )


@pytest.mark.parametrize("raising", [None, "JAX", "torch"])
def test_models_and_settings_are_left_as_they_were(raising):
    def fail(x):
        raise RuntimeError("planted")

    class Fail(nn.Module):
        def forward(self, x):
            fail(x)

    ours, theirs = linears(2)
    drop, torch_drop = nnx.Dropout(0.5, rngs=nnx.Rngs(1)), nn.Dropout(0.5)
    model = Net(ours[0], drop, *([fail] if raising == "JAX" else []), ours[1])
    torch_model = nn.Sequential(
        theirs[0], torch_drop, *([Fail()] if raising == "torch" else []), theirs[1]
    )
    before = snapshot(model, torch_model)
    if raising:
        place = {"JAX": r"layers\.1 \(Dropout\)", "torch": r"1 \(Dropout\)"}[raising]
        message = rf"the {raising} model raised RuntimeError .*after layer {place}: planted"
        with pytest.raises(InputError, match=message):
            locate(model, torch_model, X)
    else:
        assert not locate(model, torch_model, X).differs
    assert snapshot(model, torch_model) == before
    assert torch.get_default_dtype() == torch.float32
    assert not jax.config.jax_enable_x64


def test_an_input_of_a_wrong_width_names_the_model_and_the_layer():
    ours, theirs = linears(1)
    with pytest.raises(
        InputError, match=r"the JAX model raised \w+ in layer layers\.0, before any"
    ):
        locate(Net(*ours), nn.Sequential(*theirs), X[:, :2])
    wide = nnx.Linear(2, WIDTH, rngs=nnx.Rngs(0))
    with pytest.raises(InputError, match="the torch model raised RuntimeError in layer 0, before"):
        locate(Net(wide), nn.Sequential(*theirs), X[:, :2])
    with pytest.raises(InputError, match="the JAX model raised TypeError"):
        locate(Net(*ours), nn.Sequential(*theirs), X, X)


def test_what_is_no_model_is_refused():
    (ours,), (theirs,) = linears(1)
    with pytest.raises(InputError, match=r"first a flax\.nnx\.Module; it was given a torch\.nn"):
        locate(theirs, ours, X)
    with pytest.raises(InputError, match=r"second a torch\.nn\.Module; .* builtins\.function"):
        locate(ours, lambda x: x, X)
    with pytest.raises(InputError, match="the torch model called no layer that has parameters"):
        locate(ours, nn.ReLU(), X)
    with pytest.raises(InputError, match="the JAX model called no layer that has parameters"):
        locate(Net(nnx.relu), theirs, X)
    with pytest.raises(InputError, match="the JAX model returned a NoneType that holds no array"):
        locate(Net(ours, lambda x: None), theirs, X)


def test_without_torch_the_message_says_what_to_install(monkeypatch):
    (ours,), (theirs,) = linears(1)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'jaxrep\[torch\]'"):
        locate(ours, theirs, X)
