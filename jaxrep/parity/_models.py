"""The rungs of models and methods: weights, forward passes, losses, embeddings and scores."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrep.hyperparameters import BY_METHOD
from jaxrep.methods import METHODS, Method, abstract_model
from jaxrep.models import get_weights, with_weights
from jaxrep.parity._cross_check import Case
from jaxrep.parity._evaluate import Inputs
from jaxrep.parity._report import Check

Architecture = tuple[int, tuple[int, ...], int]

# Features, hidden widths, latents. One has only square kernels: a transposed one fits.
SQUARE: Architecture = (8, (8, 8), 8)
ARCHITECTURES: tuple[Architecture, ...] = (
    (32, (64,), 8),
    SQUARE,
    (5, (), 3),
    (3, (17, 9, 4), 2),
    (1, (4,), 1),
)
ALL_VIEWS: dict[str, Any] = {
    "views": ("scarf", "swap", "noise", "dropout"),
    **{"corruption_rate": 0.6, "swap_rate": 0.3, "noise_std": 0.3, "drop_rate": 0.2},
}
VARIANTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("autoencoder", ALL_VIEWS),
    ("vae", {"beta": 4.0}),
    ("simclr", {"temperature": 0.1}),
    ("autoencoder", {}),
    ("autoencoder", {"noise_std": 0.3, "drop_rate": 0.2}),
    ("simclr", {"views": ("scarf",)}),
    ("simclr", {"views": ("dropout", "swap")}),
    ("vae", {"beta": 1.0}),
    ("vae", {"beta": 0.0}),
    ("simclr", {"temperature": 0.5}),
    ("simclr", {"temperature": 0.01}),
)
ROWS = 17


def weight_checks(quick: bool) -> Iterator[Check]:
    """Yields whether weights survive the way numpy → NNX → torch → numpy, and back, bit by bit."""
    import torch

    import torch_ref.weights

    for name in METHODS:
        for architecture in ARCHITECTURES[: 2 if quick else None]:
            ours, theirs = twins(name, architecture)
            drawn = draw_weights(ours, architecture[0])
            for dtype in ("float64", "float32"):
                start = {key: array.astype(dtype) for key, array in drawn.items()}
                with jax.enable_x64(dtype == "float64"):
                    arrays = {key: jnp.asarray(array) for key, array in start.items()}
                    model = with_weights(abstract_model(ours, architecture[0]), arrays)
                    through_jax = {k: np.asarray(v) for k, v in get_weights(model).items()}
                twin = theirs.init_model(architecture[0], torch.Generator())
                twin.to(getattr(torch, dtype))
                own = {k: v.shape for k, v in torch_ref.weights.get_weights(twin).items()}
                torch_ref.weights.with_weights(twin, through_jax)
                end = torch_ref.weights.get_weights(twin)
                problem = _first_difference(start, own, end)
                check, case = f"weights of {name}: there and back", _described(architecture)
                yield Check(check, case, dtype, not problem, message=problem)


def forward_cases(quick: bool) -> Iterator[Case]:
    """Yields every model's forward pass, differentiated by inputs and weights."""
    for name in METHODS:
        for architecture in (SQUARE,) if quick else ARCHITECTURES:
            ours, theirs = twins(name, architecture)
            rng = np.random.default_rng(1)
            inputs: Inputs = {
                "weights": draw_weights(ours, architecture[0]),
                "x": rng.normal(size=(ROWS, architecture[0])),
            }
            if name == "vae":
                inputs["eps"] = rng.normal(size=(ROWS, architecture[2]))
            yield Case(
                check=f"forward pass of {name}",
                case=_described(architecture),
                jax_function=functools.partial(_forward_in_jax, ours),
                torch_function=functools.partial(_forward_in_torch, theirs),
                inputs=inputs,
                wanted=("weights", "x"),
            )


def method_cases(quick: bool) -> Iterator[Case]:
    """Yields every method's loss with its gradients, and what a trained model is used for."""
    architecture, row_weights = ARCHITECTURES[0], (np.arange(ROWS) % 4 != 1).astype(np.float64)
    drawn = [
        np.random.default_rng([2, seed]).normal(size=(ROWS, architecture[0]))
        for seed in range(1 if quick else 4)
    ]
    for name, settings in VARIANTS[: 3 if quick else None]:
        ours, theirs = twins(name, architecture, **settings)
        weights = draw_weights(ours, architecture[0])
        told = ", ".join(f"{key}={_as_text(value)}" for key, value in settings.items())
        yield from _on_each(drawn, loss_case(ours, theirs, weights, drawn[0], row_weights, told))
    for name in METHODS:
        ours, theirs = twins(name, architecture)
        weights = draw_weights(ours, architecture[0])
        yield from _on_each(drawn, use_case(ours, theirs, weights, drawn[0], ""))


def _on_each(drawn: list[np.ndarray], case: Case) -> Iterator[Case]:
    """Yields a case with each of the drawn rows; they share a program."""
    for seed, x in enumerate(drawn):
        told = ", ".join(filter(None, [case.case, f"seed {seed}"]))
        yield dataclasses.replace(case, case=told, inputs=case.inputs | {"x": x})


def loss_case(
    ours: Method[Any, Any],
    theirs: Any,
    weights: dict[str, np.ndarray],
    x: np.ndarray,
    row_weights: np.ndarray,
    case: str,
) -> Case:
    """Returns the comparison of a method's loss and metrics, on drawn noise."""
    return Case(
        check=f"loss of {ours.name}",
        case=case,
        jax_function=functools.partial(_loss_in_jax, ours),
        torch_function=functools.partial(_loss_in_torch, theirs),
        inputs={
            "weights": weights,
            "x": x,
            "noise": _draw_noise(ours, x),
            "row_weights": row_weights,
        },
        wanted=("weights", "x"),
    )


def use_case(
    ours: Method[Any, Any],
    theirs: Any,
    weights: dict[str, np.ndarray],
    x: np.ndarray,
    case: str,
) -> Case:
    """Returns the comparison of what a trained model gives: embedding, reconstruction, score."""
    return Case(
        check=f"use of {ours.name}",
        case=case,
        jax_function=functools.partial(_use_in_jax, ours),
        torch_function=functools.partial(use_in_torch, theirs),
        inputs={"weights": weights, "x": x},
    )


def twins(name: str, architecture: Architecture, **settings: Any) -> tuple[Method[Any, Any], Any]:
    """Returns a method of both packages with the same hyperparameters."""
    import torch_ref.hyperparameters
    import torch_ref.methods

    shape: dict[str, Any] = {"hidden_dims": architecture[1], "latent_dim": architecture[2]}
    ours = METHODS[name](BY_METHOD[name](**shape, **settings))
    theirs = torch_ref.hyperparameters.BY_METHOD[name](**shape, **settings)
    return ours, torch_ref.methods.METHODS[name](theirs)


def draw_weights(method: Method[Any, Any], input_dim: int) -> dict[str, np.ndarray]:
    """Returns weights for all of a method's model, fitted statistics too, at a trained size."""
    rng = np.random.default_rng(0)
    shapes = {k: v.shape for k, v in get_weights(abstract_model(method, input_dim)).items()}
    return {key: rng.normal(size=shape) * shape[0] ** -0.5 for key, shape in shapes.items()}


def _draw_noise(method: Method[Any, Any], x: np.ndarray) -> dict[str, np.ndarray]:
    """Draws what a method's own `draw_noise` would, without compiling it."""
    draw = functools.partial(jax.eval_shape, method.draw_noise, jax.random.key(0))
    rng = np.random.default_rng(4)
    noise = {}
    for name, like in draw(*2 * [x.astype(np.float32)]).items():
        draws = rng.normal(size=like.shape)
        noise[name] = draws > -1 if like.dtype == bool else draws
    return noise


def _first_difference(
    start: dict[str, np.ndarray], own: dict[str, tuple[int, ...]], end: dict[str, np.ndarray]
) -> str:
    shapes = {key: array.shape for key, array in start.items()}
    if shapes != own:
        return f"jax has the weights {shapes}, torch {own}"
    for key, array in start.items():
        if array.dtype != end[key].dtype or array.tobytes() != end[key].tobytes():
            return f"{key} comes back changed"
    return ""


def _as_text(value: float | tuple[str, ...]) -> str:
    return "+".join(value) if isinstance(value, tuple) else f"{value:g}"


def _described(architecture: Architecture) -> str:
    return "-".join(map(str, (architecture[0], *architecture[1], architecture[2])))


def _forward_in_jax(
    method: Method[Any, Any], *, weights: Any, x: jax.Array, eps: jax.Array | None = None
) -> Any:
    model: Any = with_weights(abstract_model(method, x.shape[1]), weights)
    return model(x) if eps is None else model(x, eps)


def _forward_in_torch(method: Any, *, weights: Any, x: Any, eps: Any = None) -> Any:
    arguments = (x,) if eps is None else (x, eps)
    return _in_torch(method, lambda model, *rows: model(*rows), weights, *arguments)


def _loss_in_jax(
    method: Method[Any, Any], *, weights: Any, x: jax.Array, noise: Any, row_weights: jax.Array
) -> Any:
    model = with_weights(abstract_model(method, x.shape[1]), weights)
    loss, metrics = method.loss(model, x, noise, row_weights)
    return {"loss": loss, **jax.lax.stop_gradient(metrics)}


def _loss_in_torch(method: Any, *, weights: Any, x: Any, noise: Any, row_weights: Any) -> Any:
    loss, metrics = _in_torch(method, method.loss, weights, x, noise, row_weights)
    return {"loss": loss, **{key: metric.detach() for key, metric in metrics.items()}}


def _use_in_jax(method: Method[Any, Any], *, weights: Any, x: jax.Array) -> Any:
    model: nnx.Module = with_weights(abstract_model(method, x.shape[1]), weights)
    return {use: getattr(method, use)(model, x) for use in _USES if hasattr(method, use)}


def use_in_torch(method: Any, *, weights: Any, x: Any) -> Any:
    """Embeds, reconstructs and scores rows by a torch method with the given weights."""
    return {
        use: _in_torch(method, getattr(method, use), weights, x)
        for use in _USES
        if hasattr(method, use)
    }


_USES = ("embed", "reconstruct", "score")


def _in_torch(method: Any, function: Any, weights: Any, x: Any, *arguments: Any) -> Any:
    """Calls a function of a method's torch model with the given weights."""
    import torch

    import torch_ref.weights

    model = method.init_model(x.shape[1], torch.Generator())
    return torch_ref.weights.apply(model, function, weights, x, *arguments)
