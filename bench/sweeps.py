"""Sweeps: 1, 8 and 64 VAEs in one program, against one after another and against processes.

The members differ in seed, β and learning rate. *In this process* compares the training alone,
without compilation: the sweep's seconds against those of `fit` after `fit`. *As processes* compares
wall time from start to end: one process that imports, compiles and sweeps, with nothing cached,
against processes of `jaxrep train` with a warm cache of compiled programs. A few of those are
measured, and 64 of them take as often as long; the page says so with the number.
"""

import functools
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench import blobs
from bench.measured import Figure, Measured, collect, interleave
from bench.processes import Train, wall_seconds
from jaxrep.methods import VAE, VAEHyperparameters, resolve
from jaxrep.training import fit, sweep

MEMBERS = (1, 8, 64)
SWEEP, ALONE = "a member of a sweep", "a run alone"
WHOLE = "whole processes"
EPOCHS, QUICK_EPOCHS = 80, 10


def measure(*, quick: bool, rounds: int) -> Measured:
    """Trains the members on both ways, in turn.

    Args:
        quick: 64 members alone, an eighth of the epochs, one process of a kind.
        rounds: how often; processes of `jaxrep train` as often, of sweeps a third as often.

    Returns:
        Seconds a member in this process, seconds of whole processes; as facts, how many programs
        a sweep took, and how many processes were measured.
    """
    epochs = QUICK_EPOCHS if quick else EPOCHS
    x = blobs.rows()
    sides: dict[tuple[str, str], Callable[[int], float]] = {}
    compiles = {}
    fit(methods(1, 1)[0], x)
    for count in (MEMBERS[-1],) if quick else MEMBERS:
        compiles[f"{count} members"] = sweep(methods(count, 1), x).compiles
        case = f"{count} members" if count > 1 else "1 member"
        members = methods(count, epochs)
        sides[case, SWEEP] = functools.partial(_swept, members, x)
        sides[case, ALONE] = functools.partial(_one_after_another, members, x)
    samples = interleave(rounds, sides)
    processes, facts = _processes(epochs, 1 if quick else rounds)
    series = [*collect("s a member", samples), *collect("s", processes)]
    return Measured(series, {"epochs": epochs, "programs": compiles} | facts)


def figures(measured: Measured) -> list[Figure]:
    """Returns programs of a sweep, its time a member, and its gain over processes."""
    made = [
        Figure("programs of 64 members", measured.facts["programs"]["64 members"], "", 1, "most")
    ]
    for case in (series.case for series in measured.series if series.side == SWEEP):
        value = measured.ratio((case, SWEEP), (case, ALONE))
        target = 1.0 if case == f"{MEMBERS[-1]} members" else None
        made.append(Figure(f"{case}: time a member over a run alone", value, "×", target, "most"))
    a_process = measured.ratio((WHOLE, "one jaxrep train, warm"), (WHOLE, "one sweep of 64, cold"))
    measured_count = measured.facts["processes_measured"]
    name = f"a sweep of 64 over 64 processes (64 × the median of {measured_count})"
    return [*made, Figure(name, 64 * a_process, "×", 8.0)]


def methods(count: int, epochs: int) -> list[VAE]:
    """Returns VAEs that differ in seed, β and learning rate."""
    rng = np.random.default_rng(0)
    return [
        VAE(
            resolve(
                VAEHyperparameters,
                "seed",
                {
                    "epochs": epochs,
                    "seed": seed,
                    "beta": float(rng.uniform(0.5, 4)),
                    "learning_rate": float(10 ** rng.uniform(-3.5, -2.5)),
                },
            )
        )
        for seed in range(count)
    ]


def _swept(members: list[VAE], x: np.ndarray, _: int) -> float:
    return sweep(members, x).seconds / len(members)


def _one_after_another(members: list[VAE], x: np.ndarray, _: int) -> float:
    return sum(fit(member, x).seconds for member in members) / len(members)


def _processes(
    epochs: int, rounds: int
) -> tuple[dict[tuple[str, str], list[float]], dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        train = Train(Path(folder))
        train("vae", "warm", epochs)
        command = [sys.executable, "-m", "bench.sweeps", str(epochs)]
        alone = {(WHOLE, "one jaxrep train, warm"): lambda i: _train(train, epochs, i)}
        swept = {(WHOLE, "one sweep of 64, cold"): lambda _: wall_seconds(command)[0]}
        samples = interleave(max(rounds // 3, 1), swept) | interleave(rounds, alone)
    return samples, {"processes_measured": rounds}


def _train(train: Train, epochs: int, seed: int) -> float:
    return train("vae", "warm", epochs, "--beta", str(0.5 + seed), "--seed", str(seed))[0]


if __name__ == "__main__":
    sweep(methods(MEMBERS[-1], int(sys.argv[1])), blobs.rows())
