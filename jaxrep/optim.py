"""Adam and AdamW as optax transformations, exact in float32; step sizes in time and by part.

optax computes 1 − βᵗ in float32, which is off by 1.3e-5 at the first step for β₂ = 0.999 and lets a
training run drift from its float64 counterpart by percents within 100 steps. Here it is
−expm1(t·log β), accurate to the last bit or two.
"""

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

Rate = float | jax.Array | Callable[[jax.Array], jax.Array]


def schedule(
    name: str,
    learning_rate: float | jax.Array,
    *,
    steps: int | jax.Array | None,
    warmup_fraction: float | jax.Array | None = None,
) -> Rate:
    """Returns the step size as a function of the steps taken, t = 0, …, T − 1.

    `constant` is η at every step. `cosine` is η · ½(1 + cos(πt/T)). `warmup_cosine` rises over the
    first W = ⌊fT⌋ steps, η · (t + 1)/(W + 1), and then falls as η · ½(1 + cos(π(t − W)/(T − W))).

    Args:
        name: which of the three.
        learning_rate: η, the largest step size; may be traced.
        steps: T, all steps of the run; may be traced. `constant` needs none.
        warmup_fraction: f, in [0, 1), of `warmup_cosine` alone; may be traced.

    Returns:
        η itself if it is constant, and else a function for optax of the number of steps taken.

    Raises:
        ValueError: `steps` is missing.

    References:
        Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, 2017, equation
        5, without restarts.

    Example:
        >>> rate = schedule("warmup_cosine", 1.0, steps=4, warmup_fraction=0.25)
        >>> [round(float(rate(jnp.int32(t))), 3) for t in range(4)]
        [0.5, 1.0, 0.75, 0.25]
    """
    if name == "constant":
        return learning_rate
    if steps is None:
        raise ValueError(f"the schedule {name} needs the number of all steps; give `steps`")
    all_steps: int | jax.Array = steps
    share: float | jax.Array = 0.0
    if name == "warmup_cosine" and warmup_fraction is not None:
        share = warmup_fraction

    def rate(count: jax.Array) -> jax.Array:
        dtype = jnp.result_type(float)
        t, total = count.astype(dtype), jnp.asarray(all_steps, dtype)
        warm = jnp.floor(total * share)
        falling = 0.5 * (1 + jnp.cos(jnp.pi * (t - warm) / (total - warm)))
        return learning_rate * jnp.where(t < warm, (t + 1) / (warm + 1), falling)

    return rate


def scale_by_adam(
    b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
    """Rescales gradients as Adam does: m̂ / (√v̂ + ε).

    m̂ = m/(1 − β₁ᵗ) and v̂ = v/(1 − β₂ᵗ) with the running means m of g and v of g², t counted from 1.

    Args:
        b1: decay rate β₁ of the mean of the gradients.
        b2: decay rate β₂ of the mean of their squares.
        eps: ε, outside the square root.

    Returns:
        A gradient transformation whose state is an `optax.ScaleByAdamState`.

    References:
        Kingma and Ba, Adam: A Method for Stochastic Optimization, 2015, algorithm 1.

    Example:
        >>> adam = scale_by_adam()
        >>> updates, _ = adam.update(jnp.ones(1), adam.init(jnp.zeros(1)))
        >>> print(updates)
        [1.]
    """

    def init(params: optax.Params) -> optax.ScaleByAdamState:
        zeros = jax.tree.map(_zeros_like, params)
        return optax.ScaleByAdamState(count=np.zeros((), np.int32), mu=zeros, nu=zeros)

    def update(
        gradients: optax.Updates, state: optax.ScaleByAdamState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.ScaleByAdamState]:
        del params
        count = state.count + 1
        mu = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mu, gradients)
        nu = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g**2, state.nu, gradients)

        @functools.cache  # traced once, not for every parameter
        def corrections(dtype: np.dtype[Any]) -> tuple[jax.Array, jax.Array]:
            t = count.astype(dtype)
            return -jnp.expm1(t * math.log(b1)), -jnp.expm1(t * math.log(b2))

        def rescale(m: jax.Array, v: jax.Array) -> jax.Array:
            of_m, of_v = corrections(m.dtype)
            return (m / of_m) / (jnp.sqrt(v / of_v) + eps)

        state = optax.ScaleByAdamState(count=count, mu=mu, nu=nu)
        return jax.tree.map(rescale, mu, nu), state

    return optax.GradientTransformation(init, update)


def adam(
    *, learning_rate: Rate, weight_decay: float | jax.Array, b2: float = 0.999
) -> optax.GradientTransformation:
    """Adam with coupled L2: the gradient becomes g + λp before the moments are taken.

    This is `torch.optim.Adam(weight_decay=λ)`, and not `optax.adamw`.

    Args:
        learning_rate: step size, may be traced; or what `schedule` returns.
        weight_decay: λ; may be traced.
        b2: decay rate β₂ of Adam's mean of squares.

    Returns:
        A gradient transformation; its updates are to be added to the parameters.

    Example:
        >>> optimizer = adam(learning_rate=0.1, weight_decay=0.0)
        >>> updates, _ = optimizer.update(jnp.ones(1), optimizer.init(jnp.zeros(1)), jnp.zeros(1))
        >>> print(updates)
        [-0.1]
    """
    return optax.chain(
        optax.add_decayed_weights(weight_decay),
        scale_by_adam(b2=b2),
        optax.scale_by_learning_rate(learning_rate),
    )


def adamw(
    *, learning_rate: Rate, weight_decay: float | jax.Array, b2: float = 0.999
) -> optax.GradientTransformation:
    """Adam with decoupled weight decay: p shrinks by learning rate · λ · p beside Adam's step.

    This is `torch.optim.AdamW(weight_decay=λ)` and `optax.adamw(weight_decay=λ)`.

    Args:
        learning_rate: step size, may be traced; or what `schedule` returns.
        weight_decay: λ; may be traced.
        b2: decay rate β₂ of Adam's mean of squares.

    Returns:
        A gradient transformation; its updates are to be added to the parameters.

    References:
        Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019, algorithm 2.

    Example:
        >>> optimizer = adamw(learning_rate=0.1, weight_decay=0.5)
        >>> ones = jnp.ones(1)
        >>> updates, _ = optimizer.update(ones, optimizer.init(ones), ones)
        >>> print(f"{updates[0]:.4f}")
        -0.1500
    """
    return optax.chain(
        scale_by_adam(b2=b2),
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_learning_rate(learning_rate),
    )


def _zeros_like(array: jax.Array) -> np.ndarray:
    """Returns zeros that take no memory and no program to make."""
    return np.broadcast_to(np.zeros((), array.dtype), array.shape)


def by_part(
    make: Callable[[Rate], optax.GradientTransformation], rates: Mapping[str, Rate]
) -> optax.GradientTransformation:
    """Trains the parameters of each part of a network at a learning rate of its own.

    A parameter is in the part whose name its own begins with, whole words between dots: the part
    `backbone` has `backbone.0.kernel`. Of several parts that fit, it is in the one of the longest
    name; all are in the part `""`.

    Args:
        make: from a learning rate to its transformation.
        rates: the learning rate of each part, or what `schedule` returns; may be traced.

    Returns:
        A transformation of a flat dictionary of parameters by name.

    Raises:
        ValueError: names a parameter that is in no part, as the state is made.

    Example:
        >>> gradients = {"backbone.0.bias": jnp.ones(1), "head.bias": jnp.ones(1)}
        >>> optimizer = by_part(optax.sgd, {"backbone": 0.25, "head": 1.0})
        >>> updates, _ = optimizer.update(gradients, optimizer.init(gradients))
        >>> print(updates["backbone.0.bias"], updates["head.bias"])
        [-0.25] [-1.]
    """

    def parts(params: Mapping[str, jax.Array]) -> dict[str, str]:
        return {name: _part_of(name, rates) for name in params}

    made: optax.GradientTransformation = optax.partition(
        {part: make(rate) for part, rate in rates.items()}, parts
    )
    return made


def _part_of(name: str, parts: Iterable[str]) -> str:
    fitting = [part for part in parts if part == "" or f"{name}.".startswith(f"{part}.")]
    if not fitting:
        raise ValueError(f"the parameter {name} is in none of the parts {list(parts)}")
    return max(fitting, key=len)
