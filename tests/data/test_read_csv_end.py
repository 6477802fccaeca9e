"""How a CSV is opened for pyarrow, and a quote that is still open where the file ends."""

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import csv as pacsv

from jaxrep.data import read
from jaxrep.errors import InputError


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz"])
def test_pyarrow_reads_no_stream_of_python(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread would abort the process if that ended while it reads ahead."""
    text = b"a,b\n1,x\n2,y\n"
    path = tmp_path / name
    path.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    opened: list[Any] = []
    plain = pacsv.open_csv

    def keep(stream: Any, **options: Any) -> Any:
        opened.append(stream)
        return plain(stream, **options)

    monkeypatch.setattr(pacsv, "open_csv", keep)
    assert read.read_table(str(path)).num_rows == 2
    assert opened
    assert all(isinstance(s, pa.OSFile | pa.CompressedInputStream) for s in opened)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("rows", [1, 100_000])
def test_quote_that_swallows_rows_up_to_the_end(pack: Any, rows: int, tmp_path: Path) -> None:
    path = tmp_path / ("t.csv.gz" if pack is gzip.compress else "t.csv")
    path.write_bytes(pack(b"a,b\n" + b"1,x\n" * rows + b'2,"y\n3,z\n'))
    with pytest.raises(InputError, match=rf"row {rows} \(from 0\): a quote is not closed"):
        read.read_table(str(path))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_quoted_cell_with_line_ends_at_the_end(pack: Any, tmp_path: Path) -> None:
    path = tmp_path / ("t.csv.gz" if pack is gzip.compress else "t.csv")
    path.write_bytes(pack(b'a,b\n1,x\n2,"y\n""3"",z\n"'))
    assert read.read_table(str(path))["b"].to_pylist() == ["x", 'y\n"3",z\n']
