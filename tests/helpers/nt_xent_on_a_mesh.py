"""NT-Xent and SimCLR's step on meshes; run as a program, it prints what it found as JSON.

python nt_xent_on_a_mesh.py 1,2,4,8                     on forced devices of this process
python nt_xent_on_a_mesh.py 2 ADDRESS PROCESS           as one of 2 processes
"""

import functools
import json
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxrep.batch import RowSpec
from jaxrep.losses import nt_xent_loss
from jaxrep.methods import SimCLR, SimCLRHyperparameters
from jaxrep.training import draw_batch, init_state, train_step

ROWS, WIDTH = 24, 5
SPEC = RowSpec(6)
COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")


def rows(dtype):
    rng = np.random.default_rng(0)
    views = rng.normal(size=(2, ROWS, WIDTH))
    views /= np.linalg.norm(views, axis=2, keepdims=True)
    weights = np.where(np.arange(ROWS) % 5 == 3, 0, rng.uniform(0.5, 2, ROWS))
    return [array.astype(dtype) for array in (*views, weights)]


def put(array, mesh, *axes):
    sharding = NamedSharding(mesh, PartitionSpec(*axes))
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


@jax.jit
def loss_and_gradients(kernel, x1, x2, weights, temperature):
    def loss(kernel, temperature):
        z1, z2 = (z / jnp.linalg.norm(z, axis=1, keepdims=True) for z in (x1 @ kernel, x2 @ kernel))
        return nt_xent_loss(z1, z2, temperature=temperature, weights=weights)

    return jax.value_and_grad(loss, argnums=(0, 1))(kernel, temperature)


def error(found, expected):
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    return max(
        float(np.abs(np.asarray(a) - np.asarray(b)).max() / np.abs(np.asarray(b)).max())
        for a, b in pairs
    )


def gathered(tree):
    return jax.tree.map(lambda array: np.asarray(array.addressable_data(0)), tree)


def on_a_mesh(mesh, dtype, temperature):
    """Difference of loss and gradients between one device and the mesh."""
    x1, x2, weights = rows(dtype)
    kernel = np.random.default_rng(1).normal(size=(WIDTH, 4)).astype(dtype)
    expected = loss_and_gradients(kernel, x1, x2, weights, dtype(temperature))
    with jax.set_mesh(mesh):
        sharded = [put(array, mesh, "data") for array in (x1, x2, weights)]
        whole = [put(np.asarray(array), mesh) for array in (kernel, dtype(temperature))]
        found = loss_and_gradients(whole[0], *sharded, whole[1])
    return error(gathered(found), jax.device_get(expected))


def collectives(mesh):
    """How many of each collective the compiled loss and gradient by both views hold."""

    def call(z1, z2, weights):
        def loss(z1, z2):
            return nt_xent_loss(z1, z2, temperature=0.5, weights=weights)

        return jax.value_and_grad(loss, argnums=(0, 1))(z1, z2)

    with jax.set_mesh(mesh):
        sharded = [put(array, mesh, "data") for array in rows(np.float32)]
        text = jax.jit(call).lower(*sharded).compile().as_text()
    return {name: len(re.findall(rf" {name}(?:-start)?\(", text)) for name in COLLECTIVES}


def training_step(mesh):
    """Difference of SimCLR's parameters after a step, and whether it gathered embeddings."""
    method = SimCLR(SimCLRHyperparameters())
    x = np.random.default_rng(2).normal(size=(ROWS, 6)).astype(np.float32)
    drawn = jax.device_get(draw_batch(method, 0, jnp.asarray(x), x, 0, batch_size=ROWS))
    state = jax.device_get(init_state(method, SPEC, 0))
    step = functools.partial(jax.jit(train_step, static_argnames="spec"), spec=SPEC)
    expected = jax.device_get(step(method, state, *drawn))
    with jax.set_mesh(mesh):
        batch = jax.tree.map(lambda array: put(array, mesh, "data"), drawn[0])
        noise = {name: put(draws, mesh, None, "data") for name, draws in drawn[1].items()}
        state = jax.tree.map(lambda array: put(np.asarray(array), mesh), state)
        found = step(method, state, batch, noise)
        text = step.func.lower(method, state, batch, noise, spec=SPEC).compile().as_text()
    (before, _), (after, _) = found, expected
    return {
        "difference": max(
            float(np.abs(gathered(before.params[name]) - after.params[name]).max())
            for name in after.params
        ),
        "reduce_scatters": len(re.findall(r" reduce-scatter(?:-start)?\(", text)),
    }


def main():
    sizes = [int(size) for size in sys.argv[1].split(",")]
    if len(sys.argv) > 2:
        jax.distributed.initialize(sys.argv[2], 2, int(sys.argv[3]))
    else:
        jax.config.update("jax_num_cpu_devices", max(sizes))
    found = {}
    for size in sizes:
        kind = jax.sharding.AxisType.Auto
        mesh = Mesh(np.array(jax.devices()[:size]), ("data",), axis_types=(kind,))
        report = {
            f"float32 {temperature}": on_a_mesh(mesh, np.float32, temperature)
            for temperature in (0.5, 0.01)
        }
        with jax.enable_x64(True):
            report |= {"float64 0.1": on_a_mesh(mesh, np.float64, 0.1)}
        if len(sys.argv) == 2 and size in (2, 8):
            report |= {"collectives": collectives(mesh), "step": training_step(mesh)}
        found[size] = report
    print(json.dumps(found))


if __name__ == "__main__":
    main()
