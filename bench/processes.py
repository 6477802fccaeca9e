"""Whole processes: `jaxrep train vae blobs` against a plain PyTorch script that does the same.

Wall time from the start of the interpreter to its end: imports, data, 80 epochs, and on jaxrep's
side compilation and the run folder. *Cold* starts with an empty cache of compiled programs, *warm*
with one that the same command has filled. No plots on either side.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.machine import ROOT
from bench.measured import Figure, Measured, collect, interleave

CASE = "train vae blobs"
COLD, WARM, SEED = "jaxrep, cold cache", "jaxrep, warm cache", "PyTorch as in the seed"
EPOCHS = 80


def measure(*, quick: bool, rounds: int) -> Measured:
    """Runs each process `rounds` times, in turn.

    Args:
        quick: once.
        rounds: how often.

    Returns:
        Seconds of wall time; as a fact, how many programs the warm cache held.
    """
    rounds = 1 if quick else rounds
    with tempfile.TemporaryDirectory() as folder:
        train = Train(Path(folder))
        script = [sys.executable, "-m", "bench.seed_torch", "vae", str(EPOCHS)]
        sides = {
            (CASE, COLD): lambda i: train("vae", f"cold{i}", EPOCHS)[0],
            (CASE, WARM): lambda _: train("vae", "cold0", EPOCHS)[0],  # filled by now
            (CASE, SEED): lambda _: wall_seconds(script)[0],
        }
        samples = interleave(rounds, sides)
        programs = train.programs("cold0")
    return Measured(collect("s", samples), {"epochs": EPOCHS, "programs_in_the_cache": programs})


def figures(measured: Measured) -> list[Figure]:
    """Returns jaxrep's wall time as a share of the script's."""
    targets = {COLD: 0.9, WARM: 0.5}
    return [
        Figure(
            f"{side}: wall time over PyTorch's",
            measured.ratio((CASE, side), (CASE, SEED)),
            "×",
            target,
            "most",
        )
        for side, target in targets.items()
    ]


class Train:
    """Calls `jaxrep train` in processes of their own, with caches that have names.

    Args:
        folder: an empty one, for caches and runs.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._runs = 0

    def __call__(
        self, method: str, cache: str, epochs: int, *flags: str
    ) -> tuple[float, dict[str, Any]]:
        """Trains on the blobs; returns the seconds of wall time and the command's result."""
        self._runs += 1
        arguments = ["train", method, "blobs", "--epochs", str(epochs), "--json", *flags]
        out = self._folder / f"run{self._runs}"
        command = [sys.executable, "-m", "jaxrep.cli", *arguments, "--out", str(out)]
        seconds, printed = wall_seconds(command, JAXREP_CACHE_DIR=str(self._folder / cache))
        result: dict[str, Any] = json.loads(printed.splitlines()[-1])
        return seconds, result

    def programs(self, cache: str) -> int:
        """Counts the files in a cache; 0 where it was not used, and warm is as cold as cold."""
        return sum(path.is_file() for path in (self._folder / cache).rglob("*"))


def wall_seconds(command: Sequence[str], **environment: str) -> tuple[float, str]:
    """Runs a process; returns its seconds of wall time and what it printed.

    Args:
        command: program and arguments; it runs where it finds `bench` and this jaxrep.
        **environment: variables to set.

    Raises:
        RuntimeError: the process failed; with the end of what it said.
    """
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    variables = {**os.environ, "PYTHONPATH": path, **environment}
    started = time.perf_counter()
    ran = subprocess.run(command, env=variables, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if ran.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{ran.stderr[-2000:]}")
    return seconds, ran.stdout
