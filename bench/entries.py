"""The list of the suite. A new entry is a module with `measure` and `figures`, and a line here."""

import importlib
from dataclasses import dataclass
from types import ModuleType

from bench.measured import Figure, Measured


@dataclass(frozen=True)
class Entry:
    """One measurement of the suite."""

    name: str
    """What `--only` and the file of its results call it."""

    module: str
    """The module, which has

    - `measure(*, quick: bool, rounds: int) -> Measured`, and
    - `figures(measured: Measured) -> list[Figure]`, the ratios and shares with their targets, and
    - `plot(measured: Measured, path: Path)`, where bars of medians would not do.

    Its docstring says what is measured and how; the page quotes it.
    """

    title: str
    """The heading of its section and its line in `--list`."""

    asked_for: bool = False
    """Whether it is measured only if `--only` names it: it takes long, or data of one's own."""

    def load(self) -> ModuleType:
        """Imports the module; not before it is needed, for most of them import JAX and PyTorch."""
        return importlib.import_module(self.module)

    def measure(self, *, quick: bool, rounds: int) -> Measured:
        """Takes the samples."""
        measured: Measured = self.load().measure(quick=quick, rounds=rounds)
        return measured

    def figures(self, measured: Measured) -> list[Figure]:
        """Computes the figures."""
        figures: list[Figure] = self.load().figures(measured)
        return figures

    @property
    def method(self) -> str:
        """The module's docstring without its first line."""
        return (self.load().__doc__ or "").split("\n\n", 1)[-1].strip()


ENTRIES = (
    Entry("trainings", "bench.trainings", "The seed's three trainings"),
    Entry("processes", "bench.processes", "Whole processes"),
    Entry("matmul_share", "bench.matmul_share", "Share of the matmul rate, by batch and width"),
    Entry("sweeps", "bench.sweeps", "Sweeps"),
    Entry("inference", "bench.inference", "Inference"),
    Entry("tables", "bench.reading", "Reading tables"),
    Entry("startup", "bench.startup", "Import, compilation and the steady step"),
    Entry("mixed", "bench.mixed", "Numbers and categories"),
    Entry("many_levels", "bench.many_levels", "A category of 100,000 levels", True),
    Entry("nt_xent", "bench.nt_xent", "NT-Xent at any batch size"),
    Entry("epoch_overhead", "bench.epoch_overhead", "Shuffling, noise and logging"),
    Entry("profile", "bench.profile", "Where a step's microseconds go"),
    Entry("representations", "bench.representations", "What representations are worth", True),
    Entry("members", "bench.members", "What several seeds in one run are worth", True),
    Entry("filling", "bench.filling", "Filling missing cells", True),
    Entry("anomalies", "bench.anomalies", "Rows that do not fit", True),
    Entry("culprits", "bench.culprits", "Which column is wrong", True),
    Entry("generation", "bench.generation", "New rows", True),
    Entry("disentanglement", "bench.disentanglement", "Disentanglement", True),
    Entry("calibration", "bench.calibration", "Levels and discovery rates", True),
    Entry("variants", "bench.variants", "What was tried inside a step"),
)

BY_NAME = {entry.name: entry for entry in ENTRIES}
