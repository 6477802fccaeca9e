"""The compiled programs of training: a chunk of steps, and the loss of held-out rows.

They stand at module level and take everything that changes between runs as arguments, so that a
second run over the same shapes compiles nothing. A chunk's first and last step are numbers: chunks
of any length use one program.
"""

import functools
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from jaxrep.batch import Batch, RowSpec, as_batch, take, zeros_like
from jaxrep.methods._method import AnyMethod, Metrics, training_network
from jaxrep.networks import with_weights
from jaxrep.once import once
from jaxrep.shuffle import Grid, grid
from jaxrep.training.devices import Devices
from jaxrep.training.sizes import Padded, whole
from jaxrep.training.step import (
    RANDOM,
    VALIDATION_STREAM,
    StepIndex,
    StepKeys,
    TrainState,
    batch_rows,
    draw_noise,
    initial_state,
    step_keys,
    steps_per_epoch,
    stream,
    streams,
    take_batch,
    train_step,
    weighted,
)
from jaxrep.views import Deferred, Draws, Noise, resolve

MAX_BACKGROUND_ROWS = 65_536

Tree = TypeVar("Tree")


class Kept(NamedTuple):
    """What the rows held out decide: which epoch's weights to keep, and when to stop."""

    best: dict[str, Array]
    """The network's weights, by name, after the epoch of the lowest validation loss."""

    loss: np.ndarray | Array
    """Their validation loss; infinite before the first epoch."""

    epoch: np.ndarray | Array
    """Their epoch, from 1; 0 before the first."""

    last: TrainState | tuple[()]
    """The state after the newest epoch, or the one that used up the patience; nothing where there
    is no patience."""

    stopped: np.ndarray | Array
    """That epoch; 0 as long as the training goes on."""


# A chunk is long enough to hide its dispatch, and short enough to look up between chunks.
_FLOP_PER_CHUNK = 5e9
_MAX_STEPS_PER_CHUNK = 1024

_BYTES_DRAWN_AHEAD = 1 << 20
_MAX_STEPS_DRAWN_AHEAD = 16


_train_step = jax.jit(train_step, static_argnames="spec")


@functools.partial(
    jax.jit,
    static_argnames=("spec", "batch_size", "chunk", "devices"),
    donate_argnames="state",
)
def run_steps(
    method: AnyMethod,
    seed: int | Array,
    state: TrainState,
    x: Batch,
    background: Batch | Padded,
    first: int | Array,
    stop: int | Array,
    steps: int | Array | None = None,
    rows: Grid | None = None,
    steps_per_block: int | Array | None = None,
    *,
    spec: RowSpec,
    batch_size: int,
    chunk: int,
    devices: Devices,
) -> tuple[TrainState, Metrics]:
    """Takes the steps from `first` up to, not including, `stop`.

    Args:
        method: its loss and optimiser; traced numbers are its leaves.
        seed: the run's seed.
        state: after step `first` − 1.
        x: all training rows, or a block of them, sharded among the devices.
        background: rows that views may take values from.
        first: number of the first step; counted as `Chunk.number` where x is a block.
        stop: `first` + at most `chunk`.
        steps: of the whole run, for methods with a schedule.
        rows: of x that are no padding, as `shuffle.grid` gives them; by default all.
        steps_per_block: by which `first` counts passes over x; by default those that x takes.
        spec: what every row holds.
        batch_size: B.
        chunk: size of the arrays that the metrics come back in.
        devices: that train together.

    Returns:
        The state after the last step, and every step's metrics by name, `[chunk]`, of which the
        first `stop` − `first` are filled.
    """
    rows = grid(len(x.numbers)) if rows is None else rows
    if steps_per_block is None:
        steps_per_block = steps_per_epoch(len(x.numbers), batch_size)
    others = background if isinstance(background, Padded) else whole(background)

    def index(step: Array) -> StepIndex:
        return StepIndex(*jnp.divmod(step, jnp.asarray(steps_per_block)))

    # What is called in several places is traced once, as a program of its own.
    @jax.jit
    def draw(step: Array, words: StepKeys) -> tuple[Noise | Deferred, Batch]:
        noise = draw_noise(method, words.noise, x, others, batch_size)
        chosen = batch_rows(words.order, index(step).step, rows, batch_size)
        return part_noise(method, noise, x, batch_size, devices), take_batch(x, *chosen, devices)

    @jax.jit
    def words_of(step: Array, keys: Array) -> StepKeys:
        return step_keys(jax.random.wrap_key_data(keys, impl=RANDOM), index(step))

    def first_draw() -> tuple[Noise | Deferred, Batch]:
        drawn: tuple[Noise | Deferred, Batch] = draw(jnp.int32(0), words_of(jnp.int32(0), words))
        return drawn

    take_step = functools.partial(_train_step, spec=spec)
    keys = streams(seed)
    words = jax.random.key_data(keys)
    words_of_all = jax.vmap(words_of, in_axes=(0, None))
    ahead = _steps_drawn_ahead(jax.eval_shape(first_draw))

    def block(i: Array, carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
        start = first + i * ahead
        here = jnp.minimum(ahead, stop - start)
        numbers = start + jnp.arange(ahead)
        bits, batches = once(jax.vmap(draw), numbers, once(words_of_all, numbers, words))
        noises = jax.vmap(resolve, axis_size=ahead)(bits)

        def step(j: Array, carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
            state, filled = carry
            noise, batch = jax.tree.map(lambda drawn: drawn[j], (noises, batches))
            # The network takes the weights whole, wherever they are between two steps.
            params, model_state = devices.constrain_replicated((state.params, state.model_state))
            complete = TrainState(params, model_state, state.opt_state)
            state, metrics = take_step(method, complete, batch, noise, steps=steps)
            metrics = devices.constrain_replicated(metrics)
            at = start + j - first
            filled = {name: filled[name].at[at].set(metrics[name]) for name in filled}
            return devices.constrain_state(state), filled

        taken: tuple[TrainState, Metrics] = jax.lax.fori_loop(0, here, step, carry)
        return taken

    def first_step() -> tuple[TrainState, Metrics]:
        noise, batch = first_draw()
        taken: tuple[TrainState, Metrics] = take_step(
            method, state, batch, resolve(noise), steps=steps
        )
        return taken

    _, shapes = jax.eval_shape(first_step)
    filled = {name: jnp.zeros(chunk, metric.dtype) for name, metric in shapes.items()}

    state = devices.constrain_state(state)
    blocks = (stop - first + ahead - 1) // ahead
    made: tuple[TrainState, Metrics] = jax.lax.fori_loop(0, blocks, block, (state, filled))
    return made


@functools.partial(jax.jit, static_argnames=("spec", "batch_size", "devices"))
def validation_loss(
    method: AnyMethod,
    seed: int | Array,
    weights: dict[str, Array],
    x: Array | Batch | Padded,
    *,
    spec: RowSpec,
    batch_size: int,
    devices: Devices,
) -> Array:
    """Computes the loss of rows held out, with the same noise whenever it is called.

    Args:
        method: its loss.
        seed: the run's seed.
        weights: of the network, as training left them, by name.
        x: rows held out: numbers `[rows, D]`, or a batch of them all, which may be padded.
        spec: what every row holds.
        batch_size: rows at a time; NT-Xent's negatives come from such a batch.
        devices: that compute together; each has all of x.

    Returns:
        The mean over rows, each as much as it weighs, a scalar.
    """
    x, size = x if isinstance(x, Padded) else whole(as_batch(x))
    weights = devices.constrain_replicated(weights)
    network = with_weights(training_network(method, spec), weights)
    network.eval()  # type: ignore[no-untyped-call]
    batches = -(-size // batch_size)
    key = stream(seed, VALIDATION_STREAM)

    def add_batch(i: Array, total: Array) -> Array:
        positions = i * batch_size + jnp.arange(batch_size)
        inside = positions < size
        rows = take(x, jnp.where(inside, positions, 0))
        noise = method.noise(Draws(jax.random.fold_in(key, i), rows), rows)
        noise = part_noise(method, noise, x, batch_size, devices)
        batch = weighted(jax.tree.map(devices.part_batch, rows), inside)
        assert batch.weights is not None
        with method.matmul_precision():
            loss, _ = method.loss(network, batch, resolve(noise))
        return total + loss * jnp.sum(inside if x.weights is None else batch.weights)

    zero = jnp.zeros((), x.numbers.dtype)
    total: Array = jax.lax.fori_loop(0, batches, add_batch, zero)
    return total / (size if x.weights is None else jnp.sum(x.weights))


def validate(
    method: AnyMethod,
    seed: int | Array,
    kept: Kept,
    state: TrainState,
    patience: int | Array,
    x: Batch | Padded,
    epoch: int | Array,
    *,
    spec: RowSpec,
    batch_size: int,
    devices: Devices,
) -> tuple[Array, Kept]:
    """Computes the loss of rows held out after an epoch, and keeps the weights if it is the lowest.

    The steps of the next epoch may be under way when the host hears that the patience is at its
    end, so the state of that moment is kept here.

    Args:
        method: its loss.
        seed: the run's seed.
        kept: after the epochs before.
        state: after the epoch's last step.
        patience: epochs without a lower loss after which the training stops; 0 never.
        x: rows held out.
        epoch: its number, from 1.
        spec: what every row holds.
        batch_size: as of `validation_loss`.
        devices: as of `validation_loss`.

    Returns:
        The loss, a scalar, and what is kept now; of weights with equal losses the earlier ones.
    """
    loss = validation_loss(
        method, seed, state.weights, x, spec=spec, batch_size=batch_size, devices=devices
    )
    goes_on = kept.stopped == 0
    is_best = goes_on & (loss < kept.loss)

    def choose(condition: Array, new: Tree, old: Tree) -> Tree:
        chosen: Tree = jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)
        return chosen

    best = devices.constrain_state(choose(is_best, state.weights, kept.best))
    best_epoch = jnp.where(is_best, jnp.int32(epoch), kept.epoch)
    last, stopped = kept.last, kept.stopped
    if isinstance(last, TrainState):
        last = devices.constrain_state(choose(goes_on, state, last))
        stops = goes_on & (patience > 0) & (epoch - best_epoch >= patience)
        stopped = jnp.where(stops, jnp.int32(epoch), stopped)
    loss = devices.constrain_replicated(loss)
    return loss, Kept(best, jnp.where(is_best, loss, kept.loss), best_epoch, last, stopped)


def part_noise(
    method: AnyMethod, noise: Noise | Deferred, x: Batch, batch_size: int, devices: Devices
) -> Noise | Deferred:
    """Says in a program that each device draws the noise of its part of a batch.

    Args:
        method: that draws it.
        noise: as drawn for the whole batch.
        x: rows; their shapes and dtypes count.
        batch_size: B.
        devices: that train together.
    """
    if devices.count == 1:
        return noise

    def draw(rows: int) -> Noise | Deferred:
        background = zeros_like(x, batch_size)
        return method.noise(Draws(stream(0, VALIDATION_STREAM), background), zeros_like(x, rows))

    def part(array: Array, doubled: jax.ShapeDtypeStruct) -> Array:
        sizes = enumerate(zip(jnp.shape(array), doubled.shape, strict=True))
        axes = [axis for axis, (size, other) in sizes if size != other]
        return devices.part_batch(array, axes[0]) if axes else array

    # The dimension that grows with the batch is that of its rows.
    sharded: Noise | Deferred = jax.tree.map(
        part, noise, jax.eval_shape(lambda: draw(2 * batch_size))
    )
    return sharded


def abstract_state(method: AnyMethod, spec: RowSpec) -> TrainState:
    """Returns the shapes and dtypes of the state that `run_steps` takes and gives."""
    return _abstract(jax.tree.structure(method), spec, jnp.result_type(float))


@functools.lru_cache(maxsize=256)
def _abstract(structure: Any, spec: RowSpec, floats: Any) -> TrainState:
    method = jax.tree.unflatten(structure, [1.0] * structure.num_leaves)  # they shape nothing
    shapes: TrainState = jax.eval_shape(lambda: initial_state(method, spec, nnx.Rngs(0)))
    return shapes


def zeros(shapes: TrainState) -> TrainState:
    """Returns a state of zeros on the host, of the shapes and dtypes given."""
    state: TrainState = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return state


def chunk_length(state: TrainState, batch_size: int, members: int = 1) -> int:
    """Returns how many steps to dispatch at once, from the shapes of a state of one member."""
    parameters = sum(array.size for array in state.params.values())
    # The square stands for a loss that compares all pairs, as NT-Xent does in 32 dimensions.
    flop = 6 * batch_size * parameters + 24 * 32 * batch_size**2
    steps = int(_FLOP_PER_CHUNK / flop)
    return max(min(max(steps, 1), _MAX_STEPS_PER_CHUNK) // members, 1)


def _steps_drawn_ahead(drawn: Any) -> int:
    """Returns for how many steps to draw noise and rows at once: they stay in the cache.

    Drawn step by step, XLA would compute noise again in every place of the step that reads it, and
    share the few rows of a batch out among threads, which takes longer than copying them.
    """
    size: int = sum(array.size * array.dtype.itemsize for array in jax.tree.leaves(drawn))
    return min(max(_BYTES_DRAWN_AHEAD // max(size, 1), 1), _MAX_STEPS_DRAWN_AHEAD)


def background_rows(x: Batch) -> Batch:
    """Returns the rows that views may take values from: all, or evenly spaced ones of many."""
    cells = Batch(x.numbers, x.codes)
    every = -(-len(x.numbers) // MAX_BACKGROUND_ROWS)
    return cells if every <= 1 else take(cells, slice(None, None, every))
