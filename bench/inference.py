"""Rows per second of trained models: `map_rows` against PyTorch, and a whole `jaxrep embed`.

Both sides hold the same weights of a VAE and the same rows, as numpy arrays, and give numpy arrays.
PyTorch runs eagerly in `inference_mode`, with flushed denormals, on all rows at once and in blocks
of 8,192 that stay in cache, on one thread and on all cores. `jaxrep embed` streams a Parquet file
into another: its rows per second are those of the whole process, imports and compilation included,
with a warm cache.
"""

import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import torch

import torch_ref.batch
import torch_ref.methods
from bench import blobs
from bench.machine import thread_counts
from bench.measured import Figure, Measured, collect, interleave
from bench.peer_device import torch_device, torch_wait
from bench.processes import wall_seconds
from bench.timing import rate
from jaxrep.batch import RowSpec
from jaxrep.inference import map_rows
from jaxrep.methods import VAE, VAEHyperparameters, resolve
from jaxrep.training import fit
from torch_ref.weights import with_weights

FUNCTIONS = ("embed", "score", "reconstruct")
BLOCK = 8192
STREAM = "jaxrep embed FILE"


def measure(*, quick: bool, rounds: int) -> Measured:
    """Maps the rows on every side, in turn.

    Args:
        quick: 100,000 rows instead of 1,000,000.
        rounds: how often.

    Returns:
        Rows per second.
    """
    torch.set_flush_denormal(True)
    x = blobs.many(100_000 if quick else 1_000_000)
    method = VAE(resolve(VAEHyperparameters, "seed", {"epochs": 1}))
    weights = fit(method, x[:2000]).weights
    sides: dict[tuple[str, str], Callable[[int], float]] = {}
    for function in FUNCTIONS:
        sides[function, "jaxrep"] = _ours(method, function, weights, x)
        for threads in thread_counts():
            for block in (BLOCK, len(x)):
                name = (
                    f"PyTorch, {'blocks' if block == BLOCK else 'all at once'}, {threads} thread(s)"
                )
                sides[function, name] = _theirs(function, weights, x, threads, block)
    with tempfile.TemporaryDirectory() as folder:
        sides[STREAM, "jaxrep"] = _stream(Path(folder), x)
        samples = interleave(rounds, sides)
    return Measured(collect("rows/s", samples), {"rows": len(x), "features": x.shape[1]})


def figures(measured: Measured) -> list[Figure]:
    """Returns jaxrep's rows per second over those of PyTorch's fastest side."""
    made = []
    for function in FUNCTIONS:
        theirs = [s for s in measured.series if s.case == function and s.side != "jaxrep"]
        best = max(theirs, key=lambda s: s.median)
        value = measured.ratio((function, "jaxrep"), (function, best.side))
        made.append(Figure(f"{function}: over PyTorch at its best", value, "×"))
    return made


def _ours(
    method: VAE, function: Any, weights: dict[str, np.ndarray], x: np.ndarray
) -> Callable[[int], float]:
    def run() -> None:
        map_rows(method, function, weights, x, RowSpec(x.shape[1]))

    run()
    return lambda _: rate(len(x), run)


def _theirs(
    function: str, weights: dict[str, np.ndarray], x: np.ndarray, threads: int, block: int
) -> Callable[[int], float]:
    method = torch_ref.methods.VAE(**asdict(resolve(VAEHyperparameters, "seed")))
    network = method.init(torch_ref.batch.RowSpec(x.shape[1]), torch.Generator())
    network = with_weights(network, weights).to(torch_device()).eval()
    apply = getattr(network, function)

    def run() -> None:
        with torch.inference_mode():
            rows = torch.split(torch.from_numpy(x), block)
            batches = (torch_ref.batch.Batch(part.to(torch_device())) for part in rows)
            made = (apply(batch) for batch in batches)
            torch.cat([getattr(part, "numbers", part).cpu() for part in made]).numpy()
        torch_wait()

    def sample(_: int) -> float:
        torch.set_num_threads(threads)
        return rate(len(x), run)

    sample(0)
    return sample


def _stream(folder: Path, x: np.ndarray) -> Callable[[int], float]:
    source, run = folder / "rows.parquet", folder / "run"
    table = pa.table({f"x{i}": column for i, column in enumerate(x.T)})
    pyarrow.parquet.write_table(table, source)
    first = folder / "first.parquet"
    pyarrow.parquet.write_table(table.slice(0, 2000), first)
    cache = {"JAXREP_CACHE_DIR": str(folder / "cache")}
    jaxrep = [sys.executable, "-m", "jaxrep.cli"]
    wall_seconds([*jaxrep, "train", "vae", str(first), "--epochs", "1", "--out", str(run)], **cache)
    out = str(folder / "z.parquet")
    embed = [*jaxrep, "embed", str(run), str(source), "--out", out]
    wall_seconds(embed, **cache)
    return lambda _: rate(len(x), lambda: wall_seconds(embed, **cache))
