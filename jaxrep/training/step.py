"""One training step, and what it needs: initial state, the rows of a batch, its noise.

Which rows and which noise a step sees is a function of the seed, the epoch and the step in it, and
of nothing else: a run resumed at any step sees what it would have seen.

The named scopes here, in the methods and in the views tell the kernels of a profile apart.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array

from jaxrep.batch import Batch, RowSpec, as_batch, take, zeros_like
from jaxrep.methods._method import AnyMethod, Metrics, training_network
from jaxrep.networks import InitialDraws, get_model_state, get_weights, with_weights
from jaxrep.once import once
from jaxrep.shuffle import MOST_ROUNDS, Grid, grid, shuffled
from jaxrep.training.devices import AXIS, Devices
from jaxrep.training.sizes import Padded, whole
from jaxrep.views import Deferred, Draws, Noise, resolve

INIT_STREAM, ORDER_STREAM, NOISE_STREAM, VALIDATION_STREAM = _STREAMS = range(4)

# Counter-based like threefry, JAX's default, with keys as long, and as indifferent to vmap and
# sharding; on the CPU its programs run faster. philox2x32 is faster still, but has keys of 32 bits:
# steps of one long run would share their noise.
RANDOM = "philox4x32"


class TrainState(NamedTuple):
    """All that a training run carries from step to step."""

    params: dict[str, Array]
    """What the optimiser trains, by name."""

    model_state: dict[str, Array]
    """What the network changes itself as it computes the loss, and what is frozen, by name; most
    have nothing."""

    opt_state: optax.OptState
    """State of the optimiser."""

    @property
    def weights(self) -> dict[str, Array]:
        """All of the network that a run carries, by name."""
        return self.params | self.model_state

    def with_weights(self, weights: Mapping[str, Any]) -> "TrainState":
        """Returns the state with some of its weights replaced; the optimiser's state stays."""
        params, model_state = (
            part | {name: array for name, array in weights.items() if name in part}
            for part in (self.params, self.model_state)
        )
        return self._replace(params=params, model_state=model_state)


def streams(seed: int | Array) -> Array:
    """Returns the keys of a run's streams of random numbers, by the `…_STREAM` constants.

    Args:
        seed: the run's seed.
    """
    key = jax.random.key(seed, impl=RANDOM)

    def fold(words: Array) -> Array:
        key = jax.random.wrap_key_data(words, impl=RANDOM)
        # All of them at once: a program that asks for several then has one generator to compile.
        keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(jnp.arange(len(_STREAMS)))
        return jax.random.key_data(keys)

    keys: Array = jax.random.wrap_key_data(once(fold, jax.random.key_data(key)), impl=RANDOM)
    return keys


def stream(seed: int | Array, name: int) -> Array:
    """Returns the key of one of a run's streams of random numbers.

    Args:
        seed: the run's seed.
        name: one of the `…_STREAM` constants.
    """
    key: Array = streams(seed)[name]
    return key


def init_state(method: AnyMethod, spec: RowSpec, seed: int) -> TrainState:
    """Returns the state before the first step, on the host.

    Args:
        method: whose network and optimiser to start.
        spec: what every row holds.
        seed: the run's seed.
    """
    return initial_state(method, spec, InitialDraws(seed, INIT_STREAM))


def initial_state(method: AnyMethod, spec: RowSpec, rngs: nnx.Rngs) -> TrainState:
    """Does the same from any source of initial weights."""
    network = method.init(spec, rngs)
    params = get_weights(network, nnx.Param)
    return TrainState(params, get_model_state(network), method.optimizer(steps=1).init(params))


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Returns the number of batches that hold every row once."""
    return -(-rows // batch_size)


class StepIndex(NamedTuple):
    """Which step of a run it is. Its rows and its noise depend on this and the seed alone."""

    block_epoch: int | Array
    """Passes over a block of the table before this one; epochs, where all rows are one block."""

    step: int | Array
    """Steps before it in its pass."""


def draw_batch(
    method: AnyMethod,
    seed: int | Array,
    x: Array | Batch,
    background: Array | Batch,
    step: int | Array,
    *,
    batch_size: int,
) -> tuple[Batch, Noise]:
    """Returns the batch of a step, its rows in the epoch's order, and its noise.

    Args:
        method: draws the noise.
        seed: the run's seed.
        x: all training rows: numbers `[rows, D]`, or a batch of them all.
        background: R training rows that views may take values from, in the same form.
        step: number of the step in the run, from 0.
        batch_size: B.
    """
    x = as_batch(x)
    rows = len(x.numbers)
    at = StepIndex(*jnp.divmod(jnp.asarray(step), steps_per_epoch(rows, batch_size)))
    others = whole(as_batch(background))
    keys = step_keys(streams(seed), at)
    batch = take_batch(x, *batch_rows(keys.order, at.step, grid(rows), batch_size))
    return batch, resolve(draw_noise(method, keys.noise, x, others, batch_size))


class StepKeys(NamedTuple):
    """The random words of a step, from which its rows and its noise are drawn."""

    order: Array
    """By which its pass is shuffled, `[MOST_ROUNDS]`."""

    noise: Array
    """The key of its noise, as `jax.random.key_data` gives it."""


@jax.named_scope("rows")
def step_keys(keys: Array, at: StepIndex) -> StepKeys:
    """Returns the random words of a step.

    Args:
        keys: of the run, from `streams`.
        at: which step it is.
    """
    both = keys[jnp.array([ORDER_STREAM, NOISE_STREAM])]
    of_order, of_noise = jax.vmap(lambda key: jax.random.fold_in(key, at.block_epoch))(both)
    order = jax.random.bits(of_order, (MOST_ROUNDS,), jnp.uint32)
    return StepKeys(order, jax.random.key_data(jax.random.fold_in(of_noise, at.step)))


@jax.named_scope("noise")
def draw_noise(
    method: AnyMethod, words: Array, x: Batch, background: Padded, batch_size: int
) -> Noise | Deferred:
    """Returns all that is random in a step, of which `resolve` makes the noise.

    Args:
        method: draws the noise.
        words: of `StepKeys.noise`.
        x: the rows on the device; their shapes and dtypes count.
        background: training rows that views may take values from.
        batch_size: B.
    """
    key = jax.random.wrap_key_data(words, impl=RANDOM)
    draws = Draws(key, background.rows, background.present)
    return method.noise(draws, zeros_like(x, batch_size))


@jax.named_scope("rows")
def batch_rows(order: Array, step: int | Array, rows: Grid, batch_size: int) -> tuple[Array, Array]:
    """Returns the indices `[B]` of the rows in a step's batch, and which of them are no padding.

    Args:
        order: of `StepKeys.order`.
        step: number of steps before it in its pass.
        rows: that a pass sees once each, as `shuffle.grid` gives them.
        batch_size: B.
    """
    positions = jnp.arange(batch_size, dtype=jnp.uint32)
    positions = jnp.uint32(step * batch_size) + positions
    inside = positions < rows.size
    # The padding repeats rows that the weights then take out again.
    return shuffled(jnp.where(inside, positions, 0), order, rows), inside


def weighted(batch: Batch, inside: Array) -> Batch:
    """Returns a batch whose rows count as much as they did, and its padding not at all.

    Args:
        batch: B rows, with weights of their own or without.
        inside: `[B]`, false where a row is padding.
    """
    present = inside.astype(batch.numbers.dtype)
    weights = present if batch.weights is None else batch.weights * present
    return batch._replace(weights=weights)


@jax.named_scope("rows")
def take_batch(x: Batch, chosen: Array, inside: Array, devices: Devices | None = None) -> Batch:
    """Returns the batch of the rows that `batch_rows` chose, a part on every device.

    Each has a part of x. It gathers the rows of the batch that it holds, and zeros for the others:
    their sum is the batch, of which each gets its part.

    Args:
        x: rows, sharded among the devices.
        chosen: indices of the batch's rows, `[B]`.
        inside: which of them are no padding, `[B]`.
        devices: that train together; by default one.
    """
    if devices is None or devices.count == 1:
        return weighted(take(x, chosen), inside)

    def on_a_device(x: Batch, chosen: Array, inside: Array) -> Batch:
        device = jax.lax.axis_index(AXIS)
        own = chosen.astype(jnp.int32) - device * len(x.numbers)
        held = (own >= 0) & (own < len(x.numbers))

        def gather(array: Array) -> Array:
            of_rows = held.reshape(-1, *[1] * (array.ndim - 1))
            found = jnp.where(of_rows, array[jnp.where(held, own, 0)], 0)
            mine: Array = jax.lax.psum_scatter(found, AXIS, tiled=True)  # type: ignore[no-untyped-call]
            return mine

        part = len(chosen) // devices.count
        return weighted(
            jax.tree.map(gather, x), jax.lax.dynamic_slice_in_dim(inside, device * part, part)
        )

    whole, sharded = (devices.sharding(*axes).spec for axes in ((), (AXIS,)))
    # check_vma: which rows a device holds, its number tells, which the check does not follow.
    gather = jax.shard_map(
        on_a_device,
        mesh=devices.mesh,
        in_specs=(sharded, whole, whole),
        out_specs=sharded,
        check_vma=False,
    )
    taken: Batch = gather(x, chosen, inside)
    return taken


def train_step(
    method: AnyMethod,
    state: TrainState,
    batch: Batch,
    noise: Noise,
    *,
    spec: RowSpec,
    steps: int | Array | None = None,
) -> tuple[TrainState, Metrics]:
    """Takes one step of the optimiser.

    Args:
        method: its loss and optimiser.
        state: before the step.
        batch: rows and their weights.
        noise: drawn for the batch.
        spec: what every row holds.
        steps: of the whole run, for methods with a schedule.

    Returns:
        The state after the step, and the loss and the method's metrics before it.

    Example:
        >>> from jaxrep.methods import VAE, VAEHyperparameters
        >>> method = VAE(VAEHyperparameters(schedule="constant"))
        >>> spec, x = RowSpec(3), jnp.ones((4, 3))
        >>> batch, noise = draw_batch(method, 0, x, x, 0, batch_size=4)
        >>> state = init_state(method, spec, 0)
        >>> state, metrics = train_step(method, state, batch, noise, spec=spec)
        >>> sorted(metrics)
        ['kl', 'loss', 'reconstruction']
    """
    network = training_network(method, spec)

    def loss(params: dict[str, Array]) -> tuple[Array, tuple[Metrics, dict[str, Array]]]:
        model = with_weights(network, params | state.model_state)
        value, metrics = method.loss(model, batch, noise)
        return value, (metrics, get_model_state(model))

    with method.matmul_precision():
        compute = jax.value_and_grad(loss, has_aux=True)
        (value, (metrics, model_state)), gradients = compute(state.params)
    with jax.named_scope("optimiser"):
        optimizer = method.optimizer(steps)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
    return TrainState(params, model_state, opt_state), {"loss": value, **metrics}
