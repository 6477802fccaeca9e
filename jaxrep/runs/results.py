"""The figures of a run and of a sweep, as they are printed and as `config.json` keeps them."""

from dataclasses import dataclass, field


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
    """Passes over them; the last one may be in part."""

    steps: int
    """Steps taken."""

    epoch: int | list[int]
    """The one whose weights the run serves: where rows were held out, that of the lowest validation
    loss, else the last. Of several members, that of each."""

    stopped_early: bool
    """Whether patience ended the training; of several members, that of all."""

    loss: float
    """Mean loss over the rows in that epoch, and over the members."""

    validation_loss: float | None
    """Loss of the rows held out after it, mean over the members; None where there were none."""

    held_out: dict[str, float] | None
    """How good its predictions of the rows held out are, by metric; None where there were none, or
    nothing is predicted."""

    seconds: float
    """From the first step's dispatch to the last weights being ready."""

    compile_seconds: float
    """Time to trace and compile."""

    rows_per_second: float
    """Rows trained on / seconds."""

    resumed_from_step: int
    """Step that training went on from; 0 where it began."""

    cells: dict[str, dict[str, int]] = field(default_factory=dict)
    """The cells of its table that are of an unknown category, filled or missing, by column."""

    @property
    def served(self) -> str:
        """Says which weights the run serves, for a person.

        Example:
            >>> from types import SimpleNamespace
            >>> result = SimpleNamespace(epoch=3, epochs=9, validation_loss=0.5, stopped_early=True)
            >>> TrainResult.served.fget(result)
            'epoch 3 of 9, of the lowest validation loss (0.5); stopped early'
            >>> result = SimpleNamespace(epoch=9, epochs=9, validation_loss=None)
            >>> TrainResult.served.fget(result)
            'epoch 9 of 9, the last'
            >>> result = SimpleNamespace(
            ...     epoch=[3, 7], epochs=9, validation_loss=0.5, stopped_early=False
            ... )
            >>> TrainResult.served.fget(result)
            '2 members: epochs 3 to 7 of 9, each of its lowest validation loss (0.5 in the mean)'
        """
        if isinstance(self.epoch, list):
            least, most = min(self.epoch, default=0), max(self.epoch, default=0)
            epoch = f"epoch {most}" if least == most else f"epochs {least} to {most}"
            which, whose, mean = (
                f"{len(self.epoch)} members: {epoch}",
                "each of its",
                " in the mean",
            )
        else:
            which, whose, mean = f"epoch {self.epoch}", "of the", ""
        if self.validation_loss is None:
            return f"{which} of {self.epochs}, the last"
        early = "; stopped early" * self.stopped_early
        lowest = f"{whose} lowest validation loss ({self.validation_loss:.6g}{mean})"
        return f"{which} of {self.epochs}, {lowest}{early}"


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
    """Rows × epochs trained, summed over the runs, / seconds."""

    cells: dict[str, dict[str, int]] = field(default_factory=dict)
    """The cells of the table that are of an unknown category, filled or missing, by column."""
