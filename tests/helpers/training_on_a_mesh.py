"""Trainings on meshes; run as a program, it prints what it found as JSON.

python training_on_a_mesh.py 2 vae                          on forced devices of this process
python training_on_a_mesh.py 1,2,4,8 autoencoder,simclr all streamed, and with sharded parameters
python training_on_a_mesh.py 4 vae:3                        of three members
"""

import functools
import json
import re
import sys

import jax
import numpy as np

from jaxrep import methods
from jaxrep.batch import Batch, RowSpec
from jaxrep.shuffle import grid
from jaxrep.training import Devices, fit, mesh_of
from jaxrep.training.devices import mesh_of_one
from jaxrep.training.loop import Loop
from jaxrep.training.row_store import place

ROWS, WIDTH, BATCH = 90, 6, 32  # the last batch of an epoch has 26 rows, and padding
COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")


class Store:
    """Rows that are read when they are needed."""

    rows, spec = ROWS, RowSpec(WIDTH)

    def __init__(self, x):
        self.x = x

    def read_into(self, start, buffer):
        buffer.numbers[:] = self.x[start : start + len(buffer.numbers)]

    def sample(self, count):
        return Batch(self.x[:: -(-len(self.x) // count)])


def data(rows=ROWS):
    return np.random.default_rng(0).normal(size=(rows, WIDTH)).astype(np.float32)


def method_of(name, **settings):
    name, _, members = name.partition(":")
    settings = {"epochs": 2, "batch_size": BATCH, "members": int(members or 1)} | settings
    kind = methods.hyperparameters_of(name)
    recipe = "seed" if "seed" in kind.recipes else None
    return methods.make(methods.resolve(kind, recipe, settings))


def difference(found, expected):
    return max(float(np.abs(found[name] - expected[name]).max()) for name in expected)


def compare(found, expected):
    """Relative difference of the losses, and the greatest one of the weights."""
    losses = zip(found.history, expected.history, strict=True)
    return {
        "loss": max(abs(a[key] / b[key] - 1) for a, b in losses for key in b),
        "weights": difference(found.weights, expected.weights),
    }


def loop_of(method, x, devices):
    rows, _ = place(Batch(x), None, method.hyperparameters.batch_size, devices)
    return Loop(methods.members_of(method), rows, None, RowSpec(WIDTH), devices)


def first_moments(method, x, mesh=None, shard_parameters=False):
    """Adam's first moment after one step, a tenth of the gradient."""
    devices = Devices(mesh or mesh_of_one(), shard_parameters)
    loop = loop_of(method, x, devices)
    loop.train(until=1)
    leaves, _ = jax.tree_util.tree_flatten_with_path(loop.state.opt_state)
    named = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
    return {name: array for name, array in named.items() if "mu" in name}


def collectives(method, x, mesh, shard_parameters=False):
    """How many of each collective the compiled program has, whatever they are in."""
    loop = loop_of(method, x, Devices(mesh, shard_parameters))
    program = functools.partial(loop._run_steps.func.lower, *loop._run_steps.args)
    shared, rows = loop._run_steps.keywords, loop.rows.like()
    with loop.devices.programs():
        lowered = program(loop.state, rows, first=1, stop=2, rows=grid(ROWS), **shared)
        text = lowered.compile().as_text()
    return {name: len(re.findall(rf" {name}(?:-start)?\(", text)) for name in COLLECTIVES}


def main():
    sizes = [int(size) for size in sys.argv[1].split(",")]
    whole_story = sys.argv[3:] == ["all"]
    jax.config.update("jax_num_cpu_devices", max(sizes))
    x, held_out = data(), data(40) if whole_story else None
    found = {}
    for name in sys.argv[2].split(","):
        method = method_of(name)
        whole = fit(method, x, validation=held_out)
        gradient = first_moments(method, x)
        for size in sizes:
            mesh = mesh_of(jax.devices()[:size])
            report = compare(fit(method, x, validation=held_out, mesh=mesh), whole)
            report["gradient"] = difference(first_moments(method, x, mesh), gradient)
            report["collectives"] = collectives(method, x, mesh)
            if whole_story:
                streamed = fit(method, Store(x))
                report["streamed"] = compare(fit(method, Store(x), mesh=mesh), streamed)
                sharded = fit(method, x, validation=held_out, mesh=mesh, shard_parameters=True)
                report["sharded"] = compare(sharded, whole)
            found[f"{name} {size}"] = report
    print(json.dumps(found))


if __name__ == "__main__":
    main()
