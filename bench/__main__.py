"""The benchmark suite.

    python -m bench [--quick] [--only NAME …] [--rounds N] [--out FILE] [--list]
    python -m bench compare A.json B.json [--tolerance 0.05]
    python -m bench document

The first measures, prints tables, and writes every raw sample: of a full run an entry to a file of
its own in bench/results/, of a short one (`--quick`) to bench/results/quick.json, which git
ignores; `--out` puts all into one file. `compare` says what changed beyond noise and exits with 1
if something got worse. `document` writes docs/benchmarks.md and its plots from bench/results/.

On a GPU or TPU the same command measures there: JAX takes the device that it finds, and PyTorch a
CUDA device if it sees one; the tables say which.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench import records
from bench.compare import TOLERANCE, Change, compare
from bench.entries import BY_NAME, ENTRIES, Entry
from bench.measured import Measured
from bench.show import print_record

_COMMANDS = ("compare", "document")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code.

    Args:
        arguments: without the program's name; None takes those of the process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = given.pop(0) if given and given[0] in _COMMANDS else "measure"
    run = {"measure": _measure, "compare": _compare, "document": _document}[command]
    try:
        return run(given)
    except ValueError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2


def _measure(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="all in under two minutes")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="entries to measure")
    parser.add_argument("--rounds", type=int, help=f"interleaved rounds ({records.ROUNDS})")
    parser.add_argument("--out", type=Path, metavar="FILE", help="one file for all results")
    parser.add_argument("--list", action="store_true", help="say which entries there are")
    asked = parser.parse_args(arguments)
    if asked.list:
        for entry in ENTRIES:
            print(f"{entry.name:16} {entry.title}")
        return 0
    chosen = _chosen(asked.only)
    rounds = asked.rounds or (records.QUICK_ROUNDS if asked.quick else records.ROUNDS)
    if rounds < 1:
        raise ValueError(f"--rounds is {rounds}; it must be at least 1")
    quick_out = records.RESULTS / "quick.json" if asked.quick else None
    _run(chosen, asked.quick, rounds, asked.out or quick_out)
    return 0


def _chosen(names: list[str] | None) -> list[Entry]:
    unknown = [name for name in names or () if name not in BY_NAME]
    if unknown:
        raise ValueError(f"--only {unknown[0]}: no such entry; there are {', '.join(BY_NAME)}")
    if names is None:
        return [entry for entry in ENTRIES if not entry.asked_for]
    return [entry for entry in ENTRIES if entry.name in names]


def _run(chosen: list[Entry], quick: bool, rounds: int, out: Path | None) -> None:
    """Measures and writes, entry by entry: what is measured is kept if a later one fails."""
    from bench.machine import load

    if load() and load()[0] > 1:
        print(
            f"bench: the load is {load()[0]:.1f} before anything is measured; PyTorch on all cores "
            "can be slower by an order of magnitude beside other work: measure on a quiet machine",
            file=sys.stderr,
        )
    made: dict[str, records.Record] = {}
    for entry in chosen:
        record = records.make(entry, quick=quick, rounds=rounds)
        made[entry.name] = record
        path = out or records.RESULTS / f"{entry.name}.json"
        records.write(path, made if out else {entry.name: record})
        print_record(entry, Measured.from_json(record))
        print(f"{record['seconds']:.0f} s; every sample is in {path}\n", flush=True)


def _compare(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench compare")
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--tolerance", type=float, default=TOLERANCE)
    asked = parser.parse_args(arguments)
    before, after = records.read(asked.before), records.read(asked.after)
    if not before.keys() & after.keys():
        raise ValueError(f"{asked.before} and {asked.after} have no entry in common")
    changes = list(compare(before, after, tolerance=asked.tolerance))
    told = [change for change in changes if change.verdict != "same"]
    for change in told:
        print(_line(change))
    print(f"{len(changes)} series, {len(changes) - len(told)} the same within noise")
    return 1 if any(change.verdict in ("worse", "missing") for change in changes) else 0


def _line(change: Change) -> str:
    where = f"{change.verdict:8} {change.entry}: {change.case}, {change.side}"
    if change.ratio != change.ratio:
        return where
    low, high = change.interval
    return f"{where}: {change.ratio:.3f} × ({low:.3f} to {high:.3f}), p = {change.p:.2g}"


def _document(arguments: list[str]) -> int:
    argparse.ArgumentParser(prog="python -m bench document").parse_args(arguments)
    from bench.document import write

    for path in write(records.read_results()):
        Console().print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
