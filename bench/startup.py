"""What comes before a step and what a step takes: import, compilation cold and warm, steady step.

Import is that of `jaxrep.training` and all it needs, in a fresh interpreter. Compilation is what
`jaxrep train` reports of itself, with an empty cache of compiled programs and with a full one:
tracing and compiling, or tracing and reading. The steady step is that of a whole training here.
"""

import functools
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench import blobs, seed_methods
from bench.measured import Figure, Measured, Series, collect, interleave
from bench.processes import Train, wall_seconds
from bench.seed_methods import seed_method
from jaxrep.training import fit

_IMPORT = """\
import time
started = time.perf_counter()
import jaxrep.training
print(time.perf_counter() - started)
"""


def measure(*, quick: bool, rounds: int) -> Measured:
    """Measures each method `rounds` times, in turn.

    Args:
        quick: the VAE alone, once.
        rounds: how often.

    Returns:
        Seconds of import and compilation, microseconds of a step.
    """
    rounds = 1 if quick else rounds
    x = blobs.rows()
    names = ["vae"] if quick else seed_methods.names()
    with tempfile.TemporaryDirectory() as folder:
        train = Train(Path(folder))
        sides: dict[tuple[str, str], Callable[[int], float]] = {
            ("all", "import"): lambda _: float(wall_seconds([sys.executable, "-c", _IMPORT])[1])
        }
        for name in names:
            sides[name, "cold compile"] = _compile(train, name, f"{name}{{}}")
            sides[name, "warm compile"] = _compile(train, name, f"{name}0")  # filled by now
            sides[name, "steady step"] = functools.partial(_step, name, x)
            _step(name, x, 0)
        samples = interleave(rounds, sides)
        programs = {name: train.programs(f"{name}0") for name in names}
    steady = {key: samples.pop(key) for key in list(samples) if key[1] == "steady step"}
    series: list[Series] = [*collect("s", samples), *collect("µs a step", steady)]
    return Measured(series, {"programs_in_the_cache": programs})


def figures(measured: Measured) -> list[Figure]:
    """Returns what a warm cache leaves of the time to compile."""
    cases = [s.case for s in measured.series if s.side == "cold compile"]
    return [
        Figure(
            f"{case}: warm compile over cold",
            measured.ratio((case, "warm compile"), (case, "cold compile")),
            "×",
        )
        for case in cases
    ]


def _compile(train: Train, method: str, cache: str) -> Callable[[int], float]:
    return lambda i: float(train(method, cache.format(i), 1)[1]["compile_seconds"])


def _step(method: str, x: np.ndarray, seed: int) -> float:
    made = seed_method(method, seed=seed)
    run, hp = fit(made, x), made.hyperparameters
    steps = -(-len(x) // hp.batch_size) * hp.epochs
    microseconds: float = 1e6 * run.seconds / steps
    return microseconds
