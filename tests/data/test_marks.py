"""Marks of missing cells that match no cell, in columns of every type."""

import datetime
import decimal

import pyarrow as pa
import pytest

from jaxrep.data.columns import Columns
from jaxrep.data.fit import fit
from jaxrep.data.fit._marks import Unmatched

pytestmark = pytest.mark.quick

DAY = datetime.date(2024, 1, 2)


@pytest.mark.parametrize(
    ("cells", "matched"),
    [
        (["\t? ", "1"], ("?",)),
        (["-999.00", "1"], ("-999",)),
        (["x", "-999e0"], ("-999",)),
        (["TRUE", "x"], ("true",)),
        (["2024-01-02 00:00:00"], ("2024-01-02",)),
        (["truex", "?x", "-9990"], ()),
        ([None, ""], ()),
        (pa.array([1, -999]), ("-999",)),
        (pa.array([1.5, -999.0, None]), ("-999",)),
        (pa.array([decimal.Decimal("-999.00")]), ("-999",)),
        (pa.array([True, False]), ("true",)),
        (pa.array([DAY]), ("2024-01-02",)),
        (pa.array([b"?"]), ("?",)),
        (pa.array(["?", "y"]).dictionary_encode(), ("?",)),
        (pa.nulls(3), ()),
    ],
)
def test_a_mark_matches_what_it_makes_missing(cells, matched):
    marks = Unmatched(["?", "-999", "true", "2024-01-02"])
    marks.add(pa.table({"x": cells}))
    assert set(marks.left) == {"?", "-999", "true", "2024-01-02"} - set(matched)


def test_marks_of_the_label_and_of_rows_held_out_match_too():
    table = pa.table({"x": ["1", "2", "?"], "z": ["1", "2", "4"], "y": ["a", "b", "-"]})
    columns = Columns(label="y", na_values=("?", "-", "*"))
    mask = pa.array([True, True, False]).to_numpy(zero_copy_only=False)
    fitted = fit(lambda: [table], source="t", columns=columns, mask=mask)
    assert fitted.unmatched == ("*",)
    assert list(fitted.warnings("t")) == ["t: --na-values '*' matched no cell"]
