"""What was tried inside a step: the programs of the three trainings, each with one thing changed.

*As it is* is the program that `fit` runs. Every other side compiles it anew with one decision of
the engine taken the other way, and is timed in turn with it over 512 steps of the blobs from a new
state. What a decision was expected to bring, and what it did, is on the page about a step.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bench import blobs, seed_methods
from bench.measured import Figure, Measured, collect, interleave
from bench.seed_methods import seed_method
from bench.timing import seconds
from jaxrep import losses
from jaxrep.batch import Batch, RowSpec
from jaxrep.methods import VAENetwork
from jaxrep.networks import get_weights
from jaxrep.training import Devices, init_state, program, step
from jaxrep.training.loop import wait

AS_IT_IS = "as it is"
STEPS = 512

Change = Callable[[], AbstractContextManager[Any]]
Run = Callable[[int], float]


def measure(*, quick: bool, rounds: int) -> Measured:
    """Compiles and times every variant of every method that it concerns.

    Args:
        quick: the autoencoder's alone.
        rounds: how often.

    Returns:
        Microseconds a step.
    """
    x = jax.device_put(blobs.rows())
    sides: dict[tuple[str, str], Run] = {}
    for name in ("autoencoder",) if quick else seed_methods.names():
        for variant, (change, settings, concerned) in VARIANTS.items():
            if name in concerned:
                with change():
                    sides[name, variant] = _compiled(name, x, settings)
    samples = interleave(rounds + 1, sides)
    return Measured(collect("µs a step", {key: values[1:] for key, values in samples.items()}))


def figures(measured: Measured) -> list[Figure]:
    """Returns the time of each variant over that of the program as it is."""
    return [
        Figure(
            f"{series.case}, {series.side}",
            measured.ratio((series.case, series.side), (series.case, AS_IT_IS)),
            "×",
        )
        for series in measured.series
        if series.side != AS_IT_IS
    ]


def _compiled(name: str, x: Array, settings: dict[str, Any]) -> Run:
    """Compiles a program as things stand now, and returns the call that times it."""
    method = seed_method(name, **settings)
    batch_size = method.hyperparameters.batch_size
    rows, spec = Batch(x), RowSpec(x.shape[1])
    jax.clear_caches()  # type: ignore[no-untyped-call]  # a trace of before would not see what has been changed
    compiled = program.run_steps.lower(
        method,
        np.uint32(0),
        init_state(method, spec, 0),
        rows,
        rows,
        0,
        0,
        spec=spec,
        batch_size=batch_size,
        chunk=STEPS,
        devices=Devices(),
    ).compile()

    def run(seed: int) -> float:
        state = jax.device_put(init_state(method, spec, 0))
        wait(state)
        return (
            1e6
            / STEPS
            * seconds(lambda: wait(compiled(method, np.uint32(seed), state, rows, rows, 0, STEPS)))
        )

    return run


def _one_step_ahead() -> AbstractContextManager[Any]:
    return mock.patch.object(program, "_MAX_STEPS_DRAWN_AHEAD", 1)


def _drawn_anywhere() -> AbstractContextManager[Any]:
    return mock.patch.object(program, "once", lambda compute, *words: compute(*words))


def _threefry() -> AbstractContextManager[Any]:
    return mock.patch.object(step, "RANDOM", "threefry2x32")


def _joined_heads() -> AbstractContextManager[Any]:
    def encode(self: VAENetwork, batch: Batch) -> tuple[Array, Array]:
        heads = [get_weights(head) for head in (self.mu, self.log_var)]
        kernel = jnp.concatenate([head["kernel"] for head in heads], axis=1)
        bias = jnp.concatenate([head["bias"] for head in heads])
        mu, log_var = jnp.split(
            self.encoder(batch, self.embeddings) @ kernel + bias[None, :], 2, axis=1
        )
        return mu, log_var

    return mock.patch.object(VAENetwork, "encode", encode)


def _differentiated_by_jax() -> AbstractContextManager[Any]:
    def nt_xent_loss(z1: Array, z2: Array, *, temperature: Array, weights: Array) -> Array:
        z = jnp.concatenate([z1, z2])
        both = jnp.concatenate([weights, weights])
        among = ~jnp.eye(len(z), dtype=bool) & (both > 0)[None, :]
        s = jnp.where(among, z @ z.T / temperature, -1e30)
        positive = jnp.sum(z * jnp.roll(z, len(z1), axis=0), axis=1) / temperature
        return jnp.sum(both * (jax.nn.logsumexp(s, axis=1) - positive)) / jnp.sum(both)

    return mock.patch.object(losses, "nt_xent_loss", nt_xent_loss)


@contextlib.contextmanager
def _unchanged() -> Iterator[None]:
    yield


_ALL = tuple(seed_methods.names())
# For each variant what changes, hyperparameters, and the methods that it concerns.
VARIANTS: dict[str, tuple[Change, dict[str, Any], tuple[str, ...]]] = {
    AS_IT_IS: (_unchanged, {}, _ALL),
    "noise drawn step by step": (_one_step_ahead, {}, ("vae", "simclr")),
    "words drawn in every kernel": (_drawn_anywhere, {}, ("vae", "simclr")),
    "random numbers of threefry": (_threefry, {}, ("vae", "simclr")),
    "heads as one product": (_joined_heads, {}, ("vae",)),
    "NT-Xent differentiated by JAX": (_differentiated_by_jax, {}, ("simclr",)),
    "in bfloat16": (_unchanged, {"precision": "bfloat16"}, _ALL),
}
