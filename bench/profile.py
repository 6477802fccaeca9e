"""Where a step's microseconds go: kernels of the three trainings, in a trace of 512 steps.

The program is the one that `fit` runs, over the blobs, from its 513th step on. `jax.profiler`
traces it, Python left out, and gives the start and the end of every kernel that XLA runs. What a
kernel computes is read off the path that the compiled program names beside it: a fusion counts as
what its last instruction belongs to. A kernel's time is its median in the trace times how often it
runs, so that one that had to wait for a processor does not count.

The profiler writes an event at a kernel's start and one at its end. Most of that lies between
kernels: the traced step is far longer, its kernels are not. What lies in them is taken to be what
the shortest kernel takes, which is arithmetic on single numbers, and is taken off every kernel:
*kernels as traced* less that is *kernels in all*, what the first table adds up to. It is held
against *the step*, the same steps without a profiler, taken in turn with those traced.
"""

import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.profiler import ProfileData, ProfileOptions

from bench import blobs, kernels, seed_methods
from bench.kernels import GROUPS, Kernel
from bench.measured import Figure, Measured, Series
from bench.seed_methods import seed_method
from bench.timing import seconds
from jaxrep.batch import Batch, RowSpec
from jaxrep.training import Devices, init_state, program
from jaxrep.training.loop import wait

STEPS = 512
STEP, SUM = "the step", "kernels in all"
TRACED, SUM_TRACED = "the step while traced", "kernels as traced"
AGREEMENT = 0.1
_LONGEST = 8


def measure(*, quick: bool, rounds: int) -> Measured:
    """Traces every method `rounds` times.

    Args:
        quick: the autoencoder alone.
        rounds: how often.

    Returns:
        Microseconds a step by group, in all, and of the longest kernels.
    """
    series: list[Series] = []
    counts = {}
    for name in ("autoencoder",) if quick else seed_methods.names():
        made, counts[name] = _profile(name, rounds)
        series += made
    order = list(dict.fromkeys(s.unit for s in series))
    return Measured(sorted(series, key=lambda s: order.index(s.unit)), {"kernels_a_step": counts})


def figures(measured: Measured) -> list[Figure]:
    """Returns how far the kernels' sum is off the step, and what the profiler adds to the step."""
    made = []
    for case in (s.case for s in measured.series if s.side == SUM):
        off = abs(measured.ratio((case, SUM), (case, STEP)) - 1)
        made.append(Figure(f"{case}: kernels' sum off the step", off, "%", AGREEMENT, "most"))
        added = measured.ratio((case, TRACED), (case, STEP)) - 1
        made.append(Figure(f"{case}: added by the profiler", added, "%"))
    return made


def _profile(method: str, rounds: int) -> tuple[list[Series], float]:
    """Returns a method's series, and how many kernels run a step."""
    run, known = _compiled(method)
    run()
    whole: dict[str, list[float]] = {STEP: [], SUM: [], SUM_TRACED: [], TRACED: []}
    by_kernel: dict[str, list[float]] = {}
    counts: dict[str, float] = {}
    for i in range(rounds):
        whole[STEP].append(run())
        took, traced = _trace(run, known)
        shortest = min(median for median, count in traced.values() if count >= 1)
        for name, (median, count) in traced.items():
            by_kernel.setdefault(name, [0.0] * rounds)[i] = max(median - shortest, 0.0) * count
            counts[name] = count
        whole[SUM].append(sum(samples[i] for samples in by_kernel.values()))
        whole[SUM_TRACED].append(sum(median * count for median, count in traced.values()))
        whole[TRACED].append(took)
    groups = _sums(by_kernel, known, rounds)
    made = [Series(method, group, "µs a step in kernels", s) for group, s in groups.items()]
    made += [Series(method, side, "µs a step", samples) for side, samples in whole.items()]
    for name in sorted(by_kernel, key=lambda name: -float(np.median(by_kernel[name])))[:_LONGEST]:
        label = _label(method, known[name])
        made.append(Series(label, "longest kernels", "µs a step in one kernel", by_kernel[name]))
    return made, sum(counts.values())


def _sums(
    by_kernel: dict[str, list[float]], known: dict[str, Kernel], rounds: int
) -> dict[str, list[float]]:
    """Adds the samples of every group's kernels."""
    sums = {group: np.zeros(rounds) for group in GROUPS}
    for name, samples in by_kernel.items():
        sums[known[name].group] += samples
    return {group: total.tolist() for group, total in sums.items()}


def _label(method: str, kernel: Kernel) -> str:
    return f"{method}, {kernel.group}: {kernel.name} {kernel.result}"


def _compiled(name: str) -> tuple[Callable[[], float], dict[str, Kernel]]:
    """Returns what takes 512 steps and says how long one took, and the program's kernels."""
    method = seed_method(name)
    x, seed = Batch(jax.device_put(blobs.rows())), np.uint32(0)
    size = method.hyperparameters.batch_size
    spec = RowSpec(x.numbers.shape[1])
    state = init_state(method, spec, 0)
    shape: dict[str, Any] = {"batch_size": size, "chunk": STEPS, "devices": Devices()}
    lowered = program.run_steps.lower(method, seed, state, x, x, 0, 0, spec=spec, **shape)
    compiled = lowered.compile()
    state, _ = compiled(method, seed, state, x, x, 0, STEPS)

    def run() -> float:
        def steps() -> None:
            nonlocal state
            state, metrics = compiled(method, seed, state, x, x, STEPS, 2 * STEPS)
            wait((state, metrics))

        return 1e6 / STEPS * seconds(steps)

    return run, kernels.read(compiled.as_text() or "")


def _trace(
    run: Callable[[], float], known: dict[str, Kernel]
) -> tuple[float, dict[str, tuple[float, float]]]:
    """Runs under the profiler; returns what it gives, and of every kernel its median and count.

    The median is in microseconds, the count a step.
    """
    options = ProfileOptions()
    options.python_tracer_level = 0
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            took = run()
        (path,) = Path(folder).rglob("*.xplane.pb")
        data = ProfileData.from_file(str(path))
    taken: dict[str, list[float]] = defaultdict(list)
    for event in (event for plane in data.planes for line in plane.lines for event in line.events):
        if event.name in known:
            taken[event.name].append(event.duration_ns / 1e3)
    return took, {name: (float(np.median(us)), len(us) / STEPS) for name, us in taken.items()}
