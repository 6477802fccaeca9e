"""What a user says of a table's columns; all else is inferred."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from jaxrep.errors import InputError

from .schema import KINDS

LEFT_OUT = ("id", "text", "constant", "dropped")
"""What a column can be that is not learned from."""

Impute = Literal["median", "refuse"]


@dataclass(frozen=True)
class Asked:
    """What a column is said to be.

    Attributes:
        kind: one of the kinds, or of those that are left out.
        format: of a datetime, as `strptime` has it; of a number, its decimal mark.

    Example:
        >>> Asked.parse("datetime:%d.%m.%Y")
        Asked(kind='datetime', format='%d.%m.%Y')
    """

    kind: str
    format: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Asked":
        """Returns the kind that a text says.

        Raises:
            InputError: it says none.
        """
        kind, colon, format = text.partition(":")
        known = (*KINDS, *LEFT_OUT)
        if kind not in known or (colon and kind not in ("datetime", "number", "count")):
            raise InputError(
                f"{text!r} is no kind of column; there are {', '.join(known)}, datetime:FORMAT "
                "with a format of strptime, and number:, with a decimal comma"
            )
        if kind in ("number", "count") and colon and format not in (".", ","):
            raise InputError(f"{text!r}: a decimal mark is . or ,")
        return cls(kind, format or None)


@dataclass(frozen=True)
class Columns:
    """What a user says of a table's columns.

    Attributes:
        kinds: what columns are, by name, as `Asked.parse` reads it.
        drop: columns to leave out.
        label: a column to keep for its labels, and out of training.
        id_column: a column that outputs carry along, and that is not learned from.
        na_values: further cells that mean "missing".
        missing: the cells of text that mean it without being told; None: those of `MISSING`.
        impute: what becomes of missing cells: the column's median, or a refusal.

    Example:
        >>> Columns(kinds={"zip": "category"}, label="price").asked()
        {'zip': Asked(kind='category', format=None)}
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    label: str | None = None
    id_column: str | None = None
    na_values: tuple[str, ...] = ()
    missing: tuple[str, ...] | None = None
    impute: Impute = "median"

    def asked(self) -> dict[str, Asked]:
        """Returns what columns are said to be, by name.

        Raises:
            InputError: there is no such kind; the message names the column.
        """
        found = {}
        for name, kind in self.kinds.items():
            try:
                found[name] = Asked.parse(kind)
            except InputError as error:
                raise InputError(f"column {name!r}: {error}") from None
        return found
