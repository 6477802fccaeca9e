import bz2
import gzip

import pyarrow as pa
import pytest

from jaxrep.data.read import read_blocks, read_table
from jaxrep.errors import InputError

pytestmark = pytest.mark.quick


@pytest.fixture
def read(tmp_path):
    """Reads a CSV of a given text, and returns its columns, or its blocks, and the remarks."""

    def read_text(text, **options):
        path = tmp_path / "t.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        notes = []
        table = pa.concat_tables(read_blocks(str(path), note=notes.append, **options))
        assert set(table.schema.types) == {pa.string()}
        assert sum(column.null_count for column in table.columns) == 0
        return table.to_pydict(), notes

    return read_text


def refused(read, text, *facts):
    with pytest.raises(InputError) as caught:
        read(text)
    message = str(caught.value)
    assert "t.csv: " in message and "\n" not in message
    for fact in facts:
        assert fact in message, message


# Cells


def test_cells_are_text_exactly_as_written(read):
    text = 'a,b\n 007 ,"x, ""y""\nz"\n2.50,NA\n"",\n'
    expected = {"a": [" 007 ", "2.50", ""], "b": ['x, "y"\nz', "NA", ""]}
    assert read(text) == (expected, [])


def test_empty_line_is_a_cell_in_one_column_and_nothing_in_several(read):
    assert read("a\n1\n\n2\n")[0] == {"a": ["1", "", "2"]}
    assert read("a,b\n1,2\n\n3,4\n\n")[0] == {"a": ["1", "3"], "b": ["2", "4"]}


@pytest.mark.parametrize(
    "text", ["a,b\r\n1,2\r\n", "\ufeffa,b\n1,2\n", "a,b\n1,2", '"a",b\n"1",2\n', "a,b\r1,2\r"]
)
def test_dialects_are_understood(read, text):
    assert read(text) == ({"a": ["1"], "b": ["2"]}, [])


@pytest.mark.parametrize("lines", [2, 7, 40])
def test_cells_may_hold_line_ends_anywhere(read, lines):
    cell = "\n" * lines
    columns, _ = read("t,v\n" + f'"{cell}",1\n' * 50_000)
    assert columns["t"] == [cell] * 50_000


def test_row_may_be_longer_than_a_megabyte(read):
    names = [f"gene{i}" for i in range(70_000)]
    row = ",".join(["0.123456789012345678"] * 70_000)
    columns, _ = read(f"{','.join(names)}\n{row}\n{row}\n")
    assert list(columns) == names


def test_cell_may_be_longer_than_a_block(read):
    rows = ["a,b", *["1,x"] * 300_000, f"2,{'y' * 3_000_000}", *["3,z"] * 300_000, ""]
    columns, _ = read("\n".join(rows))
    assert [len(b) for b in columns["b"]] == [1] * 300_000 + [3_000_000] + [1] * 300_000
    assert columns["a"] == ["1"] * 300_000 + ["2"] + ["3"] * 300_000


def test_columns_restrict_to_those_there_are_in_the_order_of_the_file(read):
    assert read("a,b,c\n1,2,3\n", columns=["c", "gone", "a"])[0] == {"a": ["1"], "c": ["3"]}


def test_blocks_have_the_rows_asked_for(tmp_path):
    (tmp_path / "t.csv").write_text("a\n" + "1\n" * 7)
    assert [b.num_rows for b in read_blocks(str(tmp_path / "t.csv"), rows=3)] == [3, 3, 1]


# Delimiters and names


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_delimiter_is_the_most_frequent_mark_of_the_header_and_noted(read, mark):
    text = "a;b,;c\n1;2;3\n".replace(";", mark)
    expected = {"a": ["1"], "b,": ["2"], "c": ["3"]}
    assert read(text) == (expected, [f"the delimiter is {mark!r}"])


def test_delimiters_in_quotes_do_not_count(read):
    assert read('"a;b;c",d\n"1;2",3\n')[0] == {"a;b;c": ["1;2"], "d": ["3"]}


def test_name_may_hold_a_line_end_and_quotes(read):
    assert read('"a\n""b""",c\n1,2\n')[0] == {'a\n"b"': ["1"], "c": ["2"]}


def test_names_are_trimmed_but_not_in_quotes(read):
    assert list(read('age, work ," c "\n1,2,3\n')[0]) == ["age", "work", " c "]


def test_names_are_not_trimmed_where_that_makes_two_alike(read):
    assert list(read("a, a, b\n1,2,3\n")[0]) == ["a", " a", " b"]


def test_wide_header_is_read_whole(read):
    names = [f"a column with a long name {i}" for i in range(20_000)]
    assert list(read(",".join(names) + "\n" + "1," * 19_999 + "1\n")[0]) == names


# Files without a header line


def test_first_line_of_numbers_above_numbers_is_data(read):
    columns, notes = read("39, clerk\n27, smith\n")
    assert columns == {"x0": ["39", "27"], "x1": [" clerk", " smith"]}
    assert notes == ["no header line: the columns are named x0 to x1"]


def test_missing_mark_beside_a_number_is_data(read):
    assert read("5,NA,?\n4,3,2\n")[0]["x1"] == ["NA", "3"]


def test_missing_marks_below_a_number_do_not_matter(read):
    assert read("5,a\n,b\n3,c\n")[0]["x0"] == ["5", "", "3"]


@pytest.mark.parametrize("width", range(9, 18))
def test_number_that_the_look_at_the_file_cuts_does_not_matter(read, width):
    rows = ["x" * 32_755 + ",1e5"] * 2  # of the next row, 16 of the 65,536 bytes are left
    columns, _ = read("\n".join([*rows, "x" * width + ",1e5", *rows]))
    assert list(columns) == ["x0", "x1"]


def test_decimal_commas_are_numbers_where_they_do_not_delimit(read):
    assert read("1,5;2,5\n2,5;1,5\n")[0] == {"x0": ["1,5", "2,5"], "x1": ["2,5", "1,5"]}


def test_text_above_numbers_is_a_name(read):
    assert list(read("7,age\n1,2\n")[0]) == ["7", "age"]


def test_number_above_text_is_a_name(read):
    assert list(read("7,1\na,b\n")[0]) == ["7", "1"]


def test_line_of_text_is_a_header_whatever_follows(read):
    assert read("a,b\nc,d\n")[0] == {"a": ["c"], "b": ["d"]}


def test_increasing_whole_numbers_are_names_and_noted(read):
    columns, notes = read("region,2019,2020\nnorth,1,2\n")
    assert list(columns) == ["region", "2019", "2020"]
    assert "2019, 2020" in notes[0]


@pytest.mark.parametrize(("first", "is_name"), [("2020", True), ("999", False), ("3000", False)])
def test_single_whole_number_is_a_name_where_it_may_be_a_year(read, first, is_name):
    assert list(read(f"n,{first}\nm,5\n")[0]) == (["n", first] if is_name else ["x0", "x1"])


@pytest.mark.parametrize("first", ["3,2", "2,2", "1.5,2.5"])
def test_numbers_that_do_not_count_up_are_data(read, first):
    assert list(read(f"{first}\n9,8\n")[0]) == ["x0", "x1"]


# The index that pandas writes


def test_unnamed_first_column_that_counts_is_dropped_and_noted(read):
    columns, notes = read(",a\n0,x\n1,y\n")
    assert columns == {"a": ["x", "y"]}
    assert len(notes) == 1 and "without a name" in notes[0]


def test_unnamed_first_column_that_does_not_count_is_kept_and_noted(read):
    columns, notes = read(",a\n0,x\n2,y\n")
    assert columns == {"unnamed_0": ["0", "2"], "a": ["x", "y"]}
    assert len(notes) == 1 and "unnamed_0" in notes[0]


def test_unnamed_column_beside_one_of_its_new_name_is_refused(read):
    refused(read, ",unnamed_0\n5,x\n", "'unnamed_0'")
    assert read(",unnamed_0\n0,x\n")[0] == {"unnamed_0": ["x"]}


# Faults


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("", ["empty"]),
        ("\na,b\n1,2\n", ["first line is empty"]),
        ("a,b", ["no rows"]),
        ("a,b\n\n\n", ["no rows"]),
        ("a,b,\n1,2,3\n", ["column number 3"]),
        (",a,\n1,2,3\n", ["column number 3"]),
        ("a,b,a\n1,2,3\n", ["'a'", "more than one"]),
        ("a,b\n1,2\n\n3,4,5\n", ["row 1 (from 0):", "cells: 3", "header: 2", "comma"]),
        ("1;2\n1;1\n3\n", ["row 1 (from 0):", "cells: 1", "';'"]),
        ("2;1\n1;1\n3\n", ["row 2 (from 0):", "cells: 1", "first row: 2"]),
        ("|1x3 Cross validator\n25, x, 2\n", ["row 0 (from 0):", "cells: 3", "header: 1", "title"]),
        ('a,"b\n1,2\n', ["quote", "first line"]),
    ],
)
def test_fault_is_named(read, text, facts):
    refused(read, text, *facts)


@pytest.mark.parametrize(
    "end", ['1,"x', '1,"x\n2,3\n', '1,"x""', '1,"', '1,"\n', '1,"x""\n', '1,"' + "x\n" * 50_000]
)
def test_quote_that_is_never_closed_is_refused_with_its_row(read, end):
    refused(read, "a,b\n0,0\n" + end, "row 1 (from 0):", "quote")


@pytest.mark.parametrize(
    "end", ['1,"x"', '1,"x\n"\n', '1,""', '1,""""', '1,""\n', '1,x"\n', '1,"\n""\n"\n', "1,\n"]
)
def test_quote_that_is_closed_or_none_is_not_refused(read, end):
    assert read("a,b\n0,0\n" + end)[0]["a"] == ["0", "1"]


def test_quote_that_is_not_closed_in_a_long_file_is_refused_with_its_row(read, monkeypatch):
    monkeypatch.setattr("jaxrep.data.read._csv._LARGE_BLOCK", 1 << 21)
    rows = '1,"x\n' + "2,3\n" * 2_000_000
    refused(read, "a,b\n0,0\n" + rows, "row 1 (from 0) ", "quote")


@pytest.mark.parametrize("before", [0, 500_000])
def test_text_that_is_not_utf8_is_refused_with_its_line(read, before):
    text = b"a,b\n" + b"1,2\n" * before + "3,é\n".encode("latin-1")
    refused(read, text, f"line {before + 2} is not UTF-8", "0xe9")


def test_ragged_row_far_into_the_file_is_named(read):
    refused(read, "a,b\n" + "1,2\n" * 500_000 + "1\n", "row 500000 (from 0):", "cells: 1")


def test_more_columns_than_there_can_be_are_refused(read, monkeypatch):
    monkeypatch.setattr("jaxrep.data._names.MOST_COLUMNS", 3)
    refused(read, "a,b,c,d\n1,2,3,4\n", "4 columns")


# Compressed files


def zstd(data):
    return pa.compress(data, codec="zstd", asbytes=True)


@pytest.mark.parametrize(
    ("suffix", "compress"), [("gz", gzip.compress), ("BZ2", bz2.compress), ("zst", zstd)]
)
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.data"])
def test_compressed_csv_is_read_and_noticed_where_cut(tmp_path, suffix, compress, name):
    path = tmp_path / f"{name}.{suffix}"
    text = b"a,b\n" + b"".join(b"%d,x\n" % (i * i) for i in range(1000))
    path.write_bytes(compress(text))
    assert read_table(str(path))["a"].to_pylist() == [str(i * i) for i in range(1000)]
    path.write_bytes(compress(text)[:-9])
    with pytest.raises(InputError, match="broken"):
        read_table(str(path))


def test_compressed_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "t.csv.gz").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"gzip, but it is not"):
        read_table(str(tmp_path / "t.csv.gz"))


def test_csv_that_is_compressed_without_saying_so_is_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes(gzip.compress(b"a,b\n1,2\n"))
    with pytest.raises(InputError, match="named as CSV, but its content is gzip"):
        read_table(str(tmp_path / "t.csv"))
