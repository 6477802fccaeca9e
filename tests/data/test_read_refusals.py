"""What is said of files as other programs write them, and jaxrep does not read them."""

from pathlib import Path

import pyarrow as pa
import pytest

from jaxrep.data import Columns, fit, read
from jaxrep.data.transform import to_raw
from jaxrep.errors import InputError

TEXT = "name\tsize\nä\t1\nö\t2\n"


@pytest.mark.parametrize("name", ["t.csv", "t.txt", "t"])
@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_refused_by_its_name(tmp_path: Path, name: str, codec: str) -> None:
    (tmp_path / name).write_bytes(("\ufeff" + TEXT).encode(codec))
    with pytest.raises(InputError, match="text in UTF-16, which is not read; save it as UTF-8"):
        read.read_table(str(tmp_path / name))


@pytest.mark.parametrize(
    ("head", "what"), [(b"\xfd7zXZ\0\0\4", "xz.*unpack it"), (b"\xd0\xcf\x11\xe0", "xls.*as CSV")]
)
def test_files_that_are_known_and_not_read_say_what_to_do(
    tmp_path: Path, head: bytes, what: str
) -> None:
    (tmp_path / "t.dat").write_bytes(head + bytes(100))
    with pytest.raises(InputError, match=what):
        read.read_table(str(tmp_path / "t.dat"))


@pytest.mark.parametrize(
    ("first", "advice"),
    [
        ("sep=;", "the first line, 'sep=', is one for Excel alone: remove it"),
        ("Sales of May;;", "if the first line is a title, remove it"),
    ],
)
def test_a_line_above_the_names_is_told(tmp_path: Path, first: str, advice: str) -> None:
    (tmp_path / "t.csv").write_text(f"{first}\na;b;c\n1;2;3\n", encoding="utf-8")
    with pytest.raises(InputError, match=f"no name for column number 2.*{advice}$"):
        read.read_table(str(tmp_path / "t.csv"))


def test_names_that_are_missing_say_nothing_of_a_title(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,\n1,2,3\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"no name for column number 3; name every column$"):
        read.read_table(str(tmp_path / "t.csv"))


def test_other_columns_than_in_training_say_what_to_do() -> None:
    table = pa.table({"a": [0.5, 2.5, 1.0], "b": [1.5, 2.5, 9.0]})
    schema = fit(lambda: [table], source="t").schema
    new = table.rename_columns(["a", "c"])
    for other, advice in [
        (new, "with empty cells where nothing is known and remove the extra ones$"),
        (table.select(["a"]), "add the missing ones, with empty cells where nothing is known$"),
        (table.append_column("c", table["a"]), "extra columns 'c'; remove the extra ones$"),
    ]:
        with pytest.raises(InputError, match=advice):
            to_raw(schema, other, source="new")


@pytest.mark.parametrize("cells", [[[1, 2], None], [{"x": 1}, None]])
def test_marks_are_not_looked_for_in_lists_that_are_left_out(cells: list[object]) -> None:
    table = pa.table({"a": [0.5, -9.0, 2.5, 1.0], "nested": cells * 2})
    columns = Columns(drop=("nested",), na_values=("-9", "?"))
    found = fit(lambda: [table], source="t", columns=columns)
    assert found.schema.names == ("a",)
    assert found.missing == {"a": 1}
