"""Values as text that a page and a drawing can show, whatever the cells of a table hold."""

import unicodedata

_UNSHOWN = ("Cc", "Cs", "Co", "Cn")  # control, half of a surrogate pair, private, unassigned


def without_controls(text: str) -> str:
    r"""Returns text with U+FFFD for characters that HTML, SVG or UTF-8 cannot hold.

    Example:
        >>> without_controls("a\udcff\x00")
        'a��'
    """
    return "".join("\ufffd" if unicodedata.category(c) in _UNSHOWN else c for c in text)


def one_line(text: str, longest: int) -> str:
    r"""Returns text with its white space as single spaces, cut to `longest` characters.

    Example:
        >>> one_line("a\t b", 10), one_line("abcdef", 4)
        ('a b', 'abc…')
    """
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1] + "…"


def printable(value: object, longest: int = 200) -> str:
    r"""Returns a value as one line of text that HTML, SVG and UTF-8 can hold.

    Example:
        >>> printable("a\tb\udcff\x00")
        'a b��'
    """
    return without_controls(one_line(str(value), longest))


def drawable(value: object, longest: int = 40) -> str:
    r"""Returns a value as text for matplotlib, in which a dollar is a dollar and no formula begins.

    Example:
        >>> drawable("$x_1$"), drawable("_hidden")
        ('\\$x_1\\$', ' _hidden')
    """
    shown = printable(value, longest).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown  # which a legend would leave out
