"""Tables of a record, for the terminal and for the page: series by case and side, and figures."""

from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table

from bench.entries import Entry
from bench.measured import Figure, Measured, Series

Rows = list[list[str]]


def series_tables(measured: Measured) -> Iterator[tuple[str, Rows]]:
    """Yields for each unit a table whose first row is the header: cases down, sides across.

    A cell holds the median, the interquartile range and the minimum.
    """
    for unit in dict.fromkeys(series.unit for series in measured.series):
        chosen = [series for series in measured.series if series.unit == unit]
        sides = list(dict.fromkeys(series.side for series in chosen))
        rows = [["", *sides]]
        for case in dict.fromkeys(series.case for series in chosen):
            found = (measured.find(case, side, unit) for side in sides)
            rows.append([case, *(_cell(series) if series else "" for series in found)])
        yield f"{unit}: median (IQR; minimum)", rows


def figure_table(figures: list[Figure]) -> Rows:
    """Returns the figures with their targets and whether they are met, under a header."""
    rows = [["figure", "measured", "target", ""]]
    return [*rows, *([f.name, f.text, f.target_text, f.verdict] for f in figures)]


def print_record(entry: Entry, measured: Measured) -> None:
    """Prints the tables of an entry to the terminal."""
    console = Console()
    for title, rows in series_tables(measured):
        console.print(_table(f"{entry.title}, {title}", rows))
    console.print(_table("", figure_table(entry.figures(measured))))


def _cell(series: Series) -> str:
    values = (series.median, series.iqr, series.minimum)
    median, iqr, minimum = (_short(value) for value in values)
    return f"{median} ({iqr}; {minimum})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _table(title: str, rows: Rows) -> Table:
    table = Table(title=title or None, box=box.SIMPLE)
    for i, name in enumerate(rows[0]):
        table.add_column(name, justify="right" if i else "left")
    for row in rows[1:]:
        table.add_row(*row)
    return table
