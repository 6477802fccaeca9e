"""`jaxrep prepare`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jaxrep.commands._command import Command, Data, Result, note


@dataclass(kw_only=True)
class Prepare(Command):
    """Turn a table of any length into a folder of standardised rows, to train on."""

    data: Data
    """A .csv, .parquet, .npy or .npz file, a folder of .parquet files, or a bundled set."""

    out: Path
    """The folder to write. What was interrupted goes on; what is finished is left as it is."""

    overwrite: bool = False
    """Replace other prepared rows that are in the folder."""

    categorical: str = ""
    """Columns of categories, separated by commas; each is one-hot encoded, with a bucket for
    unknown values."""

    label: str = ""
    """Column to keep out of training."""

    id_column: str = ""
    """Column that identifies rows, never trained on."""

    na_values: str = ""
    """Cells that mean "missing" besides empty ones and NA, separated by commas."""

    impute: Literal["median"] | None = None
    """How to fill missing numbers; by default they are refused."""

    compile_cache: bool = False
    """Of no use here: nothing is compiled."""

    def __call__(self) -> tuple[str, Result]:
        """Prepares the rows and says how many there are."""
        from jaxrep.data import datasets
        from jaxrep.data.preparing import prepare
        from jaxrep.progress import report_rows

        known = datasets.LABELS.get(self.data)
        named = (self.label, self.id_column, *_names(self.categorical))
        label = self.label or (known if known not in named else None)
        made = prepare(
            self.data,
            self.out,
            categorical=_names(self.categorical),
            label=label,
            id_column=self.id_column or None,
            na_values=_names(self.na_values),
            impute=self.impute,
            overwrite=self.overwrite,
            note=note,
            watch=report_rows,
        )
        result = {
            "prepared": str(self.out),
            "source": made.source,
            "rows": made.rows,
            "width": made.width,
            "bytes": made.rows * made.width * 4,
            "sha256": made.sha256,
        }
        return f"{made.rows} rows × {made.width} features are in {self.out}", result


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
