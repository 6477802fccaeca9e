"""The seed's three trainings: rows per second of jaxrep and of PyTorch, and a step's own matmuls.

Every side trains the same rows for the same epochs, in turn. PyTorch stands there as a plain script
writes it (`bench.seed_torch`) and at its best (`bench.best_torch`): eager and compiled, each on one
thread and on all cores. Neither side's compilation is counted. A short run leaves out the compiled
sides, which take half a minute to compile, and those of several threads, and trains fewer epochs.
"""

import functools
from collections.abc import Callable

import numpy as np
import torch

from bench import blobs, seed_torch
from bench.best_torch import Training
from bench.machine import thread_counts
from bench.matmuls import Matmuls
from bench.measured import Figure, Measured, Series, collect, interleave
from bench.seed_methods import seed_hyperparameters, seed_method
from jaxrep import methods
from jaxrep.hyperparameters import TrainingHyperparameters
from jaxrep.training import fit

SEED = "PyTorch as in the seed"
STEP, MATMULS = "jaxrep's step", "its matmuls alone"
TIMES_SEED = {"autoencoder": 10.0, "vae": 10.0, "simclr": 6.0}
TIMES_BEST = {"autoencoder": 4.0, "vae": 4.0, "simclr": 3.0}


def measure(*, quick: bool, rounds: int) -> Measured:
    """Trains every method `rounds` times on every side.

    Args:
        quick: eager PyTorch on one thread alone, and a fifth of the epochs.
        rounds: how often.

    Returns:
        Rows per second of the trainings; microseconds of jaxrep's steps and of their matmuls;
        each side's seconds of compilation as a fact.
    """
    torch.set_flush_denormal(True)  # as XLA does
    x = blobs.rows()
    series: list[Series] = []
    compile_seconds: dict[str, dict[str, float]] = {}
    for name in TIMES_SEED:
        hp = seed_hyperparameters(name)
        hp.epochs = hp.epochs // 5 if quick else hp.epochs
        sides, compile_seconds[name] = _sides(name, hp, x, quick)
        matmuls = Matmuls(hp, x.shape[1])
        sides[MATMULS] = functools.partial(_microseconds, matmuls)
        samples = {(name, side): taken for side, taken in interleave(rounds, sides).items()}
        alone = {(name, MATMULS): samples.pop((name, MATMULS))}
        series += collect("rows/s", samples)
        series += [*collect("µs a step", alone), _steps(name, hp, x, samples[name, "jaxrep"])]
    return Measured(series, {"rows": len(x), "compile_seconds": compile_seconds})


def figures(measured: Measured) -> list[Figure]:
    """Returns the ratios of rows per second, and of a step to its matmuls."""
    made: list[Figure] = []
    cases = list(dict.fromkeys(series.case for series in measured.series))
    for method in cases:
        ours = (method, "jaxrep")
        seed = measured.ratio(ours, (method, SEED))
        made.append(Figure(f"{method}: over {SEED}", seed, "×", TIMES_SEED[method]))
        best = _best(measured, method)
        is_full = any("compiled" in s.side for s in measured.series if s.case == method)
        value = measured.ratio(ours, (method, best.side))
        name = f"{method}: over PyTorch at its best" + ("" if is_full else ", not compiled")
        made.append(Figure(name, value, "×", TIMES_BEST[method] if is_full else None))
    for method in cases:
        target = None if method == "simclr" else 2.0
        value = measured.ratio((method, STEP), (method, MATMULS))
        made.append(Figure(f"{method}: step over its own matmuls", value, "×", target, "most"))
    return made


def _best(measured: Measured, method: str) -> Series:
    """Returns the fastest side of PyTorch, the seed's left out."""
    sides = [s for s in measured.series if s.case == method and s.side.startswith("PyTorch ")]
    return max((s for s in sides if s.side != SEED), key=lambda s: s.median)


def _sides(
    method: str, hp: TrainingHyperparameters, x: np.ndarray, quick: bool
) -> tuple[dict[str, Callable[[int], float]], dict[str, float]]:
    """Returns what trains once a round on each side, compiled, and the seconds to compile it."""
    compile_seconds = {"jaxrep": fit(methods.make(hp), x).compile_seconds}
    tensor = torch.from_numpy(x)

    def ours(seed: int) -> float:
        return fit(seed_method(method, seed=seed, epochs=hp.epochs), x).rows_per_second

    sides: dict[str, Callable[[int], float]] = {
        "jaxrep": ours,
        SEED: lambda seed: _as_in_the_seed(method, tensor, seed, hp.epochs),
    }
    # The limit on compiled shapes counts all methods' steps as one function's. Not within a method:
    # it would drop the code of the side compiled before.
    torch.compiler.reset()
    for compiled in (False,) if quick else (False, True):
        for threads in thread_counts()[:1] if quick else thread_counts():
            side = f"PyTorch {'compiled' if compiled else 'eager'}, {_threads(threads)}"
            best = Training(method, tensor, epochs=hp.epochs, threads=threads, compiled=compiled)
            sides[side] = functools.partial(_rows_per_second, best)
            compile_seconds[side] = best.compile_seconds
    return sides, compile_seconds


def _as_in_the_seed(method: str, x: torch.Tensor, seed: int, epochs: int) -> float:
    torch.set_num_threads(thread_counts()[-1])  # PyTorch's default
    return seed_torch.train(method, x, seed, epochs=epochs)


def _steps(
    method: str, hp: TrainingHyperparameters, x: np.ndarray, rows_per_second: list[float]
) -> Series:
    steps = -(-len(x) // hp.batch_size)
    microseconds = [1e6 * len(x) / rate / steps for rate in rows_per_second]
    return Series(method, STEP, "µs a step", microseconds)


def _microseconds(matmuls: Matmuls, _: int) -> float:
    return matmuls.seconds() * 1e6


def _rows_per_second(best: Training, _: int) -> float:
    return best.rows_per_second()


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
