"""The suites of networks and methods: weights, outputs, losses."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrep.batch import Batch, RowSpec
from jaxrep.errors import InputError
from jaxrep.hyperparameters import (
    Names,
    TrainingHyperparameters,
    ViewHyperparameters,
    declaration,
)
from jaxrep.inference import apply_output
from jaxrep.methods import (
    AnyMethod,
    Backbone,
    abstract_network,
    get,
    hyperparameters_of,
    join_members,
    make,
    members_of,
    names,
    training_network,
    without_labels,
)
from jaxrep.networks import get_model_state, get_weights, with_weights
from jaxrep.outputs import OUTPUTS
from jaxrep.parity._check import Check
from jaxrep.parity._cross_check import Case
from jaxrep.views import Draws, resolve

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
ROWS = 17


def weight_checks(quick: bool) -> Iterator[Check]:
    """Yields whether weights survive the way numpy → NNX → torch → numpy, and back, bit by bit."""
    import torch

    import torch_ref.weights

    for name in names():
        for architecture, members in _sizes(ARCHITECTURES[: 2 if quick else None]):
            ours, theirs = twins(name, architecture, members=members)
            rows = RowSpec(architecture[0])
            drawn = draw_weights(ours, rows)
            for dtype in ("float64", "float32"):
                start = {key: array.astype(dtype) for key, array in drawn.items()}
                with jax.enable_x64(dtype == "float64"):
                    arrays = {key: jnp.asarray(array) for key, array in start.items()}
                    network = with_weights(abstract_network(ours, rows), arrays)
                    through_jax = {k: np.asarray(v) for k, v in get_weights(network).items()}
                twin = _torch_network(theirs, rows.numbers)
                twin.to(getattr(torch, dtype))
                own = {k: v.shape for k, v in torch_ref.weights.get_weights(twin).items()}
                torch_ref.weights.with_weights(twin, through_jax)
                end = torch_ref.weights.get_weights(twin)
                problem = _first_difference(start, own, end)
                case = _described(architecture, members)
                yield Check(
                    f"weights of {name}: there and back", case, dtype, not problem, message=problem
                )


def output_cases(quick: bool) -> Iterator[Case]:
    """Yields everything that every network can be asked for, differentiated by rows and weights."""
    for name in names():
        for architecture, members in _sizes((SQUARE,) if quick else ARCHITECTURES):
            ours, theirs = twins(name, architecture, members=members)
            rng = np.random.default_rng(1)
            weights = draw_weights(ours, RowSpec(architecture[0]))
            x = rng.normal(size=(ROWS, architecture[0]))
            z = rng.normal(size=(ROWS, architecture[2]))
            case = output_case(ours, theirs, weights, x, z, _described(architecture, members))
            yield dataclasses.replace(case, wanted=("weights", "x", "z"))


def method_cases(quick: bool) -> Iterator[Case]:
    """Yields every method's loss with its gradients, and what a trained model is used for."""
    architecture, row_weights = ARCHITECTURES[0], (np.arange(ROWS) % 4 != 1).astype(np.float64)
    drawn = [
        np.random.default_rng([2, seed]).normal(size=(ROWS, architecture[0]))
        for seed in range(1 if quick else 4)
    ]
    for name in names():
        for settings in get(name).parity_cases[: 1 if quick else None]:
            ours, theirs = twins(name, architecture, **settings)
            weights = draw_weights(ours, RowSpec(architecture[0]))
            told = ", ".join(f"{key}={_as_text(value)}" for key, value in settings.items())
            yield from _on_each(
                drawn, loss_case(ours, theirs, weights, drawn[0], row_weights, told)
            )


def _on_each(drawn: list[np.ndarray], case: Case) -> Iterator[Case]:
    """Yields a case with each of the drawn rows; they share a program."""
    for seed, x in enumerate(drawn):
        told = ", ".join(filter(None, [case.case, f"seed {seed}"]))
        yield dataclasses.replace(case, case=told, inputs=case.inputs | {"x": x})


def loss_case(
    ours: AnyMethod,
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
            "targets": draw_targets(ours, len(x)),
        },
        wanted=("weights", "x"),
    )


def output_case(
    ours: AnyMethod,
    theirs: Any,
    weights: dict[str, np.ndarray],
    x: np.ndarray,
    z: np.ndarray,
    case: str,
) -> Case:
    """Returns the comparison of all that a network declares, for rows x and embeddings z."""
    return Case(
        check=f"outputs of {ours.name}",
        case=case,
        jax_function=functools.partial(_outputs_in_jax, ours),
        torch_function=functools.partial(outputs_in_torch, theirs),
        inputs={"weights": weights, "x": x, "z": z},
    )


def twins(name: str, architecture: Architecture, **settings: Any) -> tuple[AnyMethod, Any]:
    """Returns a method of both packages with the same hyperparameters."""
    ours = make(of_shape(name, *architecture[1:], **settings))
    return ours, twin_of(ours)


def of_shape(
    name: str, hidden_dims: tuple[int, ...], latent_dim: int, **settings: Any
) -> TrainingHyperparameters:
    """Returns hyperparameters of a method whose network, or the one below its head, has a shape.

    Args:
        name: of the method.
        hidden_dims: widths of the hidden layers.
        latent_dim: size of an embedding.
        **settings: other hyperparameters; a fine-tuned method stands on the first that there is,
            unless `backbone` is among them.
    """
    made = hyperparameters_of(name)
    shape: dict[str, Any] = {"hidden_dims": hidden_dims, "latent_dim": latent_dim}
    if any(field.name == "backbone" for field in dataclasses.fields(made)):
        below = hyperparameters_of(without_labels()[0])(**shape)
        shape = {"backbone": Backbone.of(below)}
    return made(**shape | settings)


def twin_of(method: AnyMethod) -> Any:
    """Returns a method's PyTorch twin with the same hyperparameters.

    Raises:
        InputError: there is none.
    """
    import torch_ref.methods

    try:
        return torch_ref.methods.make(method.name, dataclasses.asdict(method.hyperparameters))
    except ValueError as error:
        raise InputError(f"the PyTorch twin of {method.name} is missing: {error}") from error


def all_views(method: AnyMethod) -> dict[str, Any]:
    """Returns hyperparameters under which a method corrupts rows by every view, if it has views."""
    if not isinstance(method.hyperparameters, ViewHyperparameters):
        return {}
    fields = {field.name: field for field in dataclasses.fields(method.hyperparameters)}
    offered = declaration(fields["views"]).range
    assert isinstance(offered, Names)
    return {"views": offered.known, "noise_std": 0.3, "drop_rate": 0.2}


def draw_weights(method: AnyMethod, rows: RowSpec) -> dict[str, np.ndarray]:
    """Returns weights for all of a method's network, statistics too, at a trained size."""
    return join_members(
        [_draw_weights(member, rows, i) for i, member in enumerate(members_of(method))]
    )


def _draw_weights(method: AnyMethod, rows: RowSpec, seed: int) -> dict[str, np.ndarray]:
    rng, network = np.random.default_rng(seed), abstract_network(method, rows)
    shapes = {name: array.shape for name, array in get_weights(network).items()}
    drawn = {name: rng.normal(size=shape) * shape[0] ** -0.5 for name, shape in shapes.items()}
    # Among the vectors that no step trains may be variances and scales.
    vectors = [name for name in get_model_state(network) if len(shapes[name]) == 1]
    return drawn | {name: 0.5 + np.abs(drawn[name]) for name in vectors}


def draw_targets(method: AnyMethod, rows: int) -> np.ndarray | None:
    """Returns what a method is to predict of so many rows; None if it predicts nothing."""
    rng, kind = np.random.default_rng(6), method.hyperparameters.predicts
    if kind == "classes":
        return rng.integers(0, method.hyperparameters.classes, rows, dtype=np.int32)
    return rng.normal(size=rows) if kind == "numbers" else None


def _draw_noise(method: AnyMethod, x: np.ndarray) -> dict[str, Any]:
    """Draws what a method's own `noise` would, without compiling it."""
    batch = Batch(x.astype(np.float32))  # type: ignore[arg-type]
    like = jax.eval_shape(lambda key: noise_in_jax(method, key, batch), jax.random.key(0))
    rng = np.random.default_rng(4)

    def draw(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        draws: np.ndarray = rng.normal(size=leaf.shape)
        return draws > -1 if leaf.dtype == bool else draws

    drawn: dict[str, Any] = jax.tree.map(draw, like)
    return drawn


def noise_in_jax(method: AnyMethod, key: jax.Array, batch: Batch) -> Any:
    """Returns a method's noise for a batch whose rows are the background, too."""
    return resolve(method.noise(Draws(key, jnp.asarray(batch.numbers)), batch))


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


def _as_text(value: float | tuple[str | int, ...]) -> str:
    return "+".join(map(str, value)) if isinstance(value, tuple) else f"{value:g}"


def _described(architecture: Architecture, members: int) -> str:
    described = "-".join(map(str, (architecture[0], *architecture[1], architecture[2])))
    return described + f", {members} members" * (members > 1)


def _sizes(architectures: tuple[Architecture, ...]) -> list[tuple[Architecture, int]]:
    """Returns architectures with their numbers of members: one each, and the square one's of 3."""
    return [*((architecture, 1) for architecture in architectures), (SQUARE, 3)]


def _loss_in_jax(
    method: AnyMethod,
    *,
    weights: Any,
    x: jax.Array,
    noise: Any,
    row_weights: jax.Array,
    targets: jax.Array | None,
) -> Any:
    network = with_weights(training_network(method, RowSpec(x.shape[1])), weights)
    batch = Batch(x, targets=targets, weights=row_weights)
    loss, metrics = method.loss(network, batch, noise)
    return {"loss": loss, **jax.lax.stop_gradient(metrics)}


def _loss_in_torch(
    method: Any, *, weights: Any, x: Any, noise: Any, row_weights: Any, targets: Any
) -> Any:
    import torch_ref.batch
    import torch_ref.weights

    batch = torch_ref.batch.Batch(x, targets=targets, weights=row_weights)
    network = _torch_network(method, x.shape[1])
    loss, metrics = torch_ref.weights.apply(network, method.loss, weights, batch, noise)
    return {"loss": loss, **{key: metric.detach() for key, metric in metrics.items()}}


def _outputs_in_jax(method: AnyMethod, *, weights: Any, x: jax.Array, z: jax.Array) -> Any:
    network = with_weights(abstract_network(method, RowSpec(x.shape[1])), weights)
    return {
        output: apply_output(network, output, x if OUTPUTS[output].takes == "rows" else z)
        for output in method.network_type.outputs
    }


def outputs_in_torch(method: Any, *, weights: Any, x: Any, z: Any) -> Any:
    """Returns all that a torch network declares, with the given weights."""
    import torch_ref.batch
    import torch_ref.weights

    network = _torch_network(method, x.shape[1]).eval()
    outputs = network.outputs
    return {
        output: torch_ref.weights.apply(
            network,
            getattr(type(network), output),
            weights,
            torch_ref.batch.Batch(x) if OUTPUTS[output].takes == "rows" else z,
        )
        for output in outputs
    }


def _torch_network(method: Any, numbers: int) -> Any:
    import torch

    import torch_ref.batch
    import torch_ref.members

    rows = torch_ref.batch.RowSpec(numbers)
    return torch_ref.members.init_members(method, rows, torch.Generator())
