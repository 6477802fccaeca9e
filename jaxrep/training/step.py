"""One training step, and what it needs: initial state, the rows of a batch, its noise.

Which rows and which noise a step sees is a function of the seed, the epoch and the step in it, and
of nothing else: a run resumed at any step sees what it would have seen.

The named scopes here, in the methods and in the views tell the kernels of a profile apart.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array

from jaxrep.batch import Batch, RowSpec
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
    """What the network changes itself as it computes the loss, by name; most have nothing."""

    opt_state: optax.OptState
    """State of the optimiser."""

    @property
    def weights(self) -> dict[str, Array]:
        """All of the network that training changes, by name."""
        return self.params | self.model_state


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


def init_state(method: AnyMethod, input_dim: int, seed: int | Array) -> TrainState:
    """Returns the state before the first step.

    Args:
        method: whose network and optimiser to start.
        input_dim: D, features of a row.
        seed: the run's seed.
    """
    network = method.init(RowSpec(input_dim), nnx.Rngs(stream(seed, INIT_STREAM)))
    params = get_weights(network, nnx.Param)
    return TrainState(params, get_model_state(network), method.optimizer(steps=1).init(params))


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Returns the number of batches that hold every row once."""
    return -(-rows // batch_size)


@dataclass(frozen=True)
class BlockEpoch:
    """One pass over rows that are on the device: all of them, or a block of the table."""

    rows: int
    """Rows to see once each."""

    batch_size: int
    """Rows in a batch, B; the last one may hold fewer."""

    steps: int
    """By which steps are counted on from one pass to the next; at least those that it takes."""

    @classmethod
    def of(cls, rows: int, batch_size: int) -> "BlockEpoch":
        """Returns the pass whose steps follow one another without a gap."""
        return cls(rows, batch_size, steps_per_epoch(rows, batch_size))


def draw_batch(
    method: AnyMethod,
    seed: int | Array,
    x: Array,
    background: Array,
    step: int | Array,
    *,
    batch_size: int,
) -> tuple[Batch, Noise]:
    """Returns the batch of a step, its rows in the epoch's order, and its noise.

    Args:
        method: draws the noise.
        seed: the run's seed.
        x: all training rows, `[rows, D]`.
        background: training rows that views may take values from, `[R, D]`.
        step: number of the step in the run, from 0.
        batch_size: B.
    """
    epoch = BlockEpoch.of(len(x), batch_size)
    noise = draw_noise(method, seed, x, background, step, epoch)
    return take_batch(seed, x, step, epoch), resolve(noise)


@jax.named_scope("noise")
def draw_noise(
    method: AnyMethod,
    seed: int | Array,
    x: Array,
    background: Array,
    step: int | Array,
    epoch: BlockEpoch,
) -> Noise | Deferred:
    """Returns all that is random in a step, of which `resolve` makes the noise.

    Args:
        method: draws the noise.
        seed: the run's seed.
        x: the rows on the device, `[rows, D]`; their width and dtype count.
        background: training rows that views may take values from, `[R, D]`.
        step: number of the step, counted over all passes.
        epoch: what every block epoch is.
    """
    number, step_in_block = jnp.divmod(step, epoch.steps)
    key = jax.random.fold_in(jax.random.fold_in(stream(seed, NOISE_STREAM), number), step_in_block)
    batch = Batch(jnp.zeros((epoch.batch_size, x.shape[-1]), x.dtype))
    return method.noise(Draws(key, background), batch)


def batch_rows(seed: int | Array, step: int | Array, epoch: BlockEpoch) -> tuple[Array, Array]:
    """Returns the indices `[B]` of the rows in a step's batch, and which of them are no padding.

    Args:
        seed: the run's seed.
        step: number of the step, counted over all passes.
        epoch: what every block epoch is.
    """
    number, step_in_block = jnp.divmod(step, epoch.steps)
    order = jax.random.fold_in(stream(seed, ORDER_STREAM), number)
    positions = jnp.arange(epoch.batch_size, dtype=jnp.uint32)
    positions = jnp.uint32(step_in_block * epoch.batch_size) + positions
    inside = positions < epoch.rows
    # The padding repeats rows that the weights then take out again.
    keys = jax.random.bits(order, (rounds(epoch.rows),))
    return shuffled(jnp.where(inside, positions, 0), keys, size=epoch.rows), inside


@jax.named_scope("rows")
def take_batch(seed: int | Array, x: Array, step: int | Array, epoch: BlockEpoch) -> Batch:
    """Returns the batch of a step; arguments as of `draw_noise`."""
    rows, inside = batch_rows(seed, step, epoch)
    return Batch(x[rows], weights=inside.astype(x.dtype))


@jax.named_scope("rows")
def gather_sharded_batch(
    seed: int | Array, x: Array, step: int | Array, epoch: BlockEpoch, devices: Devices
) -> Batch:
    """Returns the batch of `take_batch`, a part on every device, where each has a part of x.

    A device gathers the rows of the batch that it holds, and zeros for the others: their sum is the
    batch, of which each gets its part.
    """

    def on_a_device(seed: Array, x: Array, step: Array) -> tuple[Array, Array]:
        rows, inside = batch_rows(seed, step, epoch)
        device = jax.lax.axis_index(AXIS)
        own = rows.astype(jnp.int32) - device * len(x)
        held = (own >= 0) & (own < len(x))
        found = jnp.where(held[:, None], x[jnp.where(held, own, 0)], 0)
        part = epoch.batch_size // devices.count
        weights = jax.lax.dynamic_slice_in_dim(inside.astype(x.dtype), device * part, part)
        return jax.lax.psum_scatter(found, AXIS, tiled=True), weights  # type: ignore[no-untyped-call]

    whole, sharded = (devices.sharding(*axes).spec for axes in ((), (AXIS,)))
    # check_vma: the shuffle's loop starts from constants, which no device has to itself.
    gather = jax.shard_map(
        on_a_device,
        mesh=devices.mesh,
        in_specs=(whole, sharded, whole),
        out_specs=(sharded, sharded),
        check_vma=False,
    )
    rows, weights = gather(jnp.asarray(seed, jnp.uint32), x, jnp.asarray(step, jnp.int32))
    return Batch(rows, weights=weights)


def train_step(
    method: AnyMethod,
    state: TrainState,
    batch: Batch,
    noise: Noise,
    *,
    steps: int | Array | None = None,
) -> tuple[TrainState, Metrics]:
    """Takes one step of the optimiser.

    Args:
        method: its loss and optimiser.
        state: before the step.
        batch: rows and their weights.
        noise: drawn for the batch.
        steps: of the whole run, for methods with a schedule.

    Returns:
        The state after the step, and the loss and the method's metrics before it.

    Example:
        >>> from jaxrep.methods import VAE, VAEHyperparameters
        >>> method, x = VAE(VAEHyperparameters()), jnp.ones((4, 3))
        >>> batch, noise = draw_batch(method, 0, x, x, 0, batch_size=4)
        >>> state, metrics = train_step(method, init_state(method, 3, 0), batch, noise)
        >>> sorted(metrics)
        ['kl', 'loss', 'reconstruction']
    """
    network = training_network(method, RowSpec(batch.numbers.shape[-1]))

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
