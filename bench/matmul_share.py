"""Which share of the machine's matmul rate a training step reaches, by batch and width.

The step is an autoencoder's whose four layers are all as wide as its rows. Its FLOPs are counted
from the shapes: two a multiply-add of the products that a step needs, which is 6·B·parameters less
the gradient of the rows; all else that a step does counts as time alone. The rate that it is held
against is the best of XLA's and PyTorch's float32 product of 4096 × 4096 matrices in the same run.
"""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import torch

from bench import blobs
from bench.matmuls import flop, layers
from bench.measured import Figure, Measured, collect, interleave
from bench.peer_device import torch_device, torch_wait
from jaxrep.methods import Autoencoder, AutoencoderHyperparameters
from jaxrep.training import fit

BATCHES, WIDTHS = (128, 512, 1024, 4096), (64, 256, 1024, 2048)
SIZE = 4096
PEAK = "4096³ product"
_FLOP_A_SAMPLE = 2e10  # a tenth of a second or so, and at least a step


def measure(*, quick: bool, rounds: int) -> Measured:
    """Measures the products and the steps, in turn.

    Args:
        quick: the smallest and the largest step alone.
        rounds: how often.

    Returns:
        GFLOP per second of each.
    """
    cells = [(batch, width) for batch in BATCHES for width in WIDTHS]
    if quick:
        cells = [cells[0], cells[-1]]
    sides: dict[tuple[str, str], Callable[[int], float]] = {
        (PEAK, "XLA"): _jax_product(),
        (PEAK, "PyTorch"): _torch_product(),
    }
    for batch, width in cells:
        sides[f"batch {batch}", f"width {width}"] = _steps(batch, width)
    return Measured(collect("GFLOP/s", interleave(rounds, sides)), {"product": SIZE})


def figures(measured: Measured) -> list[Figure]:
    """Returns the share of the rate that each step reaches."""
    peak = max((s.median for s in measured.series if s.case == PEAK), default=float("nan"))
    made = []
    for series in measured.series:
        if series.case != PEAK:
            is_widest = (series.case, series.side) == (
                f"batch {BATCHES[-1]}",
                f"width {WIDTHS[-1]}",
            )
            name = f"{series.case}, {series.side}: share of the matmul rate"
            made.append(Figure(name, series.median / peak, "%", 0.8 if is_widest else None))
    return made


def _jax_product() -> Callable[[int], float]:
    a = jnp.asarray(blobs.many(SIZE, SIZE))
    product = jax.jit(lambda a: jnp.matmul(a, a))
    product(a).block_until_ready()
    return lambda _: _gflops(lambda: product(a).block_until_ready())


def _torch_product() -> Callable[[int], float]:
    a = torch.from_numpy(blobs.many(SIZE, SIZE)).to(torch_device())

    def product() -> None:
        torch.mm(a, a)
        torch_wait()

    product()
    return lambda _: _gflops(product)


def _gflops(product: Callable[[], object]) -> float:
    started = time.perf_counter()
    product()
    return 2 * SIZE**3 / (time.perf_counter() - started) / 1e9


def _steps(batch: int, width: int) -> Callable[[int], float]:
    """Returns what trains some steps, compiled, and gives their GFLOP per second."""
    hp = AutoencoderHyperparameters(hidden_dims=(width,), latent_dim=width, batch_size=batch)
    a_step = flop(layers(hp, width), batch)
    rows = blobs.many(batch, width)
    hp.epochs = max(int(np.ceil(_FLOP_A_SAMPLE / a_step)), 1)  # of one step each
    fit(Autoencoder(AutoencoderHyperparameters(**(vars(hp) | {"epochs": 1}))), rows)
    return lambda _: a_step * hp.epochs / fit(Autoencoder(hp), rows).seconds / 1e9
