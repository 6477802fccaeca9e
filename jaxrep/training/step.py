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
from jaxrep.networks import get_model_state, get_weights, with_weights
from jaxrep.shuffle import rounds, shuffled
from jaxrep.training.devices import AXIS, Devices
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


def stream(seed: int | Array, name: int) -> Array:
    """Returns the key of one of a run's streams of random numbers.

    Args:
        seed: the run's seed.
        name: one of the `…_STREAM` constants.
    """
    key = jax.random.key(seed, impl=RANDOM)
    # All of them at once: a program that asks for several then has one generator to compile.
    keys: Array = jax.vmap(lambda number: jax.random.fold_in(key, number))(
        jnp.arange(len(_STREAMS))
    )
    return keys[name]


def init_state(method: AnyMethod, spec: RowSpec, seed: int | Array) -> TrainState:
    """Returns the state before the first step.

    Args:
        method: whose network and optimiser to start.
        spec: what every row holds.
        seed: the run's seed.
    """
    network = method.init(spec, nnx.Rngs(stream(seed, INIT_STREAM)))
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
    noise = draw_noise(method, seed, x, as_batch(background), at, batch_size)
    return take_batch(seed, x, at, rows, batch_size), resolve(noise)


@jax.named_scope("noise")
def draw_noise(
    method: AnyMethod,
    seed: int | Array,
    x: Batch,
    background: Batch,
    at: StepIndex,
    batch_size: int,
) -> Noise | Deferred:
    """Returns all that is random in a step, of which `resolve` makes the noise.

    Args:
        method: draws the noise.
        seed: the run's seed.
        x: the rows on the device; their shapes and dtypes count.
        background: R training rows that views may take values from.
        at: which step it is.
        batch_size: B.
    """
    of_pass = jax.random.fold_in(stream(seed, NOISE_STREAM), at.block_epoch)
    key = jax.random.fold_in(of_pass, at.step)
    return method.noise(Draws(key, background), zeros_like(x, batch_size))


def batch_rows(seed: int | Array, at: StepIndex, rows: int, batch_size: int) -> tuple[Array, Array]:
    """Returns the indices `[B]` of the rows in a step's batch, and which of them are no padding.

    Args:
        seed: the run's seed.
        at: which step it is.
        rows: that a pass sees once each.
        batch_size: B.
    """
    order = jax.random.fold_in(stream(seed, ORDER_STREAM), at.block_epoch)
    positions = jnp.arange(batch_size, dtype=jnp.uint32)
    positions = jnp.uint32(at.step * batch_size) + positions
    inside = positions < rows
    # The padding repeats rows that the weights then take out again.
    keys = jax.random.bits(order, (rounds(rows),))
    return shuffled(jnp.where(inside, positions, 0), keys, size=rows), inside


@jax.named_scope("rows")
def take_batch(seed: int | Array, x: Batch, at: StepIndex, rows: int, batch_size: int) -> Batch:
    """Returns the batch of a step from rows on one device; arguments as of `batch_rows`."""
    chosen, inside = batch_rows(seed, at, rows, batch_size)
    return weighted(take(x, chosen), inside)


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
def take_sharded_batch(
    seed: int | Array, x: Batch, at: StepIndex, rows: int, batch_size: int, devices: Devices
) -> Batch:
    """Returns the batch of `take_batch`, a part on every device, where each has a part of x.

    A device gathers the rows of the batch that it holds, and zeros for the others: their sum is the
    batch, of which each gets its part.
    """
    if devices.count == 1:
        return take_batch(seed, x, at, rows, batch_size)

    def on_a_device(seed: Array, x: Batch, at: StepIndex) -> Batch:
        chosen, inside = batch_rows(seed, at, rows, batch_size)
        device = jax.lax.axis_index(AXIS)
        own = chosen.astype(jnp.int32) - device * len(x.numbers)
        held = (own >= 0) & (own < len(x.numbers))

        def gather(array: Array) -> Array:
            of_rows = held.reshape(-1, *[1] * (array.ndim - 1))
            found = jnp.where(of_rows, array[jnp.where(held, own, 0)], 0)
            mine: Array = jax.lax.psum_scatter(found, AXIS, tiled=True)  # type: ignore[no-untyped-call]
            return mine

        part = batch_size // devices.count
        return weighted(
            jax.tree.map(gather, x), jax.lax.dynamic_slice_in_dim(inside, device * part, part)
        )

    whole, sharded = (devices.sharding(*axes).spec for axes in ((), (AXIS,)))
    # check_vma: the shuffle's loop starts from constants, which no device has to itself.
    gather = jax.shard_map(
        on_a_device,
        mesh=devices.mesh,
        in_specs=(whole, sharded, whole),
        out_specs=sharded,
        check_vma=False,
    )
    taken: Batch = gather(jnp.asarray(seed, jnp.uint32), x, at)
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
        >>> method, spec, x = VAE(VAEHyperparameters()), RowSpec(3), jnp.ones((4, 3))
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
