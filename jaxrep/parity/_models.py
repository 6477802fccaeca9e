"""The suites of networks and methods: weights, outputs, losses."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrep.batch import MISSING, Batch, RowSpec
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
from jaxrep.networks import get_model_state, get_weights, shapes_like, with_weights
from jaxrep.outputs import OUTPUTS
from jaxrep.parity._check import Check
from jaxrep.parity._cross_check import Case
from jaxrep.parity._decided import decided_cells
from jaxrep.parity._mixed import BY_KIND, MIXED, MIXED_ROWS, SPIKED, draw_rows, with_constants
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
SMALL: tuple[tuple[int, ...], int] = ((9, 4), 3)  # of networks on mixed rows
ROWS = 17
_KEPT_ROWS = 40  # of representations that a score compares with


def weight_checks(quick: bool) -> Iterator[Check]:
    """Yields whether weights survive the way numpy → NNX → torch → numpy, and back, bit by bit."""
    import torch

    import torch_ref.weights

    for name in names():
        for described, rows, dims, members in _sizes(ARCHITECTURES[: 2 if quick else None], quick):
            if rows.spikes and not hyperparameters_of(name).takes_spikes:
                continue
            ours, theirs = twins(name, dims, members=members)
            drawn = draw_weights(ours, rows)
            for dtype in ("float64", "float32"):
                start = {key: array.astype(dtype) for key, array in drawn.items()}
                with jax.enable_x64(dtype == "float64"):
                    arrays = {key: jnp.asarray(array) for key, array in start.items()}
                    network = with_weights(abstract_network(ours, rows), arrays)
                    through_jax = {k: np.asarray(v) for k, v in get_weights(network).items()}
                twin = _torch_network(theirs, rows)
                twin.to(getattr(torch, dtype))
                given = {key: array.shape for key, array in through_jax.items()}
                own = torch_ref.weights.shapes(twin, given)
                torch_ref.weights.with_weights(twin, through_jax)
                end = torch_ref.weights.get_weights(twin)
                problem = _first_difference(start, own, end)
                check = f"weights of {name}: there and back"
                yield Check(check, described, dtype, not problem, message=problem)


def output_cases(quick: bool) -> Iterator[Case]:
    """Yields everything that every network can be asked for, differentiated by rows and weights."""
    for name in names():
        for described, rows, dims, members in _sizes((SQUARE,) if quick else ARCHITECTURES, quick):
            if rows.spikes and not hyperparameters_of(name).takes_spikes:
                continue
            ours, theirs = twins(name, dims, members=members)
            weights = draw_weights(ours, rows)
            x, z = draw_inputs(rows, dims[1])
            case = output_case(ours, theirs, rows, weights, x, z, described)
            yield dataclasses.replace(case, wanted=("weights", "x", "z"))


def method_cases(quick: bool) -> Iterator[Case]:
    """Yields every method's loss with its gradients, and what a trained model is used for."""
    row_weights = (np.arange(ROWS) % 4 != 1).astype(np.float64)
    width, *dims = ARCHITECTURES[0]
    seeds = range(1 if quick else 4)
    numbers = [
        Batch(np.random.default_rng([2, seed]).normal(size=(ROWS, width)))  # type: ignore[arg-type]
        for seed in seeds
    ]
    tables: list[tuple[str, RowSpec, Any, list[Batch]]] = [("", RowSpec(width), dims, numbers)]
    for described, rows in MIXED_ROWS.items():
        drawn = [draw_rows(rows, ROWS, seed=seed) for seed in seeds]
        tables.append((described, rows, SMALL, drawn))
    for name in names():
        for settings in get(name).parity_cases[: 1 if quick else None]:
            for described, rows, dims, drawn in tables:
                if not _takes(name, rows):
                    continue
                ours, theirs = twins(name, dims, **settings)
                weights = draw_weights(ours, rows)
                told = [f"{key}={_as_text(value)}" for key, value in settings.items()]
                case = ", ".join(filter(None, [described, *told]))
                first = loss_case(ours, theirs, rows, weights, drawn[0], row_weights, case)
                yield from _on_each(drawn, first)


def _on_each(drawn: list[Batch], case: Case) -> Iterator[Case]:
    """Yields a case with each of the drawn rows; they share a program."""
    for seed, x in enumerate(drawn):
        told = ", ".join(filter(None, [case.case, f"seed {seed}"]))
        yield dataclasses.replace(case, case=told, inputs=case.inputs | {"x": x})


def loss_case(
    ours: AnyMethod,
    theirs: Any,
    rows: RowSpec,
    weights: dict[str, np.ndarray],
    x: Batch,
    row_weights: np.ndarray,
    case: str,
) -> Case:
    """Returns the comparison of a method's loss and metrics, on drawn noise."""
    return Case(
        check=f"loss of {ours.name}",
        case=case,
        jax_function=functools.partial(_loss_in_jax, ours, rows),
        torch_function=functools.partial(_loss_in_torch, theirs, rows),
        inputs={
            "weights": weights,
            "x": x,
            "noise": _draw_noise(ours, rows, x),
            "row_weights": row_weights,
            "targets": draw_targets(ours, len(x.numbers)),
        },
        wanted=("weights", "x"),
    )


def output_case(
    ours: AnyMethod,
    theirs: Any,
    rows: RowSpec,
    weights: dict[str, np.ndarray],
    x: Batch,
    z: np.ndarray,
    case: str,
) -> Case:
    """Returns the comparison of all that a network declares, for rows x and embeddings z.

    Decoded levels must be the same where one clearly leads the others, and drawn ones where the
    draw is clearly one's.
    """
    draws = _draws(ours, rows, len(z))
    return Case(
        check=f"outputs of {ours.name}",
        case=case,
        jax_function=functools.partial(_outputs_in_jax, ours, rows),
        torch_function=functools.partial(outputs_in_torch, theirs, rows),
        inputs={
            "weights": weights,
            "x": x,
            "z": z,
            "draws": draws,
            "decided": decided_of_outputs(ours, rows, weights, x, z, draws),
        },
    )


def _draws(method: AnyMethod, rows: RowSpec, count: int) -> np.ndarray:
    """Returns draws from N(0, 1), as many for each row as the network of a member asks for."""
    size = abstract_network(members_of(method)[0], rows).draws
    return np.random.default_rng([11, count]).normal(size=(count, size))


def decided_of_outputs(
    method: AnyMethod,
    rows: RowSpec,
    weights: dict[str, np.ndarray],
    x: Batch,
    z: np.ndarray,
    draws: np.ndarray,
) -> dict[str, np.ndarray]:
    """Returns `decided_cells` of the outputs that give rows, by what they take."""
    taken = {
        OUTPUTS[output].takes
        for output in method.network_type.outputs
        if "rows" in OUTPUTS[output].gives
    }
    given: dict[str, Batch | np.ndarray] = {"rows": x, "codes": z, "draws": draws}
    return {
        takes: decided_cells(method, rows, weights, given[takes], are_draws=takes == "draws")
        for takes in sorted(taken)
    }


def without_undecided(output: str, found: Any, decided: Any) -> Any:
    """Returns what an output gives, with cells set to 0 where no level clearly leads the others.

    Args:
        output: its name.
        found: what it gives, of either framework.
        decided: from `decided_of_outputs`.
    """
    if OUTPUTS[output].gives != ("rows",):
        return found
    kept = decided[OUTPUTS[output].takes]
    count = found.numbers.shape[1]
    codes = None if found.codes is None else found.codes * kept[:, count:]
    return found._replace(numbers=found.numbers * kept[:, :count], codes=codes)


def _takes(name: str, rows: RowSpec) -> bool:
    """Says whether a method compares numbers with their reconstruction, and takes spikes."""
    if rows.spikes and not hyperparameters_of(name).takes_spikes:
        return False
    return not rows.likelihoods or "reconstruct" in get(name).network_type.outputs


def draw_inputs(rows: RowSpec, latent_dim: int) -> tuple[Batch, np.ndarray]:
    """Returns drawn rows, and embeddings."""
    rng = np.random.default_rng(1)
    x: Any = rng.normal(size=(ROWS, rows.numbers))
    z = rng.normal(size=(ROWS, latent_dim))
    return Batch(x) if rows == RowSpec(rows.numbers) else draw_rows(rows, ROWS, seed=1), z


def twins(name: str, dims: tuple[tuple[int, ...], int], **settings: Any) -> tuple[AnyMethod, Any]:
    """Returns a method of both packages with the same hyperparameters.

    Args:
        name: of the method.
        dims: widths of the hidden layers, and the number of latents.
        **settings: other hyperparameters.
    """
    ours = make(of_shape(name, *dims, **settings))
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
    drawn = join_members(
        [_draw_weights(member, rows, i) for i, member in enumerate(members_of(method))]
    )
    rng = np.random.default_rng(7)
    of_scores = [name for name in drawn if name in ("score_mean", "score_scale")]
    return drawn | {name: rng.uniform(0.5, 2, drawn[name].shape) for name in of_scores}


def _draw_weights(method: AnyMethod, rows: RowSpec, seed: int) -> dict[str, np.ndarray]:
    rng, network = np.random.default_rng(seed), abstract_network(method, rows)
    shapes = {name: array.shape for name, array in get_weights(network).items()}
    shapes = shapes_like(network, {n: (_KEPT_ROWS, *shape[1:]) for n, shape in shapes.items()})
    drawn = {name: rng.normal(size=shape) * shape[0] ** -0.5 for name, shape in shapes.items()}
    # Among the vectors that no step trains may be variances and scales.
    vectors = [name for name in get_model_state(network) if len(shapes[name]) == 1]
    return with_constants(drawn | {name: 0.5 + np.abs(drawn[name]) for name in vectors})


def draw_targets(method: AnyMethod, rows: int) -> np.ndarray | None:
    """Returns what a method is to predict of so many rows; None if it predicts nothing."""
    rng, kind = np.random.default_rng(6), method.hyperparameters.predicts
    if kind == "classes":
        return rng.integers(0, method.hyperparameters.classes, rows, dtype=np.int32)
    return rng.normal(size=rows) if kind == "numbers" else None


def _draw_noise(method: AnyMethod, rows: RowSpec, x: Batch) -> dict[str, Any]:
    """Draws what a method's own `noise` would, without compiling it."""
    batch = x._replace(numbers=x.numbers.astype(np.float32))
    like = jax.eval_shape(lambda key: noise_in_jax(method, key, batch), jax.random.key(0))
    rng = np.random.default_rng(4)

    def draw(path: Any, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        draws: np.ndarray = rng.normal(size=leaf.shape)
        name = str(path[-1].key)
        if leaf.dtype == bool:
            # What hides a cell takes all that a network may learn of it: it shall do so rarely.
            return draws > (0.5 if name in _TAKING_AWAY else -1)
        if leaf.dtype == np.int32:
            levels = np.array(rows.levels)
            codes = rng.integers(0, levels, leaf.shape).astype(np.int32)
            codes[(draws > 1) & np.array(rows.code_gaps)] = MISSING
            return codes
        if name.endswith("_values"):
            draws[(draws > 1) & np.array(rows.number_gaps, bool)] = np.nan
        return draws

    drawn: dict[str, Any] = jax.tree_util.tree_map_with_path(draw, like)
    return drawn


_TAKING_AWAY = ("hide", "hide_codes", "other")


def noise_in_jax(method: AnyMethod, key: jax.Array, batch: Batch) -> Any:
    """Returns a method's noise for a batch whose rows are the background, too."""
    batch = jax.tree.map(jnp.asarray, batch)
    return resolve(method.noise(Draws(key, Batch(batch.numbers, batch.codes)), batch))


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


def _sizes(
    architectures: tuple[Architecture, ...], quick: bool
) -> Iterator[tuple[str, RowSpec, tuple[tuple[int, ...], int], int]]:
    """Yields rows and the networks on them: described, of which widths, of how many members.

    There is one of numbers for each architecture, the square one of 3 members too; and on mixed
    rows one, and one of 2 members.
    """
    sizes = [*((architecture, 1) for architecture in architectures), (SQUARE, 3)]
    for architecture, members in sizes:
        yield _described(architecture, members), RowSpec(architecture[0]), architecture[1:], members
    yield "mixed, by kind", BY_KIND, SMALL, 1
    yield "mixed, with spikes", SPIKED, SMALL, 1
    yield "mixed, 2 members", MIXED, SMALL, 2
    if not quick:
        yield "mixed, by kind, 2 members", BY_KIND, SMALL, 2
        yield "mixed, no hidden layer", MIXED, ((), 3), 1
        yield "codes alone", RowSpec(0, (4, 3), (True, False)), SMALL, 1


def _loss_in_jax(
    method: AnyMethod,
    rows: RowSpec,
    *,
    weights: Any,
    x: Batch,
    noise: Any,
    row_weights: jax.Array,
    targets: jax.Array | None,
) -> Any:
    network = with_weights(training_network(method, rows), weights)
    batch = x._replace(targets=targets, weights=row_weights)
    loss, metrics = method.loss(network, batch, noise)
    return {"loss": loss, **jax.lax.stop_gradient(metrics)}


def _loss_in_torch(
    method: Any, rows: RowSpec, *, weights: Any, x: Any, noise: Any, row_weights: Any, targets: Any
) -> Any:
    import torch_ref.batch
    import torch_ref.weights

    batch = torch_ref.batch.Batch(x.numbers, x.codes, targets=targets, weights=row_weights)
    network = _torch_network(method, rows)
    loss, metrics = torch_ref.weights.apply(network, method.loss, weights, batch, noise)
    return {"loss": loss, **{key: metric.detach() for key, metric in metrics.items()}}


def _outputs_in_jax(
    method: AnyMethod, rows: RowSpec, *, weights: Any, decided: Any, **inputs: Any
) -> Any:
    network = with_weights(abstract_network(method, rows), weights)
    return {
        output: without_undecided(
            output, apply_output(network, output, taken(output, **inputs)), decided
        )
        for output in method.network_type.outputs
    }


def taken(output: str, *, x: Any, z: Any, draws: Any) -> Any:
    """Returns of the inputs of an `output_case` the one that an output takes."""
    return {"rows": x, "codes": z, "draws": draws}[OUTPUTS[output].takes]


def outputs_in_torch(
    method: Any, rows: RowSpec, *, weights: Any, x: Any, decided: Any, **inputs: Any
) -> Any:
    """Returns all that a torch network declares, with the given weights."""
    import torch_ref.batch
    import torch_ref.weights

    network = _torch_network(method, rows).eval()
    batch = torch_ref.batch.Batch(x.numbers, x.codes)
    found = {}
    for output in network.outputs:
        given = taken(output, x=batch, **inputs)
        made = torch_ref.weights.apply(network, getattr(type(network), output), weights, given)
        found[output] = without_undecided(output, made, decided)
    return found


def _torch_network(method: Any, rows: RowSpec) -> Any:
    import torch

    import torch_ref.batch
    import torch_ref.members

    own = torch_ref.batch.RowSpec(*rows)
    return torch_ref.members.init_members(method, own, torch.Generator())
