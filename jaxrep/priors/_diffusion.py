"""A diffusion model of latents, fitted to the posteriors of the training rows."""

import functools
import math
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxrep.networks import FittedStatistic
from jaxrep.networks._initial import InitialDraws, filled
from jaxrep.priors._mixture import sample_posteriors
from jaxrep.priors._prior import Prior

WIDTH, LAYERS = 512, 3
"""Of the hidden layers."""

STEPS = 25
"""Of the solver, two evaluations of the network each."""

_LEAST, _MOST, _CURVE = 0.002, 80.0, 7.0  # levels σ = tan θ, and how they are spaced
_FREQUENCIES = 32
_LOG_MEAN, _LOG_SPREAD = -1.2, 1.2  # of log σ in training
_BATCH, _PASSES, _FEWEST, _MOST_STEPS, _CHUNK = 512, 300, 4_000, 20_000, 500
_RATE = 1e-3
_JUDGED = 1 << 15  # latents by which mean and spread are set

Layers = list[tuple[Array, Array]]


class DiffusionPrior(Prior):
    """Latents that a learned velocity carries there from noise.

    Standardised latents z and noise ε are mixed by an angle, y = cos θ · z + sin θ · ε, from z at
    0 to ε at π/2. A network V(y, θ) of three hidden layers learns dy/dθ, which is cos θ · ε −
    sin θ · z, in the mean over all z and ε that y may come of. Latents are the end at θ = 0 of
    dy/dθ = V(y, θ) from y = ε, in 25 steps of Heun's method. Before it is fitted, V is 0, and
    latents are the draws.

    Args:
        latent_dim: Z, number of latents.

    References:
        Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022:
        the noise levels σ = tan θ of training and solver, and the loss, of which this is another
        form; Lu and Song, Simplifying, Stabilizing and Scaling Continuous-Time Consistency Models,
        2025, for the form; Zhang et al., Mixed-Type Tabular Data Synthesis with Score-Based
        Diffusion in Latent Space, 2024, for latents of tables.

    Example:
        >>> print(DiffusionPrior(2)(jnp.array([[1.0, -2.0]])))
        [[ 1. -2.]]
    """

    def __init__(self, latent_dim: int):
        self.draws = latent_dim
        self.mean = FittedStatistic(filled(0, latent_dim))
        self.scale = FittedStatistic(filled(1, latent_dim))
        for i, (inputs, outputs) in enumerate(_shapes(latent_dim)):
            setattr(self, f"kernel{i}", FittedStatistic(filled(0, inputs, outputs)))
            setattr(self, f"bias{i}", FittedStatistic(filled(0, outputs)))

    def __call__(self, draws: Array) -> Array:
        """Maps draws from N(0, 1), `[B, Z]`, to latents `[B, Z]`."""
        layers = [
            tuple(
                getattr(self, f"{part}{i}")[...].astype(draws.dtype) for part in ("kernel", "bias")
            )
            for i in range(LAYERS + 1)
        ]
        y = _solve(layers, draws)
        found: Array = self.mean[...][None, :] + self.scale[...][None, :] * y
        return found

    def fit(self, mu: np.ndarray, log_var: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the network that Adam finds, in batches of 512 samples of posteriors.

        It takes 300 passes over the rows, but no fewer than 4,000 steps and no more than 20,000,
        the step size falling from 0.001 along half a cosine. What comes of draws is then shifted
        and stretched to the mean and the spread of the samples, which it falls short of by some
        hundredths.

        Args:
            mu: means of the posteriors of training rows, `[rows, Z]`.
            log_var: their log σ², `[rows, Z]`.
        """
        z = sample_posteriors(mu, log_var, len(mu))
        mean, scale = z.mean(axis=0), np.maximum(z.std(axis=0), 1e-6)
        posteriors = (
            jnp.asarray((mu - mean) / scale, jnp.float32),
            jnp.asarray(np.exp(0.5 * log_var) / scale, jnp.float32),
        )
        steps = min(max(_PASSES * len(mu) // _BATCH, _FEWEST), _MOST_STEPS)
        steps = -(-steps // _CHUNK) * _CHUNK
        layers = _initial(mu.shape[1])
        state = _State(layers, _optimizer(steps).init(layers), jnp.int32(0))
        for _ in range(steps // _CHUNK):
            state = _train(state, posteriors, steps=steps)
        draws = np.random.default_rng(1).normal(size=(_JUDGED, mu.shape[1])).astype(np.float32)
        made = np.asarray(_solve(state.layers, jnp.asarray(draws)), np.float64)
        scale = scale / np.maximum(made.std(axis=0), 1e-6)
        mean = mean - scale * made.mean(axis=0)
        found = {"mean": mean.astype(np.float32), "scale": scale.astype(np.float32)}
        for i, (kernel, bias) in enumerate(state.layers):
            found |= {f"kernel{i}": np.asarray(kernel), f"bias{i}": np.asarray(bias)}
        return found


def angles() -> list[float]:
    """Returns the θ that the solver passes, from arctan 80 to arctan 0.002.

    Example:
        >>> [round(angle, 3) for angle in angles()[::25]]
        [1.558, 0.002]
    """
    most, least = _MOST ** (1 / _CURVE), _LEAST ** (1 / _CURVE)
    places = (i / STEPS for i in range(STEPS + 1))
    return [math.atan((most + place * (least - most)) ** _CURVE) for place in places]


def velocity(layers: Layers, y: Array, angle: Array) -> Array:
    """Returns V(y, θ), `[B, Z]`.

    Args:
        layers: kernels and biases of the network, which is told log tan θ as sines and cosines.
        y: mixtures of latents and noise, `[B, Z]`.
        angle: θ, of all rows or `[B, 1]`.
    """
    places = jnp.linspace(0, math.log(100), _FREQUENCIES, dtype=y.dtype)
    told = jnp.log(jnp.tan(angle)) / 4 * jnp.exp(places)[None, :]
    told = jnp.broadcast_to(told, (len(y), _FREQUENCIES))
    h = jnp.concatenate([y, jnp.sin(told), jnp.cos(told)], axis=1)
    for i, (kernel, bias) in enumerate(layers):
        h = h @ kernel + bias[None, :]
        h = jax.nn.silu(h) if i < LAYERS else h
    return h


@jax.jit
def _solve(layers: Layers, draws: Array) -> Array:
    """Carries draws `[B, Z]` along V from π/2 to 0, by Heun's method."""
    found = jnp.asarray(angles(), draws.dtype)

    def step(y: Array, between: tuple[Array, Array]) -> tuple[Array, None]:
        now, then = between
        first = velocity(layers, y, now)
        there = velocity(layers, y + (then - now) * first, then)
        return y + (then - now) * 0.5 * (first + there), None

    return jax.lax.scan(step, draws, (found[:-1], found[1:]))[0]


def velocity_loss(layers: Layers, z: Array, angle: Array, noise: Array) -> Array:
    """Returns what training minimises: the mean of (V(y, θ) − (cos θ · ε − sin θ · z))².

    Args:
        layers: kernels and biases of the network.
        z: standardised latents, `[B, Z]`.
        angle: θ, `[B, 1]`.
        noise: ε, draws from N(0, 1), `[B, Z]`.
    """
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    found = velocity(layers, cos * z + sin * noise, angle)
    return jnp.mean((found - (cos * noise - sin * z)) ** 2)


class _State(NamedTuple):
    layers: Layers
    optimizer: Any
    step: Array


def _shapes(latent_dim: int) -> list[tuple[int, int]]:
    dims = (latent_dim + 2 * _FREQUENCIES, *[WIDTH] * LAYERS, latent_dim)
    return list(pairwise(dims))


def _initial(latent_dim: int) -> Layers:
    """Returns He et al.'s initial weights; the last layer's are small."""
    draws, layers = InitialDraws(0), []
    for i, (inputs, outputs) in enumerate(_shapes(latent_dim)):
        size = math.sqrt(6 / inputs) * (1 if i < LAYERS else 0.01)
        layers.append((jnp.asarray(size * draws.draw(inputs, outputs)), jnp.zeros(outputs)))
    return layers


def _optimizer(steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(_RATE, steps))


@functools.partial(jax.jit, static_argnames="steps", donate_argnums=0)
def _train(state: _State, posteriors: tuple[Array, Array], *, steps: int) -> _State:
    mu, sigma = posteriors

    def loss(layers: Layers, key: Array) -> Array:
        of_row, of_z, of_level, of_noise = jax.random.split(key, 4)
        row = jax.random.randint(of_row, (_BATCH,), 0, len(mu))
        z = mu[row] + sigma[row] * jax.random.normal(of_z, (_BATCH, mu.shape[1]))
        level = jnp.exp(_LOG_MEAN + _LOG_SPREAD * jax.random.normal(of_level, (_BATCH, 1)))
        return velocity_loss(layers, z, jnp.arctan(level), jax.random.normal(of_noise, z.shape))

    def step(state: _State, _: None) -> tuple[_State, None]:
        gradients = jax.grad(loss)(state.layers, jax.random.fold_in(jax.random.key(0), state.step))
        updates, optimizer = _optimizer(steps).update(gradients, state.optimizer)
        layers = optax.apply_updates(state.layers, updates)
        return _State(layers, optimizer, state.step + 1), None

    return jax.lax.scan(step, state, length=_CHUNK)[0]
