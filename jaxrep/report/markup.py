"""HTML from values: whatever comes from data is escaped here, and nowhere else."""

import html
import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

_LONGEST = 200  # characters of a value


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading of its own."""

    name: str
    """What links lead to; unique on the page."""

    title: str
    """Its heading."""

    body: str
    """Its content as HTML."""


def printable(value: object, longest: int = _LONGEST) -> str:
    r"""Returns a value as one line of text that HTML, SVG and UTF-8 can hold.

    Control characters, halves of surrogate pairs and the like become U+FFFD.

    Example:
        >>> printable("a\tb\udcff\x00")
        'a b��'
        >>> printable("abcdef", longest=4)
        'abc…'
    """
    text = " ".join(str(value).split())
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    bad = ("Cc", "Cs", "Co", "Cn")
    return "".join("\ufffd" if unicodedata.category(c) in bad else c for c in text)


def drawable(value: object, longest: int = 40) -> str:
    r"""Returns a value as text for matplotlib, in which a dollar is a dollar and no formula begins.

    Example:
        >>> drawable("$x_1$"), drawable("_hidden")
        ('\\$x_1\\$', ' _hidden')
    """
    shown = printable(value, longest).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown  # which a legend would leave out


def text(value: object) -> str:
    """Returns a value escaped, numbers short.

    Example:
        >>> text("<script>"), text(0.123456), text(None)
        ('&lt;script&gt;', '0.1235', '–')
    """
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    return html.escape(printable(value), quote=True)


def paragraph(content: str, kind: Literal["plain", "warning"] = "plain") -> str:
    """Returns a paragraph of plain text."""
    return f'<p class="{kind}">{html.escape(printable(content, 2000))}</p>'


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns a table that scrolls sideways where it is too wide; its first column names the rows.

    Args:
        caption: what it shows.
        head: the columns' headings.
        rows: values of the cells, numbers to the right.

    Example:
        >>> print(table("sizes", ["name", "size"], [["<a>", 1.5]]))
        <div class="scroll" tabindex="0" role="region" aria-label="sizes"><table>
        <caption>sizes</caption>
        <thead><tr><th scope="col">name</th><th scope="col">size</th></tr></thead>
        <tbody>
        <tr><th scope="row">&lt;a&gt;</th><td class="number">1.5</td></tr>
        </tbody></table></div>
    """
    headings = "".join(f'<th scope="col">{text(name)}</th>' for name in head)
    return "\n".join(
        [
            f'<div class="scroll" tabindex="0" role="region" aria-label="{text(caption)}"><table>',
            f"<caption>{text(caption)}</caption>",
            f"<thead><tr>{headings}</tr></thead>",
            "<tbody>",
            *(_row(row) for row in rows),
            "</tbody></table></div>",
        ]
    )


def figure(svg: str, caption: str) -> str:
    """Returns a drawing with a caption of plain text below it."""
    below = html.escape(printable(caption, 2000))
    return f"<figure>\n{svg}\n<figcaption>{below}</figcaption></figure>"


def code(command: str) -> str:
    """Returns a command as it is typed; it must be printable."""
    return f'<pre tabindex="0"><code>{html.escape(command)}</code></pre>'


def _row(values: Sequence[Any]) -> str:
    first, *others = values
    cells = [f'<th scope="row">{text(first)}</th>']
    for value in others:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        cells.append(
            f'<td class="number">{text(value)}</td>' if is_number else f"<td>{text(value)}</td>"
        )
    return f"<tr>{''.join(cells)}</tr>"
