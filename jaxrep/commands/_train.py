"""`jaxrep train`."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg, subcommand

from jaxrep.commands._command import Command, Data, Result, note
from jaxrep.hyperparameters import (
    AutoencoderHyperparameters,
    SimCLRHyperparameters,
    TrainingHyperparameters,
    VAEHyperparameters,
)

if TYPE_CHECKING:
    from jaxrep.runs.preparation import Columns


@dataclass(kw_only=True)
class Training(Command):
    """What `train` and `sweep` are told of a table and a folder."""

    data: Data
    """A .csv, .parquet, .npy or .npz file, or a bundled set: blobs, digits, breast_cancer, iris,
    wine, diabetes."""

    out: Path
    """The run's folder. A finished run of the same configuration and data is left as it is."""

    overwrite: bool = False
    """Replace another run that is in the folder."""

    plots: bool = False
    """Draw the loss curves and a map of the embedding into RUN/plots."""

    categorical: str = ""
    """Columns of categories, separated by commas; each is one-hot encoded, with a bucket for
    unknown values."""

    label: str = ""
    """Column to keep out of training."""

    id_column: str = ""
    """Column to pass through to outputs, never trained on."""

    na_values: str = ""
    """Cells that mean "missing" besides empty ones and NA, separated by commas."""

    impute: Literal["median"] | None = None
    """How to fill missing numbers; by default they are refused."""

    def columns(self) -> "Columns":
        """Returns what the flags say of the table's columns."""
        from jaxrep.runs.preparation import Columns

        return Columns(
            _names(self.categorical),
            self.label or None,
            self.id_column or None,
            _names(self.na_values),
            self.impute,
        )

    def draw(self) -> None:
        """Draws the run's pictures where they are asked for."""
        if not self.plots:
            return
        from jaxrep.report.plots import write_plots
        from jaxrep.runs.folder import load

        for path in write_plots(load(self.out), self.data):
            note(f"drew {path}")


@dataclass(kw_only=True)
class Train(Training):
    """Train on a table and save the run."""

    def train(self, method: str, hyperparameters: TrainingHyperparameters) -> tuple[str, Result]:
        """Trains, with a progress bar, and returns the run's figures."""
        from jaxrep import compile_cache
        from jaxrep.progress import Reporter
        from jaxrep.runs.train import train

        with Reporter() as reporter:
            result = train(
                method,
                self.data,
                self.out,
                hyperparameters,
                self.columns(),
                overwrite=self.overwrite,
                note=note,
                on_progress=reporter,
            )
        cache = compile_cache.use()
        self.draw()
        compiling = "compiling" if cache.misses or not cache.hits else "loading compiled programs"
        text = (
            f"{result.method} on {self.data}: loss {result.loss:.6g} after {result.epochs} epochs "
            f"of {result.rows} rows\n{result.compile_seconds:.2f} s {compiling}, "
            f"{result.seconds:.2f} s training ({result.rows_per_second:,.0f} rows/s)\n"
            f"saved in {result.run}"
        )
        return text, dataclasses.asdict(result)


@dataclass(kw_only=True)
class TrainAutoencoder(Train):
    """Train an autoencoder on a table and save the run."""

    hyperparameters: Annotated[AutoencoderHyperparameters, arg(name="")]

    def __call__(self) -> tuple[str, Result]:
        """Trains and returns the run's figures."""
        return self.train("autoencoder", self.hyperparameters)


@dataclass(kw_only=True)
class TrainVAE(Train):
    """Train a VAE or β-VAE on a table and save the run."""

    hyperparameters: Annotated[VAEHyperparameters, arg(name="")]

    def __call__(self) -> tuple[str, Result]:
        """Trains and returns the run's figures."""
        return self.train("vae", self.hyperparameters)


@dataclass(kw_only=True)
class TrainSimCLR(Train):
    """Train SimCLR on a table and save the run."""

    hyperparameters: Annotated[SimCLRHyperparameters, arg(name="")]

    def __call__(self) -> tuple[str, Result]:
        """Trains and returns the run's figures."""
        return self.train("simclr", self.hyperparameters)


@dataclass
class TrainMethod:
    """Train a method on a table and save the run."""

    command: Annotated[
        Annotated[TrainAutoencoder, subcommand("autoencoder")]
        | Annotated[TrainVAE, subcommand("vae")]
        | Annotated[TrainSimCLR, subcommand("simclr")],
        arg(help=""),  # tyro would look for it in the source, which takes 50 ms
    ]


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
