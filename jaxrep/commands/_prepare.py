"""`jaxrep prepare`."""

from dataclasses import dataclass
from pathlib import Path

from jaxrep.commands._columns import TableColumns
from jaxrep.commands._command import Data, Result, note


@dataclass(kw_only=True)
class Prepare(TableColumns):
    """Turn a table of any length into a folder of standardised rows, to train on."""

    data: Data
    """A .csv, .parquet, .npy or .npz file, a folder of .parquet files, or a bundled set."""

    out: Path
    """The folder to write. What was interrupted is continued; what is finished is left as it is."""

    label: str = ""
    """Column to keep out of the rows, and in a file beside them, to fine-tune on."""

    overwrite: bool = False
    """Replace other prepared rows that are in the folder."""

    compile_cache: bool = False
    """Of no use here: nothing is compiled."""

    def __call__(self) -> tuple[str, Result]:
        """Prepares the rows and says how many there are."""
        from jaxrep.data.store.preparation import prepare
        from jaxrep.progress import report_rows
        from jaxrep.runs.training_rows import with_known_label

        made = prepare(
            self.data,
            self.out,
            columns=with_known_label(self.data, self.columns()),
            overwrite=self.overwrite,
            note=note,
            watch=report_rows,
        )
        result = {
            "prepared": str(self.out),
            "source": made.source,
            "rows": made.rows,
            "numbers": made.spec.numbers,
            "codes": made.spec.codes,
            "bytes": made.rows * made.spec.columns * 4,
            "sha256": made.sha256,
            "cells": made.cells,
        }
        return f"{made.rows} rows × {made.spec.columns} columns are in {self.out}", result
