"""What a reader is asked for, and the messages that every reader shares."""

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jaxrep.errors import InputError

from ._fitted import MOST

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL")
"""The cells of a column of numbers that mean "missing" without being told."""

_LISTED = 10
_LONGEST_VALUE = 60


@dataclass(frozen=True)
class Request:
    """The arguments of `read_table`, as the readers of each format need them."""

    source: str
    text_columns: frozenset[str]
    numeric_columns: frozenset[str] | None
    na_values: frozenset[str]
    typed_columns: frozenset[str] = frozenset()
    kept_columns: frozenset[str] = frozenset()

    def text_among(self, names: Sequence[str]) -> frozenset[str]:
        """Returns those of the table's column names whose cells may be text.

        Raises:
            InputError: a name is empty or stands twice, or a text column is not in the table.
        """
        _check_names(names, self.source)
        others = self.typed_columns | self.kept_columns
        if self.numeric_columns is not None:
            return frozenset(names) - (self.numeric_columns - others)
        text = self.text_columns | others
        if absent := sorted(text - set(names)):
            raise InputError(
                f"{self.source}: no column {listed(absent)} "
                "(asked for by --categorical, --label or --id-column); "
                f"the columns are {listed(names)}"
            )
        return text


def check_count(columns: int, source: str) -> None:
    """Raises an InputError if a table has more columns than a preprocessing can."""
    if columns > MOST:
        raise InputError(
            f"{source}: {columns} columns; a table may have {MOST} (is it transposed?)"
        )


def listed(names: Iterable[str]) -> str:
    """Returns names quoted and separated by commas, at most ten of them.

    Example:
        >>> listed("abcdefghijkl")
        "'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j' and 2 more"
    """
    return joined([repr(name) for name in names])


def nearest(label: str, names: Sequence[str]) -> str:
    """Ends the message about a label that is not there; the label is most often a late column."""
    near = difflib.get_close_matches(label, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    named = ", ".join(repr(name) for name in names[-_LISTED:])
    which = "columns are" if len(names) <= _LISTED else f"last {_LISTED} of {len(names)} are"
    return f"(asked for by --label){hint} The {which} {named}"


def joined(parts: Sequence[str]) -> str:
    """Returns the first ten parts separated by commas, and how many more there are."""
    more = len(parts) - _LISTED
    return ", ".join(parts[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def not_a_number(source: str, column: str, row: int, value: str) -> InputError:
    """Returns the error for a text cell in a numeric column; `row` counts data rows from 1."""
    return InputError(
        f"{source}: column {column!r}, data row {row}: {shortened(value)} is not a number. "
        "Keep a column of text with --categorical, --label or --id-column; "
        "if the cell stands for a missing value, name it with --na-values"
    )


def infinite(source: str, column: str, row: int) -> InputError:
    """Returns the error for an infinite number; `row` counts data rows from 1."""
    return InputError(
        f"{source}: column {column!r}, data row {row}: the value is infinite "
        "('inf', or beyond what a float64 holds); correct it or remove the row"
    )


def shortened(value: str) -> str:
    """Returns a cell as a message quotes it."""
    if len(value) <= _LONGEST_VALUE:
        return repr(value)
    return repr(value[:_LONGEST_VALUE]) + "…"


def _check_names(names: Sequence[str], source: str) -> None:
    check_count(len(names), source)
    unnamed = [str(i) for i, name in enumerate(names, start=1) if not name.strip()]
    if unnamed:
        raise InputError(
            f"{source}: no name for column number {joined(unnamed)}; name every column"
        )
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise InputError(
            f"{source}: more than one column is named {listed(twice)}; rename them "
            "(or add a header line, if the file has none)"
        )
