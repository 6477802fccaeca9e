"""`jaxrep sweep`."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import UseAppendAction, arg, subcommand

from jaxrep.commands._command import Result, note
from jaxrep.commands._train import Training
from jaxrep.hyperparameters import (
    AutoencoderHyperparameters,
    SimCLRHyperparameters,
    TrainingHyperparameters,
    VAEHyperparameters,
)

_HELD_OUT = 0.1  # without rows held out there would be nothing to select by


@dataclass(kw_only=True)
class Sweep(Training):
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
    """Metric that the best run has least of. By default validation_error, the reconstruction error
    of the rows held out (0.1 of all, if --validation-fraction says nothing else); for simclr
    common_loss, their loss under the flags' temperature, noise and batch size for all runs."""

    save_all: bool = False
    """Save every run, in RUN/members."""

    def sweep(self, method: str, hyperparameters: TrainingHyperparameters) -> tuple[str, Result]:
        """Trains all runs, with a progress bar, and returns the sweep's figures."""
        from jaxrep.progress import Reporter
        from jaxrep.report.members import render
        from jaxrep.runs.grid import parse
        from jaxrep.runs.sweep import read_members, sweep

        with Reporter() as reporter:
            result = sweep(
                method,
                self.data,
                self.out,
                hyperparameters,
                self.columns(),
                varied=parse(self.grid, hyperparameters),
                seeds=self.seeds,
                select=self.select,
                save_all=self.save_all,
                overwrite=self.overwrite,
                note=note,
                on_progress=reporter,
            )
        self.draw()
        return render(result, read_members(self.out)), dataclasses.asdict(result)


@dataclass(kw_only=True)
class SweepAutoencoder(Sweep):
    """Train autoencoders with every combination of hyperparameters, and save the best run."""

    hyperparameters: Annotated[AutoencoderHyperparameters, arg(name="")] = field(
        default_factory=lambda: AutoencoderHyperparameters(validation_fraction=_HELD_OUT)
    )

    def __call__(self) -> tuple[str, Result]:
        """Trains and returns the sweep's figures."""
        return self.sweep("autoencoder", self.hyperparameters)


@dataclass(kw_only=True)
class SweepVAE(Sweep):
    """Train VAEs or β-VAEs with every combination of hyperparameters, and save the best run."""

    hyperparameters: Annotated[VAEHyperparameters, arg(name="")] = field(
        default_factory=lambda: VAEHyperparameters(validation_fraction=_HELD_OUT)
    )

    def __call__(self) -> tuple[str, Result]:
        """Trains and returns the sweep's figures."""
        return self.sweep("vae", self.hyperparameters)


@dataclass(kw_only=True)
class SweepSimCLR(Sweep):
    """Train SimCLR with every combination of hyperparameters, and save the best run."""

    hyperparameters: Annotated[SimCLRHyperparameters, arg(name="")] = field(
        default_factory=lambda: SimCLRHyperparameters(validation_fraction=_HELD_OUT)
    )

    def __call__(self) -> tuple[str, Result]:
        """Trains and returns the sweep's figures."""
        return self.sweep("simclr", self.hyperparameters)


@dataclass
class SweepMethod:
    """Train every combination of hyperparameters at once, and save the best run."""

    command: Annotated[
        Annotated[SweepAutoencoder, subcommand("autoencoder")]
        | Annotated[SweepVAE, subcommand("vae")]
        | Annotated[SweepSimCLR, subcommand("simclr")],
        arg(help=""),  # tyro would look for it in the source, which takes 50 ms
    ]
