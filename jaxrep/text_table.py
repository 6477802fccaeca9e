"""Tables of text, as commands print them."""

import io
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text


def on_one_line(text: str) -> str:
    r"""Returns a name with what a terminal would obey written as escapes.

    Example:
        >>> print(on_one_line("two\nlines"))
        two\nlines
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def laid_out(names: Sequence[str], lines: Iterable[Sequence[str]], *, left: int) -> str:
    """Returns lines of cells as columns below their names.

    Args:
        names: of the columns.
        lines: the cells, as many each.
        left: how many of the first columns stand to the left; numbers stand to the right.

    Example:
        >>> print(laid_out(["name", "age"], [["Ann", "31"], ["Bo", "7"]], left=1))
        name  age
        ──────────
        Ann    31
        Bo      7
    """
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for i, name in enumerate(names):
        table.add_column(name, justify="left" if i < left else "right", no_wrap=True)
    for line in lines:
        table.add_row(*(Text(on_one_line(cell)) for cell in line))
    file = io.StringIO()
    Console(file=file, width=1000, color_system=None, highlight=False).print(table)
    return "\n".join(line.rstrip() for line in file.getvalue().rstrip().splitlines())
