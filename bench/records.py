"""Records: what an entry measured, with all that is needed to repeat it; and files of them.

A file of results is a JSON object: a record by the entry's name. A record has the keys `quick`,
`rounds`, `seconds`, `commit`, `machine`, `load_before`, `load_after`, `series` (case, side, unit
and every raw sample) and `facts`. Nothing in it is computed from samples.
"""

import json
from pathlib import Path
from typing import Any

from bench.entries import ENTRIES, Entry

RESULTS = Path(__file__).parent / "results"
ROUNDS, QUICK_ROUNDS = 7, 2

Record = dict[str, Any]


def make(entry: Entry, *, quick: bool, rounds: int) -> Record:
    """Measures an entry and returns its record.

    Args:
        entry: of the suite.
        quick: the short version of it.
        rounds: how often each side is measured.
    """
    from bench import machine
    from bench.timing import seconds

    load_before = machine.load()
    made: list[dict[str, Any]] = []
    took = seconds(lambda: made.append(entry.measure(quick=quick, rounds=rounds).to_json()))
    return {
        "quick": quick,
        "rounds": rounds,
        "seconds": took,
        "commit": machine.commit(),
        "machine": machine.describe(),
        "load_before": load_before,
        "load_after": machine.load(),
        **made[0],
    }


def write(path: Path, records: dict[str, Record]) -> None:
    """Writes records by the entries' names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: Path) -> dict[str, Record]:
    """Reads a file of records.

    Raises:
        ValueError: it is no such file; the message says what to give.
    """
    try:
        data: dict[str, Record] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as JSON ({error})") from None
    is_records = isinstance(data, dict) and all(
        isinstance(record, dict) and {"series", "facts"} <= record.keys()
        for record in data.values()
    )
    if not is_records:
        raise ValueError(f"{path}: no results of `python -m bench`; give a file that it wrote")
    return data


def read_results(folder: Path = RESULTS) -> dict[str, Record]:
    """Reads what the entries have left in a folder, in the order of the suite."""
    records: dict[str, Record] = {}
    for entry in ENTRIES:
        path = folder / f"{entry.name}.json"
        records |= read(path) if path.exists() else {}
    return records
