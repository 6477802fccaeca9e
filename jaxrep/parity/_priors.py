"""The suite of priors: what new rows are drawn from, but for the default, and how it is learned."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxrep.hyperparameters import OneOf, declaration
from jaxrep.methods import hyperparameters_of, names
from jaxrep.parity._cross_check import Case
from jaxrep.parity._mixed import MIXED
from jaxrep.parity._models import SMALL, draw_inputs, draw_weights, output_case, twins
from jaxrep.priors import velocity_loss

_LATENTS, _WIDTH, _ROWS = 3, 512, 17


def prior_cases(quick: bool) -> Iterator[Case]:
    """Yields the outputs of networks with other priors, and the loss of the diffusion's."""
    for name in names():
        for prior in _others(name):
            ours, theirs = twins(name, SMALL, prior=prior, draw_missing=True)
            x, z = draw_inputs(MIXED, SMALL[1])
            case = output_case(
                ours, theirs, MIXED, draw_weights(ours, MIXED), x, z, f"mixed, {prior}"
            )
            yield dataclasses.replace(case, wanted=("weights", "x", "z"))
    for seed in range(1 if quick else 4):
        yield Case(
            check="loss of the diffusion of latents",
            case=f"seed {seed}",
            jax_function=_loss_in_jax,
            torch_function=_loss_in_torch,
            inputs=_drawn(seed),
        )


def _others(name: str) -> list[str]:
    """Returns the priors that a method offers, but its default."""
    for field in dataclasses.fields(hyperparameters_of(name)):
        if field.name == "prior":
            offered = declaration(field).range
            assert isinstance(offered, OneOf)
            return [prior for prior in offered.options if prior != field.default]
    return []


def _drawn(seed: int) -> dict[str | int, Any]:
    """Returns weights by their names in the prior, latents, angles and noise."""
    rng = np.random.default_rng([31, seed])
    dims = (_LATENTS + 64, *[_WIDTH] * 3, _LATENTS)
    weights = {}
    for i in range(len(dims) - 1):
        bound = dims[i] ** -0.5
        weights[f"kernel{i}"] = rng.uniform(-bound, bound, (dims[i], dims[i + 1]))
        weights[f"bias{i}"] = rng.uniform(-bound, bound, dims[i + 1])
    return {
        "weights": weights,
        "z": rng.normal(size=(_ROWS, _LATENTS)),
        "angle": rng.uniform(0.01, 1.5, (_ROWS, 1)),
        "noise": rng.normal(size=(_ROWS, _LATENTS)),
    }


def _loss_in_jax(*, weights: Any, z: Any, angle: Any, noise: Any) -> Any:
    layers = [(weights[f"kernel{i}"], weights[f"bias{i}"]) for i in range(len(weights) // 2)]
    return velocity_loss(layers, z, angle, noise)


def _loss_in_torch(*, weights: Any, z: Any, angle: Any, noise: Any) -> Any:
    import torch_ref.priors
    import torch_ref.weights

    prior = torch_ref.priors.DiffusionPrior(_LATENTS)
    return torch_ref.weights.apply(
        prior, torch_ref.priors.DiffusionPrior.loss, weights, z, angle, noise
    )
