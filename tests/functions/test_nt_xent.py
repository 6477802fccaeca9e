"""NT-Xent on tiles: equal to the definition, half the work, no square, on any number of devices."""

import functools
import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax import export

import torch_ref.batch
import torch_ref.losses
import torch_ref.nt_xent
import torch_ref.views
from jaxrep.batch import Batch, RowSpec
from jaxrep.losses import nt_xent_loss
from jaxrep.methods import SimCLR, SimCLRHyperparameters, abstract_network
from jaxrep.networks import with_weights
from jaxrep.nt_xent import nt_xent, tile_plan
from jaxrep.training import draw_batch, init_state, train_step
from tests.helpers import oracles
from tests.helpers.twins import rounded, twin_of

ON_A_MESH = Path(__file__).parents[1] / "helpers" / "nt_xent_on_a_mesh.py"
DTYPES = ("float64", "float32", "bfloat16", "float16")
HALF = {"bfloat16": 2.0**-8, "float16": 2.0**-11}  # a gradient has the dtype of what it is of
TILE = 48
WEIGHTINGS = ("none", "zeros")


def views(batch, width=8, case="random"):
    drawn = np.random.default_rng([batch, width]).normal(size=(2, batch, width))
    drawn /= np.linalg.norm(drawn, axis=2, keepdims=True)
    if case == "zero rows":
        drawn[:, ::2] = 0
    if case == "identical rows":
        drawn[:] = drawn[0, 0]
    return drawn


def row_weights(batch, weighting):
    fractions = np.random.default_rng(batch).integers(1, 9, batch) / 4
    return {"none": None, "zeros": np.where(np.arange(batch) % 3 == 1, 0, fractions)}[weighting]


@functools.cache
def tiled(tile, weighted):
    def loss(z, weights, temperature):
        weights = weights if weighted else None
        return nt_xent(*z, temperature=temperature, weights=weights, tile=tile)

    return jax.jit(jax.value_and_grad(loss))


def in_jax(drawn, weights, temperature, dtype, tile=TILE):
    given = np.ones(drawn.shape[1]) if weights is None else weights
    with jax.enable_x64(dtype == "float64"):
        z = jnp.asarray(drawn, dtype)
        value, gradient = tiled(tile, weights is not None)(z, given, temperature)
        return float(value), np.asarray(gradient, np.float64)


def in_torch(drawn, weights, temperature, dtype, tile=TILE):
    z = torch.tensor(drawn, dtype=getattr(torch, dtype), requires_grad=True)
    given = None if weights is None else torch.tensor(weights)
    loss = torch_ref.nt_xent.nt_xent(*z, temperature=temperature, weights=given, tile=tile)
    loss.backward()
    return float(loss.detach()), z.grad.double().numpy()


def assert_equal(found, expected, weights, temperature, dtype):
    """In float64 to 1e-12; in float32 to 32 roundings of similarities, which are up to 1/τ."""
    (value, gradient), (true_value, true_gradient) = found, expected
    unit = 2.0**-53 if dtype == "float64" else 2.0**-24
    share = 1 / gradient.shape[1] if weights is None else weights.max() / max(weights.sum(), 1e-9)
    size = np.abs(true_gradient).max()
    scale = share * 2 / temperature  # of the terms of a gradient, which may cancel
    bound = 32 * unit * scale * (1 / temperature + 8)
    if dtype == "float64":
        bound = 1e-12 * max(size, scale)
    bound += HALF.get(dtype, 0) * size + (2.0**-24 if dtype == "float16" else 0)  # its least step
    value_bound = 16 * unit * (2 / temperature + 8)
    if dtype == "float64":
        value_bound = 1e-12 * max(abs(true_value), 1 / temperature)
    assert abs(value - true_value) <= value_bound
    assert np.abs(gradient - true_gradient).max() <= bound
    assert np.isfinite(gradient).all()


def assert_as_defined(twin, batch, dtype, weighting, case, tile=TILE):
    evaluate = {"jax": in_jax, "torch": in_torch}[twin]
    drawn, weights = rounded(views(batch, case=case), dtype), row_weights(batch, weighting)
    for temperature in (1.0, 0.1, 0.02, 0.01):
        expected = oracles.nt_xent_matrix(*drawn, temperature=temperature, weights=weights)
        found = evaluate(drawn, weights, temperature, dtype, tile)
        assert_equal(found, expected, weights, temperature, dtype)


CASES = [(w, case) for w in WEIGHTINGS for case in ("random", "zero rows", "identical rows")]


def is_quick(twin, batch, dtype):
    """How a batch is cut into tiles is seen in float64, what a dtype does to tiles in one batch."""
    return twin == "torch" or (batch in (1, 2, 127) if dtype == "float64" else batch == 129)


BATCHES = [
    pytest.param(
        *(twin, batch, dtype),
        marks=[] if is_quick(twin, batch, dtype) else pytest.mark.slow,
    )
    for twin in ("jax", "torch")
    for batch in (1, 2, 3, 127, 128, 129)
    for dtype in DTYPES
]


@pytest.mark.parametrize(("twin", "batch", "dtype"), BATCHES)
def test_tiles_give_value_and_gradient_of_the_definition(twin, batch, dtype):
    for weighting, case in CASES:
        assert_as_defined(twin, batch, dtype, weighting, case)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("twin", ["jax", "torch"])
def test_many_tiles_give_value_and_gradient_of_the_definition(twin, dtype):
    assert_as_defined(twin, 1000, dtype, "zeros", "random", tile=272)  # does not divide 2,000


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("twin", ["jax", "torch"])
def test_many_tiles_give_value_and_gradient_of_the_definition_in_every_case(twin, dtype):
    for weighting, case in CASES:
        assert_as_defined(twin, 1000, dtype, weighting, case, tile=272)


@pytest.mark.parametrize("temperature", [1.0, 0.02])
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_the_matrix_oracle_equals_the_loops(batch, temperature):
    drawn, weights = views(batch), row_weights(batch, "zeros")
    value, gradient = oracles.nt_xent_matrix(*drawn, temperature=temperature, weights=weights)
    assert value == pytest.approx(
        oracles.nt_xent_loss(*drawn, temperature=temperature, weights=weights), rel=1e-12, abs=1e-15
    )
    expected = oracles.nt_xent_loss_gradients(*drawn, temperature=temperature, weights=weights)
    assert np.allclose(gradient, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("temperature", [0.5, 0.01])
def test_tiles_give_the_derivatives_by_weights_and_temperature_of_the_dense_form(x64, temperature):
    z, weights = jnp.asarray(views(9)), jnp.asarray(row_weights(9, "zeros"))

    def derivatives(tile):
        def loss(weights, temperature):
            return nt_xent(*z, temperature=temperature, weights=weights, tile=tile)

        return jax.grad(loss, argnums=(0, 1))(weights, temperature)

    for found, expected in zip(derivatives(4), derivatives(None), strict=True):
        assert np.allclose(found, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("temperature", [0.5, 0.002])
def test_tiles_are_differentiated_forward_and_twice_by_forward_over_reverse(x64, temperature):
    z, direction = jnp.asarray(views(5)), jnp.asarray(views(5, case="random")[::-1])

    def derivatives(tile):
        def loss(z):
            return nt_xent(*z, temperature=temperature, tile=tile)

        def both(z):
            forward = jax.jvp(loss, (z,), (direction,))[1]
            return forward, jax.jvp(jax.grad(loss), (z,), (direction,))[1]

        return jax.jit(both)(z)

    for found, expected in zip(derivatives(4), derivatives(None), strict=True):
        scale = np.abs(expected).max()
        assert np.abs(found - expected).max() <= 1e-11 * scale


def test_a_second_derivative_by_reverse_over_reverse_is_refused():
    def length(z):
        gradient = jax.grad(lambda z: nt_xent(*z, temperature=0.5, tile=4))(z)
        return jnp.sum(gradient**2)

    with pytest.raises(ValueError, match="Reverse-mode differentiation does not work"):
        jax.grad(length)(jnp.asarray(views(3), jnp.float32))


def test_tiles_can_be_mapped_over_temperatures():
    z, temperatures = jnp.asarray(views(9), jnp.float32), jnp.array([1.0, 0.1, 0.01])

    @jax.jit
    def gradient(temperature):
        return jax.grad(lambda z: nt_xent(*z, temperature=temperature, tile=5))(z)

    mapped = jax.vmap(gradient)(temperatures)
    for found, temperature in zip(mapped, temperatures, strict=True):
        assert np.allclose(found, gradient(temperature), rtol=1e-5, atol=1e-6)


def test_a_large_batch_goes_to_tiles_and_a_small_one_does_not():
    for batch, side in ((1024, "2048"), (1025, "688")):
        z = jax.ShapeDtypeStruct((batch, 8), jnp.float32)
        text = jax.jit(lambda a, b: nt_xent_loss(a, b, temperature=0.5)).lower(z, z).as_text()
        squares = {a for a, b in re.findall(r"tensor<(\d+)x(\d+)xf32>", text) if a == b != "8"}
        assert squares == {side}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tile": 0}, "tile is 0"),
        ({"weights": jnp.ones(2)}, r"weights have shape \(2,\); 3 rows need"),
        ({"z2": jnp.ones((4, 8))}, r"z1 has shape \(3, 8\) and z2 \(4, 8\)"),
    ],
)
def test_what_does_not_belong_together_is_refused(arguments, message):
    given = {"z1": jnp.ones((3, 8)), "z2": jnp.ones((3, 8)), "temperature": 0.5} | arguments
    with pytest.raises(ValueError, match=message):
        nt_xent(**given)
    given = {
        name: torch.tensor(np.asarray(value)) if isinstance(value, jax.Array) else value
        for name, value in given.items()
    }
    with pytest.raises(ValueError, match=message):
        torch_ref.nt_xent.nt_xent(**given)


@pytest.mark.parametrize("devices", [1, 2, 8])
@pytest.mark.parametrize("rows", [2, 258, 4096, 131_072])
def test_the_tile_plan_visits_every_pair_of_blocks_once(rows, devices):
    plan = tile_plan(rows, 128, devices=devices)
    b = plan.blocks
    pairs = [frozenset((t % b, (t % b + t // b) % b)) for t in range(plan.pairs)]
    assert len(set(pairs)) == len(pairs) == b * (b + 1) // 2
    assert (b - 1) * plan.tile < rows <= b * plan.tile or b == 2 * devices
    assert devices == 1 or plan.pairs % devices == 0


def equations(jaxpr, primitive):
    """Every use of a primitive in a program, with the loops around it counted as one turn."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == primitive:
            yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                    yield from equations(getattr(inner, "jaxpr", inner), primitive)


def test_a_call_takes_the_products_and_exponentials_of_half_the_square_and_its_diagonal():
    plan = tile_plan(8192, 64)
    square, m = 8192**2, plan.blocks
    assert plan.products == 4 * square * 64 * (m + 1) / m
    assert plan.exponentials == square * (m + 1) / m
    z = jax.ShapeDtypeStruct((2, 4096, 64), jnp.float32)
    traced = jax.make_jaxpr(jax.value_and_grad(lambda z: nt_xent(*z, temperature=0.5)))(z)
    loops = [loop.params["body_jaxpr"].jaxpr for loop in equations(traced.jaxpr, "while")]
    assert len(loops) == 4  # two passes, each with one shift or with a running maximum
    one_shift = [loop for loop in loops if not list(equations(loop, "reduce_max"))]
    one_shift = [loop for loop in one_shift if len(list(equations(loop, "exp"))) == 1]
    assert len(one_shift) == 2
    tile = plan.tile
    exponentials = sum(e.outvars[0].aval.size for loop in one_shift for e in equations(loop, "exp"))
    flop = 0
    for loop in one_shift:
        for dot in equations(loop, "dot_general"):
            if min(v.aval.ndim for v in dot.invars) == 2:  # row and column sums are no products
                (contracted, _), _ = dot.params["dimension_numbers"]
                depth = dot.invars[0].aval.shape[contracted[0]]
                flop += 2 * dot.outvars[0].aval.size * depth
    assert exponentials * plan.pairs == plan.exponentials
    assert flop * plan.pairs == plan.products
    assert tile < 8192


def gradient_of(batch, width):
    z = jax.ShapeDtypeStruct((2, batch, width), jnp.float32)
    return jax.jit(jax.value_and_grad(lambda z: nt_xent_loss(*z, temperature=0.5))), z


def test_memory_grows_with_the_rows_and_not_with_their_square():
    temporary = {}
    for batch in (8192, 16_384):
        function, z = gradient_of(batch, 128)
        temporary[batch] = function.lower(z).compile().memory_analysis().temp_size_in_bytes
    embeddings = 4 * 2 * 8192 * 128
    assert temporary[8192] <= 6 * embeddings + 8 * 4 * 1024**2
    assert temporary[16_384] - temporary[8192] <= 6 * embeddings


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_no_square_is_in_the_program_for_an_accelerator(platform):
    function, z = gradient_of(8192, 128)
    text = export.export(function, platforms=[platform])(z).mlir_module()
    sizes = [
        int(np.prod([int(n) for n in shape.split("x")[:-1]] or [1]))
        for shape in re.findall(r"tensor<((?:\d+x)+\w+)>", text)
    ]
    assert max(sizes) == 2 * 8192 * 128 < 16_384**2


@pytest.mark.parametrize("size", [3, pytest.param(5, marks=pytest.mark.slow), 64])
def test_a_microbatch_changes_neither_loss_nor_gradient(x64, size):
    def gradient(microbatch):
        method = SimCLR(SimCLRHyperparameters(microbatch=microbatch))
        x = jnp.asarray(np.random.default_rng(0).normal(size=(10, 6)))
        _, noise = jax.jit(functools.partial(draw_batch, batch_size=10))(method, 0, x, x, 0)
        batch = Batch(x, weights=jnp.where(jnp.arange(10) == 4, 0.0, 1.0))
        state = init_state(method, RowSpec(6), 0)
        network = abstract_network(method, RowSpec(6))
        return jax.jit(
            jax.value_and_grad(
                lambda params: method.loss(with_weights(network, params), batch, noise)[0]
            )
        )({name: array.astype(float) for name, array in state.params.items()})

    for a, b in zip(jax.tree.leaves(gradient(size)), jax.tree.leaves(gradient(0)), strict=True):
        assert np.abs(a - b).max() <= 1e-12 * max(np.abs(b).max(), 1e-3)


@pytest.mark.parametrize("size", [3, 10])
def test_a_microbatch_changes_neither_loss_nor_gradient_in_torch(size):
    def gradient(microbatch):
        method = twin_of(SimCLR(SimCLRHyperparameters(microbatch=microbatch)))
        rows = torch_ref.batch.RowSpec(6)
        network = method.init(rows, torch.Generator().manual_seed(0)).double()
        x = torch.randn(10, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        batch = torch_ref.batch.Batch(x, weights=torch.ones(10))
        draws = torch_ref.views.Draws(torch.Generator().manual_seed(2), batch)
        loss, _ = method.loss(network, batch, method.noise(draws, batch))
        loss.backward()
        return [loss.detach(), *(p.grad for p in network.parameters() if p.grad is not None)]

    for a, b in zip(gradient(size), gradient(0), strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-14)


def test_a_microbatch_bounds_the_memory_of_the_network():
    def temporary(microbatch):
        method = SimCLR(SimCLRHyperparameters(microbatch=microbatch, hidden_dims=(512, 512)))
        x, spec = jnp.zeros((8192, 16)), RowSpec(16)
        state = init_state(method, spec, 0)
        drawn = jax.eval_shape(lambda: draw_batch(method, 0, x, x, 0, batch_size=8192))
        step = jax.jit(train_step, static_argnames="spec")
        compiled = step.lower(method, state, *drawn, spec=spec).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary(512) < 0.4 * temporary(0)


def run(*arguments):
    command = [sys.executable, str(ON_A_MESH), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def answer(process):
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err[-2000:]
    return json.loads(out.splitlines()[-1])


def assert_as_on_one_device(report):
    for case, difference in report.items():
        if case.startswith("float"):
            assert difference <= (1e-12 if case.startswith("float64") else 1e-6), case


@pytest.mark.end_to_end
@pytest.mark.parametrize("sizes", [[8], pytest.param([1, 2, 4, 8], marks=pytest.mark.slow)])
def test_a_mesh_of_devices_gives_loss_and_gradient_of_the_whole_batch_by_four_collectives(sizes):
    found = answer(run(",".join(map(str, sizes))))
    assert list(found) == [str(size) for size in sizes]
    for report in found.values():
        assert_as_on_one_device(report)
    for size in {"2", "8"} & found.keys():
        assert found[size]["collectives"] == {
            "all-gather": 1,
            "all-reduce": 2,
            "reduce-scatter": 1,
            "all-to-all": 0,
            "collective-permute": 0,
        }
        # Untold, a training step on a mesh compares the rows of all devices.
        assert found[size]["step"]["reduce_scatters"] == 1
        assert found[size]["step"]["difference"] <= 1e-6


@pytest.mark.slow
def test_two_processes_give_loss_and_gradient_of_the_whole_batch():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    both = [run("2", address, str(process)) for process in range(2)]
    for process in both:
        assert_as_on_one_device(answer(process)["2"])


def test_inside_a_shard_map_over_data_it_refuses_to_see_one_device_alone():
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    part = jax.sharding.PartitionSpec("data")
    inside = jax.shard_map(
        lambda z: nt_xent_loss(z, z, temperature=0.5),
        mesh=mesh,
        in_specs=part,
        out_specs=jax.sharding.PartitionSpec(),
    )
    with pytest.raises(ValueError, match="rows of one device alone"):
        inside(jnp.eye(4))
