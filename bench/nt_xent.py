"""NT-Xent, loss and gradient: time and memory of jaxrep and its peers, by batch size.

Float32, 128 wide, τ = 0.5; rows of length 1. Time is that of a call once it is compiled. Memory is
the peak of resident memory that one call adds to a process which has made a small one before; its
inputs are in it. Peers that would take more than the cap, or are not installed, are left out, and
the facts say why. At 65,536 pairs jaxrep is measured once.
"""

import argparse
import gc
import importlib.util
import math
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.measured import Figure, Measured, Series, interleave
from bench.resident import peak
from jaxrep.training.loop import wait

WIDTH = 128
TEMPERATURE = 0.5
MEMORY_CAP = 6e9  # bytes that a contender may be expected to take
TIME_CAP = 240.0  # seconds that one call may be expected to take
LARGEST = 65_536
LEAST_SECONDS = 0.02  # of a sample: calls shorter than that are repeated
PEAK = "4096³ sgemm"

Call = Callable[[], Any]


def measure(*, quick: bool, rounds: int) -> Measured:
    """Measures every contender at every batch size that its memory allows.

    Args:
        quick: one small batch size.
        rounds: how often, up to 2,048 pairs; three times above, and once at 65,536.

    Returns:
        Milliseconds and megabytes by batch size and contender, and the rate of a large product.
    """
    batches = [256] if quick else [2**i for i in range(6, 14)] + [LARGEST]
    series: list[Series] = []
    skipped: dict[str, str] = {}
    temporaries: dict[str, float] = {}
    for batch in batches:
        calls = {}
        for name, (make, memory, seconds) in CONTENDERS.items():
            if reason := _reason_to_skip(name, memory(batch), seconds(batch)):
                skipped[f"{name} at {batch:,}"] = reason
            else:
                calls[name], temporaries[f"{name} at {batch:,}"] = make(batch)
        times = _times(calls, rounds if batch <= 2048 else 3 if batch < LARGEST else 1)
        calls.clear()
        gc.collect()
        series += [Series(case(batch), name, "ms", samples) for name, samples in times.items()]
        series += [
            Series(case(batch, "memory"), name, "MB", [_in_a_process(name, batch) / 1e6])
            for name in times
        ]
    series.append(Series("matmul", PEAK, "GFLOP/s", _matmul_rates(rounds)))
    in_megabytes = {k: v / 1e6 for k, v in temporaries.items() if v is not None}
    facts = {"left_out": skipped, "temporaries_of_the_program_in_MB": in_megabytes}
    return Measured(series, facts)


def case(batch: int, quantity: str = "") -> str:
    """Returns the row that a batch size has in the table of times, or of another quantity."""
    return ", ".join(filter(None, (f"{batch:,} pairs", quantity)))


def figures(measured: Measured) -> list[Figure]:
    """Returns what is promised: speed over the dense peers, memory, and the share of the peak."""
    small = [
        Figure(
            f"{case(batch)}: time over dense JAX",
            measured.ratio((case(batch), "jaxrep"), (case(batch), "dense JAX")),
            "×",
            1.05,
            "most",
        )
        for batch in (64, 128, 256, 512, 1024)
    ]
    over_seed = measured.ratio((case(8192), "dense PyTorch"), (case(8192), "jaxrep"))
    large = [Figure(f"{case(8192)}: over dense PyTorch", over_seed, "×", 8)]
    for batch, bound in ((8192, 250), (LARGEST, 1000)):
        added = measured.find(case(batch, "memory"), "jaxrep")
        value = round(added.median) if added else math.nan
        large.append(Figure(f"{case(batch)}: peak memory, MB", value, "", bound, "most"))
    call, rate = measured.find(case(LARGEST), "jaxrep"), measured.find("matmul", PEAK)
    flop = 4 * (2 * LARGEST) ** 2 * WIDTH
    share = flop / (call.median / 1e3) / (rate.median * 1e9) if call and rate else math.nan
    return [*small, *large, Figure(f"{case(LARGEST)}: share of {PEAK}", share, "%", 0.5)]


def _times(calls: dict[str, Call], rounds: int) -> dict[str, list[float]]:
    """Returns milliseconds of each call, in turn; the first sample is dropped if there are more."""

    def timed(call: Call, _: int) -> float:
        started, calls = time.perf_counter(), 0
        while not calls or time.perf_counter() - started < LEAST_SECONDS:
            call()
            calls += 1
        return 1e3 * (time.perf_counter() - started) / calls

    sides = {name: partial(timed, call) for name, call in calls.items()}
    warm_up = 1 if rounds > 1 else 0  # a single one is long, and compiled when it was made
    samples = interleave(rounds + warm_up, sides)
    return {name: values[warm_up:] for name, values in samples.items()}


def _reason_to_skip(name: str, memory: float, seconds: float) -> str | None:
    package = PACKAGES.get(name)
    if package and importlib.util.find_spec(package) is None:
        return f"{package} is not installed"
    if memory > MEMORY_CAP:
        return f"would take about {memory / 1e9:.0f} GB, over the cap of {MEMORY_CAP / 1e9:.0f} GB"
    if seconds > TIME_CAP:
        return f"would take about {seconds:.0f} s, over the cap of {TIME_CAP:.0f} s"
    return None


def _in_a_process(name: str, batch: int) -> float:
    """Calls a contender once in a process of its own, and returns the bytes that it adds."""
    command = [sys.executable, "-m", "bench.nt_xent", "--memory", name, "--batch", str(batch)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def _memory(name: str, batch: int) -> int:
    make = CONTENDERS[name][0]
    small, _ = make(16)  # loads what is loaded at the first call
    small()
    before = peak()
    call, _ = make(batch)
    call()
    return peak() - before


def _matmul_rates(rounds: int) -> list[float]:
    import jax

    side = 4096
    a = jax.numpy.ones((side, side), "float32")
    product = jax.jit(lambda a: a @ a)
    times = _times({"product": lambda: wait(product(a))}, rounds)["product"]
    return [2 * side**3 / (milliseconds / 1e3) / 1e9 for milliseconds in times]


def _views(batch: int) -> np.ndarray:
    drawn = np.random.default_rng(0).normal(size=(2, batch, WIDTH)).astype(np.float32)
    views: np.ndarray = drawn / np.linalg.norm(drawn, axis=2, keepdims=True)
    return views


def _in_jax(loss: Callable[[Any], Any], batch: int) -> tuple[Call, int]:
    import jax

    z = jax.device_put(_views(batch))
    compiled = jax.jit(jax.value_and_grad(loss)).lower(z).compile()
    analysis: Any = compiled.memory_analysis()
    return lambda: wait(compiled(z)), analysis.temp_size_in_bytes


def _jaxrep(batch: int) -> tuple[Call, int]:
    from jaxrep.losses import nt_xent_loss

    return _in_jax(lambda z: nt_xent_loss(z[0], z[1], temperature=TEMPERATURE), batch)


def _dense_jax(batch: int) -> tuple[Call, int]:
    """As the definition reads, differentiated by JAX."""
    import jax
    import jax.numpy as jnp

    def loss(views: Any) -> Any:
        z = views.reshape(-1, WIDTH)
        s = jnp.where(jnp.eye(len(z), dtype=bool), -jnp.inf, z @ z.T / TEMPERATURE)
        positive = jnp.sum(z * jnp.roll(z, batch, axis=0), axis=1) / TEMPERATURE
        return jnp.mean(jax.nn.logsumexp(s, axis=1) - positive)

    return _in_jax(loss, batch)


def _optax(batch: int) -> tuple[Call, int]:
    import jax.numpy as jnp
    import optax

    labels = jnp.tile(jnp.arange(batch), 2)
    return _in_jax(lambda z: optax.losses.ntxent(z.reshape(-1, WIDTH), labels, TEMPERATURE), batch)


def _in_torch(loss: Callable[[Any], Any], batch: int) -> tuple[Call, None]:
    import torch

    torch.set_flush_denormal(True)
    z = torch.from_numpy(_views(batch)).requires_grad_()

    def call() -> None:
        z.grad = None
        loss(z).backward()

    return call, None


def _seed_torch(batch: int) -> tuple[Call, None]:
    """As a plain script writes it: a masked square and a cross entropy."""
    import torch
    import torch.nn.functional as F

    labels = torch.cat([torch.arange(batch, 2 * batch), torch.arange(batch)])
    own = torch.eye(2 * batch, dtype=torch.bool)

    def loss(views: Any) -> Any:
        z = views.reshape(-1, WIDTH)
        similarity = torch.mm(z, z.T) / TEMPERATURE
        return F.cross_entropy(similarity.masked_fill(own, float("-inf")), labels)

    return _in_torch(loss, batch)


def _tiled_torch(batch: int) -> tuple[Call, None]:
    from torch_ref.nt_xent import nt_xent

    return _in_torch(lambda z: nt_xent(z[0], z[1], temperature=TEMPERATURE), batch)


def _lightly(batch: int) -> tuple[Call, None]:
    from lightly.loss import NTXentLoss

    loss = NTXentLoss(temperature=TEMPERATURE)
    return _in_torch(lambda z: loss(z[0], z[1]), batch)


def _pytorch_metric_learning(batch: int) -> tuple[Call, None]:
    import torch
    from pytorch_metric_learning.losses import NTXentLoss

    loss, labels = NTXentLoss(temperature=TEMPERATURE), torch.arange(batch).repeat(2)
    return _in_torch(lambda z: loss(z.reshape(-1, WIDTH), labels), batch)


def _square(arrays: float, batch: int) -> float:
    return arrays * 4 * (2 * batch) ** 2


def _seconds(rate: float, batch: int) -> float:
    return 4 * (2 * batch) ** 2 * WIDTH / rate


_no_time = partial(_seconds, np.inf)
# For each contender how to make its call, and the bytes and seconds to expect of it.
CONTENDERS: dict[str, tuple[Callable[[int], tuple[Call, Any]], Any, Any]] = {
    "jaxrep": (_jaxrep, lambda batch: 12 * 4 * batch * WIDTH, _no_time),
    "dense JAX": (_dense_jax, partial(_square, 4), _no_time),
    "dense PyTorch": (_seed_torch, partial(_square, 4), _no_time),
    "tiled PyTorch": (
        _tiled_torch,
        lambda batch: 12 * 4 * batch * WIDTH,
        partial(_seconds, 3e10),
    ),
    "optax": (_optax, lambda batch: 64 * batch**2 * WIDTH, partial(_seconds, 1e8)),
    "lightly": (_lightly, partial(_square, 5), _no_time),
    "pytorch-metric-learning": (_pytorch_metric_learning, lambda batch: 32 * batch**3, _no_time),
}
PACKAGES = {"lightly": "lightly", "pytorch-metric-learning": "pytorch_metric_learning"}


def plot(measured: Measured, path: Path) -> None:
    """Draws time and memory over the batch size, both logarithmic."""
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(10, 4), layout="constrained")
    for axes, unit in zip(picture.subplots(1, 2), ("ms", "MB"), strict=True):
        for name in CONTENDERS:
            own = [s for s in measured.series if (s.side, s.unit) == (name, unit)]
            batches = [int(s.case.split()[0].replace(",", "")) for s in own]
            if own:
                axes.plot(batches, [max(s.median, 0.1) for s in own], "o-", label=name)
        axes.set(xscale="log", yscale="log", xlabel="pairs in the batch", ylabel=unit)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    picture.suptitle(f"NT-Xent, loss and gradient, width {WIDTH}, float32")
    picture.savefig(path, dpi=110, metadata={"Software": None})


def main() -> None:
    """Prints the bytes that a contender takes: what `measure` starts processes for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--memory", choices=CONTENDERS, required=True)
    parser.add_argument("--batch", type=int, required=True)
    arguments = parser.parse_args()
    print(_memory(arguments.memory, arguments.batch))


if __name__ == "__main__":
    main()
