"""How messages about tables name columns, cells and values."""

import difflib
from collections.abc import Iterable, Sequence

_LISTED = 10
_LONGEST_VALUE = 60


def cell(source: str, column: str, row: int) -> str:
    """Returns the beginning of a message about a cell; rows of a table count from 0.

    Example:
        >>> cell("people.csv", "age", 2)
        "people.csv: column 'age', row 2 (from 0)"
    """
    return f"{source}: column {column!r}, row {row} (from 0)"


def listed(names: Iterable[str]) -> str:
    """Returns names quoted and separated by commas, at most ten of them.

    Example:
        >>> listed("abcdefghijkl")
        "'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j' and 2 more"
    """
    return joined([repr(name) for name in names])


def joined(parts: Sequence[str]) -> str:
    """Returns the first ten parts separated by commas, and how many more there are."""
    more = len(parts) - _LISTED
    return ", ".join(parts[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def nearest(name: str, names: Sequence[str]) -> str:
    """Returns what ends the message about a column that is not there.

    Example:
        >>> nearest("agee", ["age", "job"])
        "; did you mean 'age'? The columns are 'age', 'job'"
    """
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    named = ", ".join(repr(other) for other in names[-_LISTED:])
    which = "columns are" if len(names) <= _LISTED else f"last {_LISTED} of {len(names)} are"
    return f"{hint} The {which} {named}"


def shortened(value: str) -> str:
    """Returns a cell's text as a message quotes it."""
    if len(value) <= _LONGEST_VALUE:
        return repr(value)
    return repr(value[:_LONGEST_VALUE]) + "…"
