"""What commands that read a table for the first time are told of its columns."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import UseAppendAction, arg

from jaxrep.commands._command import Command

if TYPE_CHECKING:
    from jaxrep.data.columns import Columns


@dataclass(kw_only=True)
class TableColumns(Command):
    """What a table's columns are, where it is not to be inferred from their values."""

    column: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="NAME=KIND")] = ()
    """What a column is: number, count, boolean, category, datetime, duration, or id or text, which
    are not learned from; datetime:%d.%m.%Y names a format, number:, a decimal comma. Repeat it for
    other columns."""

    categorical: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="NAME")] = ()
    """A column of categories: short for --column NAME=category. Repeat it for other columns."""

    drop: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="NAME")] = ()
    """A column to leave out. Repeat it for other columns."""

    schema: Path | None = None
    """A file that says what columns are: the schema.json of a run, or a TOML file with a table
    [columns] of NAME = "KIND" and, besides, drop, missing and na_values."""

    label: str = ""
    """Column to keep out of training."""

    id_column: str = ""
    """Column to pass through to outputs, never trained on."""

    na_values: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="CELL")] = ()
    """A cell that means "missing", besides empty ones, NA and the like. Repeat it for others."""

    impute: Literal["median", "refuse"] = "median"
    """What becomes of missing cells: numbers get the column's median, categories a feature of their
    own; or they are refused."""

    def columns(self) -> "Columns":
        """Returns what the flags say of the table's columns.

        Raises:
            InputError: a flag says no kind, or the schema file cannot be read.
        """
        from jaxrep.data.columns import Columns, parse_kind, read_columns

        said = Columns() if self.schema is None else read_columns(self.schema)
        kinds = dict(parse_kind(text) for text in self.column)
        kinds |= dict.fromkeys(self.categorical, "category")
        return Columns(
            kinds={**said.kinds, **kinds},
            drop=tuple(dict.fromkeys((*said.drop, *self.drop))),
            label=self.label or said.label,
            id_column=self.id_column or said.id_column,
            na_values=tuple(dict.fromkeys((*said.na_values, *self.na_values))),
            missing=said.missing,
            impute=self.impute,
        )
