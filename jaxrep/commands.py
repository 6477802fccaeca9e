"""The commands of the command line: the flags of each, and the call that does its work.

Flags, their defaults and their help come from these classes and from the hyperparameters. Imports
stay inside the calls, so that `jaxrep --help` loads neither jax nor pyarrow.
"""

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg, subcommand

from jaxrep.errors import InputError
from jaxrep.hyperparameters import (
    CONTAMINATION,
    AutoencoderHyperparameters,
    SimCLRHyperparameters,
    TrainingHyperparameters,
    VAEHyperparameters,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from jaxrep.parity import Report
    from jaxrep.runs.folder import Run

Result = dict[str, Any]

Data = Annotated[str, Positional, arg(metavar="DATA")]
RunFolder = Annotated[Path, Positional, arg(metavar="RUN")]


@dataclass(kw_only=True)
class Command:
    """The flags of every command. Calling one does its work and returns what to print.

    Not an abstract class: tyro meets its metaclass with checks that take 0.1 s.
    """

    device: Literal["auto", "cpu", "gpu", "tpu"] = "auto"
    """Where to compute; auto takes what JAX finds fastest."""

    json: bool = False
    """Print the result as one JSON object on the last line."""


@dataclass(kw_only=True)
class Train(Command):
    """Train on a table and save the run."""

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

    def train(self, method: str, hyperparameters: TrainingHyperparameters) -> tuple[str, Result]:
        """Trains, with a progress bar, and returns the run's figures."""
        from jaxrep.progress import Reporter
        from jaxrep.runs.train import Columns, train

        columns = Columns(
            _names(self.categorical),
            self.label or None,
            self.id_column or None,
            _names(self.na_values),
            self.impute,
        )
        with Reporter() as reporter:
            result = train(
                method,
                self.data,
                self.out,
                hyperparameters,
                columns,
                overwrite=self.overwrite,
                note=_note,
                on_progress=reporter,
            )
        if self.plots:
            self._plot()
        text = (
            f"{result.method} on {self.data}: loss {result.loss:.6g} after {result.epochs} epochs "
            f"of {result.rows} rows\n{result.compile_seconds:.2f} s compiling, "
            f"{result.seconds:.2f} s training ({result.rows_per_second:,.0f} rows/s)\n"
            f"saved in {result.run}"
        )
        return text, dataclasses.asdict(result)

    def _plot(self) -> None:
        from jaxrep.report.plots import write_plots
        from jaxrep.runs.folder import load

        for path in write_plots(load(self.out), self.data):
            _note(f"drew {path}")


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


@dataclass(kw_only=True)
class Info(Command):
    """Say what a run is."""

    folder: RunFolder
    """A finished run."""

    def __call__(self) -> tuple[str, Result]:
        """Returns the run's configuration, data and figures."""
        from jaxrep.runs.folder import load
        from jaxrep.runs.outputs import threshold

        run = load(self.folder)
        summary = {key: value for key, value in run.config.items() if key != "score_quantiles"}
        summary |= {
            "parameters": sum(array.size for array in run.weights.values()),
            "features": run.preprocessing.width,
        }
        if "score_quantiles" in run.config:  # an imported run may lack them
            summary["score_threshold"] = threshold(run)
        return "\n".join(_lines(summary)), summary


@dataclass(kw_only=True)
class Output(Command):
    """A command that reads a run and writes a table."""

    folder: RunFolder
    """A finished run."""

    out: Path
    """The file to write: .csv, .parquet, .npy or .npz."""

    def write(
        self, make: "Callable[[Run], Iterable[pa.Table]]", source: str = ""
    ) -> tuple[str, Result]:
        """Writes the blocks that `make` makes from `source`, and says where and how many rows."""
        from jaxrep.data.tables import check_output, write_blocks
        from jaxrep.progress import report_rows
        from jaxrep.runs.folder import load

        check_output(self.out)
        if os.path.exists(source) and os.path.realpath(source) == os.path.realpath(self.out):
            raise InputError(f"--out {self.out}: is the table to read; choose another file")
        rows, columns = write_blocks(report_rows(make(load(self.folder))), self.out)
        result = {"run": str(self.folder), "out": str(self.out), "rows": rows, "columns": columns}
        return f"wrote {rows} rows × {columns} columns to {self.out}", result


@dataclass(kw_only=True)
class Embed(Output):
    """Write the representations of a table's rows."""

    data: Data
    """A table with the columns that the run trained on."""

    def __call__(self) -> tuple[str, Result]:
        """Writes columns z0, z1, …."""
        from jaxrep.runs.outputs import embed_blocks

        return self.write(lambda run: embed_blocks(run, self.data), self.data)


@dataclass(kw_only=True)
class Reconstruct(Output):
    """Write the reconstructions of a table's rows, in the table's units."""

    data: Data
    """A table with the columns that the run trained on."""

    def __call__(self) -> tuple[str, Result]:
        """Writes the table's own columns."""
        from jaxrep.runs.outputs import reconstruct_blocks

        return self.write(lambda run: reconstruct_blocks(run, self.data), self.data)


@dataclass(kw_only=True)
class Decode(Output):
    """Write the rows that codes stand for."""

    codes: Annotated[str, Positional, arg(metavar="Z")]
    """A table with the columns z0, z1, …, as `embed` writes it."""

    def __call__(self) -> tuple[str, Result]:
        """Writes the columns that the run trained on."""
        from jaxrep.runs.outputs import decode_blocks

        return self.write(lambda run: decode_blocks(run, self.codes), self.codes)


@dataclass(kw_only=True)
class Score(Output):
    """Write the anomaly scores of a table's rows; higher is more anomalous."""

    data: Data
    """A table with the columns that the run trained on."""

    contamination: float = CONTAMINATION
    """Share of the training rows that lie above the threshold."""

    def __call__(self) -> tuple[str, Result]:
        """Writes the columns score and anomaly."""
        from jaxrep.runs.outputs import score_blocks, threshold

        anomalies: Result = {"anomalies": 0}

        def make(run: "Run") -> "Iterator[pa.Table]":
            anomalies["threshold"] = threshold(run, self.contamination)
            for block in score_blocks(run, self.data, contamination=self.contamination):
                anomalies["anomalies"] += int(block["anomaly"].to_numpy().sum())
                yield block

        text, result = self.write(make, self.data)
        found = "{anomalies} anomalies above the threshold of {threshold:.6g}".format(**anomalies)
        return f"{text}\n{found}", result | anomalies


@dataclass(kw_only=True)
class Generate(Output):
    """Write new rows, decoded from draws of a VAE's prior."""

    count: Annotated[int, arg(aliases=["-n"])] = 16
    """Rows to draw."""

    seed: int = 0
    """Decides the draws."""

    def __call__(self) -> tuple[str, Result]:
        """Writes the columns that the run trained on."""
        from jaxrep.runs.outputs import generate

        return self.write(lambda run: [generate(run, self.count, seed=self.seed)])


@dataclass(kw_only=True)
class Interpolate(Output):
    """Write the rows between two rows, along the straight line between their codes."""

    data: Data
    """The table that holds both rows."""

    rows: tuple[int, int]
    """The two rows' numbers, from 0."""

    steps: int = 8
    """Rows to write, both ends included."""

    def __call__(self) -> tuple[str, Result]:
        """Writes the columns that the run trained on."""
        from jaxrep.runs.outputs import interpolate

        def make(run: "Run") -> "list[pa.Table]":
            return [interpolate(run, self.data, self.rows, self.steps)]

        return self.write(make, self.data)


@dataclass(kw_only=True)
class Parity(Command):
    """Check JAX against PyTorch: all of jaxrep, or a run's weights; exit code 1 if they part."""

    folder: Annotated[Path | None, Positional, arg(metavar="RUN")] = None
    """A finished run; without one, the whole ladder from weights to whole trainings."""

    data: str | None = None
    """Rows for RUN; by default those that it was trained on."""

    quick: bool = False
    """Fewer shapes and the first steps of each training; without RUN."""

    out: Path | None = None
    """A file for the report as JSON."""

    def __call__(self) -> tuple[str, Result]:
        """Returns the tables and the report as JSON."""
        from jaxrep import files, parity

        if self.folder is None and self.data is not None:
            raise InputError("--data goes with RUN; name the run, or leave --data out")
        if self.folder is not None and self.quick:
            raise InputError("--quick goes without RUN; leave one of them out")
        if self.out is not None:
            files.check_writable(self.out)
        if self.folder is None:
            report = parity.run_ladder(quick=self.quick, on_rung=lambda name: _note(f"{name} …"))
        else:
            report = self._check_run(self.folder)
        result = report.to_json()
        if self.out is not None:
            files.write_text(self.out, json.dumps(result, indent=2, allow_nan=False) + "\n")
        return str(report), result

    def _check_run(self, folder: Path) -> "Report":
        from jaxrep.parity import check_run
        from jaxrep.runs.folder import load
        from jaxrep.runs.rows import rows_of

        run = load(folder)
        return check_run(run, rows_of(run, self.data, note=_note))


@dataclass(kw_only=True)
class Export(Command):
    """Write a run as a file that serves it without JAX, and prove that it gives the same."""

    folder: RunFolder
    """A finished run."""

    out: Path
    """The file to write."""

    format: str = "torchscript"
    """torchscript (PyTorch and C++, every function; PyTorch has deprecated TorchScript, and pt2 is
    its successor), pt2 (torch.export), onnx, or safetensors (weights and description, which
    `jaxrep import` reads)."""

    data: str | None = None
    """Rows to verify on; by default those that the run was trained on."""

    def __call__(self) -> tuple[str, Result]:
        """Writes the file and returns its digest."""
        from jaxrep.export import export_run
        from jaxrep.runs.folder import load

        run = load(self.folder)
        made = export_run(run, self.out, format=self.format, data=self.data, note=_note)
        text = (
            f"wrote {made.out} ({made.format}, {made.bytes:,} bytes, sha256 {made.sha256[:16]}…)\n"
            f"it gives what JAX gives on its golden rows and on {made.rows_verified} others"
        )
        return text, dataclasses.asdict(made)


@dataclass(kw_only=True)
class Import(Command):
    """Turn an exported file into a run folder again."""

    file: Annotated[Path, Positional, arg(metavar="FILE")]
    """A .safetensors file that `jaxrep export` wrote; or a TorchScript one, with --trust."""

    out: Path
    """The run's folder."""

    trust: bool = False
    """Read a TorchScript file, which runs code: only from people you trust."""

    overwrite: bool = False
    """Replace a run that is in the folder."""

    def __call__(self) -> tuple[str, Result]:
        """Writes the folder and says what it holds."""
        from jaxrep.export import import_run

        run = import_run(self.file, self.out, trust=self.trust, overwrite=self.overwrite)
        result = {"run": str(self.out), "file": str(self.file), "method": run.method.name}
        return f"{run.method.name} from {self.file}, saved in {self.out}", result


def _note(message: str) -> None:
    print(message, file=sys.stderr)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _lines(summary: Result, indent: str = "") -> list[str]:
    """Lays an object out as indented lines of `key: value`."""
    lines = []
    for key, value in summary.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key}: {value}")
    return lines
