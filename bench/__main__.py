"""Runs the benchmarks and writes their JSON: `python -m bench [--rounds N] [--out FILE]`."""

import argparse
import json
import sys
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from bench.machine import describe
from bench.trainings import measure

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Measures, prints a table, and writes every sample to a JSON file."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds (default: 7)")
    parser.add_argument("--out", type=Path, default=RESULTS / "trainings.json")
    arguments = parser.parse_args()
    before = describe()
    trainings = measure(arguments.rounds)
    result = {"before": before, "after": describe(), "trainings": trainings}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    _print(trainings)
    print(f"every sample is in {arguments.out}")
    return 0


def _print(trainings: list[dict[str, object]]) -> None:
    table = Table(title="Rows a second, median (IQR) of a whole training", box=box.SIMPLE)
    for name in ("method", "jaxrep", "PyTorch as in the seed", "ratio"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for training in trainings:
        table.add_row(
            str(training["method"]),
            *(
                "{median:,.0f} ({iqr:,.0f})".format(**training[side])  # type: ignore[arg-type]
                for side in ("jaxrep", "seed")
            ),
            f"{training['ratio_of_medians']:.1f} ×",
        )
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
