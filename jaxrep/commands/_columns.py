"""The flags on columns of commands that read a table for the first time."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import UseAppendAction, arg

from jaxrep.commands._command import Command

if TYPE_CHECKING:
    from jaxrep.data.columns import Columns


@dataclass(kw_only=True)
class TableColumns(Command):
    """The kinds and roles of columns that are not to be inferred from their values."""

    column: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="NAME=KIND")] = ()
    """What a column is: number, count, boolean, category, datetime, duration, or id or text, which
    are not learned from; datetime:%d.%m.%Y names a format, number:, a decimal comma. Repeat it for
    other columns."""

    categorical: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="NAME")] = ()
    """A column of categories: short for --column NAME=category. Repeat it for other columns."""

    drop: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="NAME")] = ()
    """A column to leave out. Repeat it for other columns."""

    schema: Path | None = None
    """A file with the kinds of columns: the schema.json of a run, or a TOML file with a table
    [columns] of NAME = "KIND" and, besides, a table [likelihoods] of NAME = "LIKELIHOOD", a table
    [scales] of NAME = "SCALE", drop, missing, na_values and scale."""

    column_likelihood: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="NAME=KIND")] = ()
    """By what a reconstruction of a numeric column is judged, whatever the method's --likelihood
    says: squared, gaussian with a learned variance, bernoulli of a boolean, poisson of a count.
    Repeat it for other columns."""

    label: str = ""
    """Column to keep out of training."""

    id_column: str = ""
    """Column to pass through to outputs, never trained on."""

    na_values: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="CELL")] = ()
    """A missing-value marker, besides the empty cell, NA and the like. Repeat it for others."""

    impute: Literal["median", "refuse"] | None = None
    """What becomes of missing cells. By default they stay missing, and the model is told so; median
    fills numbers with the column's median and categories with its most frequent level; refuse
    refuses them."""

    scale: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="NAME|COLUMN=NAME")] = ()
    """How numbers become features: standard (the default), robust (median and interquartile range),
    log1p (signed logarithms), quantile (normal scores) or spikes (normal scores, with values that
    many rows share as levels of their own; for a VAE), for all columns or for one. Repeat it for
    other columns."""

    def columns(self) -> "Columns":
        """Returns the kinds and roles that the flags set.

        Raises:
            InputError: a flag does not name a kind, a scale or a likelihood, or the schema file
                cannot be read.
        """
        from jaxrep.data.columns import (
            Columns,
            parse_kind,
            parse_likelihood,
            parse_scales,
            read_columns,
        )

        file = Columns() if self.schema is None else read_columns(self.schema)
        kinds = dict(parse_kind(text) for text in self.column)
        kinds |= dict.fromkeys(self.categorical, "category")
        scale, scales = parse_scales(self.scale)
        return Columns(
            kinds={**file.kinds, **kinds},
            drop=tuple(dict.fromkeys((*file.drop, *self.drop))),
            label=self.label or file.label,
            id_column=self.id_column or file.id_column,
            na_values=tuple(dict.fromkeys((*file.na_values, *self.na_values))),
            missing=file.missing,
            impute=self.impute or file.impute,
            likelihoods={**file.likelihoods, **dict(map(parse_likelihood, self.column_likelihood))},
            scale=scale or file.scale,
            scales={**file.scales, **scales},
        )
