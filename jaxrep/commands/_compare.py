"""`jaxrep compare`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from jaxrep.commands._command import Command, Result


@dataclass(kw_only=True)
class Compare(Command):
    """Measure how a table of made rows differs from the real one: columns, pairs, rows, copies."""

    real: Positional[str]
    """The table that the model of the made rows was trained on."""

    made: Positional[str]
    """The made rows, with the same columns."""

    holdout: str | None = None
    """Real rows that the model was not trained on: with them it is measured whether made rows are
    nearer to the training rows than they should be."""

    target: str | None = None
    """A column to predict from the others, by gradient boosting trained on real and on made rows;
    tested on the holdout, or on a quarter of the real rows."""

    column: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="NAME=KIND")] = ()
    """What a column is, where that is not to be inferred, as of train. Repeat it for others."""

    drop: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="NAME")] = ()
    """A column to leave out. Repeat it for other columns."""

    schema: Path | None = None
    """A file with the kinds of columns: the schema.json of a run, or a TOML file, as of train."""

    seed: int = 0
    """Decides the rows drawn and the folds."""

    out: Path | None = None
    """An HTML page to write, with a picture of each column."""

    def __call__(self) -> tuple[str, Result]:
        """Returns the tables and the result as JSON."""
        from jaxrep import comparison, data, files
        from jaxrep.data.columns import Columns, parse_kind, read_columns
        from jaxrep.progress import parts_line
        from jaxrep.runs.overwriting import check_spared

        asked = [name for name in (self.real, self.made, self.holdout) if name is not None]
        if self.out is not None:
            files.check_writable(self.out)
            check_spared(self.out, *asked)
        file = Columns() if self.schema is None else read_columns(self.schema)
        columns = Columns(
            kinds={**file.kinds, **dict(parse_kind(text) for text in self.column)},
            drop=tuple(dict.fromkeys((*file.drop, *self.drop))),
            na_values=file.na_values,
            missing=file.missing,
        )
        tables = [data.read_table(name) for name in asked]
        with parts_line() as watch:
            found = comparison.compare(
                *tables,
                target=self.target,
                columns=columns,
                names=(self.real, self.made, self.holdout or ""),
                seed=self.seed,
                watch=watch,
            )
        text = comparison.render(found)
        if self.out is not None:
            from jaxrep.report.comparison import write_comparison

            write_comparison(found, self.out, names=(self.real, self.made))
            text += f"\n\nwrote {self.out}"
        return text, {"real": self.real, "made": self.made} | found.to_json()
