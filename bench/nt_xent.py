"""NT-Xent, loss and gradient: time and memory of jaxrep and its peers, by batch size."""

import argparse
import functools
import gc
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

WIDTH = 128
TEMPERATURE = 0.5
MEMORY_CAP = 6e9  # bytes that a contender may be expected to take
TIME_CAP = 240.0  # seconds that one call may be expected to take
RESULT = Path(__file__).parent / "results" / "nt_xent.json"
DOCS = Path(__file__).parents[1] / "docs"

Call = Callable[[], Any]


def measure(quick: bool = False) -> dict[str, Any]:
    """Measures every contender at every batch size that its memory allows.

    Args:
        quick: three small batch sizes, for a check that it works.

    Returns:
        For JSON: the setting, the rate of a large matrix product, and for each contender and batch
        size every sample of time, the bytes of temporaries, and the peak of resident memory above
        what the process had before; or why it was skipped.
    """
    batches = [64, 256, 1024] if quick else [64, 128, 256, 512, 1024, 2048, 4096, 8192, 65_536]
    entries: list[dict[str, Any]] = []
    for batch in batches:
        entries += _at(batch)
    return {
        "width": WIDTH,
        "temperature": TEMPERATURE,
        "dtype": "float32",
        "memory_cap_bytes": MEMORY_CAP,
        "time_cap_seconds": TIME_CAP,
        "matmul_flop_per_second": _matmul_rate(),
        "entries": entries,
    }


def _at(batch: int) -> list[dict[str, Any]]:
    calls, entries = {}, []
    for name, (make, memory, seconds) in CONTENDERS.items():
        reason = _reason_to_skip(name, memory(batch), seconds(batch))
        if reason:
            entries.append({"name": name, "batch": batch, "skipped": reason})
        else:
            calls[name] = make(batch)[0]
    rounds = 7 if batch <= 2048 else 3 if batch < 65_536 else 1
    times = _interleaved(calls, rounds)
    calls.clear()
    gc.collect()
    for name, samples in times.items():
        entry = {"name": name, "batch": batch, "seconds": samples, **_summary(samples)}
        entries.append(entry | _in_a_process(name, batch))
    return entries


def _interleaved(calls: dict[str, Call], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(rounds + 1):
        for name, call in calls.items():
            if round_ == 0 and rounds == 1:
                continue  # too long to warm up; compiled by `make`
            started = time.perf_counter()
            call()
            if round_:
                times[name].append(time.perf_counter() - started)
    return times


def _summary(samples: list[float]) -> dict[str, float]:
    low, _, high = statistics.quantiles(samples, n=4) if len(samples) > 1 else samples * 3
    return {"min": min(samples), "median": statistics.median(samples), "iqr": high - low}


def _reason_to_skip(name: str, memory: float, seconds: float) -> str | None:
    package = PACKAGES.get(name)
    if package and importlib.util.find_spec(package) is None:
        return f"{package} is not installed"
    if memory > MEMORY_CAP:
        return f"would take about {memory / 1e9:.0f} GB, over the cap of {MEMORY_CAP / 1e9:.0f} GB"
    if seconds > TIME_CAP:
        return f"would take about {seconds:.0f} s, over the cap of {TIME_CAP:.0f} s"
    return None


def _in_a_process(name: str, batch: int) -> dict[str, Any]:
    """Calls a contender once in a process of its own, for its memory."""
    command = [sys.executable, "-m", "bench.nt_xent", "--memory", name, "--batch", str(batch)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _memory(name: str, batch: int) -> dict[str, Any]:
    make = CONTENDERS[name][0]
    small, _ = make(16)  # loads what is loaded at the first call
    small()
    before = _peak()
    call, temporaries = make(batch)
    call()
    return {"peak_bytes": _peak() - before, "temporary_bytes": temporaries}


def _peak() -> int:
    # Not getrusage: its peak is inherited from the process that started this one.
    status = Path("/proc/self/status").read_text("utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _matmul_rate() -> float:
    import jax

    side = 4096
    a = jax.numpy.ones((side, side), "float32")
    product = jax.jit(lambda a: a @ a)
    product(a).block_until_ready()
    times = _interleaved({"product": lambda: product(a).block_until_ready()}, 7)["product"]
    return 2 * side**3 / min(times)


def _views(batch: int) -> np.ndarray:
    drawn = np.random.default_rng(0).normal(size=(2, batch, WIDTH)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=2, keepdims=True)


def _in_jax(loss: Callable[[Any], Any], batch: int) -> tuple[Call, int]:
    import jax

    z = jax.device_put(_views(batch))
    compiled = jax.jit(jax.value_and_grad(loss)).lower(z).compile()
    analysis: Any = compiled.memory_analysis()
    return lambda: jax.block_until_ready(compiled(z)), analysis.temp_size_in_bytes


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


_no_time = functools.partial(_seconds, np.inf)
# For each contender how to make its call, and the bytes and seconds to expect of it.
CONTENDERS: dict[str, tuple[Callable[[int], tuple[Call, Any]], Any, Any]] = {
    "jaxrep": (_jaxrep, lambda batch: 12 * 4 * batch * WIDTH, _no_time),
    "dense JAX": (_dense_jax, functools.partial(_square, 4), _no_time),
    "dense PyTorch": (_seed_torch, functools.partial(_square, 4), _no_time),
    "tiled PyTorch": (
        _tiled_torch,
        lambda batch: 12 * 4 * batch * WIDTH,
        functools.partial(_seconds, 3e10),
    ),
    "optax": (_optax, lambda batch: 64 * batch**2 * WIDTH, functools.partial(_seconds, 1e8)),
    "lightly": (_lightly, functools.partial(_square, 5), _no_time),
    "pytorch-metric-learning": (_pytorch_metric_learning, lambda batch: 32 * batch**3, _no_time),
}
PACKAGES = {"lightly": "lightly", "pytorch-metric-learning": "pytorch_metric_learning"}


def table(result: dict[str, Any]) -> str:
    """Returns a result as a table of Markdown: median seconds, and peak memory."""
    measured = [e for e in result["entries"] if "median" in e]
    names = [n for n in CONTENDERS if any(e["name"] == n for e in measured)]
    lines = [
        "| pairs | " + " | ".join(names) + " |",
        "|---:|" + "---:|" * len(names),
    ]
    for batch in sorted({e["batch"] for e in measured}):
        cells = {e["name"]: _cell(e) for e in measured if e["batch"] == batch}
        lines.append(f"| {batch:,} | " + " | ".join(cells.get(n, "–") for n in names) + " |")
    return "\n".join(lines) + "\n"


def _cell(entry: dict[str, Any]) -> str:
    return f"{entry['median'] * 1e3:,.4g} ms, {entry['peak_bytes'] / 1e6:,.0f} MB"


def plot(result: dict[str, Any], path: Path) -> None:
    """Draws time and memory over the batch size, both logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    times, memory = figure.subplots(1, 2)
    for name in CONTENDERS:
        own = [e for e in result["entries"] if e["name"] == name and "median" in e]
        batches = [e["batch"] for e in own]
        if own:
            times.plot(batches, [e["median"] for e in own], "o-", label=name)
            memory.plot(batches, [max(e["peak_bytes"], 1e5) / 1e6 for e in own], "o-", label=name)
    for axes, label in ((times, "seconds"), (memory, "peak memory above the process, MB")):
        axes.set(xscale="log", yscale="log", xlabel="pairs in the batch", ylabel=label)
        axes.grid(alpha=0.3)
    times.legend()
    figure.suptitle(f"NT-Xent, loss and gradient, width {result['width']}, float32")
    figure.savefig(path, dpi=120)


def write_page(result: dict[str, Any]) -> None:
    """Puts the plot into docs/plots and the table between its marks in docs/nt_xent.md."""
    plot(result, DOCS / "plots" / "nt_xent.png")
    page = DOCS / "nt_xent.md"
    head, _, rest = page.read_text("utf-8").partition("<!-- measured -->\n")
    _, mark, tail = rest.partition("<!-- end -->")
    page.write_text(f"{head}<!-- measured -->\n{table(result)}{mark}{tail}", "utf-8")


def main() -> int:
    """Measures and writes JSON, plot and table; or, for itself, one contender's memory."""
    parser = argparse.ArgumentParser(prog="python -m bench.nt_xent", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three small batch sizes")
    parser.add_argument("--memory", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        print(json.dumps(_memory(arguments.memory, arguments.batch)))
        return 0
    result = measure(arguments.quick)
    if arguments.quick:
        print(table(result))
        return 0
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    write_page(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
