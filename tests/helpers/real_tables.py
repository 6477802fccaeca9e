"""Tables that packages ship, with the kind of every column as read off the data by hand.

What is expected stands in tests/data/real_tables, one file a package. A table is

    [penguins]
    file = "data/penguins.csv"      # within the package; also .csv.gz, .csv.zip, .json
    rows = 344
    unnamed = "row"                 # names the column whose name is empty
    header = ["a", "b"]             # of a file without one
    refused = ["lines"]             # columns that are neither numbers nor text: no kinds
    [penguins.columns]
    species = "category"
    [penguins.as_text]              # where the text says more than the types that it is read as
    zip = "category"

The packages are the extra `tables`; of those that are not installed the tests are skipped. None is
imported: some bring much along, or warn.
"""

import csv
import gzip
import importlib.util
import io
import json
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pytest

EXPECTED = Path(__file__).parents[1] / "data" / "real_tables"


@dataclass(frozen=True)
class RealTable:
    """One table of a package; `columns` has the kind of each, unless some are `refused`."""

    name: str
    package: str
    file: str
    rows: int
    columns: dict[str, str] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    as_text: dict[str, str] = field(default_factory=dict)
    unnamed: str = ""
    header: tuple[str, ...] = ()

    def installed(self) -> Path:
        """The file in the installed package; skips the test where there is none."""
        spec = importlib.util.find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            pytest.skip(f"{self.package} is not installed; run make test-tables")
        return Path(spec.submodule_search_locations[0]) / self.file

    def cells(self) -> list[list[str]]:
        """The header and the rows, each cell the text that is in the file."""
        path = self.installed()
        data = path.read_bytes()
        if path.suffix == ".json":
            return _rows_of_objects(json.loads(data))
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                data = archive.read(path.stem)
        rows = list(csv.reader(io.StringIO(data.decode("utf-8"), newline="")))
        header = list(self.header) or [name or self.unnamed for name in rows.pop(0)]
        return [header, *rows]

    def path(self, folder: Path) -> Path:
        """A file that jaxrep reads: the package's own, or a CSV in `folder` where it needs one."""
        path = self.installed()
        if path.suffixes[-2:] not in ([".csv"], [".csv", ".gz"]) or self.unnamed or self.header:
            path = folder / f"{self.name}.csv"
            with path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows(self.cells())
        return path

    def blocks(self, rows: int = 50_000) -> Iterator[pa.Table]:
        """Columns of text, as a CSV is read, in blocks of so many rows."""
        header, *cells = self.cells()
        for start in range(0, len(cells), rows):
            columns = zip(*cells[start : start + rows], strict=True)
            yield pa.table(
                {n: pa.array(c, pa.string()) for n, c in zip(header, columns, strict=True)}
            )


def _rows_of_objects(objects: list[dict[str, object]]) -> list[list[str]]:
    rows = [["" if value is None else str(value) for value in row.values()] for row in objects]
    return [list(objects[0]), *rows]


def _declared() -> Iterator[RealTable]:
    for path in sorted(EXPECTED.glob("*.toml")):
        for name, entry in tomllib.loads(path.read_text("utf-8")).items():
            refused, header = (tuple(entry.pop(key, ())) for key in ("refused", "header"))
            yield RealTable(name, path.stem, refused=refused, header=header, **entry)


ALL = tuple(_declared())
TABLES = tuple(table for table in ALL if table.columns)
REFUSED = tuple(table for table in ALL if table.refused)
