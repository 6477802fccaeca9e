"""The time of a training step's matrix products alone: what no step of these shapes can undercut.

A jitted loop takes the products of a step, forward and backward, in the shapes and in the order of
the step, and nothing else: no activation, no loss, no optimiser. The batch changes from turn to
turn and the kernels' gradients are added up, so that no product can be left out or taken out of the
loop; that and the slice of the batch are counted with them.
"""

import time
from collections.abc import Sequence
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrep.hyperparameters import TrainingHyperparameters
from jaxrep.methods import AutoencoderHyperparameters, SimCLRHyperparameters
from jaxrep.training.loop import wait

_TURNS = 1024
_BATCHES = 16


def layers(hp: TrainingHyperparameters, input_dim: int) -> list[tuple[int, int]]:
    """Returns the sizes (in, out) of a method's products with a kernel, in their order.

    The VAE's heads are one product here, which is never slower alone.
    """
    encoder = [*zip((input_dim, *hp.hidden_dims), (*hp.hidden_dims, hp.latent_dim), strict=True)]
    if isinstance(hp, SimCLRHyperparameters):
        return [*encoder, (hp.latent_dim, hp.latent_dim), (hp.latent_dim, hp.proj_dim)]
    if not isinstance(hp, AutoencoderHyperparameters):
        encoder[-1] = (encoder[-1][0], 2 * hp.latent_dim)
    backwards = (hp.latent_dim, *reversed(hp.hidden_dims), input_dim)
    return [*encoder, *pairwise(backwards)]


def flop(sizes: Sequence[tuple[int, int]], batch: int) -> int:
    """Counts a step's: 2·B·in·out a product, three products a layer but the first, which has two.

    That is 6·B·parameters without the gradient of the rows, which nobody computes.
    """
    first, *others = (2 * batch * fan_in * out for fan_in, out in sizes)
    return 2 * first + 3 * sum(others)


class Matmuls:
    """The products of a method's step, compiled.

    Args:
        hp: hyperparameters of the method.
        input_dim: D.
    """

    def __init__(self, hp: TrainingHyperparameters, input_dim: int):
        is_simclr = isinstance(hp, SimCLRHyperparameters)
        rows = hp.batch_size * (2 if is_simclr else 1)
        rng = np.random.default_rng(0)
        sizes = layers(hp, input_dim)
        self._kernels = [rng.standard_normal(s, np.float32) * s[0] ** -0.5 for s in sizes]
        self._x = jnp.asarray(rng.standard_normal((_BATCHES, rows, input_dim), np.float32))
        self._run = jax.jit(_loop, static_argnames=("turns", "pairs"))
        self._pairs = is_simclr
        self.seconds()

    def seconds(self) -> float:
        """Runs the loop once, and returns the seconds a step."""
        started = time.perf_counter()
        wait(self._run(self._kernels, self._x, turns=_TURNS, pairs=self._pairs))
        return (time.perf_counter() - started) / _TURNS


def _loop(kernels: list[Array], x: Array, *, turns: int, pairs: bool) -> list[Array]:
    def turn(i: Array, sums: list[Array]) -> list[Array]:
        return [s + g for s, g in zip(sums, _step(kernels, x[i % len(x)], pairs), strict=True)]

    made: list[Array] = jax.lax.fori_loop(0, turns, turn, [jnp.zeros_like(k) for k in kernels])
    return made


def _step(kernels: list[Array], x: Array, pairs: bool) -> list[Array]:
    """Returns the kernels' gradients of a network without activations or loss."""
    inputs = []
    for kernel in kernels:
        x = x[:, : len(kernel)]  # of the VAE's heads, only μ is used further
        inputs.append(x)
        x = x @ kernel
    gradient = x @ x.T @ x if pairs else x  # NT-Xent: the similarities, and the pull on z
    gradients = []
    for i in reversed(range(len(kernels))):
        missing = kernels[i].shape[1] - gradient.shape[1]
        if missing:
            gradient = jnp.concatenate([gradient, gradient], axis=1)
        gradients.append(inputs[i].T @ gradient)
        if i:
            gradient = gradient @ kernels[i].T
    return gradients[::-1]
