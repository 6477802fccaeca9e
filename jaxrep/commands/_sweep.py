"""`jaxrep sweep`."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import UseAppendAction, arg

from jaxrep.commands._command import Result, note
from jaxrep.commands._methods import WithHyperparameters
from jaxrep.commands._train import Training

HELD_OUT = {"validation_fraction": 0.1}  # else there would be nothing to select by


@dataclass(kw_only=True)
class Sweep(Training, WithHyperparameters):
    """Train every combination of hyperparameters at once, and save the best run."""

    out: Path
    """The folder of the best run, with sweep.parquet, a table of all runs, in it. A finished sweep
    of the same configuration and data is left as it is."""

    grid: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME=VALUE,VALUE")] = ()
    """A hyperparameter and its values, such as beta=1,2,4; once for each that varies. Widths are
    joined by x: hidden_dims=64,128x64,none; views by +: views=scarf,noise+dropout."""

    seeds: int = 1
    """Seeds to train every combination with, counted from --seed."""

    select: str | None = None
    """Metric that is lowest for the best run. By default validation_error, the mean score of the
    rows held out (0.1 of all, if --validation-fraction says nothing else); for a method
    without a decoder common_loss, their loss under the flags' temperature, noise, batch size and
    whatever else changes what a loss means, the same for all runs."""

    save_all: bool = False
    """Save every run, in RUN/members."""

    def __call__(self) -> tuple[str, Result]:
        """Trains all runs, with a progress bar, and returns the sweep's figures."""
        from jaxrep.progress import Reporter
        from jaxrep.report.members import render
        from jaxrep.runs.grid import parse
        from jaxrep.runs.sweep import read_members, sweep

        hyperparameters = self.asked()
        with Reporter() as reporter:
            result = sweep(
                self.data,
                self.out,
                hyperparameters,
                self.columns(),
                recipe=self.asked_recipe(),
                varied=parse(self.grid, hyperparameters),
                seeds=self.seeds,
                select=self.select,
                save_all=self.save_all,
                overwrite=self.overwrite,
                note=note,
                on_progress=reporter.on_progress,
            )
        self.draw()
        return render(result, read_members(self.out)), dataclasses.asdict(result)
