"""docs/benchmarks.md and its plots, from the results alone: `python -m bench document`.

Every number of the page is computed from samples in bench/results/; nothing is typed in. What a
missed target owes to is in `bench/reasons.py`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.entries import BY_NAME, Entry
from bench.machine import ROOT
from bench.measured import Figure, Measured
from bench.reasons import REASONS
from bench.records import Record
from bench.show import Rows, figure_table, series_tables

PAGE = ROOT / "docs" / "benchmarks.md"

_HEAD = """\
# Benchmarks

`python -m bench document` writes this page from the files in `bench/results/`, which hold every raw
sample; no number here is typed in.

```
make bench                                       # measures all, an entry to a file: minutes
make bench-quick                                 # all in under two minutes, into one file
python -m bench --only trainings sweeps          # some of it; --list names the entries
python -m bench compare OLD.json NEW.json        # what changed beyond noise; exit code 1: worse
```

**On a GPU or TPU** the owner installs JAX for it (`pip install -U 'jax[cuda13]'` or `'jax[tpu]'`)
and says `python -m bench --out gpu.json`. JAX takes the device by itself, PyTorch a CUDA device if
it sees one, and each clock stops when its device is done.

The sides of a table are measured in turn, round by round, in one run: compare across a row, not
across tables. A cell is the median, in brackets the interquartile range and the minimum. Targets
are on ratios within such a run.
"""


def write(results: dict[str, Record], page: Path = PAGE) -> Iterator[Path]:
    """Writes the page and a plot of every record beside it; yields the paths.

    Args:
        results: records by the entries' names.
        page: the Markdown file; plots go to `plots` beside it.
    """
    from bench.plots import draw  # the page alone needs no matplotlib

    for name, record in results.items():
        path = page.parent / "plots" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        measured, entry = Measured.from_json(record), BY_NAME[name]
        plot = getattr(entry.load(), "plot", None)
        if plot:
            plot(measured, path)
        else:
            draw(name, entry.title, measured, path)
        yield path
    page.write_text(text(results), encoding="utf-8")
    yield page


def text(results: dict[str, Record]) -> str:
    """Returns the page."""
    sections = [_section(BY_NAME[name], record) for name, record in results.items()]
    return "\n".join([_HEAD, _verdicts(results), *sections])


def _verdicts(results: dict[str, Record]) -> str:
    """The figures that have a target, of all entries, and the reasons of those that miss it."""
    figures = [
        figure
        for name, record in results.items()
        for figure in BY_NAME[name].figures(Measured.from_json(record))
        if figure.verdict
    ]
    return f"## Targets\n\n{_markdown(figure_table(figures))}\n{_reasons(figures)}"


def _reasons(figures: list[Figure]) -> str:
    missed = [figure for figure in figures if figure.verdict == "missed"]
    lines = [f"- *{f.name}*: {REASONS.get(f.name, 'the reason is not found yet.')}" for f in missed]
    return "".join(
        ["\nWhat is missed, and why:\n\n", *(line + "\n" for line in lines)] if lines else []
    )


def _section(entry: Entry, record: Record) -> str:
    measured = Measured.from_json(record)
    parts = [f"## {entry.title}", entry.method, _circumstances(record)]
    for title, rows in series_tables(measured):
        parts.append(f"{title}\n\n{_markdown(rows)}".rstrip())
    figures = entry.figures(measured)
    if figures:
        parts.append(_markdown(figure_table(figures)).rstrip())
    parts += [_facts(measured.facts), f"![{entry.title}](plots/{entry.name}.png)"]
    return "\n\n".join(filter(None, parts)) + "\n"


def _circumstances(record: Record) -> str:
    machine: dict[str, Any] = record["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    before, after = (
        ", ".join(f"{x:.1f}" for x in record[f"load_{w}"]) for w in ("before", "after")
    )
    kind = "A short run, " if record["quick"] else ""
    return (
        f"*{kind}{record['rounds']} rounds, {record['seconds']:.0f} s, commit {record['commit']}; "
        f"{machine['processor']}, {machine['cores']} cores; JAX on {machine['jax_device']}, "
        f"{machine['jax_threads']} threads; PyTorch on {machine['torch_device']}; load {before} "
        f"before, {after} after; {versions}.*"
    )


def _facts(facts: dict[str, Any]) -> str:
    lines = []
    for name, value in facts.items():
        label = name.replace("_", " ")
        for key, inner in value.items() if isinstance(value, dict) else [("", value)]:
            lines.append(f"- {label}{', ' + key if key else ''}: {_fact(inner)}")
    return "\n".join(lines)


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key} {_fact(inner)}" for key, inner in value.items())
    if isinstance(value, str):
        return value
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"


def _markdown(rows: Rows) -> str:
    rule = ["---"] + ["---:"] * (len(rows[0]) - 1)
    return "".join(f"| {' | '.join(row)} |\n" for row in [rows[0], rule, *rows[1:]])
