"""The figures of a run and of a sweep, as they are printed and as `config.json` keeps them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainResult:
    """What `jaxrep train` prints, and `config.json` keeps."""

    run: str
    """The run's folder."""

    method: str
    """The method's name."""

    rows: int
    """Rows trained on."""

    epochs: int
    """Passes over them."""

    loss: float
    """Mean loss over the rows of the last epoch."""

    seconds: float
    """From the first step's dispatch to the last weights being ready."""

    compile_seconds: float
    """Time to trace and compile."""

    rows_per_second: float
    """rows × epochs / seconds."""

    resumed_from_step: int
    """Step that training went on from; 0 where it began."""


@dataclass(frozen=True)
class SweepResult:
    """What `jaxrep sweep` prints, and `config.json` keeps."""

    out: str
    """The folder: the best run, and the table of all."""

    method: str
    """The method's name."""

    rows: int
    """Rows that each run trained on."""

    members: int
    """Runs trained."""

    diverged: int
    """Runs whose loss became infinite or NaN."""

    select: str
    """Metric that is lowest for the best run."""

    best: dict[str, str | float | bool | None]
    """The best run's row of the table."""

    compiles: int
    """Training programs that it took."""

    seconds: float
    """Time spent training; compilation is not in it."""

    compile_seconds: float
    """Time to trace and compile."""

    rows_per_second: float
    """Rows × epochs, summed over the runs, / seconds."""
