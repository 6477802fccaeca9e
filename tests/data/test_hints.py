"""What is said of a column besides its kind, where a user may have meant another one."""

import pytest

from jaxrep.data.fit import fit
from jaxrep.data.read import Reading


def line(tmp_path, cells, delimiter=";"):
    """What is printed of a column of a CSV that has another one."""
    path = tmp_path / "t.csv"
    rows = [f"{cell}{delimiter}{i % 3}" for i, cell in enumerate(cells)]
    path.write_text("\n".join([f"v{delimiter}w", *rows]) + "\n", encoding="utf-8")
    _, said, _ = fit(Reading(str(path)), source="t").lines("t")
    return said


@pytest.mark.parametrize(
    ("cells", "delimiter", "kind", "hint"),
    [
        (("999", "1.234", "12.500", "870"), ";", "number", "--column 'v=number:,'"),
        (("999", "1.234", "12.500", "870"), ",", "number", None),
        (("999", "1.2345", "12.500", "870"), ";", "number", None),
        (("12%", "13%", "50%", "7%"), ";", "category", "a unit or sign"),
        (("$1.50", "$99", "-$5.00", "($7)"), ";", "category", "a unit or sign"),
        (("70 kg", "71 kg", "80 kg", "70 kg"), ";", "category", "a unit or sign"),
        (("a1", "a2", "b1", "a1"), ";", "category", None),
        (("12A", "7B", "3", "12A"), ";", "category", None),
        (("−5", "−7", "−12", "−5"), ";", "category", "a unit or sign"),
        (
            ("3.2.2019", "31.2.2021", "17.11.2020", "9.6.2018"),
            ";",
            "category",
            "written like dates",
        ),
        (("2019-02-03", "2021-02-31", "2020-11-17", "x"), ";", "category", None),
        (("1/2/2020", "2/3/2020", "3/4/2020", "5/6/2020"), ";", "category", "form is not clear"),
        (("13/2/2020", "2/3/2020", "3/4/2020", "5/6/2020"), ";", "datetime", None),
    ],
)
def test_what_a_column_may_be_besides(tmp_path, cells, delimiter, kind, hint):
    said = line(tmp_path, cells, delimiter)
    assert said.split()[1] == kind
    hints = ("--column", "unit or sign", "not clear", "like dates")
    assert hint in said if hint else not any(each in said for each in hints)


@pytest.mark.parametrize(
    ("delimiter", "values"), [(";", "from 1.499 to 1.799"), ("|", "from 1499 to 1799")]
)
def test_a_comma_is_a_decimal_mark_where_semicolons_are_between_cells(tmp_path, delimiter, values):
    assert values in line(tmp_path, ("1,599", "1,699", "1,799", "1,499"), delimiter)


def test_numbers_that_differ_by_rounding_alone_are_said_to(tmp_path):
    said = line(tmp_path, ("0.1", "0.10000000000000002", "0.1", "0.1"))
    assert "differ by rounding alone" in said
