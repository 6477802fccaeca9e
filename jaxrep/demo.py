"""The demonstration: all three methods on synthetic blobs, then on a real table from a CSV.

Run it with `make demo`, or `python -m jaxrep.demo FOLDER`. It leaves six run folders behind.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from jaxrep import methods
from jaxrep.data import datasets, write_table
from jaxrep.errors import InputError
from jaxrep.report.plots import write_plots
from jaxrep.runs import folder, generating, outputs
from jaxrep.runs.train import Columns, TrainResult, train
from jaxrep.training import Callback, EpochMetrics

FOLDER = Path("demo_runs")
RECIPE = "seed"
TITLES = {
    "autoencoder": ("AE", "Loss", 10),
    "vae": ("VAE", "ELBO", 20),
    "simclr": ("SimCLR", "NT-Xent", 20),
}


def main(arguments: Sequence[str]) -> int:
    """Runs the demonstration.

    Args:
        arguments: the folder to write to, or nothing.

    Returns:
        The exit code: 2 where the folder cannot be written or holds other things.
    """
    try:
        demonstrate(Path(arguments[0]) if arguments else FOLDER)
    except (InputError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    return 0


def demonstrate(out: Path) -> None:
    """Trains all methods on both tables, into folders of `out`, and prints what became of it."""
    out.mkdir(parents=True, exist_ok=True)
    results = [("blobs", train_on_blobs(method, out / "blobs" / method)) for method in TITLES]

    table = out / "breast_cancer.csv"
    write_table(datasets.load("breast_cancer"), table)
    print(f"\nA real table: {table}")
    results += [(table.name, train_on_csv(method, table, out)) for method in TITLES]
    _print_summary(results)


def train_on_blobs(method: str, out: Path) -> TrainResult:
    """Trains a method on 2,000 × 32 Gaussian blobs and prints what became of it."""
    title, loss, every = TITLES[method]

    class Printed(Callback):
        def on_epoch(self, metrics: EpochMetrics) -> None:
            if metrics["epoch"] % every == 0:
                print(f"{title} Epoch {metrics['epoch']:3d} | {loss}: {metrics['loss']:.4f}")

    result = train(
        "blobs",
        out,
        methods.resolve(methods.hyperparameters_of(method), RECIPE),
        Columns(),
        recipe=RECIPE,
        overwrite=True,
        callbacks=[Printed()],
    )
    run = folder.load(out)
    match method:
        case "autoencoder":
            anomalies = sum(outputs.score(run, "blobs")["anomaly"].to_pylist())
            print(f"Autoencoder anomalies (top 5% recon error): {anomalies}")
        case "vae":
            print(f"Generated samples shape: {generating.generate(run, 16).shape}")
        case "simclr":
            print(f"SimCLR representations shape: {outputs.embed(run, 'blobs').shape}")
    return result


def train_on_csv(method: str, table: Path, out: Path) -> TrainResult:
    """Trains a method on a CSV with a label column, and draws its plots."""
    path = out / table.stem / method
    columns = Columns(label=datasets.LABELS[table.stem])
    hyperparameters = methods.resolve(methods.hyperparameters_of(method), RECIPE)
    result = train(str(table), path, hyperparameters, columns, recipe=RECIPE, overwrite=True)
    plots = write_plots(folder.load(path), str(table))
    print(f"{method}: loss {result.loss:.4f}; plots {', '.join(str(plot) for plot in plots)}")
    return result


def _print_summary(results: Sequence[tuple[str, TrainResult]]) -> None:
    table = Table(title="What was trained", title_justify="left", box=box.SIMPLE)
    for name in ("method", "data"):
        table.add_column(name, no_wrap=True)
    for name in ("loss", "seconds", "rows/s"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("run folder", overflow="fold")
    for data, result in results:
        figures = (f"{result.loss:.4f}", f"{result.seconds:.2f}", f"{result.rows_per_second:,.0f}")
        table.add_row(result.method, data, *figures, result.run)
    print()
    Console(width=max(Console().width, 100)).print(table)
    print("seconds: training alone; compiling came on top, once for each kind of program")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
