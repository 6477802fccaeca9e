"""Names of columns: which of them a table may have."""

from collections import Counter
from collections.abc import Collection, Sequence

from jaxrep.errors import InputError

from ._messages import joined, listed

MOST_COLUMNS = 1_000_000
BLANKS = " \t\r\n\f\v\u00a0"
"""What cells and names are trimmed of."""


def check_names(names: Sequence[str], source: str) -> None:
    """Raises an InputError if a table has no, too many, unnamed or equally named columns."""
    if not names:
        raise InputError(f"{source}: the table has no columns")
    check_count(len(names), source)
    unnamed = [str(i) for i, name in enumerate(names, start=1) if not name.strip()]
    if unnamed:
        raise InputError(
            f"{source}: no name for column number {joined(unnamed)}; name every column"
            f"{_above_the_names(names)}"
        )
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise InputError(
            f"{source}: more than one column is named {listed(twice)}; rename them "
            "(or add a header line, if the file has none)"
        )


def _above_the_names(names: Sequence[str]) -> str:
    """Returns what to do if the first line may be no names."""
    if names[0].lower() in ("sep=", "sep=,", "sep=;", "sep=\\t", "sep=|"):
        return f"; the first line, {names[0]!r}, is one for Excel alone: remove it"
    is_title = bool(names[0].strip()) and not any(name.strip() for name in names[1:])
    return "; if the first line is a title, remove it" if is_title else ""


def check_count(columns: int, source: str) -> None:
    """Raises an InputError if a table has more columns than can be read."""
    if columns > MOST_COLUMNS:
        raise InputError(
            f"{source}: {columns} columns; a table may have {MOST_COLUMNS} (is it transposed?)"
        )


def selected(names: Sequence[str], columns: Collection[str] | None, source: str) -> list[str]:
    """Returns the names that are among `columns`, in their own order.

    Raises:
        InputError: none of them is.
    """
    found = [name for name in names if columns is None or name in columns]
    if not found:
        raise InputError(
            f"{source}: no column {listed(columns or ())}; the columns are {listed(names)}"
        )
    return found
