"""What a page holds, as plain data: text is not escaped yet, and the templates lay it out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Drawing:
    """A drawing with a caption below it."""

    kind: ClassVar[str] = "drawing"

    svg: str
    """An SVG element, from `figures.draw`: the only HTML among all content."""

    caption: str
    """What it shows."""


@dataclass(frozen=True)
class Table:
    """A table; the first cell of each row names it."""

    kind: ClassVar[str] = "table"

    caption: str
    """What it shows."""

    head: Sequence[str]
    """The columns' headings."""

    rows: Sequence[Sequence[Any]]
    """The values of the cells; numbers stand to the right, None is a dash."""


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of prose."""

    kind: ClassVar[str] = "paragraph"

    text: str
    """Its text."""

    is_warning: bool = False
    """Whether it has to catch the eye."""


@dataclass(frozen=True)
class Command:
    """A command as it is typed; it is shown as it stands and must be printable."""

    kind: ClassVar[str] = "command"

    text: str
    """Its text, quoted for a shell."""


Part = Drawing | Table | Paragraph | Command


@dataclass(frozen=True)
class Section:
    """Parts of the page below a heading of their own."""

    name: str
    """What links lead to; unique on the page."""

    title: str
    """Its heading."""

    parts: Sequence[Part]
    """Its content."""


@dataclass(frozen=True)
class Page:
    """The whole page."""

    title: str
    """Its heading, and its title in the browser."""

    facts: Sequence[tuple[str, str]]
    """Names and values at its head."""

    remarks: Sequence[Paragraph]
    """What to know before reading on."""

    sections: Sequence[Section]
    """Its sections, in order."""
