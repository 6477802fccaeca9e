"""What commands that read a table for the first time are told of its columns."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from jaxrep.commands._command import Command

if TYPE_CHECKING:
    from jaxrep.data.columns import Columns


@dataclass(kw_only=True)
class TableColumns(Command):
    """The roles of a table's columns; all others are numbers to learn from."""

    categorical: str = ""
    """Columns of categories, separated by commas; each is one-hot encoded, with a bucket for
    unknown values."""

    label: str = ""
    """Column to keep out of training."""

    id_column: str = ""
    """Column to pass through to outputs, never trained on."""

    na_values: str = ""
    """Cells that mean "missing" besides empty ones and NA, separated by commas."""

    impute: Literal["median"] | None = None
    """How to fill missing numbers; by default they are refused."""

    def columns(self) -> "Columns":
        """Returns what the flags say of the table's columns."""
        from jaxrep.data.columns import Columns

        return Columns(
            _names(self.categorical),
            self.label or None,
            self.id_column or None,
            _names(self.na_values),
            self.impute,
        )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
